// SPDX-License-Identifier: GPL-2.0
/*
 * Track which pages of a file are private: one state for the whole file, and the
 * ranges whose state differs from it.
 */
#include <errno.h>

#include "file.h"
#include "range.h"

/*
 * Makes room, so that gmem_state_set() cannot fail: it may split a range in two and
 * add one.
 */
int gmem_state_prepare(struct gmem_file *file)
{
	return gmem_vec_reserve(&file->converted, 2) ? -ENOMEM : 0;
}

/* Bytes from @start to @end. Must be called after gmem_state_prepare(). */
void gmem_state_set(struct gmem_file *file, u64 start, u64 end, bool private)
{
	if (private != file->private)
		gmem_range_merge(&file->converted, start, end);
	else
		gmem_range_remove(&file->converted, start, end);
}

/* Sets the state of the whole file. */
void gmem_state_set_all(struct gmem_file *file, bool private)
{
	gmem_vec_free(&file->converted);
	file->private = private;
}

/* Is any of it in the other state? */
bool gmem_state_differs(const struct gmem_file *file, u64 start, u64 end,
			bool private)
{
	u64 converted = gmem_range_overlap(&file->converted, start, end);

	return converted != (private == file->private ? 0 : end - start);
}
