/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guest_memfd: what the rest of KVM needs to know of it
 *
 * A memslot with guest_memfd memory points to a binding.  All copies of a slot
 * (KVM replaces slots by modified copies) share one binding, which is made when
 * the slot is created and lives until kvm_free_memslot().
 */
#ifndef _LINUX_KVM_GMEM_H
#define _LINUX_KVM_GMEM_H

#include <linux/interval_tree.h>
#include <linux/kvm.h>
#include <linux/kvm_host.h>

struct inode;
struct kvm_gmem_view;

/**
 * struct kvm_gmem_binding - a memslot shows a range of a guest_memfd
 * @node:	position in @view's tree: the pages of the file, [start, last];
 *		guarded by the inode's bindings lock
 * @inode:	the memory; the binding holds a reference
 * @view:	the file it was bound with; dangles once @live is false
 * @live:	the file is still open.  Written under the inode's bindings
 *		lock; read without by faults, which retry when they race
 * @gmem_only:	all guest accesses use the file, not only private ones
 * @uaddr:	the slot's userspace_addr, to speak KVM's hva-based
 *		invalidation protocol
 * @base_gfn:	first gfn of the slot
 * @as_id:	address space of the slot
 * @id:		id of the slot.  The slot itself must be looked up whenever it
 *		is needed: KVM may replace it by a copy at any time
 *
 * Constant unless a lock is named.
 */
struct kvm_gmem_binding {
	struct interval_tree_node node;
	struct inode *inode;
	struct kvm_gmem_view *view;
	bool live;
	bool gmem_only;
	unsigned long uaddr;
	gfn_t base_gfn;
	u16 as_id;
	short id;
};

#ifdef CONFIG_KVM_PRIVATE_MEM

/**
 * kvm_slot_is_gmem() - does a slot have guest_memfd memory?
 * @slot:	a memslot, not NULL
 *
 * Context: any in which @slot is valid.
 * Return: true if the slot was created with KVM_MEM_GUEST_MEMFD.
 */
static inline bool kvm_slot_is_gmem(const struct kvm_memory_slot *slot)
{
	return slot->gmem;
}

/**
 * kvm_slot_is_gmem_only() - do all guest accesses to a slot use its file?
 * @slot:	a memslot, not NULL
 *
 * Context: any in which @slot is valid.
 * Return: true for slots with a mappable guest_memfd.
 */
static inline bool kvm_slot_is_gmem_only(const struct kvm_memory_slot *slot)
{
	return slot->gmem && slot->gmem->gmem_only;
}

/**
 * kvm_gmem_copy_slot() - let a copy of a slot share its binding
 * @dest:	a slot that is not yet reachable
 * @src:	the slot it is a copy of
 *
 * Context: slots_lock held.
 */
static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
	dest->gmem = src->gmem;
}

/**
 * kvm_prepare_memory_fault_exit() - fill in KVM_EXIT_MEMORY_FAULT
 * @vcpu:	the vCPU, loaded
 * @gpa:	guest physical address of the range, page aligned
 * @size:	size of the range in bytes
 *
 * The exit accompanies -EFAULT or -EHWPOISON from KVM_RUN; the caller returns
 * one of them.
 *
 * Context: vcpu->mutex held.
 */
static inline void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu,
						 gpa_t gpa, gpa_t size)
{
	vcpu->run->exit_reason = KVM_EXIT_MEMORY_FAULT;
	vcpu->run->memory_fault.flags = 0;
	vcpu->run->memory_fault.gpa = gpa;
	vcpu->run->memory_fault.size = size;
}

/**
 * kvm_gmem_check_region() - are the flags and the offset of a region sane?
 * @mem:	a region with KVM_MEM_GUEST_MEMFD set
 *
 * Checks what can be told without looking the file up.  Also called for the
 * deletion of a slot, where the file does not matter.
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int kvm_gmem_check_region(const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_gmem_check_update() - may a region replace the slot of the same id?
 * @kvm:	the virtual machine
 * @old:	the slot as it is
 * @mem:	what user space asks for; size, userspace_addr and
 *		KVM_MEM_READONLY are known to match @old
 *
 * A slot cannot gain, lose, move or exchange guest_memfd memory.  All that may
 * change is KVM_MEM_LOG_DIRTY_PAGES of a gmem-only slot.
 *
 * Context: slots_lock held.
 * Return: 0; -EINVAL; -EBADF if the region's file descriptor is not open.
 */
int kvm_gmem_check_update(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_gmem_bind() - give a new slot the memory that a region asks for
 * @kvm:	the virtual machine
 * @slot:	the slot, complete but not yet reachable
 * @mem:	the region it is made from
 *
 * Does nothing unless KVM_MEM_GUEST_MEMFD is set.
 *
 * Context: slots_lock held; takes the invalidate_lock and the bindings lock.
 * Return: 0; -EBADF if the file descriptor is not open; -EINVAL if it is no
 * guest_memfd of this virtual machine, the range is not inside the file, or
 * dirty logging is asked for and the file is not mappable; -EEXIST if a page
 * of the range is bound already; -ENOMEM.
 */
int kvm_gmem_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
		  const struct kvm_userspace_memory_region2 *mem);

/**
 * kvm_gmem_unbind() - end the binding of a slot, if it has one
 * @slot:	a slot of which no copy is reachable any more
 *
 * Context: slots_lock held, or the last reference to the virtual machine is
 * gone; not inside an SRCU section.  Takes the invalidate_lock and the bindings
 * lock.
 */
void kvm_gmem_unbind(struct kvm_memory_slot *slot);

/**
 * kvm_gmem_get_pfn() - resolve a gfn through the slot's guest_memfd
 * @kvm:	the virtual machine
 * @slot:	a slot with guest_memfd memory
 * @gfn:	a gfn inside @slot
 * @pfn:	receives the pfn
 * @order:	receives the largest order that may be mapped, see
 *		guest_memory_get_pfn()
 *
 * The caller gets one reference to the page.  It must have sampled
 * mmu_invalidate_seq before and check it under mmu_lock before it maps @pfn.
 *
 * Context: process, inside kvm->srcu, may sleep.  Takes the invalidate_lock.
 * Return: 0; -EFAULT when the file is closed or memory cannot be had;
 * -EHWPOISON when the page has a memory error.
 */
int kvm_gmem_get_pfn(struct kvm *kvm, const struct kvm_memory_slot *slot,
		     gfn_t gfn, kvm_pfn_t *pfn, unsigned int *order);

/**
 * kvm_gmem_vm_ioctl() - the VM ioctls that belong to guest_memfd
 * @kvm:	the virtual machine
 * @ioctl:	ioctl number
 * @argp:	its argument in user space
 *
 * KVM_CREATE_GUEST_MEMFD (0xd4) and KVM_SET_USER_MEMORY_REGION2 (0x49), with
 * the numbers of Linux 6.8.
 *
 * Context: process of kvm->mm, no locks held.
 * Return: the result of the ioctl; -ENOTTY if it is none of guest_memfd's.
 */
long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp);

/**
 * kvm_gmem_check_extension() - KVM_CHECK_EXTENSION for guest_memfd
 * @kvm:	the virtual machine, or NULL for /dev/kvm itself
 * @cap:	capability number
 *
 * Context: any.
 * Return: the capability's value, 0 if it is none of guest_memfd's.
 */
int kvm_gmem_check_extension(struct kvm *kvm, long cap);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline bool kvm_slot_is_gmem(const struct kvm_memory_slot *slot)
{
	return false;
}

static inline bool kvm_slot_is_gmem_only(const struct kvm_memory_slot *slot)
{
	return false;
}

static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
}

static inline int
kvm_gmem_check_region(const struct kvm_userspace_memory_region2 *mem)
{
	return -EINVAL;
}

static inline int
kvm_gmem_check_update(struct kvm *kvm, const struct kvm_memory_slot *old,
		      const struct kvm_userspace_memory_region2 *mem)
{
	return 0;
}

static inline int kvm_gmem_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
				const struct kvm_userspace_memory_region2 *mem)
{
	return 0;
}

static inline void kvm_gmem_unbind(struct kvm_memory_slot *slot)
{
}

static inline long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl,
				     void __user *argp)
{
	return -ENOTTY;
}

static inline int kvm_gmem_check_extension(struct kvm *kvm, long cap)
{
	return 0;
}

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* _LINUX_KVM_GMEM_H */
