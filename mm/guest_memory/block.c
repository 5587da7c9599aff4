// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: blocks, the unit in which memory enters and leaves a file
 *
 * A block is a naturally aligned, physically contiguous run of pages that backs
 * the equally aligned range of a file.  Blocks come from the source of the file
 * (see &struct guest_memory_source_ops); they are single pages (order 0) or 2 MiB
 * (order 9, see huge.c).
 *
 * Invariants:
 *
 * - A block is zeroed before it enters the file: a page in the page cache may be
 *   mapped into a guest or a host process at any time.
 * - A block is zeroed again after it has left the file, so that the next owner of
 *   the memory does not see guest data.  The holder of another reference, such
 *   as a device that the page is pinned for, or KVM in the middle of an access,
 *   can still write to it.  A poisoned page is not zeroed, because touching
 *   it would be fatal.  It keeps two references instead, so that it is not freed
 *   with guest data when the poison is cleared: that is refused.
 * - Nothing slow happens under the invalidate_lock: memory is allocated and
 *   zeroed before the lock is taken, and zeroed and freed after it was dropped.
 *   Faults wait for the lock, and guests cannot reach a range while its pages are
 *   being removed.
 * - Folios are dirty from the beginning.  A clean one could be dropped behind
 *   our back, for example by an attempt to offline the page; if it is hidden,
 *   the page allocator would get it.
 */
#include <linux/delay.h>
#include <linux/guest_memory.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/swap.h>

#include "../internal.h"
#include "internal.h"

/*
 * Add a newly allocated folio to the file.  -EEXIST: the index, or another page of
 * the block, has one already.  The caller keeps its reference either way.  @gfp is
 * for the charge and the page cache.
 */
int guest_memory_add_folio(struct inode *inode, struct folio *folio,
			   pgoff_t index, gfp_t gfp)
{
	struct address_space *mapping = inode->i_mapping;
	int r;

	lockdep_assert_held(&mapping->invalidate_lock);

	if (GUEST_MEMORY_I(inode)->closed)
		return -ENODEV;

	folio_mark_uptodate(folio);
	folio_set_dirty(folio);

	/* Charges the memory to the memcg of the current task. */
	r = filemap_add_folio(mapping, folio, index, gfp);
	if (r)
		return r;

	folio_unlock(folio);
	guest_memory_account(inode, folio_nr_pages(folio), 0);

	return 0;
}

/*
 * The folio at @index, with a reference.  It stays in the file as long as the
 * caller holds the invalidate_lock.  @found is the folio that the caller found
 * there without the lock, or NULL; its reference is passed on or dropped.  If the
 * index has no folio, *@spare, which the caller allocated for it, is added to the
 * file, and *@spare becomes NULL.
 *
 * -ENOENT: there is none, and no spare.  The caller drops the lock, allocates
 * one and tries again.
 */
struct folio *guest_memory_get_folio(struct inode *inode, pgoff_t index,
				     struct folio *found, struct folio **spare)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio;
	int r;

	lockdep_assert_held(&mapping->invalidate_lock);

	if (found) {
		/* A folio that has left a file never enters one again. */
		if (likely(found->mapping == mapping))
			return found;
		folio_put(found);
	}

	do {
		r = *spare ? guest_memory_add_folio(inode, *spare, index,
						    mapping_gfp_mask(mapping)) :
			     -EEXIST;
		if (!r) {
			folio = *spare;
			*spare = NULL;
			return folio;
		}
		/* It will do, also if another would exceed the memory limit. */
		folio = filemap_get_folio(mapping, index);
		if (folio)
			return folio;
		if (r != -EEXIST)
			return ERR_PTR(r);
	} while (*spare);

	return ERR_PTR(-ENOENT);
}

/* For callers that hold no lock and have not found the folio. */
static struct folio *
guest_memory_get_missing_folio(struct inode *inode, pgoff_t index,
			       enum guest_memory_reason reason)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio, *spare;

	while (guest_memory_add_huge(inode, index, reason)) {
		folio = filemap_get_folio(mapping, index);
		if (folio)
			return folio;
		/* Gone again. */
		if (!guest_memory_only_huge(inode))
			break;
	}

	spare = guest_memory_alloc_folio(inode, index, GUEST_MEMORY_MAKE);
	if (!spare)
		return ERR_PTR(-ENOMEM);

	filemap_invalidate_lock_shared(mapping);
	folio = guest_memory_get_folio(inode, index, NULL, &spare);
	filemap_invalidate_unlock_shared(mapping);

	if (unlikely(spare))
		guest_memory_discard_folio(inode, spare);

	return folio;
}

/* Turn the caller's reference to @folio into one to its page at @index. */
static int guest_memory_folio_pfn(struct folio *folio, pgoff_t index,
				  unsigned long *pfn)
{
	struct page *page = &folio->page;

	if (folio_test_large(folio))
		page = folio_file_page(folio, index);

	if (unlikely(PageHWPoison(page))) {
		folio_put(folio);
		return -EHWPOISON;
	}

	*pfn = page_to_pfn(page);
	return 0;
}

int guest_memory_find_pfn(struct inode *inode, pgoff_t index,
			  unsigned long *pfn)
{
	struct folio *folio = filemap_get_folio(inode->i_mapping, index);

	return folio ? guest_memory_folio_pfn(folio, index, pfn) : -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_find_pfn, GUEST_MEMORY);

static __always_inline int guest_memory_get_page(struct inode *inode,
						 pgoff_t index,
						 enum guest_memory_reason reason,
						 unsigned long *pfn)
{
	struct folio *folio;

	/*
	 * A page that is present needs no lock: if it is being removed, the
	 * caller's own check against invalidation tells it to try again.
	 */
	folio = filemap_get_folio(inode->i_mapping, index);
	if (!folio)
		folio = guest_memory_get_missing_folio(inode, index, reason);
	if (IS_ERR(folio))
		return PTR_ERR(folio);

	return guest_memory_folio_pfn(folio, index, pfn);
}

/* The caller has a reference to the page @pfn, and will keep it for long. */
static noinline int guest_memory_hold_page(struct inode *inode, pgoff_t index,
					   unsigned long *pfn)
{
	int tries = 0, r = 0;

	while (!r && !guest_memory_split_held(inode, pfn_to_page(*pfn)) &&
	       ++tries < GUEST_MEMORY_SPLIT_TRIES) {
		put_page(pfn_to_page(*pfn));
		usleep_range(USEC_PER_MSEC, 2 * USEC_PER_MSEC);
		r = guest_memory_get_page(inode, index, GUEST_MEMORY_HOLD, pfn);
	}

	return r;
}

/* guest_memory_get_pfn() for a file that may have blocks of 2 MiB. */
static noinline int guest_memory_get_huge_pfn(struct inode *inode, pgoff_t index,
					      enum guest_memory_reason reason,
					      unsigned long *pfn,
					      unsigned int *order)
{
	int r;

	r = guest_memory_get_page(inode, index, reason, pfn);
	if (r)
		return r;

	if (reason == GUEST_MEMORY_HOLD)
		return guest_memory_hold_page(inode, index, pfn);

	*order = guest_memory_pfn_order(inode, index, *pfn);
	return 0;
}

int guest_memory_get_pfn(struct inode *inode, pgoff_t index,
			 enum guest_memory_reason reason, unsigned long *pfn,
			 unsigned int *order)
{
	*order = 0;
	if (guest_memory_may_be_huge(inode))
		return guest_memory_get_huge_pfn(inode, index, reason, pfn,
						 order);

	return guest_memory_get_page(inode, index, GUEST_MEMORY_ACCESS, pfn);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_get_pfn, GUEST_MEMORY);

/*
 * Take a batch of folios out of the file and put them in front of @list.  Each
 * keeps the reference of the batch.
 */
static struct folio *guest_memory_remove_batch(struct inode *inode,
					       struct folio_batch *batch,
					       struct folio *list)
{
	const struct guest_memory_source_ops *source = guest_memory_source(inode);
	struct folio *folio;
	unsigned int i;

	/* In index order; all others lock one folio at a time. */
	for (i = 0; i < folio_batch_count(batch); i++) {
		folio = batch->folios[i];
		folio_lock(folio);
		/* By a host fault that was under way. */
		if (guest_memory_folio_mapped(folio))
			unmap_mapping_folio(folio);
		if (source->leave)
			source->leave(folio);
	}

	delete_from_page_cache_batch(inode->i_mapping, batch);

	for (i = 0; i < folio_batch_count(batch); i++) {
		folio = batch->folios[i];
		folio_unlock(folio);
		folio->private = list;
		list = folio;
	}

	return list;
}

/*
 * Take pages [start, end) out of the file.  The caller has made them unreachable
 * for guests and frees the returned list, which is linked by folio->private.
 * Pages of a folio that reaches beyond the range, and that was in use when it should
 * be split, stay and are zeroed.
 */
struct folio *guest_memory_remove_range(struct inode *inode, pgoff_t start,
					pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long nrpages = mapping->nrpages;
	struct folio *list = NULL;
	struct folio_batch batch;
	pgoff_t next = start;

	lockdep_assert_held_write(&mapping->invalidate_lock);

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, end - 1, &batch)) {
		if (guest_memory_may_be_huge(inode))
			guest_memory_zero_borders(&batch, start, end);
		list = guest_memory_remove_batch(inode, &batch, list);
		folio_batch_init(&batch);
		cond_resched();
	}
	guest_memory_account(inode, mapping->nrpages - nrpages, 0);

	return list;
}

/*
 * A poisoned folio has left the file and is never freed: take it off the LRU and
 * uncharge it, unless memory failure has done so.  The folio lock serialises the
 * two.  A folio on no LRU list has been through memory failure, or is isolated
 * and will be put back; it must stay charged until then.
 */
void guest_memory_keep_poisoned(struct folio *folio)
{
	/* It may be in a per-CPU batch. */
	lru_add_drain_all();

	folio_lock(folio);
	if (!folio_isolate_lru(folio)) {
		folio_put(folio);
		mem_cgroup_uncharge(folio);
	}
	folio_unlock(folio);
}

/* The first index in [start, end) at which there is a page, or @end. */
pgoff_t guest_memory_next_page(struct inode *inode, pgoff_t start, pgoff_t end)
{
	if (start < end &&
	    xa_find(&inode->i_mapping->i_pages, &start, end - 1, XA_PRESENT))
		return start;

	return end;
}

/*
 * Free all pages of a file without users.  In steps, so that the memory of a
 * large file becomes available bit by bit.
 */
void guest_memory_remove_all(struct inode *inode)
{
	const struct guest_memory_source_ops *source = guest_memory_source(inode);
	pgoff_t end = guest_memory_nr_pages(inode);
	pgoff_t start = 0, next;
	struct folio *list;

	if (!inode->i_mapping->nrpages)
		return;

	guest_memory_clear_whole(inode, start, end);
	while ((start = guest_memory_next_page(inode, start, end)) < end) {
		next = guest_memory_batch_end(start, end);
		if (source->remove) {
			source->remove(inode, start, next);
		} else {
			guest_memory_split_range(inode, start, next);
			list = guest_memory_remove_range(inode, start, next);
			source->free(inode, list);
		}
		start = next;
	}
}
