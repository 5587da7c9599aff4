/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: paravirtual interfaces of protected virtual machines */
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

#else

static inline void kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu)
{
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_GMEM_PV_H */
