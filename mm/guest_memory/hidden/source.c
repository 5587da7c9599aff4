// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: the reserve as the source of a file's
 * memory
 *
 * Invariants:
 *
 * - The policy of the file takes precedence over that of the task, on every
 *   path that allocates.
 * - Host mappings are VM_PFNMAP: GUP refuses them, as it hands out pages to code
 *   that expects to find them in the direct map.
 * - A page that leaves its file gets another reference before the file's own is
 *   dropped.  It is never freed to the page allocator; see collect.c.
 * - A failed allocation ends a host fault with SIGBUS.  The OOM killer does not
 *   know which processes have hidden memory, and could not make any.
 */
#include <linux/guest_memory.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/seq_file.h>
#include <linux/topology.h>

#include "../internal.h"
#include "../policy.h"
#include "hidden.h"

#ifdef CONFIG_NUMA
static struct page *guest_memory_alloc_page(struct inode *inode, pgoff_t index,
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
static struct page *guest_memory_alloc_page(struct inode *inode, pgoff_t index,
					    enum guest_memory_effort effort)
{
	return guest_memory_reserve_alloc(numa_mem_id(), NULL, effort);
}
#endif

static int guest_memory_hidden_get(struct inode *inode)
{
	return guest_memory_reserve_get();
}

static void guest_memory_hidden_put(struct inode *inode)
{
	guest_memory_reserve_put();
}

static struct folio *guest_memory_hidden_alloc(struct inode *inode,
					       pgoff_t index,
					       enum guest_memory_effort effort)
{
	struct page *page = guest_memory_alloc_page(inode, index, effort);

	return page ? page_folio(page) : NULL;
}

void guest_memory_zero_hidden_page(struct page *page)
{
	guest_memory_zero_hidden(&page, 1);
}

static void guest_memory_hidden_leave(struct folio *folio)
{
	folio_get(folio);
}

static void guest_memory_hidden_free(struct inode *inode, struct folio *list)
{
	guest_memory_collect(list);
}

static void guest_memory_hidden_discard(struct inode *inode,
					struct folio *folio)
{
	folio->private = NULL;
	guest_memory_hidden_leave(folio);
	guest_memory_collect(folio);
}

static void guest_memory_hidden_show_fdinfo(struct seq_file *m,
					    struct inode *inode)
{
	seq_printf(m, "gmem-reserve:\t%llu\n",
		   (u64)guest_memory_reserve_nr_free() << PAGE_SHIFT);
}

const struct guest_memory_source_ops guest_memory_hidden_source = {
	.vm_flags	= VM_PFNMAP,
	.nomem		= VM_FAULT_SIGBUS,
	.get		= guest_memory_hidden_get,
	.put		= guest_memory_hidden_put,
	.alloc		= guest_memory_hidden_alloc,
	.alloc_huge	= guest_memory_hidden_alloc_huge,
	.zero_page	= guest_memory_zero_hidden_page,
	.discard	= guest_memory_hidden_discard,
	.leave		= guest_memory_hidden_leave,
	.free		= guest_memory_hidden_free,
	.show_fdinfo	= guest_memory_hidden_show_fdinfo,
};
