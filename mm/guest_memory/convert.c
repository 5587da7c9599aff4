// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: private and shared, and the way from one to the other
 *
 * A shared page can be touched by the host, a private one cannot; the guest's
 * page and its content are the same.  The state of a page exists whether or not
 * the page does, and survives a hole punch.
 *
 * On the way to private, in this order, all under the exclusive
 * invalidate_lock:
 *
 * 1. Guests cannot reach the range until the end, and see no intermediate state.
 * 2. No new host mapping: ->fault() needs the invalidate_lock.
 * 3. Existing host mappings are removed and TLBs flushed.  A fault that already
 *    has its folio installs its mapping under the folio lock; it is found by
 *    taking that lock.
 * 4. References that were taken through a mapping remain: GUP, a pipe, a device.
 *    Any reference but the file's own means -EAGAIN.  Transient ones (another
 *    fault, a per-CPU LRU batch) are waited for.  gup_fast may take one from a
 *    stale page table entry later, but it checks the entry again and drops the
 *    reference before it uses the page.
 * 5. Only then the state changes.  Everything before this is undone by ordinary
 *    faults, so that a failure needs no rollback.
 *
 * A large range is converted in steps, so that guests are kept out of a part of
 * it only, and a fatal signal ends the call soon.  If a step to private fails,
 * those before it are undone.  Undoing is a conversion to shared: references do
 * not prevent it, and it waits for memory rather than fail.
 */
#include <linux/delay.h>
#include <linux/guest_memory.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "internal.h"

/* How often to look at a page with too many references, 1 ms apart. */
#define GUEST_MEMORY_REF_TRIES		20
/* How many pages are converted before others get a turn. */
#define GUEST_MEMORY_CONVERT_STEP	(SZ_64M >> PAGE_SHIFT)

/*
 * The set of converted pages holds those that differ from the initial state.  A
 * file that cannot be mapped serves the private side of its slots; it begins,
 * and stays, private.
 */
static bool guest_memory_converted(const struct guest_memory_inode *gi,
				   bool private)
{
	const unsigned long shared = GUEST_MEMORY_MAPPABLE |
				     GUEST_MEMORY_INIT_SHARED;

	return private == ((gi->flags & shared) == shared);
}

bool guest_memory_is_private(struct inode *inode, pgoff_t index)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);

	return guest_memory_ranges_test(&gi->converted, index) ==
	       guest_memory_converted(gi, true);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_is_private, GUEST_MEMORY);

bool guest_memory_find_state(struct inode *inode, pgoff_t index, pgoff_t *last)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	unsigned long first;

	return guest_memory_ranges_find(&gi->converted, index, &first, last) ==
	       guest_memory_converted(gi, true);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_find_state, GUEST_MEMORY);

/*
 * True if only the file, and the caller with one reference, use @folio.  Memory
 * failure keeps a reference to a poisoned page, unless the page is part of a large
 * folio that it could not split.
 */
static bool guest_memory_folio_unused(struct folio *folio)
{
	long refs = folio_nr_pages(folio) + 1;
	bool unused;

	if (!folio_test_large(folio) && folio_test_hwpoison(folio))
		refs++;

	folio_lock(folio);
	if (guest_memory_folio_mapped(folio))
		unmap_mapping_pages(folio->mapping, folio->index,
				    folio_nr_pages(folio), true);
	unused = folio_ref_count(folio) <= refs;
	folio_unlock(folio);

	return unused;
}

static int guest_memory_wait_unused(struct folio *folio)
{
	int tries;

	for (tries = 0; tries < GUEST_MEMORY_REF_TRIES; tries++) {
		if (guest_memory_folio_unused(folio))
			return 0;

		/* Usually it is the reference of a per-CPU LRU batch. */
		if (tries == 0) {
			lru_add_drain();
		} else if (tries == 1) {
			lru_add_drain_all();
		} else {
			if (fatal_signal_pending(current))
				return -EINTR;
			/* A timeout in jiffies would be up to 20 ms. */
			usleep_range_state(USEC_PER_MSEC, 2 * USEC_PER_MSEC,
					   TASK_KILLABLE);
		}
	}

	return -EAGAIN;
}

/* Steps 3 and 4 of the way to private. */
static int guest_memory_expel_host(struct inode *inode, pgoff_t start,
				   pgoff_t end, pgoff_t *error)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio_batch batch;
	pgoff_t first = start;
	unsigned int i;
	int r = 0;

	unmap_mapping_pages(mapping, start, end - start, true);

	folio_batch_init(&batch);
	while (!r && filemap_get_folios(mapping, &start, end - 1, &batch)) {
		for (i = 0; i < folio_batch_count(&batch) && !r; i++) {
			r = guest_memory_wait_unused(batch.folios[i]);
			*error = max(first, batch.folios[i]->index);
		}
		folio_batch_release(&batch);
		cond_resched();
	}

	return r;
}

/*
 * Announce that the state of pages [start, end) is about to change, or, if both are
 * 0, that it has changed.  Without the announcement, a fault next to the range might
 * install a huge page that reaches into it when guests have lost it already.
 */
static void guest_memory_set_changing(struct guest_memory_inode *gi,
				      pgoff_t start, pgoff_t end)
{
	WRITE_ONCE(gi->changing_start, start);
	/* Who sees that the change is over sees the new state. */
	smp_store_release(&gi->changing_end, end);
}

static int guest_memory_convert_locked(struct inode *inode, pgoff_t start,
				       pgoff_t end, bool private, gfp_t gfp,
				       pgoff_t *error)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	int r = 0;

	guest_memory_set_changing(gi, start, end);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_begin(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	if (private)
		r = guest_memory_expel_host(inode, start, end, error);

	if (!r) {
		*error = start;
		r = guest_memory_ranges_set(&gi->converted, start, end - 1,
					    guest_memory_converted(gi, private),
					    gfp);
	}

	guest_memory_set_changing(gi, 0, 0);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_end(inode, start, end);
	guest_memory_promote(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	return r;
}

/*
 * The end of the step that begins at @start.  A range without pages is one step
 * of any size, as only its state has to change.
 */
static pgoff_t guest_memory_step_end(struct inode *inode, pgoff_t start,
				     pgoff_t end)
{
	if (end - start <= GUEST_MEMORY_CONVERT_STEP)
		return end;

	return guest_memory_next_page(inode, start + GUEST_MEMORY_CONVERT_STEP,
				      end);
}

/* One step, all or nothing. */
static int guest_memory_convert_step(struct inode *inode, pgoff_t start,
				     pgoff_t end, bool private, gfp_t gfp,
				     pgoff_t *error)
{
	pgoff_t last;
	int r = 0;

	filemap_invalidate_lock(inode->i_mapping);

	/* A part may have the state already. */
	if (guest_memory_find_state(inode, start, &last) != private ||
	    last < end - 1)
		r = guest_memory_convert_locked(inode, start, end, private, gfp,
						error);

	filemap_invalidate_unlock(inode->i_mapping);
	cond_resched();

	return r;
}

/* Add to @before which of the pages [start, end) are private. */
static int guest_memory_remember(struct inode *inode, pgoff_t start,
				 pgoff_t end, gfp_t gfp,
				 struct guest_memory_ranges *before)
{
	pgoff_t last;
	int r = 0;

	for (; start < end && !r; start = last + 1) {
		bool private = guest_memory_find_state(inode, start, &last);

		last = min(last, end - 1);
		if (private)
			r = guest_memory_ranges_set(before, start, last, true,
						    gfp);
		cond_resched();
	}

	return r;
}

/* Make the pages of [start, end) that are not in @before shared again. */
static void guest_memory_undo(struct inode *inode, pgoff_t start, pgoff_t end,
			      gfp_t gfp, struct guest_memory_ranges *before)
{
	unsigned long first, last;
	pgoff_t next, unused;

	for (; start < end; start = next) {
		bool private = guest_memory_ranges_find(before, start, &first,
							&last);

		next = guest_memory_step_end(inode, start, end);
		if (last < next)
			next = last + 1;
		if (!private)
			guest_memory_convert_step(inode, start, next, false,
						  gfp | __GFP_NOFAIL, &unused);
	}
}

static int guest_memory_make_private(struct inode *inode, pgoff_t start,
				     pgoff_t end, gfp_t gfp, pgoff_t *error)
{
	struct guest_memory_ranges before;
	pgoff_t done = start, next;
	int r = 0;

	guest_memory_ranges_init(&before);
	for (; done < end; done = next) {
		next = guest_memory_step_end(inode, done, end);
		*error = done;
		r = fatal_signal_pending(current) ? -EINTR :
		    guest_memory_remember(inode, done, next, gfp, &before);
		if (!r)
			r = guest_memory_convert_step(inode, done, next, true,
						      gfp, error);
		if (r)
			break;
	}
	if (r)
		guest_memory_undo(inode, start, done, gfp, &before);
	guest_memory_ranges_destroy(&before);

	return r;
}

static int guest_memory_make_shared(struct inode *inode, pgoff_t start,
				    pgoff_t end, gfp_t gfp, pgoff_t *error)
{
	bool killable = !(gfp & __GFP_NOFAIL);
	pgoff_t next;
	int r = 0;

	for (; start < end && !r; start = next) {
		next = guest_memory_step_end(inode, start, end);
		*error = start;
		if (killable && fatal_signal_pending(current))
			return -EINTR;

		r = guest_memory_convert_step(inode, start, next, false, gfp,
					      error);
		/* From here on it must not fail: undoing it might. */
		gfp |= __GFP_NOFAIL;
	}

	return r;
}

int guest_memory_convert(struct inode *inode, pgoff_t start, pgoff_t end,
			 bool private, gfp_t gfp, pgoff_t *error)
{
	pgoff_t last;

	/* The usual range is small. */
	if (end - start <= GUEST_MEMORY_CONVERT_STEP)
		return guest_memory_convert_step(inode, start, end, private, gfp,
						 error);

	/* Nothing to do if the whole range has the state already. */
	if (guest_memory_find_state(inode, start, &last) == private &&
	    last >= end - 1)
		return 0;

	if (private)
		return guest_memory_make_private(inode, start, end, gfp, error);

	return guest_memory_make_shared(inode, start, end, gfp, error);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_convert, GUEST_MEMORY);
