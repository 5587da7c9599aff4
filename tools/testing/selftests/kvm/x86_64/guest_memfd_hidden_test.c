// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_test: KVM's own accesses to hidden memory
 *
 * The guest's clock, its steal time, its async page fault data and VMCBs are in
 * hidden memory: in a slot with the file, in an ordinary slot on a mapping of
 * the file, or in private memory of a protected VM.  Memory that Xen guests
 * share with KVM cannot be hidden.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <linux/kvm_para.h>
#include <linux/userfaultfd.h>
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>

#include "apic.h"
#include "guest_memfd_private.h"
#include "processor.h"
#include "svm_util.h"

#define NR_PAGES	4
#include "guest_memfd_fixture.h"

#define GMEM_HIDDEN	(GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

/* The layout of the file. */
#define CLOCK_GPA	GPA
#define STEAL_GPA	(GPA + 0x1000)
#define APF_GPA		(GPA + 0x1040)
#define VMCB_GPA	(GPA + 0x2000)
#define SAVE_AREA_GPA	(GPA + 0x3000)
/* In the part of the page that the VMCB does not use. */
#define COUNTER_GPA	(VMCB_GPA + 0xff8)

/* A guest physical address without memory. */
#define NO_GPA		0x30000000ul

/* Memory of an ordinary slot that is provided late. */
#define LATE_SLOT	(SLOT + 1)
#define LATE_GPA	0x18000000ul
#define LATE_VALUE	0x1234567890ul
#define READY_VECTOR	0x60

#define NR_READS	200
#define NR_RUNS		2000

enum kind {
	FILE_SLOT,
	MAPPED,
	PRIVATE,
};

static int fd;

static void start(enum kind kind, int nr_vcpus, void *code, struct kvm_vcpu **vcpus)
{
	vm = gmem_create_vm(kind == PRIVATE, nr_vcpus, code, vcpus);
	gmem_guest_map(vm, GPA, size);
	fd = new_memory(GMEM_HIDDEN);
	if (kind == MAPPED)
		vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	else
		set_slot(SLOT, GPA, fd, 0, size);
	if (kind == PRIVATE)
		vm_make_private(vm, GPA, size);
}

/* Run the guest up to GUEST_SYNC(@stage), or up to its end if @stage is 0. */
static void expect_stage(struct kvm_vcpu *vcpu, uint64_t stage)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		ASSERT_EQ(uc.args[1], stage);
		break;
	case UCALL_DONE:
		ASSERT_EQ(0ul, stage);
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT_2(uc, "values: %#lx, %#lx");
	default:
		TEST_FAIL("Exit reason %u (%s)", vcpu->run->exit_reason,
			  exit_reason_str(vcpu->run->exit_reason));
	}
}

static void *run_to_end(void *vcpu)
{
	expect_stage(vcpu, 0);
	return NULL;
}

static void clock_guest(void)
{
	struct pvclock_vcpu_time_info *clock = (void *)CLOCK_GPA;
	struct kvm_steal_time *steal = (void *)STEAL_GPA;
	uint32_t version = 8;

	clock->version = 7;
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, CLOCK_GPA | 1);
	wrmsr(MSR_KVM_STEAL_TIME, STEAL_GPA | KVM_MSR_ENABLED);
	GUEST_SYNC(1);

	/* An odd version means that an update is in progress. */
	GUEST_ASSERT_2(clock->version > version, clock->version, version);
	version = clock->version;
	GUEST_ASSERT_1(!(version & 1), version);
	GUEST_ASSERT(clock->tsc_to_system_mul);
	GUEST_ASSERT(!(clock->flags & PVCLOCK_GUEST_STOPPED));
	GUEST_ASSERT_1(steal->version && !(steal->version & 1), steal->version);
	GUEST_SYNC(2);

	/* The host sets PVCLOCK_GUEST_STOPPED, the guest must clear it. */
	GUEST_ASSERT_2(clock->version > version, clock->version, version);
	GUEST_ASSERT(clock->flags & PVCLOCK_GUEST_STOPPED);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, CLOCK_GPA | 1);
	GUEST_SYNC(3);

	GUEST_ASSERT(clock->flags & PVCLOCK_GUEST_STOPPED);
	clock->flags = 0;
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, CLOCK_GPA | 1);
	GUEST_SYNC(4);

	GUEST_ASSERT(!(clock->flags & PVCLOCK_GUEST_STOPPED));
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
	wrmsr(MSR_KVM_STEAL_TIME, 0);
	GUEST_DONE();
}

static const char *check_clock(enum kind kind)
{
	struct pvclock_vcpu_time_info *clock;
	uint64_t bitmap = 0;
	uint32_t version;

	start(kind, 1, clock_guest, &vcpu);
	clock = (void *)mem;
	expect_stage(vcpu, 1);
	expect_stage(vcpu, 2);
	vcpu_ioctl(vcpu, KVM_KVMCLOCK_CTRL, NULL);
	expect_stage(vcpu, 3);
	if (kind == PRIVATE)
		goto end;

	/* KVM's writes must be in the dirty log. */
	if (kind == MAPPED)
		vm_set_user_memory_region(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, size, mem);
	else
		ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	version = clock->version;
	expect_stage(vcpu, 4);
	TEST_ASSERT(clock->version > version, "The host does not see the clock");
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap & 3, 3ul);
	goto stop;
end:
	expect_stage(vcpu, 4);
stop:
	expect_stage(vcpu, 0);
	stop_vm(fd);
	return NULL;
}

/* One vCPU constantly requests updates of its clock, another one reads it. */
static void update_guest(bool writer, bool *done)
{
	struct pvclock_vcpu_time_info *clock = (void *)CLOCK_GPA, now;
	uint32_t version = 0, n = 0;
	uint64_t time = 0;

	while (writer && !READ_ONCE(*done))
		wrmsr(MSR_KVM_SYSTEM_TIME_NEW, CLOCK_GPA | 1);

	while (!writer && n < NR_READS) {
		memcpy(&now, clock, sizeof(now));
		asm volatile("" : : : "memory");
		if (now.version & 1 || now.version != READ_ONCE(clock->version) ||
		    now.version == version)
			continue;
		GUEST_ASSERT(now.tsc_to_system_mul);
		GUEST_ASSERT_2(now.system_time >= time, now.system_time, time);
		version = now.version;
		time = now.system_time;
		n++;
	}
	WRITE_ONCE(*done, true);
	GUEST_DONE();
}

static const char *check_clock_reader(enum kind kind)
{
	struct kvm_vcpu *vcpus[2];
	vm_vaddr_t done;
	pthread_t reader;

	start(kind, 2, update_guest, vcpus);
	done = vm_vaddr_alloc_page(vm);
	vcpu_args_set(vcpus[0], 2, 1ul, done);
	vcpu_args_set(vcpus[1], 2, 0ul, done);
	pthread_create(&reader, NULL, run_to_end, vcpus[1]);
	run_to_end(vcpus[0]);
	pthread_join(reader, NULL);
	stop_vm(fd);
	return NULL;
}

/* Set by the guest. */
static uint32_t absent_token, ready_token;

static void absent_handler(struct ex_regs *regs)
{
	struct kvm_vcpu_pv_apf_data *apf = (void *)APF_GPA;
	uint64_t cr2;

	GUEST_ASSERT_1(apf->flags == KVM_PV_REASON_PAGE_NOT_PRESENT, apf->flags);
	apf->flags = 0;
	asm volatile("mov %%cr2, %0" : "=r" (cr2));
	absent_token = cr2;
}

static void ready_handler(struct ex_regs *regs)
{
	struct kvm_vcpu_pv_apf_data *apf = (void *)APF_GPA;

	ready_token = apf->token;
	apf->token = 0;
	wrmsr(MSR_KVM_ASYNC_PF_ACK, 1);
	x2apic_write_reg(APIC_EOI, 0);
}

static void async_guest(void)
{
	uint64_t val;

	x2apic_enable();
	wrmsr(MSR_KVM_ASYNC_PF_INT, READY_VECTOR);
	wrmsr(MSR_KVM_ASYNC_PF_EN, APF_GPA | KVM_ASYNC_PF_ENABLED |
	      KVM_ASYNC_PF_SEND_ALWAYS | KVM_ASYNC_PF_DELIVERY_AS_INT);
	/* sti enables interrupts only after the next instruction. */
	asm volatile("sti\n\tnop");
	val = READ_ONCE(*(uint64_t *)LATE_GPA);
	asm volatile("cli");
	wrmsr(MSR_KVM_ASYNC_PF_EN, 0);
	GUEST_ASSERT_1(val == LATE_VALUE, val);
	GUEST_ASSERT(absent_token);
	GUEST_ASSERT_2(absent_token == ready_token, absent_token, ready_token);
	GUEST_DONE();
}

/* Provide the page a while after it is requested. */
static void *serve_late_page(void *arg)
{
	uint64_t page[512] = { LATE_VALUE };
	struct uffdio_copy copy = { .src = (uint64_t)page, .len = sizeof(page) };
	struct uffd_msg msg;
	int uffd = *(int *)arg;

	ASSERT_EQ(read(uffd, &msg, sizeof(msg)), (ssize_t)sizeof(msg));
	usleep(20000);
	copy.dst = msg.arg.pagefault.address & ~(page_size - 1);
	ASSERT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
	return NULL;
}

static const char *check_async_faults(enum kind kind)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	pthread_t server;
	void *late;
	int uffd;

	if (!kvm_cpu_has(X86_FEATURE_KVM_ASYNC_PF_INT))
		return "KVM has no asynchronous page faults";
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		return "no userfaultfd";
	ASSERT_OK(ioctl(uffd, UFFDIO_API, &api));
	late = gmem_anonymous(page_size);
	reg.range.start = (uint64_t)late;
	reg.range.len = page_size;
	ASSERT_OK(ioctl(uffd, UFFDIO_REGISTER, &reg));

	start(kind, 1, async_guest, &vcpu);
	virt_map(vm, LATE_GPA, LATE_GPA, 1);
	vm_set_user_memory_region(vm, LATE_SLOT, 0, LATE_GPA, page_size, late);
	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(vcpu);
	vm_install_exception_handler(vm, PF_VECTOR, absent_handler);
	vm_install_exception_handler(vm, READY_VECTOR, ready_handler);

	pthread_create(&server, NULL, serve_late_page, &uffd);
	expect_stage(vcpu, 0);
	pthread_join(server, NULL);
	stop_vm(fd);
	close(uffd);
	ASSERT_OK(munmap(late, page_size));
	return NULL;
}

static void l2_guest(void)
{
	for (;;)
		asm volatile("vmmcall" : : : "memory");
}

/*
 * L1 runs L2 repeatedly.  The other vCPU increments a counter in the page of
 * the VMCB: KVM's writes to the page must not restore an old value.
 */
static void l1_guest(struct svm_test_data *svm, bool *done)
{
	static unsigned long stack[512];
	uint64_t *counter = (uint64_t *)COUNTER_GPA;
	uint64_t i;

	if (!svm) {
		for (i = 1; !READ_ONCE(*done); i++) {
			WRITE_ONCE(*counter, i);
			asm volatile("pause");
			GUEST_ASSERT_2(READ_ONCE(*counter) == i, READ_ONCE(*counter), i);
		}
		GUEST_DONE();
	}

	svm->vmcb = (void *)VMCB_GPA;
	svm->vmcb_gpa = VMCB_GPA;
	svm->save_area = (void *)SAVE_AREA_GPA;
	svm->save_area_gpa = SAVE_AREA_GPA;
	generic_svm_setup(svm, l2_guest, &stack[512]);
	for (i = 0; i < NR_RUNS; i++) {
		svm->vmcb->control.exit_code = 0;
		run_guest(svm->vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_1(svm->vmcb->control.exit_code == SVM_EXIT_VMMCALL,
			       svm->vmcb->control.exit_code);
		svm->vmcb->save.rip += 3;
	}

	/* KVM finds late that the MSR bitmap is missing, and exits to L1. */
	svm->vmcb->control.intercept |= 1ull << INTERCEPT_MSR_PROT;
	svm->vmcb->control.msrpm_base_pa = NO_GPA;
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_1(svm->vmcb->control.exit_code == (uint32_t)SVM_EXIT_ERR,
		       svm->vmcb->control.exit_code);
	WRITE_ONCE(*done, true);
	GUEST_DONE();
}

static const char *check_nested(enum kind kind)
{
	struct kvm_vcpu *vcpus[2];
	vm_vaddr_t svm, done;
	pthread_t counter;

	if (!kvm_cpu_has(X86_FEATURE_SVM))
		return "the vCPU has no SVM";
	start(kind, 2, l1_guest, vcpus);
	vcpu_alloc_svm(vm, &svm);
	done = vm_vaddr_alloc_page(vm);
	vcpu_args_set(vcpus[0], 2, svm, done);
	vcpu_args_set(vcpus[1], 2, 0ul, done);
	pthread_create(&counter, NULL, run_to_end, vcpus[1]);
	run_to_end(vcpus[0]);
	pthread_join(counter, NULL);
	stop_vm(fd);
	return NULL;
}

static void xen_guest(void)
{
	GUEST_SYNC(1);
	GUEST_DONE();
}

static int set_xen_address(uint16_t type, uint64_t gpa)
{
	struct kvm_xen_vcpu_attr attr = { .type = type, .u.gpa = gpa };

	return __vcpu_ioctl(vcpu, KVM_XEN_VCPU_SET_ATTR, &attr);
}

/* KVM refuses memory that it would keep mapped, and does not write to it. */
static const char *check_xen(enum kind kind)
{
	struct kvm_xen_hvm_attr attr = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO,
		.u.shared_info.gfn = GPA / MIN_PAGE_SIZE,
	};
	struct kvm_clock_data now = {};

	if (!(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_RUNSTATE))
		return "KVM does not emulate Xen";
	start(kind, 1, xen_guest, &vcpu);
	expect_stage(vcpu, 1);
	ASSERT_ERRNO(__vm_ioctl(vm, KVM_XEN_HVM_SET_ATTR, &attr), EFAULT);
	ASSERT_ERRNO(set_xen_address(KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, GPA), EFAULT);
	ASSERT_ERRNO(set_xen_address(KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, GPA), EFAULT);
	ASSERT_ERRNO(set_xen_address(KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, GPA), EFAULT);
	/* Request an update of all clocks. */
	vm_ioctl(vm, KVM_SET_CLOCK, &now);
	expect_stage(vcpu, 0);
	if (kind == PRIVATE)
		vm_make_shared(vm, GPA, size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "KVM wrote to the page");
	stop_vm(fd);
	return NULL;
}

#define EACH_KIND(what)							\
static const char *test_##what(void)					\
{									\
	return check_##what(FILE_SLOT);					\
}									\
									\
static const char *test_##what##_mapped(void)				\
{									\
	return check_##what(MAPPED);					\
}									\
									\
static const char *test_##what##_private(void)				\
{									\
	return check_##what(PRIVATE);					\
}

EACH_KIND(clock)
EACH_KIND(clock_reader)
EACH_KIND(async_faults)
EACH_KIND(nested)
EACH_KIND(xen)

static const struct gmem_test tests[] = {
	GMEM_TEST(test_clock),
	GMEM_TEST(test_clock_mapped),
	GMEM_TEST_PROTECTED(test_clock_private),
	GMEM_TEST(test_clock_reader),
	GMEM_TEST(test_clock_reader_mapped),
	GMEM_TEST_PROTECTED(test_clock_reader_private),
	GMEM_TEST(test_async_faults),
	GMEM_TEST(test_async_faults_mapped),
	GMEM_TEST_PROTECTED(test_async_faults_private),
	GMEM_TEST(test_nested),
	GMEM_TEST(test_nested_mapped),
	GMEM_TEST_PROTECTED(test_nested_private),
	GMEM_TEST(test_xen),
	GMEM_TEST(test_xen_mapped),
	GMEM_TEST_PROTECTED(test_xen_private),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) &
		       GUEST_MEMFD_FLAG_NO_DIRECT_MAP,
		       "no memory outside the direct map on this machine");
}

GMEM_TEST_MAIN(init)
