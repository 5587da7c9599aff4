// SPDX-License-Identifier: GPL-2.0
/*
 * Take over a memfd, or shared anonymous memory, or a file of hugetlbfs that has no
 * name: the whole file, with all its mappings and descriptors in this process. Other
 * processes that already have the file keep the old one, which cannot be detected
 * here; a VMM passes memory on after it has registered it.
 *
 * The descriptors keep their numbers, so later mappings, fallocate() and fd
 * passing use the new file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backing.h"
#include "file.h"
#include "move.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "sys.h"
#include "vec.h"

struct memfd {
	const struct gmem_maps *maps;
	const struct gmem_vma *vma;
	struct gmem_vec fds;
	u64 size;
	unsigned long huge;
	unsigned int seals;
	int fd;
};

static bool shows(const struct memfd *memfd, const struct gmem_vma *vma)
{
	return gmem_vma_same_file(memfd->vma, vma) &&
	       vma->flags & GMEM_VMA_SHARED;
}

/* If the VMM has closed all descriptors, try to open the mapping. */
static int memfd_open(struct memfd *memfd)
{
	char path[64];
	int ret;

	ret = gmem_fds_find(memfd->vma->dev, memfd->vma->ino, &memfd->fds);
	if (ret)
		return ret;
	if (memfd->fds.nr) {
		int fd = *(int *)gmem_vec_at(&memfd->fds, 0);

		memfd->fd = gmem_sys_fcntl(fd, F_DUPFD_CLOEXEC, 0);
	} else {
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
			 memfd->vma->start, memfd->vma->end);
		memfd->fd = open(path, O_RDWR | O_CLOEXEC);
		if (memfd->fd < 0)
			memfd->fd = -errno;
	}
	return memfd->fd < 0 ? memfd->fd : 0;
}

static const char *memfd_check(struct memfd *memfd)
{
	struct statfs fs;
	struct stat st;
	int seals;

	if (fstat(memfd->fd, &st) || fstatfs(memfd->fd, &fs))
		return strerrordesc_np(errno);
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
		return "not ordinary memory";
	if (!st.st_size)
		return "its memfd has no size";
	if (fs.f_type == HUGETLBFS_MAGIC)
		memfd->huge = (unsigned long)fs.f_bsize;
	seals = gmem_sys_fcntl(memfd->fd, F_GET_SEALS, 0);
	if (seals > 0)
		memfd->seals = (unsigned int)seals;
	memfd->size = ((u64)st.st_size + gmem_page_size - 1) &
		      ~(u64)(gmem_page_size - 1);
	return NULL;
}

static int memfd_policy(const struct memfd *memfd, char *to)
{
	int ret = 0;
	size_t i;

	for (i = 0; !ret && i < memfd->maps->vmas.nr; i++) {
		const struct gmem_vma *vma = gmem_maps_at(memfd->maps, i);
		u64 len = vma->end - vma->start;

		/* A mapping may be longer than its file. */
		if (shows(memfd, vma) && vma->offset < memfd->size &&
		    len <= memfd->size - vma->offset)
			ret = gmem_remap_policy(vma, to + vma->offset);
	}
	return ret;
}

static int memfd_pause(const struct memfd *memfd)
{
	int ret = gmem_pause_begin();
	size_t i;

	if (ret)
		return ret;
	for (i = 0; !ret && i < memfd->maps->vmas.nr; i++) {
		const struct gmem_vma *vma = gmem_maps_at(memfd->maps, i);

		if (shows(memfd, vma) && vma->prot == (PROT_READ | PROT_WRITE))
			ret = gmem_pause_range(vma->start, vma->end);
	}
	if (ret)
		gmem_pause_end();
	return ret;
}

/*
 * A failure after the first mapping cannot be undone without losing data, and
 * mappings of two different files are worse than no VMM: exit. This only
 * happens if mmap() over an existing mapping fails.
 */
static int memfd_remap(const struct memfd *memfd, int fd)
{
	bool first = true;
	size_t i;

	for (i = 0; i < memfd->maps->vmas.nr; i++) {
		const struct gmem_vma *vma = gmem_maps_at(memfd->maps, i);
		int ret;

		if (!shows(memfd, vma))
			continue;
		ret = gmem_remap(vma, fd, vma->offset);
		if (ret && first)
			return ret;
		if (ret) {
			gmem_say("%#lx-%#lx: %s while replacing a memfd's mappings, giving up",
				 vma->start, vma->end, strerrordesc_np(-ret));
			_exit(GMEM_EXIT_REQUIRE);
		}
		first = false;
		gmem_pause_moved(vma->start, vma->end);
	}
	return 0;
}

/* Each descriptor keeps its number and its close-on-exec flag. */
static void memfd_replace(const struct memfd *memfd, int fd)
{
	size_t i;

	for (i = 0; i < memfd->fds.nr; i++) {
		int number = *(int *)gmem_vec_at(&memfd->fds, i);
		int flags = gmem_sys_fcntl(number, F_GETFD, 0);

		if (flags < 0 ||
		    dup3(fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
			gmem_say("fd %d: cannot replace the memfd: %m",
				 number);
	}
}

/* There is no SEEK_DATA in hugetlbfs, but an empty file can be told.  While paused. */
static bool memfd_empty(const struct memfd *memfd)
{
	struct stat st;

	return memfd->huge && !fstat(memfd->fd, &st) && !st.st_blocks;
}

static int memfd_move(const struct memfd *memfd, int fd)
{
	char *to;
	int ret;

	to = gmem_sys_mmap(NULL, memfd->size, PROT_READ | PROT_WRITE,
			   MAP_SHARED, fd, 0);
	if (to == MAP_FAILED)
		return -errno;
	ret = memfd_policy(memfd, to);
	if (!ret)
		ret = memfd_pause(memfd);
	if (!ret) {
		if (!memfd_empty(memfd))
			ret = gmem_copy_file(memfd->fd, memfd->size, to, fd,
					     memfd->huge);
		if (!ret)
			ret = memfd_remap(memfd, fd);
		if (!ret)
			memfd_replace(memfd, fd);
		gmem_pause_end();
	}
	gmem_sys_munmap(to, memfd->size);
	return ret;
}

/*
 * Only the VMM's own descriptors keep the file open, so that it is freed when
 * the VMM closes them. If the VMM has none, ours stays open.
 */
static const char *memfd_take(struct memfd *memfd, int vm_fd)
{
	u64 copied = gmem_copied;
	struct gmem_file *file;
	int fd, ret;

	fd = gmem_file_create(vm_fd, memfd->size, memfd->huge);
	if (fd < 0)
		return gmem_file_why_not(-fd, memfd->huge);
	file = gmem_file_add(fd, vm_fd, false);
	ret = file ? memfd_move(memfd, fd) : -ENOMEM;
	if (ret) {
		if (file)
			gmem_file_forget(file);
		close(fd);
		return strerrordesc_np(-ret);
	}
	file->seals = memfd->seals;
	if (memfd->fds.nr) {
		close(fd);
		file->fd = *(int *)gmem_vec_at(&memfd->fds, 0);
	}
	copied = gmem_copied - copied;
	gmem_verbose("took over %s of %lu KiB: fd %d, copied %lu KiB",
		     memfd->vma->name, memfd->size / 1024, file->fd,
		     copied / 1024);
	gmem_event("event=take kind=memfd size=%#lx fd=%d copied=%#lx",
		   memfd->size, file->fd, copied);
	return NULL;
}

/* The range must start in vma, and maps must have details. */
const char *gmem_take_memfd(int vm_fd, const struct gmem_maps *maps,
			    const struct gmem_vma *vma)
{
	struct memfd memfd = {
		.maps = maps,
		.vma = vma,
		.fds = GMEM_VEC(int),
		.fd = -1,
	};
	const char *why;
	int ret;

	ret = memfd_open(&memfd);
	if (ret)
		why = "its memfd is not open in this process any more";
	else
		why = memfd_check(&memfd);
	if (!why)
		why = memfd_take(&memfd, vm_fd);
	if (memfd.fd >= 0)
		close(memfd.fd);
	gmem_vec_free(&memfd.fds);
	return why;
}
