// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: conversion of the files behind memslots, and its undo
 *
 * The file of a gmem-only slot holds the state of its pages.  mem_attributes.c
 * converts them by gfn, slot by slot, and restores the former state if a later
 * step fails.
 *
 * slots_lock, which the caller holds, keeps slots and states stable: it
 * excludes KVM_SET_MEMORY_ATTRIBUTES2 on the same file.
 */
#include <linux/kvm_host.h>

#include "gmem.h"

/*
 * Convert, in place, the part of [start, end) in the gmem-only slot @slot.
 * Returns the error of guest_memory_convert().
 */
int kvm_gmem_convert_slot(const struct kvm_memory_slot *slot, gfn_t start,
			  gfn_t end, bool private, gfp_t gfp)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	pgoff_t offset = bind->node.start - slot->base_gfn;
	pgoff_t unused;

	start = kvm_gmem_clamp_slot(slot, start, end, &end);

	return guest_memory_convert(bind->inode, start + offset, end + offset,
				    private, gfp, &unused);
}

/* Add to @before the gfns of [start, end) in @slot that are private. */
int kvm_gmem_remember_slot(const struct kvm_memory_slot *slot, gfn_t start,
			   gfn_t end, struct guest_memory_ranges *before)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	pgoff_t offset = bind->node.start - slot->base_gfn;
	pgoff_t index, last;
	int r = 0;

	start = kvm_gmem_clamp_slot(slot, start, end, &end);

	for (index = start + offset; index < end + offset && !r;
	     index = last + 1) {
		bool private = guest_memory_find_state(bind->inode, index, &last);

		last = min_t(pgoff_t, last, end + offset - 1);
		if (private)
			r = guest_memory_ranges_set(before, index - offset,
						    last - offset, true,
						    GFP_KERNEL_ACCOUNT);
		cond_resched();
	}

	return r;
}

/*
 * Restore the state of gfns [start, end) from @before.  This only makes memory
 * shared, which references to pages cannot prevent; with __GFP_NOFAIL, lack of
 * memory cannot either.
 */
void kvm_gmem_restore_slots(struct kvm *kvm, gfn_t start, gfn_t end,
			    struct guest_memory_ranges *before)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOFAIL;
	struct kvm_memslots *slots = __kvm_memslots(kvm, 0);
	struct kvm_memslot_iter iter;
	unsigned long first, last;
	gfn_t gfn, run_end;

	for (gfn = start; gfn < end; gfn = run_end) {
		bool private = guest_memory_ranges_find(before, gfn, &first,
							&last);

		run_end = last < end - 1 ? last + 1 : end;
		if (private)
			continue;

		kvm_for_each_memslot_in_gfn_range(&iter, slots, gfn, run_end)
			if (kvm_slot_is_gmem_only(iter.slot))
				kvm_gmem_convert_slot(iter.slot, gfn, run_end,
						      false, gfp);
	}
}
