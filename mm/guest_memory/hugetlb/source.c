// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory from hugetlb pools: sources of a file's memory
 *
 * The memory is that of a pool, the blocks are like those of other files: what guests
 * and the host may map, conversions and memory errors know no difference.
 *
 * Invariants:
 *
 * - There are no single pages, only blocks of 2 MiB; see guest_memory_only_huge().
 * - The memory cgroup is not charged: the hugetlb cgroup is.
 */
#include <linux/guest_memory.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/seq_file.h>

#include "../../internal.h"
#include "hugetlb.h"

int guest_memory_find_hugetlb(unsigned int shift, unsigned long *flags)
{
	unsigned long size = shift ? 1ul << shift : huge_page_size(&default_hstate);

	if ((size != SZ_2M && size != SZ_1G) || !guest_memory_has_blocks() ||
	    !hugepages_supported() || !size_to_hstate(size))
		return -EINVAL;

	*flags = GUEST_MEMORY_HUGETLB | GUEST_MEMORY_HUGE;
	if (size == SZ_1G)
		*flags |= GUEST_MEMORY_HUGETLB_1G;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_find_hugetlb, GUEST_MEMORY);

bool guest_memory_has_hugetlb(void)
{
	return guest_memory_has_blocks() && hugepages_supported() &&
	       (size_to_hstate(SZ_2M) || size_to_hstate(SZ_1G));
}
EXPORT_SYMBOL_NS_GPL(guest_memory_has_hugetlb, GUEST_MEMORY);

/* There is nothing but blocks. */
static struct folio *guest_memory_hugetlb_alloc(struct inode *inode,
						pgoff_t index,
						enum guest_memory_effort effort)
{
	return NULL;
}

static void guest_memory_hugetlb_show_fdinfo(struct seq_file *m,
					     struct inode *inode)
{
	struct guest_memory_pool *pool = GUEST_MEMORY_I(inode)->pool;
	unsigned long i, giants = 0;

	if (pool->order > GUEST_MEMORY_BLOCK_ORDER)
		for (i = 0; i < pool->nr; i++)
			giants += guest_memory_giant_whole(inode, i << pool->order);

	seq_printf(m, "gmem-1g:\t%llu\n", (u64)giants << 30);
	seq_printf(m, "gmem-hugetlb:\t%llu\n",
		   (u64)pool->nr << (pool->order + PAGE_SHIFT));
}

const struct guest_memory_source_ops guest_memory_hugetlb_source = {
	.nomem		= VM_FAULT_SIGBUS,
	.has_address	= true,
	.only_huge	= true,
	.get		= guest_memory_pool_get,
	.put		= guest_memory_pool_put,
	.alloc		= guest_memory_hugetlb_alloc,
	.alloc_huge	= guest_memory_pool_alloc,
	.zero_page	= clear_highpage,
	.discard	= guest_memory_pool_discard,
	.remove		= guest_memory_pool_remove,
	.clean		= guest_memory_pool_clean,
	.close		= guest_memory_pool_close,
	.show_fdinfo	= guest_memory_hugetlb_show_fdinfo,
};

#ifdef CONFIG_GUEST_MEMORY_HIDDEN
static int guest_memory_hidden_hugetlb_get(struct inode *inode)
{
	int r = guest_memory_reserve_get();

	if (r)
		return r;

	r = guest_memory_pool_get(inode);
	if (r)
		guest_memory_reserve_put();

	return r;
}

static void guest_memory_hidden_hugetlb_put(struct inode *inode)
{
	guest_memory_pool_put(inode);
	guest_memory_reserve_put();
}

const struct guest_memory_source_ops guest_memory_hidden_hugetlb_source = {
	.vm_flags	= VM_PFNMAP,
	.nomem		= VM_FAULT_SIGBUS,
	.only_huge	= true,
	.get		= guest_memory_hidden_hugetlb_get,
	.put		= guest_memory_hidden_hugetlb_put,
	.alloc		= guest_memory_hugetlb_alloc,
	.alloc_huge	= guest_memory_pool_alloc,
	.zero_page	= guest_memory_zero_hidden_page,
	.discard	= guest_memory_pool_discard,
	.remove		= guest_memory_pool_remove,
	.clean		= guest_memory_pool_clean,
	.close		= guest_memory_pool_close,
	.show_fdinfo	= guest_memory_hugetlb_show_fdinfo,
};
#endif
