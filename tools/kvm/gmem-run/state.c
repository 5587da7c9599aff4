// SPDX-License-Identifier: GPL-2.0
/*
 * Track which pages of a file are private: one state for the whole file, and a
 * bitmap of the pages whose state differs from it. The bitmap is allocated by
 * the first conversion of a part of the file.
 */
#include <errno.h>
#include <sys/mman.h>

#include "file.h"
#include "sys.h"

#define BITS	8

static size_t bitmap_size(const struct gmem_file *file)
{
	return (file->size / gmem_page_size + BITS - 1) / BITS;
}

/* Allocates the bitmap, so that gmem_state_set() cannot fail. */
int gmem_state_prepare(struct gmem_file *file)
{
	void *bitmap;

	if (file->converted)
		return 0;
	bitmap = gmem_sys_mmap(NULL, bitmap_size(file), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			       0);
	if (bitmap == MAP_FAILED)
		return -ENOMEM;
	file->converted = bitmap;
	return 0;
}

/* Must be called after gmem_state_prepare(). */
void gmem_state_set(struct gmem_file *file, u64 page, bool private)
{
	unsigned char mask = (unsigned char)(1U << page % BITS);

	if (private != file->private)
		file->converted[page / BITS] |= mask;
	else
		file->converted[page / BITS] &= (unsigned char)~mask;
}

/* Sets the state of the whole file and frees the bitmap. */
void gmem_state_set_all(struct gmem_file *file, bool private)
{
	if (file->converted)
		gmem_sys_munmap(file->converted, bitmap_size(file));
	file->converted = NULL;
	file->private = private;
}

bool gmem_state_private(const struct gmem_file *file, u64 page)
{
	unsigned int converted = 0;

	if (file->converted)
		converted = file->converted[page / BITS] >> page % BITS & 1;
	return file->private != converted;
}
