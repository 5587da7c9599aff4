/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel as a guest whose memory KVM hides from the host, see
 * arch/arm64/kernel/kvm_sw_protected.c.
 */
#ifndef _ASM_ARM64_KVM_SW_PROTECTED_H
#define _ASM_ARM64_KVM_SW_PROTECTED_H

#ifdef CONFIG_KVM_SW_PROTECTED_GUEST
unsigned int kvm_sw_protected_swiotlb(void);
void kvm_sw_protected_unshare_all(void);
#else
static inline unsigned int kvm_sw_protected_swiotlb(void) { return 0; }
static inline void kvm_sw_protected_unshare_all(void) { }
#endif

#endif /* _ASM_ARM64_KVM_SW_PROTECTED_H */
