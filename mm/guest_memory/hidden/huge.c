// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: folios of a whole chunk
 *
 * A block of 2 MiB is all pages of a chunk, as one folio from when they are taken
 * until they are free, or until the folio is split.  It can be split at any time while
 * it is in a file; its pages then leave the file, and return to the chunk, one by one.
 *
 * Invariants:
 *
 * - The page allocator never gets the folio, nor what becomes of it: see collect.c.
 * - The pages are made a folio, and single pages again, while they have no references.
 */
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_ref.h>

#include "../../internal.h"
#include "../internal.h"
#include "hidden.h"

/* The counterpart of __folio_alloc_node(). */
struct folio *guest_memory_hidden_alloc_huge(struct inode *inode, pgoff_t start,
					     int nid, gfp_t gfp)
{
	struct page *page;

	/* A chunk has no owner, and consists of single pages. */
	page = guest_memory_reserve_alloc_chunk(nid, gfp & ~__GFP_COMP);
	if (!page)
		return NULL;

	prep_compound_page(page, GUEST_MEMORY_CHUNK_ORDER);
	prep_transhuge_page(page);
	page_ref_unfreeze(page, 1);

	return page_folio(page);
}

/* A page of a chunk that is free otherwise: see collect.c. */
static void guest_memory_quarantine_page(struct page *page)
{
	page_ref_unfreeze(page, GUEST_MEMORY_OUR_REFS);
	guest_memory_reserve_quarantine(page);
}

/* Zero and free @folio, which is on no list and has no references. */
void guest_memory_free_hidden_huge(struct folio *folio)
{
	struct page *pages[GUEST_MEMORY_WINDOW_PAGES];
	struct page *first = folio_page(folio, 0);
	/* Memory failure may just have marked a page, and know no more of it yet. */
	bool good = !guest_memory_folio_has_poison(folio);
	unsigned int i, nr = 0;

	mem_cgroup_uncharge(folio);
	guest_memory_break_pages(first, GUEST_MEMORY_CHUNK_PAGES);

	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++) {
		if (!good && PageHWPoison(first + i))
			guest_memory_quarantine_page(first + i);
		else
			pages[nr++] = first + i;

		if (nr < GUEST_MEMORY_WINDOW_PAGES &&
		    i < GUEST_MEMORY_CHUNK_PAGES - 1)
			continue;

		if (nr)
			guest_memory_zero_hidden(pages, nr);
		if (!good)
			guest_memory_reserve_free(pages, nr);
		nr = 0;
		cond_resched();
	}

	if (good)
		guest_memory_reserve_free_chunk(first);
}
