// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hwpoison_test: memory errors in guest_memfd memory
 *
 * A page with a memory error stays in the file, inaccessible to guest and host,
 * until a hole is punched there.  Soft offlining does not affect a page, since
 * guest_memfd pages cannot be migrated.
 *
 * Each poisoned page is lost to the machine until it reboots.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mman.h>
#include <signal.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	4
#include "guest_memfd_fixture.h"

static int fd;

/* The pfn of page 1 before it was poisoned. */
static uint64_t bad_pfn;

static void start(bool protected)
{
	if (gmem_all_hidden())
		gmem_trace_start();
	fd = start_vm_with_slot(protected, GMEM_SHARED);
	gmem_guest_fill(vcpu, GPA, size, 1);
}

static const char *stop(const char *skip)
{
	stop_vm(fd);
	return skip;
}

static uint64_t second_pfn(void)
{
	return gmem_all_hidden() ? gmem_traced_pfn(GPA + page_size) :
				   gmem_pfn(mem + page_size);
}

/* Why @advice, MADV_HWPOISON or MADV_SOFT_OFFLINE, cannot be used; or NULL. */
static const char *cannot_inject(int advice)
{
	if (geteuid())
		return "not root";
	if (gmem_all_hidden())
		return advice == MADV_HWPOISON ? gmem_cannot_corrupt() : gmem_no_references;
	if (madvise(mem, 0, advice))
		return "the kernel cannot inject memory errors";
	return NULL;
}

/* Start a VM and poison page 1; returns NULL, or why that is not possible. */
static const char *start_with_poison(bool protected)
{
	const char *skip;

	start(protected);
	assert_host_sees(mem, size, 1);
	skip = cannot_inject(MADV_HWPOISON);
	if (skip)
		return stop(skip);
	bad_pfn = second_pfn();
	if (gmem_all_hidden())
		gmem_corrupt(bad_pfn);
	else
		ASSERT_OK(madvise(mem + page_size, page_size, MADV_HWPOISON));
	return NULL;
}

/* Page 1 is inaccessible to guest and host, page 0 is unchanged. */
static void assert_page_is_poisoned(void)
{
	uint64_t first = *(uint64_t *)mem;

	ASSERT_EQ(gmem_guest_read(vcpu, GPA), first);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EHWPOISON);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EHWPOISON);
	TEST_ASSERT(!gmem_try_read(mem + page_size, NULL), "The host can read the page");
	TEST_ASSERT(!gmem_try_write(mem + page_size, 1), "The host can write the page");
	assert_host_sees(mem, page_size, 1);
	ASSERT_EQ(gmem_allocated(fd), size);
}

/* Punching replaces the page with a good one, and the guest continues. */
static void assert_punch_replaces_page(void)
{
	gmem_punch(fd, page_size, page_size);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	gmem_guest_fill(vcpu, GPA, size, 2);
	assert_host_sees(mem, size, 2);
	ASSERT_EQ(gmem_allocated(fd), size);
}

static const char *test_poison_mapped_page(void)
{
	const char *skip = start_with_poison(false);

	if (skip)
		return skip;

	assert_page_is_poisoned();
	assert_punch_replaces_page();
	return stop(NULL);
}

/* Poison a page that is mapped by the guest, but not by the host. */
static const char *test_poison_unmapped_page(void)
{
	uint64_t pfn;

	start(false);
	assert_host_sees(mem, size, 1);
	pfn = second_pfn();
	if (!pfn || gmem_cannot_corrupt())
		return stop(gmem_cannot_corrupt() ?: "the page frame number is unknown");

	ASSERT_OK(munmap(mem, size));
	gmem_corrupt(pfn);
	mem = gmem_mmap(fd, 0, size);

	assert_page_is_poisoned();
	assert_punch_replaces_page();
	return stop(NULL);
}

static const char *test_close_with_poison(void)
{
	const char *skip = start_with_poison(false);

	if (skip)
		return skip;

	/* The file is freed with the bad page; the next one must not get it. */
	stop(NULL);
	start(false);
	assert_host_sees(mem, size, 1);
	return stop(NULL);
}

static const char *test_soft_offline(void)
{
	const char *skip;
	uint64_t pfn;

	start(false);
	assert_host_sees(mem, size, 1);
	pfn = gmem_pfn(mem + page_size);
	skip = cannot_inject(MADV_SOFT_OFFLINE);
	if (skip)
		return stop(skip);

	/* This may fail, and must neither move nor change the page. */
	madvise(mem + page_size, page_size, MADV_SOFT_OFFLINE);
	assert_guest_sees(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	ASSERT_EQ(gmem_pfn(mem + page_size), pfn);
	gmem_guest_fill(vcpu, GPA, size, 3);
	assert_host_sees(mem, size, 3);
	return stop(NULL);
}

static const char *test_compaction(void)
{
	start(false);
	if (gmem_write_file("/proc/sys/vm/compact_memory", "1"))
		return stop("the kernel cannot compact memory");

	assert_guest_sees(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	gmem_guest_fill(vcpu, GPA, size, 4);
	assert_host_sees(mem, size, 4);
	return stop(NULL);
}

/* A poisoned page does not prevent a conversion, and stays poisoned. */
static const char *test_convert_poison(void)
{
	const char *skip = start_with_poison(true);

	if (skip)
		return skip;

	gmem_make_private(fd, 0, size);
	gmem_assert_no_access(mem, size);
	assert_guest_sees(vcpu, GPA, page_size, 1);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault_flags(vcpu, GPA + page_size, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
	gmem_make_shared(fd, 0, size);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EHWPOISON);
	TEST_ASSERT(!gmem_try_read(mem + page_size, NULL), "The host can read the page");
	assert_host_sees(mem, page_size, 1);
	assert_punch_replaces_page();
	return stop(NULL);
}

/* Poison private memory of a dual-backed slot, which the host cannot map. */
static const char *test_poison_dual_backed(void)
{
	const char *skip = gmem_trace_start() ?: gmem_cannot_corrupt();

	if (skip)
		return skip;
	fd = start_vm_with_slot(true, 0);
	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA, size);
	/* The first touch of a block may be the only fault. */
	gmem_guest_write(vcpu, GPA + page_size, 2);
	gmem_guest_fill(vcpu, GPA, size, 2);
	gmem_corrupt(gmem_traced_pfn(GPA + page_size));

	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault_flags(vcpu, GPA + page_size, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
	vcpu_run_expect_memory_fault_flags(vcpu, GPA + page_size, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
	/* The shared memory is good; conversions do not heal the page. */
	vm_make_shared(vm, GPA, size);
	ASSERT_EQ(gmem_guest_finish(vcpu), *(uint64_t *)(mem + page_size));
	vm_make_private(vm, GPA, size);
	assert_guest_sees(vcpu, GPA, page_size, 2);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault_flags(vcpu, GPA + page_size, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
	gmem_punch(fd, page_size, page_size);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	return stop(NULL);
}

static void assert_stays_poisoned(void)
{
	ASSERT_EQ(gmem_unpoison(bad_pfn), EBUSY);
	TEST_ASSERT(gmem_is_poisoned(bad_pfn), "The page counts as good again");
}

/*
 * Tests may unpoison a page through debugfs.  That must not return a page with
 * guest data to the page allocator, neither while it is in the file nor later.
 */
static const char *test_unpoison(void)
{
	const char *skip = start_with_poison(false);

	if (skip)
		return skip;
	assert_stays_poisoned();
	gmem_punch(fd, page_size, page_size);
	assert_stays_poisoned();
	stop(NULL);
	assert_stays_poisoned();

	/* The same if the page is freed together with the file. */
	start_with_poison(false);
	stop(NULL);
	assert_stays_poisoned();
	return NULL;
}

static int nr_sigbus;

static void count_sigbus(int sig)
{
	WRITE_ONCE(nr_sigbus, nr_sigbus + 1);
}

/* Prefaulting poisoned ordinary memory fails, but does not raise SIGBUS. */
static const char *test_prefault_poisoned_memory(void)
{
	struct sigaction old, sa = { .sa_handler = count_sigbus };
	struct kvm_pre_fault_memory range = { .gpa = GPA };
	const char *skip;

	if (!kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "no KVM_PRE_FAULT_MEMORY";
	start_vm(false);
	fd = -1;
	mem = gmem_anonymous(size);
	gmem_fill(mem, size, 1);
	skip = geteuid() ? "not root" : NULL;
	if (!skip && madvise(mem, 0, MADV_HWPOISON))
		skip = "the kernel cannot inject memory errors";
	if (skip)
		return stop(skip);

	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	ASSERT_OK(sigaction(SIGBUS, &sa, &old));
	ASSERT_OK(madvise(mem + page_size, page_size, MADV_HWPOISON));
	WRITE_ONCE(nr_sigbus, 0);
	range.size = size;
	ASSERT_OK(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
	ASSERT_EQ((uint64_t)range.gpa, GPA + page_size);
	ASSERT_EQ((uint64_t)range.size, size - page_size);
	ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range), EHWPOISON);
	ASSERT_EQ((uint64_t)range.gpa, GPA + page_size);
	range.gpa += page_size;
	range.size -= page_size;
	ASSERT_OK(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
	ASSERT_EQ((uint64_t)range.size, 0ul);
	ASSERT_EQ(READ_ONCE(nr_sigbus), 0);
	ASSERT_OK(sigaction(SIGBUS, &old, NULL));
	return stop(NULL);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_poison_mapped_page),
	GMEM_TEST(test_poison_unmapped_page),
	GMEM_TEST(test_close_with_poison),
	GMEM_TEST_PROTECTED(test_convert_poison),
	GMEM_TEST_PROTECTED(test_poison_dual_backed),
	GMEM_TEST(test_soft_offline),
	GMEM_TEST(test_compaction),
	GMEM_TEST(test_unpoison),
	GMEM_TEST(test_prefault_poisoned_memory),
};

GMEM_TEST_MAIN(gmem_require_mmap)
