/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests share of memory that the kernel's direct map does not have:
 * looking at physical memory through the direct map, the figures by which the
 * kernel accounts for both, and on which node memory is.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H
#define SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H

#include <linux/mempolicy.h>

#include "guest_memfd_private.h"

/* Why no file can be kept out of the direct map, and for a program to end then. */
const char *gmem_no_direct_map_missing(void);
void gmem_require_no_direct_map(void);

/*
 * For what is to be tried with both kinds of memory, flags 0 and NO_DIRECT_MAP:
 * the last one that there is.
 */
uint64_t gmem_last_kind(void);

/* Kernel memory that can be read: what the direct map has for a page frame. */
const char *gmem_kcore_missing(void);
void gmem_kcore_read(uint64_t pfn, void *buf);

/*
 * A page is marked by a value in its first, its middle and its last word.  Count
 * in all of memory, as the kernel sees it, how many pages have one of the values
 * from @first on in one of these places.
 */
void gmem_mark(void *addr, size_t len, uint64_t val);
void gmem_kcore_count(uint64_t first, unsigned long *counts, int nr);

/* Memory errors: why there can be none, and what is known of a page frame. */
const char *gmem_cannot_corrupt(void);
void gmem_corrupt(uint64_t pfn);
int gmem_unpoison(uint64_t pfn);
bool gmem_is_poisoned(uint64_t pfn);

/* A line of /proc/meminfo, in KiB, or of /proc/vmstat; -1 if there is none. */
uint64_t gmem_meminfo(const char *key);
uint64_t gmem_vmstat(const char *key);

/* Wait until nobody has a reference to a page that has left its file. */
void gmem_wait_for_leaving(void);

/* Let the kernel give back what it only keeps for later use. */
void gmem_drop_caches(void);

/* Drop caches until MemFree, in KiB, is this large: freeing may take its time. */
void gmem_wait_for_free(uint64_t kib);

/*
 * The page frames behind hidden memory, which neither pagemap nor move_pages()
 * tells: from the tracepoint of the guest's faults.  A test begins to trace, lets
 * a guest fault in all pages, and asks then.  Returned is why one cannot trace.
 */
const char *gmem_trace_start(void);
uint64_t gmem_traced_pfn(uint64_t gpa);

/* Where memory is to be allocated, and is. */
long gmem_mbind(void *addr, size_t len, int mode, unsigned long nodes);
bool gmem_has_node(int node);
int gmem_node_of(uint64_t pfn);

/* The number of the memory block that a page frame is in; -1 if there are none. */
long gmem_memory_block(uint64_t pfn);

#endif /* SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H */
