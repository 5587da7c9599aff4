// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages of a file are private: one state for all of them, and a bitmap of
 * those that were converted since. There is no bitmap until there is such a page.
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

/* What can fail when pages are converted one by one. */
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

/* After gmem_state_prepare(). */
void gmem_state_set(struct gmem_file *file, u64 page, bool private)
{
	unsigned char mask = (unsigned char)(1U << page % BITS);

	if (private != file->private)
		file->converted[page / BITS] |= mask;
	else
		file->converted[page / BITS] &= (unsigned char)~mask;
}

/* Gives the bitmap back, too. */
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
