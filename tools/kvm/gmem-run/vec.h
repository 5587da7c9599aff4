/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A growing array that does not use the VMM's allocator (vec.c).
 */
#ifndef GMEM_RUN_VEC_H
#define GMEM_RUN_VEC_H

#include "gmem-run.h"

struct gmem_vec {
	void *data;
	size_t nr;
	size_t capacity;
	size_t size;
};

#define GMEM_VEC(type)		{ .size = sizeof(type) }

int gmem_vec_reserve(struct gmem_vec *vec, size_t nr);
void *gmem_vec_add(struct gmem_vec *vec);
void *gmem_vec_at(const struct gmem_vec *vec, size_t i);
void gmem_vec_remove(struct gmem_vec *vec, size_t i);
void gmem_vec_free(struct gmem_vec *vec);

#endif /* GMEM_RUN_VEC_H */
