/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Create protected VMs instead of ordinary ones (protect.c).
 */
#ifndef GMEM_RUN_PROTECT_H
#define GMEM_RUN_PROTECT_H

int gmem_protect_create_vm(int fd, unsigned long request, void *arg);
int gmem_protect_capability(int fd, unsigned long request, void *arg);
void gmem_protect_created(int fd);

#endif /* GMEM_RUN_PROTECT_H */
