/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: emulated accesses to missing memory */
#ifndef __KVM_X86_GMEM_EMULATE_H
#define __KVM_X86_GMEM_EMULATE_H

#include <linux/kvm_gmem.h>

#ifdef CONFIG_KVM_PRIVATE_MEM

void kvm_gmem_emulation_begin(struct kvm_vcpu *vcpu);
bool kvm_gmem_emulation_fault(struct kvm_vcpu *vcpu, gpa_t gpa);
bool kvm_gmem_emulation_faulted(struct kvm_vcpu *vcpu);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline void kvm_gmem_emulation_begin(struct kvm_vcpu *vcpu) { }
static inline bool kvm_gmem_emulation_fault(struct kvm_vcpu *vcpu, gpa_t gpa)
{ return false; }
static inline bool kvm_gmem_emulation_faulted(struct kvm_vcpu *vcpu)
{ return false; }

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* __KVM_X86_GMEM_EMULATE_H */
