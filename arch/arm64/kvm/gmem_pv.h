/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: paravirtual interfaces of protected virtual machines */
#ifndef __KVM_ARM64_GMEM_PV_H
#define __KVM_ARM64_GMEM_PV_H

#include <linux/kvm_gmem.h>

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_gmem_exit_hypercalls() - what KVM_CAP_EXIT_HYPERCALL can enable
 * @kvm:	the virtual machine, or NULL for /dev/kvm itself
 *
 * As on x86, BIT(KVM_HC_MAP_GPA_RANGE) stands for conversions at the wish of
 * the guest.
 *
 * Context: any.
 * Return: the mask of bits.
 */
unsigned long kvm_gmem_exit_hypercalls(struct kvm *kvm);

/**
 * kvm_gmem_enable_exit_hypercalls() - enable KVM_CAP_EXIT_HYPERCALL
 * @kvm:	the virtual machine
 * @mask:	what is to be enabled; the rest is disabled
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int kvm_gmem_enable_exit_hypercalls(struct kvm *kvm, u64 mask);

/**
 * kvm_gmem_vendor_hyp_features() - bits for KVM_REG_ARM_VENDOR_HYP_BMAP
 * @kvm:	the virtual machine
 *
 * Context: any.
 * Return: the bits that its type adds to those that all have.
 */
unsigned long kvm_gmem_vendor_hyp_features(struct kvm *kvm);

/**
 * kvm_gmem_visible_hypercalls() - vendor services as the guest sees them
 * @vcpu:	the vCPU that asks
 *
 * Context: vcpu->mutex held.
 * Return: KVM_REG_ARM_VENDOR_HYP_BMAP without the hypercalls that this vCPU
 * cannot make.
 */
unsigned long kvm_gmem_visible_hypercalls(struct kvm_vcpu *vcpu);

/**
 * kvm_gmem_hypercall() - HYP_MEMINFO, MEM_SHARE or MEM_UNSHARE
 * @vcpu:	the vCPU
 * @func_id:	function id; its bit is in kvm_gmem_visible_hypercalls()
 *
 * Context: vcpu->mutex held.
 * Return: 1 to run the guest again, 0 for an exit to user space.
 */
int kvm_gmem_hypercall(struct kvm_vcpu *vcpu, u32 func_id);

/**
 * kvm_gmem_finish_hypercall() - give the guest the result from user space
 * @vcpu:	the vCPU
 *
 * Does nothing unless kvm_gmem_hypercall() made the last exit.
 *
 * Context: vcpu->mutex held, KVM_RUN begins.
 */
void kvm_gmem_finish_hypercall(struct kvm_vcpu *vcpu);

/**
 * kvm_gmem_update_stolen_time() - report stolen time in a protected VM
 * @vcpu:	the vCPU, which has a record of stolen time
 *
 * Context: vCPU's process before it enters the guest, inside kvm->srcu; may
 * sleep.
 */
void kvm_gmem_update_stolen_time(struct kvm_vcpu *vcpu);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline unsigned long kvm_gmem_exit_hypercalls(struct kvm *kvm)
{
	return 0;
}

static inline int kvm_gmem_enable_exit_hypercalls(struct kvm *kvm, u64 mask)
{
	return -EINVAL;
}

static inline unsigned long kvm_gmem_vendor_hyp_features(struct kvm *kvm)
{
	return 0;
}

static inline unsigned long kvm_gmem_visible_hypercalls(struct kvm_vcpu *vcpu)
{
	return vcpu->kvm->arch.smccc_feat.vendor_hyp_bmap;
}

static inline int kvm_gmem_hypercall(struct kvm_vcpu *vcpu, u32 func_id)
{
	return 1;
}

static inline void kvm_gmem_finish_hypercall(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_gmem_update_stolen_time(struct kvm_vcpu *vcpu)
{
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_ARM64_GMEM_PV_H */
