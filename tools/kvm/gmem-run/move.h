/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The steps to replace mapped memory with a file.
 */
#ifndef GMEM_RUN_MOVE_H
#define GMEM_RUN_MOVE_H

#include "gmem-run.h"
#include "process.h"

/* pause.c: keep other threads from writing to memory that is being moved */
int gmem_pause_begin(void);
int gmem_pause_range(uintptr_t start, uintptr_t end);
void gmem_pause_moved(uintptr_t start, uintptr_t end);
void gmem_pause_end(void);

/* copy.c */
extern u64 gmem_copied;	/* total, in bytes */

int gmem_copy_pages(uintptr_t start, uintptr_t end, char *to, int to_fd);
int gmem_copy_file(int from_fd, u64 size, char *to, int to_fd, bool sparse);

/* remap.c: map a file over a VMA and keep the properties of the VMA */
int gmem_remap_policy(const struct gmem_vma *vma, char *to);
int gmem_remap(const struct gmem_vma *vma, int fd, u64 offset);

#endif /* GMEM_RUN_MOVE_H */
