// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_protected_test: guests that have only private memory
 *
 * Code, stack, page tables and all data are in private pages of a guest_memfd,
 * which neither the host nor KVM can access through userspace_addr.  KVM must
 * still be able to walk the guest's page tables, fetch and emulate
 * instructions, update its clock and steal time, and run nested guests.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>
#include <linux/kvm_para.h>
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>

#include "apic.h"
#include "guest_memfd_protected.h"
#include "hyperv.h"
#include "svm_util.h"

/* A slot in addition to the guest's own memory. */
#define SLOT		5
#define SLOT_GPA	0x20000000ul
#define FEP_PARAM	"/sys/module/kvm/parameters/force_emulation_prefix"
#define FEP		"ud2\n\t.ascii \"kvm\"\n\t"	/* emulate what follows */
#define NR_STORES	20000
#define NR_CONVERSIONS	300

/* Parameters for the guest, set before its memory becomes private. */
static struct {
	uint64_t clock_gpa;
	uint64_t steal_gpa;
	uint64_t page;
	uint64_t page_gpa;
} params;

static struct pvclock_vcpu_time_info guest_clock __aligned(64);
static struct kvm_steal_time guest_steal __aligned(64);

static void start_vm(void *guest_code)
{
	create_vm(guest_code);
	params.clock_gpa = addr_gva2gpa(vm, (vm_vaddr_t)&guest_clock);
	params.steal_gpa = addr_gva2gpa(vm, (vm_vaddr_t)&guest_steal);
	params.page = vm_vaddr_alloc_page(vm);
	params.page_gpa = addr_gva2gpa(vm, params.page);
	sync_global_to_guest(vm, params);
}

static void clock_guest(void)
{
	struct pvclock_vcpu_time_info *clock = &guest_clock;
	struct kvm_steal_time *steal = &guest_steal;
	int i;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, params.clock_gpa | 1);
	wrmsr(MSR_KVM_STEAL_TIME, params.steal_gpa | KVM_MSR_ENABLED);
	for (i = 0; i < 3; i++) {
		guest_report(1, READ_ONCE(clock->version));
		guest_report(2, READ_ONCE(clock->tsc_to_system_mul));
		guest_report(3, READ_ONCE(steal->version));
	}
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
	wrmsr(MSR_KVM_STEAL_TIME, 0);
	guest_report(4, 0);
}

static const char *test_clock(void)
{
	uint64_t val;
	int i;

	if (!kvm_cpu_has(X86_FEATURE_KVM_STEAL_TIME))
		return "KVM has no steal time";
	start_vm(clock_guest);
	make_private();
	for (i = 0; i < 3; i++) {
		val = expect_report(1);
		TEST_ASSERT(val && !(val & 1), "Clock version %lu", val);
		TEST_ASSERT(expect_report(2), "The clock has no rate");
		val = expect_report(3);
		TEST_ASSERT(val && !(val & 1), "Steal time version %lu", val);
	}
	expect_report(4);
	stop_vm();
	return NULL;
}

/* Add an ordinary slot with a shared page at SLOT_GPA. */
static void *add_ordinary_slot(void)
{
	void *mem = gmem_anonymous(page_size);

	virt_map(vm, SLOT_GPA, SLOT_GPA, 1);
	vm_set_user_memory_region(vm, SLOT, 0, SLOT_GPA, page_size, mem);
	return mem;
}

static void clock_in_slot_guest(void)
{
	struct pvclock_vcpu_time_info *clock = (void *)SLOT_GPA;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, SLOT_GPA | 1);
	guest_report(1, READ_ONCE(clock->version));
	guest_report(2, READ_ONCE(clock->version));
}

/* The clock follows the guest's memory when the slot is replaced. */
static const char *test_clock_and_slots(void)
{
	struct pvclock_vcpu_time_info *mem;
	uint32_t version;
	int fd;

	start_vm(clock_in_slot_guest);
	mem = add_ordinary_slot();
	make_private();
	version = expect_report(1);
	TEST_ASSERT(version && version == mem->version, "The clock is not in the slot");

	/* The same guest and host addresses, but other memory. */
	fd = vm_create_guest_memfd(vm, page_size, GUEST_MEMFD_FLAG_MMAP);
	vm_set_user_memory_region(vm, SLOT, 0, SLOT_GPA, 0, NULL);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, SLOT_GPA, page_size,
				   mem, fd, 0);
	vcpu_ioctl(vcpu, KVM_KVMCLOCK_CTRL, NULL);
	TEST_ASSERT(expect_report(2), "The guest's clock stands still");
	ASSERT_EQ(mem->version, version);
	kvm_vm_free(vm);
	close(fd);
	ASSERT_OK(munmap(mem, page_size));
	return NULL;
}

static void *convert_clock_page(void *arg)
{
	unsigned long *busy = arg;
	int i;

	for (i = 0; i < NR_CONVERSIONS; i++) {
		vm_make_shared(vm, params.page_gpa, page_size);
		if (__vm_make_private(vm, params.page_gpa, page_size)) {
			ASSERT_EQ(errno, EAGAIN);
			++*busy;
		}
	}
	errno = 0;
	return NULL;
}

static void endless_clock_guest(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, params.page_gpa | 1);
	for (;;)
		guest_report(1, 0);
}

/* KVM updates the clock in a page, and must not prevent its conversion. */
static const char *test_clock_and_conversions(void)
{
	unsigned long busy = 0;
	pthread_t converter;

	if (gmem_all_hidden())
		return "KVM has no clock mapped there";
	start_vm(endless_clock_guest);
	make_private();
	expect_report(1);
	pthread_create(&converter, NULL, convert_clock_page, &busy);
	while (pthread_tryjoin_np(converter, NULL)) {
		vcpu_ioctl(vcpu, KVM_KVMCLOCK_CTRL, NULL);
		expect_report(1);
	}
	ASSERT_EQ(busy, 0ul);
	stop_vm();
	return NULL;
}

static void smi_guest(void)
{
	x2apic_enable();
	x2apic_write_reg(APIC_ICR, APIC_DEST_SELF | APIC_INT_ASSERT | APIC_DM_SMI);
	guest_report(1, 0);
}

/* An SMI that the guest sends itself is lost: there is no SMM. */
static const char *test_smi(void)
{
	struct kvm_vcpu_events events;

	start_vm(smi_guest);
	make_private();
	expect_report(1);
	vcpu_events_get(vcpu, &events);
	ASSERT_EQ(events.smi.smm, 0);
	ASSERT_EQ(events.smi.pending, 0);
	stop_vm();
	return NULL;
}

static void no_memory_guest(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, SLOT_GPA | 1);
	wrmsr(MSR_KVM_STEAL_TIME, (SLOT_GPA + 64) | KVM_MSR_ENABLED);
	guest_report(1, 0);
	guest_report(2, 0);
	asm volatile(FEP "movq %0, (%1)" : : "r" (MMIO_VALUE), "r" (SLOT_GPA + 128)
		     : "memory");
	guest_report(3, *(uint64_t *)(SLOT_GPA + 128));
}

/* A private page without guest_memfd: KVM must not use other memory instead. */
static const char *test_no_private_memory(void)
{
	uint8_t *mem;

	if (gmem_write_file(FEP_PARAM, "1"))
		return "no forced emulation";
	start_vm(no_memory_guest);
	mem = add_ordinary_slot();
	make_private();
	vm_make_private(vm, SLOT_GPA, page_size);
	expect_report(1);
	expect_report(2);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "KVM's clocks are in shared memory");
	vcpu_run_expect_memory_fault_flags(vcpu, SLOT_GPA, EFAULT, KVM_MEMORY_EXIT_FLAG_PRIVATE);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "Private data in shared memory");

	/* The store is repeated once the page is shared. */
	vm_make_shared(vm, SLOT_GPA, page_size);
	ASSERT_EQ(expect_report(3), MMIO_VALUE);
	ASSERT_EQ(*(uint64_t *)(mem + 128), MMIO_VALUE);
	kvm_vm_free(vm);
	ASSERT_OK(munmap(mem, page_size));
	gmem_write_file(FEP_PARAM, "0");
	return NULL;
}

static void hyperv_guest(void)
{
	uint64_t *page = (uint64_t *)params.page;

	*page = -1ull;
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, params.page_gpa | 1);
	guest_report(1, *page);
}

/* The first four bytes of the page are cleared when it is enabled. */
static const char *test_hyperv_assist_page(void)
{
	if (!kvm_has_cap(KVM_CAP_HYPERV))
		return "no Hyper-V enlightenments";
	start_vm(hyperv_guest);
	vcpu_set_hv_cpuid(vcpu);
	make_private();
	ASSERT_EQ(expect_report(1), 0xffffffff00000000ul);
	stop_vm();
	return NULL;
}

/* Instructions that access MMIO are emulated; the rest they use is private. */
static void mmio_guest(void)
{
	void *from = (void *)MMIO_GPA, *to = guest_buf;
	uint64_t count = sizeof(uint64_t), val;

	guest_report(1, READ_ONCE(*(uint64_t *)MMIO_GPA));
	WRITE_ONCE(*(uint64_t *)MMIO_GPA, MMIO_VALUE);

	/* From MMIO to memory and to the stack. */
	asm volatile("rep movsb" : "+S" (from), "+D" (to), "+c" (count) : : "memory");
	guest_report(2, *(uint64_t *)guest_buf);
	asm volatile("pushq (%1)\n\tpopq %0" : "=r" (val) : "r" (MMIO_GPA) : "memory");
	guest_report(3, val);

	/* From memory to MMIO, and across two pages of memory. */
	asm volatile("movsq" : : "S" (guest_buf), "D" (MMIO_GPA) : "memory");
	to = guest_buf + MIN_PAGE_SIZE - 4;
	asm volatile("movsq" : "+D" (to) : "S" (MMIO_GPA) : "memory");
	guest_report(4, *(uint64_t *)(guest_buf + MIN_PAGE_SIZE - 4));
	guest_report(5, 0);
}

/* Serve MMIO until the guest reports @what. */
static uint64_t serve_mmio(uint64_t what, uint64_t *written)
{
	struct kvm_run *run = vcpu->run;
	uint64_t val = MMIO_VALUE;

	for (;;) {
		vcpu_run(vcpu);
		if (run->exit_reason != KVM_EXIT_MMIO)
			break;
		if (run->mmio.is_write)
			memcpy((void *)written + (run->mmio.phys_addr & 7), run->mmio.data,
			       run->mmio.len);
		else
			memcpy(run->mmio.data, (void *)&val + (run->mmio.phys_addr & 7),
			       run->mmio.len);
	}
	return assert_report(what);
}

static const char *test_emulation(void)
{
	uint64_t written = 0, what;

	start_vm(mmio_guest);
	make_private();
	for (what = 1; what < 5; what++) {
		ASSERT_EQ(serve_mmio(what, &written), MMIO_VALUE);
		if (what != 2)
			continue;
		ASSERT_EQ(written, MMIO_VALUE);
		written = 0;
	}
	serve_mmio(5, &written);
	ASSERT_EQ(written, MMIO_VALUE);
	stop_vm();
	return NULL;
}

static bool guest_emulated_cmpxchg(uint64_t *addr, uint64_t old, uint64_t new)
{
	bool done;

	asm volatile(FEP "lock cmpxchgq %3, %0\n\tsetz %1"
		     : "+m" (*addr), "=q" (done), "+a" (old) : "r" (new) : "memory", "cc");
	return done;
}

static void locked_guest(void)
{
	uint64_t *p = (uint64_t *)guest_buf;

	*p = 5;
	guest_report(1, guest_emulated_cmpxchg(p, 5, 0x6060));
	guest_report(2, guest_emulated_cmpxchg(p, 5, 7));
	guest_report(3, *p);
	asm volatile(FEP "lock addb $0x20, %0" : "+m" (*p) : : "memory", "cc");
	asm volatile(FEP "lock addw $0x100, %0" : "+m" (*p) : : "memory", "cc");
	asm volatile(FEP "lock addl $0x10000, %0" : "+m" (*p) : : "memory", "cc");
	guest_report(4, *p);
	/* Plain emulated accesses, the last one to an unallocated page. */
	asm volatile(FEP "movq $0x77, %0" : "=m" (*p) : : "memory");
	guest_report(5, *p);
	p = (uint64_t *)params.page;
	asm volatile(FEP "movq $0x88, %0" : "=m" (*p) : : "memory");
	guest_report(6, *p);
}

/* Emulated instructions that must be atomic. */
static const char *test_locked_instructions(void)
{
	struct userspace_mem_region *region;

	if (gmem_write_file(FEP_PARAM, "1"))
		return "no forced emulation";
	start_vm(locked_guest);
	make_private();
	region = slot0();
	gmem_punch(region->region.guest_memfd, params.page_gpa, page_size);
	ASSERT_EQ(expect_report(1), 1ul);
	ASSERT_EQ(expect_report(2), 0ul);
	ASSERT_EQ(expect_report(3), 0x6060ul);
	ASSERT_EQ(expect_report(4), 0x16180ul);
	ASSERT_EQ(expect_report(5), 0x77ul);
	ASSERT_EQ(expect_report(6), 0x88ul);
	stop_vm();
	gmem_write_file(FEP_PARAM, "0");
	return NULL;
}

static void store_guest(bool writer)
{
	uint32_t *word = (uint32_t *)guest_buf, val;
	bool *done = (bool *)(guest_buf + MIN_PAGE_SIZE);
	int i;

	for (i = 0; writer && i < NR_STORES; i++) {
		val = i % 2 ? -1 : 0;
		asm volatile(FEP "movl %1, %0" : "=m" (*word) : "r" (val) : "memory");
	}
	if (writer)
		WRITE_ONCE(*done, true);
	while (!READ_ONCE(*done)) {
		val = READ_ONCE(*word);
		GUEST_ASSERT_1(!val || val == -1u, val);
	}
	GUEST_DONE();
}

static void *run_to_done(void *arg)
{
	struct ucall uc;

	vcpu_run(arg);
	switch (get_ucall(arg, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT_1(uc, "half a store: 0x%lx");
	default:
		TEST_FAIL("Unexpected exit");
	}
	return NULL;
}

/* Another vCPU must see an emulated store as a whole or not at all. */
static const char *test_whole_stores(void)
{
	struct kvm_vcpu *vcpus[2];
	pthread_t reader;

	if (gmem_write_file(FEP_PARAM, "1"))
		return "no forced emulation";
	vm_slot0_src = VM_MEM_SRC_GUEST_MEMFD;
	vm_type = KVM_X86_SW_PROTECTED_VM;
	vm = vm_create_with_vcpus(2, store_guest, vcpus);
	vm_type = KVM_X86_DEFAULT_VM;
	vm_slot0_src = DEFAULT_VM_MEM_SRC;
	vcpu_args_set(vcpus[0], 1, 1ul);
	vcpu_args_set(vcpus[1], 1, 0ul);
	pthread_create(&reader, NULL, run_to_done, vcpus[1]);
	run_to_done(vcpus[0]);
	pthread_join(reader, NULL);
	kvm_vm_free(vm);
	gmem_write_file(FEP_PARAM, "0");
	return NULL;
}

static uint64_t guest_map_gpa(uint64_t npages, uint64_t attrs)
{
	return kvm_hypercall(KVM_HC_MAP_GPA_RANGE, params.page_gpa, npages, attrs, 0);
}

static void hypercall_guest(void)
{
	uint64_t *page = (uint64_t *)params.page;

	*page = 0x1234;
	guest_report(1, guest_map_gpa(1, KVM_MAP_GPA_RANGE_DECRYPTED));
	guest_report(2, *page);
	*page = 0x5678;
	guest_report(3, guest_map_gpa(1, KVM_MAP_GPA_RANGE_ENCRYPTED));
	guest_report(4, guest_map_gpa(1, KVM_MAP_GPA_RANGE_ENCRYPTED));
	guest_report(5, *page);
	guest_report(6, guest_map_gpa(0, 0));
	guest_report(7, kvm_hypercall(KVM_HC_MAP_GPA_RANGE, params.page_gpa + 1, 1, 0, 0));
	guest_report(8, guest_map_gpa(1, 0));
}

/* Run the guest until it asks for a page to be shared (@attrs 0) or private. */
static void expect_hypercall(uint64_t attrs)
{
	struct kvm_run *run = vcpu->run;

	run->hypercall.ret = 0xdead;
	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_HYPERCALL, "Exit reason %u (%s)",
		    run->exit_reason, exit_reason_str(run->exit_reason));
	ASSERT_EQ((uint64_t)run->hypercall.nr, (uint64_t)KVM_HC_MAP_GPA_RANGE);
	ASSERT_EQ((uint64_t)run->hypercall.args[0], params.page_gpa);
	ASSERT_EQ((uint64_t)run->hypercall.args[1], 1ul);
	ASSERT_EQ((uint64_t)run->hypercall.args[2], attrs);
	ASSERT_EQ((uint64_t)run->hypercall.ret, 0ul);
}

static const char *test_map_gpa_range(void)
{
	struct userspace_mem_region *region;
	struct iovec iov;
	uint64_t *page;
	int fds[2];

	if (gmem_all_hidden())
		return gmem_no_references;

	start_vm(hypercall_guest);
	ASSERT_ERRNO(__vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, 1), EINVAL);
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_MAP_GPA_RANGE));
	make_private();
	region = slot0();
	page = region->host_mem + params.page_gpa;

	expect_hypercall(KVM_MAP_GPA_RANGE_DECRYPTED);
	vm_make_shared(vm, params.page_gpa, page_size);
	ASSERT_EQ(expect_report(1), 0ul);
	ASSERT_OK(mprotect(page, page_size, PROT_READ | PROT_WRITE));
	ASSERT_EQ(*page, 0x1234ul);
	*page = 0x4321;
	ASSERT_EQ(expect_report(2), 0x4321ul);

	/* A page is in use: the guest is told to try again. */
	ASSERT_OK(pipe(fds));
	iov.iov_base = page;
	iov.iov_len = page_size;
	ASSERT_EQ(vmsplice(fds[1], &iov, 1, 0), (ssize_t)page_size);
	expect_hypercall(KVM_MAP_GPA_RANGE_ENCRYPTED);
	ASSERT_EQ(*page, 0x5678ul);
	ASSERT_ERRNO(__vm_make_private(vm, params.page_gpa, page_size), EAGAIN);
	vcpu->run->hypercall.ret = -EAGAIN;
	ASSERT_EQ(expect_report(3), (uint64_t)-EAGAIN);
	close(fds[0]);
	close(fds[1]);
	expect_hypercall(KVM_MAP_GPA_RANGE_ENCRYPTED);
	vm_make_private(vm, params.page_gpa, page_size);
	TEST_ASSERT(!gmem_try_read(page, NULL), "The host can read private memory");
	ASSERT_EQ(expect_report(4), 0ul);
	ASSERT_EQ(expect_report(5), 0x5678ul);

	/* KVM refuses invalid arguments without an exit. */
	ASSERT_EQ(expect_report(6), (uint64_t)-EINVAL);
	ASSERT_EQ(expect_report(7), (uint64_t)-EINVAL);
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, 0);
	ASSERT_EQ(expect_report(8), (uint64_t)-KVM_ENOSYS);
	stop_vm();
	return NULL;
}

static void l2_guest(void)
{
	gmem_fill(guest_buf, BUF_SIZE, 2);
	guest_report(1, gmem_matches(guest_buf, BUF_SIZE, 2));
	guest_report(2, READ_ONCE(*(uint64_t *)MMIO_GPA));
	asm volatile("vmmcall" : : "a" (0) : "memory");
}

static void l1_guest(struct svm_test_data *svm)
{
	static unsigned long l2_stack[512];
	int i;

	generic_svm_setup(svm, l2_guest, &l2_stack[512]);
	for (i = 0; i < 2; i++) {
		svm->vmcb->save.rip = (uint64_t)l2_guest;
		svm->vmcb->save.rsp = (uint64_t)&l2_stack[512];
		run_guest(svm->vmcb, svm->vmcb_gpa);
		guest_report(3, svm->vmcb->control.exit_code);
	}
}

/* The VMCB, its bitmaps and the memory of L2 are private as well. */
static const char *test_nested(void)
{
	vm_vaddr_t svm_gva;
	uint64_t unused;
	int i;

	if (!kvm_cpu_has(X86_FEATURE_SVM))
		return "no nested SVM";
	start_vm(l1_guest);
	vcpu_alloc_svm(vm, &svm_gva);
	vcpu_args_set(vcpu, 1, svm_gva);
	make_private();
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(expect_report(1), 1ul);
		ASSERT_EQ(serve_mmio(2, &unused), MMIO_VALUE);
		ASSERT_EQ(expect_report(3), (uint64_t)SVM_EXIT_VMMCALL);
	}
	stop_vm();
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_plain),
	GMEM_TEST(test_clock),
	GMEM_TEST(test_clock_and_slots),
	GMEM_TEST(test_clock_and_conversions),
	GMEM_TEST(test_smi),
	GMEM_TEST(test_no_private_memory),
	GMEM_TEST(test_hyperv_assist_page),
	GMEM_TEST(test_emulation),
	GMEM_TEST(test_locked_instructions),
	GMEM_TEST(test_whole_stores),
	GMEM_TEST(test_map_gpa_range),
	GMEM_TEST(test_nested),
};

int main(int argc, char *argv[])
{
	return run_protected_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
