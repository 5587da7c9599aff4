// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_convert_test: private and shared in the same file
 *
 * Pages of a mappable file are converted in place, through the file or through
 * the gfns that map them.  The guest never notices, the host loses and regains
 * access, and the contents are preserved.  A conversion either succeeds as a
 * whole or changes nothing.
 *
 * Append: kvm-arm.mode=nvhe
 * Processor: neoverse-n1
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/uio.h>
#include <linux/sizes.h>

#include "guest_memfd_private.h"

#define NR_PAGES	16
#include "guest_memfd_fixture.h"

#define PRIVATE		KVM_MEMORY_ATTRIBUTE_PRIVATE

static int start(uint64_t flags)
{
	return start_vm_with_slot(true, flags);
}

/* A mapped file that is not bound to a slot yet. */
static int start_without_slot(void)
{
	start_vm(true);
	return new_memory(GMEM_SHARED);
}

/* A reference to one page, such as I/O would hold. */
struct page_ref {
	int pipe[2];
};

static void hold_page(struct page_ref *ref, void *addr)
{
	struct iovec iov = { .iov_base = addr, .iov_len = page_size };

	ASSERT_OK(pipe(ref->pipe));
	ASSERT_EQ(vmsplice(ref->pipe[1], &iov, 1, 0), (ssize_t)page_size);
}

static void release_page(struct page_ref *ref)
{
	close(ref->pipe[0]);
	close(ref->pipe[1]);
}

static const char *test_errnos(void)
{
	struct kvm_memory_attributes2 attrs = { .size = size };
	int fd = start(GMEM_SHARED), other, bit;

	gmem_fill(mem, size, 1);
	for (bit = 0; bit < 64; bit++) {
		attrs.flags = 1ull << bit;
		ASSERT_ERRNO(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs), EINVAL);
		attrs.flags = 0;
		if (bit == 3)
			continue;
		ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, 1ull << bit, NULL), EINVAL);
		ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, PRIVATE | 1ull << bit,
						   NULL), EINVAL);
	}
	for (bit = 0; bit < ARRAY_SIZE(attrs.reserved); bit++) {
		attrs.reserved[bit] = 1;
		ASSERT_ERRNO(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs), EINVAL);
		attrs.reserved[bit] = 0;
	}
	ASSERT_ERRNO(__gmem_make_private(fd, 0, 0), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, 1, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, 0, page_size - 1), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, 0, size + page_size), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, size, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, page_size, -page_size), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, -page_size, 2 * page_size), EINVAL);
	ASSERT_ERRNO(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, NULL), EFAULT);
	ASSERT_ERRNO(ioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs), GMEM_ENOTTY_VM);
	ASSERT_ERRNO(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs), ENOTTY);
	assert_host_sees(mem, size, 1);

	/* A file that cannot be mapped has nothing to convert. */
	other = vm_create_guest_memfd(vm, size, 0);
	ASSERT_ERRNO(__gmem_make_private(other, 0, size), EINVAL);
	close(other);
	stop_vm(fd);
	return NULL;
}

static const char *test_begins_shared(void)
{
	int fd = start(GMEM_SHARED);
	uint64_t error = 5;

	gmem_fill(mem, size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	ASSERT_OK(__gmem_set_attributes(fd, 0, size, PRIVATE, &error));
	ASSERT_EQ(error, -1ul);
	gmem_assert_no_access(mem, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	gmem_guest_fill(vcpu, GPA, size, 2);
	ASSERT_EQ(gmem_allocated(fd), size);

	gmem_make_private(fd, 0, size);
	gmem_make_shared(fd, 0, size);
	assert_host_sees(mem, size, 2);
	assert_guest_sees(vcpu, GPA, size, 2);
	gmem_fill(mem, size, 3);
	assert_guest_sees(vcpu, GPA, size, 3);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), size / page_size);
	stop_vm(fd);
	return NULL;
}

static const char *test_begins_private(void)
{
	int fd = start(GUEST_MEMFD_FLAG_MMAP);

	gmem_assert_no_access(mem, size);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_assert_no_access(mem, size);
	gmem_make_shared(fd, 0, size);
	assert_host_sees(mem, size, 1);
	gmem_make_private(fd, page_size, size - page_size);
	gmem_assert_no_access(mem + page_size, size - page_size);
	assert_host_sees(mem, page_size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(fd);
	return NULL;
}

/* Toggle every page, every other, every third ...: each has its own state. */
static const char *test_single_pages(void)
{
	int fd = start(GMEM_SHARED), step, i;
	bool private[NR_PAGES] = { };

	gmem_fill(mem, size, 1);
	for (step = 1; step < NR_PAGES; step++) {
		for (i = 0; i < NR_PAGES; i += step) {
			private[i] = !private[i];
			ASSERT_OK(__gmem_set_attributes(fd, i * page_size, page_size,
							private[i] ? PRIVATE : 0, NULL));
		}
		for (i = 0; i < NR_PAGES; i++)
			ASSERT_EQ(gmem_try_read(mem + i * page_size, NULL), !private[i]);
		assert_guest_sees(vcpu, GPA, size, 1);
	}
	stop_vm(fd);
	return NULL;
}

/* A conversion preserves code. */
static const char *test_code(void)
{
	int fd = start(GMEM_SHARED);

	gmem_put_code(mem, 1);
	gmem_make_private(fd, 0, size);
	assert_guest_calls(vcpu, GPA, 1);
	gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA, 0, 2);
	assert_guest_calls(vcpu, GPA, 2);
	gmem_make_shared(fd, 0, size);
	assert_guest_calls(vcpu, GPA, 2);
	gmem_put_code(mem, 3);
	assert_guest_calls(vcpu, GPA, 3);
	stop_vm(fd);
	return NULL;
}

/* Pages have a state whether or not they are allocated. */
static const char *test_holes(void)
{
	int fd = start(GMEM_SHARED);

	gmem_make_private(fd, 0, size / 2);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	gmem_assert_no_access(mem, size / 2);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_punch(fd, 0, size);
	gmem_assert_no_access(mem, size / 2);
	TEST_ASSERT(gmem_is_zero(mem + size / 2, size / 2), "The hole is not zero");
	gmem_fallocate(fd, 0, size);
	gmem_assert_no_access(mem, size / 2);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_make_shared(fd, 0, size);
	TEST_ASSERT(gmem_is_zero(mem, size), "The hole is not zero");
	stop_vm(fd);
	return NULL;
}

static const char *test_foreign_reference(void)
{
	struct page_ref third, fifth;
	uint64_t error;
	int fd;

	if (gmem_all_hidden())
		return gmem_no_references;

	fd = start(GMEM_SHARED);
	gmem_fill(mem, size, 1);
	hold_page(&fifth, mem + 5 * page_size);
	hold_page(&third, mem + 3 * page_size);

	/* The first page in use is reported, and nothing is converted. */
	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, PRIVATE, &error), EAGAIN);
	ASSERT_EQ(error, 3 * page_size);
	assert_host_sees(mem, size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	release_page(&third);
	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, PRIVATE, &error), EAGAIN);
	ASSERT_EQ(error, 5 * page_size);
	gmem_make_private(fd, 0, 5 * page_size);
	gmem_make_private(fd, 6 * page_size, size - 6 * page_size);
	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, PRIVATE, &error), EAGAIN);
	ASSERT_EQ(error, 5 * page_size);
	ASSERT_EQ(gmem_try_read(mem + 5 * page_size, NULL), true);
	gmem_make_shared(fd, 0, size);
	release_page(&fifth);
	gmem_make_private(fd, 0, size);
	gmem_assert_no_access(mem, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(fd);
	return NULL;
}

/* By gfn, in a slot that maps the middle of the file. */
static const char *test_by_gfn(void)
{
	size_t half = size / 2;
	struct page_ref ref;
	int fd;

	if (gmem_all_hidden())
		return gmem_no_references;

	fd = start_without_slot();
	gmem_fill(mem, size, 1);
	set_slot(SLOT, GPA, fd, half / 2, half);
	vm_make_private(vm, GPA + page_size, half);
	assert_host_sees(mem, half / 2 + page_size, 1);
	gmem_assert_no_access(mem + half / 2 + page_size, half - page_size);
	ASSERT_EQ(gmem_try_read(mem + half / 2 + half, NULL), true);

	hold_page(&ref, mem + half / 2);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, half), EAGAIN);
	ASSERT_EQ(gmem_try_read(mem + half / 2, NULL), true);
	vm_make_shared(vm, GPA, half);
	release_page(&ref);
	assert_host_sees(mem, size, 1);
	stop_vm(fd);
	return NULL;
}

/* Slots with holes between them: if the last fails, the others are undone. */
static const char *test_several_slots(void)
{
	size_t quarter = size / 4;
	uint64_t end = GPA + 6 * quarter;
	struct page_ref ref;
	int fd;

	if (gmem_all_hidden())
		return gmem_no_references;

	fd = start_without_slot();
	gmem_fill(mem, size, 1);
	set_slot(SLOT, GPA, fd, 0, quarter);
	set_slot(SLOT + 1, GPA + 2 * quarter, fd, quarter, quarter);
	set_slot(SLOT + 2, GPA + 4 * quarter, fd, 3 * quarter, quarter);
	gmem_make_private(fd, quarter + page_size, page_size);

	hold_page(&ref, mem + size - page_size);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, end - GPA), EAGAIN);
	assert_host_sees(mem, quarter, 1);
	ASSERT_EQ(gmem_try_read(mem + quarter, NULL), true);
	gmem_assert_no_access(mem + quarter + page_size, page_size);
	ASSERT_EQ(gmem_try_read(mem + quarter + 2 * page_size, NULL), true);
	ASSERT_EQ(gmem_try_read(mem + 3 * quarter, NULL), true);

	/* The holes were not made private either. */
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + quarter, 0, 0);
	gmem_expect_mmio_read(vcpu, GPA + quarter, 9);
	ASSERT_EQ(gmem_guest_finish(vcpu), 9ul);

	release_page(&ref);
	vm_make_private(vm, GPA, end - GPA);
	gmem_assert_no_access(mem, 2 * quarter);
	gmem_assert_no_access(mem + 3 * quarter, quarter);
	ASSERT_EQ(gmem_try_read(mem + 2 * quarter, NULL), true);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + 3 * quarter, 0, 0);
	vcpu_run_expect_private_fault(vcpu, GPA + 3 * quarter);
	vm_make_shared(vm, GPA, end - GPA);
	gmem_expect_mmio_read(vcpu, GPA + 3 * quarter, 9);
	gmem_guest_finish(vcpu);
	assert_host_sees(mem, size, 1);
	stop_vm(fd);
	return NULL;
}

/* The file determines the state while it is in a slot, the gfn otherwise. */
static const char *test_slots_come_and_go(void)
{
	int fd = start_without_slot();

	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA, size);
	assert_host_sees(mem, size, 1);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	vcpu_run_expect_private_fault(vcpu, GPA);
	set_slot(SLOT, GPA, fd, 0, size);
	ASSERT_EQ(gmem_guest_finish(vcpu), *(uint64_t *)mem);
	assert_host_sees(mem, size, 1);

	vm_make_private(vm, GPA, size);
	gmem_assert_no_access(mem, size);
	delete_slot();
	gmem_assert_no_access(mem, size);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	vcpu_run_expect_private_fault(vcpu, GPA);
	/* Without a slot, this does not affect the file. */
	vm_make_shared(vm, GPA, size);
	gmem_assert_no_access(mem, size);
	set_slot(SLOT, GPA, fd, 0, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	gmem_assert_no_access(mem, size);

	/* Nor does the file affect the gfns after the slot is deleted. */
	delete_slot();
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	gmem_expect_mmio_read(vcpu, GPA, 3);
	ASSERT_EQ(gmem_guest_finish(vcpu), 3ul);
	gmem_make_shared(fd, 0, size);
	assert_host_sees(mem, size, 1);
	stop_vm(fd);
	return NULL;
}

/* States are counted, whether or not pages are allocated. */
static const char *test_fdinfo(void)
{
	int fd = start(GMEM_SHARED), other;
	size_t i;

	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), 0ul);
	for (i = 0; i < size / page_size; i += 2)
		gmem_make_private(fd, i * page_size, page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), size / 2);
	gmem_make_private(fd, 0, size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), size);
	gmem_make_shared(fd, page_size, page_size);
	gmem_make_shared(fd, size - page_size, page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), size - 2 * page_size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	/* A file that begins private, and one that stays so. */
	other = vm_create_guest_memfd(vm, size, GUEST_MEMFD_FLAG_MMAP);
	ASSERT_EQ(gmem_fdinfo(other, "gmem-private"), size);
	gmem_make_shared(other, 0, page_size);
	ASSERT_EQ(gmem_fdinfo(other, "gmem-private"), size - page_size);
	close(other);
	other = vm_create_guest_memfd(vm, size, 0);
	ASSERT_EQ(gmem_fdinfo(other, "gmem-private"), size);
	close(other);
	stop_vm(fd);
	return NULL;
}

static const char *test_file_closed(void)
{
	int fd = start(GMEM_SHARED);

	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA, size);
	free_memory(fd);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	ASSERT_ERRNO(_vcpu_run(vcpu), EFAULT);
	ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_MEMORY_FAULT);
	/* Converting gfns of a closed file neither fails nor brings it back. */
	vm_make_shared(vm, GPA, size);
	vm_make_private(vm, GPA, size);
	ASSERT_ERRNO(_vcpu_run(vcpu), EFAULT);
	delete_slot();
	vcpu_run_expect_private_fault(vcpu, GPA);
	stop_vm(-1);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_errnos),
	GMEM_TEST(test_begins_shared),
	GMEM_TEST(test_begins_private),
	GMEM_TEST(test_single_pages),
	GMEM_TEST(test_code),
	GMEM_TEST(test_holes),
	GMEM_TEST(test_foreign_reference),
	GMEM_TEST(test_by_gfn),
	GMEM_TEST(test_several_slots),
	GMEM_TEST(test_slots_come_and_go),
	GMEM_TEST(test_fdinfo),
	GMEM_TEST(test_file_closed),
};

GMEM_TEST_MAIN(gmem_require_protected_vms)
