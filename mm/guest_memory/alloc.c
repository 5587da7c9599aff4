// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: when a block has 2 MiB, and where those come from
 *
 * A guest that touches a page gets a block of 2 MiB around it if the block is
 * empty and the memory is to be had at once: without reclaim and compaction, on
 * the node that the policy wants, and not from what the host needs to work.
 * Otherwise, and without a word, it gets a page.
 *
 * Invariants:
 *
 * - A block of 2 MiB lies inside the file.  An empty block is filled by one
 *   folio or by single pages, never by both.
 * - All of it is allocated, zeroed and charged before it enters the file, and, like
 *   all that is slow, not under the invalidate_lock.  It is zeroed under a mutex that
 *   others who want this block wait for.
 * - Whoever needs one page must not fail because there are no 2 MiB.
 */
#include <linux/guest_memory.h>
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/rbtree.h>
#include <linux/swap.h>
#include <linux/topology.h>
#include <linux/uio.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "policy.h"

/*
 * Blocks that have the same lock wait for each other without need, but no longer than
 * 2 MiB take to be zeroed and charged.
 */
#define GUEST_MEMORY_BLOCK_LOCK_BITS	8

static struct mutex guest_memory_block_locks[1 << GUEST_MEMORY_BLOCK_LOCK_BITS];

static struct mutex *guest_memory_block_lock(struct inode *inode, pgoff_t start)
{
	unsigned long key = (unsigned long)inode + start;

	return &guest_memory_block_locks[hash_long(key,
						   GUEST_MEMORY_BLOCK_LOCK_BITS)];
}

void guest_memory_lock_block(struct inode *inode, pgoff_t start)
{
	mutex_lock(guest_memory_block_lock(inode, start));
}

void guest_memory_unlock_block(struct inode *inode, pgoff_t start)
{
	mutex_unlock(guest_memory_block_lock(inode, start));
}

void guest_memory_assert_block(struct inode *inode, pgoff_t start)
{
	lockdep_assert_held(guest_memory_block_lock(inode, start));
}

/* Wait until nobody holds the lock of a block that he has by now. */
void guest_memory_wait_for_blocks(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(guest_memory_block_locks); i++) {
		mutex_lock(&guest_memory_block_locks[i]);
		mutex_unlock(&guest_memory_block_locks[i]);
	}
}

void __init guest_memory_init_alloc(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(guest_memory_block_locks); i++)
		mutex_init(&guest_memory_block_locks[i]);
}

/*
 * Large blocks cannot be reclaimed, and the page allocator provides large pages
 * down to its last reserves.  The next allocation of a single page would then
 * invoke the OOM killer, which cannot tell which processes hold the memory of
 * files.  So leave enough for the host.
 *
 * They cannot be moved either, nor can most of what the host needs: movable zones
 * and CMA do not count.
 *
 * This is what si_mem_available() computes, but for one node, as tasks may be
 * bound to it.
 */
bool guest_memory_has_room(int nid)
{
	struct pglist_data *pgdat = NODE_DATA(nid);
	long free = 0, file = 0, anon = 0, slab, low = 0;
	struct zone *zone;
	int i;

	for (i = 0; i < ZONE_MOVABLE; i++) {
		zone = &pgdat->node_zones[i];
		if (!populated_zone(zone))
			continue;

		low += low_wmark_pages(zone);
		free += zone_page_state(zone, NR_FREE_PAGES) -
			zone_page_state(zone, NR_FREE_CMA_PAGES);
		file += zone_page_state(zone, NR_ZONE_ACTIVE_FILE) +
			zone_page_state(zone, NR_ZONE_INACTIVE_FILE);
		anon += zone_page_state(zone, NR_ZONE_ACTIVE_ANON) +
			zone_page_state(zone, NR_ZONE_INACTIVE_ANON);
	}

	slab = node_page_state_pages(pgdat, NR_SLAB_RECLAIMABLE_B) +
	       node_page_state(pgdat, NR_KERNEL_MISC_RECLAIMABLE);
	free -= pgdat->totalreserve_pages;
	/* A part of both is in use and returns soon after it was reclaimed. */
	free += file - min(file / 2, low) + slab - min(slab / 2, low);

	return free + min(anon, get_nr_swap_pages()) >
	       (long)(SZ_2M >> PAGE_SHIFT);
}

#ifdef CONFIG_NUMA
/* True if all pages of the block have one policy, or none. */
static bool guest_memory_policy_uniform(struct inode *inode, pgoff_t start)
{
	struct shared_policy *policy = &GUEST_MEMORY_I(inode)->policy;
	pgoff_t end = start + GUEST_MEMORY_BLOCK_PAGES;
	bool uniform = true;
	struct rb_node *node;
	struct sp_node *range;

	/* Most files have none. */
	if (!READ_ONCE(policy->root.rb_node))
		return true;

	read_lock(&policy->lock);
	for (node = policy->root.rb_node; node; ) {
		range = rb_entry(node, struct sp_node, nd);
		if (end <= range->start) {
			node = node->rb_left;
		} else if (start >= range->end) {
			node = node->rb_right;
		} else {
			/* Ranges do not overlap. */
			uniform = range->start <= start && range->end >= end;
			break;
		}
	}
	read_unlock(&policy->lock);

	return uniform;
}

static int guest_memory_huge_node(struct inode *inode, pgoff_t start)
{
	struct mempolicy *policy, *shared;
	nodemask_t *nodes;
	int nid;

	shared = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   start);
	policy = shared ?: get_task_policy(current);
	nid = guest_memory_policy_node(inode, start >> GUEST_MEMORY_BLOCK_ORDER,
				       policy, &nodes);
	mpol_cond_put(shared);

	return nid;
}
#else
static bool guest_memory_policy_uniform(struct inode *inode, pgoff_t start)
{
	return true;
}

static int guest_memory_huge_node(struct inode *inode, pgoff_t start)
{
	return numa_mem_id();
}
#endif

static gfp_t guest_memory_huge_gfp(struct inode *inode,
				   enum guest_memory_reason reason)
{
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_COMP |
		    __GFP_NOMEMALLOC | __GFP_NOWARN | __GFP_NORETRY;

	/* The memory is there; the page cache needs a little for it. */
	if (guest_memory_only_huge(inode))
		return mapping_gfp_mask(inode->i_mapping) | __GFP_NOFAIL;

	/* kswapd and kcompactd prepare the next one. */
	if (reason != GUEST_MEMORY_POPULATE)
		gfp &= ~__GFP_DIRECT_RECLAIM;

	return gfp;
}

/* True if the block at @start may get 2 MiB, as far as that is known before. */
static bool guest_memory_want_huge(struct inode *inode, pgoff_t start)
{
	pgoff_t end = start + GUEST_MEMORY_BLOCK_PAGES;

	return end <= guest_memory_nr_pages(inode) &&
	       guest_memory_next_page(inode, start, end) == end &&
	       (guest_memory_only_huge(inode) ||
		guest_memory_policy_uniform(inode, start));
}

/* The memory of a hugetlb pool is not the memory cgroup's. */
static struct mem_cgroup *guest_memory_set_memcg(struct inode *inode)
{
#ifdef CONFIG_MEMCG
	if (guest_memory_only_huge(inode))
		return set_active_memcg(root_mem_cgroup);
#endif
	return NULL;
}

static void guest_memory_reset_memcg(struct inode *inode,
				     struct mem_cgroup *memcg)
{
	if (guest_memory_only_huge(inode))
		set_active_memcg(memcg);
}

/* Add @folio, which is zeroed, as the block at @start.  Passes it on. */
static bool guest_memory_insert_huge(struct inode *inode, struct folio *folio,
				     pgoff_t start, gfp_t gfp)
{
	struct address_space *mapping = inode->i_mapping;
	struct mem_cgroup *memcg;
	int r;

	filemap_invalidate_lock_shared(mapping);
	memcg = guest_memory_set_memcg(inode);
	r = guest_memory_add_folio(inode, folio, start, gfp);
	guest_memory_reset_memcg(inode, memcg);
	if (!r)
		guest_memory_set_whole(inode, folio, gfp);
	filemap_invalidate_unlock_shared(mapping);

	if (r == -ENOMEM)
		atomic_long_inc(&GUEST_MEMORY_I(inode)->fallbacks);
	if (r)
		guest_memory_discard_folio(inode, folio);
	else
		folio_put(folio);

	return !r;
}

/*
 * Nothing but the node that the policy prefers will do: a page of the right node is
 * better than a block of another.
 */
static struct folio *guest_memory_alloc_huge(struct inode *inode, pgoff_t start,
					     gfp_t gfp)
{
	int nid = guest_memory_huge_node(inode, start);
	struct folio *folio;

	folio = guest_memory_source(inode)->alloc_huge(inode, start, nid, gfp);
	if (!folio)
		atomic_long_inc(&GUEST_MEMORY_I(inode)->fallbacks);

	return folio;
}

/* The touched page last, so that it is in the cache. */
void guest_memory_clear_huge(struct page *page, pgoff_t index)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	clear_huge_page(page, index << PAGE_SHIFT,
			GUEST_MEMORY_BLOCK_PAGES);
#endif
}

/*
 * Fill the empty block around @index with 2 MiB.  Returns false if it does not get
 * them, and true if the caller should look again: others may have filled it.
 */
bool __guest_memory_add_huge(struct inode *inode, pgoff_t index,
			     enum guest_memory_reason reason)
{
	bool zero = guest_memory_source(inode)->zero_huge;
	pgoff_t start = round_down(index, GUEST_MEMORY_BLOCK_PAGES);
	gfp_t gfp = guest_memory_huge_gfp(inode, reason);
	struct mutex *lock = guest_memory_block_lock(inode, start);
	bool lock_first, added = false;
	struct folio *folio;

	/* Others may have been faster, which is as good if there is nothing else. */
	if (!guest_memory_want_huge(inode, start))
		return guest_memory_only_huge(inode);

	/*
	 * Allocation may take long, unlike zeroing.  Where what it returns is zero,
	 * and nobody waits for memory, that is the other way round.
	 */
	lock_first = guest_memory_only_huge(inode) ||
		     (!zero && !(gfp & __GFP_DIRECT_RECLAIM));
	if (lock_first) {
		mutex_lock(lock);
		if (!guest_memory_want_huge(inode, start)) {
			mutex_unlock(lock);
			return guest_memory_only_huge(inode) ||
			       xa_load(&inode->i_mapping->i_pages, index);
		}
	}

	folio = guest_memory_alloc_huge(inode, start, gfp);
	if (!lock_first)
		mutex_lock(lock);
	if (folio && guest_memory_want_huge(inode, start)) {
		if (zero && !want_init_on_alloc(gfp))
			guest_memory_clear_huge(&folio->page, index);
		added = guest_memory_insert_huge(inode, folio, start, gfp);
		folio = NULL;
	}
	mutex_unlock(lock);

	/* Others were faster, and it has no content. */
	if (folio && zero)
		folio_put(folio);
	else if (folio)
		guest_memory_discard_folio(inode, folio);

	return added || xa_load(&inode->i_mapping->i_pages, index);
}

/*
 * Copy to all of @folio, or to none of it as far as @from is concerned.  By way of
 * @bounce if the pages have no address.  With @atomic, @from is not faulted in: it may
 * be a mapping of this file, whose faults take the mutex that the caller holds.
 */
static bool guest_memory_copy_huge(struct folio *folio, struct iov_iter *from,
				   struct page *bounce, bool atomic)
{
	size_t copied = 0, n;
	struct page *page, *to;
	unsigned long i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i++) {
		page = folio_page(folio, i);
		to = bounce ?: page;
		n = atomic ? copy_page_from_iter_atomic(to, 0, PAGE_SIZE, from) :
			     copy_page_from_iter(to, 0, PAGE_SIZE, from);
		copied += n;
		if (bounce && n == PAGE_SIZE)
			guest_memory_write_page(page, 0, page_address(bounce),
						PAGE_SIZE);
		if (n < PAGE_SIZE || fatal_signal_pending(current)) {
			iov_iter_revert(from, copied);
			return false;
		}
		cond_resched();
	}

	return true;
}

/*
 * guest_memory_write_huge() for memory that is bound to the block, so that only one can
 * fill it at a time.  0: others have filled it; -EAGAIN: @from has to be faulted in
 * again; -EHWPOISON; -ENOMEM.
 */
static ssize_t guest_memory_write_bound(struct inode *inode, pgoff_t start,
					struct iov_iter *from,
					struct page *bounce)
{
	gfp_t gfp = guest_memory_huge_gfp(inode, GUEST_MEMORY_POPULATE);
	struct folio *folio;
	ssize_t r = 0;

	guest_memory_lock_block(inode, start);
	if (!guest_memory_want_huge(inode, start))
		goto out;

	r = -ENOMEM;
	folio = guest_memory_alloc_huge(inode, start, gfp);
	if (!folio)
		goto out;

	r = -EHWPOISON;
	if (!guest_memory_folio_has_poison(folio))
		r = guest_memory_copy_huge(folio, from, bounce, true) ?
		    SZ_2M : -EAGAIN;
	if (r < 0) {
		guest_memory_discard_folio(inode, folio);
	} else if (!guest_memory_insert_huge(inode, folio, start, gfp)) {
		iov_iter_revert(from, SZ_2M);
		r = 0;
	}
out:
	guest_memory_unlock_block(inode, start);

	return r;
}

static ssize_t guest_memory_write_only_huge(struct inode *inode, pgoff_t start,
					    struct iov_iter *from,
					    struct page *bounce)
{
	int tries = 0;
	ssize_t r;

	do {
		r = -EFAULT;
		if (fault_in_iov_iter_readable(from, SZ_2M))
			break;
		r = guest_memory_write_bound(inode, start, from, bounce);
	} while (r == -EAGAIN && ++tries < GUEST_MEMORY_COPY_TRIES);

	/* Shared memory can be written by pages. */
	if (r < 0 && !guest_memory_is_private(inode, start))
		return 0;

	return r == -EAGAIN ? -EFAULT : r;
}

/*
 * Write a whole block at once, if there is none at @pos and it may have 2 MiB.  The
 * content is complete before it enters the file, so that the pages may be private.
 * Without the mutex: the source may be a mapping of this file, whose faults take it.
 *
 * Returns what was written, or 0 if it has to be done by pages.
 */
ssize_t guest_memory_write_huge(struct inode *inode, loff_t pos,
				struct iov_iter *from, struct page *bounce)
{
	gfp_t gfp = guest_memory_huge_gfp(inode, GUEST_MEMORY_POPULATE);
	pgoff_t start = pos >> PAGE_SHIFT;
	struct folio *folio;

	if (!guest_memory_may_be_huge(inode) ||
	    !(GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_POPULATE) ||
	    !IS_ALIGNED(pos, SZ_2M) || iov_iter_count(from) < SZ_2M ||
	    signal_pending(current) ||
	    !guest_memory_want_huge(inode, start))
		return 0;

	if (guest_memory_only_huge(inode))
		return guest_memory_write_only_huge(inode, start, from, bounce);

	folio = guest_memory_alloc_huge(inode, start, gfp);
	if (!folio)
		return 0;

	if (!guest_memory_copy_huge(folio, from, bounce, false)) {
		guest_memory_discard_folio(inode, folio);
		return 0;
	}

	if (guest_memory_insert_huge(inode, folio, start, gfp))
		return SZ_2M;

	iov_iter_revert(from, SZ_2M);
	return 0;
}
