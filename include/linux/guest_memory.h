/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: memory that belongs to virtual machines and is reached through
 * a file descriptor.
 *
 * This is the interface between the memory half (mm/guest_memory, built in,
 * owns the pages) and its users (KVM, one &struct guest_memory_user for every
 * open file).  See Documentation/virt/kvm/guest_memfd/index.rst for the model.
 */
#ifndef _LINUX_GUEST_MEMORY_H
#define _LINUX_GUEST_MEMORY_H

#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mm_types.h>
#include <linux/sizes.h>
#include <linux/types.h>

struct iov_iter;
struct kiocb;
struct seq_file;
struct guest_memory_user;

/* Properties of an inode, fixed when it is created. */
#define GUEST_MEMORY_MAPPABLE		BIT(0)	/* mmap() is allowed */
#define GUEST_MEMORY_INIT_SHARED	BIT(1)	/* pages begin as shared */
#define GUEST_MEMORY_NO_DIRECT_MAP	BIT(2)	/* pages are hidden */
#define GUEST_MEMORY_WRITE		BIT(3)	/* write() is allowed */
#define GUEST_MEMORY_HUGETLB		BIT(4)	/* memory of a hugetlb pool */
/* The properties above are the flags of the ABI, the others are not. */
#define GUEST_MEMORY_ABI_FLAGS		GENMASK(15, 0)
#define GUEST_MEMORY_HUGE_POPULATE	BIT(16)	/* 2 MiB when populated */
#define GUEST_MEMORY_HUGE_FAULT		BIT(17)	/* 2 MiB when touched */
#define GUEST_MEMORY_CONVERTIBLE	BIT(18)	/* pages can become private */
#define GUEST_MEMORY_HUGETLB_1G		BIT(19)	/* with pages of 1 GiB */
#define GUEST_MEMORY_HUGE \
	(GUEST_MEMORY_HUGE_POPULATE | GUEST_MEMORY_HUGE_FAULT)

/**
 * enum guest_memory_reason - why a page is needed
 * @GUEST_MEMORY_ACCESS:	the kernel reads or writes it: never gets 2 MiB
 * @GUEST_MEMORY_HOLD:		likewise, and keeps the reference for long: it should not
 *				be one to a whole block, of which other pages may have to
 *				be converted
 * @GUEST_MEMORY_POPULATE:	it will be used later: getting 2 MiB may take long
 * @GUEST_MEMORY_FAULT:		a guest or the host touches it
 *
 * The values of the last two are the properties of the inode that allow blocks of
 * 2 MiB.
 */
enum guest_memory_reason {
	GUEST_MEMORY_ACCESS = 0,
	GUEST_MEMORY_HOLD = BIT(0),
	GUEST_MEMORY_POPULATE = GUEST_MEMORY_HUGE_POPULATE,
	GUEST_MEMORY_FAULT = GUEST_MEMORY_HUGE_FAULT,
};

/**
 * guest_memory_has_blocks() - test whether files can have blocks of 2 MiB
 *
 * Context: any.
 * Return: true if so; otherwise all blocks are single pages.
 */
static inline bool guest_memory_has_blocks(void)
{
	return IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && PAGE_SIZE == SZ_4K;
}

/**
 * struct guest_memory_ranges - a set of page indices
 * @tree:	the ranges that are in the set; has its own lock
 *
 * Changes must be serialised by the caller; readers need no lock.
 */
struct guest_memory_ranges {
	struct maple_tree tree;
};

/**
 * struct guest_memory_user_ops - how the memory half reaches a user
 * @detach:		stop using the inode: from the end of this call on, no
 *			new access through @user may begin.  Called once, under
 *			the invalidate_lock and the bindings lock, exclusive.
 * @invalidate_begin:	make pages [start, end) of the file unreachable for
 *			guests and keep them so until @invalidate_end.  May
 *			sleep.  Called under the bindings lock.
 * @invalidate_end:	guests may fault in [start, end) again.  Called under
 *			the bindings lock.
 * @promote:		blocks of pages [start, end), which begins and ends with a
 *			block or the file, may be mapped as one page again: remove
 *			smaller mappings that stand in the way.  May sleep.  Called
 *			under the bindings lock
 * @account:		the inode grew by @nr pages and by @nr_whole blocks of 2 MiB
 *			that guests may map as one page (shrank if negative).  Must
 *			not sleep.  Called under the invalidate_lock or the bindings
 *			lock
 *
 * Every @invalidate_begin is followed by one @invalidate_end with the same
 * range.  They nest: a memory failure may come between the two calls of a hole
 * punch.
 */
struct guest_memory_user_ops {
	void (*detach)(struct guest_memory_user *user);
	void (*invalidate_begin)(struct guest_memory_user *user, pgoff_t start,
				 pgoff_t end);
	void (*invalidate_end)(struct guest_memory_user *user, pgoff_t start,
			       pgoff_t end);
	void (*promote)(struct guest_memory_user *user, pgoff_t start,
			pgoff_t end);
	void (*account)(struct guest_memory_user *user, long nr, long nr_whole);
};

/**
 * struct guest_memory_user - one user (a virtual machine's view) of an inode
 * @node:	entry in the inode's list of users; guarded by the bindings lock
 * @ops:	the user's callbacks
 *
 * Embedded in the user's own structure, which must outlive the file.
 */
struct guest_memory_user {
	struct list_head node;
	const struct guest_memory_user_ops *ops;
};

#ifdef CONFIG_GUEST_MEMORY

extern const struct address_space_operations guest_memory_aops;

/**
 * mapping_guest_memory() - test whether a mapping holds guest memory
 * @mapping:	any address space
 *
 * Context: any.
 * Return: true if the pages of @mapping belong to a guest memory inode.
 */
static inline bool mapping_guest_memory(const struct address_space *mapping)
{
	return mapping->a_ops == &guest_memory_aops;
}

/**
 * guest_memory_is_page() - test whether a page is in a guest memory file
 * @page:	any page, whether or not the caller has a reference
 *
 * Such a page cannot be moved.  Without a reference the answer may be out of
 * date, but asking is safe.
 *
 * Context: any.
 * Return: true if it is.
 */
bool guest_memory_is_page(struct page *page);

/**
 * guest_memory_create_file() - make a new inode and a first file for it
 * @name:	name shown in /proc/PID/fd, e.g. "[kvm-gmem]"
 * @size:	size in bytes, a multiple of PAGE_SIZE greater than 0
 * @flags:	GUEST_MEMORY_* properties
 * @fops:	file operations; their owner is pinned until the last fput()
 * @user:	the creating user; its callbacks may run as soon as this returns
 *
 * The caller stores its own data in the file's private_data before it installs
 * the file, and calls guest_memory_release() from its ->release().
 *
 * Context: process, may sleep; no locks needed.
 * Return: the file (O_RDWR), or ERR_PTR: -ENOMEM, -ENFILE, -ENOENT when the
 * module that owns @fops is going away, -EBUSY for GUEST_MEMORY_NO_DIRECT_MAP
 * while the machine is about to hibernate, or an error of the security module; for
 * GUEST_MEMORY_HUGETLB also -EINVAL if @size is not a multiple of the pool's page size,
 * -ENOMEM if the pool or the cgroup cannot provide so much, or -EINTR.
 */
struct file *guest_memory_create_file(const char *name, loff_t size,
				      unsigned long flags,
				      const struct file_operations *fops,
				      struct guest_memory_user *user);

#ifdef CONFIG_GUEST_MEMORY_HUGETLB
/**
 * guest_memory_has_hugetlb() - test whether files can have memory of hugetlb pools
 *
 * Context: any, after boot; the answer does not change.
 * Return: true if there is a pool of pages of 2 MiB or 1 GiB, however many.
 */
bool guest_memory_has_hugetlb(void);

/**
 * guest_memory_find_hugetlb() - find the properties of a file for a page size
 * @shift:	log2 of the page size in bytes, 0 for the default
 * @flags:	receives GUEST_MEMORY_* properties
 *
 * Context: any, after boot.
 * Return: 0; -EINVAL if there is no such pool, or files cannot have its pages.
 */
int guest_memory_find_hugetlb(unsigned int shift, unsigned long *flags);
#else
static inline bool guest_memory_has_hugetlb(void)
{
	return false;
}

static inline int guest_memory_find_hugetlb(unsigned int shift,
					    unsigned long *flags)
{
	return -EINVAL;
}
#endif

/**
 * guest_memory_release() - end a user's use of an inode
 * @inode:	a guest memory inode
 * @user:	a user of @inode; may be freed when this returns
 *
 * Zaps everything that @user's guests have mapped.  The last user to leave
 * frees all pages; the inode itself may live on through inode references.
 *
 * Context: process, may sleep.  Takes the invalidate_lock and the bindings
 * lock.
 */
void guest_memory_release(struct inode *inode, struct guest_memory_user *user);

/**
 * guest_memory_flags() - the properties an inode was created with
 * @inode:	a guest memory inode
 *
 * Context: any.
 * Return: GUEST_MEMORY_* bits.
 */
unsigned long guest_memory_flags(const struct inode *inode);

/**
 * guest_memory_check_range() - check that a byte range is valid for a file
 * @size:	size of the file in bytes
 * @offset:	start of the range in bytes
 * @len:	length of the range in bytes
 *
 * Context: any.
 * Return: 0; -EINVAL when @offset or @len is unaligned, @len is 0, the range
 * wraps or does not lie inside the file.
 */
int guest_memory_check_range(loff_t size, u64 offset, u64 len);

/**
 * guest_memory_get_pfn() - get the page of a file for a guest access
 * @inode:	a guest memory inode
 * @index:	page index in the file, below its size
 * @reason:	why the page is needed
 * @pfn:	receives the page frame number
 * @order:	receives the order of the largest naturally aligned run of pages
 *		around @index that is contiguous; see guest_memory_max_order()
 *
 * Allocates and zeroes the page, or the block around it, if it is not there.
 * The caller owns one reference to the page on success.  The page may leave the
 * file at any time; users protect their mappings by the ->invalidate_begin()
 * protocol.
 *
 * Context: process, may sleep.  Takes the invalidate_lock shared unless the
 * page is present.  The caller must not hold a lock that orders after it.
 * Return: 0; -ENOMEM; -EHWPOISON when the page has a memory error; -ENODEV
 * when the last user has left.
 */
int guest_memory_get_pfn(struct inode *inode, pgoff_t index,
			 enum guest_memory_reason reason, unsigned long *pfn,
			 unsigned int *order);

/**
 * guest_memory_has_whole() - test whether guests may map a block of 2 MiB as one
 * @inode:	a guest memory inode
 *
 * Context: any.
 * Return: false if guest_memory_max_order() is 0 for all of @inode at this moment.
 */
bool guest_memory_has_whole(struct inode *inode);

/**
 * guest_memory_max_order() - get the order that a guest may map now
 * @inode:	a guest memory inode
 * @index:	page index in the file, below its size
 *
 * For a page that the caller got from guest_memory_get_pfn(), and that was not
 * invalidated since.
 *
 * Context: any, under the lock that @inode's ->invalidate_begin() takes to remove
 * guest mappings; the answer holds until the lock is dropped.
 * Return: the order of the largest naturally aligned run of pages around @index
 * that is contiguous and has one state, i.e. may be mapped as one.
 */
unsigned int guest_memory_max_order(struct inode *inode, pgoff_t index);

/**
 * guest_memory_find_pfn() - get the page of a file without sleeping
 * @inode:	a guest memory inode
 * @index:	page index in the file, below its size
 * @pfn:	receives the page frame number
 *
 * Context: any but interrupts.
 * Return: 0 with a reference to the page; -ENOENT when it is not there;
 * -EHWPOISON when it has a memory error.
 */
int guest_memory_find_pfn(struct inode *inode, pgoff_t index,
			  unsigned long *pfn);

/**
 * guest_memory_fallocate() - ->fallocate() of guest memory files
 * @file:	a guest memory file
 * @mode:	FALLOC_FL_KEEP_SIZE, with or without FALLOC_FL_PUNCH_HOLE
 * @offset:	start in bytes, a multiple of PAGE_SIZE
 * @len:	length in bytes, a multiple of PAGE_SIZE
 *
 * Context: process, may sleep.
 * Return: 0; -EOPNOTSUPP for any other @mode; -EINVAL when unaligned or, for
 * an allocation, past the end of the file; -EINTR when a signal arrived during
 * an allocation, or a fatal one while a hole was punched (the part done so far
 * stays); -ENOMEM.
 */
long guest_memory_fallocate(struct file *file, int mode, loff_t offset,
			    loff_t len);

/**
 * guest_memory_mmap() - ->mmap() of guest memory files
 * @file:	a guest memory file
 * @vma:	the area being set up
 *
 * Context: process, mmap_lock held for writing.
 * Return: 0; -ENODEV when the inode is not GUEST_MEMORY_MAPPABLE; -EINVAL for
 * a private mapping.
 */
int guest_memory_mmap(struct file *file, struct vm_area_struct *vma);

/**
 * guest_memory_vma_hidden() - test whether a mapping shows hidden guest memory
 * @vma:	any mapping
 *
 * Context: mmap_lock held.
 * Return: true if so: nobody gets references through the page tables.
 */
bool guest_memory_vma_hidden(const struct vm_area_struct *vma);

/**
 * guest_memory_vma_pfn() - get the page that a mapping shows at an address
 * @vma:	a mapping for which guest_memory_vma_hidden() is true
 * @addr:	an address in it
 * @pfn:	receives the page frame number
 *
 * The caller uses MMU notifiers to learn that the mapping does not show the page any
 * more.
 *
 * Context: process, may sleep, mmap_lock held; takes the invalidate_lock shared.
 * Return: 0 with a reference to the page; -ENOENT when it is not there or private;
 * -EHWPOISON when it has a memory error.
 */
int guest_memory_vma_pfn(struct vm_area_struct *vma, unsigned long addr,
			 unsigned long *pfn);

/**
 * guest_memory_show_fdinfo() - show the fields of fdinfo about the memory
 * @m:		the fdinfo file
 * @inode:	a guest memory inode
 *
 * Context: process, may sleep; takes the bindings lock shared.
 */
void guest_memory_show_fdinfo(struct seq_file *m, struct inode *inode);

/**
 * guest_memory_ranges_init() - make an empty set
 * @ranges:	the set
 *
 * Context: any.
 */
void guest_memory_ranges_init(struct guest_memory_ranges *ranges);

/**
 * guest_memory_ranges_destroy() - empty a set and free its memory
 * @ranges:	the set, which has no other users
 *
 * Context: process.
 */
void guest_memory_ranges_destroy(struct guest_memory_ranges *ranges);

/**
 * guest_memory_ranges_find() - find the run of equal state around an index
 * @ranges:	the set
 * @index:	page index
 * @first:	receives the first index of the run of equal state around @index
 * @last:	receives the last index of that run
 *
 * Context: any.
 * Return: true if @index is in the set.
 */
bool guest_memory_ranges_find(struct guest_memory_ranges *ranges,
			      unsigned long index, unsigned long *first,
			      unsigned long *last);

/**
 * guest_memory_ranges_set() - add a range to a set or remove it
 * @ranges:	the set
 * @first:	first page index
 * @last:	last page index, at least @first
 * @set:	true to add, false to remove
 * @gfp:	how to allocate
 *
 * Context: process, may sleep if @gfp allows; the caller keeps out other
 * changes.
 * Return: 0, or -ENOMEM with the set unchanged.
 */
int guest_memory_ranges_set(struct guest_memory_ranges *ranges,
			    unsigned long first, unsigned long last, bool set,
			    gfp_t gfp);

/**
 * guest_memory_ranges_test() - test whether an index is in a set
 * @ranges:	the set
 * @index:	page index
 *
 * Context: any.
 * Return: true if it is.
 */
static inline bool guest_memory_ranges_test(struct guest_memory_ranges *ranges,
					    unsigned long index)
{
	/* Most files and virtual machines have nothing in it. */
	return !mtree_empty(&ranges->tree) && mtree_load(&ranges->tree, index);
}

/**
 * guest_memory_is_private() - test whether a page of a file is private
 * @inode:	a guest memory inode
 * @index:	page index
 *
 * Context: any; the answer is stable only under the invalidate_lock.
 * Return: true if the page is private.
 */
bool guest_memory_is_private(struct inode *inode, pgoff_t index);

/**
 * guest_memory_find_state() - get the state of a page, and where it ends
 * @inode:	a guest memory inode
 * @index:	page index
 * @last:	receives the last index of the run of equal state from @index on
 *
 * Context: any; the answer is stable only under the invalidate_lock.
 * Return: true if the page is private.
 */
bool guest_memory_find_state(struct inode *inode, pgoff_t index, pgoff_t *last);

/**
 * guest_memory_convert() - make a range of a file private or shared
 * @inode:	a guest memory inode
 * @start:	first page index
 * @end:	page index behind the range
 * @private:	the new state
 * @gfp:	how to allocate memory for the state; with __GFP_NOFAIL a
 *		conversion to shared does not fail at all
 * @error:	receives, unless 0 is returned, the first page in the way
 *
 * The content of the pages stays.  When this returns 0 for @private, no
 * process of the host can read or write them, whatever it had mapped or pinned
 * before.  All or nothing, but for a caller that is killed while a large range
 * becomes shared.  Meanwhile a part of the range may be seen as converted.
 *
 * Context: process, may sleep.  Takes the invalidate_lock and the bindings
 * lock.  The caller keeps out other conversions of @inode.
 * Return: 0; -EAGAIN when a page that is to become private has other
 * references; -ENOMEM; -EINTR when killed.
 */
int guest_memory_convert(struct inode *inode, pgoff_t start, pgoff_t end,
			 bool private, gfp_t gfp, pgoff_t *error);

/**
 * guest_memory_write_iter() - ->write_iter() of guest memory files
 * @iocb:	position in the file
 * @from:	the data
 *
 * Populates pages that are shared or not there yet, at any alignment.
 *
 * Context: process, may sleep; must not hold mmap_lock.
 * Return: bytes written, or -EINVAL when the inode is not GUEST_MEMORY_WRITE, the
 * position is not inside the file, or a private block of GUEST_MEMORY_HUGETLB would not
 * be written as a whole; -EPERM at a private page that is there; -EHWPOISON; -EFAULT;
 * -ENOMEM; -EINTR.
 */
ssize_t guest_memory_write_iter(struct kiocb *iocb, struct iov_iter *from);

/**
 * guest_memory_lock_bindings() - keep out everything that walks or changes
 *				  the bindings of an inode
 * @inode:	a guest memory inode
 *
 * A user changes its bindings only between this and
 * guest_memory_unlock_bindings().  It excludes hole punches and conversions
 * from begin to end (invalidate_lock, exclusive) as well as memory failure,
 * which comes without the invalidate_lock (bindings lock, exclusive).
 *
 * Context: process, may sleep; slots_lock and mmap_lock are outside.
 */
void guest_memory_lock_bindings(struct inode *inode);

/**
 * guest_memory_unlock_bindings() - undo guest_memory_lock_bindings()
 * @inode:	a guest memory inode
 *
 * Context: process.
 */
void guest_memory_unlock_bindings(struct inode *inode);

/**
 * guest_memory_lock_bindings_shared() - walk the bindings of an inode
 * @inode:	a guest memory inode
 *
 * Context: process, may sleep.
 */
void guest_memory_lock_bindings_shared(struct inode *inode);

/**
 * guest_memory_unlock_bindings_shared() - undo
 *	guest_memory_lock_bindings_shared()
 * @inode:	a guest memory inode
 *
 * Context: process.
 */
void guest_memory_unlock_bindings_shared(struct inode *inode);

/**
 * guest_memory_assert_bindings() - lockdep: bindings may be walked
 * @inode:	a guest memory inode
 *
 * Context: any.
 */
void guest_memory_assert_bindings(const struct inode *inode);

/**
 * guest_memory_assert_bindings_write() - lockdep: bindings may be changed
 * @inode:	a guest memory inode
 *
 * Context: any.
 */
void guest_memory_assert_bindings_write(const struct inode *inode);

#ifdef CONFIG_GUEST_MEMORY_HIDDEN

/**
 * guest_memory_can_hide() - test whether memory can leave the direct map
 *
 * Context: any, after boot; the answer does not change.
 * Return: true if inodes can be GUEST_MEMORY_NO_DIRECT_MAP.
 */
bool guest_memory_can_hide(void);

/**
 * guest_memory_page_hidden() - test whether a page is outside the direct map
 * @page:	any page that the caller has a reference to
 *
 * If so, the addresses that page_address() and kmap() return must not be used.
 *
 * Context: any; the answer holds as long as the reference.
 * Return: true if it is hidden guest memory.
 */
bool guest_memory_page_hidden(struct page *page);

/**
 * guest_memory_hidden_active() - test whether there is hidden memory, or a file
 *				  that may get some
 *
 * Context: any.
 * Return: true if so.
 */
bool guest_memory_hidden_active(void);

#else

static inline bool guest_memory_can_hide(void)
{
	return false;
}

static inline bool guest_memory_page_hidden(struct page *page)
{
	return false;
}

static inline bool guest_memory_hidden_active(void)
{
	return false;
}

#endif /* CONFIG_GUEST_MEMORY_HIDDEN */

/**
 * guest_memory_read_page() - read from a page of guest memory, hidden or not
 * @page:	a page that the caller has a reference to
 * @offset:	offset in the page in bytes
 * @data:	where to, in kernel memory
 * @len:	length in bytes, up to the end of the page
 *
 * 1, 2, 4 or 8 bytes, aligned, are read in one access.
 *
 * Context: any but NMIs.
 */
void guest_memory_read_page(struct page *page, unsigned int offset, void *data,
			    unsigned int len);

/**
 * guest_memory_write_page() - write to a page of guest memory, hidden or not
 * @page:	a page that the caller has a reference to
 * @offset:	offset in the page in bytes
 * @data:	where from, in kernel memory
 * @len:	length in bytes, up to the end of the page
 *
 * 1, 2, 4 or 8 bytes, aligned, are written in one access.
 *
 * Context: any but NMIs.
 */
void guest_memory_write_page(struct page *page, unsigned int offset,
			     const void *data, unsigned int len);

/**
 * guest_memory_cmpxchg_page() - try_cmpxchg() on guest memory, hidden or not
 * @page:	a page that the caller has a reference to
 * @offset:	offset in the page in bytes, aligned to @size
 * @old:	expected value; receives the present one if it differs
 * @new:	new value
 * @size:	1, 2, 4 or 8 bytes
 *
 * Context: any but NMIs.
 * Return: true if exchanged.
 */
bool guest_memory_cmpxchg_page(struct page *page, unsigned int offset,
			       void *old, const void *new, unsigned int size);

/**
 * guest_memory_merge_page() - write the changes of a copy back to the page
 * @page:	a page that the caller has a reference to
 * @old:	the page when it was copied
 * @new:	the copy as it is now
 *
 * Changes the bits in which @new differs from @old and no others, with one
 * atomic access for each 8 bytes.
 *
 * Context: any but NMIs.
 */
void guest_memory_merge_page(struct page *page, const void *old,
			     const void *new);

#else

static inline bool guest_memory_page_hidden(struct page *page)
{
	return false;
}

static inline bool guest_memory_hidden_active(void)
{
	return false;
}

static inline void guest_memory_read_page(struct page *page,
					  unsigned int offset, void *data,
					  unsigned int len)
{
}

static inline void guest_memory_write_page(struct page *page,
					   unsigned int offset,
					   const void *data, unsigned int len)
{
}

static inline bool mapping_guest_memory(const struct address_space *mapping)
{
	return false;
}

static inline bool guest_memory_is_page(struct page *page)
{
	return false;
}

#endif /* CONFIG_GUEST_MEMORY */

#endif /* _LINUX_GUEST_MEMORY_H */
