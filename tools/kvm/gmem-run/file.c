// SPDX-License-Identifier: GPL-2.0
/*
 * The guest_memfds created by gmem-run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "options.h"
#include "process.h"
#include "range.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vec.h"

/* Avoid low descriptor numbers, which some programs expect to get. */
#define OWNED_FD_MIN	256

static struct gmem_vec files = GMEM_VEC(struct gmem_file);

/* The flags of every file that is created; KVM must support all of them. */
u64 gmem_file_flags(void)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;

	if (gmem_options.no_direct_map)
		flags |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	return flags;
}

/* huge is the page size of the hugetlb pool whose memory it is to have, or 0. */
int gmem_file_create(int vm_fd, u64 size, unsigned long huge)
{
	struct kvm_create_guest_memfd create = {
		.size = size,
		.flags = gmem_file_flags(),
	};
	int fd, high;

	if (huge)
		create.flags |= GUEST_MEMFD_FLAG_HUGETLB |
				(u64)__builtin_ctzl(huge)
					<< GUEST_MEMFD_HUGE_SHIFT;
	fd = gmem_sys_ioctl(vm_fd, KVM_CREATE_GUEST_MEMFD, &create);
	if (fd < 0)
		return fd;
	high = gmem_sys_fcntl(fd, F_DUPFD_CLOEXEC, OWNED_FD_MIN);
	if (high < 0) {
		gmem_sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
		return fd;
	}
	close(fd);
	return high;
}

const char *gmem_file_why_not(int err, unsigned long huge)
{
	if (huge && err == ENOMEM)
		return "memory of hugetlbfs, whose pool is too small for a second copy";
	if (huge && err == EINVAL)
		return "memory of hugetlbfs that a guest_memfd cannot have";
	return strerrordesc_np(err);
}

/* The pointer is valid until a file is added or removed. */
struct gmem_file *gmem_file_add(int fd, int vm_fd, bool owned)
{
	struct gmem_file *file;
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	file = gmem_vec_add(&files);
	if (!file)
		return NULL;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->size = (u64)st.st_size;
	file->fd = fd;
	file->vm_fd = vm_fd;
	file->owned = owned;
	file->converted = (struct gmem_vec)GMEM_VEC(struct gmem_range);
	return file;
}

void gmem_file_forget(struct gmem_file *file)
{
	gmem_state_set_all(file, false);
	gmem_vec_remove(&files, (size_t)(file - (struct gmem_file *)files.data));
}

struct gmem_file *gmem_file_at(size_t i)
{
	return i < files.nr ? gmem_vec_at(&files, i) : NULL;
}

struct gmem_file *gmem_file_find(dev_t dev, ino_t ino)
{
	size_t i;

	for (i = 0; i < files.nr; i++) {
		struct gmem_file *file = gmem_vec_at(&files, i);

		if (file->ino == ino && file->dev == dev)
			return file;
	}
	return NULL;
}

struct gmem_file *gmem_file_of_vma(const struct gmem_vma *vma)
{
	return vma->ino ? gmem_file_find(vma->dev, vma->ino) : NULL;
}

struct gmem_file *gmem_file_of_fd(int fd)
{
	struct stat st;

	if (!files.nr || fstat(fd, &st))
		return NULL;
	return gmem_file_find(st.st_dev, st.st_ino);
}

/* The VMM may have closed this descriptor; look for a duplicate of it then. */
int gmem_file_fd(struct gmem_file *file)
{
	struct gmem_vec fds = GMEM_VEC(int);
	int ret;

	if (gmem_fd_is(file->fd, file->dev, file->ino))
		return file->fd;
	ret = gmem_fds_find(file->dev, file->ino, &fds);
	if (!ret && fds.nr)
		file->fd = *(int *)gmem_vec_at(&fds, 0);
	else
		file->fd = -1;
	gmem_vec_free(&fds);
	return file->fd;
}

/* An open guest_memfd keeps its VM alive: close it with its last mapping. */
void gmem_file_unmapped(uintptr_t start, uintptr_t end)
{
	size_t i = 0;

	while (i < files.nr) {
		struct gmem_file *file = gmem_vec_at(&files, i);
		uintptr_t from = start > file->addr ? start : file->addr;
		uintptr_t last = file->addr + file->size;
		uintptr_t to = end < last ? end : last;

		if (!file->owned || from >= to) {
			i++;
			continue;
		}
		file->unmapped += to - from;
		if (file->unmapped < file->size) {
			i++;
			continue;
		}
		if (gmem_fd_is(file->fd, file->dev, file->ino))
			close(file->fd);
		gmem_file_forget(file);
	}
}

/* Is the file owned, still fully mapped, and does it overlap the range? */
static bool is_in(const struct gmem_file *file, uintptr_t start, uintptr_t end)
{
	return file->owned && !file->unmapped && start < end &&
	       start < file->addr + file->size && end > file->addr;
}

static void punch(const struct gmem_file *file, uintptr_t start, uintptr_t end)
{
	uintptr_t last = file->addr + file->size;

	start = start > file->addr ? start : file->addr;
	end = end < last ? end : last;
	if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(start - file->addr), (off_t)(end - start)))
		gmem_say("%#lx-%#lx: cannot give memory back: %m", start, end);
}

/*
 * MADV_DONTNEED frees private anonymous memory, which then reads as zeroes. On
 * a file mapping it only drops page table entries, so punch a hole as well.
 */
bool gmem_file_discard(uintptr_t start, uintptr_t end)
{
	bool found = false;
	size_t i;

	for (i = 0; i < files.nr; i++) {
		struct gmem_file *file = gmem_vec_at(&files, i);

		if (!is_in(file, start, end))
			continue;
		punch(file, start, end);
		found = true;
	}
	return found;
}

/*
 * The VMM maps new anonymous memory over old: replace the pages of the file
 * with new ones. Returns the mapping, or NULL if the range is not inside one
 * owned file.
 */
void *gmem_file_renew(uintptr_t start, uintptr_t end, int prot)
{
	size_t i;

	for (i = 0; i < files.nr; i++) {
		struct gmem_file *file = gmem_vec_at(&files, i);

		if (!is_in(file, start, end) || start < file->addr ||
		    end > file->addr + file->size)
			continue;
		punch(file, start, end);
		return gmem_sys_mmap((void *)start, end - start, prot,
				     MAP_SHARED | MAP_FIXED, file->fd,
				     (off_t)(start - file->addr));
	}
	return NULL;
}

bool gmem_file_any(void)
{
	return files.nr != 0;
}
