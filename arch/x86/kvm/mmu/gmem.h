/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: what the x86 MMU calls */
#ifndef __KVM_X86_MMU_GMEM_H
#define __KVM_X86_MMU_GMEM_H

#include <linux/kvm_gmem.h>

struct kvm_page_fault;

/* Module parameter tdp_mmu. */
extern bool tdp_mmu_enabled;

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_gmem_faultin_pfn() - the guest_memfd counterpart of kvm_faultin_pfn()
 * @vcpu:	the faulting vCPU
 * @fault:	the fault, for which kvm_gmem_handles_fault() is true; its
 *		mmu_seq has been sampled, with smp_rmb() behind it
 *
 * Fills in pfn (with a reference), hva, map_writable and max_level.
 *
 * Context: vCPU's process, inside kvm->srcu, may sleep.
 * Return: RET_PF_CONTINUE; RET_PF_RETRY without a page; -EFAULT or -EHWPOISON
 * with the exit to user space filled in.
 */
int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

int __kvm_gmem_max_mapping_level(struct kvm *kvm,
				 const struct kvm_memory_slot *slot, gfn_t gfn,
				 int max_level);

/**
 * kvm_gmem_max_mapping_level() - the largest page that may map a gfn
 * @kvm:	the virtual machine
 * @slot:	the slot at @gfn
 * @gfn:	the gfn
 * @max_level:	what everything else allows, PG_LEVEL_*
 *
 * Context: mmu_lock held.
 * Return: PG_LEVEL_*, at most @max_level.
 */
static inline int
kvm_gmem_max_mapping_level(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t gfn, int max_level)
{
	if (!kvm_slot_is_gmem_only(slot) && !kvm_has_private_mem(kvm))
		return max_level;

	return __kvm_gmem_max_mapping_level(kvm, slot, gfn, max_level);
}

#else

static inline int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu,
				       struct kvm_page_fault *fault)
{
	return -EFAULT;
}

static inline int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu,
					  struct kvm_page_fault *fault)
{
	return 0;
}

static inline int kvm_gmem_max_mapping_level(struct kvm *kvm,
					     const struct kvm_memory_slot *slot,
					     gfn_t gfn, int max_level)
{
	return max_level;
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_MMU_GMEM_H */
