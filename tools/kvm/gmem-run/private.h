/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Make the memory of a protected VM private, and parts of it shared again.
 */
#ifndef GMEM_RUN_PRIVATE_H
#define GMEM_RUN_PRIVATE_H

#include "file.h"
#include "gmem-run.h"
#include "vm.h"

/* convert.c: make pages private or shared */
int gmem_convert_file(struct gmem_file *file);
int gmem_convert_gpa(struct gmem_vm *vm, u64 gpa, u64 size, bool private);
bool gmem_convert_differs(struct gmem_vm *vm, u64 gpa, u64 size, bool private);

/* private.c: make all memory of a protected VM private */
void gmem_private_vm(struct gmem_vm *vm);
void gmem_private_file(const struct gmem_vm *vm, struct gmem_file *file);
void gmem_private_at_exit(const struct gmem_vm *vm, int status);

#endif /* GMEM_RUN_PRIVATE_H */
