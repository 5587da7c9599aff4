/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: interface to arm64's KVM */
#ifndef __KVM_ARM64_GMEM_H
#define __KVM_ARM64_GMEM_H

#include <linux/kvm_gmem.h>
#include <linux/kvm_host.h>

/* A stage-2 fault that guest_memfd resolves. */
struct kvm_gmem_fault {
	/* The slot at @gfn, or NULL. */
	struct kvm_memory_slot *slot;
	gfn_t gfn;
	/* The access is a write or an instruction fetch. */
	bool write;
	bool exec;
	/* The guest does not need it yet. */
	bool prefault;
	/* A page or a block is mapped, but does not allow the access. */
	bool perm;
	/* Likewise, and it is a page that stays one. */
	bool perm_page;
	/* Out: the memory is private. */
	bool private;
};

/*
 * Only called if kvm_gmem_handles_fault() is true; otherwise the compiler
 * removes the call.
 */
int kvm_gmem_abort(struct kvm_vcpu *vcpu, phys_addr_t fault_ipa,
		   struct kvm_memory_slot *slot, unsigned long fault_status);

#ifdef CONFIG_KVM_PRIVATE_MEM

int kvm_gmem_map(struct kvm_vcpu *vcpu, struct kvm_gmem_fault *fault);
bool kvm_gmem_has_slots(struct kvm *kvm);

/*
 * True if arm64 supports a new slot, which has its binding already.  An
 * ordinary VM has no use for the private side of a dual-backed slot.  Memory
 * tags would have to be initialised before the host maps a page, and be kept
 * from the host while the page is private.  The caller holds slots_lock.
 */
static inline bool kvm_gmem_slot_possible(struct kvm *kvm,
					  const struct kvm_memory_slot *slot)
{
	if (!kvm_slot_is_gmem(slot))
		return true;

	return !kvm_has_mte(kvm) &&
	       (kvm_slot_is_gmem_only(slot) || kvm_has_private_mem(kvm));
}

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline bool kvm_gmem_has_slots(struct kvm *kvm) { return false; }
static inline bool kvm_gmem_slot_possible(struct kvm *kvm,
					  const struct kvm_memory_slot *slot)
{ return true; }

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_ARM64_GMEM_H */
