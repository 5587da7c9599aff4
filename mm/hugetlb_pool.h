/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hugetlb pools: what hugetlb_lease.c uses of hugetlb.c
 */
#ifndef _MM_HUGETLB_POOL_H
#define _MM_HUGETLB_POOL_H

#include <linux/hugetlb.h>

int hugetlb_acct_memory(struct hstate *h, long delta);
struct page *dequeue_huge_page_node_exact(struct hstate *h, int nid);
struct page *dequeue_huge_page_nodemask(struct hstate *h, gfp_t gfp_mask,
					int nid, nodemask_t *nmask);
void destroy_compound_hugetlb_page_for_demote(struct page *page,
					      unsigned int order);
bool prep_compound_gigantic_page_for_demote(struct page *page,
					    unsigned int order);
void __prep_new_huge_page(struct hstate *h, struct page *page);

#endif /* _MM_HUGETLB_POOL_H */
