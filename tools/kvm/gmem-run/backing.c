// SPDX-License-Identifier: GPL-2.0
/*
 * Find the guest_memfd that backs a range of the VMM's memory, moving the
 * memory into one first if necessary.
 */
#include <string.h>
#include <sys/mman.h>

#include "backing.h"
#include "file.h"
#include "process.h"
#include "vec.h"

/*
 * A range that could not be taken over is not tried again while it is mapped:
 * an ordinary slot uses it by then, and its running vCPUs must not see the
 * memory become read-only while it is moved (pause.c).
 */
struct refusal {
	uintptr_t start;
	uintptr_t end;
	const char *why;
	bool device;
};

static struct gmem_vec refusals = GMEM_VEC(struct refusal);

static struct refusal *refusal_find(uintptr_t start, uintptr_t end)
{
	size_t i;

	for (i = 0; i < refusals.nr; i++) {
		struct refusal *refusal = gmem_vec_at(&refusals, i);

		if (start < refusal->end && end > refusal->start)
			return refusal;
	}
	return NULL;
}

static void refusal_add(uintptr_t start, uintptr_t end, const char *why,
			bool device)
{
	struct refusal *refusal = gmem_vec_add(&refusals);

	if (!refusal)
		return;
	refusal->start = start;
	refusal->end = end;
	refusal->why = why;
	refusal->device = device;
}

void gmem_backing_unmapped(uintptr_t start, uintptr_t end)
{
	size_t i = 0;

	while (i < refusals.nr) {
		struct refusal *refusal = gmem_vec_at(&refusals, i);

		if (start < refusal->end && end > refusal->start)
			gmem_vec_remove(&refusals, i);
		else
			i++;
	}
}

/* The whole range must map one file, contiguously. */
static bool lookup(const struct gmem_maps *maps, uintptr_t start,
		   uintptr_t end, struct gmem_backing *backing)
{
	struct gmem_vma *vma = gmem_maps_find(maps, start);
	struct gmem_file *file = vma ? gmem_file_of_vma(vma) : NULL;
	u64 offset;

	if (!file || !(vma->flags & GMEM_VMA_SHARED))
		return false;
	offset = vma->offset + (start - vma->start);
	backing->file = file;
	backing->offset = offset;
	while (vma->end < end) {
		struct gmem_vma *next = gmem_maps_find(maps, vma->end);

		if (!next || !gmem_vma_same_file(vma, next) ||
		    !(next->flags & GMEM_VMA_SHARED) ||
		    next->offset != vma->offset + (vma->end - vma->start))
			return false;
		vma = next;
	}
	return offset + (end - start) <= file->size;
}

static const char *why_not(const struct gmem_vma *vma)
{
	if (gmem_file_of_vma(vma))
		return "partly outside the guest_memfd it starts in";
	if (vma->flags & GMEM_VMA_HUGETLB)
		return "a file of hugetlbfs that others may share";
	if (!vma->ino)
		return "memory of the heap or a stack";
	if (!(vma->flags & GMEM_VMA_SHARED))
		return "a private mapping of a file";
	return "a mapping of a file that others may share";
}

static const char *take(int vm_fd, uintptr_t start, uintptr_t end,
			struct gmem_backing *backing)
{
	const struct gmem_vma *vma;
	struct gmem_maps maps;
	const char *why;

	if (gmem_maps_read(&maps, true))
		return "cannot read /proc/self/smaps";
	vma = gmem_maps_find(&maps, start);
	if (!vma) {
		why = "not mapped";
	} else if (vma->flags & GMEM_VMA_DEVICE) {
		why = "memory of a device";
		backing->device = true;
	} else if (gmem_vma_anonymous(vma) || gmem_vma_hugetlb(vma, false)) {
		why = gmem_take_anon(vm_fd, &maps, start, end);
	} else if ((gmem_vma_memfd(vma) || gmem_vma_hugetlb(vma, true)) &&
		   !gmem_file_of_vma(vma)) {
		why = gmem_take_memfd(vm_fd, &maps, vma);
	} else {
		why = why_not(vma);
	}
	gmem_maps_free(&maps);
	return why;
}

/* Only looks up the file; does not take anything over. */
bool gmem_backing_find(uintptr_t start, uintptr_t end,
		       struct gmem_backing *backing)
{
	struct gmem_maps maps;
	bool found;

	if (!gmem_file_any() || gmem_maps_read(&maps, false))
		return false;
	found = lookup(&maps, start, end, backing);
	gmem_maps_free(&maps);
	return found;
}

const char *gmem_backing_get(int vm_fd, uintptr_t start, uintptr_t end,
			     struct gmem_backing *backing)
{
	struct refusal *refusal = refusal_find(start, end);
	const char *why;

	if (refusal) {
		backing->device = refusal->device;
		return refusal->why;
	}
	backing->device = false;
	if (gmem_backing_find(start, end, backing))
		return NULL;
	why = take(vm_fd, start, end, backing);
	if (!why && !gmem_backing_find(start, end, backing))
		why = "not in one piece";
	if (why)
		refusal_add(start, end, why, backing->device);
	return why;
}
