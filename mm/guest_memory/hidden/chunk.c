// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: chunks of 2 MiB
 *
 * A page without a direct map entry is hidden: no wild or speculative access in
 * the kernel reaches it.  Memory is hidden and comes back in chunks of 2 MiB,
 * each changed in one go, so that the direct map keeps its large mappings: it
 * is never split into pages on behalf of guest memory.
 *
 * Invariants:
 *
 * - All pages of a chunk are hidden, no other page is.  A chunk is created and
 *   destroyed while its pages have no references: the holder of a reference may
 *   ask whether the page is hidden and rely on the answer.
 * - The content of a chunk is zero when it is destroyed, and, if the reserve has it,
 *   when it is created.
 * - A free page of a chunk has no references, as if it were inside a larger page
 *   of the allocator: pfn walkers skip it.
 * - A chunk with a memory error is never returned to the page allocator.  Mapping
 *   only its other pages would split the direct map, mapping all of it would
 *   make the hwpoisoned page reachable.
 */
#include <linux/gfp.h>
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/tlbflush.h>

#include "../internal.h"
#include "hidden.h"

/* Chunks by pfn >> GUEST_MEMORY_CHUNK_ORDER; a value if the reserve does not have it. */
static DEFINE_XARRAY(guest_memory_chunks);

/* Enabled by the first file with hidden memory, and never disabled. */
static DEFINE_STATIC_KEY_FALSE(guest_memory_hiding);

bool guest_memory_can_hide(void)
{
	return arch_guest_memory_can_hide();
}
EXPORT_SYMBOL_NS_GPL(guest_memory_can_hide, GUEST_MEMORY);

bool guest_memory_page_hidden(struct page *page)
{
	return static_branch_unlikely(&guest_memory_hiding) &&
	       xa_load(&guest_memory_chunks,
		       page_to_pfn(page) >> GUEST_MEMORY_CHUNK_ORDER);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_page_hidden, GUEST_MEMORY);

/* True if a page from pfn @first to @last belongs to a chunk. */
bool guest_memory_has_chunks(unsigned long first, unsigned long last)
{
	unsigned long index = first >> GUEST_MEMORY_CHUNK_ORDER;

	return xa_find(&guest_memory_chunks, &index,
		       last >> GUEST_MEMORY_CHUNK_ORDER, XA_PRESENT);
}

/* Of a page of the reserve. */
struct guest_memory_chunk *guest_memory_find_chunk(struct page *page)
{
	return xa_load(&guest_memory_chunks,
		       page_to_pfn(page) >> GUEST_MEMORY_CHUNK_ORDER);
}

static void guest_memory_init_hiding(struct work_struct *work)
{
	if (!arch_guest_memory_init_windows())
		static_branch_enable(&guest_memory_hiding);
}

/*
 * Prepare for hiding memory.  A worker does it, so that permanent allocations are
 * not charged to the creator of the first file and keep no reference to it.
 */
int guest_memory_start_hiding(void)
{
	static DEFINE_MUTEX(lock);
	struct work_struct work;

	if (static_key_enabled(&guest_memory_hiding))
		return 0;

	mutex_lock(&lock);
	if (!static_key_enabled(&guest_memory_hiding)) {
		INIT_WORK_ONSTACK(&work, guest_memory_init_hiding);
		schedule_work(&work);
		flush_work(&work);
		destroy_work_on_stack(&work);
	}
	mutex_unlock(&lock);

	return static_key_enabled(&guest_memory_hiding) ? 0 : -ENOMEM;
}

static struct guest_memory_chunk *guest_memory_alloc_chunk(gfp_t gfp, int nid)
{
	struct guest_memory_chunk *chunk;

	chunk = kzalloc(sizeof(*chunk), GFP_KERNEL | __GFP_NOWARN);
	if (!chunk)
		return NULL;

	chunk->page = __alloc_pages_node(nid, gfp | __GFP_THISNODE | __GFP_ZERO |
					 __GFP_NOWARN, GUEST_MEMORY_CHUNK_ORDER);
	if (!chunk->page) {
		kfree(chunk);
		return NULL;
	}

	INIT_LIST_HEAD(&chunk->node);
	bitmap_fill(chunk->free, GUEST_MEMORY_CHUNK_PAGES);
	chunk->nr_free = GUEST_MEMORY_CHUNK_PAGES;

	return chunk;
}

static void guest_memory_free_chunk(struct guest_memory_chunk *chunk)
{
	__free_pages(chunk->page, GUEST_MEMORY_CHUNK_ORDER);
	kfree(chunk);
}

/* True if a page of the chunk is hwpoisoned. */
bool guest_memory_chunk_poisoned(const struct guest_memory_chunk *chunk)
{
	return guest_memory_has_poison(chunk->page, GUEST_MEMORY_CHUNK_PAGES);
}

static bool guest_memory_hide_chunk(struct guest_memory_chunk *chunk)
{
	unsigned long index = page_to_pfn(chunk->page) >>
			      GUEST_MEMORY_CHUNK_ORDER;

	if (xa_is_err(xa_store(&guest_memory_chunks, index, chunk, GFP_KERNEL)))
		return false;

	if (!set_direct_map_range_noflush(chunk->page, GUEST_MEMORY_CHUNK_PAGES,
					  false)) {
		/* A pfn walker may hold a transient reference. */
		while (!page_ref_freeze(chunk->page, 1))
			cond_resched();
		return true;
	}

	/* No flush: at worst the TLB has entries for what is mapped again. */
	set_direct_map_range_noflush(chunk->page, GUEST_MEMORY_CHUNK_PAGES,
				     true);
	xa_erase(&guest_memory_chunks, index);

	return false;
}

/*
 * Hide @nr pages, whole chunks that are somebody else's and never in the reserve.  The
 * caller flushes.
 */
int guest_memory_hide_pages(struct page *page, unsigned long nr)
{
	unsigned long i, index;

	for (i = 0; i < nr; i += GUEST_MEMORY_CHUNK_PAGES) {
		index = page_to_pfn(page + i) >> GUEST_MEMORY_CHUNK_ORDER;
		if (xa_is_err(xa_store(&guest_memory_chunks, index,
				       xa_mk_value(0), GFP_KERNEL)))
			break;

		if (set_direct_map_range_noflush(page + i,
						 GUEST_MEMORY_CHUNK_PAGES,
						 false)) {
			set_direct_map_range_noflush(page + i,
						     GUEST_MEMORY_CHUNK_PAGES,
						     true);
			xa_erase(&guest_memory_chunks, index);
			break;
		}
		cond_resched();
	}
	if (i >= nr)
		return 0;

	/* No flush: at worst the TLB has entries for what is mapped again. */
	if (i)
		guest_memory_show_pages(page, i);

	return -ENOMEM;
}

/*
 * The opposite; the pages are zero and have no references.  False: one has a memory
 * error, and none is shown.
 */
bool guest_memory_show_pages(struct page *page, unsigned long nr)
{
	unsigned long i;
	int r;

	if (guest_memory_has_poison(page, nr))
		return false;

	for (i = 0; i < nr; i += GUEST_MEMORY_CHUNK_PAGES) {
		/* Cannot fail, see guest_memory_drop_chunk(). */
		r = set_direct_map_range_noflush(page + i,
						 GUEST_MEMORY_CHUNK_PAGES, true);
		if (WARN_ON_ONCE(r))
			return false;
		xa_erase(&guest_memory_chunks,
			 page_to_pfn(page + i) >> GUEST_MEMORY_CHUNK_ORDER);
	}

	return true;
}

/* Remove all stale translations of hidden pages from @first to @last. */
void guest_memory_flush_hidden(struct page *first, struct page *last)
{
	/* Lazily unmapped vmalloc areas may still map the memory. */
	vm_unmap_aliases();
	flush_tlb_kernel_range((unsigned long)page_address(first),
			       (unsigned long)page_address(last) + PAGE_SIZE);
}

/* Remove all stale translations of the chunks of @list. */
static void guest_memory_flush_chunks(struct list_head *list)
{
	struct guest_memory_chunk *chunk;
	struct page *first = NULL, *last = NULL;

	list_for_each_entry(chunk, list, node) {
		if (!first || chunk->page < first)
			first = chunk->page;
		if (!last || chunk->page > last)
			last = chunk->page;
	}

	guest_memory_flush_hidden(first, last + GUEST_MEMORY_CHUNK_PAGES - 1);
}

unsigned int guest_memory_make_chunks(gfp_t gfp, int nid, unsigned int nr,
				      struct list_head *list)
{
	struct guest_memory_chunk *chunk;
	unsigned int made;

	for (made = 0; made < nr; made++) {
		if (!guest_memory_has_room(nid))
			break;

		chunk = guest_memory_alloc_chunk(gfp, nid);
		if (!chunk)
			break;

		if (!guest_memory_hide_chunk(chunk)) {
			guest_memory_free_chunk(chunk);
			break;
		}
		list_add_tail(&chunk->node, list);
	}

	if (made)
		guest_memory_flush_chunks(list);

	return made;
}

bool guest_memory_drop_chunk(struct guest_memory_chunk *chunk)
{
	if (guest_memory_chunk_poisoned(chunk))
		return false;

	/*
	 * Cannot fail: the range was unmapped as a whole, so that mapping it
	 * needs no memory.  If it does, some pages are no longer hidden and the
	 * chunk is leaked.
	 */
	if (WARN_ON_ONCE(set_direct_map_range_noflush(chunk->page,
						      GUEST_MEMORY_CHUNK_PAGES,
						      true)))
		return true;

	xa_erase(&guest_memory_chunks,
		 page_to_pfn(chunk->page) >> GUEST_MEMORY_CHUNK_ORDER);
	page_ref_unfreeze(chunk->page, 1);
	guest_memory_free_chunk(chunk);

	return true;
}
