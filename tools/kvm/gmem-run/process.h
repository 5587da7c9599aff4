/* SPDX-License-Identifier: GPL-2.0 */
/*
 * This process, which is the VMM: its mappings and its file descriptors.
 */
#ifndef GMEM_RUN_PROCESS_H
#define GMEM_RUN_PROCESS_H

#include <sys/types.h>

#include "gmem-run.h"
#include "vec.h"

/* extent.c: the extents of the VMM's anonymous mappings */
void gmem_extent_mapped(uintptr_t start, uintptr_t end);
void gmem_extent_unmapped(uintptr_t start, uintptr_t end);
bool gmem_extent_find(uintptr_t addr, uintptr_t *start, uintptr_t *end);

/* maps.c: the VMAs in /proc/self/maps or smaps */
#define GMEM_VMA_SHARED		0x01
#define GMEM_VMA_DONTDUMP	0x02
#define GMEM_VMA_DONTFORK	0x04
#define GMEM_VMA_HUGE		0x08
#define GMEM_VMA_NOHUGE		0x10
#define GMEM_VMA_LOCKED		0x20
#define GMEM_VMA_DEVICE		0x40
#define GMEM_VMA_HUGETLB	0x80

struct gmem_vma {
	uintptr_t start;
	uintptr_t end;
	int prot;
	unsigned int flags;
	unsigned long page_size;
	u64 offset;
	dev_t dev;
	ino_t ino;
	const char *name;
};

struct gmem_maps {
	struct gmem_vec text;
	struct gmem_vec vmas;
};

int gmem_maps_read(struct gmem_maps *maps, bool details);
void gmem_maps_free(struct gmem_maps *maps);
struct gmem_vma *gmem_maps_at(const struct gmem_maps *maps, size_t i);
struct gmem_vma *gmem_maps_find(const struct gmem_maps *maps, uintptr_t addr);
bool gmem_vma_same_file(const struct gmem_vma *a, const struct gmem_vma *b);
bool gmem_vma_anonymous(const struct gmem_vma *vma);
bool gmem_vma_memfd(const struct gmem_vma *vma);
bool gmem_vma_hugetlb(const struct gmem_vma *vma, bool shared);

/* fds.c: this process's file descriptors */
int gmem_fds_find(dev_t dev, ino_t ino, struct gmem_vec *fds);
bool gmem_fd_is(int fd, dev_t dev, ino_t ino);

#endif /* GMEM_RUN_PROCESS_H */
