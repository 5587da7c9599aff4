// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_protected_test: guests that have only private memory
 *
 * Code, stack, page tables and all data are in private pages of a guest_memfd,
 * which neither the host nor KVM can access through userspace_addr.  Such a
 * guest runs, does MMIO, has its stolen time accounted, and asks to share pages
 * with the hypercalls of pKVM guests.
 *
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <linux/kvm_para.h>

#include "guest_memfd_protected.h"
#include "processor.h"

/* Arm DEN0028 (SMCCC), DEN0057 (stolen time), and KVM's vendor hypercalls. */
#define SMCCC_NOT_SUPPORTED	(-1l)
#define SMCCC_INVALID_PARAMETER	(-3l)
#define PV_TIME_FEATURES	0xc5000020
#define PV_TIME_ST		0xc5000021
#define HYP_FEATURES		0x86000000
#define HYP_MEMINFO		0xc6000002
#define MEM_SHARE		0xc6000003
#define MEM_UNSHARE		0xc6000004

#define PAIR_GPA		(2 * MMIO_GPA)
#define MIN_DELAY_NS		1000000

struct stolen_time {
	uint32_t revision;
	uint32_t attributes;
	uint64_t ns;
	uint8_t padding[48];
};

/* Parameters for the guest, set before its memory becomes private. */
static struct {
	uint64_t page;
	uint64_t page_gpa;
} params;

/* Set params to an aligned page of the host's size, which can be converted. */
static void start_vm(void *guest_code)
{
	uint64_t gpa;

	create_vm(guest_code);
	params.page = vm_vaddr_alloc(vm, 2 * page_size, KVM_UTIL_MIN_VADDR);
	gpa = addr_gva2gpa(vm, params.page);
	params.page_gpa = (gpa + page_size - 1) & ~(page_size - 1);
	params.page += params.page_gpa - gpa;
	sync_global_to_guest(vm, params);
}

static void mmio_guest(void)
{
	uint64_t *to = (uint64_t *)guest_buf, *device = (uint64_t *)MMIO_GPA;

	to[0] = gmem_load(device);
	guest_report(1, to[0]);
	gmem_store(device + 1, to[0]);
	guest_report(2, gmem_load(device));
}

static void expect_mmio_write(uint64_t gpa, uint64_t want)
{
	struct kvm_run *run = vcpu->run;
	uint64_t val;

	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		    run->mmio.phys_addr == gpa, "Exit reason %u (%s)", run->exit_reason,
		    exit_reason_str(run->exit_reason));
	memcpy(&val, run->mmio.data, sizeof(val));
	ASSERT_EQ(val, want);
}

/* MMIO is an access to shared memory without a slot. */
static const char *test_mmio(void)
{
	start_vm(mmio_guest);
	make_private();
	gmem_expect_mmio_read(vcpu, MMIO_GPA, MMIO_VALUE);
	ASSERT_EQ(expect_report(1), MMIO_VALUE);
	expect_mmio_write(MMIO_GPA + 8, MMIO_VALUE);

	/* An access to a private gfn without memory is an error. */
	vm_make_private(vm, MMIO_GPA, page_size);
	vcpu_run_expect_private_fault(vcpu, MMIO_GPA);
	vm_make_shared(vm, MMIO_GPA, page_size);
	gmem_expect_mmio_read(vcpu, MMIO_GPA, 5);
	ASSERT_EQ(expect_report(2), 5ul);
	stop_vm();
	return NULL;
}

static void pair_guest(void)
{
	uint64_t a, b;

	asm volatile("ldp %0, %1, [%2]" : "=r" (a), "=r" (b) : "r" (PAIR_GPA) : "memory");
	guest_report(1, a + b);
}

/* KVM cannot emulate this instruction, but must report missing memory first. */
static const char *test_no_syndrome(void)
{
	int fd;

	start_vm(pair_guest);
	virt_map(vm, PAIR_GPA, PAIR_GPA, 1);
	make_private();
	vm_make_private(vm, PAIR_GPA, page_size);
	vcpu_run_expect_private_fault(vcpu, PAIR_GPA);
	vm_make_shared(vm, PAIR_GPA, page_size);
	ASSERT_EQ(_vcpu_run(vcpu), -1);
	errno = 0;
	vm_enable_cap(vm, KVM_CAP_ARM_NISV_TO_USER, 0);
	vcpu_run(vcpu);
	ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_ARM_NISV);
	ASSERT_EQ((uint64_t)vcpu->run->arm_nisv.fault_ipa, PAIR_GPA);

	fd = vm_create_guest_memfd(vm, page_size, 0);
	vm_make_private(vm, PAIR_GPA, page_size);
	vm_set_user_memory_region2(vm, 1, KVM_MEM_GUEST_MEMFD, PAIR_GPA, page_size, NULL,
				   fd, 0);
	ASSERT_EQ(expect_report(1), 0ul);
	close(fd);
	kvm_vm_free(vm);
	return NULL;
}

static int64_t smccc(uint32_t func, uint64_t arg)
{
	struct arm_smccc_res res;

	smccc_hvc(func, arg, 0, 0, 0, 0, 0, 0, &res);
	return res.a0;
}

static void time_guest(void)
{
	struct stolen_time *time = (struct stolen_time *)params.page;

	time->revision = -1;
	time->attributes = -1;
	time->ns = -1;
	guest_report(1, smccc(PV_TIME_FEATURES, PV_TIME_ST));
	guest_report(2, smccc(PV_TIME_ST, 0) == params.page_gpa);
	guest_report(3, READ_ONCE(time->revision) | READ_ONCE(time->attributes));
	for (;;)
		guest_report(4, READ_ONCE(time->ns));
}

static uint64_t run_delay(void)
{
	unsigned long delay;
	FILE *f = fopen("/proc/thread-self/schedstat", "r");

	TEST_ASSERT(f && fscanf(f, "%*u %lu", &delay) == 1, "Cannot read schedstat");
	fclose(f);
	return delay;
}

static bool stop_spinning;

static void *spin(void *arg)
{
	while (!READ_ONCE(stop_spinning))
		;
	return NULL;
}

/* Let another thread compete for the CPU, so that time is stolen. */
static void lose_time(void)
{
	uint64_t before = run_delay();
	pthread_t thread;

	stop_spinning = false;
	ASSERT_EQ(pthread_create(&thread, NULL, spin, NULL), 0);
	while (run_delay() < before + MIN_DELAY_NS)
		sched_yield();
	WRITE_ONCE(stop_spinning, true);
	pthread_join(thread, NULL);
}

static const char *test_stolen_time(void)
{
	uint64_t before, after;
	cpu_set_t cpus, all;
	int i;

	if (!kvm_has_cap(KVM_CAP_STEAL_TIME))
		return "KVM has no stolen time";

	ASSERT_OK(sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	ASSERT_OK(sched_setaffinity(0, sizeof(cpus), &cpus));
	start_vm(time_guest);
	make_private();
	gmem_clock_init(vcpu, params.page_gpa);
	ASSERT_EQ(expect_report(1), 0ul);
	ASSERT_EQ(expect_report(2), 1ul);
	ASSERT_EQ(expect_report(3), 0ul);
	before = expect_report(4);
	for (i = 0; i < 3; i++) {
		lose_time();
		after = expect_report(4);
		TEST_ASSERT(after >= before + MIN_DELAY_NS, "Stolen time %lu after %lu",
			    after, before);
		before = after;
	}
	stop_vm();
	ASSERT_OK(sched_setaffinity(0, sizeof(all), &all));
	return NULL;
}

/* Hypercalls that the guest makes one after another. */
struct call {
	uint32_t func;
	int64_t want;
	uint64_t arg1;
	uint64_t arg2;
	uint64_t arg3;
};

#define MAX_CALLS	20

static struct call calls[MAX_CALLS];

static void calling_guest(void)
{
	struct arm_smccc_res res;
	int i;

	*(uint64_t *)params.page = 0x1234;
	for (i = 0; ; i++) {
		smccc_hvc(calls[i].func, calls[i].arg1, calls[i].arg2, calls[i].arg3,
			  5, 6, 7, 0, &res);
		guest_report(1, res.a0);
		guest_report(2, res.a1 | res.a2 | res.a3);
		guest_report(3, READ_ONCE(*(uint64_t *)params.page));
	}
}

/* The result that the guest gets in x0; on success, x1 to x3 must be 0. */
static void expect_result(int64_t want)
{
	uint64_t more;

	ASSERT_EQ((int64_t)expect_report(1), want);
	more = expect_report(2);
	if (want >= 0)
		ASSERT_EQ(more, 0ul);
}

static void start_calling_vm(const struct call *list, size_t nr, uint64_t cap)
{
	TEST_ASSERT(nr <= MAX_CALLS, "Too many calls");
	memcpy(calls, list, nr * sizeof(*list));
	start_vm(calling_guest);
	sync_global_to_guest(vm, calls);
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, cap);
}

/* Calls that KVM handles without an exit. */
static void run_answered_calls(const struct call *list, size_t nr)
{
	size_t i;

	make_private();
	for (i = 0; i < nr; i++) {
		expect_result(list[i].want);
		ASSERT_EQ(expect_report(3), 0x1234ul);
	}
	stop_vm();
}

static const char *test_calls_without_cap(void)
{
	const struct call list[] = {
		{ HYP_MEMINFO, SMCCC_NOT_SUPPORTED },
		{ MEM_SHARE, SMCCC_NOT_SUPPORTED, 1ull << 20 },
		{ MEM_UNSHARE, SMCCC_NOT_SUPPORTED, 1ull << 20 },
		{ HYP_FEATURES, 3 },
	};

	start_calling_vm(list, ARRAY_SIZE(list), 0);
	run_answered_calls(list, ARRAY_SIZE(list));
	return NULL;
}

static const char *test_bad_calls(void)
{
	const struct call list[] = {
		{ HYP_FEATURES, 0x1f },
		{ HYP_MEMINFO, page_size },
		{ HYP_MEMINFO, SMCCC_INVALID_PARAMETER, 1 },
		{ HYP_MEMINFO, SMCCC_INVALID_PARAMETER, 0, 1 },
		{ HYP_MEMINFO, SMCCC_INVALID_PARAMETER, 0, 0, 1 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, 1 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, page_size / 2 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, -page_size },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, 1ull << 40 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, 1ull << 63 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, 1ull << 20, 1 },
		{ MEM_SHARE, SMCCC_INVALID_PARAMETER, 1ull << 20, 0, 1 },
		{ MEM_UNSHARE, SMCCC_INVALID_PARAMETER, 1 },
		{ MEM_UNSHARE, SMCCC_INVALID_PARAMETER, 1ull << 40 },
		{ MEM_UNSHARE, SMCCC_INVALID_PARAMETER, 1ull << 20, 1 },
		{ MEM_UNSHARE, SMCCC_INVALID_PARAMETER, 1ull << 20, 0, 1 },
		/* The same function number for 32-bit arguments. */
		{ MEM_SHARE & ~BIT(30), SMCCC_NOT_SUPPORTED, 1ull << 20 },
	};

	start_calling_vm(list, ARRAY_SIZE(list), BIT(KVM_HC_MAP_GPA_RANGE));
	run_answered_calls(list, ARRAY_SIZE(list));
	return NULL;
}

/* A call whose bit user space has cleared does not exist. */
static const char *test_call_taken_away(void)
{
	const struct call list[] = {
		{ HYP_FEATURES, 0x17 },
		{ MEM_SHARE, SMCCC_NOT_SUPPORTED, 1ull << 20 },
		{ HYP_MEMINFO, page_size },
	};

	start_calling_vm(list, ARRAY_SIZE(list), BIT(KVM_HC_MAP_GPA_RANGE));
	vcpu_set_reg(vcpu, KVM_REG_ARM_VENDOR_HYP_BMAP, 0x17);
	run_answered_calls(list, ARRAY_SIZE(list));
	return NULL;
}

/* Run the guest until it asks for its page to be shared or private. */
static void expect_call(uint32_t func)
{
	struct kvm_run *run = vcpu->run;
	int i;

	run->hypercall.ret = 0xdead;
	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_HYPERCALL, "Exit reason %u (%s)",
		    run->exit_reason, exit_reason_str(run->exit_reason));
	ASSERT_EQ((uint64_t)run->hypercall.nr, (uint64_t)func);
	ASSERT_EQ((uint64_t)run->hypercall.args[0], params.page_gpa);
	ASSERT_EQ((uint64_t)run->hypercall.args[1], 0ul);
	ASSERT_EQ((uint64_t)run->hypercall.args[2], 0ul);
	for (i = 3; i < 6; i++)
		ASSERT_EQ((uint64_t)run->hypercall.args[i], i + 2ul);
	ASSERT_EQ((uint64_t)run->hypercall.ret, 0ul);
}

static const char *test_share_and_unshare(void)
{
	struct call list[] = {
		{ MEM_SHARE }, { MEM_UNSHARE }, { MEM_UNSHARE }, { MEM_SHARE },
		{ MEM_SHARE },
	};
	uint64_t *page;
	size_t i;

	start_calling_vm(list, ARRAY_SIZE(list), BIT(KVM_HC_MAP_GPA_RANGE));
	for (i = 0; i < ARRAY_SIZE(list); i++)
		calls[i].arg1 = params.page_gpa;
	sync_global_to_guest(vm, calls);
	make_private();
	page = slot0()->host_mem + params.page_gpa;

	/* KVM itself does not convert the page. */
	expect_call(MEM_SHARE);
	ASSERT_OK(mprotect(page, page_size, PROT_READ | PROT_WRITE));
	TEST_ASSERT(!gmem_try_read((void *)page, NULL), "The host can read private memory");
	vm_make_shared(vm, params.page_gpa, page_size);
	expect_result(0);
	ASSERT_EQ(*page, 0x1234ul);
	*page = 0x4321;
	ASSERT_EQ(expect_report(3), 0x4321ul);

	/* User space may refuse. */
	expect_call(MEM_UNSHARE);
	vcpu->run->hypercall.ret = SMCCC_INVALID_PARAMETER;
	expect_result(SMCCC_INVALID_PARAMETER);
	ASSERT_EQ(expect_report(3), 0x4321ul);
	ASSERT_EQ(*page, 0x4321ul);

	/* The result is consumed even if KVM_RUN does not enter the guest. */
	expect_call(MEM_UNSHARE);
	vm_make_private(vm, params.page_gpa, page_size);
	vcpu->run->immediate_exit = 1;
	ASSERT_ERRNO(__vcpu_run(vcpu), EINTR);
	vcpu->run->immediate_exit = 0;
	vcpu->run->hypercall.ret = 77;
	expect_result(0);
	TEST_ASSERT(!gmem_try_read((void *)page, NULL), "The host can read private memory");
	ASSERT_EQ(expect_report(3), 0x4321ul);

	/* A pending call is completed even if the capability is disabled. */
	expect_call(MEM_SHARE);
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, 0);
	expect_result(0);
	expect_report(3);
	expect_result(SMCCC_NOT_SUPPORTED);
	stop_vm();
	return NULL;
}

static void refuse_cap(struct kvm_vm *a_vm, uint64_t mask)
{
	ASSERT_ERRNO(__vm_enable_cap(a_vm, KVM_CAP_EXIT_HYPERCALL, mask), EINVAL);
}

static void check_register(uint64_t want, uint64_t bad)
{
	uint64_t bits;

	vcpu_get_reg(vcpu, KVM_REG_ARM_VENDOR_HYP_BMAP, &bits);
	ASSERT_EQ(bits, want);
	ASSERT_ERRNO(__vcpu_set_reg(vcpu, KVM_REG_ARM_VENDOR_HYP_BMAP, bad), EINVAL);
}

static const char *test_cap_and_register(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.flags = 1,
		.args[0] = BIT(KVM_HC_MAP_GPA_RANGE),
	};

	vm = gmem_create_vm(false, 1, plain_guest, &vcpu);
	refuse_cap(vm, BIT(KVM_HC_MAP_GPA_RANGE));
	check_register(3, 0x1f);
	check_register(3, 7);
	kvm_vm_free(vm);

	vm = gmem_create_vm(true, 1, plain_guest, &vcpu);
	refuse_cap(vm, 1);
	refuse_cap(vm, BIT(KVM_HC_MAP_GPA_RANGE) | BIT(13));
	refuse_cap(vm, -1ull);
	ASSERT_ERRNO(__vm_ioctl(vm, KVM_ENABLE_CAP, &cap), EINVAL);
	check_register(0x1f, 0x3f);
	vcpu_set_reg(vcpu, KVM_REG_ARM_VENDOR_HYP_BMAP, 3);
	vcpu_set_reg(vcpu, KVM_REG_ARM_VENDOR_HYP_BMAP, 0x1f);
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_MAP_GPA_RANGE));
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, 0);
	kvm_vm_free(vm);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_plain),
	GMEM_TEST(test_mmio),
	GMEM_TEST(test_no_syndrome),
	GMEM_TEST(test_stolen_time),
	GMEM_TEST(test_calls_without_cap),
	GMEM_TEST(test_bad_calls),
	GMEM_TEST(test_call_taken_away),
	GMEM_TEST(test_share_and_unshare),
	GMEM_TEST(test_cap_and_register),
};

int main(int argc, char *argv[])
{
	return run_protected_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
