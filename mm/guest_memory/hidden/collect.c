// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: pages on the way back to their chunk
 *
 * The page allocator must never get a hidden page.  So a page that leaves its
 * file keeps references, ours, and is freed here: taken off the LRU list,
 * uncharged, zeroed, and then a free page of its chunk.
 *
 * Invariants:
 *
 * - A page is zeroed while it has no references and cannot get any: nothing is
 *   written to it afterwards.
 * - Transient references (a per-CPU LRU batch, compaction) only delay this: such
 *   pages wait for a worker that checks again.
 * - A hwpoisoned page is neither touched nor freed.
 * - A folio of a whole chunk is split, or freed as a whole.
 * - From the moment it leaves its file a page has two references of ours.
 *   Unpoisoning drops a reference, and is refused if there are more; memory
 *   failure may not have taken one of its own.  So the page is never freed to
 *   the page allocator.
 *
 * Pages in a list are linked by folio->private.
 */
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "../../internal.h"
#include "../internal.h"
#include "hidden.h"

/* How long to wait for references of others to go: 20 ms, then ever longer. */
#define GUEST_MEMORY_COLLECT_DELAY	DIV_ROUND_UP(HZ, 50)
#define GUEST_MEMORY_COLLECT_DELAY_MAX	(2UL * HZ)

static void guest_memory_collect_again(struct work_struct *work);

/* Pages with other references; the number includes those the worker has. */
static DEFINE_SPINLOCK(guest_memory_waiting_lock);
static struct folio *guest_memory_waiting;
static unsigned long guest_memory_nr_waiting;
static unsigned long guest_memory_waiting_delay = GUEST_MEMORY_COLLECT_DELAY;
static DECLARE_DELAYED_WORK(guest_memory_waiting_work,
			    guest_memory_collect_again);

/* Pages without other references, to be freed together. */
struct guest_memory_gather {
	struct page *pages[GUEST_MEMORY_WINDOW_PAGES];
	unsigned int nr;
};

unsigned long guest_memory_nr_leaving(void)
{
	return READ_ONCE(guest_memory_nr_waiting);
}

/*
 * Freeze the references of @folio and take it off the LRU.  False if it has
 * references besides ours.
 */
static bool guest_memory_claim_folio(struct folio *folio)
{
	do {
		if (folio_test_lru(folio)) {
			if (folio_isolate_lru(folio))
				return false;
			folio_put(folio);
		}

		if (!folio_ref_freeze(folio, GUEST_MEMORY_OUR_REFS))
			return false;

		/* A batch may have been drained between the two. */
		if (likely(!folio_test_lru(folio)))
			return true;
		folio_ref_unfreeze(folio, GUEST_MEMORY_OUR_REFS);
	} while (true);
}

/* The counterpart of free_unref_page_list(). */
static void guest_memory_free_gathered(struct guest_memory_gather *gather)
{
	struct page *page;
	unsigned int i;
	LIST_HEAD(list);

	if (!gather->nr)
		return;

	for (i = 0; i < gather->nr; i++)
		list_add(&gather->pages[i]->lru, &list);
	mem_cgroup_uncharge_list(&list);

	for (i = 0; i < gather->nr; i++) {
		page = gather->pages[i];
		/* Atomic, as a memory error may be marked at any time. */
		set_mask_bits(&page->flags, PAGE_FLAGS_CHECK_AT_PREP, 0);
		INIT_LIST_HEAD(&page->lru);
		set_page_private(page, 0);
	}

	guest_memory_zero_hidden(gather->pages, gather->nr);
	guest_memory_reserve_free(gather->pages, gather->nr);
	gather->nr = 0;
}

static void guest_memory_quarantine_folio(struct folio *folio)
{
	guest_memory_keep_poisoned(folio);
	guest_memory_reserve_quarantine(&folio->page);
}

/* Look at pages again after @delay (jiffies), or earlier if others wait too. */
static void guest_memory_wait_for(struct folio *first, struct folio *last,
				  unsigned long nr, unsigned long delay)
{
	spin_lock(&guest_memory_waiting_lock);
	/*
	 * Only ever shorten the delay.  If every new page restarted it, no page
	 * would be checked while pages keep coming.
	 */
	if (!guest_memory_waiting || delay < guest_memory_waiting_delay) {
		guest_memory_waiting_delay = delay;
		mod_delayed_work(system_unbound_wq, &guest_memory_waiting_work,
				 delay);
	}
	last->private = guest_memory_waiting;
	guest_memory_waiting = first;
	guest_memory_nr_waiting += nr;
	spin_unlock(&guest_memory_waiting_lock);
}

/* Free the pages of @list; check those in use again after @delay (jiffies). */
static void guest_memory_collect_or_wait(struct folio *list,
					 unsigned long delay)
{
	struct guest_memory_gather gather = {};
	struct folio *folio, *busy = NULL, *last = NULL;
	unsigned long nr_busy = 0;

	while (list) {
		folio = list;
		list = folio->private;

		if (!folio_test_large(folio) && folio_test_hwpoison(folio)) {
			guest_memory_quarantine_folio(folio);
			continue;
		}

		if (!guest_memory_claim_folio(folio)) {
			folio->private = busy;
			busy = folio;
			last = last ?: folio;
			nr_busy += folio_nr_pages(folio);
			cond_resched();
			continue;
		}

		if (folio_test_large(folio)) {
			guest_memory_free_hidden_huge(folio);
			cond_resched();
			continue;
		}

		gather.pages[gather.nr++] = &folio->page;
		if (gather.nr == GUEST_MEMORY_WINDOW_PAGES) {
			guest_memory_free_gathered(&gather);
			cond_resched();
		}
	}

	guest_memory_free_gathered(&gather);
	if (busy)
		guest_memory_wait_for(busy, last, nr_busy, delay);
}

void guest_memory_collect(struct folio *list)
{
	guest_memory_collect_or_wait(list, GUEST_MEMORY_COLLECT_DELAY);
}

static void guest_memory_collect_again(struct work_struct *work)
{
	unsigned long delay, nr;
	struct folio *list;

	spin_lock(&guest_memory_waiting_lock);
	list = guest_memory_waiting;
	guest_memory_waiting = NULL;
	nr = guest_memory_nr_waiting;
	delay = guest_memory_waiting_delay;
	spin_unlock(&guest_memory_waiting_lock);

	/* Usually it is the reference of a per-CPU LRU batch. */
	lru_add_drain_all();
	delay = min(2 * delay, GUEST_MEMORY_COLLECT_DELAY_MAX);
	guest_memory_collect_or_wait(list, delay);

	/* Drop the count last, so that pages being processed remain counted. */
	spin_lock(&guest_memory_waiting_lock);
	guest_memory_nr_waiting -= nr;
	spin_unlock(&guest_memory_waiting_lock);
}
