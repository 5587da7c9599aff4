// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: blocks of 2 MiB
 *
 * A block of 2 MiB enters the page cache as one folio.  Guests may map it as one
 * page, whatever becomes of the folio: it is split if somebody needs single pages
 * of it, and that neither moves memory nor ends its being contiguous.  So the
 * folio does not say whether a block is whole; gi->whole does.
 *
 * Invariants:
 *
 * - gi->whole has an entry for a block only if 512 contiguous, present pages
 *   without memory errors back it.  The entry is the first pfn.
 * - An entry is stored after the folio has entered the file, and erased before
 *   guests are made to lose one of its pages.  A user that looks under the lock
 *   with which it installs guest mappings, and has checked that its page was not
 *   invalidated, can thus rely on it: an entry that is erased later is followed by
 *   an invalidation that removes the mapping.
 * - The pages of a block that guests map as one have the same state.  A conversion
 *   announces the range before it makes guests lose it (changing_start).
 * - While pages of a block differ in their state, its folio is not mapped by the host
 *   and has no reference that came from a mapping: the conversion to private of a part
 *   sees to that, and host faults split the folio before they map a page of it.  Where
 *   mappings are no way to a reference (VM_PFNMAP), except for KVM, there is no need.
 * - Nothing but this code and memory failure splits a folio.
 * - The order of a folio is stable while somebody has a reference to it, but for
 *   the one who splits it.
 */
#include <linux/bitops.h>
#include <linux/delay.h>
#include <linux/guest_memory.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/signal.h>
#include <linux/xarray.h>

#define CREATE_TRACE_POINTS
#include <trace/events/guest_memory.h>

#include "../internal.h"
#include "internal.h"

/*
 * True if all pages of the block of @order around @index have the same state,
 * *@private, and no conversion is changing that.
 */
static bool guest_memory_order_uniform(struct inode *inode, pgoff_t index,
				       unsigned int order, bool *private)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	pgoff_t start = round_down(index, BIT(order));
	pgoff_t end = start + BIT(order), last;

	/* Pairs with guest_memory_set_changing(): after the change, look anew. */
	if (start < smp_load_acquire(&gi->changing_end) &&
	    end > READ_ONCE(gi->changing_start))
		return false;

	*private = guest_memory_find_state(inode, start, &last);

	return last >= end - 1;
}

bool guest_memory_uniform(struct inode *inode, pgoff_t index, bool *private)
{
	return guest_memory_order_uniform(inode, index, GUEST_MEMORY_BLOCK_ORDER,
					  private);
}

bool guest_memory_has_whole(struct inode *inode)
{
	return !xa_empty(&GUEST_MEMORY_I(inode)->whole);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_has_whole, GUEST_MEMORY);

unsigned int guest_memory_max_order(struct inode *inode, pgoff_t index)
{
	bool private;

	if (!guest_memory_may_be_huge(inode) ||
	    !xa_load(&GUEST_MEMORY_I(inode)->whole,
		     index >> GUEST_MEMORY_BLOCK_ORDER) ||
	    !guest_memory_uniform(inode, index, &private))
		return 0;

	if (GUEST_MEMORY_I(inode)->pool &&
	    guest_memory_giant_whole(inode, index) &&
	    guest_memory_order_uniform(inode, index, GUEST_MEMORY_GIANT_ORDER,
				       &private))
		return GUEST_MEMORY_GIANT_ORDER;

	return GUEST_MEMORY_BLOCK_ORDER;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_max_order, GUEST_MEMORY);

/*
 * The order of the block around the page @pfn, to which the caller has a
 * reference.  The file may have lost the page and got another block since.
 */
unsigned int guest_memory_pfn_order(struct inode *inode, pgoff_t index,
				    unsigned long pfn)
{
	void *entry;

	entry = xa_load(&GUEST_MEMORY_I(inode)->whole,
			index >> GUEST_MEMORY_BLOCK_ORDER);

	if (!entry || xa_to_value(entry) + index % GUEST_MEMORY_BLOCK_PAGES != pfn)
		return 0;

	return GUEST_MEMORY_I(inode)->pool &&
	       guest_memory_giant_whole(inode, index) ?
	       GUEST_MEMORY_GIANT_ORDER : GUEST_MEMORY_BLOCK_ORDER;
}

/* A page of the large @folio has a memory error. */
bool guest_memory_folio_has_poison(struct folio *folio)
{
	/* Memory failure marks the page first, then the folio. */
	return guest_memory_has_poison(&folio->page, GUEST_MEMORY_BLOCK_PAGES) ||
	       folio_test_has_hwpoisoned(folio);
}

/*
 * The same, the other way round and quickly: an error of which memory failure does not
 * know everything yet may be missed.
 */
bool guest_memory_folio_good(struct folio *folio)
{
	if (folio_test_has_hwpoisoned(folio))
		return false;

	/* The usual case; memory failure counts a page that it gave up. */
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) ||
	    !atomic_long_read(&num_poisoned_pages))
		return true;

	return !guest_memory_folio_has_poison(folio);
}

/* Whether guests may map the block at @start as one page has changed by @nr. */
static void guest_memory_count_block(struct inode *inode, pgoff_t start, int nr)
{
	guest_memory_count_whole(inode, start, nr);
	guest_memory_account(inode, 0, nr);
}

/*
 * @folio, to which the caller has a reference, is a block of the file.  Without
 * memory for the entry, the block is mapped by single pages.
 */
void guest_memory_set_whole(struct inode *inode, struct folio *folio, gfp_t gfp)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	void *old;

	lockdep_assert_held(&inode->i_mapping->invalidate_lock);

	/*
	 * A memory error that is not seen here erases the entry under the lock: memory
	 * failure marks the page first, and the folio is on an LRU list by now.
	 */
	folio_lock(folio);
	if (!guest_memory_folio_has_poison(folio)) {
		old = xa_store(&gi->whole,
			       folio->index >> GUEST_MEMORY_BLOCK_ORDER,
			       xa_mk_value(folio_pfn(folio)),
			       gfp & GFP_RECLAIM_MASK);
		if (!old)
			guest_memory_count_block(inode, folio->index, 1);
	}
	folio_unlock(folio);
}

/*
 * The blocks that have one of the pages [start, end) are about to lose one.  To
 * be called before guest_memory_invalidate_begin(), under the same lock.
 */
void guest_memory_clear_whole(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	unsigned long block = start >> GUEST_MEMORY_BLOCK_ORDER;
	void *entry;

	if (xa_empty(&gi->whole))
		return;

	xa_for_each_range(&gi->whole, block, entry, block,
			  (end - 1) >> GUEST_MEMORY_BLOCK_ORDER)
		if (xa_erase(&gi->whole, block))
			guest_memory_count_block(inode,
						 block << GUEST_MEMORY_BLOCK_ORDER,
						 -1);
}

/*
 * A page of the blocks [start, end) has a memory error: guests lose them.  With the
 * invalidate_lock or the folio lock.
 */
static void guest_memory_lose_whole(struct inode *inode, pgoff_t start,
				    pgoff_t end)
{
	guest_memory_lock_bindings_shared(inode);
	guest_memory_clear_whole(inode, start, end);
	guest_memory_invalidate_begin(inode, start, end);
	guest_memory_invalidate_end(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);
}

/*
 * The block at @start, whose first page is @page, is in the file as a whole, as it was
 * before.  Guests cannot reach it yet.
 */
void guest_memory_restore_whole(struct inode *inode, pgoff_t start,
				struct page *page)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES))
		return;

	if (!xa_store(&gi->whole, start >> GUEST_MEMORY_BLOCK_ORDER,
		      xa_mk_value(page_to_pfn(page)),
		      GFP_KERNEL_ACCOUNT | __GFP_NOFAIL))
		guest_memory_count_block(inode, start, 1);

	/*
	 * Memory failure marks the page before it erases the entry.  Look after the
	 * entry is there: one of the two sees the other.  By now a page of 1 GiB may
	 * map it.
	 */
	smp_mb();
	if (guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES))
		guest_memory_lose_whole(inode, start,
					start + GUEST_MEMORY_BLOCK_PAGES);
}

pgoff_t guest_memory_nr_whole(struct inode *inode)
{
	unsigned long block, nr = 0;
	void *entry;

	xa_for_each(&GUEST_MEMORY_I(inode)->whole, block, entry) {
		nr += GUEST_MEMORY_BLOCK_PAGES;
		cond_resched();
	}

	return nr;
}

/*
 * Split the large folio of @page, which is locked and to which the caller has one
 * reference.  Lock and reference are then those of @page.  -EAGAIN: there are other
 * references; -ENOMEM.
 */
int guest_memory_split(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long ino = folio->mapping->host->i_ino;
	pgoff_t index = folio->index + folio_page_idx(folio, page);
	int r;

	/* For guest_memory_release_folio(). */
	folio_set_checked(folio);
	r = split_huge_page(page);
	trace_guest_memory_split(ino, index, r);

	return r == -EBUSY ? -EAGAIN : r;
}

/*
 * The caller will keep its reference to @page for long.  In a file whose pages can be
 * converted it should not be one to 511 others.  False if somebody else has one: the
 * caller, who may be in the other's way, drops its own for a moment and tries again.
 */
bool guest_memory_split_held(struct inode *inode, struct page *page)
{
	int r = 0;

	if (!PageCompound(page) ||
	    !(GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_CONVERTIBLE))
		return true;

	lock_page(page);
	/* Its place in the file may be gone. */
	if (page_mapping(page) == inode->i_mapping && PageCompound(page))
		r = guest_memory_split(page);
	unlock_page(page);

	return r != -EAGAIN;
}

/*
 * A large folio is about to be split, under the folio lock; false refuses.  That is
 * for this code to decide, but when a page of the folio has a memory error, guests
 * must not keep it, whether or not the split succeeds.  For a single page the
 * question comes after guest_memory_error_page(), and means nothing.
 */
bool guest_memory_release_folio(struct folio *folio, gfp_t gfp)
{
	struct inode *inode = folio->mapping->host;
	pgoff_t start = folio->index, end = start + folio_nr_pages(folio);

	if (!folio_test_large(folio))
		return true;

	/*
	 * Page table entries that are no references do not keep it from being split,
	 * but the walk that looks for others would take them for such.  Under the
	 * folio lock there will be no new ones.
	 */
	if (guest_memory_source(inode)->vm_flags & VM_PFNMAP)
		unmap_mapping_pages(folio->mapping, start, end - start, false);

	if (folio_test_checked(folio)) {
		folio_clear_checked(folio);
		return true;
	}

	if (!folio_test_has_hwpoisoned(folio))
		return false;

	/* As in guest_memory_error_page(). */
	WRITE_ONCE(GUEST_MEMORY_I(inode)->poisoned, true);

	guest_memory_lose_whole(inode, start, end);

	return true;
}

/*
 * Split the folio at @index, which single pages are about to leave, if it is large.
 * A folio that somebody uses stays as it is.
 */
static void guest_memory_split_at(struct inode *inode, pgoff_t index)
{
	struct folio *folio;
	int r, tries;
	bool pinned;

	for (tries = 0; tries < GUEST_MEMORY_SPLIT_TRIES; tries++) {
		folio = filemap_get_folio(inode->i_mapping, index);
		if (!folio)
			return;

		if (!folio_test_large(folio)) {
			folio_put(folio);
			return;
		}

		/* A device may have it for hours. */
		pinned = folio_maybe_dma_pinned(folio);
		folio_lock(folio);
		r = guest_memory_split(&folio->page);
		folio_unlock(folio);
		folio_put(folio);
		if (r != -EAGAIN || pinned || fatal_signal_pending(current))
			return;

		usleep_range_state(USEC_PER_MSEC, 2 * USEC_PER_MSEC,
				   TASK_KILLABLE);
	}
}

/* Split the large folios of [start, end) that have a page with a memory error. */
static void guest_memory_split_poisoned(struct inode *inode, pgoff_t start,
					pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio;

	while ((start = guest_memory_next_page(inode, start, end)) < end) {
		folio = filemap_get_folio(mapping, start);
		if (!folio)
			break;

		start = folio->index + folio_nr_pages(folio);
		if (folio_test_large(folio) && folio_test_has_hwpoisoned(folio)) {
			folio_lock(folio);
			guest_memory_split(&folio->page);
			folio_unlock(folio);
		}
		folio_put(folio);
		cond_resched();
	}
}

/*
 * Split what cannot leave the file as one when pages [start, end) do: folios that
 * reach beyond the range, and those with memory errors.  Guests cannot reach the
 * range.
 */
void guest_memory_split_range(struct inode *inode, pgoff_t start, pgoff_t end)
{
	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (!guest_memory_may_be_huge(inode))
		return;

	if (start % GUEST_MEMORY_BLOCK_PAGES)
		guest_memory_split_at(inode, start);
	/* Once if it is the same block. */
	if (end % GUEST_MEMORY_BLOCK_PAGES &&
	    (!(start % GUEST_MEMORY_BLOCK_PAGES) ||
	     (start ^ end) >> GUEST_MEMORY_BLOCK_ORDER))
		guest_memory_split_at(inode, end);
	if (READ_ONCE(GUEST_MEMORY_I(inode)->poisoned))
		guest_memory_split_poisoned(inode, start, end);
}

/*
 * Make single pages of the @nr pages of a folio, which has no references.  Whatever a
 * page of a folio has in place of a mapping, an index or a list is gone then.
 */
void guest_memory_break_pages(struct page *page, unsigned long nr)
{
	for (; nr; nr--, page++) {
		/* Atomic, as a memory error may be marked at any time. */
		set_mask_bits(&page->flags, PAGE_FLAGS_CHECK_AT_PREP, 0);
		INIT_LIST_HEAD(&page->lru);
		page->mapping = NULL;
		page->index = 0;
		set_page_private(page, 0);
	}
}

/* Zero @nr pages from @page on; a poisoned page must not be touched. */
void guest_memory_zero_pages(struct inode *inode, struct page *page,
			     unsigned long nr)
{
	for (; nr; nr--, page++) {
		if (!PageHWPoison(page))
			guest_memory_source(inode)->zero_page(page);
		cond_resched();
	}
}

/*
 * Take those folios off @batch that reach beyond [start, end), because they could
 * not be split, and zero their pages of the range instead.  Their reference is
 * dropped.
 */
void guest_memory_zero_borders(struct folio_batch *batch, pgoff_t start,
			       pgoff_t end)
{
	unsigned int i, nr = 0;

	for (i = 0; i < folio_batch_count(batch); i++) {
		struct folio *folio = batch->folios[i];
		struct inode *inode = folio->mapping->host;
		pgoff_t first = folio->index;
		pgoff_t next = first + folio_nr_pages(folio);

		if (likely(first >= start && next <= end)) {
			batch->folios[nr++] = folio;
			continue;
		}

		first = max(first, start);
		next = min(next, end);
		guest_memory_zero_pages(inode, folio_file_page(folio, first),
					next - first);
		/* It is as whole as before. */
		guest_memory_set_whole(inode, folio, GFP_KERNEL_ACCOUNT);
		folio_put(folio);
	}
	batch->nr = nr;
}
