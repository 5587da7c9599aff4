/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Huge pages of a hugetlb pool, lent to somebody who uses them as memory of his own
 *
 * A lease stands for a number of pages.  They are reserved, and charged to the
 * hugetlb cgroup, when it is made, so that taking one does not fail for want of
 * memory.  While a page is out it counts as a page of the pool that is in use, but
 * nothing of hugetlb is left in its struct pages: they are those of single pages
 * without references.
 */
#ifndef _LINUX_HUGETLB_LEASE_H
#define _LINUX_HUGETLB_LEASE_H

#include <linux/list.h>
#include <linux/nodemask.h>
#include <linux/types.h>

struct hstate;
struct hugetlb_cgroup;
struct page;

/**
 * struct hugetlb_lease - a number of pages of a hugetlb pool
 * @h:		the pool, constant
 * @nr:		how many pages it is charged for, constant
 * @nr_reserved: those of them that are still in the pool
 * @h_cg:	the hugetlb cgroup that is charged for all, changed when it goes offline
 * @h_cg_rsvd:	the hugetlb cgroup whose reservations are charged, constant
 * @node:	entry in the list of all leases
 *
 * Guarded by hugetlb_lock.
 */
struct hugetlb_lease {
	struct hstate *h;
	unsigned long nr;
	unsigned long nr_reserved;
	struct hugetlb_cgroup *h_cg;
	struct hugetlb_cgroup *h_cg_rsvd;
	struct list_head node;
};

/**
 * hugetlb_pool_saves_memory() - test whether taking a page may need memory
 * @h:		the pool
 *
 * Context: any.
 * Return: true if struct pages of the pool may have to be restored first.
 */
bool hugetlb_pool_saves_memory(const struct hstate *h);

/**
 * hugetlb_lease_get() - make a lease
 * @lease:	the lease, uninitialised
 * @h:		the pool
 * @nr:		number of pages, at least 1
 *
 * As for a mapping of hugetlbfs, the pool may get surplus pages for it.
 *
 * Context: process, may sleep.
 * Return: 0; -ENOMEM if the pool or the cgroup has not that many.
 */
int hugetlb_lease_get(struct hugetlb_lease *lease, struct hstate *h,
		      unsigned long nr);

/**
 * hugetlb_lease_put() - end a lease
 * @lease:	a lease all of whose pages are back or lost
 *
 * Context: process, may sleep.
 */
void hugetlb_lease_put(struct hugetlb_lease *lease);

/**
 * hugetlb_lease_take() - take a page out of the pool
 * @lease:	a lease that has one left
 * @nid:	the preferred node
 * @nodes:	the other nodes that will do, nearest first, or NULL
 *
 * The reservation is for a page of any node.  So if there are none where the policy
 * and the cpuset of the task want them, it is one of any node.
 *
 * Context: process, may sleep.
 * Return: the first of the pages that the huge page consists of, whose content is
 * undefined; NULL if those in the pool have memory errors, or there is no memory for
 * struct pages that the pool had saved.
 */
struct page *hugetlb_lease_take(struct hugetlb_lease *lease, int nid,
				nodemask_t *nodes);

/**
 * hugetlb_lease_return() - return a page to the pool
 * @lease:	the lease
 * @page:	from hugetlb_lease_take(); none of its pages has a reference, a flag
 *		or a memory error
 *
 * The lease cannot take it again.
 *
 * Context: process, may sleep.
 */
void hugetlb_lease_return(struct hugetlb_lease *lease, struct page *page);

/**
 * hugetlb_lease_extend() - reserve another page instead of one that was lost
 * @lease:	the lease
 *
 * Context: process, may sleep.
 * Return: 0; -ENOMEM if the pool has none that is free.
 */
int hugetlb_lease_extend(struct hugetlb_lease *lease);

/**
 * hugetlb_lease_lose() - take a page off the pool for ever
 * @lease:	the lease
 * @page:	from hugetlb_lease_take(); the caller keeps the pages
 *
 * As when a page has a memory error.  The lease is charged for it all the same.
 *
 * Context: process, may sleep.
 */
void hugetlb_lease_lose(struct hugetlb_lease *lease, struct page *page);

#ifdef CONFIG_HUGETLB_LEASE
/**
 * hugetlb_lease_move_parent() - charge leases to another cgroup
 * @h_cg:	the cgroup that goes offline
 * @parent:	its parent
 *
 * Context: process.
 */
void hugetlb_lease_move_parent(struct hugetlb_cgroup *h_cg,
			       struct hugetlb_cgroup *parent);
#else
static inline void hugetlb_lease_move_parent(struct hugetlb_cgroup *h_cg,
					     struct hugetlb_cgroup *parent)
{
}
#endif

#endif /* _LINUX_HUGETLB_LEASE_H */
