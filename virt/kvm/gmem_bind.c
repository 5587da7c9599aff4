// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: bindings of memslots to files
 *
 * A binding ties a range of a file to the gfns of a memslot.  A guest fault
 * goes from the slot to the binding to the page.  When pages leave the file,
 * gmem_invalidate.c goes from the bindings of the file to the slots and zaps.
 *
 * Invariants:
 *
 * - A page of a file is in at most one binding of that file.
 * - A binding names its slot by id, because KVM replaces slots by copies and
 *   frees the originals.  All copies share the binding, so a slot of this id
 *   that points to the binding is the right one.
 * - A binding is in the tree before its slot is reachable, and leaves it after
 *   the last copy is unreachable.  Invalidations cover all bindings, whether or
 *   not the slot is visible: a slot that becomes visible during an invalidation
 *   must not map a page that is being removed.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <trace/events/kvm_gmem.h>

#include "gmem.h"
#include "kvm_mm.h"

/*
 * Check the flags and the offset of a region with KVM_MEM_GUEST_MEMFD.  Does
 * not look at the file, which is irrelevant when user space deletes a slot.
 */
int kvm_gmem_check_region(const struct kvm_userspace_memory_region2 *mem)
{
	u32 valid = KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES;

	if (mem->flags & ~valid)
		return -EINVAL;

	if (!PAGE_ALIGNED(mem->guest_memfd_offset) ||
	    mem->guest_memfd_offset + mem->memory_size < mem->guest_memfd_offset)
		return -EINVAL;

	return 0;
}

/*
 * Check whether @mem may replace the slot @old of the same id; size,
 * userspace_addr and KVM_MEM_READONLY are known to match.  A slot cannot gain,
 * lose, move or exchange guest_memfd memory.  Only KVM_MEM_LOG_DIRTY_PAGES of a
 * gmem-only slot may change.  The caller holds slots_lock.
 *
 * Returns 0, -EINVAL, or -EBADF if the file descriptor is not open.
 */
int kvm_gmem_check_update(struct kvm *kvm, const struct kvm_memory_slot *old,
			  const struct kvm_userspace_memory_region2 *mem)
{
	struct kvm_gmem_binding *bind = old->gmem;
	struct file *file;
	bool same;

	if ((mem->flags ^ old->flags) & KVM_MEM_GUEST_MEMFD)
		return -EINVAL;

	if (!bind)
		return 0;

	/* Unlike for other slots, an update without a change is an error. */
	if (mem->flags == old->flags || !bind->gmem_only)
		return -EINVAL;

	if (mem->guest_phys_addr >> PAGE_SHIFT != old->base_gfn ||
	    mem->guest_memfd_offset >> PAGE_SHIFT != bind->node.start)
		return -EINVAL;

	file = kvm_gmem_get_file(kvm, mem->guest_memfd);
	if (IS_ERR(file))
		return PTR_ERR(file);
	/* The view of a dead binding is freed, its address may be reused. */
	same = READ_ONCE(bind->live) && file->private_data == bind->view;
	fput(file);

	return same ? 0 : -EINVAL;
}

static struct kvm_gmem_binding *
kvm_gmem_alloc_bind(struct kvm_gmem_view *view, struct inode *inode,
		    const struct kvm_memory_slot *slot, pgoff_t start)
{
	struct kvm_gmem_binding *bind;

	bind = kzalloc(sizeof(*bind), GFP_KERNEL_ACCOUNT);
	if (!bind)
		return NULL;

	bind->node.start = start;
	bind->node.last = start + slot->npages - 1;
	bind->kvm = view->kvm;
	bind->inode = inode;
	bind->view = view;
	bind->live = true;
	bind->gmem_only = guest_memory_flags(inode) & GUEST_MEMORY_MAPPABLE;
	bind->uaddr = slot->userspace_addr;
	bind->base_gfn = slot->base_gfn;
	bind->as_id = slot->as_id;
	bind->id = slot->id;

	return bind;
}

/* Insert @bind into its file.  -EEXIST if its range overlaps another one. */
static int kvm_gmem_insert_bind(struct kvm_gmem_binding *bind)
{
	struct rb_root_cached *root = &bind->view->bindings;
	struct inode *inode = bind->inode;
	int r = 0;

	guest_memory_lock_bindings(inode);
	if (interval_tree_iter_first(root, bind->node.start, bind->node.last))
		r = -EEXIST;
	else
		interval_tree_insert(&bind->node, root);
	guest_memory_unlock_bindings(inode);

	return r;
}

static int kvm_gmem_bind_file(struct file *file, struct kvm_memory_slot *slot,
			      u64 offset)
{
	struct inode *inode = file_inode(file);
	struct kvm_gmem_binding *bind;
	int r;

	r = guest_memory_check_range(i_size_read(inode), offset,
				     (u64)slot->npages << PAGE_SHIFT);
	if (r)
		return r;

	bind = kvm_gmem_alloc_bind(file->private_data, inode, slot,
				   offset >> PAGE_SHIFT);
	if (!bind)
		return -ENOMEM;

	/*
	 * The host must not observe accesses to the private side of a
	 * dual-backed slot; only gmem-only slots have a dirty log.
	 */
	r = -EINVAL;
	if (kvm_slot_dirty_track_enabled(slot) && !bind->gmem_only)
		goto err;

	r = kvm_gmem_insert_bind(bind);
	if (r)
		goto err;

	ihold(inode);
	slot->gmem = bind;
	trace_kvm_gmem_bind(bind);

	return 0;

err:
	kfree(bind);
	return r;
}

/*
 * Invalidate pfn caches.  They remember which page is at an hva, even across
 * changes of slots; only MMU notifiers and guest_memfd invalidate them.
 */
static void kvm_gmem_forget_pfns(struct kvm *kvm, unsigned long uaddr,
				 unsigned long npages)
{
	gfn_to_pfn_cache_invalidate_start(kvm, uaddr,
					  uaddr + npages * PAGE_SIZE, true);
}

/*
 * Give @slot, which is complete but not yet reachable, the memory that @mem
 * asks for.  Without KVM_MEM_GUEST_MEMFD, only note whether the VM is
 * protected.  The caller holds slots_lock; takes the invalidate_lock and the
 * bindings lock.
 *
 * Returns 0; -EBADF if the file descriptor is not open; -EINVAL if it is not a
 * guest_memfd of this VM, if the range is not inside the file, or if dirty
 * logging is requested and the file is not mappable; -EEXIST if a page of the
 * range is bound already; -ENOMEM.
 */
int kvm_gmem_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
		  const struct kvm_userspace_memory_region2 *mem)
{
	struct file *file;
	int r;

	lockdep_assert_held(&kvm->slots_lock);

	/* Slots that KVM creates for itself are never private. */
	if (kvm_has_private_mem(kvm) && slot->id < KVM_USER_MEM_SLOTS) {
		slot->protected_kvm = kvm;
		/* A former slot may have had other memory at the same hva. */
		kvm_gmem_forget_pfns(kvm, slot->userspace_addr, slot->npages);
	}

	if (!(mem->flags & KVM_MEM_GUEST_MEMFD))
		return 0;

	file = kvm_gmem_get_file(kvm, mem->guest_memfd);
	if (IS_ERR(file))
		return PTR_ERR(file);

	r = kvm_gmem_bind_file(file, slot, mem->guest_memfd_offset);
	fput(file);

	return r;
}

/*
 * End the binding of @slot, if it has one, when no copy of the slot is
 * reachable any more.  The caller holds slots_lock, or the last reference to
 * the VM is gone; it is not inside an SRCU section.  Takes the invalidate_lock
 * and the bindings lock.
 */
void kvm_gmem_unbind(struct kvm_memory_slot *slot)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	struct inode *inode;

	if (!bind)
		return;

	inode = bind->inode;
	guest_memory_lock_bindings(inode);
	/* The tree is gone once the file is closed. */
	if (bind->live)
		interval_tree_remove(&bind->node, &bind->view->bindings);
	guest_memory_unlock_bindings(inode);

	/*
	 * From here on no invalidation reaches a pfn cache, which cannot tell
	 * this slot from a new one with the same addresses.
	 */
	kvm_gmem_forget_pfns(bind->kvm, bind->uaddr,
			     bind->node.last - bind->node.start + 1);

	slot->gmem = NULL;
	kfree(bind);
	/* Last, because the inode's locks are used above. */
	iput(inode);
}

/*
 * True if the gfns of the block of @order around @gfn are in @slot, aligned like the
 * file, and of one kind.
 */
static bool kvm_gmem_order_fits(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn,
				unsigned int order)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	const gfn_t nr = 1ull << order;
	gfn_t start = gfn & ~(nr - 1);

	if (start < slot->base_gfn ||
	    start + nr > slot->base_gfn + slot->npages)
		return false;

	/* Gfns and blocks have to be aligned alike. */
	if ((bind->base_gfn ^ bind->node.start) & (nr - 1))
		return false;

	return bind->gmem_only || kvm_gmem_uniform(kvm, gfn, nr);
}

/*
 * The order of the largest naturally aligned run of gfns around @gfn that one
 * mapping of guest_memfd memory may cover, as far as this is not for the
 * architecture to decide.  The page at @gfn is the one that kvm_gmem_get_pfn()
 * returned; the caller holds mmu_lock.  Without it, the answer is a hint.
 */
unsigned int kvm_gmem_max_order(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn)
{
	const unsigned int order_2m = ilog2(SZ_2M >> PAGE_SHIFT);
	struct kvm_gmem_binding *bind = slot->gmem;
	unsigned int order;

	/* A private gfn without a file has no memory. */
	if (!bind || !kvm_gmem_order_fits(kvm, slot, gfn, order_2m))
		return 0;

	order = guest_memory_max_order(bind->inode, gfn - bind->base_gfn +
						    bind->node.start);
	if (order > order_2m && !kvm_gmem_order_fits(kvm, slot, gfn, order))
		order = order_2m;

	return order;
}

/*
 * Resolve @gfn through the guest_memfd of @slot, for a fault of @vcpu.  @order
 * receives the largest order that may be mapped, see guest_memory_get_pfn().
 * The caller holds vcpu->mutex and kvm->srcu; it sampled mmu_invalidate_seq
 * before and checks it under mmu_lock before it maps @pfn.  May sleep; takes the
 * invalidate_lock.
 *
 * Returns 0 with a reference to the page; -EFAULT if the file is closed or the
 * allocation fails; -EHWPOISON if the page has a memory error.
 */
int kvm_gmem_get_pfn(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
		     gfn_t gfn, enum guest_memory_reason reason, kvm_pfn_t *pfn,
		     unsigned int *order)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	pgoff_t index = gfn - bind->base_gfn + bind->node.start;
	unsigned long __pfn = 0;
	int r = -EFAULT;

	/*
	 * @live is cleared before the invalidation that closes the file ends;
	 * pairs with the caller's smp_rmb() after sampling mmu_invalidate_seq.
	 */
	if (READ_ONCE(bind->live))
		r = guest_memory_get_pfn(bind->inode, index, reason, &__pfn,
					 order);

	*pfn = __pfn;
	trace_kvm_gmem_fault(gfn, __pfn, *order, r);

	if (r)
		return r == -EHWPOISON ? r : -EFAULT;

	++vcpu->stat.generic.gmem_faults;
	return 0;
}
