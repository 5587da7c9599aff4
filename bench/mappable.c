// SPDX-License-Identifier: GPL-2.0
/*
 * Files that guest and host map: faults, and conversion in place.
 */
#include <err.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem-bench.h"

static const char *const shared_rows[] = {
	"gmem-only-fault-cold", "host-fault-present", "host-fault-cold", NULL };
static const char *const inplace_rows[] = {
	"inplace-to-private", "inplace-to-shared", "inplace-4k", NULL };
static const char *const first_rows[] = { "inplace-4k-first", NULL };

static __u8 *map_gmem(int gmem)
{
	void *mem = mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap guest_memfd");
	return mem;
}

/*
 * Unmap pages but keep the page tables, so that neither row of host faults includes
 * allocating them. MADV_DONTNEED refuses hidden memory (VM_PFNMAP), whose row for
 * present pages therefore includes 32 page tables.
 */
static void unmap_pages(__u8 *mem, int gmem)
{
	if (madvise(mem, TEST_SIZE, MADV_DONTNEED) &&
	    mmap(mem, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, gmem,
		 0) == MAP_FAILED)
		err(1, "mmap guest_memfd");
}

static void shared_memory(struct vm *vm, const char *suffix, __u64 extra)
{
	int gmem = create_gmem(vm, TEST_SIZE, FLAG_SHARED | extra);
	__u8 *mem = map_gmem(gmem);

	set_region(vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	guest_touch(vm, 0x2000, 1);

	record("gmem-only-fault-cold", suffix,
	       per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));
	host_touch(mem);
	unmap_pages(mem, gmem);
	record("host-fault-present", suffix, per_page(host_touch(mem)));
	time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE);
	record("host-fault-cold", suffix, per_page(host_touch(mem)));

	set_region(vm, 1, TEST_GPA, 0, mem, gmem);
	munmap(mem, TEST_SIZE);
	close(gmem);
}

void bench_shared(void)
{
	unsigned long flags;
	struct vm vm;

	create_vm(&vm, ORDINARY_VM);
	flags = capability(vm.fd, CAP_GUEST_MEMFD_FLAGS);
	if ((flags & FLAG_SHARED) == FLAG_SHARED)
		shared_memory(&vm, "", 0);
	else
		cannot(shared_rows, "", "a guest_memfd cannot be mapped");
	if ((flags & FLAG_SHARED) == FLAG_SHARED && (flags & FLAG_NO_DIRECT_MAP))
		shared_memory(&vm, "-ndm", FLAG_NO_DIRECT_MAP);
	else
		cannot(shared_rows, "-ndm", NO_NDM);
	destroy_vm(&vm);
}

void bench_shared_2m(void)
{
	struct vm vm;

	create_vm(&vm, ORDINARY_VM);
	if (use_blocks(true))
		shared_memory(&vm, "-2m", 0);
	else
		cannot(shared_rows, "-2m", NO_BLOCKS);
	if (!use_blocks(true))
		cannot(shared_rows, "-2m-ndm", NO_BLOCKS);
	else if (capability(vm.fd, CAP_GUEST_MEMFD_FLAGS) & FLAG_NO_DIRECT_MAP)
		shared_memory(&vm, "-2m-ndm", FLAG_NO_DIRECT_MAP);
	else
		cannot(shared_rows, "-2m-ndm", NO_NDM);
	if (use_pool(&vm, true))
		shared_memory(&vm, "-hugetlb", FLAG_HUGETLB);
	else
		cannot(shared_rows, "-hugetlb", NO_HUGETLB);
	use_pool(&vm, false);
	use_blocks(false);
	destroy_vm(&vm);
}

/*
 * As convert_4k_in_blocks() does it. Before the first conversion guest and host have
 * mapped the block as one page.
 */
static void inplace_4k_in_blocks(int gmem)
{
	__u64 offset, t;
	int i;

	for (offset = 0; offset < TEST_SIZE; offset += BLOCK)
		record("inplace-4k-first", "-2m", time_convert(gmem, offset, PAGE, true));
	for (i = 1; i < PAIRS; i++) {
		t = time_convert(gmem, 2 * i * PAGE, PAGE, true);
		t += time_convert(gmem, 2 * i * PAGE, PAGE, false);
		record("inplace-4k", "-2m", t / 2.);
	}
}

static void inplace_4k(int gmem)
{
	__u64 t;
	int i;

	for (i = 0; i < PAIRS; i++) {
		t = time_convert(gmem, 2 * i * PAGE, PAGE, true);
		t += time_convert(gmem, 2 * i * PAGE, PAGE, false);
		record("inplace-4k", "", t / 2.);
	}
}

/* Conversion in place, of pages that are mapped by guest and host. */
static void convert_in_place(struct vm *vm, const char *suffix)
{
	int gmem = create_gmem(vm, TEST_SIZE, FLAG_SHARED);
	__u8 *mem = map_gmem(gmem);

	if (*suffix && madvise(mem, TEST_SIZE, MADV_HUGEPAGE))
		err(1, "MADV_HUGEPAGE");
	set_region(vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	host_touch(mem);
	guest_touch(vm, TEST_GPA, TEST_PAGES);
	settle();

	record("inplace-to-private", suffix,
	       per_page(time_convert(gmem, 0, TEST_SIZE, true)));
	guest_touch(vm, TEST_GPA, TEST_PAGES);
	record("inplace-to-shared", suffix,
	       per_page(time_convert(gmem, 0, TEST_SIZE, false)));
	host_touch(mem);
	guest_touch(vm, TEST_GPA, TEST_PAGES);
	if (*suffix)
		inplace_4k_in_blocks(gmem);
	else
		inplace_4k(gmem);
	munmap(mem, TEST_SIZE);
	close(gmem);
}

void bench_inplace(void)
{
	struct vm vm;

	if (!has_protected()) {
		cannot(inplace_rows, "", NO_PROTECTED);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	if (capability(vm.fd, CAP_GMEM_ATTRIBUTES))
		convert_in_place(&vm, "");
	else
		cannot(inplace_rows, "", "no conversion in place");
	destroy_vm(&vm);
}

void bench_inplace_2m(void)
{
	struct vm vm;

	if (!use_blocks(true) || !has_protected()) {
		cannot(inplace_rows, "-2m", NO_BLOCKS);
		cannot(first_rows, "-2m", NO_BLOCKS);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	convert_in_place(&vm, "-2m");
	destroy_vm(&vm);
	use_blocks(false);
}
