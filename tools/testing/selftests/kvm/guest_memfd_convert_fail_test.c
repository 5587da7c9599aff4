// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_convert_fail_test: conversions with failing allocations
 *
 * Setting attributes, by gfn or in a file, either succeeds as a whole or
 * changes nothing.  KVM_PRE_FAULT_MEMORY and pwrite() may stop anywhere, and
 * can be repeated.
 *
 * Kernel: debug
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "guest_memfd_fail_nth.h"
#include "guest_memfd_private.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#define ALL		((1u << NR_PAGES) - 1)

static uint8_t *host_mem;
static int fd;

/* Exactly these pages of the file are private, one bit for each. */
static void assert_private(unsigned int mask)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(gmem_try_read(mem + i * page_size, NULL) == !(mask & 1u << i),
			    "Page %d should be %s", i, mask & 1u << i ? "private" : "shared");
}

/* The gfns after the file belong to an ordinary slot, the next ones to none. */
static void assert_guest_may_read(bool may)
{
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + size, 0, 0);
	if (!may)
		vcpu_run_expect_private_fault(vcpu, GPA + size);
	else
		ASSERT_EQ(gmem_guest_finish(vcpu), 0x1234ul);
}

static void undo_all(void)
{
	vm_make_shared(vm, GPA, 4 * size);
	assert_private(0);
	assert_guest_may_read(true);
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
}

/* Some pages are private already, and must stay so. */
static void prepare_private(void)
{
	gmem_make_private(fd, page_size, page_size);
	gmem_make_private(fd, 4 * page_size, 2 * page_size);
}

static int make_private(void)
{
	return __vm_make_private(vm, GPA + 2 * page_size, 2 * size);
}

static void check_private(int err)
{
	assert_private(0x32);
	assert_guest_may_read(true);
	ASSERT_OK(make_private());
	assert_private(ALL & ~1);
	vm_make_shared(vm, GPA + size, size);
}

static void prepare_shared(void)
{
	vm_make_private(vm, GPA, 2 * size);
}

static int make_shared(void)
{
	return __vm_set_attributes(vm, GPA + 3 * page_size, size, 0);
}

static void check_shared(int err)
{
	assert_private(ALL);
	assert_guest_may_read(false);
	ASSERT_OK(make_shared());
	gmem_guest_finish(vcpu);
	assert_private(7);
}

static int file_make_private(void)
{
	return __gmem_make_private(fd, 2 * page_size, 2 * page_size);
}

static void check_file_private(int err)
{
	assert_private(0x32);
	ASSERT_OK(file_make_private());
	assert_private(0x3e);
}

static void prepare_file_shared(void)
{
	gmem_make_private(fd, 0, size);
}

static int file_make_shared(void)
{
	return __gmem_set_attributes(fd, 2 * page_size, 2 * page_size, 0, NULL);
}

static void check_file_shared(int err)
{
	assert_private(ALL);
	ASSERT_OK(file_make_shared());
	assert_private(ALL & ~0xc);
}

static int prefault(void)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = size };

	return __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
}

static void check_prefault(int err)
{
	ASSERT_OK(prefault());
}

/* The guest has mapped the memory; as one page, if it is a block. */
static void prepare_mapped_private(void)
{
	ASSERT_OK(prefault());
	prepare_private();
	ASSERT_OK(prefault());
}

static void prepare_mapped_shared(void)
{
	prepare_file_shared();
	ASSERT_OK(prefault());
}

/* The host touches a block of which it must not have all. */
static void prepare_host_fault(void)
{
	ASSERT_OK(prefault());
	gmem_make_private(fd, 0, page_size);
}

/* Hidden memory, of which no block is larger than a page, cannot be populated. */
static int host_fault(void)
{
	return gmem_all_hidden() ? 0 : madvise(mem + page_size, page_size,
					       MADV_POPULATE_WRITE);
}

static void check_host_fault(int err)
{
	assert_private(1);
	ASSERT_OK(host_fault());
}

static int write_file(void)
{
	return pwrite(fd, host_mem, 3 * page_size, 100);
}

static void check_write_file(int err)
{
	ASSERT_EQ(write_file(), (int)(3 * page_size));
	TEST_ASSERT(!memcmp(mem + 100, host_mem, 3 * page_size), "Wrong data");
}

/* After a failed write to a private page, the page can still be written. */
static void check_write_private(int err)
{
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	ASSERT_EQ(write_file(), (int)(3 * page_size));
	gmem_make_shared(fd, 0, size);
	TEST_ASSERT(!memcmp(mem + 100, host_mem, 3 * page_size), "Wrong data");
}

static const struct gmem_operation operations[] = {
	{ "private", prepare_private, make_private, check_private, undo_all },
	{ "shared", prepare_shared, make_shared, check_shared, undo_all },
	{ "file-private", prepare_private, file_make_private, check_file_private, undo_all },
	{ "file-shared", prepare_file_shared, file_make_shared, check_file_shared, undo_all },
	{ "file-private-mapped", prepare_mapped_private, file_make_private, check_file_private,
	  undo_all },
	{ "file-shared-mapped", prepare_mapped_shared, file_make_shared, check_file_shared,
	  undo_all },
	{ "host-fault", prepare_host_fault, host_fault, check_host_fault, undo_all },
	{ "prefault", NULL, prefault, check_prefault, undo_all },
	{ "prefault-private", prepare_file_shared, prefault, check_prefault, undo_all },
	{ "write", NULL, write_file, check_write_file, undo_all },
	{ "write-private", prepare_file_shared, write_file, check_write_private, undo_all },
};

int main(int argc, char *argv[])
{
	size_t i;

	init_sizes();
	gmem_require_protected_vms();
	gmem_require_injection();

	fd = start_vm_with_slot(true, GMEM_ALL_FLAGS);
	host_mem = gmem_anonymous(size);
	for (i = 0; i < size / sizeof(uint64_t); i++)
		((uint64_t *)host_mem)[i] = 0x1234;
	vm_set_user_memory_region(vm, SLOT + 1, 0, GPA + size, size, host_mem);

	gmem_sweep_all(vm, operations, ARRAY_SIZE(operations));
	free_memory(fd);
	return gmem_sweep_end(vm);
}
