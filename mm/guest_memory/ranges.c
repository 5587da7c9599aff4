// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: sets of page ranges
 *
 * Which pages of a file were converted, or which gfns of a virtual machine are
 * private, is a set of page indices.  It is kept as ranges in a maple tree, so
 * that it costs a few hundred bytes for each boundary and nothing for each page.
 *
 * Invariants:
 *
 * - Ranges in the tree neither overlap nor touch: a change merges with its
 *   neighbours.  "Do these pages have the same state" is then one lookup.
 * - A change is a single store.  It happens completely, or not at all when
 *   there is no memory for it; readers, which take no lock, see the set before
 *   it or after it.
 */
#include <linux/export.h>
#include <linux/guest_memory.h>
#include <linux/maple_tree.h>

void guest_memory_ranges_init(struct guest_memory_ranges *ranges)
{
	/*
	 * The tree is never searched for gaps.  But without MT_FLAGS_ALLOC_RANGE the last
	 * slot of an inner node shares its bytes with metadata, which
	 * mt_free_walk() of 6.1 takes for a child when a tree of three levels is
	 * freed in RCU mode.
	 */
	mt_init_flags(&ranges->tree, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_ranges_init, GUEST_MEMORY);

void guest_memory_ranges_destroy(struct guest_memory_ranges *ranges)
{
	mtree_destroy(&ranges->tree);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_ranges_destroy, GUEST_MEMORY);

/*
 * The state of @index, and the first and last index of the largest run of the
 * same state around it.
 */
bool guest_memory_ranges_find(struct guest_memory_ranges *ranges,
			      unsigned long index, unsigned long *first,
			      unsigned long *last)
{
	MA_STATE(mas, &ranges->tree, index, index);
	bool set;

	if (mtree_empty(&ranges->tree)) {
		*first = 0;
		*last = ULONG_MAX;
		return false;
	}

	rcu_read_lock();
	set = mas_walk(&mas);
	*first = mas.index;
	*last = mas.last;
	rcu_read_unlock();

	return set;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_ranges_find, GUEST_MEMORY);

int guest_memory_ranges_set(struct guest_memory_ranges *ranges,
			    unsigned long first, unsigned long last, bool set,
			    gfp_t gfp)
{
	unsigned long lo, hi, unused;

	if (guest_memory_ranges_find(ranges, first, &lo, &hi) == set &&
	    hi >= last)
		return 0;

	lo = first;
	hi = last;
	/* Absorb the neighbours of the new state; gaps merge by themselves. */
	if (set && first &&
	    !guest_memory_ranges_find(ranges, first - 1, &lo, &unused))
		lo = first;
	if (set && last < ULONG_MAX &&
	    !guest_memory_ranges_find(ranges, last + 1, &unused, &hi))
		hi = last;

	return mtree_store_range(&ranges->tree, lo, hi,
				 set ? xa_mk_value(1) : NULL, gfp);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_ranges_set, GUEST_MEMORY);
