/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System calls that bypass the interposed functions (sys.c, and sys_ioctl.c,
 * which the self-test replaces).
 */
#ifndef GMEM_RUN_SYS_H
#define GMEM_RUN_SYS_H

#include <sys/types.h>

#include "gmem-run.h"
#include "uapi.h"

extern size_t gmem_page_size;

int gmem_sys_ioctl(int fd, unsigned long request, void *arg);
void *gmem_sys_mmap(void *addr, size_t len, int prot, int flags, int fd,
		    off_t offset);
int gmem_sys_munmap(void *addr, size_t len);
void *gmem_sys_mremap(void *old, size_t old_len, size_t new_len, int flags,
		      void *new);
int gmem_sys_madvise(void *addr, size_t len, int advice);
int gmem_sys_ftruncate(int fd, off_t size);
int gmem_sys_fcntl(int fd, int cmd, long arg);
int gmem_sys_mbind(void *addr, size_t len, int mode, const unsigned long *mask,
		   unsigned long bits);
int gmem_sys_get_mempolicy(int *mode, unsigned long *mask, unsigned long bits,
			   const void *addr);

#endif /* GMEM_RUN_SYS_H */
