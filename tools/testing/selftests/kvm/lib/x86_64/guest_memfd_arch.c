// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest_memfd tests' view of x86, see guest_memfd_util.h.
 */
#include <linux/stddef.h>
#include <asm/kvm_para.h>

#include "guest_memfd_util.h"
#include "processor.h"

/* Without the TDP MMU there is no protected VM. */
const char *const gmem_no_protected_vms =
	"KVM has no software-protected VMs, is kvm.tdp_mmu off?";

unsigned long gmem_protected_vm_type(void)
{
	return KVM_X86_SW_PROTECTED_VM;
}

bool gmem_have_protected_vms(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM);
}

/* The guest says where its clock is. */
void gmem_clock_init(struct kvm_vcpu *vcpu, uint64_t gpa)
{
}

void gmem_guest_clock(uint64_t gpa)
{
	wrmsr(MSR_KVM_WALL_CLOCK_NEW, gpa);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, gpa | KVM_MSR_ENABLED);
}

uint64_t gmem_faults_taken(struct kvm_vcpu *vcpu)
{
	return gmem_vcpu_stat(vcpu, "pf_taken");
}

/* mov $val, %eax; ret */
void gmem_put_code(void *where, uint32_t val)
{
	uint8_t *code = where;
	int i;

	WRITE_ONCE(code[0], 0xb8);
	for (i = 0; i < 4; i++)
		WRITE_ONCE(code[1 + i], val >> 8 * i);
	WRITE_ONCE(code[5], 0xc3);
}

uint64_t gmem_guest_call(void *code)
{
	return ((uint64_t (*)(void))code)();
}
