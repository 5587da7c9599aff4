// SPDX-License-Identifier: GPL-2.0
/*
 * KVM's ioctls, in a file of their own: the self-test puts its own here.
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
