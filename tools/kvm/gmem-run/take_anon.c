// SPDX-License-Identifier: GPL-2.0
/*
 * Take over private anonymous memory, or private memory of hugetlbfs.
 *
 * A block is what the VMM mapped with one mmap(), limited to the part around
 * the slot that is readable and writable and has no gaps. If the mmap() was not
 * seen (memory of the C library's allocator), only the slot's own range is
 * taken over.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing.h"
#include "file.h"
#include "move.h"
#include "process.h"
#include "report.h"
#include "sys.h"
#include "vec.h"

struct block {
	const struct gmem_maps *maps;
	uintptr_t start;
	uintptr_t end;
	size_t first;
	size_t last;
};

static bool usable(const struct gmem_vma *vma)
{
	return (gmem_vma_anonymous(vma) || gmem_vma_hugetlb(vma, false)) &&
	       vma->prot == (PROT_READ | PROT_WRITE) &&
	       !(vma->flags & GMEM_VMA_DEVICE);
}

static bool follows(const struct gmem_vma *next, const struct gmem_vma *vma)
{
	return next->start == vma->end && next->page_size == vma->page_size;
}

/* Clip the extents at both ends to what is usable around the slot. */
static const char *block_find(struct block *block, uintptr_t start,
			      uintptr_t end)
{
	const struct gmem_maps *maps = block->maps;
	uintptr_t low = start, high = end, other;
	size_t i = 0, j;

	gmem_extent_find(start, &low, &other);
	gmem_extent_find(end - 1, &other, &high);
	while (gmem_maps_at(maps, i)->end <= start)
		i++;
	if (!usable(gmem_maps_at(maps, i)))
		return "not mapped readable and writable";
	for (j = i; gmem_maps_at(maps, j)->end < end; j++)
		if (j + 1 == maps->vmas.nr ||
		    !follows(gmem_maps_at(maps, j + 1), gmem_maps_at(maps, j)) ||
		    !usable(gmem_maps_at(maps, j + 1)))
			return "not one readable and writable mapping";
	while (i && gmem_maps_at(maps, i)->start > low &&
	       follows(gmem_maps_at(maps, i), gmem_maps_at(maps, i - 1)) &&
	       usable(gmem_maps_at(maps, i - 1)))
		i--;
	while (j + 1 < maps->vmas.nr && gmem_maps_at(maps, j)->end < high &&
	       follows(gmem_maps_at(maps, j + 1), gmem_maps_at(maps, j)) &&
	       usable(gmem_maps_at(maps, j + 1)))
		j++;
	block->first = i;
	block->last = j;
	block->start = gmem_maps_at(maps, i)->start;
	block->end = gmem_maps_at(maps, j)->end;
	if (block->start < low)
		block->start = low;
	if (block->end > high)
		block->end = high;
	return NULL;
}

/* The i-th VMA, clipped to the block. */
static struct gmem_vma block_vma(const struct block *block, size_t i)
{
	struct gmem_vma vma = *gmem_maps_at(block->maps, i);

	if (vma.start < block->start)
		vma.start = block->start;
	if (vma.end > block->end)
		vma.end = block->end;
	return vma;
}

static int block_policy(const struct block *block, char *to)
{
	int ret = 0;
	size_t i;

	for (i = block->first; !ret && i <= block->last; i++) {
		struct gmem_vma vma = block_vma(block, i);

		ret = gmem_remap_policy(&vma, to + (vma.start - block->start));
	}
	return ret;
}

/* Map the whole block first, so that no old memory remains in it. */
static int block_remap(const struct block *block, int fd)
{
	struct gmem_vma whole = {
		.start = block->start,
		.end = block->end,
		.prot = PROT_READ | PROT_WRITE,
	};
	int ret = gmem_remap(&whole, fd, 0);
	size_t i;

	for (i = block->first; !ret && i <= block->last; i++) {
		struct gmem_vma vma = block_vma(block, i);

		if (vma.flags)
			ret = gmem_remap(&vma, fd, vma.start - block->start);
	}
	return ret;
}

static int block_move(const struct block *block, int fd, char *to)
{
	int ret = gmem_pause_begin();

	if (ret)
		return ret;
	ret = gmem_pause_range(block->start, block->end);
	if (!ret)
		ret = gmem_copy_pages(block->start, block->end, to, fd);
	if (!ret)
		ret = block_remap(block, fd);
	if (!ret)
		gmem_pause_moved(block->start, block->end);
	gmem_pause_end();
	return ret;
}

static int block_copy_and_move(const struct block *block, int fd)
{
	size_t len = block->end - block->start;
	char *to;
	int ret;

	to = gmem_sys_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   0);
	if (to == MAP_FAILED)
		return -errno;
	ret = block_policy(block, to);
	if (!ret)
		ret = block_move(block, fd, to);
	gmem_sys_munmap(to, len);
	return ret;
}

static const char *block_take(const struct block *block, int vm_fd, int fd)
{
	struct gmem_file *file = gmem_file_add(fd, vm_fd, true);
	u64 copied = gmem_copied;
	int ret;

	if (!file)
		return "out of memory";
	file->addr = block->start;
	ret = block_copy_and_move(block, fd);
	if (ret) {
		gmem_file_forget(file);
		return strerrordesc_np(-ret);
	}
	copied = gmem_copied - copied;
	gmem_verbose("took over anonymous memory %#lx-%#lx: fd %d, copied %lu KiB",
		     block->start, block->end, fd, copied / 1024);
	gmem_event("event=take kind=anonymous addr=%#lx size=%#lx fd=%d copied=%#lx",
		   block->start, block->end - block->start, fd, copied);
	return NULL;
}

/*
 * A private mapping of hugetlbfs shows what the file has where nothing has been written,
 * and the page tables do not tell.  So the file must be empty.
 */
static bool hugetlb_empty(const struct gmem_vma *vma)
{
	struct gmem_vec fds = GMEM_VEC(int);
	char path[64];
	struct stat st;
	bool known;

	known = !gmem_fds_find(vma->dev, vma->ino, &fds) && fds.nr &&
		!fstat(*(int *)gmem_vec_at(&fds, 0), &st);
	gmem_vec_free(&fds);
	if (!known) {
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
			 vma->start, vma->end);
		known = !stat(path, &st);
	}
	return known && !st.st_blocks;
}

/* The range must start in anonymous memory, and maps must have details. */
const char *gmem_take_anon(int vm_fd, const struct gmem_maps *maps,
			   uintptr_t start, uintptr_t end)
{
	struct block block = { .maps = maps };
	const char *why = block_find(&block, start, end);
	const struct gmem_vma *vma;
	unsigned long huge;
	int fd;

	if (why)
		return why;
	vma = gmem_maps_at(maps, block.first);
	huge = vma->flags & GMEM_VMA_HUGETLB ? vma->page_size : 0;
	if (huge && !hugetlb_empty(vma))
		return "a private mapping of a file";
	fd = gmem_file_create(vm_fd, block.end - block.start, huge);
	if (fd < 0)
		return gmem_file_why_not(-fd, huge);
	why = block_take(&block, vm_fd, fd);
	if (why)
		close(fd);
	return why;
}
