/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sets of ranges (range.c), in a struct gmem_vec of struct gmem_range.
 */
#ifndef GMEM_RUN_RANGE_H
#define GMEM_RUN_RANGE_H

#include "gmem-run.h"
#include "vec.h"

struct gmem_range {
	u64 start;
	u64 end;
};

int gmem_range_add(struct gmem_vec *ranges, u64 start, u64 end);
int gmem_range_merge(struct gmem_vec *ranges, u64 start, u64 end);
int gmem_range_remove(struct gmem_vec *ranges, u64 start, u64 end);
const struct gmem_range *gmem_range_find(const struct gmem_vec *ranges, u64 at);
u64 gmem_range_overlap(const struct gmem_vec *ranges, u64 start, u64 end);

#endif /* GMEM_RUN_RANGE_H */
