/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guest_memfd: interface to the rest of KVM
 *
 * A memslot with guest_memfd memory points to a binding.  KVM replaces slots by
 * modified copies; all copies share one binding, which kvm_gmem_bind() makes
 * when the slot is created and which lives until kvm_free_memslot().
 *
 * Locking and errors are described beside the definitions.  The contract with
 * the memory half, which owns the pages, is in <linux/guest_memory.h>.
 */
#ifndef _LINUX_KVM_GMEM_H
#define _LINUX_KVM_GMEM_H

#include <linux/guest_memory.h>
#include <linux/interval_tree.h>
#include <linux/kvm.h>
#include <linux/kvm_host.h>

struct inode;
struct kvm_gmem_view;

/* A range of a guest_memfd in a memslot.  Constant unless a lock is named. */
struct kvm_gmem_binding {
	/*
	 * Position in the tree of @view: the pages [start, last] of the file.
	 * Guarded by the inode's bindings lock.
	 */
	struct interval_tree_node node;
	/* Outlives its slots. */
	struct kvm *kvm;
	/* The memory; the binding holds a reference. */
	struct inode *inode;
	/* The file it was bound with; dangles once @live is false. */
	struct kvm_gmem_view *view;
	/*
	 * The file is still open.  Written under the inode's bindings lock;
	 * faults read it without a lock and retry if they race.
	 */
	bool live;
	/* All guest accesses use the file, not only private ones. */
	bool gmem_only;
	/* userspace_addr of the slot, for KVM's hva-based invalidation. */
	unsigned long uaddr;
	/* First gfn, address space and id of the slot. */
	gfn_t base_gfn;
	u16 as_id;
	/* Look the slot up for each use: KVM may replace it at any time. */
	short id;
};

/*
 * KVM's own accesses, for gfns for which kvm_gmem_owns_gfn() is true.  Without
 * CONFIG_KVM_PRIVATE_MEM it is constant false and the compiler removes the
 * calls.
 */
kvm_pfn_t kvm_gmem_to_pfn(const struct kvm_memory_slot *slot, gfn_t gfn,
			  bool atomic, bool *writable);
int kvm_gmem_read(const struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		  int offset, int len, bool atomic);
int kvm_gmem_write(const struct kvm_memory_slot *slot, gfn_t gfn,
		   const void *data, int offset, int len);

/* The same for kvm_gmem_page_hidden() and kvm_gmem_map_is_copy(). */
void *kvm_gmem_make_copy(struct page *page);
void kvm_gmem_drop_copy(struct kvm_host_map *map, bool dirty);

#ifdef CONFIG_KVM_PRIVATE_MEM

/* True if the slot was created with KVM_MEM_GUEST_MEMFD. */
static inline bool kvm_slot_is_gmem(const struct kvm_memory_slot *slot)
{
	return slot->gmem;
}

/* True if all guest accesses use the file, i.e. if the file is mappable. */
static inline bool kvm_slot_is_gmem_only(const struct kvm_memory_slot *slot)
{
	return slot->gmem && slot->gmem->gmem_only;
}

/*
 * What the gfns of @slot must be aligned to, in pages, so that huge pages can map
 * them.  The private side of a dual-backed slot has its own condition, too.
 */
static inline unsigned long
kvm_gmem_lpage_offset(const struct kvm_memory_slot *slot)
{
	if (kvm_slot_is_gmem_only(slot))
		return slot->gmem->node.start;

	return slot->userspace_addr >> PAGE_SHIFT;
}

/* Let @dest, which is not reachable yet, share the binding of @src. */
static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
	dest->gmem = src->gmem;
	dest->protected_kvm = src->protected_kvm;
}

/* True for protected VMs. */
static inline bool kvm_has_private_mem(const struct kvm *kvm)
{
	return kvm->has_private_mem;
}

/*
 * True if KVM_SET_MEMORY_ATTRIBUTES made @gfn private, whether or not a slot
 * shows it.  Stable under slots_lock.  The file decides instead if the slot is
 * gmem-only, see kvm_gmem_is_private().
 */
static inline bool kvm_gfn_is_private(struct kvm *kvm, gfn_t gfn)
{
	return kvm_has_private_mem(kvm) &&
	       guest_memory_ranges_test(&kvm->private_gfns, gfn);
}

/*
 * True if the memory at @gfn is private, according to the file of a gmem-only
 * slot or, for all other gfns, to KVM_SET_MEMORY_ATTRIBUTES.  @slot is the slot
 * at @gfn or NULL.  The caller holds kvm->srcu.
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

/*
 * True if guest_memfd must resolve a guest fault: for every gfn of a gmem-only
 * slot, and for private gfns in any slot or none (NULL).  If a private gfn has
 * no guest_memfd, the fault exits to user space.  Slots that KVM creates for
 * itself are never private.  The caller holds kvm->srcu.
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

/*
 * True if a fault on a shared gfn that found no mapping in the process must be
 * retried: a process may unmap memory that it made private, and map it again
 * before it makes it shared.  @seq is mmu_invalidate_seq, sampled before the
 * caller looked up the state of the gfn.  The caller holds kvm->srcu.
 */
static inline bool kvm_gmem_retry_fault(struct kvm *kvm,
					const struct kvm_memory_slot *slot,
					gfn_t gfn, unsigned long seq)
{
	return kvm_gmem_handles_fault(kvm, slot, gfn) ||
	       (kvm_has_private_mem(kvm) &&
		READ_ONCE(kvm->mmu_invalidate_seq) != seq);
}

/*
 * Lockless hint that a fault at @hva is bound to be stale.  Check it before the
 * fault takes a page: a conversion waits for references to the page, and with
 * many vCPUs faulting on it there would always be one.
 */
static inline bool kvm_gmem_is_invalidating(struct kvm *kvm, unsigned long hva)
{
	return READ_ONCE(kvm->mmu_invalidate_in_progress) &&
	       hva >= READ_ONCE(kvm->mmu_invalidate_range_start) &&
	       hva < READ_ONCE(kvm->mmu_invalidate_range_end);
}

/*
 * True if KVM's own accesses to @gfn must go through the guest_memfd: in
 * protected VMs where guest memory comes from the file, because userspace_addr
 * may have nothing behind it.  Also true for private gfns of a slot without a
 * file, where the accesses fail like those of the guest.  The caller holds
 * kvm->srcu.
 */
static inline bool kvm_gmem_owns_gfn(const struct kvm_memory_slot *slot,
				     gfn_t gfn)
{
	if (!slot || !slot->protected_kvm)
		return false;

	return kvm_slot_is_gmem_only(slot) ||
	       kvm_gfn_is_private(slot->protected_kvm, gfn);
}

/* True if kvm_gmem_owns_gfn() may be: do not cache the slot's hvas. */
static inline bool kvm_gmem_may_own_slot(const struct kvm_memory_slot *slot)
{
	return slot && slot->protected_kvm;
}

/*
 * True if the page is outside the direct map.  The caller holds a reference, if
 * @pfn has a page; the result is valid as long as the reference is held.
 */
static inline bool kvm_gmem_page_hidden(kvm_pfn_t pfn)
{
	return pfn_valid(pfn) && guest_memory_page_hidden(pfn_to_page(pfn));
}

int kvm_gmem_hva_to_pfn(struct vm_area_struct *vma, unsigned long addr,
			bool write_fault, bool *writable, kvm_pfn_t *pfn);

/* Private memory excludes a second address space (bits 16-31; x86: SMM). */
static inline bool kvm_gmem_slot_allowed(struct kvm *kvm, u32 slot)
{
	return !kvm_has_private_mem(kvm) || !(slot >> 16);
}

/*
 * Fill in KVM_EXIT_MEMORY_FAULT for [gpa, gpa + size), page aligned.  The
 * caller holds vcpu->mutex and returns -EFAULT or -EHWPOISON from KVM_RUN.
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

/* gmem_access.c and gmem_map.c */
int kvm_gmem_cmpxchg(const struct kvm_memory_slot *slot, gpa_t gpa, void *old,
		     const void *new, unsigned int size);
bool kvm_gmem_map_is_copy(const struct kvm_host_map *map);
void kvm_gmem_sync_map(struct kvm_host_map *map);

/* gmem_bind.c and gmem_invalidate.c */
int kvm_gmem_check_region(const struct kvm_userspace_memory_region2 *mem);
int kvm_gmem_check_update(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_userspace_memory_region2 *mem);
int kvm_gmem_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
		  const struct kvm_userspace_memory_region2 *mem);
void kvm_gmem_unbind(struct kvm_memory_slot *slot);
int kvm_gmem_get_pfn(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
		     gfn_t gfn, enum guest_memory_reason reason, kvm_pfn_t *pfn,
		     unsigned int *order);
unsigned int kvm_gmem_max_order(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn);
bool kvm_gmem_wait_invalidated(struct kvm *kvm, unsigned long *seq);

/* mem_attributes.c */
bool kvm_gmem_uniform(struct kvm *kvm, gfn_t gfn, gfn_t npages);
bool kvm_gmem_was_uniform(struct kvm *kvm, const struct kvm_memory_slot *slot,
			  gfn_t start, gfn_t end);
void kvm_gmem_init_vm(struct kvm *kvm, bool private);
void kvm_gmem_destroy_vm(struct kvm *kvm);

/* gmem_ioctl.c */
int kvm_gmem_check_extension(struct kvm *kvm, long cap);
long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp);
long kvm_gmem_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl,
			 void __user *argp);

/*
 * Provided by the architecture.  If guest_memfd is not supported as KVM runs
 * now, KVM has none of its ioctls and capabilities.  The types are a mask of
 * KVM_X86_*_VM or of the architecture's own.
 */
bool kvm_arch_gmem_supported(void);
unsigned long kvm_arch_vm_types(void);

/*
 * Called before the gfns [start, end) of @slot are unmapped, under mmu_lock, for
 * writing, which may be dropped meanwhile: replace huge mappings that reach beyond
 * the range by small ones, so that the guest keeps what is outside.  Only an
 * optimisation.
 */
void kvm_arch_gmem_split(struct kvm *kvm, const struct kvm_memory_slot *slot,
			 gfn_t start, gfn_t end);

/*
 * Gfns [start, end) of @slot may be mapped by huge pages again: remove smaller
 * mappings, so that the next access finds the way clear.  Takes mmu_lock.
 */
void kvm_arch_gmem_promote(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t start, gfn_t end);

/*
 * Map guest memory before the guest touches it.  kvm_arch_pre_fault_memory()
 * runs under vcpu->mutex, between begin and end, inside kvm->srcu.  It returns
 * the number of bytes, at most @size, that are mapped from @gpa on; 0 if an
 * invalidation interfered and the caller has to retry outside the SRCU section;
 * -ENOENT without a memslot; -EFAULT or -EHWPOISON without memory; -EAGAIN
 * while the slot is being deleted; -EOPNOTSUPP if the MMU cannot do it.
 */
bool kvm_arch_pre_fault_supported(void);
void kvm_arch_pre_fault_begin(struct kvm_vcpu *vcpu);
long kvm_arch_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size);
void kvm_arch_pre_fault_end(struct kvm_vcpu *vcpu);

#else /* CONFIG_KVM_PRIVATE_MEM */

static inline bool kvm_slot_is_gmem(const struct kvm_memory_slot *slot)
{ return false; }
static inline bool kvm_slot_is_gmem_only(const struct kvm_memory_slot *slot)
{ return false; }
static inline unsigned long
kvm_gmem_lpage_offset(const struct kvm_memory_slot *slot)
{ return slot->userspace_addr >> PAGE_SHIFT; }
static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src) { }
static inline bool kvm_has_private_mem(const struct kvm *kvm) { return false; }
static inline bool kvm_gmem_handles_fault(struct kvm *kvm,
					  const struct kvm_memory_slot *slot,
					  gfn_t gfn) { return false; }
static inline bool kvm_gmem_retry_fault(struct kvm *kvm,
					const struct kvm_memory_slot *slot,
					gfn_t gfn, unsigned long seq)
{ return false; }
static inline bool kvm_gmem_owns_gfn(const struct kvm_memory_slot *slot,
				     gfn_t gfn) { return false; }
static inline bool kvm_gmem_may_own_slot(const struct kvm_memory_slot *slot)
{ return false; }
static inline bool kvm_gmem_page_hidden(kvm_pfn_t pfn) { return false; }
static inline int kvm_gmem_hva_to_pfn(struct vm_area_struct *vma,
				      unsigned long addr, bool write_fault,
				      bool *writable, kvm_pfn_t *pfn)
{ return -ENOENT; }
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
