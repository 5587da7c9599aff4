// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_private_test: private memory of software-protected VMs
 *
 * Checks capabilities, the attributes of gfns, slots with private memory in a
 * guest_memfd and shared memory at userspace_addr, and guest accesses to
 * private gfns without private memory.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <linux/sizes.h>

#include "guest_memfd_private.h"

#define NR_PAGES	16
#include "guest_memfd_fixture.h"

#define NR_FAULTS	200
#define NR_NEW_VCPUS	8
#define LARGE_GPA	0x100000000ul
#define LARGE_SIZE	0x4000000000ul

/* A protected VM with a dual-backed slot; mem is its shared memory. */
static int start(void)
{
	return start_vm_with_slot(true, 0);
}

static void expect_private_fault(uint64_t gpa)
{
	gmem_guest_order(vcpu, GMEM_GUEST_READ, gpa, 0, 0);
	vcpu_run_expect_private_fault(vcpu, gpa);
}

static void check_caps(struct kvm_vm *vm, bool private)
{
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES), private ? 8 : 0);
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES),
		  private ? 8 : 0);
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD), 1);
	ASSERT_EQ(gmem_common_flags(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS)),
		  GMEM_ALL_FLAGS);
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_PRE_FAULT_MEMORY), 1);
}

static const char *test_caps(void)
{
	struct kvm_vm *ordinary = vm_create_barebones();
	int fd = start();

	ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES), 8);
	ASSERT_EQ(kvm_check_cap(KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES), 8);
	ASSERT_EQ(kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY), 1);
	ASSERT_EQ(gmem_common_flags(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS)),
		  GMEM_ALL_FLAGS);
	check_caps(ordinary, false);
	check_caps(vm, true);
	kvm_vm_free(ordinary);
	stop_vm(fd);
	return NULL;
}

static const char *test_attribute_errnos(void)
{
	struct kvm_memory_attributes attrs = { .address = GPA, .size = size };
	int bit, fd = start();

	for (bit = 0; bit < 64; bit++) {
		attrs.flags = 1ull << bit;
		ASSERT_ERRNO(__vm_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &attrs), EINVAL);
		if (bit != 3)
			ASSERT_ERRNO(__vm_set_attributes(vm, GPA, size, 1ull << bit), EINVAL);
	}
	ASSERT_ERRNO(__vm_make_private(vm, GPA, 0), EINVAL);
	ASSERT_ERRNO(__vm_make_private(vm, GPA + 1, size), EINVAL);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, size - 1), EINVAL);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, 1), EINVAL);
	ASSERT_ERRNO(__vm_make_private(vm, -page_size, 2 * page_size), EINVAL);
	ASSERT_ERRNO(__vm_set_attributes(vm, page_size, -page_size + 1, 0), EINVAL);
	ASSERT_ERRNO(ioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, NULL), EFAULT);
	gmem_guest_fill(vcpu, GPA, size, 1);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	/* Neither a slot nor a reachable address is required. */
	vm_make_private(vm, 0x7fff00000000, page_size);
	vm_make_private(vm, -2 * page_size, page_size);
	vm_make_private(vm, GPA, size);
	vm_make_private(vm, GPA, size);
	vm_make_shared(vm, 0, -page_size);
	stop_vm(fd);
	return NULL;
}

static const char *test_ordinary_vm(void)
{
	struct kvm_vm *ordinary = vm_create_barebones();
	int fd = vm_create_guest_memfd(ordinary, size, GMEM_SHARED);
	uint64_t error;

	ASSERT_ERRNO(__vm_make_private(ordinary, GPA, size), EINVAL);
	ASSERT_OK(__vm_set_attributes(ordinary, GPA, size, 0));
	ASSERT_ERRNO(__vm_set_attributes(ordinary, GPA, 0, 0), EINVAL);
	ASSERT_ERRNO(__gmem_make_private(fd, 0, size), EINVAL);
	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, 0, &error), EINVAL);
	close(fd);
	kvm_vm_free(ordinary);
	return NULL;
}

/* A gfn has private and shared memory, and each keeps its contents. */
static const char *test_dual_backed(void)
{
	int fd = start();

	gmem_guest_fill(vcpu, GPA, size, 1);
	vm_make_private(vm, GPA, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_guest_fill(vcpu, GPA, size, 2);
	assert_host_sees(mem, size, 1);
	ASSERT_EQ(gmem_allocated(fd), size);

	gmem_fill(mem, size, 3);
	assert_guest_sees(vcpu, GPA, size, 2);
	vm_make_shared(vm, GPA + page_size, page_size);
	assert_guest_sees(vcpu, GPA, page_size, 2);
	TEST_ASSERT(gmem_guest_read(vcpu, GPA + page_size) ==
		    *(uint64_t *)(mem + page_size), "The page is not shared");
	vm_make_shared(vm, GPA, size);
	assert_guest_sees(vcpu, GPA, size, 3);
	vm_make_private(vm, GPA, size);
	assert_guest_sees(vcpu, GPA, size, 2);

	/* MADV_DONTNEED does not free private memory, punching does. */
	ASSERT_OK(madvise(mem, size, MADV_DONTNEED));
	assert_guest_sees(vcpu, GPA, size, 2);
	gmem_punch(fd, 0, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	stop_vm(fd);
	return NULL;
}

/* Single pages of 2M host pages become private. */
static const char *test_huge_shared(void)
{
	uint64_t gpa = SZ_4M, page;
	void *huge, *map;
	int fd;

	vm = gmem_create_vm(true, 1, gmem_guest_code, &vcpu);
	map = gmem_anonymous(3 * SZ_2M);
	huge = (void *)(((uintptr_t)map + SZ_2M - 1) & ~(SZ_2M - 1ul));
	madvise(huge, SZ_2M, MADV_HUGEPAGE);
	gmem_fill(huge, SZ_2M, 1);
	virt_map(vm, GPA, gpa, SZ_2M / vm->page_size);
	fd = vm_create_guest_memfd(vm, SZ_2M, 0);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, gpa, SZ_2M, huge, fd, 0);
	gmem_guest_start(vcpu);
	assert_guest_sees(vcpu, GPA, SZ_2M, 1);

	for (page = 0; page < SZ_2M / page_size; page += 100) {
		vm_make_private(vm, gpa + page * page_size, page_size);
		gmem_guest_write(vcpu, GPA + page * page_size, 0x1234 + page);
		ASSERT_EQ(gmem_guest_read(vcpu, GPA + (page + 1) * page_size),
			  *(uint64_t *)(huge + (page + 1) * page_size));
		ASSERT_EQ(gmem_guest_read(vcpu, GPA + page * page_size), 0x1234 + page);
	}
	assert_host_sees(huge, SZ_2M, 1);
	vm_make_shared(vm, gpa, SZ_2M);
	assert_guest_sees(vcpu, GPA, SZ_2M, 1);
	kvm_vm_free(vm);
	close(fd);
	ASSERT_OK(munmap(map, 3 * SZ_2M));
	return NULL;
}

static bool stop_converting;

/* Keep converting all of the large slot but its first page. */
static void *convert_thread(void *arg)
{
	while (!READ_ONCE(stop_converting)) {
		vm_make_private(vm, LARGE_GPA + page_size, LARGE_SIZE - page_size);
		vm_make_shared(vm, LARGE_GPA + page_size, LARGE_SIZE - page_size);
	}
	return NULL;
}

/*
 * A conversion blocks only faults on its range.  Converting a large slot,
 * mapped or not, takes some time; faults on other gfns need not wait.
 */
static const char *test_conversions_elsewhere(void)
{
	pthread_t thread;
	uint64_t faults;
	int fd, i;
	void *map;

	create_vm(true);
	gmem_guest_map(vm, LARGE_GPA, page_size);
	map = ASSERT_OK(mmap(NULL, LARGE_SIZE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	fd = vm_create_guest_memfd(vm, LARGE_SIZE, 0);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, LARGE_GPA,
				   LARGE_SIZE, map, fd, 0);
	vm_make_private(vm, LARGE_GPA, page_size);
	gmem_guest_start(vcpu);

	stop_converting = false;
	pthread_create(&thread, NULL, convert_thread, NULL);
	for (i = 0; i < NR_FAULTS; i++) {
		gmem_punch(fd, 0, page_size);
		ASSERT_EQ(gmem_guest_read(vcpu, LARGE_GPA), 0ul);
	}
	WRITE_ONCE(stop_converting, true);
	pthread_join(thread, NULL);

	faults = gmem_vcpu_stat(vcpu, "gmem_faults");
	ksft_print_msg("%lu tries for %d faults\n", faults, NR_FAULTS);
	TEST_ASSERT(faults < 2 * NR_FAULTS, "The guest had to wait for others");
	kvm_vm_free(vm);
	close(fd);
	ASSERT_OK(munmap(map, LARGE_SIZE));
	return NULL;
}

static const char *test_no_private_memory(void)
{
	int fd = start();

	/* No slot: MMIO once the gfn is shared. */
	vm_make_private(vm, GPA, 2 * size);
	expect_private_fault(GPA + size);
	vcpu_run_expect_private_fault(vcpu, GPA + size);
	vm_make_shared(vm, GPA + size, size);
	gmem_expect_mmio_read(vcpu, GPA + size, 8);
	ASSERT_EQ(gmem_guest_finish(vcpu), 8ul);

	/* A deleted slot that has been in use. */
	gmem_guest_fill(vcpu, GPA, size, 1);
	delete_slot();
	expect_private_fault(GPA);
	set_slot(SLOT, GPA, fd, 0, size);
	gmem_guest_finish(vcpu);
	assert_guest_sees(vcpu, GPA, size, 1);

	/* A slot without a guest_memfd. */
	delete_slot();
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	expect_private_fault(GPA + page_size);
	vm_make_shared(vm, GPA, size);
	gmem_guest_finish(vcpu);
	stop_vm(fd);
	return NULL;
}

/* Code in private memory, whose slot is deleted and created again. */
static const char *test_fetch(void)
{
	int fd = start();

	gmem_put_code(mem, 1);
	assert_guest_calls(vcpu, GPA, 1);
	vm_make_private(vm, GPA, size);
	gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA, 0, 2);
	assert_guest_calls(vcpu, GPA, 2);
	delete_slot();
	gmem_guest_order(vcpu, GMEM_GUEST_CALL, GPA, 0, 0);
	vcpu_run_expect_private_fault(vcpu, GPA);
	set_slot(SLOT, GPA, fd, 0, size);
	ASSERT_EQ(gmem_guest_finish(vcpu), 2ul);
	vm_make_shared(vm, GPA, size);
	assert_guest_calls(vcpu, GPA, 1);
	stop_vm(fd);
	return NULL;
}

/* KVM caches MMIO gfns, but not across changes of memslots. */
static const char *test_mmio_becomes_private(void)
{
	int fd = start();

	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + size, 0, 0);
	gmem_expect_mmio_read(vcpu, GPA + size, 7);
	ASSERT_EQ(gmem_guest_finish(vcpu), 7ul);
	vm_make_private(vm, GPA + size, size);
	delete_slot();
	expect_private_fault(GPA + size);
	stop_vm(fd);
	return NULL;
}

static const char *test_file_closed(void)
{
	int fd = start();

	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA, size);
	gmem_guest_fill(vcpu, GPA, size, 2);
	close(fd);
	expect_private_fault(GPA);
	vm_make_shared(vm, GPA, size);
	gmem_guest_finish(vcpu);
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(-1);
	return NULL;
}

static bool stop_converting;

static void *convert_for_ever(void *arg)
{
	while (!READ_ONCE(stop_converting)) {
		vm_make_private(vm, GPA, size);
		vm_make_shared(vm, GPA, size);
	}
	return NULL;
}

/* vCPUs created during conversions see the same memory as the others. */
static const char *test_new_vcpus(void)
{
	struct kvm_vcpu *other;
	pthread_t thread;
	int fd = start(), i;

	ASSERT_EQ(pthread_create(&thread, NULL, convert_for_ever, NULL), 0);
	for (i = 1; i < NR_NEW_VCPUS; i++) {
		other = vm_vcpu_add(vm, i, gmem_guest_code);
		gmem_guest_start(other);
		gmem_guest_fill(other, GPA, size, i);
		gmem_guest_fill(vcpu, GPA, page_size, i);
	}
	WRITE_ONCE(stop_converting, true);
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	gmem_fill(mem, size, 1);
	assert_guest_sees(other, GPA, size, 1);
	vm_make_private(vm, GPA, size);
	gmem_guest_fill(other, GPA, size, 2);
	assert_guest_sees(vcpu, GPA, size, 2);
	stop_vm(fd);
	return NULL;
}

/* Attributes belong to gfns, and persist when slots are deleted and created. */
static const char *test_attributes_and_slots(void)
{
	size_t half = size / 2;
	int fd;

	fd = start();
	delete_slot();
	vm_make_private(vm, GPA + page_size, size - 2 * page_size);

	/* Two slots, with private memory across their common boundary. */
	set_slot(SLOT, GPA, fd, 0, half);
	set_slot(SLOT + 1, GPA + half, fd, half, half);
	gmem_guest_fill(vcpu, GPA, size, 1);
	ASSERT_EQ(gmem_allocated(fd), size_with(size - 2 * page_size));
	assert_host_sees(mem, page_size, 1);
	TEST_ASSERT(gmem_is_zero(mem + page_size, size - 2 * page_size),
		    "Private data in shared memory");
	vm_make_private(vm, GPA - page_size, size + 2 * page_size);
	assert_guest_sees_zero(vcpu, GPA, page_size);
	TEST_ASSERT(gmem_guest_read(vcpu, GPA + page_size), "Private data is gone");

	/* The same gfns map other pages of the file, and are still private. */
	delete_slot();
	set_slot(SLOT + 1, GPA, -1, 0, 0);
	set_slot(SLOT, GPA, fd, half, half);
	TEST_ASSERT(gmem_guest_read(vcpu, GPA), "Private data is gone");
	vm_make_shared(vm, GPA, size);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + half - page_size),
		  *(uint64_t *)(mem + size - page_size));
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_ordinary_vm),
	GMEM_TEST_PROTECTED(test_caps),
	GMEM_TEST_PROTECTED(test_attribute_errnos),
	GMEM_TEST_PROTECTED(test_dual_backed),
	GMEM_TEST_PROTECTED(test_huge_shared),
	GMEM_TEST_PROTECTED(test_conversions_elsewhere),
	GMEM_TEST_PROTECTED(test_no_private_memory),
	GMEM_TEST_PROTECTED(test_fetch),
	GMEM_TEST_PROTECTED(test_file_closed),
	GMEM_TEST_PROTECTED(test_new_vcpus),
	GMEM_TEST_PROTECTED(test_attributes_and_slots),
	GMEM_TEST_PROTECTED(test_mmio_becomes_private),
};

GMEM_TEST_MAIN(gmem_require_mmap)
