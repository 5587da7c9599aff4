/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one lock, which guards all state of the library (lock.c). gmem_lock()
 * returns false to a thread that holds it already.
 */
#ifndef GMEM_RUN_LOCK_H
#define GMEM_RUN_LOCK_H

#include "gmem-run.h"

bool gmem_lock(void);
void gmem_unlock(void);

#endif /* GMEM_RUN_LOCK_H */
