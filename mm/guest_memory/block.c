// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: blocks, the unit in which memory enters and leaves a file
 *
 * A block is a naturally aligned, physically contiguous run of pages that backs
 * the equally aligned range of a file.  This file is the only one that knows
 * where blocks come from and in which sizes; so far they are single pages
 * (order 0), of the buddy allocator or, if the file's memory is to be outside
 * the direct map, of the reserve (reserve.c).
 *
 * Invariants:
 *
 * - A block is zeroed before it enters the file: whoever finds a page in the
 *   page cache may show it to a guest or to the host.
 * - A block is zeroed again when it leaves the file: what a guest wrote is not
 *   left to the next owner of the memory.  Whoever still has a reference, such
 *   as a device that the page is pinned for, can write to it afterwards; that
 *   is not the guest any more.  Poisoned pages are not zeroed, because touching
 *   them would be fatal; the page allocator does not hand them out.
 * - Folios are dirty from the beginning.  A clean one could be dropped behind
 *   our back, for example by an attempt to offline the page; if it is hidden,
 *   the page allocator would get it.
 */
#include <linux/guest_memory.h>
#include <linux/cpuset.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "hidden.h"
#include "internal.h"

/* How many pages may be allocated or removed before others get a turn. */
#define GUEST_MEMORY_ALLOC_BATCH	(SZ_2M >> PAGE_SHIFT)
#define GUEST_MEMORY_REMOVE_BATCH	(SZ_1G >> PAGE_SHIFT)
/* How many hidden pages may have left a file before they are free memory. */
#define GUEST_MEMORY_COLLECT_BATCH	(SZ_16M >> PAGE_SHIFT)

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
					      pgoff_t index)
{
	struct mempolicy *policy, *shared;
	nodemask_t *nodes;
	struct page *page;
	int nid;

	shared = mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy,
					   index);
	policy = shared ?: get_task_policy(current);

	nid = guest_memory_policy_node(inode, index, policy, &nodes);
	page = guest_memory_reserve_alloc(nid, nodes);
	mpol_cond_put(shared);

	return page;
}
#else
static struct page *guest_memory_alloc_hidden(struct inode *inode,
					      pgoff_t index)
{
	return guest_memory_reserve_alloc(numa_mem_id(), NULL);
}
#endif

/*
 * Allocate a zeroed folio for @index, or NULL.  The policy of the file wins
 * over that of the task, whichever path the allocation comes from.
 */
struct folio *guest_memory_alloc_folio(struct inode *inode, pgoff_t index)
{
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_ZERO;
#ifdef CONFIG_NUMA
	struct mempolicy *policy;
#endif

	if (guest_memory_hides(inode)) {
		struct page *page = guest_memory_alloc_hidden(inode, index);

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
		guest_memory_collect(folio);
		return;
	}

	folio_zero_segment(folio, 0, folio_size(folio));
	folio_put(folio);
}

/*
 * Make a folio that belongs to nobody part of the file.  -EEXIST: somebody else
 * was faster.  The caller keeps its reference either way.
 */
int guest_memory_add_folio(struct inode *inode, struct folio *folio,
			   pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;
	int r;

	folio_mark_uptodate(folio);
	folio_set_dirty(folio);
	/* For guest_memory_free_folio(), which has no other way to know. */
	if (guest_memory_hides(inode))
		folio->private = inode;

	/* Charges the memory to the memcg of the current task. */
	r = filemap_add_folio(mapping, folio, index, mapping_gfp_mask(mapping));
	if (r)
		return r;

	folio_unlock(folio);
	guest_memory_account(inode, folio_nr_pages(folio));

	return 0;
}

/* Add a folio at @index; -EEXIST: somebody else did. */
static struct folio *guest_memory_new_folio(struct inode *inode, pgoff_t index)
{
	struct folio *folio;
	int r;

	lockdep_assert_held(&inode->i_mapping->invalidate_lock);

	if (GUEST_MEMORY_I(inode)->closed)
		return ERR_PTR(-ENODEV);

	folio = guest_memory_alloc_folio(inode, index);
	if (!folio)
		return ERR_PTR(-ENOMEM);

	r = guest_memory_add_folio(inode, folio, index);
	if (r) {
		guest_memory_discard_folio(inode, folio);
		return ERR_PTR(r);
	}

	return folio;
}

/*
 * Find the folio at @index, or add it.  The caller gets a reference; the folio
 * stays in the file as long as the caller holds the invalidate_lock.
 */
struct folio *guest_memory_get_folio(struct inode *inode, pgoff_t index)
{
	struct folio *folio;

	lockdep_assert_held(&inode->i_mapping->invalidate_lock);

	do {
		folio = filemap_get_folio(inode->i_mapping, index);
		if (!folio)
			folio = guest_memory_new_folio(inode, index);
	} while (folio == ERR_PTR(-EEXIST));

	return folio;
}

/* For those who have just looked and hold no lock yet. */
static struct folio *guest_memory_get_missing_folio(struct inode *inode,
						    pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio = ERR_PTR(-EEXIST);

	/* Who had to wait may have waited for those who added the page. */
	if (filemap_invalidate_trylock_shared(mapping))
		folio = guest_memory_new_folio(inode, index);
	else
		filemap_invalidate_lock_shared(mapping);

	if (folio == ERR_PTR(-EEXIST))
		folio = guest_memory_get_folio(inode, index);
	filemap_invalidate_unlock_shared(mapping);

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
 * Truncation does not free hidden pages, only leaves them behind.  In steps, so
 * that whoever waits for the memory of a large file need not wait for all of it.
 */
static void guest_memory_remove_hidden(struct inode *inode, pgoff_t start,
				       pgoff_t end)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	struct address_space *mapping = inode->i_mapping;
	pgoff_t next;

	while (start < end &&
	       xa_find(&mapping->i_pages, &start, end - 1, XA_PRESENT)) {
		next = min(start + GUEST_MEMORY_COLLECT_BATCH, end);
		truncate_inode_pages_range(mapping, (loff_t)start << PAGE_SHIFT,
					   ((loff_t)next << PAGE_SHIFT) - 1);
		guest_memory_collect(gi->removed);
		gi->removed = NULL;
		start = next;
	}
}

/*
 * Remove pages [start, end).  The caller has made them unreachable for guests;
 * truncation removes the mappings of the host, if there are any left.
 */
void guest_memory_remove_range(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long nrpages = mapping->nrpages;

	lockdep_assert_held_write(&mapping->invalidate_lock);

	if (!nrpages)
		return;

	if (guest_memory_hides(inode))
		guest_memory_remove_hidden(inode, start, end);
	else
		truncate_inode_pages_range(mapping,
					   (loff_t)start << PAGE_SHIFT,
					   ((loff_t)end << PAGE_SHIFT) - 1);
	guest_memory_account(inode, mapping->nrpages - nrpages);
}

/* The folio has left the file and is about to be freed; see the invariants. */
void guest_memory_free_folio(struct folio *folio)
{
	struct guest_memory_inode *gi;

	if (folio->private) {
		/* Not to the page allocator; guest_memory_remove_range() waits. */
		gi = GUEST_MEMORY_I(folio->private);
		folio_get(folio);
		folio->private = gi->removed;
		gi->removed = folio;
		return;
	}

	if (!folio_test_hwpoison(folio) && !want_init_on_free())
		folio_zero_segment(folio, 0, folio_size(folio));
}

/* Take pages [start, end) out of the file, whoever uses them. */
static void guest_memory_punch_batch(struct inode *inode, pgoff_t start,
				     pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;

	filemap_invalidate_lock(mapping);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_begin(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	/*
	 * Once for all pages instead of one by one in truncation, and with
	 * even_cows set: it also clears the marks that a memory failure leaves
	 * in page tables, so that the host may use the new page.
	 */
	unmap_mapping_pages(mapping, start, end - start, true);
	guest_memory_remove_range(inode, start, end);
	/* A memory failure since then may have marked page tables anew. */
	if (READ_ONCE(GUEST_MEMORY_I(inode)->poisoned))
		unmap_mapping_pages(mapping, start, end - start, true);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_invalidate_end(inode, start, end);
	guest_memory_unlock_bindings_shared(inode);

	filemap_invalidate_unlock(mapping);
}

static long guest_memory_punch_hole(struct inode *inode, pgoff_t start,
				    pgoff_t end)
{
	struct xarray *pages = &inode->i_mapping->i_pages;
	pgoff_t next;

	end = min(end, guest_memory_nr_pages(inode));

	/* Where no page is, nobody can have mapped one: step over holes. */
	while (start < end && xa_find(pages, &start, end - 1, XA_PRESENT)) {
		if (fatal_signal_pending(current))
			return -EINTR;

		next = min(start + GUEST_MEMORY_REMOVE_BATCH, end);
		guest_memory_punch_batch(inode, start, next);
		start = next;
		cond_resched();
	}

	return 0;
}

/* Make sure that pages [start, end) are there, as far as it goes. */
static long guest_memory_allocate_batch(struct inode *inode, pgoff_t start,
					pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio;
	long r = 0;

	filemap_invalidate_lock_shared(mapping);
	while (start < end) {
		if (signal_pending(current)) {
			r = -EINTR;
			break;
		}

		folio = guest_memory_get_folio(inode, start);
		if (IS_ERR(folio)) {
			r = PTR_ERR(folio);
			break;
		}
		start = folio_next_index(folio);
		folio_put(folio);
	}
	filemap_invalidate_unlock_shared(mapping);

	return r;
}

static long guest_memory_allocate(struct inode *inode, pgoff_t start,
				  pgoff_t end)
{
	pgoff_t next;
	long r = 0;

	if (end > guest_memory_nr_pages(inode))
		return -EINVAL;

	for (; start < end && !r; start = next) {
		next = min(start + GUEST_MEMORY_ALLOC_BATCH, end);
		r = guest_memory_allocate_batch(inode, start, next);
		cond_resched();
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
