// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_fail_nth_test: every allocation fails once
 *
 * After a failure errno must make sense, nothing may be left half done, and the
 * same operation must succeed.
 *
 * Kernel: debug
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 * Environment: GMEM_FLAGS=hugetlb GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>

#include "guest_memfd_fail_nth.h"

#define NR_PAGES	4
#include "guest_memfd_fixture.h"

/* For the largest size of the file. */
#define BITMAP_WORDS	(SZ_2M / MIN_PAGE_SIZE / 64)

#define BLOCKS_SIZE	(2ul * SZ_2M)

static int fd;
static int blocks_fd;
static int new_fd = -1;
static int zero_fd;

static int create(void)
{
	new_fd = __vm_create_guest_memfd(vm, size, GMEM_SHARED | vm_guest_memfd_flags);
	return new_fd;
}

static void check_create(int err)
{
	new_fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
}

static void close_new(void)
{
	close(new_fd);
}

static int bind(void)
{
	return __set_slot(fd, 0, size);
}

static int unbind(void)
{
	return __set_slot(fd, 0, 0);
}

static int logging_on(void)
{
	return __set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size);
}

static void do_bind(void)
{
	ASSERT_OK(bind());
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
}

static void do_unbind(void)
{
	ASSERT_OK(unbind());
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
}

static void check_bind(int err)
{
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	do_bind();
}

static void check_unbind(int err)
{
	TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, 0, size), "The binding is gone");
	do_unbind();
}

static void check_logging_on(int err)
{
	uint64_t bitmap[BITMAP_WORDS];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bitmap };

	ASSERT_ERRNO(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	ASSERT_OK(logging_on());
	ASSERT_OK(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log));
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
}

static int allocate(void)
{
	return __gmem_fallocate(fd, 0, size);
}

/* Memory of a pool was reserved when the file was made: nothing can fail later. */
static void check_can_fail(void)
{
	TEST_ASSERT(!gmem_all_hugetlb(), "Allocation failed");
}

/* Pages may have been allocated, and must be accounted and usable. */
static void check_allocate(int err)
{
	struct stat st;

	check_can_fail();
	ASSERT_OK(fstat(fd, &st));
	ASSERT_EQ((uint64_t)st.st_blocks * 512, gmem_allocated(fd));
	TEST_ASSERT(gmem_allocated(fd) < size, "Failed with everything allocated");
	ASSERT_OK(allocate());
	ASSERT_EQ(gmem_allocated(fd), size);
	TEST_ASSERT(gmem_is_zero(mem, size), "New memory is not zero");
}

static void punch_all(void)
{
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), gmem_all_hugetlb() ? size : 0);
}

/* Two blocks of 2 MiB, whose entries need a node. */
static int allocate_blocks(void)
{
	return __gmem_fallocate(blocks_fd, 0, BLOCKS_SIZE);
}

static void check_allocate_blocks(int err)
{
	check_can_fail();
	ASSERT_OK(allocate_blocks());
}

/* Without memory for an entry, a block is mapped by single pages. */
static void punch_blocks(void)
{
	ASSERT_EQ(gmem_allocated(blocks_fd), BLOCKS_SIZE);
	TEST_ASSERT(gmem_fdinfo(blocks_fd, "gmem-2m") <= BLOCKS_SIZE, "Too many blocks");
	gmem_punch(blocks_fd, 0, BLOCKS_SIZE);
	ASSERT_EQ(gmem_allocated(blocks_fd), gmem_all_hugetlb() ? BLOCKS_SIZE : 0);
	ASSERT_EQ(gmem_fdinfo(blocks_fd, "gmem-2m"), 0ul);
}

static void fill_all(void)
{
	gmem_fill(mem, size, 1);
}

static int punch(void)
{
	return __gmem_punch(fd, page_size, page_size);
}

static void check_punch(int err)
{
	TEST_ASSERT(gmem_matches(mem, page_size, 1), "Data outside the hole is gone");
	TEST_ASSERT(gmem_matches(mem, 2 * page_size, 1) ||
		    gmem_is_zero(mem + page_size, page_size), "Half a page is gone");
	ASSERT_OK(punch());
}

/* Without memory to split a block, the hole stays in the file, and reads zero. */
static void undo_punch(void)
{
	TEST_ASSERT(gmem_matches(mem, page_size, 1), "Data outside the hole is gone");
	TEST_ASSERT(gmem_is_zero(mem + page_size, page_size), "Data in the hole");
	punch_all();
}

/* madvise() cannot populate hidden memory, but read() can write to it. */
static int host_fault(void)
{
	int i;

	if (!gmem_all_hidden())
		return madvise(mem, size, MADV_POPULATE_WRITE);
	for (i = 0; i < NR_PAGES; i++)
		if (read(zero_fd, mem + i * page_size, 1) != 1)
			return -1;
	return 0;
}

static void check_host_fault(int err)
{
	TEST_ASSERT(gmem_is_zero(mem, size), "New memory is not zero");
	ASSERT_EQ(gmem_allocated(fd), size);
}

static void prepare_guest_fault(void)
{
	do_bind();
	gmem_guest_order(vcpu, GMEM_GUEST_WRITE, GPA + page_size, 0, 0x1234);
}

static int guest_fault(void)
{
	return __vcpu_run(vcpu);
}

static void check_guest_fault(int err)
{
	/* KVM's own page tables are another matter. */
	if (err == EFAULT) {
		check_can_fail();
		ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_MEMORY_FAULT);
		ASSERT_EQ((uint64_t)vcpu->run->memory_fault.gpa, GPA + page_size);
	}
	vcpu_run(vcpu);
}

static void undo_guest_fault(void)
{
	struct ucall uc;

	ASSERT_EQ(get_ucall(vcpu, &uc), (uint64_t)UCALL_SYNC);
	ASSERT_EQ(*(uint64_t *)(mem + page_size), 0x1234ul);
	/* Single pages if there was no memory for a block. */
	TEST_ASSERT(gmem_allocated(fd) == page_size ||
		    gmem_allocated(fd) == size_with(page_size), "Wrong allocation");
	do_unbind();
	punch_all();
}

static const struct gmem_operation operations[] = {
	{ "create", NULL, create, check_create, close_new },
	{ "bind", NULL, bind, check_bind, do_unbind },
	{ "delete", do_bind, unbind, check_unbind, NULL },
	{ "logging", do_bind, logging_on, check_logging_on, do_unbind },
	{ "fallocate", NULL, allocate, check_allocate, punch_all },
	{ "fallocate-blocks", NULL, allocate_blocks, check_allocate_blocks, punch_blocks },
	{ "punch", fill_all, punch, check_punch, undo_punch },
	{ "host-fault", NULL, host_fault, check_host_fault, punch_all },
	{ "guest-fault", prepare_guest_fault, guest_fault, check_guest_fault,
	  undo_guest_fault },
};

int main(int argc, char *argv[])
{
	init_sizes();
	gmem_require_mmap();
	gmem_require_injection();

	start_vm(false);
	fd = new_memory(GMEM_SHARED);
	blocks_fd = vm_create_guest_memfd(vm, BLOCKS_SIZE, 0);
	zero_fd = ASSERT_OK(open("/dev/zero", O_RDONLY));
	gmem_sweep_all(vm, operations, ARRAY_SIZE(operations));
	free_memory(fd);
	close(blocks_fd);
	return gmem_sweep_end(vm);
}
