// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: population by write()
 *
 * A VMM may fill guest memory without mapping it.  Shared pages can be written
 * at will.  A private page only comes into being this way: its content is
 * complete before it enters the file, and from then on it is the guest's.
 *
 * Source pages are faulted in before the invalidate_lock is taken and copied
 * with faults disabled: the source may be a mapping of this very file, whose
 * faults need the lock.  That a page can be read at one address does not mean
 * that it can be read to its end: behind may be a memory error, which takes the
 * copy another machine check each time, or an allocation tag that does not match.
 * So a copy that gets nowhere is repeated a few times and not more.
 */
#include <linux/guest_memory.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "internal.h"

/*
 * copy_page_from_iter_atomic() for any page: a hidden one is out of its reach,
 * and while it can be reached user space cannot.
 */
static size_t guest_memory_copy_from_iter(struct page *page, size_t offset,
					  size_t len, struct iov_iter *from,
					  struct page *bounce)
{
	size_t copied;

	if (!bounce)
		return copy_page_from_iter_atomic(page, offset, len, from);

	copied = copy_page_from_iter_atomic(bounce, offset, len, from);
	if (copied)
		guest_memory_write_page(page, offset,
					page_address(bounce) + offset, copied);

	return copied;
}

/*
 * Write to a private page, which must not be there yet: *@spare enters the file
 * with the data.
 */
static ssize_t guest_memory_write_private(struct inode *inode, pgoff_t index,
					  size_t offset, size_t len,
					  struct iov_iter *from,
					  struct page *bounce,
					  struct folio **spare)
{
	struct folio *folio;
	ssize_t copied;

	folio = filemap_get_folio(inode->i_mapping, index);
	if (folio) {
		folio_put(folio);
		return -EPERM;
	}
	/* The other pages of the block would be there, too, and not be written. */
	if (guest_memory_only_huge(inode))
		return -EINVAL;
	if (!*spare)
		return -ENOENT;

	copied = guest_memory_copy_from_iter(folio_page(*spare, 0), offset, len,
					     from, bounce);
	/* All or nothing: there is no second write to a private page. */
	if (copied == len) {
		folio = guest_memory_get_folio(inode, index, NULL, spare);
		/* Somebody else's, if the spare is still there. */
		if (!IS_ERR(folio)) {
			folio_put(folio);
			if (!*spare)
				return copied;
		}
	}

	/* It may have content now. */
	iov_iter_revert(from, copied);
	guest_memory_discard_folio(inode, *spare);
	*spare = NULL;

	if (copied != len)
		return -EFAULT;

	return IS_ERR(folio) ? PTR_ERR(folio) : -EPERM;
}

static ssize_t guest_memory_write_shared(struct inode *inode, pgoff_t index,
					 size_t offset, size_t len,
					 struct iov_iter *from,
					 struct page *bounce,
					 struct folio **spare)
{
	struct folio *folio;
	struct page *page;
	ssize_t copied;

	folio = guest_memory_get_folio(inode, index, NULL, spare);
	if (IS_ERR(folio))
		return PTR_ERR(folio);

	page = folio_file_page(folio, index);
	if (PageHWPoison(page))
		copied = -EHWPOISON;
	else
		copied = guest_memory_copy_from_iter(page, offset, len, from,
						     bounce) ? : -EFAULT;
	folio_put(folio);

	return copied;
}

/*
 * Write inside one page.  -EFAULT: the source has to be faulted in again;
 * -ENOENT: a page is needed, and *@spare is NULL.
 */
static ssize_t guest_memory_write_at(struct inode *inode, loff_t pos,
				     size_t len, struct iov_iter *from,
				     struct page *bounce, struct folio **spare)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t index = pos >> PAGE_SHIFT;
	size_t offset = offset_in_page(pos);
	ssize_t copied;

	filemap_invalidate_lock_shared(mapping);
	if (guest_memory_is_private(inode, index))
		copied = guest_memory_write_private(inode, index, offset, len,
						    from, bounce, spare);
	else
		copied = guest_memory_write_shared(inode, index, offset, len,
						   from, bounce, spare);
	filemap_invalidate_unlock_shared(mapping);

	return copied;
}

/*
 * Allocate *@spare for the page at @index, or see to it that the page is there.
 * Returns 0 or -ENOMEM.
 */
static int guest_memory_write_alloc(struct inode *inode, pgoff_t index,
				    struct folio **spare)
{
	if (guest_memory_only_huge(inode))
		return guest_memory_add_huge(inode, index, GUEST_MEMORY_POPULATE) ?
		       0 : -ENOMEM;

	*spare = guest_memory_alloc_folio(inode, index, GUEST_MEMORY_MAKE);

	return *spare ? 0 : -ENOMEM;
}

/* Write up to the end of the page at @pos, or at least something. */
static ssize_t guest_memory_write_some(struct inode *inode, loff_t pos,
				       struct iov_iter *from,
				       struct page *bounce)
{
	size_t len = min_t(size_t, iov_iter_count(from),
			   PAGE_SIZE - offset_in_page(pos));
	pgoff_t index = pos >> PAGE_SHIFT;
	struct folio *spare = NULL;
	int tries = 0;
	ssize_t r;

	/* A guess, to save a try. */
	if (!xa_load(&inode->i_mapping->i_pages, index))
		spare = guest_memory_alloc_folio(inode, index,
						 GUEST_MEMORY_MAKE);

	for (;;) {
		r = -EINTR;
		if (signal_pending(current))
			break;
		r = -EFAULT;
		if (fault_in_iov_iter_readable(from, len) == len)
			break;

		r = guest_memory_write_at(inode, pos, len, from, bounce, &spare);
		if (r == -ENOENT) {
			r = guest_memory_write_alloc(inode, index, &spare);
			if (r)
				break;
		} else if (r != -EFAULT || ++tries == GUEST_MEMORY_COPY_TRIES) {
			break;
		}
	}

	if (spare)
		guest_memory_discard_folio(inode, spare);

	return r;
}

ssize_t guest_memory_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	loff_t size = i_size_read(inode);
	struct page *bounce = NULL;
	ssize_t written = 0, r = 0;

	if (!(GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_WRITE) ||
	    iocb->ki_pos < 0 || iocb->ki_pos >= size)
		return -EINVAL;

	iov_iter_truncate(from, size - iocb->ki_pos);
	if (!guest_memory_source(inode)->has_address) {
		bounce = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!bounce)
			return -ENOMEM;
	}

	while (iov_iter_count(from)) {
		r = guest_memory_write_huge(inode, iocb->ki_pos, from, bounce);
		if (!r)
			r = guest_memory_write_some(inode, iocb->ki_pos, from,
						    bounce);
		if (r < 0)
			break;

		iocb->ki_pos += r;
		written += r;
		cond_resched();
	}

	if (bounce) {
		/* It may contain a secret of the guest. */
		clear_highpage(bounce);
		__free_page(bounce);
	}

	return written ? : r;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_write_iter, GUEST_MEMORY);
