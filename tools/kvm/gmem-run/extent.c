// SPDX-License-Identifier: GPL-2.0
/*
 * The extents of the anonymous mappings that the VMM made itself. The kernel
 * merges adjacent mappings, so /proc/self/maps does not say where a RAM block
 * ends and an unrelated neighbour begins.
 *
 * Extents never overlap: a new mapping trims those that it replaces.
 */
#include "process.h"
#include "range.h"

static struct gmem_vec extents = GMEM_VEC(struct gmem_range);

/* Without a record, only the slot's own range is taken over. */
void gmem_extent_unmapped(uintptr_t start, uintptr_t end)
{
	gmem_range_remove(&extents, start, end);
}

void gmem_extent_mapped(uintptr_t start, uintptr_t end)
{
	gmem_range_add(&extents, start, end);
}

bool gmem_extent_find(uintptr_t addr, uintptr_t *start, uintptr_t *end)
{
	const struct gmem_range *range = gmem_range_find(&extents, addr);

	if (!range)
		return false;
	*start = range->start;
	*end = range->end;
	return true;
}
