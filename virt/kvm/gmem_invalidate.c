// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: invalidation of guest mappings
 *
 * Before pages leave a file or change their state, the memory half calls
 * kvm_gmem_user_ops, and KVM zaps the gfns at which the file's bindings show
 * the pages.
 *
 * guest_memfd uses the protocol of the MMU notifiers, keyed by the hva that
 * corresponds to the gfn in the slot.  A fault samples mmu_invalidate_seq,
 * takes the page from the file and, under mmu_lock, starts over if its hva was
 * invalidated since or is being invalidated.  Slots that share userspace
 * addresses cause needless retries, but are otherwise harmless.
 */
#include <linux/delay.h>
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include <trace/events/kvm_gmem.h>

#include "gmem.h"
#include "kvm_mm.h"

/* Zapping shadow pages does not yield: drop mmu_lock after this many gfns. */
#define KVM_GMEM_ZAP_CHUNK	(SZ_8G >> PAGE_SHIFT)

static struct kvm_gmem_view *to_view(struct guest_memory_user *user)
{
	return container_of(user, struct kvm_gmem_view, user);
}

/*
 * Begin to invalidate the gfns with the userspace addresses [start, end), until
 * kvm_gmem_bracket_end() with the same range.
 *
 * Until then, KVM replaces no slot: a slot that is being zapped may lack rmaps
 * that were given to its successor.  Nor is a pfn cache refreshed, because that
 * depends on the count, not on the range.  MMU notifiers do both, too; see
 * kvm_swap_active_memslots() and hva_to_pfn_retry().
 */
void kvm_gmem_bracket_begin(struct kvm *kvm, hva_t start, hva_t end)
{
	spin_lock(&kvm->mn_invalidate_lock);
	kvm->mn_active_invalidate_count++;
	spin_unlock(&kvm->mn_invalidate_lock);

	gfn_to_pfn_cache_invalidate_start(kvm, start, end, true);

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_begin(kvm, start, end);
	KVM_MMU_UNLOCK(kvm);
}

void kvm_gmem_bracket_end(struct kvm *kvm, hva_t start, hva_t end)
{
	bool wake;

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_end(kvm, start, end);
	KVM_MMU_UNLOCK(kvm);

	spin_lock(&kvm->mn_invalidate_lock);
	wake = --kvm->mn_active_invalidate_count == 0;
	spin_unlock(&kvm->mn_invalidate_lock);

	/* There is at most one waiter, which holds slots_lock. */
	if (wake)
		rcuwait_wake_up(&kvm->mn_memslots_update_rcuwait);
}

/*
 * Wait until no invalidation is in progress, and sample mmu_invalidate_seq
 * again if there was one.  A caller that took the page over and over meanwhile
 * would block a conversion, which waits for references to go away.  Kernel
 * threads do not wait.  Sleeps; the caller holds no lock that an invalidation
 * takes.
 *
 * Returns false if the task was killed.
 */
bool kvm_gmem_wait_invalidated(struct kvm *kvm, unsigned long *seq)
{
	/* An invalidation may never end when a process exits. */
	if (current->flags & PF_KTHREAD)
		return true;

	/* The same condition as in mmu_notifier_retry_cache(). */
	while (READ_ONCE(kvm->mn_active_invalidate_count)) {
		if (fatal_signal_pending(current))
			return false;

		usleep_range_state(10, 100, TASK_KILLABLE);

		*seq = READ_ONCE(kvm->mmu_invalidate_seq);
		/* Sample before reading the count and taking the page. */
		smp_rmb();
	}

	return true;
}

/*
 * Zap gfns [start, end) of @slot in the guest, inside a bracket.  Returns false
 * if @killable and the task was killed; the rest of the range is not zapped
 * then.
 */
bool kvm_gmem_zap(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t start,
		  gfn_t end, bool killable)
{
	bool huge = slot->gmem && guest_memory_flags(slot->gmem->inode) &
				  GUEST_MEMORY_HUGE;
	struct kvm_gfn_range range = {
		.slot		= slot,
		.pte		= __pte(0),
		.may_block	= true,
	};

	for (; start < end; start = range.end) {
		if (killable && fatal_signal_pending(current))
			return false;

		range.start = start;
		range.end = min_t(gfn_t, start + KVM_GMEM_ZAP_CHUNK, end);

		KVM_MMU_LOCK(kvm);
		if (huge)
			kvm_arch_gmem_split(kvm, slot, range.start, range.end);
		if (kvm_unmap_gfn_range(kvm, &range))
			kvm_flush_remote_tlbs(kvm);
		KVM_MMU_UNLOCK(kvm);
		cond_resched();
	}

	return true;
}

static unsigned long kvm_gmem_hva(const struct kvm_gmem_binding *bind,
				  gfn_t gfn)
{
	return bind->uaddr + (gfn - bind->base_gfn) * PAGE_SIZE;
}

/*
 * The bracket around an invalidation covers whole blocks if the file has some: a
 * fault on a page takes a reference to all of its folio, and a conversion that waits
 * for the references of one page would find those of its neighbours.
 */
static struct kvm_gmem_bind_iter kvm_gmem_bracket(struct guest_memory_user *user,
						  pgoff_t start, pgoff_t end)
{
	const pgoff_t mask = (SZ_2M >> PAGE_SHIFT) - 1;
	struct kvm_gmem_bind_iter iter = {
		.view	= to_view(user),
		.start	= start,
		.end	= end,
	};

	if (iter.view->huge) {
		iter.start &= ~mask;
		iter.end = ((end - 1) | mask) + 1;
	}

	return iter;
}

/* The slot of @bind, or NULL if it is not visible.  The caller holds kvm->srcu. */
static struct kvm_memory_slot *kvm_gmem_bound_slot(struct kvm_gmem_binding *bind)
{
	struct kvm_memory_slot *slot;

	slot = id_to_memslot(__kvm_memslots(bind->kvm, bind->as_id), bind->id);

	/* The slot with this id is not necessarily the bound one (yet). */
	return slot && slot->gmem == bind ? slot : NULL;
}

/* Zap what shows pages [start, end) of the file. */
static void kvm_gmem_zap_bind(struct kvm *kvm, struct kvm_gmem_binding *bind,
			      pgoff_t start, pgoff_t end)
{
	struct kvm_memory_slot *slot;
	gfn_t first, last;
	int idx;

	start = max(start, bind->node.start);
	end = min(end, bind->node.last + 1);
	if (start >= end)
		return;

	first = bind->base_gfn + (start - bind->node.start);
	last = bind->base_gfn + (end - bind->node.start);
	trace_kvm_gmem_invalidate(bind->as_id, bind->id, first, last);

	idx = srcu_read_lock(&kvm->srcu);
	slot = kvm_gmem_bound_slot(bind);
	if (slot)
		kvm_gmem_zap(kvm, slot, first, last, false);
	srcu_read_unlock(&kvm->srcu, idx);

	kvm_arch_guest_memory_reclaimed(kvm);
}

static void kvm_gmem_invalidate_begin(struct guest_memory_user *user,
				      pgoff_t start, pgoff_t end)
{
	struct kvm_gmem_bind_iter iter = kvm_gmem_bracket(user, start, end);
	struct kvm *kvm = iter.view->kvm;

	while (kvm_gmem_next_bind(&iter)) {
		kvm_gmem_bracket_begin(kvm,
				       kvm_gmem_hva(iter.bind, iter.gfn_start),
				       kvm_gmem_hva(iter.bind, iter.gfn_end));
		kvm_gmem_zap_bind(kvm, iter.bind, start, end);
	}
}

static void kvm_gmem_invalidate_end(struct guest_memory_user *user,
				    pgoff_t start, pgoff_t end)
{
	struct kvm_gmem_bind_iter iter = kvm_gmem_bracket(user, start, end);

	while (kvm_gmem_next_bind(&iter))
		kvm_gmem_bracket_end(iter.view->kvm,
				     kvm_gmem_hva(iter.bind, iter.gfn_start),
				     kvm_gmem_hva(iter.bind, iter.gfn_end));
}

static void kvm_gmem_promote(struct guest_memory_user *user, pgoff_t start,
			     pgoff_t end)
{
	struct kvm_gmem_bind_iter iter = {
		.view	= to_view(user),
		.start	= start,
		.end	= end,
	};
	struct kvm *kvm = iter.view->kvm;
	struct kvm_memory_slot *slot;
	int idx;

	while (kvm_gmem_next_bind(&iter)) {
		idx = srcu_read_lock(&kvm->srcu);
		slot = kvm_gmem_bound_slot(iter.bind);
		if (slot)
			kvm_arch_gmem_promote(kvm, slot, iter.gfn_start,
					      iter.gfn_end);
		srcu_read_unlock(&kvm->srcu, idx);
	}
}

/* The file is being closed.  Its bindings outlive it, but are dead. */
static void kvm_gmem_detach(struct guest_memory_user *user)
{
	struct kvm_gmem_bind_iter iter = {
		.view	= to_view(user),
		.end	= ULONG_MAX,
	};

	while (kvm_gmem_next_bind(&iter)) {
		guest_memory_assert_bindings_write(iter.bind->inode);
		WRITE_ONCE(iter.bind->live, false);
	}
}

static void kvm_gmem_account(struct guest_memory_user *user, long nr,
			     long nr_whole)
{
	struct kvm_vm_stat_generic *stat = &to_view(user)->kvm->stat.generic;

	atomic64_add(nr, &stat->gmem_pages);
	if (unlikely(nr_whole))
		atomic64_add(nr_whole, &stat->gmem_2m);
}

const struct guest_memory_user_ops kvm_gmem_user_ops = {
	.detach			= kvm_gmem_detach,
	.invalidate_begin	= kvm_gmem_invalidate_begin,
	.invalidate_end		= kvm_gmem_invalidate_end,
	.promote		= kvm_gmem_promote,
	.account		= kvm_gmem_account,
};
