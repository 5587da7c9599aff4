// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory from hugetlb pools: blocks leave the page cache
 *
 * A block leaves the page cache as a whole and without a reference, or it stays.  If
 * somebody uses one of its pages, or only a part of the block is punched, the pages
 * are zeroed where they are.
 *
 * Invariants:
 *
 * - Nobody waits for a reference to go, but for the worker that closes a file whose
 *   last user has left.
 * - A page with a memory error may leave with references.  It keeps two of ours, so
 *   that it is never freed, see block.c.  Its block gets other memory then, or stays
 *   in the page cache while the file has users if it is a part of 1 GiB.
 */
#include <linux/bitmap.h>
#include <linux/guest_memory.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "../../internal.h"
#include "hugetlb.h"

/* How long to wait for references of others to go: 20 ms, then ever longer. */
#define GUEST_MEMORY_CLOSE_DELAY	DIV_ROUND_UP(HZ, 50)
#define GUEST_MEMORY_CLOSE_DELAY_MAX	(2UL * HZ)

/**
 * struct guest_memory_block - a block on its way out of the page cache
 * @page:	the first page
 * @step:	pages of each of its folios: 1, or all
 * @bad:	pages with a memory error, if the folios are single pages
 */
struct guest_memory_block {
	struct page *page;
	unsigned long step;
	DECLARE_BITMAP(bad, GUEST_MEMORY_BLOCK_PAGES);
};

static struct folio *guest_memory_block_folio(const struct guest_memory_block *block,
					      unsigned long i)
{
	return page_folio(block->page + i);
}

/* Lock all folios: under the lock of the first, it is not split. */
static void guest_memory_lock_folios(struct guest_memory_block *block)
{
	unsigned long i;

	folio_lock(guest_memory_block_folio(block, 0));
	block->step = PageHead(block->page) ? GUEST_MEMORY_BLOCK_PAGES : 1;
	bitmap_zero(block->bad, GUEST_MEMORY_BLOCK_PAGES);

	/* In index order; all others lock one folio at a time. */
	for (i = block->step; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step)
		folio_lock(guest_memory_block_folio(block, i));

	if (block->step > 1)
		return;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step)
		if (PageHWPoison(block->page + i))
			__set_bit(i, block->bad);
}

static void guest_memory_unlock_folios(struct guest_memory_block *block)
{
	unsigned long i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step)
		folio_unlock(guest_memory_block_folio(block, i));
}

/*
 * Take the folios off the LRU list, which gives each a reference.  Returns how far it
 * got: one that is not on the list is in use.
 */
static unsigned long guest_memory_isolate_folios(struct guest_memory_block *block)
{
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step) {
		folio = guest_memory_block_folio(block, i);
		/* By a host fault that was under way, and has a reference. */
		if (folio_ref_count(folio) > block->step && folio_mapped(folio))
			unmap_mapping_folio(folio);
		if (!test_bit(i, block->bad) && folio_isolate_lru(folio))
			break;
	}

	return i;
}

static void guest_memory_putback_folios(struct guest_memory_block *block,
					unsigned long end)
{
	unsigned long i;

	for (i = 0; i < end; i += block->step)
		if (!test_bit(i, block->bad))
			folio_putback_lru(guest_memory_block_folio(block, i));
}

/* Freeze the references of all folios if they are the page cache's and ours. */
static bool guest_memory_freeze_folios(struct guest_memory_block *block)
{
	const int refs = block->step + 1;
	unsigned long i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step)
		if (!test_bit(i, block->bad) &&
		    !folio_ref_freeze(guest_memory_block_folio(block, i), refs))
			break;
	if (i >= GUEST_MEMORY_BLOCK_PAGES)
		return true;

	while (i) {
		i -= block->step;
		if (!test_bit(i, block->bad))
			folio_ref_unfreeze(guest_memory_block_folio(block, i),
					   refs);
	}

	return false;
}

/* As __remove_mapping(): no look-up in between finds a folio without references. */
static bool guest_memory_remove_folios(struct inode *inode,
				       struct guest_memory_block *block)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long i;
	bool frozen;

	xa_lock_irq(&mapping->i_pages);
	frozen = guest_memory_freeze_folios(block);
	if (frozen)
		for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step)
			__filemap_remove_folio(guest_memory_block_folio(block, i),
					       NULL);
	xa_unlock_irq(&mapping->i_pages);

	return frozen;
}

/* Make single pages without references of the block, but for those with errors. */
static void guest_memory_break_block(struct guest_memory_block *block)
{
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i += block->step) {
		folio = guest_memory_block_folio(block, i);
		folio_unlock(folio);
		if (test_bit(i, block->bad))
			continue;

		mem_cgroup_uncharge(folio);
		guest_memory_break_pages(block->page + i, block->step);
	}

	for_each_set_bit(i, block->bad, GUEST_MEMORY_BLOCK_PAGES) {
		folio = guest_memory_block_folio(block, i);
		/* With that of the page cache, which it keeps. */
		folio_get(folio);
		guest_memory_keep_poisoned(folio);
	}
}

/*
 * Take the block of @page out of the page cache.  0; -EBUSY if it is in use; -EAGAIN if
 * it is only that a page is on no LRU list yet.
 */
static int guest_memory_try_remove_block(struct inode *inode, struct page *page)
{
	struct guest_memory_block block = { .page = page };
	unsigned long nr;

	guest_memory_lock_folios(&block);
	nr = guest_memory_isolate_folios(&block);
	if (nr >= GUEST_MEMORY_BLOCK_PAGES &&
	    guest_memory_remove_folios(inode, &block)) {
		guest_memory_break_block(&block);
		return 0;
	}

	guest_memory_unlock_folios(&block);
	guest_memory_putback_folios(&block, nr);

	return nr < GUEST_MEMORY_BLOCK_PAGES ? -EAGAIN : -EBUSY;
}

static bool guest_memory_remove_block(struct inode *inode, struct page *page)
{
	int r = guest_memory_try_remove_block(inode, page);

	/* In the per-CPU batches, where a block that was split and put back is. */
	if (r == -EAGAIN) {
		lru_add_drain_all();
		r = guest_memory_try_remove_block(inode, page);
	}

	return !r;
}

/* Remove the block at @start as far as it lies in [@first, @end). */
static void guest_memory_remove_part(struct inode *inode, pgoff_t start,
				     pgoff_t first, pgoff_t end)
{
	struct page *page = guest_memory_pool_find(inode, start);
	bool closed = GUEST_MEMORY_I(inode)->closed;
	pgoff_t next = start + GUEST_MEMORY_BLOCK_PAGES;
	bool whole = first <= start && end >= next;

	/* A part of a larger page cannot be replaced. */
	if (!closed && guest_memory_pool_order(inode) > GUEST_MEMORY_BLOCK_ORDER &&
	    guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES))
		whole = false;

	/* Without users, what is left is zeroed when it returns to the pool. */
	if ((whole && guest_memory_remove_block(inode, page)) || closed)
		return;

	first = max(first, start);
	guest_memory_zero_pages(inode, page + (first - start),
				min(end, next) - first);
	/* It is as whole as before. */
	guest_memory_restore_whole(inode, start, page);
}

/*
 * Remove pages [start, end), which guests cannot reach: blocks that lie in the range
 * leave the page cache if nobody uses them; the other pages are zeroed.
 */
void guest_memory_pool_remove(struct inode *inode, pgoff_t start, pgoff_t end)
{
	unsigned long nrpages = inode->i_mapping->nrpages;
	pgoff_t index = start, block;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	while ((index = guest_memory_next_page(inode, index, end)) < end) {
		block = round_down(index, GUEST_MEMORY_BLOCK_PAGES);
		guest_memory_remove_part(inode, block, start, end);
		index = block + GUEST_MEMORY_BLOCK_PAGES;
		cond_resched();
	}
	guest_memory_account(inode, inode->i_mapping->nrpages - nrpages, 0);
}

/*
 * The last user has left, and what nobody used was removed.  Return it to the pool;
 * what is left is removed later, and the inode lives so long.
 */
void guest_memory_pool_close(struct inode *inode)
{
	struct guest_memory_pool *pool = GUEST_MEMORY_I(inode)->pool;

	if (guest_memory_pool_empty(inode))
		return;

	ihold(inode);
	pool->delay = GUEST_MEMORY_CLOSE_DELAY;
	queue_delayed_work(system_unbound_wq, &pool->work, pool->delay);
}

void guest_memory_pool_close_work(struct work_struct *work)
{
	struct guest_memory_pool *pool = container_of(to_delayed_work(work),
						      struct guest_memory_pool,
						      work);
	struct inode *inode = pool->inode;

	filemap_invalidate_lock(inode->i_mapping);
	guest_memory_remove_all(inode);
	filemap_invalidate_unlock(inode->i_mapping);

	if (guest_memory_pool_empty(inode)) {
		iput(inode);
		return;
	}

	pool->delay = min(2 * pool->delay, GUEST_MEMORY_CLOSE_DELAY_MAX);
	queue_delayed_work(system_unbound_wq, &pool->work, pool->delay);
}
