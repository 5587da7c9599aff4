// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: the page allocator as the source of a file's memory
 *
 * Invariants:
 *
 * - The policy of the file takes precedence over that of the task, on every
 *   path that allocates.
 * - Pages are zeroed before they go back to the page allocator, even if
 *   somebody still holds a reference: guest data must not reach the next owner.
 */
#include <linux/gfp.h>
#include <linux/guest_memory.h>
#include <linux/highmem.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../internal.h"
#include "internal.h"

/* How many pages are freed together. */
#define GUEST_MEMORY_FREE_BATCH		32

#ifdef CONFIG_NUMA
/* Not inlined to keep the VMA off the stack: most files have no policy. */
static noinline struct folio *
guest_memory_alloc_policy(struct inode *inode, pgoff_t index, gfp_t gfp,
			  struct mempolicy *policy)
{
	struct vm_area_struct pseudo_vma;
	struct folio *folio;

	vma_init(&pseudo_vma, NULL);
	/* Let MPOL_INTERLEAVE of many files begin on different nodes. */
	pseudo_vma.vm_pgoff = index + inode->i_ino;
	pseudo_vma.vm_policy = policy;
	folio = vma_alloc_folio(gfp, 0, &pseudo_vma, 0, false);
	mpol_cond_put(policy);

	return folio;
}
#endif

static struct folio *guest_memory_buddy_alloc(struct inode *inode,
					      pgoff_t index,
					      enum guest_memory_effort effort)
{
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_ZERO;
#ifdef CONFIG_NUMA
	struct mempolicy *policy;

	policy = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   index);
	if (policy)
		return guest_memory_alloc_policy(inode, index, gfp, policy);
#endif
	return folio_alloc(gfp, 0);
}

static struct folio *guest_memory_buddy_alloc_huge(struct inode *inode,
						   pgoff_t start, int nid,
						   gfp_t gfp)
{
	if (!guest_memory_has_room(nid))
		return NULL;

	return __folio_alloc_node(gfp | __GFP_THISNODE, GUEST_MEMORY_BLOCK_ORDER,
				  nid);
}

/* Zero a page.  False if it has a memory error. */
static __always_inline bool guest_memory_zero_page(struct page *page)
{
	if (unlikely(PageHWPoison(page)))
		return false;

	if (!want_init_on_free())
		clear_highpage(page);

	return true;
}

/* The same for @folio. */
static bool guest_memory_zero_folio(struct folio *folio)
{
	unsigned long i, nr = folio_nr_pages(folio);
	bool good = true;

	if (likely(nr == 1))
		return guest_memory_zero_page(&folio->page);

	if (!want_init_on_free() && !guest_memory_folio_has_poison(folio)) {
		guest_memory_clear_huge(&folio->page, 0);
		/* An error while that was going on. */
		return guest_memory_folio_good(folio);
	}

	for (i = 0; i < nr; i++) {
		if (!guest_memory_zero_page(folio_page(folio, i)))
			good = false;
		if (i % GUEST_MEMORY_FREE_BATCH == 0)
			cond_resched();
	}

	return good;
}

static void guest_memory_buddy_discard(struct inode *inode,
				       struct folio *folio)
{
	/*
	 * A memory error may have hit it while it was in no file.  Only a single
	 * page with an error can be freed.
	 */
	if (guest_memory_zero_folio(folio) || !folio_test_large(folio))
		folio_put(folio);
}

static void guest_memory_buddy_free(struct inode *inode, struct folio *list)
{
	struct page *pages[GUEST_MEMORY_FREE_BATCH];
	struct folio *folio;
	int nr = 0;

	while (list) {
		folio = list;
		list = folio->private;
		folio->private = NULL;

		/* Large only if it was in use when it should be split. */
		if (!guest_memory_zero_folio(folio)) {
			folio_get(folio);
			guest_memory_keep_poisoned(folio);
			continue;
		}

		pages[nr++] = folio_page(folio, 0);
		if (nr == GUEST_MEMORY_FREE_BATCH) {
			release_pages(pages, nr);
			nr = 0;
			cond_resched();
		}
	}
	release_pages(pages, nr);
}

const struct guest_memory_source_ops guest_memory_buddy_source = {
	.nomem		= VM_FAULT_OOM,
	.has_address	= true,
	.zero_huge	= true,
	.alloc		= guest_memory_buddy_alloc,
	.alloc_huge	= guest_memory_buddy_alloc_huge,
	.zero_page	= clear_highpage,
	.discard	= guest_memory_buddy_discard,
	.free		= guest_memory_buddy_free,
};
