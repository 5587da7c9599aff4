// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_emulation_test: emulated accesses to missing memory
 *
 * In a protected VM, an access to missing memory causes a memory fault exit,
 * whether the guest makes the access or KVM emulates it.  It must not become
 * MMIO, which would disclose data that the guest writes and let user space
 * supply data that the guest reads.  The instruction can be repeated once there
 * is memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "guest_memfd_protected.h"

/* A slot in addition to the guest's own memory. */
#define SLOT		5
#define SLOT_GPA	0x20000000ul
#define FEP_PARAM	"/sys/module/kvm/parameters/force_emulation_prefix"
#define FEP		"ud2\n\t.ascii \"kvm\"\n\t"	/* emulate what follows */
#define FEP_SIZE	5
#define SECRET		0x5ec4e7ul

static uint8_t *slot_mem;

enum access { LOAD, STORE, CMPXCHG, PUSH, POP, FETCH, NR_ACCESSES };

static uint64_t guest_access(enum access access)
{
	uint64_t *p = (uint64_t *)SLOT_GPA, val = SECRET, old = 0;

	switch (access) {
	case LOAD:
		asm volatile(FEP "movq (%1), %0" : "=r" (val) : "r" (p) : "memory");
		break;
	case STORE:
		asm volatile(FEP "movq %0, (%1)" : : "r" (val), "r" (p) : "memory");
		break;
	case CMPXCHG:
		asm volatile(FEP "lock cmpxchgq %1, (%2)"
			     : "+a" (old) : "r" (val), "r" (p) : "memory", "cc");
		break;
	case PUSH:
		/* From the stack to memory, and from memory to the stack. */
		asm volatile("pushq %0\n\t" FEP "popq (%1)" : : "r" (val), "r" (p) : "memory");
		break;
	case POP:
		asm volatile(FEP "pushq (%1)\n\tpopq %0" : "=r" (val) : "r" (p) : "memory");
		break;
	default:
		/* The prefix is at the end of the preceding page. */
		val = ((uint64_t (*)(void))(SLOT_GPA - FEP_SIZE))();
	}
	return val;
}

static void access_guest(enum access access)
{
	guest_report(1, 0);
	guest_report(2, guest_access(access));
	guest_report(3, READ_ONCE(*(uint64_t *)SLOT_GPA));
}

/* Map SLOT_GPA in the guest, after a page of slot 0. */
static void start_vm(enum access access)
{
	uint64_t page;

	create_vm(access_guest);
	vcpu_args_set(vcpu, 1, (uint64_t)access);
	virt_map(vm, SLOT_GPA, SLOT_GPA, 1);
	page = addr_gva2gpa(vm, vm_vaddr_alloc_page(vm));
	virt_map(vm, SLOT_GPA - page_size, page, 1);
	memcpy(addr_gpa2hva(vm, page) + page_size - FEP_SIZE, "\x0f\x0bkvm", FEP_SIZE);
}

/* The first access must cause an exit, without any side effects. */
static void expect_fault(uint64_t flags)
{
	expect_report(1);
	vcpu_run_expect_memory_fault_flags(vcpu, SLOT_GPA, EFAULT, flags);
	/* The same again, since nothing has changed. */
	vcpu_run_expect_memory_fault_flags(vcpu, SLOT_GPA, EFAULT, flags);
	if (slot_mem)
		TEST_ASSERT(gmem_is_zero(slot_mem, page_size), "Something was written");
}

/* A private gfn without a file, which then becomes shared. */
static void check_repeated(enum access access)
{
	start_vm(access);
	slot_mem = gmem_anonymous(page_size);
	vm_set_user_memory_region(vm, SLOT, 0, SLOT_GPA, page_size, slot_mem);
	make_private();
	vm_make_private(vm, SLOT_GPA, page_size);
	expect_fault(KVM_MEMORY_EXIT_FLAG_PRIVATE);

	vm_make_shared(vm, SLOT_GPA, page_size);
	if (access == FETCH) {
		gmem_put_code(slot_mem, SECRET);
		ASSERT_EQ(expect_report(2), SECRET);
	} else if (access == LOAD || access == POP) {
		*(uint64_t *)slot_mem = SECRET;
		ASSERT_EQ(expect_report(2), SECRET);
	} else {
		ASSERT_EQ(expect_report(2), SECRET);
		ASSERT_EQ(expect_report(3), SECRET);
		ASSERT_EQ(*(uint64_t *)slot_mem, SECRET);
	}
	kvm_vm_free(vm);
	ASSERT_OK(munmap(slot_mem, page_size));
	slot_mem = NULL;
}

/*
 * A gmem-only slot whose file is closed.  The exit reports the state of the
 * file, @private, not the opposite state that the VM has for the gfn.
 */
static void check_closed(enum access access, bool private)
{
	int fd;

	start_vm(access);
	fd = vm_create_guest_memfd(vm, page_size, private ? GUEST_MEMFD_FLAG_MMAP : GMEM_SHARED);
	make_private();
	if (!private)
		vm_make_private(vm, SLOT_GPA, page_size);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, SLOT_GPA, page_size,
				   NULL, fd, 0);
	close(fd);
	expect_fault(private ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0);
	kvm_vm_free(vm);
}

static const char *test_repeated(void)
{
	enum access access;

	for (access = 0; access < NR_ACCESSES; access++)
		check_repeated(access);
	return NULL;
}

static const char *test_closed_file(void)
{
	enum access access;

	for (access = 0; access < NR_ACCESSES; access++) {
		check_closed(access, true);
		check_closed(access, false);
	}
	return NULL;
}

/* Shared gfns without a slot are still MMIO. */
static const char *test_mmio(void)
{
	struct kvm_run *run;

	start_vm(STORE);
	make_private();
	run = vcpu->run;
	expect_report(1);
	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		    run->mmio.phys_addr == SLOT_GPA, "Exit reason %u (%s)",
		    run->exit_reason, exit_reason_str(run->exit_reason));
	ASSERT_EQ(*(uint64_t *)run->mmio.data, SECRET);
	expect_report(2);
	kvm_vm_free(vm);
	return NULL;
}

/* A far call: pushes CS to the page after SLOT_GPA, and RIP to SLOT_GPA's. */
static void far_call_guest(void)
{
	struct {
		uint64_t rip;
		uint16_t cs;
	} __packed to;

	guest_report(1, 0);
	asm volatile("mov %%cs, %1\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rax, %0\n\t"
		     "movq %%rsp, %%rbx\n\t"
		     "movq %2, %%rsp\n\t"
		     FEP "rex64 lcall *(%3)\n"
		     "1:\n\t"
		     "movq %%rbx, %%rsp"
		     : "=m" (to.rip), "=m" (to.cs)
		     : "r" (SLOT_GPA + MIN_PAGE_SIZE + sizeof(uint64_t)), "D" (&to)
		     : "rax", "rbx", "memory");
	guest_report(2, 0);
}

/* An MMIO write before the fault is dropped and repeated by the instruction. */
static const char *test_mmio_first(void)
{
	struct kvm_run *run;

	create_vm(far_call_guest);
	virt_map(vm, SLOT_GPA, SLOT_GPA, 2);
	slot_mem = gmem_anonymous(page_size);
	vm_set_user_memory_region(vm, SLOT, 0, SLOT_GPA, page_size, slot_mem);
	make_private();
	vm_make_private(vm, SLOT_GPA, page_size);
	expect_fault(KVM_MEMORY_EXIT_FLAG_PRIVATE);

	vm_make_shared(vm, SLOT_GPA, page_size);
	run = vcpu->run;
	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		    run->mmio.phys_addr == SLOT_GPA + page_size, "Exit reason %u (%s)",
		    run->exit_reason, exit_reason_str(run->exit_reason));
	expect_report(2);
	TEST_ASSERT(*(uint64_t *)(slot_mem + page_size - 8), "RIP was not pushed");
	kvm_vm_free(vm);
	ASSERT_OK(munmap(slot_mem, page_size));
	slot_mem = NULL;
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_repeated),
	GMEM_TEST(test_closed_file),
	GMEM_TEST(test_mmio),
	GMEM_TEST(test_mmio_first),
};

static void stop_forcing(void)
{
	gmem_write_file(FEP_PARAM, "0");
}

int main(int argc, char *argv[])
{
	if (gmem_write_file(FEP_PARAM, "1"))
		ksft_exit_skip("no forced emulation\n");
	atexit(stop_forcing);
	return run_protected_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
