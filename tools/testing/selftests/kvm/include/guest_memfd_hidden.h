/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of memory outside the kernel's direct map: reading
 * physical memory through the direct map, injecting memory errors, the kernel's
 * memory statistics, and finding the pfn and the node of a page.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H
#define SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H

#include <linux/mempolicy.h>

#include "guest_memfd_private.h"

/* Why NO_DIRECT_MAP is unavailable, or NULL; and skip the program if it is. */
const char *gmem_no_direct_map_missing(void);
void gmem_require_no_direct_map(void);

/*
 * For loops over both kinds of memory, flags 0 and NO_DIRECT_MAP: the last kind
 * that is supported.
 */
uint64_t gmem_last_kind(void);

/* Read a page frame through the direct map, or why that is not possible. */
const char *gmem_kcore_missing(void);
void gmem_kcore_read(uint64_t pfn, void *buf);

/*
 * gmem_mark() marks pages with the complement of a value in their first, middle and last
 * word.  So a mark is only where it was written: a copy of the value on a stack, which has
 * a random place in its page, is not a mark.
 * gmem_kcore_count() reads all memory through the direct map and counts the
 * pages with a mark in one of these places, for each of @nr values from @first
 * on.
 */
void gmem_mark(void *addr, size_t len, uint64_t val);
void gmem_kcore_count(uint64_t first, unsigned long *counts, int nr);

/* Memory errors: why they cannot be injected, and the state of a page frame. */
const char *gmem_cannot_corrupt(void);
void gmem_corrupt(uint64_t pfn);
int gmem_unpoison(uint64_t pfn);
bool gmem_is_poisoned(uint64_t pfn);

/* A line of /proc/meminfo, in KiB, or of /proc/vmstat; -1 if there is none. */
uint64_t gmem_meminfo(const char *key);
uint64_t gmem_vmstat(const char *key);

/* Wait until no page that was removed from its file is referenced any more. */
void gmem_wait_for_leaving(void);

/* Make the kernel free memory that it only keeps for later use. */
void gmem_drop_caches(void);

/* KiB of free memory, wherever the page allocator has it. */
uint64_t gmem_free_memory(void);

/* Drop caches until @kib KiB are free: freeing may be asynchronous. */
void gmem_wait_for_free(uint64_t kib);

/*
 * Find the pfns of hidden memory, which neither pagemap nor move_pages()
 * reports, with the tracepoint of guest faults: start tracing, let a guest
 * fault in all pages, then look up the pfns.  gmem_trace_start() returns NULL,
 * or why tracing is not possible.
 */
const char *gmem_trace_start(void);
uint64_t gmem_traced_pfn(uint64_t gpa);

/*
 * Set the memory policy of a mapping, and find the node of a page frame, or of a page
 * that is mapped and present.
 */
long gmem_mbind(void *addr, size_t len, int mode, unsigned long nodes);
int gmem_node_of_page(void *addr);
bool gmem_has_node(int node);
int gmem_node_of(uint64_t pfn);

/* The number of the memory block of a page frame; -1 if there are no blocks. */
long gmem_memory_block(uint64_t pfn);

#endif /* SELFTEST_KVM_GUEST_MEMFD_HIDDEN_H */
