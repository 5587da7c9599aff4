/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory from hugetlb pools: definitions shared by its files
 *
 *	source.c	the operations of the sources
 *	pool.c		the pages that a file has of its pool
 *	remove.c	blocks leave the page cache
 */
#ifndef _MM_GUEST_MEMORY_HUGETLB_H
#define _MM_GUEST_MEMORY_HUGETLB_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/hugetlb_lease.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "../internal.h"

/**
 * struct guest_memory_pool_page - a page of the hugetlb pool
 * @page:	the first of its pages; NULL if it was not needed yet
 * @nr_whole:	how many of its blocks guests may map as one page
 * @lost:	there was one that was lost, and nothing is reserved instead; guarded by
 *		the lock of the pool
 */
struct guest_memory_pool_page {
	struct page *page;
	atomic_t nr_whole;
	bool lost;
};

/**
 * struct guest_memory_pool - what a file has of a hugetlb pool
 * @inode:	the file, constant
 * @lease:	all pages of the file, has its own lock
 * @order:	order of a page of the pool, constant
 * @nr:		number of such pages, constant
 * @lock:	guards the taking of pages
 * @nr_taken:	how many have been taken; written under @lock
 * @hidden:	all pages have been hidden, and others that are taken instead have to be;
 *		constant once the file exists
 * @dead:	the last user has left: no block leaves the pool any more.  Read under
 *		the mutex of a block
 * @ended:	all pages have been returned, and the lease is over
 * @used:	blocks that have been in the page cache, by index of the block
 * @clean:	blocks that are not in the page cache and zero, likewise; a bit of the
 *		two is guarded by the mutex of the block
 * @work:	removes what was in use when the last user left
 * @delay:	until it tries again, in jiffies
 * @node:	entry in the list of all of them, which has its own lock
 * @pages:	the pages, each bound to its range of the file
 */
struct guest_memory_pool {
	struct inode *inode;
	struct hugetlb_lease lease;
	unsigned int order;
	unsigned long nr;
	struct mutex lock;		/* of pages and nr_taken */
	unsigned long nr_taken;
	bool hidden;
	bool dead;
	bool ended;
	unsigned long *used;
	unsigned long *clean;
	struct delayed_work work;
	unsigned long delay;
	struct list_head node;
	struct guest_memory_pool_page pages[];
};

/* pool.c */
int guest_memory_pool_get(struct inode *inode);
void guest_memory_pool_put(struct inode *inode);
struct page *guest_memory_pool_find(struct inode *inode, pgoff_t start);
struct folio *guest_memory_pool_alloc(struct inode *inode, pgoff_t start,
				      int nid, gfp_t gfp);
void guest_memory_pool_discard(struct inode *inode, struct folio *folio);
void guest_memory_pool_clean(struct inode *inode, pgoff_t start, pgoff_t end);
bool guest_memory_pool_empty(struct inode *inode);

/* remove.c */
void guest_memory_pool_remove(struct inode *inode, pgoff_t start, pgoff_t end);
void guest_memory_pool_close(struct inode *inode);
void guest_memory_pool_close_work(struct work_struct *work);

#endif /* _MM_GUEST_MEMORY_HUGETLB_H */
