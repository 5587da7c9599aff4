/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory outside the direct map: definitions shared by its files
 *
 *	source.c	the operations of the source
 *	chunk.c		chunks of 2 MiB leave the direct map and return to it
 *	reserve.c	free pages of chunks, by node
 *	huge.c		folios of a whole chunk
 *	collect.c	pages on the way from a file back to their chunk
 *	window.c	accesses of the kernel
 *	debugfs.c	statistics
 */
#ifndef _MM_GUEST_MEMORY_HIDDEN_H
#define _MM_GUEST_MEMORY_HIDDEN_H

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>

#define GUEST_MEMORY_CHUNK_SIZE		SZ_2M
#define GUEST_MEMORY_CHUNK_ORDER	(ilog2(GUEST_MEMORY_CHUNK_SIZE) - \
					 PAGE_SHIFT)
#define GUEST_MEMORY_CHUNK_PAGES	(GUEST_MEMORY_CHUNK_SIZE >> PAGE_SHIFT)

enum guest_memory_effort;
struct folio;
struct inode;
struct seq_file;

/**
 * struct guest_memory_chunk - 2 MiB outside the direct map
 * @node:	entry in a list of the reserve, if it has free pages
 * @page:	the first page, constant
 * @nr_free:	number of bits set in @free
 * @nr_lost:	quarantined pages, which have a memory error
 * @free:	pages that are zero and in no file
 *
 * All but @page is guarded by the lock of the node's reserve.
 */
struct guest_memory_chunk {
	struct list_head node;
	struct page *page;
	unsigned int nr_free;
	unsigned int nr_lost;
	DECLARE_BITMAP(free, GUEST_MEMORY_CHUNK_PAGES);
};

/* chunk.c */
int guest_memory_start_hiding(void);
struct guest_memory_chunk *guest_memory_find_chunk(struct page *page);
bool guest_memory_has_chunks(unsigned long first, unsigned long last);
unsigned int guest_memory_make_chunks(gfp_t gfp, int nid, unsigned int nr,
				      struct list_head *list);
bool guest_memory_drop_chunk(struct guest_memory_chunk *chunk);

bool guest_memory_chunk_poisoned(const struct guest_memory_chunk *chunk);

/* reserve.c */
struct page *guest_memory_reserve_alloc(int nid, nodemask_t *nodes,
					enum guest_memory_effort effort);
void guest_memory_reserve_free(struct page **pages, unsigned int nr);
struct page *guest_memory_reserve_alloc_chunk(int nid, gfp_t gfp);
void guest_memory_reserve_free_chunk(struct page *page);
void guest_memory_reserve_quarantine(struct page *page);
unsigned long guest_memory_reserve_nr_free(void);
long guest_memory_reserve_nr_failed(void);
void guest_memory_reserve_show(struct seq_file *m);

/* huge.c */
struct folio *guest_memory_hidden_alloc_huge(struct inode *inode, pgoff_t start,
					     int nid, gfp_t gfp);
void guest_memory_free_hidden_huge(struct folio *folio);

/* collect.c */

/* The references that a folio has from when it leaves its file until it is free. */
#define GUEST_MEMORY_OUR_REFS		2

void guest_memory_collect(struct folio *list);
unsigned long guest_memory_nr_leaving(void);

/* window.c */
void guest_memory_zero_hidden(struct page **pages, unsigned int nr);

#endif /* _MM_GUEST_MEMORY_HIDDEN_H */
