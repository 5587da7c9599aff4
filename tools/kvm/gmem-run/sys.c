// SPDX-License-Identifier: GPL-2.0
/*
 * Direct system calls: the library must not call its own interposed functions,
 * and dlsym() cannot be used in an mmap() call of the allocator.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#define MPOL_F_ADDR	2

size_t gmem_page_size = 4096;

__attribute__((constructor)) static void sys_init(void)
{
	gmem_page_size = (size_t)sysconf(_SC_PAGESIZE);
}

static int result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

/* Like mmap(): MAP_FAILED and errno. */
void *gmem_sys_mmap(void *addr, size_t len, int prot, int flags, int fd,
		    off_t offset)
{
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int gmem_sys_munmap(void *addr, size_t len)
{
	return result(syscall(SYS_munmap, addr, len));
}

/* Like mremap(): MAP_FAILED and errno. */
void *gmem_sys_mremap(void *old, size_t old_len, size_t new_len, int flags,
		      void *new)
{
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, new);
}

int gmem_sys_madvise(void *addr, size_t len, int advice)
{
	return result(syscall(SYS_madvise, addr, len, advice));
}

int gmem_sys_ftruncate(int fd, off_t size)
{
	return result(syscall(SYS_ftruncate, fd, size));
}

int gmem_sys_fcntl(int fd, int cmd, long arg)
{
	return result(syscall(SYS_fcntl, fd, cmd, arg));
}

int gmem_sys_mbind(void *addr, size_t len, int mode, const unsigned long *mask,
		   unsigned long bits)
{
	return result(syscall(SYS_mbind, addr, len, mode, mask, bits, 0));
}

int gmem_sys_get_mempolicy(int *mode, unsigned long *mask, unsigned long bits,
			   const void *addr)
{
	return result(syscall(SYS_get_mempolicy, mode, mask, bits, addr,
			      MPOL_F_ADDR));
}
