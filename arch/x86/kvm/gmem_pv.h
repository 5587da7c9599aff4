/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: paravirtual interfaces where KVM's usual ways do not lead */
#ifndef __KVM_X86_GMEM_PV_H
#define __KVM_X86_GMEM_PV_H

#include <linux/kvm_gmem.h>

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_gmem_record_steal_time() - report steal time in a protected VM
 * @vcpu:	the vCPU, which has enabled steal time
 *
 * Context: vCPU's process before it enters the guest, inside kvm->srcu; may
 * sleep.
 */
void kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu);

/**
 * kvm_gmem_update_pvclock() - update a clock in a page that cannot be mapped
 * @vcpu:	the vCPU, whose arch.hv_clock is the new value
 * @gpa:	address of the clock
 *
 * Context: vCPU's process before it enters the guest, inside kvm->srcu; may
 * sleep.
 */
void kvm_gmem_update_pvclock(struct kvm_vcpu *vcpu, gpa_t gpa);

#else

static inline void kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_gmem_update_pvclock(struct kvm_vcpu *vcpu, gpa_t gpa)
{
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_GMEM_PV_H */
