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
 * 1. Guests cannot reach the range until the end: nobody sees the middle.
 * 2. No new host mapping: ->fault() needs the invalidate_lock.
 * 3. Existing host mappings are removed and TLBs flushed.  A fault that already
 *    has its folio installs its mapping under the folio lock; it is found by
 *    taking that lock.
 * 4. Whoever got a reference through a mapping still has it: GUP, a pipe, a
 *    device.  Any reference but the file's own means -EAGAIN.  Transient ones
 *    (another fault, a batch that is to be put on the LRU) go away when waited
 *    for.  gup_fast may take one from a stale page table entry later, but it
 *    looks at the entry again and lets go before it uses the page.
 * 5. Only then the state changes.  Up to here nothing happened that a fault
 *    does not repair, so that failing needs no repair.
 */
#include <linux/guest_memory.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "internal.h"

/* How often to look at a page with too many references, 1 ms apart. */
#define GUEST_MEMORY_REF_TRIES	20

/*
 * The set of converted pages holds what differs from the beginning.  A file
 * that cannot be mapped is for the private side of its slots and begins, and
 * stays, private.
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
 * Does nobody but the file, and the caller with one reference, use @folio?
 * Memory failure keeps a reference to a poisoned folio.
 */
static bool guest_memory_folio_unused(struct folio *folio)
{
	bool unused;

	folio_lock(folio);
	if (folio_mapped(folio))
		unmap_mapping_pages(folio->mapping, folio->index,
				    folio_nr_pages(folio), true);
	unused = folio_ref_count(folio) <= folio_nr_pages(folio) + 1 +
					   folio_test_hwpoison(folio);
	folio_unlock(folio);

	return unused;
}

static int guest_memory_wait_unused(struct folio *folio)
{
	int tries;

	for (tries = 0; tries < GUEST_MEMORY_REF_TRIES; tries++) {
		if (guest_memory_folio_unused(folio))
			return 0;

		/* The usual reference is that of a batch for the LRU. */
		if (tries == 0) {
			lru_add_drain();
		} else if (tries == 1) {
			lru_add_drain_all();
		} else {
			if (fatal_signal_pending(current))
				return -EINTR;
			schedule_timeout_killable(msecs_to_jiffies(1));
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
	unsigned int i;
	int r = 0;

	unmap_mapping_pages(mapping, start, end - start, true);

	folio_batch_init(&batch);
	while (!r && filemap_get_folios(mapping, &start, end - 1, &batch)) {
		for (i = 0; i < folio_batch_count(&batch) && !r; i++) {
			r = guest_memory_wait_unused(batch.folios[i]);
			*error = batch.folios[i]->index;
		}
		folio_batch_release(&batch);
		cond_resched();
	}

	return r;
}

static int guest_memory_convert_locked(struct inode *inode, pgoff_t start,
				       pgoff_t end, bool private, gfp_t gfp,
				       pgoff_t *error)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	int r = 0;

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

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_end(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	return r;
}

int guest_memory_convert(struct inode *inode, pgoff_t start, pgoff_t end,
			 bool private, gfp_t gfp, pgoff_t *error)
{
	pgoff_t last;
	int r = 0;

	filemap_invalidate_lock(inode->i_mapping);

	/* Nothing to do if all of it has the state already. */
	if (guest_memory_find_state(inode, start, &last) != private ||
	    last < end - 1)
		r = guest_memory_convert_locked(inode, start, end, private, gfp,
						error);

	filemap_invalidate_unlock(inode->i_mapping);

	return r;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_convert, GUEST_MEMORY);
