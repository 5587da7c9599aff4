// SPDX-License-Identifier: GPL-2.0
/*
 * Map a file over a VMA and keep the properties that the VMM set for the old
 * mapping: NUMA policy, core dumps, inheritance, huge pages, locking.
 * (MADV_MERGEABLE is lost, because KSM does not merge pages of files.)
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>

#include "move.h"
#include "process.h"
#include "report.h"
#include "sys.h"

#define MAX_NODES	1024

static const struct {
	unsigned int flag;
	int advice;
} advices[] = {
	{ GMEM_VMA_DONTDUMP, MADV_DONTDUMP },
	{ GMEM_VMA_DONTFORK, MADV_DONTFORK },
	{ GMEM_VMA_HUGE, MADV_HUGEPAGE },
	{ GMEM_VMA_NOHUGE, MADV_NOHUGEPAGE },
};

/*
 * Called before the pages are copied: the file's policy decides where its pages
 * are allocated, and guest_memfd does not migrate them.
 */
int gmem_remap_policy(const struct gmem_vma *vma, char *to)
{
	unsigned long mask[MAX_NODES / 8 / sizeof(long)] = { 0 };
	int mode;
	int ret;

	ret = gmem_sys_get_mempolicy(&mode, mask, MAX_NODES,
				     (void *)vma->start);
	/* A kernel without NUMA has neither get_mempolicy() nor policies. */
	if (ret || mode == MPOL_DEFAULT)
		return 0;
	return gmem_sys_mbind(to, vma->end - vma->start, mode, mask,
			      MAX_NODES);
}

/* Other threads see either the old mapping or the new one. */
int gmem_remap(const struct gmem_vma *vma, int fd, u64 offset)
{
	size_t len = vma->end - vma->start;
	void *addr = (void *)vma->start;
	size_t i;

	if (gmem_sys_mmap(addr, len, vma->prot, MAP_SHARED | MAP_FIXED, fd,
			  (off_t)offset) == MAP_FAILED)
		return -errno;
	for (i = 0; i < ARRAY_SIZE(advices); i++)
		if (vma->flags & advices[i].flag)
			gmem_sys_madvise(addr, len, advices[i].advice);
	if (vma->flags & GMEM_VMA_LOCKED && mlock(addr, len))
		gmem_say("%#lx-%#lx: cannot lock the memory again: %m",
			 vma->start, vma->end);
	return 0;
}
