/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: what its files share among themselves
 *
 * Lock order, outermost first:
 *
 *	mmap_lock
 *	  mapping->invalidate_lock	the content of the file, see below
 *	    folio lock
 *	      i_mmap_rwsem
 *	        bindings_lock		who uses the inode, and where
 *	          (the users' own)	KVM: kvm->srcu, mmu_lock
 *
 * The invalidate_lock is held shared to add pages and exclusive to remove them
 * or to change users and bindings, so that between the invalidate_begin() and
 * invalidate_end() of a removal neither can change.  Pages are not allocated and
 * zeroed under it, and not freed as long as anybody may wait for it.  Memory failure arrives
 * with a folio lock and thus cannot take the invalidate_lock; for its sake
 * users and bindings are also guarded by the bindings_lock.
 */
#ifndef _MM_GUEST_MEMORY_INTERNAL_H
#define _MM_GUEST_MEMORY_INTERNAL_H

#include <linux/fs.h>
#include <linux/guest_memory.h>
#include <linux/mempolicy.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>

/**
 * struct guest_memory_inode - a guest memory inode
 * @vfs_inode:		the inode; i_size never changes
 * @flags:		GUEST_MEMORY_* properties, constant
 * @closed:		the last user has left, no page may be added any more;
 *			guarded by the invalidate_lock
 * @poisoned:		a page had a memory error, now or earlier; only ever set
 * @bindings_lock:	guards @users and, on their behalf, their bindings
 * @users:		list of &struct guest_memory_user; changed under the
 *			invalidate_lock and @bindings_lock, both exclusive
 * @converted:		pages whose state is not the one they began with;
 *			changed under the invalidate_lock, exclusive
 * @policy:		NUMA policy by page index; has its own lock
 */
struct guest_memory_inode {
	struct inode vfs_inode;
	unsigned long flags;
	bool closed;
	bool poisoned;
	struct rw_semaphore bindings_lock;
	struct list_head users;
	struct guest_memory_ranges converted;
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

/* Is the memory of the file outside the direct map? */
static inline bool guest_memory_hides(const struct inode *inode)
{
	return IS_ENABLED(CONFIG_GUEST_MEMORY_HIDDEN) &&
	       GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_NO_DIRECT_MAP;
}

/* What to do for memory outside the direct map, where it is wanted. */
enum guest_memory_effort {
	GUEST_MEMORY_TAKE,	/* take a free page of the right node */
	GUEST_MEMORY_TAKE_ANY,	/* or of a node that will do */
	GUEST_MEMORY_MAKE,	/* or take memory out of it; may last */
};

/* inode.c */
void guest_memory_invalidate_begin(struct inode *inode, pgoff_t start,
				   pgoff_t end);
void guest_memory_invalidate_end(struct inode *inode, pgoff_t start,
				 pgoff_t end);
void guest_memory_account(struct inode *inode, long nr);

/* block.c */
struct folio *guest_memory_alloc_folio(struct inode *inode, pgoff_t index,
				       enum guest_memory_effort effort);
void guest_memory_discard_folio(struct inode *inode, struct folio *folio);
struct folio *guest_memory_get_folio(struct inode *inode, pgoff_t index,
				     struct folio *found, struct folio **spare);
void guest_memory_keep_poisoned(struct folio *folio);
pgoff_t guest_memory_next_page(struct inode *inode, pgoff_t start, pgoff_t end);
void guest_memory_remove_all(struct inode *inode);

#endif /* _MM_GUEST_MEMORY_INTERNAL_H */
