/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: definitions shared by the files of the memory half
 */

/**
 * DOC: Lock order
 *
 * Outermost first::
 *
 *	kvm->slots_lock			memslots, the set of private gfns
 *	  mmap_lock			the mapping that a host fault is in
 *	    guest_memory_block_locks	one block that is being filled
 *	      pool->lock		taking pages of a hugetlb pool; not with
 *					the invalidate_lock
 *	      mapping->invalidate_lock	the content of the file, see below
 *	        folio lock		one folio, against removal
 *	          i_mmap_rwsem		the host mappings of the file
 *	            bindings_lock	users and bindings of the inode
 *	              kvm->mn_invalidate_lock
 *	              kvm->srcu (read)	the memslot that a binding names
 *	                kvm->mmu_lock	guest page tables, invalidations
 *
 * The invalidate_lock is held shared to add pages, and exclusive to remove or
 * convert pages and to change users or bindings.  Pages are allocated and zeroed
 * before it is taken, and freed after it was dropped.
 *
 * Users and bindings change only under the invalidate_lock and the
 * bindings_lock, both exclusive, so that either lock is enough to walk them.  A
 * hole punch or a conversion holds the invalidate_lock from invalidate_begin()
 * to invalidate_end(): both calls see the same bindings, although folio locks,
 * which are outside the bindings_lock, are taken in between.  Memory failure
 * holds a folio lock when it calls and thus cannot take the invalidate_lock.  It
 * makes both calls in one section of the bindings_lock.
 */
#ifndef _MM_GUEST_MEMORY_INTERNAL_H
#define _MM_GUEST_MEMORY_INTERNAL_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/guest_memory.h>
#include <linux/mempolicy.h>
#include <linux/mm_types.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/sizes.h>
#include <linux/xarray.h>

/*
 * Blocks of 2 MiB, which a page table entry of guest and host can map.  With larger
 * pages such an entry maps more, and all blocks are single pages.
 */
#define GUEST_MEMORY_BLOCK_ORDER	9
#define GUEST_MEMORY_BLOCK_PAGES	BIT(GUEST_MEMORY_BLOCK_ORDER)

/* Blocks that are contiguous, and can be mapped as 1 GiB. */
#define GUEST_MEMORY_GIANT_ORDER	18

/**
 * struct guest_memory_inode - a guest memory inode
 * @vfs_inode:		the inode; i_size never changes
 * @flags:		GUEST_MEMORY_* properties, constant
 * @source:		where its memory comes from, constant
 * @closed:		the last user has left, no page may be added any more;
 *			guarded by the invalidate_lock
 * @poisoned:		a page had a memory error, now or earlier; only ever set
 * @bindings_lock:	guards @users and, on their behalf, their bindings
 * @users:		list of &struct guest_memory_user; changed under the
 *			invalidate_lock and @bindings_lock, both exclusive
 * @converted:		pages whose state is not the one they began with;
 *			changed under the invalidate_lock, exclusive
 * @changing_start:	pages [@changing_start, @changing_end) are being converted;
 *			none if the end is 0.  Written under the invalidate_lock,
 *			exclusive, read without a lock
 * @changing_end:	see @changing_start
 * @whole:		blocks of 2 MiB that guests may map as one page, by index
 *			of the block; see huge.c.  Has its own lock
 * @fallbacks:		how often there were no 2 MiB for a block
 * @pool:		what the file has of a hugetlb pool, constant; or NULL
 * @policy:		NUMA policy by page index; has its own lock
 */
struct guest_memory_inode {
	struct inode vfs_inode;
	unsigned long flags;
	const struct guest_memory_source_ops *source;
	bool closed;
	bool poisoned;
	struct rw_semaphore bindings_lock;
	struct list_head users;
	struct guest_memory_ranges converted;
	pgoff_t changing_start;
	pgoff_t changing_end;
	struct xarray whole;
	atomic_long_t fallbacks;
	struct guest_memory_pool *pool;
	struct shared_policy policy;
};

static inline struct guest_memory_inode *GUEST_MEMORY_I(const struct inode *inode)
{
	return container_of(inode, struct guest_memory_inode, vfs_inode);
}

/* Size in pages. */
static inline pgoff_t guest_memory_nr_pages(const struct inode *inode)
{
	return i_size_read(inode) >> PAGE_SHIFT;
}

/* How much to do for a folio of a source that has some ready. */
enum guest_memory_effort {
	GUEST_MEMORY_TAKE,	/* take a free one of the right node */
	GUEST_MEMORY_TAKE_ANY,	/* or of any node the policy allows */
	GUEST_MEMORY_MAKE,	/* or make new ones; may take long */
};

/**
 * struct guest_memory_source_ops - where the memory of a file comes from
 * @vm_flags:		flags that host mappings need; with VM_PFNMAP nobody gets
 *			references through them, and there is no reverse mapping
 * @nomem:		how a host fault ends that finds no memory, unless the
 *			memory cgroup is out of memory
 * @has_address:	the kernel can touch the pages where kmap() maps them
 * @only_huge:		all blocks have 2 MiB, and are in the file as a whole or not
 * @zero_huge:		the caller zeroes what @alloc_huge returns, unless its gfp does
 * @get:		a file is being created; 0 or an error.  Optional
 * @put:		the file is gone.  Optional
 * @alloc:		allocate a zeroed folio for page @index of @inode, which
 *			the NUMA policy decides about; NULL if there is none
 * @alloc_huge:		allocate 2 MiB for the block at @start of @inode, on node @nid
 *			and no other if memory is not bound to the file anyway.  NULL
 *			if there are none.  Optional
 * @zero_page:		zero a page of the file
 * @discard:		free a folio that did not enter the file and may have
 *			content
 * @leave:		@folio is about to leave the file, which drops the file's
 *			reference.  Optional
 * @free:		zero and free the folios of @list, linked by
 *			folio->private, which have left the file.  For each the
 *			caller passes on the reference that it found it with
 * @remove:		instead of @leave and @free: take pages [start, end) out of the
 *			file, which guests cannot reach; what is in use may stay and is
 *			zeroed.  Optional
 * @clean:		with @remove: zero what has left the file.  Optional
 * @close:		with @remove: the last user has left.  Optional
 * @show_fdinfo:	what fdinfo says about the source.  Optional
 *
 * All but @leave, @remove and @zero_page are called without locks of the file, and may
 * sleep; @leave is called under the folio lock, @remove and @zero_page under the
 * invalidate_lock.  Without @zero_huge, @alloc_huge and @discard of 2 MiB are called
 * under the mutex of the block.
 */
struct guest_memory_source_ops {
	unsigned long vm_flags;
	vm_fault_t nomem;
	bool has_address;
	bool only_huge;
	bool zero_huge;
	int (*get)(struct inode *inode);
	void (*put)(struct inode *inode);
	struct folio *(*alloc)(struct inode *inode, pgoff_t index,
			       enum guest_memory_effort effort);
	struct folio *(*alloc_huge)(struct inode *inode, pgoff_t start, int nid,
				    gfp_t gfp);
	void (*zero_page)(struct page *page);
	void (*discard)(struct inode *inode, struct folio *folio);
	void (*leave)(struct folio *folio);
	void (*free)(struct inode *inode, struct folio *list);
	void (*remove)(struct inode *inode, pgoff_t start, pgoff_t end);
	void (*clean)(struct inode *inode, pgoff_t start, pgoff_t end);
	void (*close)(struct inode *inode);
	void (*show_fdinfo)(struct seq_file *m, struct inode *inode);
};

extern const struct guest_memory_source_ops guest_memory_buddy_source;
extern const struct guest_memory_source_ops guest_memory_hidden_source;
extern const struct guest_memory_source_ops guest_memory_hugetlb_source;
extern const struct guest_memory_source_ops guest_memory_hidden_hugetlb_source;

/* NULL: there is no such source. */
static inline const struct guest_memory_source_ops *
guest_memory_find_source(unsigned long flags)
{
	bool hidden = flags & GUEST_MEMORY_NO_DIRECT_MAP;

	if (hidden && !IS_ENABLED(CONFIG_GUEST_MEMORY_HIDDEN))
		return NULL;

	if (!(flags & GUEST_MEMORY_HUGETLB))
		return hidden ? &guest_memory_hidden_source :
				&guest_memory_buddy_source;

	if (!IS_ENABLED(CONFIG_GUEST_MEMORY_HUGETLB))
		return NULL;

	return hidden ? &guest_memory_hidden_hugetlb_source :
			&guest_memory_hugetlb_source;
}

static inline const struct guest_memory_source_ops *
guest_memory_source(const struct inode *inode)
{
	return GUEST_MEMORY_I(inode)->source;
}

/* Allocate a zeroed folio for page @index, or NULL. */
static inline struct folio *
guest_memory_alloc_folio(struct inode *inode, pgoff_t index,
			 enum guest_memory_effort effort)
{
	return guest_memory_source(inode)->alloc(inode, index, effort);
}

/* Free a folio that did not become part of the file; it may have content. */
static inline void guest_memory_discard_folio(struct inode *inode,
					      struct folio *folio)
{
	guest_memory_source(inode)->discard(inode, folio);
}

/* True if the file may have blocks of 2 MiB. */
static inline bool guest_memory_may_be_huge(const struct inode *inode)
{
	return GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_HUGE;
}

/* True if all blocks of the file have 2 MiB, and are there as a whole or not. */
static inline bool guest_memory_only_huge(const struct inode *inode)
{
	return guest_memory_source(inode)->only_huge;
}

/* alloc.c */
void guest_memory_lock_block(struct inode *inode, pgoff_t start);
void guest_memory_unlock_block(struct inode *inode, pgoff_t start);
void guest_memory_assert_block(struct inode *inode, pgoff_t start);
void guest_memory_wait_for_blocks(void);
bool __guest_memory_add_huge(struct inode *inode, pgoff_t index,
			     enum guest_memory_reason reason);
bool guest_memory_has_room(int nid);
void guest_memory_clear_huge(struct page *page, pgoff_t index);
void guest_memory_init_alloc(void);

/* How often the same data may be faulted in and still not be readable. */
#define GUEST_MEMORY_COPY_TRIES		3

ssize_t guest_memory_write_huge(struct inode *inode, loff_t pos,
				struct iov_iter *from, struct page *bounce);

/* Give the block around @index 2 MiB if it may have them.  True: look again. */
static inline bool guest_memory_add_huge(struct inode *inode, pgoff_t index,
					 enum guest_memory_reason reason)
{
	return (GUEST_MEMORY_I(inode)->flags & reason & GUEST_MEMORY_HUGE ||
		guest_memory_only_huge(inode)) &&
	       __guest_memory_add_huge(inode, index, reason);
}

/* True if one of @nr pages, which is not 0, has a memory error. */
static inline bool guest_memory_has_poison(const struct page *page,
					   unsigned long nr)
{
	unsigned long flags = 0;

	/* Without a branch for each page: as a rule, there is none. */
	do {
		/* A race: other flags change at any time, and do not matter. */
		flags |= data_race(page++->flags);
	} while (--nr);

	return flags & __PG_HWPOISON;
}

/* huge.c */
bool guest_memory_uniform(struct inode *inode, pgoff_t index, bool *private);
bool guest_memory_folio_has_poison(struct folio *folio);
bool guest_memory_folio_good(struct folio *folio);
int guest_memory_split(struct page *page);
bool guest_memory_split_held(struct inode *inode, struct page *page);
unsigned int guest_memory_pfn_order(struct inode *inode, pgoff_t index,
				    unsigned long pfn);
void guest_memory_set_whole(struct inode *inode, struct folio *folio, gfp_t gfp);
void guest_memory_restore_whole(struct inode *inode, pgoff_t start,
				struct page *page);
void guest_memory_clear_whole(struct inode *inode, pgoff_t start, pgoff_t end);
pgoff_t guest_memory_nr_whole(struct inode *inode);
bool guest_memory_release_folio(struct folio *folio, gfp_t gfp);
void guest_memory_split_range(struct inode *inode, pgoff_t start, pgoff_t end);
void guest_memory_break_pages(struct page *page, unsigned long nr);
void guest_memory_zero_pages(struct inode *inode, struct page *page,
			     unsigned long nr);
void guest_memory_zero_borders(struct folio_batch *batch, pgoff_t start,
			       pgoff_t end);

/* users.c */
void guest_memory_invalidate_begin(struct inode *inode, pgoff_t start,
				   pgoff_t end);
void guest_memory_invalidate_end(struct inode *inode, pgoff_t start,
				 pgoff_t end);
void guest_memory_promote(struct inode *inode, pgoff_t start, pgoff_t end);
void guest_memory_account(struct inode *inode, long nr, long nr_whole);
unsigned int guest_memory_nr_users(struct inode *inode);

/* block.c */

/*
 * How many pages may leave a file before guests can reach the range again, and
 * before the memory is free.
 */
#define GUEST_MEMORY_REMOVE_BATCH	(SZ_16M >> PAGE_SHIFT)

/*
 * folio_mapped(), for a caller with one reference to @folio: it looks at each page of a
 * large one, but a mapping is a reference, too.
 */
static inline bool guest_memory_folio_mapped(struct folio *folio)
{
	if (folio_test_large(folio) &&
	    folio_ref_count(folio) == folio_nr_pages(folio) + 1)
		return false;

	return folio_mapped(folio);
}

/*
 * How often to try to split a folio that somebody uses, 1 ms apart.  A page fault or a
 * walker of pages has it for a moment only.
 */
#define GUEST_MEMORY_SPLIT_TRIES	3

/* The end of the batch that begins at @start.  It does not cut a block in two. */
static inline pgoff_t guest_memory_batch_end(pgoff_t start, pgoff_t end)
{
	return min(round_down(start + GUEST_MEMORY_REMOVE_BATCH,
			      GUEST_MEMORY_BLOCK_PAGES), end);
}

int guest_memory_add_folio(struct inode *inode, struct folio *folio,
			   pgoff_t index, gfp_t gfp);
struct folio *guest_memory_get_folio(struct inode *inode, pgoff_t index,
				     struct folio *found, struct folio **spare);
void guest_memory_keep_poisoned(struct folio *folio);
pgoff_t guest_memory_next_page(struct inode *inode, pgoff_t start, pgoff_t end);
struct folio *guest_memory_remove_range(struct inode *inode, pgoff_t start,
					pgoff_t end);
void guest_memory_remove_all(struct inode *inode);

#ifdef CONFIG_GUEST_MEMORY_HUGETLB
/* hugetlb/ */
bool guest_memory_giant_whole(struct inode *inode, pgoff_t index);
void guest_memory_count_whole(struct inode *inode, pgoff_t index, int nr);
unsigned int guest_memory_pool_order(struct inode *inode);
unsigned long guest_memory_pool_allocated(struct inode *inode);
#else
static inline bool guest_memory_giant_whole(struct inode *inode, pgoff_t index)
{
	return false;
}

static inline void guest_memory_count_whole(struct inode *inode, pgoff_t index,
					    int nr)
{
}

static inline unsigned int guest_memory_pool_order(struct inode *inode)
{
	return 0;
}

static inline unsigned long guest_memory_pool_allocated(struct inode *inode)
{
	return 0;
}
#endif

#ifdef CONFIG_GUEST_MEMORY_HIDDEN
/* hidden/ */
int guest_memory_reserve_get(void);
void guest_memory_reserve_put(void);
int guest_memory_hide_pages(struct page *page, unsigned long nr);
void guest_memory_flush_hidden(struct page *first, struct page *last);
bool guest_memory_show_pages(struct page *page, unsigned long nr);
void guest_memory_zero_hidden_page(struct page *page);
#else
static inline int guest_memory_hide_pages(struct page *page, unsigned long nr)
{
	return -EINVAL;
}

static inline void guest_memory_flush_hidden(struct page *first,
					     struct page *last)
{
}

static inline bool guest_memory_show_pages(struct page *page, unsigned long nr)
{
	return false;
}
#endif

#endif /* _MM_GUEST_MEMORY_INTERNAL_H */
