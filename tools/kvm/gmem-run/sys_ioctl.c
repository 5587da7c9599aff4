// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl(), in a separate file so that the self-test can replace it.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

int gmem_sys_ioctl(int fd, unsigned long request, void *arg)
{
	long ret = syscall(SYS_ioctl, fd, request, arg);

	return ret < 0 ? -errno : (int)ret;
}
