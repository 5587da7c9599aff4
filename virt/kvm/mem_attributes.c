// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: memory attributes (private or shared)
 *
 * The state of guest memory is held in two places:
 *
 * - The file of a gmem-only slot holds the state of its pages.  A conversion
 *   happens in place: the page and its content stay.
 * - The VM holds the state of all gfns that no such file backs, as the set of
 *   private gfns.  A private gfn uses the slot's guest_memfd, a shared one its
 *   userspace_addr, and a conversion exchanges one memory for the other.
 *
 * KVM_SET_MEMORY_ATTRIBUTES takes gfns and acts on both: on the VM's set for
 * the whole range, and on the files of the gmem-only slots that are in it now.
 * While such a file backs a gfn, the set is ignored for that gfn; it applies
 * again when the slot is gone.  KVM_SET_MEMORY_ATTRIBUTES2 takes offsets and
 * acts on its file.
 *
 * All or nothing: steps that user space can make fail come first, and are
 * undone if they fail half-way.  Only if the task is killed may a part of a
 * private range become shared.
 *
 * slots_lock serialises both ioctls.  kvm->private_gfns changes under
 * slots_lock, inside an invalidation, and is read without a lock.
 */
#include <linux/kvm_host.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "gmem.h"
#include "kvm_mm.h"

/*
 * True if all gfns of the naturally aligned block around @gfn have the same
 * state, so that one mapping may cover it.  @npages is a power of 2.  The
 * caller holds mmu_lock; invalidations bracket changes of the state.
 */
bool kvm_gmem_uniform(struct kvm *kvm, gfn_t gfn, gfn_t npages)
{
	unsigned long first, last;

	if (!kvm_has_private_mem(kvm))
		return true;

	gfn &= ~(npages - 1);
	if (gfn < kvm->changing_end && gfn + npages > kvm->changing_start)
		return false;

	guest_memory_ranges_find(&kvm->private_gfns, gfn, &first, &last);

	return last >= gfn + npages - 1;
}

/*
 * The same for gfns [start, end) of @slot that are about to be zapped, whether or not
 * the change of a state has been announced: false if no mapping covers all of them.
 */
bool kvm_gmem_was_uniform(struct kvm *kvm, const struct kvm_memory_slot *slot,
			  gfn_t start, gfn_t end)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	unsigned long first, last;

	if (bind->gmem_only) {
		guest_memory_find_state(bind->inode, start - bind->base_gfn +
						     bind->node.start, &last);
		return last - bind->node.start >= end - 1 - bind->base_gfn;
	}

	guest_memory_ranges_find(&kvm->private_gfns, start, &first, &last);

	return last >= end - 1;
}

/* True if all of [start, end) is in the set (@private), or none of it. */
static bool kvm_gfns_have_state(struct kvm *kvm, gfn_t start, gfn_t end,
				bool private)
{
	unsigned long first, last;

	return guest_memory_ranges_find(&kvm->private_gfns, start, &first,
					&last) == private && last >= end - 1;
}

/*
 * Announce that the state of gfns [start, end) is about to change; none if both
 * are 0.  A fault next to the range does not wait.  Without the announcement it
 * might install a huge page that reaches into the range after the zap.
 */
static void kvm_set_changing_gfns(struct kvm *kvm, gfn_t start, gfn_t end)
{
	KVM_MMU_LOCK(kvm);
	kvm->changing_start = start;
	kvm->changing_end = end;
	KVM_MMU_UNLOCK(kvm);
}

/*
 * Gfns [start, end) of @slot have a new state: let guests map blocks of private memory
 * as one page whose gfns have one state again.
 */
static void kvm_promote_gfns(struct kvm *kvm, struct kvm_memory_slot *slot,
			     gfn_t start, gfn_t end)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	gfn_t mask = (SZ_2M >> PAGE_SHIFT) - 1;

	if (!bind || !guest_memory_has_whole(bind->inode))
		return;

	/* All of 1 GiB may be one again because of one block. */
	if (guest_memory_flags(bind->inode) & GUEST_MEMORY_HUGETLB_1G &&
	    (kvm_gmem_max_order(kvm, slot, start) > ilog2(mask + 1) ||
	     kvm_gmem_max_order(kvm, slot, end - 1) > ilog2(mask + 1)))
		mask = (SZ_1G >> PAGE_SHIFT) - 1;

	start = kvm_gmem_clamp_slot(slot, start & ~mask, ((end - 1) | mask) + 1,
				    &end);
	kvm_arch_gmem_promote(kvm, slot, start, end);
}

/*
 * Begin or end the invalidation of [start, end) around a change of the set.
 * Returns -EINTR if the task was killed; the set must not change then, but the
 * caller still ends the invalidation.
 */
static int kvm_attributes_bracket(struct kvm *kvm, gfn_t start, gfn_t end,
				  bool begin)
{
	struct kvm_memslots *slots = __kvm_memslots(kvm, 0);
	struct kvm_memslot_iter iter;
	int r = 0;

	kvm_for_each_memslot_in_gfn_range(&iter, slots, start, end) {
		struct kvm_memory_slot *slot = iter.slot;
		gfn_t s, e, hva_start, hva_end;

		if (kvm_slot_is_gmem_only(slot))
			continue;

		s = kvm_gmem_clamp_slot(slot, start, end, &e);
		hva_start = __gfn_to_hva_memslot(slot, s);
		hva_end = hva_start + ((e - s) << PAGE_SHIFT);

		if (!begin) {
			kvm_gmem_bracket_end(kvm, hva_start, hva_end);
			kvm_promote_gfns(kvm, slot, s, e);
			continue;
		}

		kvm_gmem_bracket_begin(kvm, hva_start, hva_end);
		if (!kvm_gmem_zap(kvm, slot, s, e, true))
			r = -EINTR;
	}

	return r;
}

/* Change the VM's own set. */
static int kvm_set_private_gfns(struct kvm *kvm, gfn_t start, gfn_t end,
				bool private)
{
	int r;

	if (kvm_gfns_have_state(kvm, start, end, private))
		return 0;

	kvm_set_changing_gfns(kvm, start, end);
	r = kvm_attributes_bracket(kvm, start, end, true);
	if (!r)
		r = guest_memory_ranges_set(&kvm->private_gfns, start, end - 1,
					    private, GFP_KERNEL_ACCOUNT);
	kvm_set_changing_gfns(kvm, 0, 0);
	kvm_attributes_bracket(kvm, start, end, false);

	return r;
}

static int kvm_make_private(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvm_memslots *slots = __kvm_memslots(kvm, 0);
	struct guest_memory_ranges before;
	struct kvm_memslot_iter iter;
	gfn_t done = start;
	int r = 0;

	guest_memory_ranges_init(&before);

	kvm_for_each_memslot_in_gfn_range(&iter, slots, start, end) {
		if (!kvm_slot_is_gmem_only(iter.slot))
			continue;

		r = kvm_gmem_remember_slot(iter.slot, start, end, &before);
		if (!r)
			r = kvm_gmem_convert_slot(iter.slot, start, end, true,
						  GFP_KERNEL_ACCOUNT);
		if (r)
			goto undo;
		kvm_gmem_clamp_slot(iter.slot, start, end, &done);
	}

	r = kvm_set_private_gfns(kvm, start, end, true);
undo:
	if (r)
		kvm_gmem_restore_slots(kvm, start, done, &before);
	guest_memory_ranges_destroy(&before);

	return r;
}

static int kvm_make_shared(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvm_memslots *slots = __kvm_memslots(kvm, 0);
	struct kvm_memslot_iter iter;
	int r;

	r = kvm_set_private_gfns(kvm, start, end, false);
	if (r)
		return r;

	/* The set has changed: from here on, only a kill may interrupt. */
	kvm_for_each_memslot_in_gfn_range(&iter, slots, start, end) {
		if (!kvm_slot_is_gmem_only(iter.slot))
			continue;

		r = kvm_gmem_convert_slot(iter.slot, start, end, false,
					  GFP_KERNEL_ACCOUNT);
		if (r == -ENOMEM)
			r = kvm_gmem_convert_slot(iter.slot, start, end, false,
						  GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
		if (r)
			break;
	}

	return r;
}

/* Common checks of both ioctls. */
static int kvm_check_mem_attributes(struct kvm *kvm, u64 attributes, u64 flags)
{
	u64 valid = kvm_has_private_mem(kvm) ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;

	return flags || (attributes & ~valid) ? -EINVAL : 0;
}

int kvm_ioctl_set_mem_attributes(struct kvm *kvm, void __user *argp)
{
	struct kvm_memory_attributes attrs;
	gfn_t start, end;
	int r;

	if (copy_from_user(&attrs, argp, sizeof(attrs)))
		return -EFAULT;

	r = kvm_check_mem_attributes(kvm, attrs.attributes, attrs.flags);
	if (r)
		return r;

	if (!attrs.size || attrs.address + attrs.size < attrs.address ||
	    !PAGE_ALIGNED(attrs.address) || !PAGE_ALIGNED(attrs.size))
		return -EINVAL;

	/* All memory is shared already. */
	if (!kvm_has_private_mem(kvm))
		return 0;

	start = attrs.address >> PAGE_SHIFT;
	end = start + (attrs.size >> PAGE_SHIFT);

	mutex_lock(&kvm->slots_lock);
	if (attrs.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE)
		r = kvm_make_private(kvm, start, end);
	else
		r = kvm_make_shared(kvm, start, end);
	mutex_unlock(&kvm->slots_lock);

	return r;
}

long kvm_gmem_ioctl_set_attributes2(struct kvm *kvm, struct inode *inode,
				    void __user *argp)
{
	struct kvm_memory_attributes2 attrs;
	pgoff_t error = 0;
	int r;

	if (copy_from_user(&attrs, argp, sizeof(attrs)))
		return -EFAULT;

	r = kvm_check_mem_attributes(kvm, attrs.attributes, attrs.flags);
	if (r)
		return r;

	/* Only mappable files have a state of their own. */
	if (!kvm_has_private_mem(kvm) ||
	    memchr_inv(attrs.reserved, 0, sizeof(attrs.reserved)) ||
	    !(guest_memory_flags(inode) & GUEST_MEMORY_MAPPABLE))
		return -EINVAL;

	r = guest_memory_check_range(i_size_read(inode), attrs.offset,
				     attrs.size);
	if (r)
		return r;

	/* Exclude KVM_SET_MEMORY_ATTRIBUTES, which may undo a conversion. */
	mutex_lock(&kvm->slots_lock);
	r = guest_memory_convert(inode, attrs.offset >> PAGE_SHIFT,
				 (attrs.offset + attrs.size) >> PAGE_SHIFT,
				 attrs.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE,
				 GFP_KERNEL_ACCOUNT, &error);
	mutex_unlock(&kvm->slots_lock);
	if (!r)
		return 0;

	attrs.error_offset = (u64)error << PAGE_SHIFT;
	if (copy_to_user(argp, &attrs, sizeof(attrs)))
		return -EFAULT;

	return r;
}

/* Called from kvm_arch_init_vm(); @private depends on the type of the VM. */
void kvm_gmem_init_vm(struct kvm *kvm, bool private)
{
	kvm->has_private_mem = private;
	guest_memory_ranges_init(&kvm->private_gfns);
}

/* Called from kvm_destroy_vm(), after all slots are gone. */
void kvm_gmem_destroy_vm(struct kvm *kvm)
{
	guest_memory_ranges_destroy(&kvm->private_gfns);
}
