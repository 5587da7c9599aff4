/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel as a guest whose memory KVM hides from the host, see
 * arch/x86/kernel/kvm_sw_protected.c.
 */
#ifndef _ASM_X86_KVM_SW_PROTECTED_H
#define _ASM_X86_KVM_SW_PROTECTED_H

#include <linux/init.h>
#include <linux/types.h>

#ifdef CONFIG_KVM_SW_PROTECTED_GUEST
void __init kvm_sw_protected_init(void);
bool __init kvm_sw_protected_share(void *ptr, size_t size);
#else
static inline void kvm_sw_protected_init(void) { }
static inline bool kvm_sw_protected_share(void *ptr, size_t size)
{ return false; }
#endif

#endif /* _ASM_X86_KVM_SW_PROTECTED_H */
