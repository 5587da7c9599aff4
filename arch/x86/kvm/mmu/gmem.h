/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: interface to the x86 MMU */
#ifndef __KVM_X86_MMU_GMEM_H
#define __KVM_X86_MMU_GMEM_H

#include <linux/kvm_gmem.h>

struct kvm_page_fault;

/* Module parameter tdp_mmu. */
extern bool tdp_mmu_enabled;

/*
 * Only called if kvm_gmem_handles_fault() is true; otherwise the compiler
 * removes the call.
 */
int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

#ifdef CONFIG_KVM_PRIVATE_MEM

int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);
int __kvm_gmem_max_mapping_level(struct kvm *kvm,
				 const struct kvm_memory_slot *slot, gfn_t gfn,
				 int max_level);

/*
 * Limit @max_level, PG_LEVEL_*, to the largest page that may map @gfn.  The
 * caller holds mmu_lock.
 */
static inline int
kvm_gmem_max_mapping_level(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t gfn, int max_level)
{
	if (!kvm_slot_is_gmem_only(slot) && !kvm_has_private_mem(kvm))
		return max_level;

	return __kvm_gmem_max_mapping_level(kvm, slot, gfn, max_level);
}

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu,
					  struct kvm_page_fault *fault)
{ return 0; }
static inline int
kvm_gmem_max_mapping_level(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t gfn, int max_level) { return max_level; }

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_MMU_GMEM_H */
