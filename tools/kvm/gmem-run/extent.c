// SPDX-License-Identifier: GPL-2.0
/*
 * The extents of the anonymous mappings that the VMM made itself. The kernel
 * merges adjacent mappings, so /proc/self/maps does not say where a RAM block
 * ends and an unrelated neighbour begins.
 *
 * Extents never overlap: a new mapping trims those that it replaces.
 */
#include "process.h"
#include "vec.h"

struct extent {
	uintptr_t start;
	uintptr_t end;
};

static struct gmem_vec extents = GMEM_VEC(struct extent);

static void extent_add(uintptr_t start, uintptr_t end)
{
	struct extent *extent = gmem_vec_add(&extents);

	/* Without a record, only the slot's own range is taken over. */
	if (!extent)
		return;
	extent->start = start;
	extent->end = end;
}

void gmem_extent_unmapped(uintptr_t start, uintptr_t end)
{
	size_t i = 0;

	while (i < extents.nr) {
		struct extent *extent = gmem_vec_at(&extents, i);
		struct extent old = *extent;

		if (old.end <= start || old.start >= end) {
			i++;
			continue;
		}
		/* The remainders are appended and do not overlap the range. */
		gmem_vec_remove(&extents, i);
		if (old.start < start)
			extent_add(old.start, start);
		if (old.end > end)
			extent_add(end, old.end);
	}
}

void gmem_extent_mapped(uintptr_t start, uintptr_t end)
{
	gmem_extent_unmapped(start, end);
	extent_add(start, end);
}

bool gmem_extent_find(uintptr_t addr, uintptr_t *start, uintptr_t *end)
{
	size_t i;

	for (i = 0; i < extents.nr; i++) {
		struct extent *extent = gmem_vec_at(&extents, i);

		if (addr < extent->start || addr >= extent->end)
			continue;
		*start = extent->start;
		*end = extent->end;
		return true;
	}
	return false;
}
