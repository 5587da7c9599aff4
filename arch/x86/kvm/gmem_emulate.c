// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: emulated accesses that find no memory
 *
 * In a protected virtual machine an instruction may access memory that is not
 * there: a private gfn without a file, a file that was closed, a page with a
 * memory error.  When the guest does that itself, KVM_RUN ends in
 * KVM_EXIT_MEMORY_FAULT.  So it does when KVM emulates the instruction: what the
 * guest writes to its memory is no data of an MMIO exit, and what user space
 * supplies for one is not what is in the memory.
 *
 * The access that fails notes its address in the vCPU, and whoever has started the
 * emulation fills the exit in, whatever else the emulator has made of it.
 *
 * The instruction can be repeated, as its results are written back at the end.
 * What it has read from a device is lost, however, when the memory that it goes
 * to is not there: string input, and moves from MMIO to memory.  And to skip an
 * instruction, or to switch tasks, still is an internal error.
 */
#include <linux/kvm_host.h>

#include "gmem_emulate.h"

/* Forget what an earlier emulation may have left. */
void kvm_gmem_emulation_begin(struct kvm_vcpu *vcpu)
{
	vcpu->arch.gmem_fault = false;
}

/*
 * An access at @gpa on behalf of an instruction has failed.  Is there, or should
 * there be, guest memory at the address?  If not, it may be MMIO.
 */
bool kvm_gmem_emulation_fault(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	gfn_t gfn = gpa_to_gfn(gpa);
	struct kvm_memory_slot *slot;

	if (!kvm_has_private_mem(vcpu->kvm))
		return false;

	slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);
	vcpu->arch.gmem_fault = (slot && kvm_slot_is_gmem(slot)) ||
				kvm_gfn_is_private(vcpu->kvm, gfn);
	vcpu->arch.gmem_fault_gpa = gpa;

	return vcpu->arch.gmem_fault;
}

/*
 * Is that why emulation failed?  If so, the exit is filled in, and KVM_RUN is to
 * return -EFAULT.
 */
bool kvm_gmem_emulation_faulted(struct kvm_vcpu *vcpu)
{
	gfn_t gfn = gpa_to_gfn(vcpu->arch.gmem_fault_gpa);
	struct kvm_memory_slot *slot;

	if (!vcpu->arch.gmem_fault)
		return false;

	vcpu->arch.gmem_fault = false;
	/* What the emulator has in its registers will not be used. */
	vcpu->arch.emulate_regs_need_sync_to_vcpu = false;
	/* Nor will a store to MMIO that came before, as the first of two pushes. */
	vcpu->mmio_needed = false;
	slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);
	kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(gfn), PAGE_SIZE,
				      kvm_gmem_is_private(vcpu->kvm, slot, gfn));

	return true;
}
