/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel as a guest whose memory KVM hides from the processes of the host, see
 * drivers/virt/coco/kvm_sw_protected.c.
 */
#ifndef _LINUX_KVM_SW_PROTECTED_H
#define _LINUX_KVM_SW_PROTECTED_H

#include <linux/init.h>
#include <linux/types.h>

void __init kvm_sw_protected_guest_init(void);
int kvm_sw_protected_set(unsigned long vaddr, unsigned long nr, bool private);

/*
 * Provided by the architecture: ask the host to convert @nr pages from @pa on.  If they
 * cannot be shared, they are private in the end.
 */
int kvm_sw_protected_map(phys_addr_t pa, unsigned long nr, bool private);

#endif /* _LINUX_KVM_SW_PROTECTED_H */
