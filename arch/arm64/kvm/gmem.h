/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: what arm64's KVM calls */
#ifndef __KVM_ARM64_GMEM_H
#define __KVM_ARM64_GMEM_H

#include <linux/kvm_gmem.h>
#include <linux/kvm_host.h>

/**
 * struct kvm_gmem_fault - a stage-2 fault that guest_memfd resolves
 * @slot:	the slot at @gfn, or NULL
 * @gfn:	the gfn
 * @write:	the access is a write
 * @exec:	the access is an instruction fetch
 * @perm:	a page is mapped, but does not allow the access
 * @private:	out: the memory is private
 */
struct kvm_gmem_fault {
	struct kvm_memory_slot *slot;
	gfn_t gfn;
	bool write;
	bool exec;
	bool perm;
	bool private;
};

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_gmem_abort() - the guest_memfd counterpart of user_mem_abort()
 * @vcpu:	the faulting vCPU
 * @fault_ipa:	the faulting address
 * @slot:	the slot there, or NULL
 * @fault_status: FSC_FAULT, FSC_PERM or FSC_ACCESS
 *
 * For aborts for which kvm_gmem_handles_fault() is true.
 *
 * Context: vCPU's process, inside kvm->srcu, may sleep.
 * Return: 1 to run the guest again; -EFAULT or -EHWPOISON with the exit to user
 * space filled in; -ENOMEM.
 */
int kvm_gmem_abort(struct kvm_vcpu *vcpu, phys_addr_t fault_ipa,
		   struct kvm_memory_slot *slot, unsigned long fault_status);

/**
 * kvm_gmem_map() - map the page at a gfn in stage 2
 * @vcpu:	the vCPU whose memory cache provides page tables
 * @fault:	what it is mapped for
 *
 * Context: process of kvm->mm, vcpu->mutex held, inside kvm->srcu, may sleep.
 * Return: 0 if it is mapped or the access is to be tried again; -EFAULT,
 * -EHWPOISON or -ENOMEM.
 */
int kvm_gmem_map(struct kvm_vcpu *vcpu, struct kvm_gmem_fault *fault);

/**
 * kvm_gmem_slot_possible() - can arm64 do what a new slot asks for?
 * @kvm:	the virtual machine
 * @slot:	the slot, with its binding
 *
 * An ordinary VM has no use for the private side of a slot with two backings.
 * Memory tags would have to be initialised before the host maps a page, and
 * kept from it while the page is private.
 *
 * Context: slots_lock held.
 * Return: true if so.
 */
static inline bool kvm_gmem_slot_possible(struct kvm *kvm,
					  const struct kvm_memory_slot *slot)
{
	if (!kvm_slot_is_gmem(slot))
		return true;

	return !kvm_has_mte(kvm) &&
	       (kvm_slot_is_gmem_only(slot) || kvm_has_private_mem(kvm));
}

/**
 * kvm_gmem_has_slots() - does any slot have guest_memfd memory?
 * @kvm:	the virtual machine
 *
 * Context: slots_lock held.
 * Return: true if so.
 */
bool kvm_gmem_has_slots(struct kvm *kvm);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline int kvm_gmem_abort(struct kvm_vcpu *vcpu, phys_addr_t fault_ipa,
				 struct kvm_memory_slot *slot,
				 unsigned long fault_status)
{
	return -EFAULT;
}

static inline bool kvm_gmem_slot_possible(struct kvm *kvm,
					  const struct kvm_memory_slot *slot)
{
	return true;
}

static inline bool kvm_gmem_has_slots(struct kvm *kvm)
{
	return false;
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_ARM64_GMEM_H */
