// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory from hugetlb pools: the pages that a file has of its pool
 *
 * All pages that a file may need are reserved and charged when it is created.  A page
 * of the pool is taken when its range of the file is touched for the first time, and
 * is bound to the range from then on: a punched hole gets the same memory again.  The
 * pool gets everything back when the last user leaves.
 *
 * A page of 2 MiB is one block of the file, one of 1 GiB is 512 of them, which are
 * filled one by one.
 *
 * Invariants:
 *
 * - A block is in the page cache as a whole, or not at all.  If it is not, its pages
 *   have no references, so that nobody can write to them.
 * - The pages of a block that is not in the page cache are single pages as the page
 *   allocator knows them inside a larger one.  They become a folio, or part of the
 *   pool again, while they have no references.
 * - A block is zeroed when it has left the page cache, or before it enters it.
 * - A page of the pool that has a memory error never returns to the pool.  If it is
 *   one block, that gets another one when it is empty and touched again.
 * - Where the memory is hidden, or the pool saved struct pages, all is taken when the
 *   file is created: hiding and restoring may fail.
 * - Nothing that a fault needs can fail for want of memory, unless memory errors have
 *   taken pages that the pool could not replace.
 */
#include <linux/guest_memory.h>
#include <linux/hugetlb.h>
#include <linux/init.h>
#include <linux/memory.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "../../internal.h"
#include "../policy.h"
#include "hugetlb.h"

/* For those who ask what is where. */
static LIST_HEAD(guest_memory_pools);
static DEFINE_MUTEX(guest_memory_pools_lock);

static struct guest_memory_pool *guest_memory_pool(const struct inode *inode)
{
	return GUEST_MEMORY_I(inode)->pool;
}

static unsigned long guest_memory_blocks_per_page(const struct guest_memory_pool *pool)
{
	return 1ul << (pool->order - GUEST_MEMORY_BLOCK_ORDER);
}

unsigned int guest_memory_pool_order(struct inode *inode)
{
	return guest_memory_pool(inode) ? guest_memory_pool(inode)->order : 0;
}

unsigned long guest_memory_pool_allocated(struct inode *inode)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);

	return READ_ONCE(pool->nr_taken) << pool->order;
}

/* @nr blocks more at @index can be mapped as one page, or less. */
void guest_memory_count_whole(struct inode *inode, pgoff_t index, int nr)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);

	if (pool)
		atomic_add(nr, &pool->pages[index >> pool->order].nr_whole);
}

/* True if all blocks of the 1 GiB around @index can, and it is one page of the pool. */
bool guest_memory_giant_whole(struct inode *inode, pgoff_t index)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);

	return pool->order == GUEST_MEMORY_GIANT_ORDER &&
	       atomic_read(&pool->pages[index >> pool->order].nr_whole) ==
	       guest_memory_blocks_per_page(pool);
}

#ifdef CONFIG_NUMA
static struct page *guest_memory_pool_lease(struct inode *inode,
					    unsigned long i)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct mempolicy *policy, *shared;
	nodemask_t *nodes;
	struct page *page;
	int nid;

	shared = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   i << pool->order);
	policy = shared ?: get_task_policy(current);
	nid = guest_memory_policy_node(inode, i, policy, &nodes);
	page = hugetlb_lease_take(&pool->lease, nid, nodes);
	mpol_cond_put(shared);

	return page;
}
#else
static struct page *guest_memory_pool_lease(struct inode *inode,
					    unsigned long i)
{
	return hugetlb_lease_take(&guest_memory_pool(inode)->lease,
				  numa_mem_id(), NULL);
}
#endif

static bool guest_memory_pool_hide_page(struct guest_memory_pool *pool,
					struct page *page)
{
	if (guest_memory_hide_pages(page, BIT(pool->order)))
		return false;

	guest_memory_flush_hidden(page, page + BIT(pool->order) - 1);
	return true;
}

/* A new page @i of the pool, ready for the file. */
static struct page *guest_memory_pool_prepare(struct inode *inode,
					      unsigned long i)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct guest_memory_pool_page *slot = &pool->pages[i];
	struct page *page;

	lockdep_assert_held(&pool->lock);

	/* What is reserved belongs to other pages of the file. */
	if (slot->lost && hugetlb_lease_extend(&pool->lease))
		return NULL;

	slot->lost = false;
	page = guest_memory_pool_lease(inode, i);
	if (page && pool->hidden && !guest_memory_pool_hide_page(pool, page)) {
		hugetlb_lease_return(&pool->lease, page);
		slot->lost = true;
		page = NULL;
	}

	return page;
}

/* Take page @i out of the pool, unless it has been taken. */
static struct page *guest_memory_pool_take(struct inode *inode, unsigned long i)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page;

	mutex_lock(&pool->lock);
	page = pool->pages[i].page;
	if (!page) {
		page = guest_memory_pool_prepare(inode, i);
		if (page) {
			WRITE_ONCE(pool->pages[i].page, page);
			pool->nr_taken++;
		}
	}
	mutex_unlock(&pool->lock);

	return page;
}

/* The first page of the block at @start, or NULL if it was not needed yet. */
struct page *guest_memory_pool_find(struct inode *inode, pgoff_t start)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page;

	page = READ_ONCE(pool->pages[start >> pool->order].page);

	return page ? page + (start & (BIT(pool->order) - 1)) : NULL;
}

/* The same; NULL if its page of the pool is not to be had. */
static struct page *guest_memory_pool_block(struct inode *inode, pgoff_t start)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page = guest_memory_pool_find(inode, start);

	if (!page && guest_memory_pool_take(inode, start >> pool->order))
		page = guest_memory_pool_find(inode, start);

	return page;
}

/* Zero the pages of a block that have no memory error. */
static void guest_memory_pool_zero(struct inode *inode, struct page *page)
{
	if (guest_memory_source(inode)->has_address &&
	    !guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES))
		guest_memory_clear_huge(page, 0);
	else
		guest_memory_zero_pages(inode, page, GUEST_MEMORY_BLOCK_PAGES);
}

/* Zero the block @i of @page unless nobody has used it, or it is zero. */
static void guest_memory_pool_zero_used(struct inode *inode, unsigned long i,
					struct page *page)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);

	if (test_bit(i, pool->used) && !test_bit(i, pool->clean))
		guest_memory_pool_zero(inode, page);
}

/* The good pages of one that had a memory error go to the page allocator. */
static void guest_memory_pool_free_good(struct inode *inode, struct page *page,
					unsigned long nr)
{
	bool hidden = !guest_memory_source(inode)->has_address;
	unsigned long i, j;

	for (i = 0; i < nr; i += GUEST_MEMORY_BLOCK_PAGES) {
		/* Hidden memory is never returned in pieces. */
		if (hidden &&
		    !guest_memory_show_pages(page + i, GUEST_MEMORY_BLOCK_PAGES))
			continue;

		for (j = i; j < i + GUEST_MEMORY_BLOCK_PAGES; j++) {
			if (PageHWPoison(page + j))
				continue;
			page_ref_unfreeze(page + j, 1);
			__free_page(page + j);
		}
		cond_resched();
	}
}

/*
 * The empty block at @start has a memory error.  If it is a page of the pool, the pool
 * gets rid of that, and the block gets another one, or NULL.
 */
static struct page *guest_memory_pool_replace(struct inode *inode, pgoff_t start,
					      struct page *page)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	unsigned long i = start >> pool->order;

	if (pool->order > GUEST_MEMORY_BLOCK_ORDER)
		return page;

	guest_memory_pool_zero_used(inode, i, page);
	clear_bit(i, pool->used);
	clear_bit(i, pool->clean);

	mutex_lock(&pool->lock);
	WRITE_ONCE(pool->pages[i].page, NULL);
	pool->pages[i].lost = true;
	pool->nr_taken--;
	mutex_unlock(&pool->lock);
	hugetlb_lease_lose(&pool->lease, page);
	guest_memory_pool_free_good(inode, page, GUEST_MEMORY_BLOCK_PAGES);

	return guest_memory_pool_take(inode, i);
}

/* The pages of the empty block at @start as a folio, zeroed. */
struct folio *guest_memory_pool_alloc(struct inode *inode, pgoff_t start,
				      int nid, gfp_t gfp)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page;

	guest_memory_assert_block(inode, start);

	if (pool->dead)
		return NULL;

	/*
	 * Whoever took the block out of the page cache may still have to make single
	 * pages of it.  Nobody else will come before it is there again.
	 */
	filemap_invalidate_lock_shared(inode->i_mapping);
	filemap_invalidate_unlock_shared(inode->i_mapping);

	page = guest_memory_pool_block(inode, start);
	if (page && unlikely(guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES)))
		page = guest_memory_pool_replace(inode, start, page);
	if (!page)
		return NULL;

	set_bit(start >> GUEST_MEMORY_BLOCK_ORDER, pool->used);
	if (!test_and_clear_bit(start >> GUEST_MEMORY_BLOCK_ORDER, pool->clean))
		guest_memory_pool_zero(inode, page);

	prep_compound_page(page, GUEST_MEMORY_BLOCK_ORDER);
	prep_transhuge_page(page);
	/* No page table entry of 2 MiB for it. */
	if (unlikely(guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES)))
		folio_set_has_hwpoisoned(page_folio(page));
	page_ref_unfreeze(page, 1);

	return page_folio(page);
}

/* A folio of guest_memory_pool_alloc() that did not enter the page cache. */
void guest_memory_pool_discard(struct inode *inode, struct folio *folio)
{
	/* A pfn walker may hold a transient reference. */
	while (!folio_ref_freeze(folio, 1))
		cond_resched();
	guest_memory_break_pages(folio_page(folio, 0),
				 GUEST_MEMORY_BLOCK_PAGES);
}

/* Zero the blocks in [start, end) that have left the page cache. */
void guest_memory_pool_clean(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page;
	unsigned long i;

	start = round_up(start, GUEST_MEMORY_BLOCK_PAGES);
	for (; start + GUEST_MEMORY_BLOCK_PAGES <= end;
	     start += GUEST_MEMORY_BLOCK_PAGES) {
		if (!READ_ONCE(pool->pages[start >> pool->order].page))
			continue;

		i = start >> GUEST_MEMORY_BLOCK_ORDER;
		guest_memory_lock_block(inode, start);
		/* A fault may have been faster. */
		page = guest_memory_pool_find(inode, start);
		if (page && !xa_load(&inode->i_mapping->i_pages, start)) {
			guest_memory_pool_zero_used(inode, i, page);
			/* A page with an error was not zeroed, and may be mended. */
			if (test_bit(i, pool->used) &&
			    !guest_memory_has_poison(page, GUEST_MEMORY_BLOCK_PAGES))
				set_bit(i, pool->clean);
		}
		guest_memory_unlock_block(inode, start);
		cond_resched();
	}
}

/* Return page @i of the pool, none of which is in the page cache. */
static void guest_memory_pool_return(struct inode *inode, unsigned long i)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	unsigned long n = guest_memory_blocks_per_page(pool), j;
	struct page *page = pool->pages[i].page, *block = page;
	unsigned long nr = 1ul << pool->order;

	for (j = i * n; j < (i + 1) * n; j++) {
		guest_memory_pool_zero_used(inode, j, block);
		block += GUEST_MEMORY_BLOCK_PAGES;
		cond_resched();
	}

	if (!guest_memory_has_poison(page, nr) &&
	    (guest_memory_source(inode)->has_address ||
	     guest_memory_show_pages(page, nr))) {
		hugetlb_lease_return(&pool->lease, page);
	} else {
		hugetlb_lease_lose(&pool->lease, page);
		guest_memory_pool_free_good(inode, page, nr);
	}

	mutex_lock(&pool->lock);
	WRITE_ONCE(pool->pages[i].page, NULL);
	pool->nr_taken--;
	mutex_unlock(&pool->lock);
}

/*
 * Return all that is not in the page cache any more.  The last user has left, or there
 * was none.  True if that is all; the lease is over then.
 */
bool guest_memory_pool_empty(struct inode *inode)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	pgoff_t start;
	unsigned long i;

	/* Allocations that began earlier end, and there will be no others. */
	WRITE_ONCE(pool->dead, true);
	guest_memory_wait_for_blocks();

	for (i = 0; i < pool->nr && pool->nr_taken; i++) {
		if (!pool->pages[i].page)
			continue;

		start = i << pool->order;
		if (guest_memory_next_page(inode, start, start + BIT(pool->order)) ==
		    start + BIT(pool->order))
			guest_memory_pool_return(inode, i);
		cond_resched();
	}
	if (pool->nr_taken)
		return false;

	hugetlb_lease_put(&pool->lease);
	pool->ended = true;

	return true;
}

static int guest_memory_pool_take_all(struct inode *inode)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	unsigned long i;

	for (i = 0; i < pool->nr; i++) {
		if (signal_pending(current))
			return -EINTR;
		if (!guest_memory_pool_take(inode, i))
			return -ENOMEM;
		cond_resched();
	}

	return 0;
}

static int guest_memory_pool_hide(struct inode *inode)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);
	struct page *page, *first = NULL, *last = NULL;
	unsigned long i;
	int r = 0;

	for (i = 0; i < pool->nr && !r; i++) {
		page = pool->pages[i].page;
		r = guest_memory_hide_pages(page, BIT(pool->order));
		if (!first || page < first)
			first = page;
		if (!last || page > last)
			last = page;
	}
	/* If it failed, all are shown when they are returned. */
	if (!r)
		guest_memory_flush_hidden(first, last + BIT(pool->order) - 1);

	return r;
}

static void guest_memory_pool_free(struct guest_memory_pool *pool)
{
	mutex_lock(&guest_memory_pools_lock);
	list_del(&pool->node);
	mutex_unlock(&guest_memory_pools_lock);
	kvfree(pool->clean);
	kvfree(pool->used);
	kvfree(pool);
}

/* A bit for each block of @nr pages of @order. */
static unsigned long *guest_memory_pool_bitmap(unsigned long nr,
					       unsigned int order)
{
	return kvcalloc(BITS_TO_LONGS(nr << (order - GUEST_MEMORY_BLOCK_ORDER)),
			sizeof(long), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

static struct guest_memory_pool *guest_memory_pool_create(struct inode *inode,
							  struct hstate *h)
{
	unsigned int order = huge_page_order(h);
	unsigned long nr = i_size_read(inode) >> (PAGE_SHIFT + order);
	struct guest_memory_pool *pool;

	pool = kvzalloc(struct_size(pool, pages, nr),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pool)
		return NULL;

	pool->inode = inode;
	pool->order = order;
	pool->nr = nr;
	mutex_init(&pool->lock);
	INIT_DELAYED_WORK(&pool->work, guest_memory_pool_close_work);
	mutex_lock(&guest_memory_pools_lock);
	list_add(&pool->node, &guest_memory_pools);
	mutex_unlock(&guest_memory_pools_lock);

	pool->clean = guest_memory_pool_bitmap(nr, order);
	pool->used = guest_memory_pool_bitmap(nr, order);
	if (!pool->clean || !pool->used) {
		guest_memory_pool_free(pool);
		return NULL;
	}

	return pool;
}

/*
 * Reserve what the file needs.  -EINVAL: there is no such pool, or the size is not a
 * multiple of its page size; -ENOMEM; -EINTR.
 */
int guest_memory_pool_get(struct inode *inode)
{
	unsigned long flags = guest_memory_flags(inode);
	struct guest_memory_pool *pool;
	struct hstate *h;
	int r;

	h = size_to_hstate(flags & GUEST_MEMORY_HUGETLB_1G ? SZ_1G : SZ_2M);
	if (!h || !IS_ALIGNED(i_size_read(inode), huge_page_size(h)))
		return -EINVAL;

	/* Before anything is allocated by the size of the file. */
	if (i_size_read(inode) >> huge_page_shift(h) >
	    READ_ONCE(h->nr_huge_pages) + READ_ONCE(h->nr_overcommit_huge_pages))
		return -ENOMEM;

	pool = guest_memory_pool_create(inode, h);
	if (!pool)
		return -ENOMEM;

	r = hugetlb_lease_get(&pool->lease, h, pool->nr);
	if (r) {
		guest_memory_pool_free(pool);
		return r;
	}

	GUEST_MEMORY_I(inode)->pool = pool;
	if (!guest_memory_source(inode)->has_address ||
	    hugetlb_pool_saves_memory(h))
		r = guest_memory_pool_take_all(inode);
	if (!r && !guest_memory_source(inode)->has_address) {
		r = guest_memory_pool_hide(inode);
		pool->hidden = true;
	}
	if (r)
		guest_memory_pool_put(inode);

	return r;
}

/* The file is gone, or has not come to be. */
void guest_memory_pool_put(struct inode *inode)
{
	struct guest_memory_pool *pool = guest_memory_pool(inode);

	if (!pool->ended)
		guest_memory_pool_empty(inode);
	GUEST_MEMORY_I(inode)->pool = NULL;
	guest_memory_pool_free(pool);
}

static bool guest_memory_pool_has_pages(struct guest_memory_pool *pool,
					unsigned long start, unsigned long end)
{
	struct page *page;
	unsigned long i;

	for (i = 0; i < pool->nr; i++) {
		page = READ_ONCE(pool->pages[i].page);
		if (page && page_to_pfn(page) < end &&
		    page_to_pfn(page) + BIT(pool->order) > start)
			return true;
		cond_resched();
	}

	return false;
}

/*
 * Pages that are not in the page cache have no references, as if they were about to be
 * freed, and those that are cannot be moved: offlining would wait for them forever.
 */
static int guest_memory_pool_offline(struct notifier_block *nb,
				     unsigned long action, void *data)
{
	const struct memory_notify *range = data;
	struct guest_memory_pool *pool;
	bool found = false;

	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_OK;

	mutex_lock(&guest_memory_pools_lock);
	list_for_each_entry(pool, &guest_memory_pools, node) {
		/* One that is being taken is found, too, or finds the range isolated. */
		mutex_lock(&pool->lock);
		found = guest_memory_pool_has_pages(pool, range->start_pfn,
						    range->start_pfn +
						    range->nr_pages);
		mutex_unlock(&pool->lock);
		if (found)
			break;
	}
	mutex_unlock(&guest_memory_pools_lock);

	return notifier_from_errno(found ? -EBUSY : 0);
}

static int __init guest_memory_pool_init(void)
{
	hotplug_memory_notifier(guest_memory_pool_offline, 0);

	return 0;
}
fs_initcall(guest_memory_pool_init);
