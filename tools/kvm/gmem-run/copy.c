// SPDX-License-Identifier: GPL-2.0
/*
 * Copy what is there, and only that: pages of the old memory that were never
 * touched, or hold zeroes, must not become allocated pages of the file.
 *
 * Every page is allocated by fallocate() before it is written: running out of
 * memory is then an error, where a store to the mapping would be a SIGBUS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

#define PM_PRESENT	0x8000000000000000ULL
#define PM_SWAPPED	0x4000000000000000ULL
#define BATCH		512

static bool is_zero(const char *page)
{
	return !page[0] && !memcmp(page, page + 1, gmem_page_size - 1);
}

static int copy_page(const char *from, char *to, int to_fd, u64 offset)
{
	if (is_zero(from))
		return 0;
	if (fallocate(to_fd, FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)gmem_page_size))
		return -errno;
	memcpy(to + offset, from, gmem_page_size);
	gmem_totals.copied += gmem_page_size;
	return 0;
}

/* Private anonymous memory: the page table knows all there is. */
int gmem_copy_pages(uintptr_t start, uintptr_t end, char *to, int to_fd)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t pages = (end - start) / gmem_page_size;
	u64 entries[BATCH];
	size_t done = 0;
	int ret = 0;

	if (fd < 0)
		return -errno;
	while (!ret && done < pages) {
		size_t n = pages - done < BATCH ? pages - done : BATCH;
		off_t at = (off_t)((start / gmem_page_size + done) * 8);
		size_t i;

		if (pread(fd, entries, n * 8, at) != (ssize_t)(n * 8)) {
			ret = -EIO;
			break;
		}
		for (i = 0; !ret && i < n; i++) {
			u64 offset = (done + i) * gmem_page_size;

			if (entries[i] & (PM_PRESENT | PM_SWAPPED))
				ret = copy_page((char *)start + offset, to,
						to_fd, offset);
		}
		done += n;
	}
	close(fd);
	return ret;
}

static int copy_extent(int from_fd, u64 offset, u64 end, char *to,
		       int to_fd)
{
	char page[65536];

	if (gmem_page_size > sizeof(page))
		return -EINVAL;
	for (; offset < end; offset += gmem_page_size) {
		ssize_t len = pread(from_fd, page, gmem_page_size,
				    (off_t)offset);
		int ret;

		if (len < 0)
			return -errno;
		/* The file may end inside its last page. */
		memset(page + len, 0, gmem_page_size - (size_t)len);
		ret = copy_page(page, to, to_fd, offset);
		if (ret)
			return ret;
	}
	return 0;
}

/* A memfd: the file knows which parts are data, in memory or swapped out. */
int gmem_copy_file(int from_fd, u64 size, char *to, int to_fd)
{
	u64 mask = gmem_page_size - 1;
	off_t at = lseek(from_fd, 0, SEEK_CUR);
	off_t data, hole = 0;
	int ret = 0;

	if (at < 0)
		return -errno;
	while (!ret && (u64)hole < size) {
		data = lseek(from_fd, hole, SEEK_DATA);
		if (data < 0) {
			ret = errno == ENXIO ? 0 : -errno;
			break;
		}
		hole = lseek(from_fd, data, SEEK_HOLE);
		if (hole < 0)
			ret = -errno;
		else
			ret = copy_extent(from_fd, (u64)data & ~mask,
					  (u64)hole, to, to_fd);
	}
	lseek(from_fd, at, SEEK_SET);
	return ret;
}
