// SPDX-License-Identifier: GPL-2.0
/*
 * Self-test cases for --protected.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lock.h"
#include "../options.h"
#include "../summary.h"
#include "selftest.h"

#define GPA		(16 * MIB)
#define MAP_SHARED_GPA	0ULL
#define MAP_PRIVATE_GPA	_BITULL(4)
#define VM_FEATURES	0x40000001

static int vcpu;
static struct kvm_run *run;

/* Creates a VM with memory in two slots at GPA, and a vCPU. */
static void start(const char *from)
{
	check(gmem_private_from_parse(from, &gmem_options.from));
	gmem_options.protected = true;
	gmem_options.require = true;
	create_vm();
	check(!set(0, GPA, map_anon(MIB), MIB));
	check(!set(1, GPA + MIB, map_anon(MIB), MIB));
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	check(vcpu >= 0);
	run = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	check(run != MAP_FAILED);
}

static bool all_private(unsigned int id, bool private)
{
	unsigned long page;

	for (page = 0; page < fake_slot(id)->region.memory_size / PAGE; page++)
		if (fake_private(id, page) != private)
			return false;
	return true;
}

static int exits(unsigned int reason)
{
	run->exit_reason = reason;
	return 0;
}

static void vcpu_run(void)
{
	run_vcpu(vcpu);
}

static int guest_is_private(int fd, struct kvm_run *its_run)
{
	(void)fd;
	(void)its_run;
	check(all_private(0, true) && all_private(1, true));
	/* The library's lock is free while the guest runs. */
	check(gmem_lock());
	gmem_unlock();
	return exits(KVM_EXIT_HLT);
}

static void test_protected(void)
{
	char *mem;

	start("run");
	check(fake_kvm.vm_type == GMEM_VM_TYPE);
	check(fake_kvm.hypercalls == 1 << GMEM_HC_MAP_GPA_RANGE);
	check(ioctl(-1, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE) == 1);
	check(!ioctl(-1, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM));
	check(ioctl(-1, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD) == 1);
	check(all_private(0, false) && all_private(1, false));

	fake_kvm.guest = guest_is_private;
	check(!run_vcpu(vcpu) && run->exit_reason == KVM_EXIT_HLT);
	check(!run_vcpu(vcpu) && fake_kvm.nr_converted == 2);
	/* Memory that is added later is private before it is bound. */
	mem = map_anon(MIB);
	mem[5] = 5;
	check(!set(2, 8 * MIB, mem, MIB) && fake_slot(2)->private);
	check(all_private(2, true) && fake_kvm.nr_converted == 3);
	/* The file is still private when it gets another slot. */
	check(!set(2, 0, NULL, 0) && !set(3, 8 * MIB, mem, MIB));
	check(fake_kvm.nr_converted == 3 && fake_slot(3)->private);
	/* Read-only shadow RAM can be private and is bound, ROM is not. */
	check(!set(3, 0, NULL, 0));
	check(!set_flags(3, 8 * MIB, mem, MIB, KVM_MEM_READONLY));
	check(is_bound(3) && fake_slot(3)->private);
	check(!set_flags(4, 0, map_anon(PAGE), PAGE, KVM_MEM_READONLY));
	check(!is_bound(4));
	/* Punching a hole does not change the state. */
	check(!madvise(mem, MIB, MADV_DONTNEED) && all_private(3, true));
}

/* Nothing changes without --protected. */
static void test_not_protected(void)
{
	gmem_options.protected = false;
	create_vm();
	check(!fake_kvm.vm_type && !fake_kvm.hypercalls);
	check(ioctl(-1, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE) == 2);
	check(ioctl(-1, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) == 1);
	check(!set(0, GPA, map_anon(MIB), MIB));
	check(all_private(0, false) && !fake_kvm.nr_converted);
}

static int script;

static int guest_writes_ports(int fd, struct kvm_run *its_run)
{
	static const struct {
		unsigned char direction;
		unsigned short port;
	} io[] = {
		{ KVM_EXIT_IO_IN, 0x3f8 },
		{ KVM_EXIT_IO_OUT, 0x3f9 },
		{ KVM_EXIT_IO_OUT, 0x3f8 },
		{ KVM_EXIT_IO_OUT, 0x3f8 },
	};

	(void)fd;
	check(all_private(0, script > 2) && all_private(1, script > 2));
	its_run->io.direction = io[script].direction;
	its_run->io.port = io[script].port;
	script++;
	return exits(KVM_EXIT_IO);
}

static void run_without_port(void)
{
	start("io:0x3f8");
	script = 0;
	vcpu_run();
	gmem_summary_at_exit(0, NULL);
}

static void test_private_from_io(void)
{
	fake_kvm.guest = guest_writes_ports;
	check(stops(run_without_port));
	start("io:0x3f8");
	for (script = 0; script < 4;) {
		check(!run_vcpu(vcpu));
		check(run->exit_reason == KVM_EXIT_IO);
		check(all_private(0, script > 2) && all_private(1, script > 2));
	}
	check(fake_kvm.nr_converted == 2);
	gmem_summary_at_exit(0, NULL);
}

static const struct {
	u64 gpa;
	u64 pages;
	u64 attributes;
	int failure;
	int result;
} calls[] = {
	{ GPA + PAGE, 2, MAP_SHARED_GPA, 0, 0 },
	{ GPA + MIB - PAGE, 2, MAP_SHARED_GPA, 0, 0 },
	{ GPA, 512, MAP_PRIVATE_GPA | 2, 0, 0 },
	{ GPA, 512, MAP_PRIVATE_GPA | 0xf, 0, 0 },
	{ GPA, 1, MAP_SHARED_GPA, 0, 0 },
	/* Not all of the range is RAM, or it is invalid: nothing changes. */
	{ GPA - PAGE, 2, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA + MIB, 257, MAP_SHARED_GPA, 0, -EINVAL },
	{ 0, 1, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA + 1, 1, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA, 0, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA, 1ULL << 52, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA, (1ULL << 52) + 1, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA, UINT64_MAX, MAP_SHARED_GPA, 0, -EINVAL },
	{ UINT64_MAX - PAGE + 1, 1, MAP_SHARED_GPA, 0, -EINVAL },
	{ UINT64_MAX - PAGE + 1, 2, MAP_SHARED_GPA, 0, -EINVAL },
	{ GPA, 1, 1 << 5, 0, -EINVAL },
	{ GPA, 1, 1ULL << 63, 0, -EINVAL },
	/* The guest does not see what passes within a second. */
	{ GPA, 1, MAP_PRIVATE_GPA, EAGAIN, -EAGAIN },
	{ GPA, 1, MAP_PRIVATE_GPA, ENOMEM, -EAGAIN },
	{ GPA, 1, MAP_PRIVATE_GPA, EINTR, 0 },
};

/* The state that a page must have after the first nr calls. */
static bool expected(unsigned int slot, unsigned long page, int nr)
{
	if (nr == 1)
		return slot || (page != 1 && page != 2);
	if (nr == 2)
		return slot ? page : page != 1 && page != 2 && page != 255;
	if (nr >= 5 && nr < (int)ARRAY_SIZE(calls))
		return slot || page;
	return true;
}

static int guest_asks(int fd, struct kvm_run *its_run)
{
	unsigned long page;

	(void)fd;
	for (page = 0; page < MIB / PAGE; page++)
		check(fake_private(0, page) == expected(0, page, script) &&
		      fake_private(1, page) == expected(1, page, script));
	if (script)
		check((long long)its_run->hypercall.ret ==
		      calls[script - 1].result);
	if (script == (int)ARRAY_SIZE(calls))
		return exits(KVM_EXIT_HLT);
	its_run->hypercall.nr = GMEM_HC_MAP_GPA_RANGE;
	its_run->hypercall.args[0] = calls[script].gpa;
	its_run->hypercall.args[1] = calls[script].pages;
	its_run->hypercall.args[2] = calls[script].attributes;
	its_run->hypercall.ret = 99;
	fake_kvm.attributes_errno = calls[script].failure;
	/* For ever, or a few times. */
	if (calls[script].failure)
		fake_kvm.attributes_failures = calls[script].result ? -1 : 5;
	else
		fake_kvm.attributes_failures = 0;
	script++;
	return exits(KVM_EXIT_HYPERCALL);
}

/* The VMM gets none of the hypercall exits. */
static void test_map_gpa_range(void)
{
	start("run");
	fake_kvm.guest = guest_asks;
	check(!run_vcpu(vcpu));
	check(run->exit_reason == KVM_EXIT_HLT);
	check(script == (int)ARRAY_SIZE(calls));
}

/* With --private-from guest, only the guest converts memory. */
static int guest_asks_once(int fd, struct kvm_run *its_run)
{
	(void)fd;
	if (script++)
		return exits(KVM_EXIT_HLT);
	check(all_private(0, false));
	its_run->hypercall.nr = GMEM_HC_MAP_GPA_RANGE;
	its_run->hypercall.args[0] = GPA;
	its_run->hypercall.args[1] = MIB / PAGE;
	its_run->hypercall.args[2] = MAP_PRIVATE_GPA;
	return exits(KVM_EXIT_HYPERCALL);
}

/* arm64 has other hypercalls, which convert one page each. */
static int guest_shares(int fd, struct kvm_run *its_run)
{
	static const struct {
		u64 nr;
		u64 gpa;
		int failures;
		int result;
	} asks[] = {
		{ GMEM_HC_MEM_SHARE, GPA, 0, 0 },
		{ GMEM_HC_MEM_SHARE, GPA - PAGE, 0, GMEM_SMCCC_INVALID_PARAMETER },
		{ GMEM_HC_MEM_UNSHARE, GPA, -1, GMEM_SMCCC_INVALID_PARAMETER },
		{ GMEM_HC_MEM_UNSHARE, GPA, 5, 0 },
	};

	(void)fd;
	check(fake_private(0, 0) == (script < 1 || script > 3) &&
	      fake_private(0, 1));
	if (script)
		check((long long)its_run->hypercall.ret ==
		      asks[script - 1].result);
	if (script == (int)ARRAY_SIZE(asks))
		return exits(KVM_EXIT_HLT);
	its_run->hypercall.nr = asks[script].nr;
	its_run->hypercall.args[0] = asks[script].gpa;
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = asks[script].failures;
	script++;
	return exits(KVM_EXIT_HYPERCALL);
}

static void test_mem_share(void)
{
	start("run");
	fake_kvm.guest = guest_shares;
	check(!run_vcpu(vcpu) && script == 4);
}

static int guest_asks_for_busy(int fd, struct kvm_run *its_run)
{
	(void)fd;
	if (script++) {
		check(!its_run->hypercall.ret && fake_private(0, 0));
		return exits(KVM_EXIT_HLT);
	}
	its_run->hypercall.nr = GMEM_HC_MAP_GPA_RANGE;
	its_run->hypercall.args[0] = GPA;
	its_run->hypercall.args[1] = 1;
	its_run->hypercall.args[2] = MAP_PRIVATE_GPA;
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = -1;
	return exits(KVM_EXIT_HYPERCALL);
}

/* The VMM stops a vCPU that waits, as often as it wants; then the guest has its answer. */
static void test_stop_busy(void)
{
	int i;

	start("run");
	fake_kvm.guest = guest_asks_for_busy;
	run->immediate_exit = 1;
	for (i = 0; i < 3; i++)
		check(run_vcpu(vcpu) == -1 && errno == EINTR && script == 1);
	run->immediate_exit = 0;
	fake_kvm.attributes_failures = 0;
	check(!run_vcpu(vcpu) && script == 2);
}

/* SIGBUS is not blocked, but seems to be. */
static void test_sigbus(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN }, old;
	sigset_t set;

	start("run");
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigaddset(&set, SIGUSR1);
	check(!sigprocmask(SIG_BLOCK, &set, NULL));
	check(!pthread_sigmask(SIG_SETMASK, NULL, &set));
	check(sigismember(&set, SIGBUS) && sigismember(&set, SIGUSR1));
	check(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8));
	check(!sigismember(&set, SIGBUS) && sigismember(&set, SIGUSR1));
	/* The VMM's handler stays behind ours, which ignores nothing. */
	check(!sigaction(SIGBUS, &action, NULL));
	check(!sigaction(SIGBUS, NULL, &old) && old.sa_handler == SIG_IGN);
}

static void test_private_from_guest(void)
{
	start("guest");
	fake_kvm.guest = guest_asks_once;
	check(!run_vcpu(vcpu) && script == 2);
	check(all_private(0, true) && all_private(1, false));
}

static struct gmem_memory_fault fault;
static int fault_errno;

static int guest_faults(int fd, struct kvm_run *its_run)
{
	(void)fd;
	script++;
	memcpy(its_run->padding, &fault, sizeof(fault));
	exits(KVM_EXIT_MEMORY_FAULT);
	return -fault_errno;
}

/* Returns how often the guest ran before the VMM got the exit. */
static int runs_until_fault(u64 gpa, u64 size, u64 flags, int err)
{
	fault = (struct gmem_memory_fault){ flags, gpa, size };
	fault_errno = err;
	script = 0;
	check(run_vcpu(vcpu) == -1 && errno == err);
	check(run->exit_reason == KVM_EXIT_MEMORY_FAULT);
	return script;
}

static void test_memory_fault(void)
{
	start("run");
	fake_kvm.guest = guest_faults;
	/* Converted once; if the fault recurs, the VMM gets it. */
	check(runs_until_fault(GPA, PAGE, 0, EFAULT) == 2);
	check(!fake_private(0, 0) && fake_private(0, 1));
	check(runs_until_fault(GPA, PAGE, 0, EFAULT) == 1);
	check(runs_until_fault(GPA, PAGE, KVM_MEMORY_EXIT_FLAG_PRIVATE,
			       EFAULT) == 2);
	check(all_private(0, true));
	check(runs_until_fault(GPA + PAGE, PAGE, KVM_MEMORY_EXIT_FLAG_PRIVATE,
			       EFAULT) == 1);
	/* Not in bound slots, empty, unknown flag, other error. */
	check(runs_until_fault(0, PAGE, 0, EFAULT) == 1);
	check(runs_until_fault(GPA + 2 * MIB - PAGE, 2 * PAGE, 0, EFAULT) == 1);
	check(runs_until_fault(GPA, 0, 0, EFAULT) == 1);
	check(runs_until_fault(GPA, PAGE, 1, EFAULT) == 1);
	check(runs_until_fault(GPA, PAGE, 0, EHWPOISON) == 1);
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = -1;
	check(runs_until_fault(GPA, PAGE, 0, EFAULT) == 1);
	check(all_private(0, true) && all_private(1, true));
}

static atomic_int runs;

static int guest_counts(int fd, struct kvm_run *its_run)
{
	(void)fd;
	check(all_private(0, true) && all_private(1, true));
	atomic_fetch_add(&runs, 1);
	its_run->exit_reason = KVM_EXIT_HLT;
	return 0;
}

static void *thread_main(void *arg)
{
	int fd = ioctl(vm, KVM_CREATE_VCPU, arg);
	void *its_run = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			     0);
	int i;

	check(fd >= 0 && its_run != MAP_FAILED);
	for (i = 0; i < 100; i++)
		check(!run_vcpu(fd));
	check(!munmap(its_run, PAGE) && !close(fd));
	return NULL;
}

/* One vCPU thread converts, retrying while the memory is in use. */
static void test_vcpu_threads(void)
{
	pthread_t threads[4];
	long i;

	start("run");
	fake_kvm.guest = guest_counts;
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = 5;
	for (i = 0; i < 4; i++)
		check(!pthread_create(&threads[i], NULL, thread_main,
				      (void *)(i + 1)));
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	check(runs == 400 && fake_kvm.nr_converted == 2);
}

static void test_references(void)
{
	start("run");
	fake_kvm.guest = guest_is_private;
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = -1;
	check(stops(vcpu_run));
	fake_kvm.attributes_errno = ENOMEM;
	fake_kvm.attributes_failures = 1;
	check(stops(vcpu_run));
	fake_kvm.attributes_failures = 0;
	check(!run_vcpu(vcpu));
	/* Conversion is also retried for memory that is added later. */
	fake_kvm.attributes_errno = EAGAIN;
	fake_kvm.attributes_failures = 3;
	check(!set(2, 0, map_anon(MIB), MIB) && fake_slot(2)->private);
}

static void create_other_type(void)
{
	ioctl(-1, KVM_CREATE_VM, 2UL << GMEM_VM_TYPE_SHIFT);
}

static void set_own(void)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = 5,
		.flags = KVM_MEM_GUEST_MEMFD,
		.memory_size = PAGE,
		.userspace_addr = (uintptr_t)map_anon(PAGE),
		.guest_memfd = fake_slot(0)->region.guest_memfd,
		.guest_memfd_offset = 0,
	};

	check(!set(0, 0, NULL, 0));
	ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static void set_left(void)
{
	fake_kvm.create_errno = ENOMEM;
	set(5, 0, map_anon(PAGE), PAGE);
}

static void *slot_mem(unsigned int id)
{
	return (void *)(uintptr_t)fake_slot(id)->region.userspace_addr;
}

static void set_alias(void)
{
	set(5, 0, slot_mem(0), PAGE);
}

static void run_with_alias(void)
{
	set_alias();
	check(fake_slot(5) && !is_bound(5));
	vcpu_run();
}

static void run_unmapped(void)
{
	check(!munmap(run, PAGE));
	vcpu_run();
}

static void run_elsewhere(void)
{
	run_vcpu(vm);
}

static void run_closed(void)
{
	close((int)fake_slot(0)->region.guest_memfd);
	vcpu_run();
}

static void test_stops(void)
{
	start("run");
	fake_kvm.guest = guest_is_private;
	check(stops(create_other_type));
	fake_kvm.types = 1;
	check(stops(create_vm));
	fake_kvm.types = 3;
	fake_kvm.enable_errno = EINVAL;
	check(stops(create_vm));
	fake_kvm.enable_errno = 0;
	check(stops(set_own));
	check(stops(set_left));
	check(stops(run_with_alias));
	check(stops(run_unmapped));
	check(stops(run_elsewhere));
	check(stops(run_closed));

	/* An alias may be deleted in time, but not be added later. */
	set_alias();
	check(!set(5, 0, NULL, 0));
	check(!set_flags(6, MIB, map_anon(PAGE), PAGE, KVM_MEM_READONLY));
	check(!run_vcpu(vcpu));
	check(stops(set_alias));
}

#ifdef __x86_64__
static void test_cpuid(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[4];
	} cpuid = {
		.head.nent = 4,
		.entries = {
			{ .function = 1, .eax = 1 },
			{ .function = VM_FEATURES - 1 },
			{ .function = VM_FEATURES, .eax = 1 },
			{ .function = VM_FEATURES + 0x100, .eax = 1 },
		},
	};
	struct kvm_cpuid_entry2 *have;

	start("run");
	/* Without the signature of KVM, CPUID is not changed. */
	check(!ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	check(!memcmp(fake_kvm.cpuid, &cpuid, sizeof(cpuid)));
	memcpy(&cpuid.entries[1].ebx, "KVMKVMKVM\0\0", 12);
	check(!ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	have = fake_kvm.cpuid->entries;
	check(have[0].eax == 1 && have[2].eax == 0x10001 && have[3].eax == 1);
	check(!have[0].edx && have[2].edx == 1U << 31 && !have[3].edx);
	check(cpuid.entries[2].eax == 1);
	/* The leaves of KVM follow those of Hyper-V. */
	cpuid.entries[1].function += 0x100;
	check(!ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	have = fake_kvm.cpuid->entries;
	check(have[2].eax == 1 && have[3].eax == 0x10001);
	cpuid.head.nent = 257;
	check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid) == -1 && errno == E2BIG);
}
#endif

static void test_private_from(void)
{
	static const char * const bad[] = {
		"", "Run", "run ", "io", "io:", "io:x", "io:-1", "io: 1",
		"io:0x10000", "io:1x", "io:99999999999999999999", "guest:1",
	};
	struct gmem_private_from from;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		check(!gmem_private_from_parse(bad[i], &from));
	check(gmem_private_from_parse("io:1016", &from) && from.port == 0x3f8);
	check(gmem_private_from_parse("io:0xffff", &from) &&
	      from.port == 0xffff && from.when == GMEM_WHEN_IO);
	check(gmem_private_from_parse("guest", &from) &&
	      from.when == GMEM_WHEN_GUEST);
}

const struct test protected_tests[] = {
	TEST(protected), TEST(not_protected), TEST(private_from),
	TEST(private_from_io), TEST(private_from_guest), TEST(map_gpa_range),
	TEST(mem_share),
	TEST(stop_busy),
	TEST(sigbus),
	TEST(memory_fault), TEST(vcpu_threads), TEST(references), TEST(stops),
#ifdef __x86_64__
	TEST(cpuid),
#endif
};

const size_t nr_protected_tests = ARRAY_SIZE(protected_tests);
