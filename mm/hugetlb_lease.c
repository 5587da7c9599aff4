// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of a hugetlb pool, lent to somebody who uses them as memory of his own
 *
 * Invariants:
 *
 * - A page that is out is on no list of the pool, but in nr_huge_pages: for whoever
 *   resizes the pool it is a page in use.  When it returns, free_huge_page() decides,
 *   as for any other, whether the pool keeps it.
 * - For the pages of a lease that are in the pool, resv_huge_pages has as many; no
 *   other lease or mapping can take them.
 * - The cgroup is charged for all pages of a lease at once, as long as it exists.  No
 *   page names the cgroup, so when that goes offline the leases are what is moved.
 */
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/hugetlb_lease.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/page_ref.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "hugetlb_pool.h"
#include "hugetlb_vmemmap.h"
#include "internal.h"

/* All leases; guarded by hugetlb_lock. */
static LIST_HEAD(hugetlb_leases);

bool hugetlb_pool_saves_memory(const struct hstate *h)
{
#ifdef CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP
	return hugetlb_vmemmap_optimizable(h) &&
	       static_key_enabled(&hugetlb_optimize_vmemmap_key);
#else
	return false;
#endif
}

int hugetlb_lease_get(struct hugetlb_lease *lease, struct hstate *h,
		      unsigned long nr)
{
	unsigned long nr_pages = nr * pages_per_huge_page(h);
	int idx = hstate_index(h);
	int r;

	lease->h = h;
	lease->nr = nr;
	lease->nr_reserved = nr;

	/* The reservation pins the cgroup, see hugetlb_cgroup_css_offline(). */
	r = hugetlb_cgroup_charge_cgroup_rsvd(idx, nr_pages, &lease->h_cg_rsvd);
	if (r)
		return r;

	r = hugetlb_cgroup_charge_cgroup(idx, nr_pages, &lease->h_cg);
	if (r)
		goto err_rsvd;

	r = hugetlb_acct_memory(h, nr);
	if (r)
		goto err_charge;

	spin_lock_irq(&hugetlb_lock);
	list_add(&lease->node, &hugetlb_leases);
	spin_unlock_irq(&hugetlb_lock);

	return 0;

err_charge:
	hugetlb_cgroup_uncharge_cgroup(idx, nr_pages, lease->h_cg);
err_rsvd:
	hugetlb_cgroup_uncharge_cgroup_rsvd(idx, nr_pages, lease->h_cg_rsvd);
	return r;
}

void hugetlb_lease_put(struct hugetlb_lease *lease)
{
	unsigned long nr_pages = lease->nr * pages_per_huge_page(lease->h);
	int idx = hstate_index(lease->h);

	hugetlb_acct_memory(lease->h, -(long)lease->nr_reserved);

	spin_lock_irq(&hugetlb_lock);
	list_del(&lease->node);
	hugetlb_cgroup_uncharge_cgroup(idx, nr_pages, lease->h_cg);
	spin_unlock_irq(&hugetlb_lock);

	hugetlb_cgroup_uncharge_cgroup_rsvd(idx, nr_pages, lease->h_cg_rsvd);
}

/* A page of any node, but rather of @nid, @nodes, and those of the cpuset. */
static struct page *hugetlb_lease_find(struct hstate *h, int nid,
				       nodemask_t *nodes)
{
	gfp_t gfp = htlb_alloc_mask(h);
	struct page *page = NULL;

	lockdep_assert_held(&hugetlb_lock);

	if (nodes)
		page = dequeue_huge_page_nodemask(h, gfp, nid, nodes);
	if (!page)
		page = dequeue_huge_page_nodemask(h, gfp, nid, NULL);
	if (page)
		return page;

	for_each_node_state(nid, N_MEMORY) {
		page = dequeue_huge_page_node_exact(h, nid);
		if (page)
			break;
	}

	return page;
}

/*
 * Take a page off the list of free ones; it has a reference then.  It will not be moved:
 * so take one that may have to be, of a movable zone or CMA, only if there is no other.
 */
static struct page *hugetlb_lease_dequeue(struct hugetlb_lease *lease, int nid,
					  nodemask_t *nodes)
{
	unsigned int pin = current->flags & PF_MEMALLOC_PIN;
	struct page *page = NULL;

	spin_lock_irq(&hugetlb_lock);
	if (lease->nr_reserved) {
		current->flags |= PF_MEMALLOC_PIN;
		page = hugetlb_lease_find(lease->h, nid, nodes);
		current->flags &= ~PF_MEMALLOC_PIN;
		if (!page)
			page = hugetlb_lease_find(lease->h, nid, nodes);
		current->flags |= pin;
	}
	if (page) {
		list_del_init(&page->lru);
		lease->nr_reserved--;
		lease->h->resv_huge_pages--;
	}
	spin_unlock_irq(&hugetlb_lock);

	return page;
}

/* The opposite. */
static void hugetlb_lease_putback(struct hugetlb_lease *lease,
				  struct page *page)
{
	spin_lock_irq(&hugetlb_lock);
	lease->nr_reserved++;
	spin_unlock_irq(&hugetlb_lock);

	folio_set_hugetlb_restore_reserve(page_folio(page));
	put_page(page);
}

/*
 * Make single pages without references of a page that has one.  False if it is not
 * known which of them has a memory error.
 */
static bool hugetlb_lease_break(struct hstate *h, struct page *page)
{
	bool known;
	unsigned long i;

	spin_lock_irq(&hugetlb_lock);
	known = !folio_test_hugetlb_raw_hwp_unreliable(page_folio(page));
	/* From the first page to those that have the errors. */
	if (known && unlikely(PageHWPoison(page)))
		hugetlb_clear_page_hwpoison(page);
	/* From now on, nobody takes it for a page of hugetlb. */
	if (known)
		set_compound_page_dtor(page, NULL_COMPOUND_DTOR);
	spin_unlock_irq(&hugetlb_lock);
	if (!known)
		return false;

	/* A pfn walker may hold a transient reference. */
	while (!page_ref_freeze(page, 1))
		cond_resched();
	destroy_compound_hugetlb_page_for_demote(page, huge_page_order(h));

	for (i = 0; i < pages_per_huge_page(h); i++) {
		struct page *p = nth_page(page, i);

		/* Atomic, as a memory error may be marked at any time. */
		set_mask_bits(&p->flags, PAGE_FLAGS_CHECK_AT_PREP, 0);
		INIT_LIST_HEAD(&p->lru);
		p->mapping = NULL;
		p->index = 0;
		set_page_private(p, 0);
		if (i % SWAP_CLUSTER_MAX == 0)
			cond_resched();
	}

	return true;
}

/* The memory is about to go offline, or to become a page of 1 GiB. */
static bool hugetlb_lease_isolated(struct hstate *h, struct page *page)
{
	unsigned long i;

	for (i = 0; i < pages_per_huge_page(h); i += pageblock_nr_pages)
		if (is_migrate_isolate_page(nth_page(page, i)))
			return true;

	return false;
}

static bool hugetlb_lease_prepare(struct hstate *h, struct page *page)
{
	return !hugetlb_vmemmap_restore(h, page) && hugetlb_lease_break(h, page);
}

struct page *hugetlb_lease_take(struct hugetlb_lease *lease, int nid,
				nodemask_t *nodes)
{
	struct page *page, *other, *next;
	struct hstate *h = lease->h;
	LIST_HEAD(others);

	/* There may be some whose struct pages the pool did not save. */
	while ((page = hugetlb_lease_dequeue(lease, nid, nodes))) {
		if (!hugetlb_lease_isolated(h, page) &&
		    hugetlb_lease_prepare(h, page))
			break;
		list_add(&page->lru, &others);
	}

	/* Rather memory that was to go offline than none: it has been promised. */
	list_for_each_entry_safe(other, next, &others, lru) {
		list_del_init(&other->lru);
		if (!page && hugetlb_lease_prepare(h, other))
			page = other;
		else
			hugetlb_lease_putback(lease, other);
	}

	return page;
}

void hugetlb_lease_return(struct hugetlb_lease *lease, struct page *page)
{
	struct hstate *h = lease->h;

	if (hstate_is_gigantic(h))
		prep_compound_gigantic_page_for_demote(page, huge_page_order(h));
	else
		prep_compound_page(page, huge_page_order(h));
	set_page_private(page, 0);
	__prep_new_huge_page(h, page);
	free_huge_page(page);
}

int hugetlb_lease_extend(struct hugetlb_lease *lease)
{
	int r = hugetlb_acct_memory(lease->h, 1);

	if (r)
		return r;

	spin_lock_irq(&hugetlb_lock);
	lease->nr_reserved++;
	spin_unlock_irq(&hugetlb_lock);

	return 0;
}

void hugetlb_lease_lose(struct hugetlb_lease *lease, struct page *page)
{
	struct hstate *h = lease->h;
	int nid = page_to_nid(page);

	spin_lock_irq(&hugetlb_lock);
	h->nr_huge_pages--;
	h->nr_huge_pages_node[nid]--;
	if (h->surplus_huge_pages_node[nid]) {
		h->surplus_huge_pages--;
		h->surplus_huge_pages_node[nid]--;
	} else {
		h->max_huge_pages--;
	}
	spin_unlock_irq(&hugetlb_lock);
}

#ifdef CONFIG_CGROUP_HUGETLB
void hugetlb_lease_move_parent(struct hugetlb_cgroup *h_cg,
			       struct hugetlb_cgroup *parent)
{
	struct hugetlb_lease *lease;

	spin_lock_irq(&hugetlb_lock);
	list_for_each_entry(lease, &hugetlb_leases, node) {
		if (lease->h_cg != h_cg)
			continue;

		/* The parent is charged already, for its children. */
		page_counter_cancel(&h_cg->hugepage[hstate_index(lease->h)],
				    lease->nr * pages_per_huge_page(lease->h));
		lease->h_cg = parent;
	}
	spin_unlock_irq(&hugetlb_lock);
}
#endif
