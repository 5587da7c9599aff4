// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: emulated accesses to missing memory
 *
 * In a protected VM an instruction may access missing memory: a private gfn
 * without a file, a file that was closed, or a page with a memory error.  If
 * the guest executes the instruction, KVM_RUN exits with KVM_EXIT_MEMORY_FAULT.
 * The same happens if KVM emulates it.  An MMIO exit would be wrong: it would
 * pass the guest's data to user space, or data from user space to the guest.
 *
 * The failing access records its address in the vCPU, and the caller of the
 * emulator fills in the exit, however the emulator treated the failure.
 *
 * The instruction can be repeated, because the emulator writes back its results
 * at the end.  Data read from a device is lost, however, if the destination is
 * missing: string input, and moves from MMIO to memory.  Skipping an
 * instruction and task switches still end in an internal error.
 */
#include <linux/kvm_host.h>

#include "gmem_emulate.h"

/* Discard the record of an earlier emulation. */
void kvm_gmem_emulation_begin(struct kvm_vcpu *vcpu)
{
	vcpu->arch.gmem_fault = false;
}

/*
 * Record that an emulated access at @gpa failed.  Returns true if there is, or
 * should be, guest memory; if not, the access may be MMIO.  The caller holds
 * kvm->srcu.
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
 * Check for a pending memory-fault exit.  If true, the exit is filled in and
 * KVM_RUN must return -EFAULT.
 */
bool kvm_gmem_emulation_faulted(struct kvm_vcpu *vcpu)
{
	gfn_t gfn = gpa_to_gfn(vcpu->arch.gmem_fault_gpa);
	struct kvm_memory_slot *slot;

	if (!vcpu->arch.gmem_fault)
		return false;

	vcpu->arch.gmem_fault = false;
	/* Discard the emulator's registers. */
	vcpu->arch.emulate_regs_need_sync_to_vcpu = false;
	/* Nor will a store to MMIO that came before, as the first of two pushes. */
	vcpu->mmio_needed = false;
	slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);
	kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(gfn), PAGE_SIZE,
				      kvm_gmem_is_private(vcpu->kvm, slot, gfn));

	return true;
}
