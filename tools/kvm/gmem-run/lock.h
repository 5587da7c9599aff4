/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The lock that protects all state of the library (lock.c). gmem_lock() returns
 * false if the calling thread already holds it.
 */
#ifndef GMEM_RUN_LOCK_H
#define GMEM_RUN_LOCK_H

#include "gmem-run.h"

bool gmem_lock(void);
bool gmem_trylock(void);
void gmem_unlock(void);

#endif /* GMEM_RUN_LOCK_H */
