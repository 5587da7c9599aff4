/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that is shared with the host, in guests whose other memory the host cannot
 * access: see arch/arm64/kernel/kvm_sw_protected.c.
 */
#ifndef _ASM_ARM64_MEM_ENCRYPT_H
#define _ASM_ARM64_MEM_ENCRYPT_H

#ifdef CONFIG_KVM_SW_PROTECTED_GUEST
int set_memory_encrypted(unsigned long addr, int numpages);
int set_memory_decrypted(unsigned long addr, int numpages);

unsigned int kvm_sw_protected_swiotlb(void);
void kvm_sw_protected_unshare_all(void);
#else
static inline unsigned int kvm_sw_protected_swiotlb(void) { return 0; }
static inline void kvm_sw_protected_unshare_all(void) { }
#endif

#endif /* _ASM_ARM64_MEM_ENCRYPT_H */
