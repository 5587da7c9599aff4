// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_prefault_test: KVM_PRE_FAULT_MEMORY
 *
 * A guest does not fault on prefaulted memory: private and shared memory, of
 * guest_memfds and of the host, in protected and ordinary VMs.  Also checks how
 * far a call gets, and what it returns.
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

static int __prefault(uint64_t *gpa, uint64_t *len)
{
	struct kvm_pre_fault_memory range = { .gpa = *gpa, .size = *len };
	int ret;

	ret = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	*gpa = range.gpa;
	*len = range.size;
	return ret;
}

/* Populate all of a range, in as many calls as that takes. */
static void prefault(uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa + len, before;

	while (len) {
		before = len;
		ASSERT_OK(__prefault(&gpa, &len));
		TEST_ASSERT(len < before && gpa + len == end,
			    "Success without progress: 0x%lx + 0x%lx", gpa, len);
	}
}

/* The call must fail without any progress. */
static void prefault_fails(uint64_t gpa, uint64_t len, int err)
{
	uint64_t left_gpa = gpa, left = len;

	ASSERT_ERRNO(__prefault(&left_gpa, &left), err);
	ASSERT_EQ(left_gpa, gpa);
	ASSERT_EQ(left, len);
}

/* The guest uses [GPA, GPA + len) for the first time, without a fault. */
static void assert_no_faults(size_t len)
{
	uint64_t taken = gmem_faults_taken(vcpu);
	uint64_t faults = gmem_vcpu_stat(vcpu, "gmem_faults");

	gmem_guest_fill(vcpu, GPA, len, 5);
	assert_guest_sees(vcpu, GPA, len, 5);
	ASSERT_EQ(gmem_vcpu_stat(vcpu, "gmem_faults"), faults);
	ASSERT_EQ(gmem_faults_taken(vcpu), taken);
}

/* Let the guest fault in what else it needs: code, stack, page tables. */
static void warm_up(void)
{
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, GPA + size, SLOT + 1,
				    page_size / vm->page_size, 0);
	gmem_guest_start(vcpu);
	gmem_guest_fill(vcpu, GPA + size, page_size, 6);
	assert_guest_sees(vcpu, GPA + size, page_size, 6);
}

static const char *test_errnos(void)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = size };
	int bit, fd;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	for (bit = 0; bit < 64; bit++) {
		range.flags = 1ull << bit;
		ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range), EINVAL);
	}
	prefault_fails(GPA, 0, EINVAL);
	prefault_fails(GPA + 1, page_size, EINVAL);
	prefault_fails(GPA, page_size + 1, EINVAL);
	prefault_fails(GPA, page_size - 1, EINVAL);
	prefault_fails(-page_size, 2 * page_size, EINVAL);
	prefault_fails(page_size, -page_size, EINVAL);
	prefault_fails(GPA + size, page_size, ENOENT);
	prefault_fails(GPA - page_size, 2 * page_size, ENOENT);
	prefault_fails(1ull << 51, page_size, ENOENT);
	ASSERT_ERRNO(ioctl(vcpu->fd, KVM_PRE_FAULT_MEMORY, NULL), EFAULT);
	ASSERT_ERRNO(ioctl(vm->fd, KVM_PRE_FAULT_MEMORY, &range), GMEM_ENOTTY_VM);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	/* The padding is ignored. */
	memset(&range, 0xff, sizeof(range));
	range.gpa = GPA;
	range.size = page_size;
	range.flags = 0;
	ASSERT_OK(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
	ASSERT_EQ((uint64_t)range.gpa, GPA + page_size);
	ASSERT_EQ((uint64_t)range.size, 0ul);
	ASSERT_EQ(gmem_allocated(fd), size_with(page_size));
	stop_vm(fd);
	return NULL;
}

/* Partial progress is success; the next call returns the error. */
static const char *test_partial(void)
{
	uint64_t gpa = GPA + page_size, len = 4 * size;
	int fd;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	ASSERT_OK(__prefault(&gpa, &len));
	ASSERT_EQ(gpa, GPA + size);
	ASSERT_EQ(len, 3 * size + page_size);
	prefault_fails(gpa, len, ENOENT);
	ASSERT_EQ(gmem_allocated(fd), size_with(size - page_size));

	/* Prefault again, over pages that are already mapped. */
	prefault(GPA, size);
	prefault(GPA, size);
	ASSERT_EQ(gmem_allocated(fd), size);
	stop_vm(fd);
	return NULL;
}

static const char *test_gmem_only(void)
{
	int fd;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	prefault(GPA, size);
	warm_up();
	assert_no_faults(size);
	assert_host_sees(mem, size, 5);
	stop_vm(fd);
	return NULL;
}

static const char *test_host_memory(void)
{
	create_vm(false);
	mem = gmem_anonymous(size);
	gmem_fill(mem, size, 1);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	prefault(GPA, size);
	warm_up();
	assert_no_faults(size);
	assert_host_sees(mem, size, 5);
	stop_vm(-1);
	return NULL;
}

/* Pages larger than the range, and ranges larger than the pages. */
static const char *test_huge(void)
{
	uint64_t gpa = SZ_4M;
	void *map, *huge;
	int fd;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	map = gmem_anonymous(4 * SZ_2M);
	huge = (void *)(((uintptr_t)map + SZ_2M - 1) & ~(SZ_2M - 1ul));
	madvise(huge, 3 * SZ_2M, MADV_HUGEPAGE);
	gmem_fill(huge, SZ_2M + page_size, 1);
	vm_set_user_memory_region(vm, SLOT + 2, 0, gpa, 3 * SZ_2M, huge);
	prefault(gpa + page_size, page_size);
	prefault(gpa + SZ_2M - page_size, SZ_2M);
	prefault(gpa, 3 * SZ_2M);
	prefault_fails(gpa + 3 * SZ_2M, SZ_2M, ENOENT);
	assert_host_sees(huge, SZ_2M + page_size, 1);
	stop_vm(fd);
	ASSERT_OK(munmap(map, 4 * SZ_2M));
	return NULL;
}

static const char *test_private(void)
{
	static const uint64_t flags[] = { 0, GUEST_MEMFD_FLAG_MMAP, GMEM_SHARED };
	int i, fd;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		create_vm(true);
		fd = new_slot(flags[i]);
		vm_make_private(vm, GPA, size);
		prefault(GPA, size);
		ASSERT_EQ(gmem_allocated(fd), size);
		warm_up();
		assert_no_faults(size);
		if (!flags[i])
			TEST_ASSERT(gmem_is_zero(mem, size), "Data in shared memory");
		else
			gmem_assert_no_access(mem, size);
		stop_vm(fd);
	}
	return NULL;
}

/* The attribute decides whether private or shared memory is mapped. */
static const char *test_mixed(void)
{
	int fd;

	create_vm(true);
	fd = new_slot(0);
	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA + page_size, page_size);
	prefault(GPA, size);
	ASSERT_EQ(gmem_allocated(fd), size_with(page_size));
	warm_up();
	assert_no_faults(size);

	/* Private gfns without private memory. */
	vm_make_private(vm, GPA + 2 * size, page_size);
	prefault_fails(GPA + 2 * size, page_size, EFAULT);
	close(fd);
	prefault_fails(GPA + page_size, page_size, EFAULT);
	prefault(GPA, page_size);
	stop_vm(-1);
	return NULL;
}

/* Prefaulting must not affect an exit that is not completed yet. */
static const char *test_pending_exit(void)
{
	uint64_t gpa = GPA + size;
	int fd;

	create_vm(true);
	fd = new_slot(0);
	gmem_guest_start(vcpu);
	vm_make_private(vm, GPA + 4 * size, page_size);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, gpa, 0, 0);
	gmem_expect_mmio_read(vcpu, gpa, 0x1234);
	prefault(GPA, size);
	prefault_fails(GPA + 4 * size, page_size, EFAULT);
	prefault_fails(GPA + 5 * size, page_size, ENOENT);
	ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_MMIO);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0x1234ul);
	stop_vm(fd);
	return NULL;
}

static bool stop_thread;

static void *slot_thread(void *arg)
{
	int fd = *(int *)arg;

	while (!READ_ONCE(stop_thread)) {
		delete_slot();
		set_slot(SLOT, GPA, fd, 0, size);
	}
	return NULL;
}

/* Race with deleting and creating the slot: success, ENOENT or EAGAIN. */
static const char *test_slot_race(void)
{
	int nr[3] = { }, fd, i;
	uint64_t gpa, len;
	pthread_t thread;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	stop_thread = false;
	pthread_create(&thread, NULL, slot_thread, &fd);
	for (i = 0; i < 300; i++) {
		gpa = GPA;
		len = size;
		if (!__prefault(&gpa, &len)) {
			nr[0]++;
			continue;
		}
		TEST_ASSERT(errno == ENOENT || errno == EAGAIN, "errno %d", errno);
		nr[errno == ENOENT ? 1 : 2]++;
	}
	WRITE_ONCE(stop_thread, true);
	pthread_join(thread, NULL);
	errno = 0;
	ksft_print_msg("%d successes, %d ENOENT, %d EAGAIN\n", nr[0], nr[1], nr[2]);
	prefault(GPA, size);
	stop_vm(fd);
	return NULL;
}

/* Shadow paging has no guest physical faults to prefault. */
static const char *test_unsupported(void)
{
	int fd;

	create_vm(false);
	fd = new_slot(GMEM_SHARED);
	prefault_fails(GPA, size, EOPNOTSUPP);
	prefault_fails(GPA, 0, EINVAL);
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test unsupported_tests[] = {
	GMEM_TEST(test_unsupported),
};

static const struct gmem_test tests[] = {
	GMEM_TEST(test_errnos),
	GMEM_TEST(test_partial),
	GMEM_TEST(test_gmem_only),
	GMEM_TEST(test_host_memory),
	GMEM_TEST(test_huge),
	GMEM_TEST(test_slot_race),
	GMEM_TEST_PROTECTED(test_private),
	GMEM_TEST_PROTECTED(test_mixed),
	GMEM_TEST_PROTECTED(test_pending_exit),
};

int main(int argc, char *argv[])
{
	init_sizes();
	gmem_require_mmap();
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		gmem_run_tests(argc, argv, unsupported_tests, 1);
	return gmem_run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
