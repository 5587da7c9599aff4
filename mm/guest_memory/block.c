// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: blocks, the unit in which memory enters and leaves a file
 *
 * A block is a naturally aligned, physically contiguous run of pages that backs
 * the equally aligned range of a file.  This file is the only one that knows
 * where blocks come from and in which sizes; so far they are single pages
 * (order 0), of the buddy allocator or, if the file's memory is to be outside
 * the direct map, of the reserve (hidden/reserve.c).
 *
 * Invariants:
 *
 * - A block is zeroed before it enters the file: whoever finds a page in the
 *   page cache may show it to a guest or to the host.
 * - A block is zeroed again when it has left the file: what a guest wrote is not
 *   left to the next owner of the memory.  Whoever still has a reference, such
 *   as a device that the page is pinned for, or KVM in the middle of an access
 *   of its own, can write to it afterwards.  A poisoned page is not zeroed, because touching
 *   it would be fatal.  It keeps two references instead, so that it is not freed
 *   with guest data when the poison is cleared: that is refused.
 * - Nothing slow happens under the invalidate_lock: memory is allocated and
 *   zeroed before the lock is taken, and zeroed and freed after it was dropped.
 *   Faults wait for what others do under the lock, and while pages are being
 *   removed guests cannot reach the range.
 * - Folios are dirty from the beginning.  A clean one could be dropped behind
 *   our back, for example by an attempt to offline the page; if it is hidden,
 *   the page allocator would get it.
 */
#include <linux/guest_memory.h>
#include <linux/cpuset.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "../internal.h"
#include "hidden/hidden.h"
#include "internal.h"

/*
 * How many pages may leave a file before guests can reach the range again, and
 * before the memory is free.
 */
#define GUEST_MEMORY_REMOVE_BATCH	(SZ_16M >> PAGE_SHIFT)
/* How many pages are freed together. */
#define GUEST_MEMORY_FREE_BATCH		32

#ifdef CONFIG_NUMA
/* On its own for the sake of the stack: most files have no policy. */
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

#ifdef CONFIG_NUMA
/*
 * The node that @policy wants the page at @index on.  *@nodes is what else it
 * accepts, NULL for any.
 */
static int guest_memory_policy_node(struct inode *inode, pgoff_t index,
				    struct mempolicy *policy,
				    nodemask_t **nodes)
{
	int home = policy->home_node;
	int nid = numa_mem_id();
	nodemask_t mask;
	unsigned int nr;

	*nodes = NULL;

	/* A change of the task's cpuset may change the mask under our eyes. */
	mask = policy->nodes;
	barrier();
	nr = nodes_weight(mask);
	if (!nr)
		return nid;

	switch (policy->mode) {
	case MPOL_PREFERRED:
		nid = first_node(mask);
		break;
	case MPOL_INTERLEAVE:
		nid = first_node(mask);
		for (nr = (index + inode->i_ino) % nr; nr; nr--)
			nid = next_node_in(nid, mask);
		break;
	case MPOL_BIND:
		/* As everywhere: without a node that is allowed, all are. */
		if (!cpuset_nodemask_valid_mems_allowed(&mask))
			break;
		*nodes = &policy->nodes;
		fallthrough;
	case MPOL_PREFERRED_MANY:
		if (home != NUMA_NO_NODE)
			nid = home;
		if (!node_isset(nid, mask))
			nid = first_node(mask);
		break;
	}

	return nid;
}

static struct page *guest_memory_alloc_hidden(struct inode *inode,
					      pgoff_t index,
					      enum guest_memory_effort effort)
{
	struct mempolicy *policy, *shared;
	nodemask_t *nodes;
	struct page *page;
	int nid;

	shared = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   index);
	policy = shared ?: get_task_policy(current);

	nid = guest_memory_policy_node(inode, index, policy, &nodes);
	page = guest_memory_reserve_alloc(nid, nodes, effort);
	mpol_cond_put(shared);

	return page;
}
#else
static struct page *guest_memory_alloc_hidden(struct inode *inode,
					      pgoff_t index,
					      enum guest_memory_effort effort)
{
	return guest_memory_reserve_alloc(numa_mem_id(), NULL, effort);
}
#endif

/*
 * Allocate a zeroed folio for @index, or NULL.  The policy of the file wins
 * over that of the task, whichever path the allocation comes from.  @effort is
 * about memory outside the direct map.
 */
struct folio *guest_memory_alloc_folio(struct inode *inode, pgoff_t index,
				       enum guest_memory_effort effort)
{
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_ZERO;
#ifdef CONFIG_NUMA
	struct mempolicy *policy;
#endif

	if (guest_memory_hides(inode)) {
		struct page *page = guest_memory_alloc_hidden(inode, index,
							      effort);

		return page ? page_folio(page) : NULL;
	}
#ifdef CONFIG_NUMA
	policy = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   index);
	if (policy)
		return guest_memory_alloc_policy(inode, index, gfp, policy);
#endif
	return folio_alloc(gfp, 0);
}

/* Free a folio that did not become part of the file; it may have content. */
void guest_memory_discard_folio(struct inode *inode, struct folio *folio)
{
	if (guest_memory_hides(inode)) {
		folio->private = NULL;
		/* See guest_memory_collect(). */
		folio_get(folio);
		guest_memory_collect(folio);
		return;
	}

	/* A memory error may have hit it while it was in no file. */
	if (!folio_test_hwpoison(folio))
		folio_zero_segment(folio, 0, folio_size(folio));
	folio_put(folio);
}

/*
 * Make a folio that belongs to nobody part of the file.  -EEXIST: there is one
 * already.  The caller keeps its reference either way.
 */
static int guest_memory_add_folio(struct inode *inode, struct folio *folio,
				  pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;
	int r;

	lockdep_assert_held(&mapping->invalidate_lock);

	if (GUEST_MEMORY_I(inode)->closed)
		return -ENODEV;

	folio_mark_uptodate(folio);
	folio_set_dirty(folio);

	/* Charges the memory to the memcg of the current task. */
	r = filemap_add_folio(mapping, folio, index, mapping_gfp_mask(mapping));
	if (r)
		return r;

	folio_unlock(folio);
	guest_memory_account(inode, folio_nr_pages(folio));

	return 0;
}

/*
 * The folio at @index, with a reference.  It stays in the file as long as the
 * caller holds the invalidate_lock.  @found is what the caller has found there
 * without the lock, or NULL; its reference is passed on or dropped.  If there is
 * no folio, *@spare, which the caller has allocated for it, is made the one, and
 * is NULL then.
 *
 * -ENOENT: there is none, and no spare.  The caller drops the lock, allocates
 * one and tries again.
 */
struct folio *guest_memory_get_folio(struct inode *inode, pgoff_t index,
				     struct folio *found, struct folio **spare)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio;
	int r;

	lockdep_assert_held(&mapping->invalidate_lock);

	if (found) {
		/* What has left a file does not come back. */
		if (likely(found->mapping == mapping))
			return found;
		folio_put(found);
	}

	do {
		r = *spare ? guest_memory_add_folio(inode, *spare, index) :
			     -EEXIST;
		if (!r) {
			folio = *spare;
			*spare = NULL;
			return folio;
		}
		/* It will do, also if another would exceed the memory limit. */
		folio = filemap_get_folio(mapping, index);
		if (folio)
			return folio;
		if (r != -EEXIST)
			return ERR_PTR(r);
	} while (*spare);

	return ERR_PTR(-ENOENT);
}

/* For callers that hold no lock and have not found the folio. */
static struct folio *guest_memory_get_missing_folio(struct inode *inode,
						    pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio, *spare;

	spare = guest_memory_alloc_folio(inode, index, GUEST_MEMORY_MAKE);
	if (!spare)
		return ERR_PTR(-ENOMEM);

	filemap_invalidate_lock_shared(mapping);
	folio = guest_memory_get_folio(inode, index, NULL, &spare);
	filemap_invalidate_unlock_shared(mapping);

	if (unlikely(spare))
		guest_memory_discard_folio(inode, spare);

	return folio;
}

/* Turn the caller's reference to @folio into one to its page at @index. */
static int guest_memory_folio_pfn(struct folio *folio, pgoff_t index,
				  unsigned long *pfn)
{
	struct page *page = &folio->page;

	if (folio_test_large(folio))
		page = folio_file_page(folio, index);

	if (unlikely(PageHWPoison(page))) {
		folio_put(folio);
		return -EHWPOISON;
	}

	*pfn = page_to_pfn(page);
	return 0;
}

int guest_memory_find_pfn(struct inode *inode, pgoff_t index,
			  unsigned long *pfn)
{
	struct folio *folio = filemap_get_folio(inode->i_mapping, index);

	return folio ? guest_memory_folio_pfn(folio, index, pfn) : -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_find_pfn, GUEST_MEMORY);

int guest_memory_get_pfn(struct inode *inode, pgoff_t index, unsigned long *pfn,
			 unsigned int *order)
{
	struct folio *folio;

	*order = 0;

	/*
	 * A page that is present needs no lock: if it is being removed, the
	 * caller's own check against invalidation tells it to try again.
	 */
	folio = filemap_get_folio(inode->i_mapping, index);
	if (!folio)
		folio = guest_memory_get_missing_folio(inode, index);
	if (IS_ERR(folio))
		return PTR_ERR(folio);

	return guest_memory_folio_pfn(folio, index, pfn);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_get_pfn, GUEST_MEMORY);

/*
 * Take a batch of folios out of the file and put them in front of @list.  Each
 * keeps the reference of the batch.
 */
static struct folio *guest_memory_remove_batch(struct inode *inode,
					       struct folio_batch *batch,
					       struct folio *list)
{
	bool hidden = guest_memory_hides(inode);
	struct folio *folio;
	unsigned int i;

	/* In the order of their indices; nobody else holds more than one. */
	for (i = 0; i < folio_batch_count(batch); i++) {
		folio = batch->folios[i];
		/* Before the file's reference goes; see guest_memory_collect(). */
		if (hidden)
			folio_get(folio);
		folio_lock(folio);
		/* By a host fault that was under way. */
		if (folio_mapped(folio))
			unmap_mapping_folio(folio);
	}

	delete_from_page_cache_batch(inode->i_mapping, batch);

	for (i = 0; i < folio_batch_count(batch); i++) {
		folio = batch->folios[i];
		folio_unlock(folio);
		folio->private = list;
		list = folio;
	}

	return list;
}

/*
 * Take pages [start, end) out of the file.  The caller has made them unreachable
 * for guests and frees what is returned: a list linked by folio->private.
 */
static struct folio *guest_memory_remove_range(struct inode *inode,
					       pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long nrpages = mapping->nrpages;
	struct folio *list = NULL;
	struct folio_batch batch;

	lockdep_assert_held_write(&mapping->invalidate_lock);

	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &start, end - 1, &batch)) {
		list = guest_memory_remove_batch(inode, &batch, list);
		folio_batch_init(&batch);
		cond_resched();
	}
	guest_memory_account(inode, mapping->nrpages - nrpages);

	return list;
}

/*
 * A poisoned folio has left the file and is not freed: do what memory failure may
 * not have done.  The folio lock keeps the two apart.  One that is on no LRU list
 * has been through memory failure, or will be put back by whoever has it; that
 * must not happen to a folio that is not charged any more.
 */
void guest_memory_keep_poisoned(struct folio *folio)
{
	/* It may be in a batch. */
	lru_add_drain_all();

	folio_lock(folio);
	if (!folio_isolate_lru(folio)) {
		folio_put(folio);
		mem_cgroup_uncharge(folio);
	}
	folio_unlock(folio);
}

/* Zero and free folios that have left the file. */
static void guest_memory_free_folios(struct inode *inode, struct folio *list)
{
	struct page *pages[GUEST_MEMORY_FREE_BATCH];
	struct folio *folio;
	int nr = 0;

	if (guest_memory_hides(inode)) {
		guest_memory_collect(list);
		return;
	}

	while (list) {
		folio = list;
		list = folio->private;
		folio->private = NULL;

		if (folio_test_hwpoison(folio)) {
			folio_get(folio);
			guest_memory_keep_poisoned(folio);
			continue;
		}

		if (!want_init_on_free())
			folio_zero_segment(folio, 0, folio_size(folio));

		pages[nr++] = folio_page(folio, 0);
		if (nr == GUEST_MEMORY_FREE_BATCH) {
			release_pages(pages, nr);
			nr = 0;
			cond_resched();
		}
	}
	release_pages(pages, nr);
}

/* The first index in [start, end) at which there is a page, or @end. */
pgoff_t guest_memory_next_page(struct inode *inode, pgoff_t start, pgoff_t end)
{
	if (start < end &&
	    xa_find(&inode->i_mapping->i_pages, &start, end - 1, XA_PRESENT))
		return start;

	return end;
}

/*
 * Free all pages of a file that nobody uses any more.  In steps: whoever waits
 * for the memory of a large file need not wait for all of it.
 */
void guest_memory_remove_all(struct inode *inode)
{
	pgoff_t end = guest_memory_nr_pages(inode);
	pgoff_t start = 0, next;

	if (!inode->i_mapping->nrpages)
		return;

	while ((start = guest_memory_next_page(inode, start, end)) < end) {
		next = min(start + GUEST_MEMORY_REMOVE_BATCH, end);
		guest_memory_free_folios(inode,
					 guest_memory_remove_range(inode, start,
								   next));
		start = next;
	}
}

/* Take pages [start, end) out of the file, whoever uses them. */
static void guest_memory_punch_batch(struct inode *inode, pgoff_t start,
				     pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *list;

	filemap_invalidate_lock(mapping);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_begin(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	/*
	 * Once for all pages instead of one by one, and with even_cows set: it
	 * also clears the marks that a memory failure leaves in page tables, so
	 * that the host may use the new page.
	 */
	unmap_mapping_pages(mapping, start, end - start, true);
	list = guest_memory_remove_range(inode, start, end);
	/* A memory failure since then may have marked page tables anew. */
	if (READ_ONCE(GUEST_MEMORY_I(inode)->poisoned))
		unmap_mapping_pages(mapping, start, end - start, true);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_end(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	filemap_invalidate_unlock(mapping);

	/* Zeroing takes by far the longest, and keeps nobody waiting here. */
	guest_memory_free_folios(inode, list);
}

static long guest_memory_punch_hole(struct inode *inode, pgoff_t start,
				    pgoff_t end)
{
	pgoff_t next;

	end = min(end, guest_memory_nr_pages(inode));

	/* Where no page is, nobody can have mapped one: step over holes. */
	while ((start = guest_memory_next_page(inode, start, end)) < end) {
		if (fatal_signal_pending(current))
			return -EINTR;

		next = min(start + GUEST_MEMORY_REMOVE_BATCH, end);
		guest_memory_punch_batch(inode, start, next);
		start = next;
		cond_resched();
	}

	return 0;
}

/*
 * Allocate folios for the first indices in [*start, end) at which there is none.
 * *start becomes the index behind what is done then.
 */
static long guest_memory_alloc_batch(struct inode *inode, pgoff_t *start,
				     pgoff_t end, struct folio_batch *batch)
{
	struct folio *folio;

	for (; *start < end; ++*start) {
		cond_resched();
		if (signal_pending(current))
			return -EINTR;
		if (xa_load(&inode->i_mapping->i_pages, *start))
			continue;

		folio = guest_memory_alloc_folio(inode, *start,
						 GUEST_MEMORY_MAKE);
		if (!folio)
			return -ENOMEM;

		folio->index = *start;
		if (!folio_batch_add(batch, folio)) {
			++*start;
			break;
		}
	}

	return 0;
}

/* Add what guest_memory_alloc_batch() has allocated, as far as it goes. */
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
					   batch->folios[tried]->index);
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

/* Make sure that pages [start, end) are there, as far as it goes. */
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
