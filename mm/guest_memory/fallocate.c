// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: fallocate(), which populates ranges and punches holes
 *
 * Invariants:
 *
 * - Memory is allocated before, and freed after, the invalidate_lock is held:
 *   neither faults nor guests wait for zeroing.
 * - A hole is punched in steps.  Each step makes a range unreachable, takes its
 *   pages out of the file and lets guests fault again, so that they are kept out
 *   of a small range for a short time only.
 */
#include <linux/guest_memory.h>
#include <linux/falloc.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/signal.h>

#include "internal.h"

/* Take pages [start, end) out of the file, in use or not. */
static void guest_memory_punch_batch(struct inode *inode, pgoff_t start,
				     pgoff_t end)
{
	const struct guest_memory_source_ops *source = guest_memory_source(inode);
	struct address_space *mapping = inode->i_mapping;
	struct folio *list = NULL;

	filemap_invalidate_lock(mapping);
	guest_memory_clear_whole(inode, start, end);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_begin(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	/*
	 * Once for all pages instead of one by one, and with even_cows set: it
	 * also clears the marks that a memory failure leaves in page tables, so
	 * that the host may use the new page.
	 */
	unmap_mapping_pages(mapping, start, end - start, true);
	if (source->remove) {
		source->remove(inode, start, end);
	} else {
		guest_memory_split_range(inode, start, end);
		list = guest_memory_remove_range(inode, start, end);
	}
	/* A memory failure since then may have marked page tables anew. */
	if (READ_ONCE(GUEST_MEMORY_I(inode)->poisoned))
		unmap_mapping_pages(mapping, start, end - start, true);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_end(inode, start, end);
	/* Those that could not be split. */
	guest_memory_promote(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	filemap_invalidate_unlock(mapping);

	/* Zeroing takes by far the longest, so it is done without locks. */
	if (source->remove)
		source->clean(inode, start, end);
	else
		source->free(inode, list);
}

static long guest_memory_punch_hole(struct inode *inode, pgoff_t start,
				    pgoff_t end)
{
	pgoff_t next;

	end = min(end, guest_memory_nr_pages(inode));

	/* An index without a page cannot be mapped: step over holes. */
	while ((start = guest_memory_next_page(inode, start, end)) < end) {
		if (fatal_signal_pending(current))
			return -EINTR;

		next = guest_memory_batch_end(start, end);
		guest_memory_punch_batch(inode, start, next);
		start = next;
		cond_resched();
	}

	return 0;
}

/*
 * The order of the block that is at @start, or -1.  A block that lies in the range as
 * a whole gets 2 MiB, if possible.
 */
static int guest_memory_populate_huge(struct inode *inode, pgoff_t start,
				      pgoff_t end)
{
	struct xarray *pages = &inode->i_mapping->i_pages;
	bool present = xa_load(pages, start);

	if (!guest_memory_may_be_huge(inode) ||
	    (!guest_memory_only_huge(inode) &&
	     (!IS_ALIGNED(start, GUEST_MEMORY_BLOCK_PAGES) ||
	      end - start < GUEST_MEMORY_BLOCK_PAGES)))
		return present ? 0 : -1;

	if (!present &&
	    !guest_memory_add_huge(inode, start, GUEST_MEMORY_POPULATE))
		return -1;

	return xa_get_order(pages, start);
}

/*
 * Allocate folios for the first indices in [*start, end) that have none, and
 * advance *start behind the last of them.
 */
static long guest_memory_alloc_batch(struct inode *inode, pgoff_t *start,
				     pgoff_t end, struct folio_batch *batch)
{
	struct folio *folio;
	int order;

	while (*start < end) {
		cond_resched();
		if (signal_pending(current))
			return -EINTR;

		order = guest_memory_populate_huge(inode, *start, end);
		if (order >= 0) {
			*start = round_down(*start, 1ul << order) +
				 (1ul << order);
			continue;
		}

		folio = guest_memory_alloc_folio(inode, *start,
						 GUEST_MEMORY_MAKE);
		if (!folio)
			return -ENOMEM;

		folio->index = (*start)++;
		if (!folio_batch_add(batch, folio))
			break;
	}

	return 0;
}

/* Add the folios of guest_memory_alloc_batch(), up to the first error. */
static long guest_memory_add_batch(struct inode *inode,
				   struct folio_batch *batch)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned int i, tried, nr = folio_batch_count(batch);
	unsigned long unused = 0;
	long r = 0;

	BUILD_BUG_ON(PAGEVEC_SIZE > BITS_PER_LONG);

	filemap_invalidate_lock_shared(mapping);
	for (tried = 0; tried < nr && !r; tried++) {
		r = guest_memory_add_folio(inode, batch->folios[tried],
					   batch->folios[tried]->index,
					   mapping_gfp_mask(mapping));
		if (r)
			__set_bit(tried, &unused);
		if (r == -EEXIST)
			r = 0;
	}
	filemap_invalidate_unlock_shared(mapping);

	for (i = 0; i < nr; i++) {
		if (i >= tried || test_bit(i, &unused))
			guest_memory_discard_folio(inode, batch->folios[i]);
		else
			folio_put(batch->folios[i]);
	}

	return r;
}

/* Populate pages [start, end), up to the first error. */
static long guest_memory_allocate(struct inode *inode, pgoff_t start,
				  pgoff_t end)
{
	struct folio_batch batch;
	long r = 0, added;

	if (end > guest_memory_nr_pages(inode))
		return -EINVAL;

	while (start < end && !r) {
		folio_batch_init(&batch);
		r = guest_memory_alloc_batch(inode, &start, end, &batch);
		added = guest_memory_add_batch(inode, &batch);
		if (!r)
			r = added;
	}

	return r;
}

long guest_memory_fallocate(struct file *file, int mode, loff_t offset,
			    loff_t len)
{
	struct inode *inode = file_inode(file);
	pgoff_t start = offset >> PAGE_SHIFT;
	pgoff_t end = (offset + len) >> PAGE_SHIFT;

	if (mode != FALLOC_FL_KEEP_SIZE &&
	    mode != (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;

	if (!PAGE_ALIGNED(offset) || !PAGE_ALIGNED(len))
		return -EINVAL;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		return guest_memory_punch_hole(inode, start, end);

	return guest_memory_allocate(inode, start, end);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_fallocate, GUEST_MEMORY);
