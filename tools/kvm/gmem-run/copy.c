// SPDX-License-Identifier: GPL-2.0
/*
 * Copy only memory that is populated: untouched memory must not become
 * allocated pages of the file. Allocated memory stays allocated even if it
 * holds zeroes, because the VMM may have preallocated it.
 *
 * Pages are allocated with fallocate() before they are written, so that running
 * out of memory is an error and not a SIGBUS on a store to the mapping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "move.h"
#include "sys.h"

/* Bits of /proc/self/pagemap entries. The zero page is never exclusive. */
#define PM_PRESENT	0x8000000000000000ULL
#define PM_SWAPPED	0x4000000000000000ULL
#define PM_EXCLUSIVE	0x0100000000000000ULL
#define BATCH		512

u64 gmem_copied;

struct copy {
	char *to;
	int to_fd;
	bool sparse;
};

static bool is_zero(const char *page)
{
	return !page[0] && !memcmp(page, page + 1, gmem_page_size - 1);
}

static int allocate(const struct copy *copy, u64 offset, u64 len)
{
	while (fallocate(copy->to_fd, FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)len))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* New pages of the file are already zero. */
static void copy_page(const struct copy *copy, u64 offset, const char *from)
{
	if (is_zero(from))
		return;
	memcpy(copy->to + offset, from, gmem_page_size);
	gmem_copied += gmem_page_size;
}

static bool is_allocated(u64 entry)
{
	return entry & PM_SWAPPED ||
	       (entry & PM_PRESENT && entry & PM_EXCLUSIVE);
}

/* A page shared copy-on-write with a forked process, or the zero page. */
static int copy_shared_page(const struct copy *copy, u64 offset,
			    const char *from)
{
	int ret;

	if (is_zero(from))
		return 0;
	ret = allocate(copy, offset, gmem_page_size);
	if (!ret)
		copy_page(copy, offset, from);
	return ret;
}

static int copy_batch(const struct copy *copy, u64 offset, const char *from,
		      const u64 *entries, size_t n)
{
	size_t i = 0, end;
	int ret = 0;

	while (!ret && i < n) {
		u64 at = i * gmem_page_size;

		for (end = i; end < n && is_allocated(entries[end]); end++)
			;
		if (end == i) {
			if (entries[i] & PM_PRESENT)
				ret = copy_shared_page(copy, offset + at,
						       from + at);
			i++;
			continue;
		}
		ret = allocate(copy, offset + at, (end - i) * gmem_page_size);
		for (; !ret && i < end; i++, at += gmem_page_size)
			copy_page(copy, offset + at, from + at);
	}
	return ret;
}

/* Private anonymous memory: the page tables say which pages exist. */
int gmem_copy_pages(uintptr_t start, uintptr_t end, char *to, int to_fd)
{
	const struct copy copy = { .to = to, .to_fd = to_fd };
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
		u64 offset = done * gmem_page_size;

		if (pread(fd, entries, n * 8, at) != (ssize_t)(n * 8))
			ret = -EIO;
		else
			ret = copy_batch(&copy, offset, (char *)start + offset,
					 entries, n);
		done += n;
	}
	close(fd);
	return ret;
}

static int copy_extent(const struct copy *copy, int from_fd, u64 offset,
		       u64 end)
{
	char page[65536];
	int ret;

	if (gmem_page_size > sizeof(page))
		return -EINVAL;
	end = (end + gmem_page_size - 1) & ~(u64)(gmem_page_size - 1);
	ret = copy->sparse ? 0 : allocate(copy, offset, end - offset);
	for (; !ret && offset < end; offset += gmem_page_size) {
		ssize_t len = pread(from_fd, page, gmem_page_size,
				    (off_t)offset);

		if (len < 0)
			return -errno;
		/* The file may end inside its last page. */
		memset(page + len, 0, gmem_page_size - (size_t)len);
		if (copy->sparse)
			ret = copy_shared_page(copy, offset, page);
		else
			copy_page(copy, offset, page);
	}
	return ret;
}

/*
 * A memfd: SEEK_DATA finds its data, whether in memory or swapped out.  With sparse it
 * does not, and zeroes are taken for holes.
 */
int gmem_copy_file(int from_fd, u64 size, char *to, int to_fd, bool sparse)
{
	const struct copy copy = {
		.to = to,
		.to_fd = to_fd,
		.sparse = sparse,
	};
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
			ret = copy_extent(&copy, from_fd, (u64)data & ~mask,
					  (u64)hole);
	}
	lseek(from_fd, at, SEEK_SET);
	return ret;
}
