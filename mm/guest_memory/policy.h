/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: from NUMA policies to nodes
 *
 * Inlined, because each page of hidden memory asks.
 */
#ifndef _MM_GUEST_MEMORY_POLICY_H
#define _MM_GUEST_MEMORY_POLICY_H

#include <linux/cpuset.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/nodemask.h>
#include <linux/topology.h>

#ifdef CONFIG_NUMA
/*
 * The node that @policy prefers for the page, or block, at @index.  *@nodes are those that it
 * allows, NULL for all.
 */
static inline int guest_memory_policy_node(struct inode *inode, pgoff_t index,
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
#endif

#endif /* _MM_GUEST_MEMORY_POLICY_H */
