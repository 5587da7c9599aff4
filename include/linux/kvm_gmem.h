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

#include <linux/guest_memory.h>
#include <linux/interval_tree.h>
#include <linux/kvm.h>
#include <linux/kvm_host.h>

struct inode;
struct kvm_gmem_view;

/**
 * struct kvm_gmem_binding - a memslot shows a range of a guest_memfd
 * @node:	position in @view's tree: the pages of the file, [start, last];
 *		guarded by the inode's bindings lock
 * @kvm:	the virtual machine, which outlives its slots
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
	struct kvm *kvm;
	struct inode *inode;
	struct kvm_gmem_view *view;
	bool live;
	bool gmem_only;
	unsigned long uaddr;
	gfn_t base_gfn;
	u16 as_id;
	short id;
};

/*
 * KVM's own accesses, for gfns for which kvm_gmem_owns_gfn() is true.  Without
 * CONFIG_KVM_PRIVATE_MEM it is constant false and the compiler removes the calls.
 */

/**
 * kvm_gmem_to_pfn() - gfn to pfn for KVM itself, where kvm_gmem_owns_gfn()
 * @slot:	the slot
 * @gfn:	the gfn
 * @atomic:	do not sleep; fails if the page is not there
 * @writable:	set to true unless NULL
 *
 * Context: inside kvm->srcu.
 * Return: the pfn with a reference, or a KVM_PFN_ERR_* value.
 */
kvm_pfn_t kvm_gmem_to_pfn(const struct kvm_memory_slot *slot, gfn_t gfn,
			  bool atomic, bool *writable);

/**
 * kvm_gmem_read() - KVM reads guest memory where kvm_gmem_owns_gfn()
 * @slot:	the slot
 * @gfn:	the gfn
 * @data:	where to
 * @offset:	offset in the page in bytes
 * @len:	length in bytes, up to the end of the page
 * @atomic:	do not sleep; fails if the page is not there
 *
 * Context: inside kvm->srcu.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_read(const struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		  int offset, int len, bool atomic);

/**
 * kvm_gmem_write() - KVM writes guest memory where kvm_gmem_owns_gfn()
 * @slot:	the slot
 * @gfn:	the gfn
 * @data:	where from
 * @offset:	offset in the page in bytes
 * @len:	length in bytes, up to the end of the page
 *
 * Does not mark the page dirty.
 *
 * Context: inside kvm->srcu, may sleep.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_write(const struct kvm_memory_slot *slot, gfn_t gfn,
		   const void *data, int offset, int len);

/* The same for kvm_gmem_page_hidden() and kvm_gmem_map_is_copy(). */

/**
 * kvm_gmem_make_copy() - what kvm_vcpu_map() maps instead of a hidden page
 * @page:	the page, with a reference for as long as the map exists
 *
 * Context: process, may sleep.
 * Return: the address.
 */
void *kvm_gmem_make_copy(struct page *page);

/**
 * kvm_gmem_drop_copy() - undo kvm_gmem_make_copy()
 * @map:	a map for which kvm_gmem_map_is_copy() is true
 * @dirty:	take what KVM has changed in the copy to the page
 *
 * Context: process.
 */
void kvm_gmem_drop_copy(struct kvm_host_map *map, bool dirty);

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
	dest->protected_kvm = src->protected_kvm;
}

/**
 * kvm_has_private_mem() - can memory of this virtual machine be private?
 * @kvm:	the virtual machine
 *
 * Context: any.
 * Return: true for protected virtual machines.
 */
static inline bool kvm_has_private_mem(const struct kvm *kvm)
{
	return kvm->has_private_mem;
}

/**
 * kvm_gfn_is_private() - has user space made a gfn private?
 * @kvm:	the virtual machine
 * @gfn:	any gfn, whether or not a slot shows it
 *
 * Not what counts if the slot at @gfn is gmem-only, see
 * kvm_gmem_is_private().
 *
 * Context: any; stable under slots_lock.
 * Return: true if KVM_SET_MEMORY_ATTRIBUTES made it private.
 */
static inline bool kvm_gfn_is_private(struct kvm *kvm, gfn_t gfn)
{
	return kvm_has_private_mem(kvm) &&
	       guest_memory_ranges_test(&kvm->private_gfns, gfn);
}

/**
 * kvm_gmem_is_private() - is the memory at a gfn private?
 * @kvm:	the virtual machine
 * @slot:	the slot at @gfn, or NULL
 * @gfn:	the gfn
 *
 * The file of a gmem-only slot knows; all other gfns have the state that
 * KVM_SET_MEMORY_ATTRIBUTES gave them.
 *
 * Context: inside kvm->srcu.
 * Return: true if it is.
 */
static inline bool kvm_gmem_is_private(struct kvm *kvm,
				       const struct kvm_memory_slot *slot,
				       gfn_t gfn)
{
	struct kvm_gmem_binding *bind;

	if (!kvm_has_private_mem(kvm))
		return false;

	if (!slot || !kvm_slot_is_gmem_only(slot))
		return kvm_gfn_is_private(kvm, gfn);

	bind = slot->gmem;
	return guest_memory_is_private(bind->inode,
				       gfn - bind->base_gfn + bind->node.start);
}

/**
 * kvm_gmem_handles_fault() - must a guest fault be resolved by guest_memfd?
 * @kvm:	the virtual machine
 * @slot:	the slot at @gfn, or NULL
 * @gfn:	the faulting gfn
 *
 * True for every gfn of a gmem-only slot, and for private gfns whatever the
 * slot; if they have no guest_memfd, the fault ends in an exit to user space.
 * Slots that KVM makes for itself are never private.
 *
 * Context: inside kvm->srcu.
 * Return: true if so.
 */
static inline bool kvm_gmem_handles_fault(struct kvm *kvm,
					  const struct kvm_memory_slot *slot,
					  gfn_t gfn)
{
	if (slot && kvm_slot_is_gmem_only(slot))
		return true;

	return kvm_gfn_is_private(kvm, gfn) &&
	       (!slot || slot->id < KVM_USER_MEM_SLOTS);
}

/**
 * kvm_gmem_is_invalidating() - is a fault sure to be stale?
 * @kvm:	the virtual machine
 * @hva:	the slot's userspace address for the faulting gfn
 *
 * A guess, to be asked before the fault takes the page: a conversion waits for
 * references to it, and with many vCPUs at it there would always be one.
 *
 * Context: any.
 * Return: true if an invalidation of @hva seems to be in progress.
 */
static inline bool kvm_gmem_is_invalidating(struct kvm *kvm, unsigned long hva)
{
	return READ_ONCE(kvm->mmu_invalidate_in_progress) &&
	       hva >= READ_ONCE(kvm->mmu_invalidate_range_start) &&
	       hva < READ_ONCE(kvm->mmu_invalidate_range_end);
}

/**
 * kvm_gmem_owns_gfn() - must KVM's own accesses go through the guest_memfd?
 * @slot:	the slot at @gfn, or NULL
 * @gfn:	the gfn
 *
 * True in protected virtual machines where the guest's memory comes from the
 * file: there may be nothing behind userspace_addr that KVM could touch.  Also
 * true for private gfns of slots without a file, where the accesses below fail
 * like those of the guest.  Everywhere else KVM uses userspace_addr.
 *
 * Context: inside kvm->srcu.
 * Return: true if so.
 */
static inline bool kvm_gmem_owns_gfn(const struct kvm_memory_slot *slot,
				     gfn_t gfn)
{
	if (!slot || !slot->protected_kvm)
		return false;

	return kvm_slot_is_gmem_only(slot) ||
	       kvm_gfn_is_private(slot->protected_kvm, gfn);
}

/**
 * kvm_gmem_may_own_slot() - may kvm_gmem_owns_gfn() be true for a slot?
 * @slot:	a slot, or NULL
 *
 * Context: any in which @slot is valid.
 * Return: true if caches of the slot's userspace addresses are of no use.
 */
static inline bool kvm_gmem_may_own_slot(const struct kvm_memory_slot *slot)
{
	return slot && slot->protected_kvm;
}

/**
 * kvm_gmem_cmpxchg() - atomic access of KVM where kvm_gmem_owns_gfn()
 * @slot:	the slot, or NULL
 * @gpa:	address, aligned to @size
 * @old:	expected value; receives the present one if it differs
 * @new:	new value
 * @size:	1, 2, 4 or 8 bytes
 *
 * Context: inside kvm->srcu, may sleep.
 * Return: 0 if exchanged, 1 if the value differs, -EFAULT, or -EOPNOTSUPP if
 * guest_memfd does not own the page.
 */
int kvm_gmem_cmpxchg(const struct kvm_memory_slot *slot, gpa_t gpa, void *old,
		     const void *new, unsigned int size);

/**
 * kvm_gmem_page_hidden() - is a page of the guest without a kernel address?
 * @pfn:	a pfn, with a reference if it has a page
 *
 * Context: any; the answer holds as long as the reference.
 * Return: true if the page is outside the direct map.
 */
static inline bool kvm_gmem_page_hidden(kvm_pfn_t pfn)
{
	return pfn_valid(pfn) && guest_memory_page_hidden(pfn_to_page(pfn));
}

/**
 * kvm_gmem_map_is_copy() - does a map show a copy of the guest's page?
 * @map:	what kvm_vcpu_map() has filled in
 *
 * Context: any.
 * Return: true if it does, and does not follow what others write there.
 */
bool kvm_gmem_map_is_copy(const struct kvm_host_map *map);

/**
 * kvm_gmem_sync_map() - make a map and the guest's page equal
 * @map:	what kvm_vcpu_map() has filled in, or one that is not mapped
 *
 * If it is a copy, takes what KVM has changed in it to the page, and then what
 * is in the page to the copy.  Otherwise there is nothing to do.
 *
 * Context: any but NMI; whoever uses @map keeps others from using it.
 */
void kvm_gmem_sync_map(struct kvm_host_map *map);

/**
 * kvm_gmem_wait_invalidated() - wait until no invalidation is in progress
 * @kvm:	the virtual machine
 * @seq:	mmu_invalidate_seq, sampled again if there was one to wait for
 *
 * For those who would otherwise take a page again and again until then, and be
 * in the way of a conversion that waits for references to go.  Kernel threads do
 * not wait.
 *
 * Context: process, may sleep; holds no lock that an invalidation takes.
 * Return: false if the task was killed.
 */
bool kvm_gmem_wait_invalidated(struct kvm *kvm, unsigned long *seq);

/**
 * kvm_gmem_uniform() - do all gfns of an aligned block have one state?
 * @kvm:	the virtual machine
 * @gfn:	any gfn of the block
 * @npages:	size of the block, a power of 2
 *
 * Context: mmu_lock held; changes of the state are bracketed by invalidations.
 * Return: true if a single mapping may cover the block.
 */
bool kvm_gmem_uniform(struct kvm *kvm, gfn_t gfn, gfn_t npages);

/**
 * kvm_gmem_init_vm() - set a new virtual machine up for its type
 * @kvm:	the virtual machine
 * @private:	its memory may be private
 *
 * Context: kvm_arch_init_vm().
 */
void kvm_gmem_init_vm(struct kvm *kvm, bool private);

/**
 * kvm_gmem_destroy_vm() - undo kvm_gmem_init_vm()
 * @kvm:	the virtual machine, of which no slot is left
 *
 * Context: kvm_destroy_vm().
 */
void kvm_gmem_destroy_vm(struct kvm *kvm);

/**
 * kvm_gmem_slot_allowed() - may user space use a slot number?
 * @kvm:	the virtual machine
 * @slot:	slot number with its address space in the upper half
 *
 * Private memory and a second address space (x86: SMM) exclude each other.
 *
 * Context: any.
 * Return: true if so.
 */
static inline bool kvm_gmem_slot_allowed(struct kvm *kvm, u32 slot)
{
	return !kvm_has_private_mem(kvm) || !(slot >> 16);
}

/**
 * kvm_prepare_memory_fault_exit() - fill in KVM_EXIT_MEMORY_FAULT
 * @vcpu:	the vCPU, loaded
 * @gpa:	guest physical address of the range, page aligned
 * @size:	size of the range in bytes
 * @private:	the access was to private memory
 *
 * The exit accompanies -EFAULT or -EHWPOISON from KVM_RUN; the caller returns
 * one of them.
 *
 * Context: vcpu->mutex held.
 */
static inline void kvm_prepare_memory_fault_exit(struct kvm_vcpu *vcpu,
						 gpa_t gpa, gpa_t size,
						 bool private)
{
	vcpu->run->exit_reason = KVM_EXIT_MEMORY_FAULT;
	vcpu->run->memory_fault.flags =
		private ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0;
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
 * Without KVM_MEM_GUEST_MEMFD the slot only learns whether its virtual machine
 * is protected.
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
 * KVM_CREATE_GUEST_MEMFD (0xd4), KVM_SET_USER_MEMORY_REGION2 (0x49) and
 * KVM_SET_MEMORY_ATTRIBUTES (0xd2), with the numbers of Linux 6.8.
 *
 * Context: process of kvm->mm, no locks held.
 * Return: the result of the ioctl; -ENOTTY if it is none of guest_memfd's.
 */
long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp);

/**
 * kvm_gmem_vcpu_ioctl() - the vCPU ioctls that belong to guest_memfd
 * @vcpu:	the vCPU
 * @ioctl:	ioctl number
 * @argp:	its argument in user space
 *
 * KVM_PRE_FAULT_MEMORY (0xd5), with the number of Linux 6.11.
 *
 * Context: process of kvm->mm, vcpu->mutex held.
 * Return: the result of the ioctl; -ENOTTY if it is none of guest_memfd's.
 */
long kvm_gmem_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl,
			 void __user *argp);

/**
 * kvm_arch_gmem_supported() - can KVM, as it runs, use guest_memfd at all?
 *
 * If not, it has none of guest_memfd's ioctls and capabilities.
 *
 * Context: any.
 * Return: true if so.
 */
bool kvm_arch_gmem_supported(void);

/**
 * kvm_arch_pre_fault_begin() - get a vCPU ready for kvm_arch_pre_fault_memory()
 * @vcpu:	the vCPU
 *
 * Context: vcpu->mutex held.
 */
void kvm_arch_pre_fault_begin(struct kvm_vcpu *vcpu);

/**
 * kvm_arch_pre_fault_end() - undo kvm_arch_pre_fault_begin()
 * @vcpu:	the vCPU
 *
 * Context: vcpu->mutex held.
 */
void kvm_arch_pre_fault_end(struct kvm_vcpu *vcpu);

/**
 * kvm_arch_pre_fault_memory() - map guest memory before the guest touches it
 * @vcpu:	the vCPU
 * @gpa:	first address
 * @size:	bytes that are wanted
 *
 * Context: after kvm_arch_pre_fault_begin(), inside kvm->srcu.
 * Return: bytes that are mapped from @gpa on, 0 if an invalidation came between
 * and the caller is to try again, outside the SRCU section; -ENOENT without a
 * memslot; -EFAULT or -EHWPOISON if there is no memory; -EAGAIN while the slot
 * is being deleted; -EOPNOTSUPP where the MMU cannot.
 */
long kvm_arch_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size);

/**
 * kvm_arch_pre_fault_supported() - is KVM_PRE_FAULT_MEMORY of any use?
 *
 * Context: any.
 * Return: true if so.
 */
bool kvm_arch_pre_fault_supported(void);

/**
 * kvm_arch_vm_types() - the types of virtual machines that can be created
 *
 * Context: any.
 * Return: a mask of the KVM_X86_*_VM types, or of the architecture's own.
 */
unsigned long kvm_arch_vm_types(void);

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
{ return false; }
static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src) { }
static inline bool kvm_has_private_mem(const struct kvm *kvm) { return false; }
static inline bool kvm_gmem_handles_fault(struct kvm *kvm,
					  const struct kvm_memory_slot *slot,
					  gfn_t gfn) { return false; }
static inline bool kvm_gmem_owns_gfn(const struct kvm_memory_slot *slot,
				     gfn_t gfn) { return false; }
static inline bool kvm_gmem_may_own_slot(const struct kvm_memory_slot *slot)
{ return false; }
static inline bool kvm_gmem_page_hidden(kvm_pfn_t pfn) { return false; }
static inline bool kvm_gmem_slot_allowed(struct kvm *kvm, u32 slot)
{ return true; }
static inline int kvm_gmem_cmpxchg(const struct kvm_memory_slot *slot,
				   gpa_t gpa, void *old, const void *new,
				   unsigned int size) { return -EOPNOTSUPP; }
static inline bool kvm_gmem_map_is_copy(const struct kvm_host_map *map)
{ return false; }
static inline void kvm_gmem_sync_map(struct kvm_host_map *map) { }
static inline int
kvm_gmem_check_region(const struct kvm_userspace_memory_region2 *mem)
{ return -EINVAL; }
static inline int
kvm_gmem_check_update(struct kvm *kvm, const struct kvm_memory_slot *old,
		      const struct kvm_userspace_memory_region2 *mem)
{ return 0; }
static inline int kvm_gmem_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
				const struct kvm_userspace_memory_region2 *mem)
{ return 0; }
static inline void kvm_gmem_unbind(struct kvm_memory_slot *slot) { }
static inline bool kvm_gmem_wait_invalidated(struct kvm *kvm,
					     unsigned long *seq)
{ return true; }
static inline void kvm_gmem_init_vm(struct kvm *kvm, bool private) { }
static inline void kvm_gmem_destroy_vm(struct kvm *kvm) { }
static inline int kvm_gmem_check_extension(struct kvm *kvm, long cap)
{ return 0; }
static inline long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl,
				     void __user *argp) { return -ENOTTY; }
static inline long kvm_gmem_vcpu_ioctl(struct kvm_vcpu *vcpu,
				       unsigned int ioctl, void __user *argp)
{ return -ENOTTY; }
static inline unsigned long kvm_arch_vm_types(void) { return 1; }

#endif /* CONFIG_KVM_PRIVATE_MEM */

#endif /* _LINUX_KVM_GMEM_H */
