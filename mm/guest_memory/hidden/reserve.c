// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: the reserve of each node
 *
 * Pages for files come out of chunks that are hidden already.  Taking a page
 * needs neither a change of the direct map nor a flush of TLBs; those are paid
 * once for a chunk, and by a worker for several chunks, while there are files
 * that may need them.
 *
 * Invariants:
 *
 * - A chunk is idle if all of its pages are free, and partial if some are.
 *   Partial ones are used up before an idle one.  A chunk without free pages is
 *   on no list; its pages find it by their pfn.
 * - A chunk with a quarantined page is never idle again: it is never returned to
 *   the page allocator.
 * - At most GUEST_MEMORY_RESERVE_HIGH chunks of a node are idle, and none if there
 *   is no file.  Memory pressure takes them as well.
 * - A new chunk of the right node is preferred to a free page of another node, as
 *   it serves many allocations to come.
 *
 * The lock of a reserve is the innermost one.  The mutexes are held while a chunk is
 * made for an allocation; they are taken without other locks of ours, but for the one
 * of the block that is being filled.
 */
#include <linux/cpuset.h>
#include <linux/guest_memory.h>
#include <linux/init.h>
#include <linux/memory.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/page_ref.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/suspend.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "hidden.h"

/* Idle chunks of a node: the worker fills up from LOW to BATCH. */
#define GUEST_MEMORY_RESERVE_LOW	2U
#define GUEST_MEMORY_RESERVE_BATCH	8U
#define GUEST_MEMORY_RESERVE_HIGH	16UL

/**
 * struct guest_memory_reserve - the chunks of a node that have free pages
 * @lock:	guards everything here, and the chunks of the node
 * @partial:	chunks with some free pages
 * @idle:	chunks with free pages only
 * @nr_idle:	length of @idle
 * @nr_chunks:	all chunks of the node
 * @nr_free:	free pages in all of them
 * @nr_lost:	quarantined pages in all of them
 * @refill:	makes new chunks
 * @making:	held while a chunk is made because there is no free page
 * @making_now:	likewise because there is no idle chunk, without reclaim
 * @nr_failed:	how often that failed, without and with all efforts; guarded by
 *		@making
 */
struct guest_memory_reserve {
	spinlock_t lock;		/* of all that follows, and of chunks */
	struct list_head partial;
	struct list_head idle;
	unsigned int nr_idle;
	unsigned long nr_chunks;
	unsigned long nr_free;
	unsigned long nr_lost;
	struct work_struct refill;
	struct mutex making;		/* of nr_failed */
	struct mutex making_now;
	unsigned int nr_failed[2];
};

static struct guest_memory_reserve *guest_memory_reserves __ro_after_init;

/* Files that have hidden memory, or may need some. */
static atomic_t guest_memory_hidden_files = ATOMIC_INIT(0);

/* Allocations that failed. */
static atomic_long_t guest_memory_nr_failed = ATOMIC_LONG_INIT(0);

/* An image of the memory is about to be made, see guest_memory_pm_notify(). */
static bool guest_memory_hibernating;

static struct guest_memory_reserve *guest_memory_reserve_of(struct page *page)
{
	return &guest_memory_reserves[page_to_nid(page)];
}

/* The number of free pages changed: move the chunk to the right list. */
static void guest_memory_sort_chunk(struct guest_memory_reserve *reserve,
				    struct guest_memory_chunk *chunk,
				    unsigned int old_free)
{
	lockdep_assert_held(&reserve->lock);

	if (old_free == GUEST_MEMORY_CHUNK_PAGES)
		reserve->nr_idle--;
	reserve->nr_free += chunk->nr_free;
	reserve->nr_free -= old_free;

	if (chunk->nr_free == GUEST_MEMORY_CHUNK_PAGES) {
		list_move(&chunk->node, &reserve->idle);
		reserve->nr_idle++;
	} else if (!chunk->nr_free) {
		list_del_init(&chunk->node);
	} else if (!old_free || old_free == GUEST_MEMORY_CHUNK_PAGES) {
		list_move(&chunk->node, &reserve->partial);
	}
}

/* A free page of @chunk is hwpoisoned: quarantine it. */
static void guest_memory_quarantine_free(struct guest_memory_reserve *reserve,
					 struct guest_memory_chunk *chunk,
					 unsigned int i)
{
	__clear_bit(i, chunk->free);
	guest_memory_sort_chunk(reserve, chunk, chunk->nr_free--);
	chunk->nr_lost++;
	reserve->nr_lost++;
}

/* Take a free page out of @chunk; NULL if that is hwpoisoned. */
static struct page *guest_memory_take_page(struct guest_memory_reserve *reserve,
					   struct guest_memory_chunk *chunk)
{
	unsigned int i = find_first_bit(chunk->free, GUEST_MEMORY_CHUNK_PAGES);
	struct page *page = chunk->page + i;

	lockdep_assert_held(&reserve->lock);

	if (unlikely(PageHWPoison(page))) {
		guest_memory_quarantine_free(reserve, chunk, i);
		return NULL;
	}

	__clear_bit(i, chunk->free);
	guest_memory_sort_chunk(reserve, chunk, chunk->nr_free--);
	page_ref_unfreeze(page, 1);

	return page;
}

/* Add new chunks, of any node.  If @take, return one of their free pages. */
static struct page *guest_memory_add_chunks(struct list_head *list, bool take)
{
	struct guest_memory_reserve *reserve;
	struct guest_memory_chunk *chunk, *next;
	struct page *page = NULL;

	list_for_each_entry_safe(chunk, next, list, node) {
		reserve = guest_memory_reserve_of(chunk->page);

		spin_lock(&reserve->lock);
		reserve->nr_chunks++;
		guest_memory_sort_chunk(reserve, chunk, 0);
		while (take && !page && chunk->nr_free)
			page = guest_memory_take_page(reserve, chunk);
		spin_unlock(&reserve->lock);
	}

	return page;
}

/* Quarantine the hwpoisoned pages of @chunk, if any: it is not idle then. */
static bool guest_memory_quarantine_chunk(struct guest_memory_reserve *reserve,
					  struct guest_memory_chunk *chunk)
{
	unsigned int i;

	lockdep_assert_held(&reserve->lock);

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) ||
	    !guest_memory_chunk_poisoned(chunk))
		return false;

	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++)
		if (PageHWPoison(chunk->page + i))
			guest_memory_quarantine_free(reserve, chunk, i);

	return true;
}

/* All pages of an idle chunk of node @nid, if there is one. */
static struct page *guest_memory_take_chunk(int nid)
{
	struct guest_memory_reserve *reserve = &guest_memory_reserves[nid];
	struct guest_memory_chunk *chunk;
	struct page *page = NULL;
	bool low;

	if (!cpuset_node_allowed(nid, GFP_HIGHUSER))
		return NULL;

	spin_lock(&reserve->lock);
	while (!page && !list_empty(&reserve->idle)) {
		chunk = list_first_entry(&reserve->idle,
					 struct guest_memory_chunk, node);
		if (guest_memory_quarantine_chunk(reserve, chunk))
			continue;

		bitmap_zero(chunk->free, GUEST_MEMORY_CHUNK_PAGES);
		chunk->nr_free = 0;
		guest_memory_sort_chunk(reserve, chunk, GUEST_MEMORY_CHUNK_PAGES);
		page = chunk->page;
	}
	low = reserve->nr_idle <= GUEST_MEMORY_RESERVE_LOW;
	spin_unlock(&reserve->lock);

	if (low)
		queue_work_node(nid, system_unbound_wq, &reserve->refill);

	return page;
}

/*
 * All pages of a chunk of node @nid, without references; NULL if there is none and
 * none can be made with @gfp.
 */
struct page *guest_memory_reserve_alloc_chunk(int nid, gfp_t gfp)
{
	struct guest_memory_reserve *reserve = &guest_memory_reserves[nid];
	struct page *page = guest_memory_take_chunk(nid);
	struct mutex *lock = &reserve->making_now;
	LIST_HEAD(list);

	/* Who does not reclaim must not wait for somebody who does. */
	if (gfp & __GFP_DIRECT_RECLAIM)
		lock = &reserve->making;
	if (page || !cpuset_node_allowed(nid, GFP_HIGHUSER) ||
	    mutex_lock_killable(lock))
		return page;

	page = guest_memory_take_chunk(nid);
	if (!page && guest_memory_make_chunks(gfp, nid, 1, &list)) {
		guest_memory_add_chunks(&list, false);
		page = guest_memory_take_chunk(nid);
	}
	mutex_unlock(lock);

	return page;
}

/* A page of node @nid, if its reserve has one. */
static struct page *guest_memory_take(int nid)
{
	struct guest_memory_reserve *reserve = &guest_memory_reserves[nid];
	struct guest_memory_chunk *chunk;
	struct page *page = NULL;
	struct list_head *list;
	bool low = true;

	if (!cpuset_node_allowed(nid, GFP_HIGHUSER))
		return NULL;

	spin_lock(&reserve->lock);
	while (!page) {
		list = list_empty(&reserve->partial) ? &reserve->idle :
						       &reserve->partial;
		chunk = list_first_entry_or_null(list, struct guest_memory_chunk,
						 node);
		if (!chunk)
			break;
		/* Checking once per chunk is enough. */
		low = list == &reserve->idle &&
		      reserve->nr_idle <= GUEST_MEMORY_RESERVE_LOW;
		page = guest_memory_take_page(reserve, chunk);
	}
	spin_unlock(&reserve->lock);

	if (low)
		queue_work_node(nid, system_unbound_wq, &reserve->refill);

	return page;
}

static struct page *guest_memory_take_any(const nodemask_t *nodes)
{
	struct page *page = NULL;
	int nid;

	for_each_node_mask(nid, *nodes) {
		page = guest_memory_take(nid);
		if (page)
			break;
	}

	return page;
}

/*
 * A page of a new chunk of node @nid, unless one has become free meanwhile.  With
 * @hard, the allocation may reclaim and compact.
 */
static struct page *guest_memory_make(int nid, bool hard)
{
	struct guest_memory_reserve *reserve = &guest_memory_reserves[nid];
	gfp_t gfp = GFP_HIGHUSER |
		    (hard ? __GFP_RETRY_MAYFAIL : __GFP_NORETRY);
	unsigned int nr_failed = READ_ONCE(reserve->nr_failed[hard]);
	struct page *page;
	LIST_HEAD(list);

	if (!cpuset_node_allowed(nid, GFP_HIGHUSER))
		return NULL;

	/* One chunk will do for many; each costs a flush of all TLBs. */
	if (mutex_lock_killable(&reserve->making))
		return NULL;

	page = guest_memory_take(nid);
	/*
	 * Do not repeat what failed while we waited.  Tasks that are being
	 * killed give up early, which says nothing about the node.
	 */
	if (!page && nr_failed == reserve->nr_failed[hard]) {
		if (guest_memory_make_chunks(gfp, nid, 1, &list))
			page = guest_memory_add_chunks(&list, true);
		else if (!fatal_signal_pending(current))
			WRITE_ONCE(reserve->nr_failed[hard], nr_failed + 1);
	}
	mutex_unlock(&reserve->making);

	return page;
}

/* A page of a new chunk of any of @nodes, the nearest to @nid first. */
static struct page *guest_memory_make_any(int nid, nodemask_t *nodes)
{
	struct zonelist *zonelist = node_zonelist(nid, GFP_HIGHUSER);
	struct page *page = NULL;
	int last = NUMA_NO_NODE;
	struct zoneref *z;
	struct zone *zone;

	for_each_zone_zonelist_nodemask(zone, z, zonelist,
					gfp_zone(GFP_HIGHUSER), nodes) {
		if (zone_to_nid(zone) == last)
			continue;

		last = zone_to_nid(zone);
		page = guest_memory_make(last, true);
		if (page || fatal_signal_pending(current))
			break;
	}

	return page;
}

/* No free page on the node.  Not inlined, to keep the fast path short. */
static noinline struct page *
guest_memory_alloc_slow(int nid, nodemask_t *nodes,
			enum guest_memory_effort effort)
{
	const nodemask_t *all = nodes ?: &node_states[N_MEMORY];
	struct page *page = NULL;

	if (effort == GUEST_MEMORY_TAKE_ANY)
		return guest_memory_take_any(all);

	if (node_isset(nid, *all))
		page = guest_memory_make(nid, false);
	if (!page)
		page = guest_memory_take_any(all);
	if (!page)
		page = guest_memory_make_any(nid, nodes);
	/* Some may have been freed meanwhile. */
	if (!page)
		page = guest_memory_take_any(all);
	if (!page)
		atomic_long_inc(&guest_memory_nr_failed);

	return page;
}

/*
 * Take a page of node @nid, or else of one of @nodes, or of any node if that is
 * NULL.  It is hidden, zero, and has one reference.
 */
struct page *guest_memory_reserve_alloc(int nid, nodemask_t *nodes,
					enum guest_memory_effort effort)
{
	struct page *page = guest_memory_take(nid);

	if (likely(page) || effort == GUEST_MEMORY_TAKE)
		return page;

	return guest_memory_alloc_slow(nid, nodes, effort);
}

/* How many chunks of a node may be idle. */
static unsigned int guest_memory_reserve_high(int nid)
{
	if (!atomic_read(&guest_memory_hidden_files))
		return 0;

	return min(GUEST_MEMORY_RESERVE_HIGH,
		   node_present_pages(nid) >> (GUEST_MEMORY_CHUNK_ORDER + 6));
}

/* Take an idle chunk off the reserve if there are more than @keep. */
static struct guest_memory_chunk *
guest_memory_take_idle(struct guest_memory_reserve *reserve, unsigned int keep)
{
	struct guest_memory_chunk *chunk = NULL;

	spin_lock(&reserve->lock);
	if (reserve->nr_idle > keep) {
		chunk = list_last_entry(&reserve->idle,
					struct guest_memory_chunk, node);
		list_del_init(&chunk->node);
		reserve->nr_idle--;
		reserve->nr_chunks--;
		reserve->nr_free -= GUEST_MEMORY_CHUNK_PAGES;
	}
	spin_unlock(&reserve->lock);

	return chunk;
}

/*
 * A chunk that cannot be destroyed: quarantine its hwpoisoned pages.  It is not
 * idle then, and guest_memory_trim() does not find it again.
 */
static void guest_memory_return_idle(struct guest_memory_reserve *reserve,
				     struct guest_memory_chunk *chunk)
{
	unsigned int i;

	spin_lock(&reserve->lock);
	reserve->nr_chunks++;
	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++) {
		if (!PageHWPoison(chunk->page + i))
			continue;
		__clear_bit(i, chunk->free);
		chunk->nr_free--;
		chunk->nr_lost++;
		reserve->nr_lost++;
	}
	guest_memory_sort_chunk(reserve, chunk, 0);
	spin_unlock(&reserve->lock);
}

/* Destroy idle chunks until @keep are left, at most @nr. */
static unsigned long guest_memory_trim(struct guest_memory_reserve *reserve,
				       unsigned int keep, unsigned long nr)
{
	struct guest_memory_chunk *chunk;
	unsigned long done = 0;

	while (done < nr) {
		chunk = guest_memory_take_idle(reserve, keep);
		if (!chunk)
			break;

		if (guest_memory_drop_chunk(chunk))
			done++;
		else
			guest_memory_return_idle(reserve, chunk);
		cond_resched();
	}

	return done;
}

/* Return pages that are zero and have no references. */
void guest_memory_reserve_free(struct page **pages, unsigned int nr)
{
	struct guest_memory_reserve *reserve;
	struct guest_memory_chunk *chunk;
	unsigned int i;
	unsigned int high;

	for (i = 0; i < nr; i++) {
		VM_WARN_ON_ONCE_PAGE(page_ref_count(pages[i]), pages[i]);

		reserve = guest_memory_reserve_of(pages[i]);
		chunk = guest_memory_find_chunk(pages[i]);
		high = guest_memory_reserve_high(page_to_nid(pages[i]));

		spin_lock(&reserve->lock);
		__set_bit(pages[i] - chunk->page, chunk->free);
		guest_memory_sort_chunk(reserve, chunk, chunk->nr_free++);
		spin_unlock(&reserve->lock);

		if (READ_ONCE(reserve->nr_idle) > high)
			guest_memory_trim(reserve, high, ULONG_MAX);
	}
}

/* Return all pages of a chunk, beginning with @page: zero and without references. */
void guest_memory_reserve_free_chunk(struct page *page)
{
	struct guest_memory_reserve *reserve = guest_memory_reserve_of(page);
	struct guest_memory_chunk *chunk = guest_memory_find_chunk(page);
	unsigned int high = guest_memory_reserve_high(page_to_nid(page));

	spin_lock(&reserve->lock);
	bitmap_fill(chunk->free, GUEST_MEMORY_CHUNK_PAGES);
	chunk->nr_free = GUEST_MEMORY_CHUNK_PAGES;
	guest_memory_sort_chunk(reserve, chunk, 0);
	spin_unlock(&reserve->lock);

	if (READ_ONCE(reserve->nr_idle) > high)
		guest_memory_trim(reserve, high, ULONG_MAX);
}

/* Quarantine a hwpoisoned page that has left its file. */
void guest_memory_reserve_quarantine(struct page *page)
{
	struct guest_memory_reserve *reserve = guest_memory_reserve_of(page);

	spin_lock(&reserve->lock);
	guest_memory_find_chunk(page)->nr_lost++;
	reserve->nr_lost++;
	spin_unlock(&reserve->lock);
}

static void guest_memory_refill(struct work_struct *work)
{
	struct guest_memory_reserve *reserve =
		container_of(work, struct guest_memory_reserve, refill);
	int nid = reserve - guest_memory_reserves;
	unsigned int high = guest_memory_reserve_high(nid);
	unsigned int want = min(high, GUEST_MEMORY_RESERVE_BATCH);
	unsigned int idle = READ_ONCE(reserve->nr_idle);
	LIST_HEAD(list);

	if (idle > high)
		guest_memory_trim(reserve, high, ULONG_MAX);
	else if (idle < want &&
		 guest_memory_make_chunks(GFP_HIGHUSER | __GFP_NORETRY, nid,
					  want - idle, &list))
		guest_memory_add_chunks(&list, false);
}

/*
 * A file that needs hidden memory is being created.  -EBUSY: the machine is about
 * to hibernate.
 */
int guest_memory_reserve_get(void)
{
	int r = guest_memory_start_hiding();

	if (r)
		return r;

	atomic_inc(&guest_memory_hidden_files);
	/* Pairs with guest_memory_pm_notify(): one of the two sees the other. */
	smp_mb__after_atomic();
	if (READ_ONCE(guest_memory_hibernating)) {
		guest_memory_reserve_put();
		return -EBUSY;
	}

	return 0;
}

/* The file is gone.  Without files no idle chunks are kept. */
void guest_memory_reserve_put(void)
{
	int nid;

	if (!atomic_dec_and_test(&guest_memory_hidden_files))
		return;

	for_each_node_state(nid, N_MEMORY)
		queue_work_node(nid, system_unbound_wq,
				&guest_memory_reserves[nid].refill);
}

bool guest_memory_hidden_active(void)
{
	return atomic_read(&guest_memory_hidden_files) ||
	       guest_memory_has_chunks(0, ULONG_MAX);
}

static void guest_memory_trim_all(void)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		guest_memory_trim(&guest_memory_reserves[nid], 0, ULONG_MAX);
}

unsigned long guest_memory_reserve_nr_free(void)
{
	unsigned long nr = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY)
		nr += READ_ONCE(guest_memory_reserves[nid].nr_free);

	return nr;
}

/*
 * An image for hibernation would have the pages.  hibernation_available() refuses
 * while there are any; files that are made later, but before the image, are
 * refused here.
 */
static int guest_memory_pm_notify(struct notifier_block *nb,
				  unsigned long action, void *data)
{
	int nid;

	switch (action) {
	case PM_HIBERNATION_PREPARE:
		WRITE_ONCE(guest_memory_hibernating, true);
		/* Pairs with guest_memory_reserve_get(). */
		smp_mb();
		/* The worker may still be making chunks for a file that is gone. */
		for_each_node_state(nid, N_MEMORY)
			flush_work(&guest_memory_reserves[nid].refill);
		if (!atomic_read(&guest_memory_hidden_files))
			guest_memory_trim_all();
		if (!guest_memory_hidden_active())
			break;

		/* A notifier that refuses gets no PM_POST_HIBERNATION. */
		WRITE_ONCE(guest_memory_hibernating, false);
		return notifier_from_errno(-EBUSY);
	case PM_POST_HIBERNATION:
		WRITE_ONCE(guest_memory_hibernating, false);
		break;
	}

	return NOTIFY_OK;
}

/*
 * Free pages of chunks have no references, as if they were about to be freed:
 * offlining would wait for them forever.
 */
static int guest_memory_going_offline(struct notifier_block *nb,
				      unsigned long action, void *data)
{
	const struct memory_notify *range = data;

	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_OK;

	guest_memory_trim_all();

	if (guest_memory_has_chunks(range->start_pfn,
				    range->start_pfn + range->nr_pages - 1))
		return notifier_from_errno(-EBUSY);

	return NOTIFY_OK;
}

static unsigned long guest_memory_count_idle(struct shrinker *shrinker,
					     struct shrink_control *sc)
{
	unsigned long nr = READ_ONCE(guest_memory_reserves[sc->nid].nr_idle);

	return nr ? nr * GUEST_MEMORY_CHUNK_PAGES : SHRINK_EMPTY;
}

static unsigned long guest_memory_shrink_idle(struct shrinker *shrinker,
					      struct shrink_control *sc)
{
	unsigned long nr = DIV_ROUND_UP(sc->nr_to_scan,
					GUEST_MEMORY_CHUNK_PAGES);

	nr = guest_memory_trim(&guest_memory_reserves[sc->nid], 0, nr);
	return nr ? nr * GUEST_MEMORY_CHUNK_PAGES : SHRINK_STOP;
}

static struct shrinker guest_memory_shrinker = {
	.count_objects	= guest_memory_count_idle,
	.scan_objects	= guest_memory_shrink_idle,
	.seeks		= DEFAULT_SEEKS,
	.batch		= GUEST_MEMORY_CHUNK_PAGES,
	.flags		= SHRINKER_NUMA_AWARE,
};

void guest_memory_reserve_show(struct seq_file *m)
{
	struct guest_memory_reserve *reserve;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		reserve = &guest_memory_reserves[nid];

		spin_lock(&reserve->lock);
		seq_printf(m, "node %d: chunks %lu idle %u free %lu lost %lu\n",
			   nid, reserve->nr_chunks, reserve->nr_idle,
			   reserve->nr_free, reserve->nr_lost);
		spin_unlock(&reserve->lock);
	}
}

long guest_memory_reserve_nr_failed(void)
{
	return atomic_long_read(&guest_memory_nr_failed);
}

static int __init guest_memory_reserve_init(void)
{
	int nid;

	guest_memory_reserves = kcalloc(nr_node_ids,
					sizeof(*guest_memory_reserves),
					GFP_KERNEL | __GFP_NOFAIL);
	for (nid = 0; nid < nr_node_ids; nid++) {
		spin_lock_init(&guest_memory_reserves[nid].lock);
		INIT_LIST_HEAD(&guest_memory_reserves[nid].partial);
		INIT_LIST_HEAD(&guest_memory_reserves[nid].idle);
		INIT_WORK(&guest_memory_reserves[nid].refill,
			  guest_memory_refill);
		mutex_init(&guest_memory_reserves[nid].making);
		mutex_init(&guest_memory_reserves[nid].making_now);
	}

	hotplug_memory_notifier(guest_memory_going_offline, 0);
	pm_notifier(guest_memory_pm_notify, 0);

	return register_shrinker(&guest_memory_shrinker, "guest_memory");
}
fs_initcall(guest_memory_reserve_init);
