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
 * faults need the lock.
 */
#include <linux/guest_memory.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "internal.h"

/* Write to a private page, which must not be there yet. */
static ssize_t guest_memory_write_private(struct inode *inode, pgoff_t index,
					  size_t offset, size_t len,
					  struct iov_iter *from)
{
	struct folio *folio;
	ssize_t copied;
	int r;

	folio = filemap_get_folio(inode->i_mapping, index);
	if (folio) {
		folio_put(folio);
		return -EPERM;
	}

	folio = guest_memory_alloc_folio(inode, index);
	if (!folio)
		return -ENOMEM;

	copied = copy_page_from_iter_atomic(folio_page(folio, 0), offset, len,
					    from);
	/* All or nothing: there is no second write to a private page. */
	r = copied == len ? guest_memory_add_folio(inode, folio, index) :
			    -EFAULT;
	if (r) {
		iov_iter_revert(from, copied);
		copied = r == -EEXIST ? -EPERM : r;
		/* The allocator must not get what was copied. */
		folio_zero_segment(folio, 0, folio_size(folio));
	}
	folio_put(folio);

	return copied;
}

static ssize_t guest_memory_write_shared(struct inode *inode, pgoff_t index,
					 size_t offset, size_t len,
					 struct iov_iter *from)
{
	struct folio *folio;
	struct page *page;
	ssize_t copied;

	folio = guest_memory_get_folio(inode, index);
	if (IS_ERR(folio))
		return PTR_ERR(folio);

	page = folio_file_page(folio, index);
	if (PageHWPoison(page))
		copied = -EHWPOISON;
	else
		copied = copy_page_from_iter_atomic(page, offset, len, from) ? :
			 -EFAULT;
	folio_put(folio);

	return copied;
}

/* Write inside one page; -EFAULT if the source has to be faulted in again. */
static ssize_t guest_memory_write_page(struct inode *inode, loff_t pos,
				       size_t len, struct iov_iter *from)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t index = pos >> PAGE_SHIFT;
	size_t offset = offset_in_page(pos);
	ssize_t copied;

	filemap_invalidate_lock_shared(mapping);
	if (guest_memory_is_private(inode, index))
		copied = guest_memory_write_private(inode, index, offset, len,
						    from);
	else
		copied = guest_memory_write_shared(inode, index, offset, len,
						   from);
	filemap_invalidate_unlock_shared(mapping);

	return copied;
}

ssize_t guest_memory_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	loff_t size = i_size_read(inode);
	ssize_t written = 0, r = 0;
	size_t len;

	if (!(GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_WRITE) ||
	    iocb->ki_pos < 0 || iocb->ki_pos >= size)
		return -EINVAL;

	iov_iter_truncate(from, size - iocb->ki_pos);

	while (iov_iter_count(from)) {
		len = min_t(size_t, iov_iter_count(from),
			    PAGE_SIZE - offset_in_page(iocb->ki_pos));
		r = -EINTR;
		if (signal_pending(current))
			break;
		r = -EFAULT;
		if (fault_in_iov_iter_readable(from, len) == len)
			break;

		r = guest_memory_write_page(inode, iocb->ki_pos, len, from);
		if (r == -EFAULT && !fault_in_iov_iter_readable(from, len))
			continue;
		if (r < 0)
			break;

		iocb->ki_pos += r;
		written += r;
		cond_resched();
	}

	return written ? : r;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_write_iter, GUEST_MEMORY);
