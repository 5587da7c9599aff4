/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that is shared with the host, in guests whose other memory the host cannot
 * access: see arch/arm64/kernel/kvm_sw_protected.c.
 */
#ifndef _ASM_ARM64_MEM_ENCRYPT_H
#define _ASM_ARM64_MEM_ENCRYPT_H

int set_memory_encrypted(unsigned long addr, int numpages);
int set_memory_decrypted(unsigned long addr, int numpages);

#endif /* _ASM_ARM64_MEM_ENCRYPT_H */
