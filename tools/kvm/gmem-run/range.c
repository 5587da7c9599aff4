// SPDX-License-Identifier: GPL-2.0
/*
 * Sets of ranges that do not overlap, in no order: a VMM has few of them.
 */
#include "range.h"

/* Removing a range may split another one in two. */
static int add(struct gmem_vec *ranges, u64 start, u64 end)
{
	struct gmem_range *range = gmem_vec_add(ranges);

	if (!range)
		return -1;
	range->start = start;
	range->end = end;
	return 0;
}

/* Returns 0, or -1 if there was no memory for the second part of a range. */
int gmem_range_remove(struct gmem_vec *ranges, u64 start, u64 end)
{
	int ret = 0;
	size_t i = 0;

	while (i < ranges->nr) {
		struct gmem_range *range = gmem_vec_at(ranges, i);
		struct gmem_range old = *range;

		if (old.end <= start || old.start >= end) {
			i++;
			continue;
		}
		/* The remainders are appended and do not overlap the range. */
		gmem_vec_remove(ranges, i);
		if (old.start < start)
			ret |= add(ranges, old.start, start);
		if (old.end > end)
			ret |= add(ranges, end, old.end);
	}
	return ret;
}

/* Replaces what the range overlaps. Returns 0, or -1 if there was no memory. */
int gmem_range_add(struct gmem_vec *ranges, u64 start, u64 end)
{
	int ret = gmem_range_remove(ranges, start, end);

	return ret | add(ranges, start, end);
}

/* Likewise, and also merges it with its neighbours. */
int gmem_range_merge(struct gmem_vec *ranges, u64 start, u64 end)
{
	size_t i;

	for (i = 0; i < ranges->nr; i++) {
		const struct gmem_range *range = gmem_vec_at(ranges, i);

		if (range->end < start || range->start > end)
			continue;
		if (range->start < start)
			start = range->start;
		if (range->end > end)
			end = range->end;
	}
	return gmem_range_add(ranges, start, end);
}

/* Returns the range with @at in it, or NULL. */
const struct gmem_range *gmem_range_find(const struct gmem_vec *ranges, u64 at)
{
	size_t i;

	for (i = 0; i < ranges->nr; i++) {
		const struct gmem_range *range = gmem_vec_at(ranges, i);

		if (at >= range->start && at < range->end)
			return range;
	}
	return NULL;
}

/* How much of [start, end) is in the set? */
u64 gmem_range_overlap(const struct gmem_vec *ranges, u64 start, u64 end)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < ranges->nr; i++) {
		const struct gmem_range *range = gmem_vec_at(ranges, i);
		u64 from = range->start > start ? range->start : start;
		u64 to = range->end < end ? range->end : end;

		if (from < to)
			sum += to - from;
	}
	return sum;
}
