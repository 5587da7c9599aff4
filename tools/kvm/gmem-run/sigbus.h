/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Say who accessed private memory (sigbus.c).
 */
#ifndef GMEM_RUN_SIGBUS_H
#define GMEM_RUN_SIGBUS_H

#include <signal.h>

void gmem_sigbus_init(void);
int gmem_sigbus_action(int sig, const struct sigaction *new,
		       struct sigaction *old);
int gmem_sigbus_mask(int how, const sigset_t *new, sigset_t *old);

#endif /* GMEM_RUN_SIGBUS_H */
