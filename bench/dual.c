// SPDX-License-Identifier: GPL-2.0
/*
 * Private memory of dual-backed slots, and creation of guest_memfds.
 */
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem-bench.h"

#define CREATIONS	4096

static const char *const convert_rows[] = {
	"convert-to-shared", "convert-to-private", "private-refault", "convert-4k", NULL };
static const char *const private_rows[] = {
	"private-fault-cold", "punch-hole", "fallocate", NULL };
static const char *const prefault_rows[] = { "prefault-cold", NULL };
static const char *const first_rows[] = { "convert-4k-first", NULL };
static const char *const create_rows[] = { "create-close", NULL };

static __u64 prefault(struct vm *vm)
{
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = TEST_SIZE };
	__u64 t = now();

	while (range.size)
		xioctl(vm->vcpu, KVM_PRE_FAULT_MEMORY, &range, "prefault");
	return since(t);
}

/*
 * One page in each block, which the guest has mapped as one, and then others of
 * the blocks, whose other pages remain mapped.
 */
static void convert_4k_in_blocks(struct vm *vm)
{
	__u64 block, t;
	int i;

	for (block = TEST_GPA; block < TEST_GPA + TEST_SIZE; block += BLOCK)
		record("convert-4k-first", "-2m",
		       time_set_private(vm, block, PAGE, false));
	for (i = 1; i < PAIRS; i++) {
		t = time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, false);
		t += time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, true);
		record("convert-4k", "-2m", t / 2.);
	}
}

static void convert_dual(struct vm *vm, const char *suffix)
{
	__u64 t;
	int i;

	record("convert-to-shared", suffix,
	       per_page(time_set_private(vm, TEST_GPA, TEST_SIZE, false)));
	/* Nothing is mapped any more. Repeat: a timer would distort a single call. */
	for (i = 0; i < 5; i++) {
		record("convert-to-private", suffix,
		       per_page(time_set_private(vm, TEST_GPA, TEST_SIZE, true)));
		if (i < 4)
			set_private(vm, TEST_GPA, TEST_SIZE, false);
	}
	record("private-refault", suffix,
	       per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));
	if (*suffix) {
		convert_4k_in_blocks(vm);
		set_private(vm, TEST_GPA, TEST_SIZE, true);
		guest_touch(vm, TEST_GPA, TEST_PAGES);
		return;
	}

	for (i = 0; i < PAIRS; i++) {
		t = time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, false);
		t += time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, true);
		record("convert-4k", "", t / 2.);
	}
}

/* Private memory of a dual-backed slot; @extra are additional file flags. */
static void private_memory(struct vm *vm, const char *suffix, __u64 extra)
{
	void *mem = anon(TEST_SIZE);
	int gmem = create_gmem(vm, TEST_SIZE, extra);

	set_region(vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	set_private(vm, TEST_GPA, TEST_SIZE, true);
	guest_touch(vm, 0x2000, 1);

	record("private-fault-cold", suffix,
	       per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));
	if (!extra)
		convert_dual(vm, suffix);
	record("punch-hole", suffix,
	       per_page(time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE)));
	record("fallocate", suffix, per_page(time_fallocate(gmem, 0)));
	time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE);

	if (capability(vm->fd, KVM_CAP_PRE_FAULT_MEMORY))
		record("prefault-cold", suffix, per_page(prefault(vm)));
	else
		cannot(prefault_rows, suffix, "no KVM_CAP_PRE_FAULT_MEMORY");
	set_region(vm, 1, TEST_GPA, 0, mem, gmem);
	close(gmem);
	munmap(mem, TEST_SIZE);
}

void bench_private(void)
{
	struct vm vm;

	if (!has_protected()) {
		cannot(private_rows, "", NO_PROTECTED);
		cannot(prefault_rows, "", NO_PROTECTED);
		cannot(convert_rows, "", NO_PROTECTED);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	private_memory(&vm, "", 0);
	if (capability(vm.fd, CAP_GUEST_MEMFD_FLAGS) & FLAG_NO_DIRECT_MAP) {
		private_memory(&vm, "-ndm", FLAG_NO_DIRECT_MAP);
	} else {
		cannot(private_rows, "-ndm", NO_NDM);
		cannot(prefault_rows, "-ndm", NO_NDM);
	}
	destroy_vm(&vm);
}

void bench_private_2m(void)
{
	struct vm vm;

	if (!use_blocks(true) || !has_protected()) {
		cannot(private_rows, "-2m", NO_BLOCKS);
		cannot(prefault_rows, "-2m", NO_BLOCKS);
		cannot(convert_rows, "-2m", NO_BLOCKS);
		cannot(first_rows, "-2m", NO_BLOCKS);
		cannot(private_rows, "-2m-ndm", NO_BLOCKS);
		cannot(prefault_rows, "-2m-ndm", NO_BLOCKS);
		cannot(private_rows, "-hugetlb", NO_HUGETLB);
		cannot(prefault_rows, "-hugetlb", NO_HUGETLB);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	private_memory(&vm, "-2m", 0);
	if (capability(vm.fd, CAP_GUEST_MEMFD_FLAGS) & FLAG_NO_DIRECT_MAP) {
		private_memory(&vm, "-2m-ndm", FLAG_NO_DIRECT_MAP);
	} else {
		cannot(private_rows, "-2m-ndm", NO_NDM);
		cannot(prefault_rows, "-2m-ndm", NO_NDM);
	}
	if (use_pool(&vm, true)) {
		private_memory(&vm, "-hugetlb", FLAG_HUGETLB);
	} else {
		cannot(private_rows, "-hugetlb", NO_HUGETLB);
		cannot(prefault_rows, "-hugetlb", NO_HUGETLB);
	}
	use_pool(&vm, false);
	destroy_vm(&vm);
	use_blocks(false);
}

void bench_create(void)
{
	struct vm vm;
	__u64 t;
	int i;

	if (!has_protected()) {
		cannot(create_rows, "", NO_PROTECTED);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	settle();
	t = now();
	for (i = 0; i < CREATIONS; i++)
		close(create_gmem(&vm, TEST_SIZE, 0));
	record("create-close", "", (double)since(t) / CREATIONS);
	destroy_vm(&vm);
}
