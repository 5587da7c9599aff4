/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: what the x86 MMU calls */
#ifndef __KVM_X86_MMU_GMEM_H
#define __KVM_X86_MMU_GMEM_H

#include <linux/kvm_gmem.h>

struct kvm_page_fault;

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_gmem_faultin_pfn() - the guest_memfd counterpart of kvm_faultin_pfn()
 * @vcpu:	the faulting vCPU
 * @fault:	the fault; its slot is a visible gmem-only slot and its mmu_seq
 *		has been sampled, with smp_rmb() behind it
 *
 * Fills in pfn (with a reference), hva, map_writable and max_level.
 *
 * Context: vCPU's process, inside kvm->srcu, may sleep.
 * Return: RET_PF_CONTINUE, or -EFAULT or -EHWPOISON with the exit to user
 * space filled in.
 */
int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);

/**
 * kvm_gmem_max_mapping_level() - the largest page that may map a gfn
 * @slot:	a gmem-only slot
 * @gfn:	a gfn in @slot
 *
 * Context: any; the answer may be stale at once, and then costs a zap.
 * Return: PG_LEVEL_*.
 */
int kvm_gmem_max_mapping_level(const struct kvm_memory_slot *slot, gfn_t gfn);

#else

static inline int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu,
				       struct kvm_page_fault *fault)
{
	return -EFAULT;
}

static inline int kvm_gmem_max_mapping_level(const struct kvm_memory_slot *slot,
					     gfn_t gfn)
{
	return PG_LEVEL_4K;
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_MMU_GMEM_H */
