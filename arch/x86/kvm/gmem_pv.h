/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: steal time and clocks that KVM's usual ways do not reach */
#ifndef __KVM_X86_GMEM_PV_H
#define __KVM_X86_GMEM_PV_H

#include <linux/kvm_gmem.h>

/* Only called if kvm_has_private_mem(), otherwise compiled out. */
void kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu);

#ifdef CONFIG_KVM_PRIVATE_MEM
void kvm_gmem_update_pvclock(struct kvm_vcpu *vcpu, gpa_t gpa);
#else
static inline void kvm_gmem_update_pvclock(struct kvm_vcpu *vcpu, gpa_t gpa) { }
#endif

#endif /* __KVM_X86_GMEM_PV_H */
