/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Handle the VMM's memslot updates (region.c).
 */
#ifndef GMEM_RUN_REGION_H
#define GMEM_RUN_REGION_H

#include "gmem-run.h"
#include "vm.h"

extern unsigned int gmem_regions_left;

int gmem_region_set(struct gmem_vm *vm, unsigned long request, void *arg);

#endif /* GMEM_RUN_REGION_H */
