/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: paravirtual interfaces of protected VMs */
#ifndef __KVM_ARM64_GMEM_PV_H
#define __KVM_ARM64_GMEM_PV_H

#include <linux/kvm_gmem.h>

/* Only called if kvm_has_private_mem(), otherwise compiled out. */
void kvm_gmem_update_stolen_time(struct kvm_vcpu *vcpu);

#ifdef CONFIG_KVM_PRIVATE_MEM

unsigned long kvm_gmem_exit_hypercalls(struct kvm *kvm);
int kvm_gmem_enable_exit_hypercalls(struct kvm *kvm, u64 mask);
unsigned long kvm_gmem_vendor_hyp_features(struct kvm *kvm);
unsigned long kvm_gmem_visible_hypercalls(struct kvm_vcpu *vcpu);
int kvm_gmem_hypercall(struct kvm_vcpu *vcpu, u32 func_id);
void kvm_gmem_finish_hypercall(struct kvm_vcpu *vcpu);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline unsigned long kvm_gmem_exit_hypercalls(struct kvm *kvm)
{ return 0; }
static inline int kvm_gmem_enable_exit_hypercalls(struct kvm *kvm, u64 mask)
{ return -EINVAL; }
static inline unsigned long kvm_gmem_vendor_hyp_features(struct kvm *kvm)
{ return 0; }
static inline unsigned long kvm_gmem_visible_hypercalls(struct kvm_vcpu *vcpu)
{ return vcpu->kvm->arch.smccc_feat.vendor_hyp_bmap; }
static inline int kvm_gmem_hypercall(struct kvm_vcpu *vcpu, u32 func_id)
{ return 1; }
static inline void kvm_gmem_finish_hypercall(struct kvm_vcpu *vcpu) { }

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_ARM64_GMEM_PV_H */
