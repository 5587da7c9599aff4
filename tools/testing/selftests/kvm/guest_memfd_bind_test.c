// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_bind_test: KVM_SET_USER_MEMORY_REGION2
 *
 * Checks which slots may bind which range of which file, and that a refused
 * call leaves nothing behind: the same range can be bound after each of them.
 * No guest runs.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static int new_file(void)
{
	return vm_create_guest_memfd(vm, size, GMEM_SHARED);
}

/* All that the tests vary; @flags come in addition to KVM_MEM_GUEST_MEMFD. */
static int bind(int slot, uint32_t flags, uint64_t gpa, uint64_t len, int fd,
		uint64_t offset)
{
	return __vm_set_user_memory_region2(vm, slot, KVM_MEM_GUEST_MEMFD | flags,
					    gpa, len, NULL, fd, offset);
}

static int unbind(int slot)
{
	return bind(slot, 0, 0, 0, -1, 0);
}

/* Nothing is bound, and every page of the file still can be. */
static void assert_unbound(int fd)
{
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	ASSERT_OK(unbind(SLOT));
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
}

static const char *test_bind_and_delete(void)
{
	int fd = new_file(), i;

	for (i = 0; i < 3; i++) {
		ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
		TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, 0, size), "Not in fdinfo");
		ASSERT_OK(unbind(SLOT));
	}
	ASSERT_ERRNO(unbind(SLOT), EINVAL);

	/* The old ioctl can delete such a slot too. */
	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	vm_set_user_memory_region(vm, SLOT, 0, GPA, 0, NULL);
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_wrong_fds(void)
{
	struct kvm_vm *other = vm_create_barebones();
	int fd = new_file(), closed = dup(fd), memfd = kvm_memfd_alloc(size, false);
	int foreign = vm_create_guest_memfd(other, size, GMEM_SHARED);

	close(closed);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, vm->kvm_fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, vm->fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, memfd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, foreign, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, -1, 0), EBADF);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, closed, 0), EBADF);
	ASSERT_EQ(gmem_nr_bindings(foreign), 0);
	assert_unbound(fd);

	kvm_vm_free(other);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, foreign, 0), EINVAL);
	close(foreign);
	close(memfd);
	close(fd);
	return NULL;
}

static const char *test_bad_offsets(void)
{
	const uint64_t max = INT64_MAX & ~(page_size - 1);
	int fd = new_file(), huge;

	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, 1), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, page_size / 2), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, fd, page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size + page_size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, -page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, 2 * page_size, fd, -page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, max), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, 1ull << 63), EINVAL);
	assert_unbound(fd);
	close(fd);

	/* The last page of the largest file can be bound. */
	huge = vm_create_guest_memfd(vm, max, GMEM_SHARED);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, 2 * page_size, huge, max - page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, huge, max), EINVAL);
	ASSERT_OK(bind(SLOT, 0, GPA, page_size, huge, max - page_size));
	ASSERT_OK(unbind(SLOT));
	close(huge);
	return NULL;
}

static const char *test_bad_slots_and_sizes(void)
{
	int fd = new_file(), nr_slots = vm_check_cap(vm, KVM_CAP_NR_MEMSLOTS);

	ASSERT_ERRNO(bind(nr_slots, 0, GPA, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(0xffff, 0, GPA, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(0x7fff0000, 0, GPA, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA + 1, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size - 1, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, -page_size, size, fd, 0), EINVAL);
	ASSERT_OK(bind(nr_slots - 1, 0, GPA, size, fd, 0));
	ASSERT_OK(unbind(nr_slots - 1));
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static int bind_uaddr(int fd, uint64_t uaddr)
{
	return __vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA, size,
					    (void *)uaddr, fd, 0);
}

static const char *test_userspace_addr(void)
{
	int fd = new_file();

	ASSERT_ERRNO(bind_uaddr(fd, 1), EINVAL);
	ASSERT_ERRNO(bind_uaddr(fd, page_size + 8), EINVAL);
	ASSERT_ERRNO(bind_uaddr(fd, 1ull << 63), EINVAL);
	ASSERT_ERRNO(bind_uaddr(fd, -page_size), EINVAL);

	/* The address must be valid, but nothing needs to be mapped there. */
	ASSERT_OK(bind_uaddr(fd, page_size));
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_flags(void)
{
	int fd = new_file(), bit;

	ASSERT_ERRNO(bind(SLOT, KVM_MEM_READONLY, GPA, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, GPA, size,
			  fd, 0), EINVAL);
	for (bit = 3; bit < 32; bit++) {
		ASSERT_ERRNO(bind(SLOT, 1u << bit, GPA, size, fd, 0), EINVAL);
		ASSERT_ERRNO(__vm_set_user_memory_region2(vm, SLOT, 1u << bit, GPA, size,
							  NULL, fd, 0), EINVAL);
	}
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_old_ioctl(void)
{
	void *mem = ASSERT_OK(mmap(NULL, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA,
						 size, mem), EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT, 1 << 3, GPA, size, mem),
		     EINVAL);

	/* The new ioctl without the flag is the old one; the file is not used. */
	vm_set_user_memory_region2(vm, SLOT, 0, GPA, size, mem, -1, 12345);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, size, mem,
				   -1, 0);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, 0, NULL);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_READONLY, GPA, size, mem, -1, 0);
	vm_set_user_memory_region2(vm, SLOT, 0, GPA, 0, NULL, -1, 0);
	ASSERT_OK(munmap(mem, size));
	return NULL;
}

static const char *test_padding_is_ignored(void)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = SLOT,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = GPA,
		.memory_size = size,
		.guest_memfd = new_file(),
		.pad1 = -1,
	};

	memset(region.pad2, 0xff, sizeof(region.pad2));
	ASSERT_OK(__vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region));
	region.memory_size = 0;
	ASSERT_OK(__vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region));
	assert_unbound(region.guest_memfd);
	close(region.guest_memfd);

	ASSERT_ERRNO(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, NULL), EFAULT);
	return NULL;
}

static const char *test_one_binding_per_page(void)
{
	const uint64_t far = GPA + 64 * size;
	int fd = new_file();

	ASSERT_OK(bind(SLOT, 0, GPA, 4 * page_size, fd, 2 * page_size));
	ASSERT_ERRNO(bind(SLOT + 1, 0, far, 4 * page_size, fd, 2 * page_size), EEXIST);
	ASSERT_ERRNO(bind(SLOT + 1, 0, far, page_size, fd, 2 * page_size), EEXIST);
	ASSERT_ERRNO(bind(SLOT + 1, 0, far, page_size, fd, 5 * page_size), EEXIST);
	ASSERT_ERRNO(bind(SLOT + 1, 0, far, 3 * page_size, fd, 0), EEXIST);
	ASSERT_ERRNO(bind(SLOT + 1, 0, far, size, fd, 0), EEXIST);
	ASSERT_EQ(gmem_nr_bindings(fd), 1);

	ASSERT_OK(bind(SLOT + 1, 0, far, 2 * page_size, fd, 0));
	ASSERT_OK(bind(SLOT + 2, 0, far + size, 2 * page_size, fd, 6 * page_size));
	ASSERT_EQ(gmem_nr_bindings(fd), 3);
	ASSERT_OK(unbind(SLOT));
	ASSERT_OK(bind(SLOT, 0, GPA, 4 * page_size, fd, 2 * page_size));
	ASSERT_OK(unbind(SLOT + 2));
	ASSERT_OK(unbind(SLOT + 1));
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_gpa_overlap(void)
{
	int fd = new_file(), fd2 = new_file();

	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	ASSERT_ERRNO(bind(SLOT + 1, 0, GPA, size, fd2, 0), EEXIST);
	ASSERT_ERRNO(bind(SLOT + 1, 0, GPA + size - page_size, size, fd2, 0), EEXIST);
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT + 1, 0, GPA, size, NULL),
		     EEXIST);
	ASSERT_EQ(gmem_nr_bindings(fd2), 0);
	ASSERT_OK(bind(SLOT + 1, 0, GPA + size, size, fd2, 0));
	ASSERT_OK(unbind(SLOT + 1));
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd2);
	close(fd);
	close(fd2);
	return NULL;
}

/* Except for dirty logging, a slot with a guest_memfd cannot be changed. */
static const char *test_slots_do_not_change(void)
{
	int fd = new_file(), fd2 = new_file();
	size_t half = size / 2;

	ASSERT_OK(bind(SLOT, 0, GPA, half, fd, 0));
	ASSERT_ERRNO(bind(SLOT, 0, GPA, half, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA + size, half, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, half, fd, half), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, half, fd2, 0), EINVAL);
	ASSERT_ERRNO(bind_uaddr(fd, page_size), EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT, 0, GPA, half, NULL), EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region2(vm, SLOT, 0, GPA, half, NULL, fd, 0),
		     EINVAL);
	TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, 0, half), "The binding changed");
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd2);

	/* Nor can a guest_memfd be bound to an existing ordinary slot. */
	vm_set_user_memory_region(vm, SLOT, 0, GPA, half, NULL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, half, fd, 0), EINVAL);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, 0, NULL);
	assert_unbound(fd);
	close(fd);
	close(fd2);
	return NULL;
}

static const char *test_dirty_logging(void)
{
	const uint32_t log = KVM_MEM_LOG_DIRTY_PAGES;
	int fd = new_file(), private = vm_create_guest_memfd(vm, size, 0);

	/* Unlike upstream, KVM can log a slot that host and guest share. */
	ASSERT_OK(bind(SLOT, 0, GPA, page_size, fd, page_size));
	ASSERT_OK(bind(SLOT, log, GPA, page_size, fd, page_size));
	ASSERT_ERRNO(bind(SLOT, log, GPA, page_size, fd, page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA + page_size, page_size, fd, page_size), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, page_size, private, page_size), EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region2(vm, SLOT, 0, GPA, page_size, NULL, -1,
						  0), EINVAL);
	ASSERT_OK(bind(SLOT, 0, GPA, page_size, fd, page_size));
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	ASSERT_OK(unbind(SLOT));

	ASSERT_OK(bind(SLOT, log, GPA, size, fd, 0));
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd);

	/* Dual-backed slots do not support dirty logging. */
	ASSERT_ERRNO(bind(SLOT, log, GPA, size, private, 0), EINVAL);
	if (GMEM_DUAL_BACKED_ORDINARY) {
		ASSERT_OK(bind(SLOT, 0, GPA, size, private, 0));
		ASSERT_ERRNO(bind(SLOT, log, GPA, size, private, 0), EINVAL);
		ASSERT_OK(unbind(SLOT));
		assert_unbound(private);
	} else {
		ASSERT_ERRNO(bind(SLOT, 0, GPA, size, private, 0), EINVAL);
		ASSERT_EQ(gmem_nr_bindings(private), 0);
	}
	assert_unbound(fd);
	close(private);
	close(fd);
	return NULL;
}

static const char *test_delete_checks_its_arguments(void)
{
	int fd = new_file();

	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	ASSERT_ERRNO(bind(SLOT, 1u << 5, GPA, 0, -1, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, 0, -1, 1), EINVAL);
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	ASSERT_OK(bind(SLOT, 0, GPA + size, 0, vm->fd, 0));
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_address_spaces(void)
{
	int fd = new_file(), smm_slot = (1 << 16) | SLOT;

	if (vm_check_cap(vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2) {
		close(fd);
		return "the VM has one address space";
	}

	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	ASSERT_ERRNO(bind(smm_slot, 0, GPA, size, fd, 0), EEXIST);
	ASSERT_OK(unbind(SLOT));
	ASSERT_OK(bind(smm_slot, 0, GPA, size, fd, 0));
	TEST_ASSERT(gmem_has_binding(fd, smm_slot, GPA, 0, size), "Not in fdinfo");
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, fd, 0), EEXIST);
	ASSERT_OK(unbind(smm_slot));
	assert_unbound(fd);
	close(fd);
	return NULL;
}

static const char *test_file_closed_first(void)
{
	int fd = new_file(), fd2 = new_file();

	ASSERT_OK(bind(SLOT, 0, GPA, size, fd, 0));
	close(fd);
	ASSERT_ERRNO(bind(SLOT, 0, GPA, size, fd2, 0), EINVAL);
	ASSERT_ERRNO(bind(SLOT + 1, 0, GPA, size, fd2, 0), EEXIST);
	ASSERT_OK(unbind(SLOT));
	assert_unbound(fd2);
	close(fd2);
	return NULL;
}

static const char *test_vm_closed_first(void)
{
	struct kvm_vm *other = vm_create_barebones();
	int fd = vm_create_guest_memfd(other, size, GMEM_SHARED);
	uint8_t *mem = gmem_mmap(fd, 0, size);

	vm_set_user_memory_region2(other, SLOT, KVM_MEM_GUEST_MEMFD, GPA, size, mem, fd,
				   0);
	gmem_fill(mem, size, 1);
	kvm_vm_free(other);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "The hole is not zero");
	ASSERT_OK(munmap(mem, size));
	close(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_bind_and_delete),
	GMEM_TEST(test_wrong_fds),
	GMEM_TEST(test_bad_offsets),
	GMEM_TEST(test_bad_slots_and_sizes),
	GMEM_TEST(test_userspace_addr),
	GMEM_TEST(test_flags),
	GMEM_TEST(test_old_ioctl),
	GMEM_TEST(test_padding_is_ignored),
	GMEM_TEST(test_one_binding_per_page),
	GMEM_TEST(test_gpa_overlap),
	GMEM_TEST(test_slots_do_not_change),
	GMEM_TEST(test_dirty_logging),
	GMEM_TEST(test_delete_checks_its_arguments),
	GMEM_TEST(test_address_spaces),
	GMEM_TEST(test_file_closed_first),
	GMEM_TEST(test_vm_closed_first),
};

GMEM_TEST_MAIN(init_barebones)
