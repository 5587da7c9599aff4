// SPDX-License-Identifier: GPL-2.0
/*
 * Find the file descriptors of this process that refer to a file.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "process.h"
#include "vec.h"

bool gmem_fd_is(int fd, dev_t dev, ino_t ino)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_dev == dev &&
	       st.st_ino == ino;
}

/* Adds every descriptor of the file to fds, a vector of int. */
int gmem_fds_find(dev_t dev, ino_t ino, struct gmem_vec *fds)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return -errno;
	while (!ret && (entry = readdir(dir))) {
		int *slot, fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = atoi(entry->d_name);
		if (!gmem_fd_is(fd, dev, ino))
			continue;
		slot = gmem_vec_add(fds);
		if (slot)
			*slot = fd;
		else
			ret = -ENOMEM;
	}
	closedir(dir);
	return ret;
}
