/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest_memfd that backs a range of the VMM's memory.
 */
#ifndef GMEM_RUN_BACKING_H
#define GMEM_RUN_BACKING_H

#include "file.h"
#include "gmem-run.h"
#include "process.h"

/* take_anon.c, take_memfd.c: return NULL or why nothing was taken over */
const char *gmem_take_anon(int vm_fd, const struct gmem_maps *maps,
			   uintptr_t start, uintptr_t end);
const char *gmem_take_memfd(int vm_fd, const struct gmem_maps *maps,
			    const struct gmem_vma *vma);

/* backing.c */
struct gmem_backing {
	struct gmem_file *file;
	u64 offset;
	bool device;
};

const char *gmem_backing_get(int vm_fd, uintptr_t start, uintptr_t end,
			     struct gmem_backing *backing);
bool gmem_backing_find(uintptr_t start, uintptr_t end,
		       struct gmem_backing *backing);
void gmem_backing_unmapped(uintptr_t start, uintptr_t end);

#endif /* GMEM_RUN_BACKING_H */
