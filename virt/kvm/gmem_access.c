// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: KVM's own reads and writes of guest memory
 *
 * KVM fetches instructions, walks page tables and keeps clocks in guest memory.
 * It does so through userspace_addr, but in a protected VM nothing, or
 * something else, may be mapped there.  KVM then takes the page from the file,
 * as the guest does, and fails where the guest would: a private gfn of a slot
 * without a file has no memory.  No other VM uses this path.
 *
 * An access holds a reference to the page and no lock.  It may race with the
 * removal of the page from the file, and is then equivalent to a slightly
 * earlier access of the guest; the page is freed after the access.  A
 * conversion to private may find the reference and waits until it is dropped.
 */
#include <linux/mm.h>
#include <linux/kvm_host.h>

#include "gmem.h"

/* Returns the page at @gfn with a reference, or NULL. */
static struct page *__kvm_gmem_page(const struct kvm_memory_slot *slot,
				    gfn_t gfn, bool atomic,
				    enum guest_memory_reason reason)
{
	struct kvm_gmem_binding *bind = slot->gmem;
	unsigned int order;
	unsigned long pfn;
	pgoff_t index;
	int r;

	if (slot->flags & KVM_MEMSLOT_INVALID || !bind || !READ_ONCE(bind->live))
		return NULL;

	index = gfn - bind->base_gfn + bind->node.start;
	if (atomic)
		r = guest_memory_find_pfn(bind->inode, index, &pfn);
	else
		r = guest_memory_get_pfn(bind->inode, index, reason, &pfn,
					 &order);

	return r ? NULL : pfn_to_page(pfn);
}

/* For an access that drops the reference at once. */
static struct page *kvm_gmem_page(const struct kvm_memory_slot *slot, gfn_t gfn,
				  bool atomic)
{
	return __kvm_gmem_page(slot, gfn, atomic, GUEST_MEMORY_ACCESS);
}

/*
 * The functions below are for gfns for which kvm_gmem_owns_gfn() is true.  The
 * caller holds kvm->srcu.  If @atomic, they do not sleep and fail if the page
 * is not present.
 */

/*
 * Returns the pfn, with a reference to the page, or KVM_PFN_ERR_FAULT.
 * @writable, unless NULL, is set to true.
 */
kvm_pfn_t kvm_gmem_to_pfn(const struct kvm_memory_slot *slot, gfn_t gfn,
			  bool atomic, bool *writable)
{
	struct page *page = __kvm_gmem_page(slot, gfn, atomic,
					    GUEST_MEMORY_HOLD);

	if (writable)
		*writable = true;

	return page ? page_to_pfn(page) : KVM_PFN_ERR_FAULT;
}

/* Read inside the page at @gfn.  Returns 0 or -EFAULT. */
int kvm_gmem_read(const struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		  int offset, int len, bool atomic)
{
	struct page *page = kvm_gmem_page(slot, gfn, atomic);

	if (!page)
		return -EFAULT;

	guest_memory_read_page(page, offset, data, len);
	put_page(page);

	return 0;
}

/* Write inside the page at @gfn, without marking it dirty.  May sleep. */
int kvm_gmem_write(const struct kvm_memory_slot *slot, gfn_t gfn,
		   const void *data, int offset, int len)
{
	struct page *page = kvm_gmem_page(slot, gfn, false);

	if (!page)
		return -EFAULT;

	guest_memory_write_page(page, offset, data, len);
	put_page(page);

	return 0;
}

/*
 * Atomically exchange 1, 2, 4 or 8 aligned bytes.  @slot may be NULL.  May
 * sleep.
 *
 * Returns 0 on success; 1 if the value differs, with the present one in @old;
 * -EFAULT; -EOPNOTSUPP if guest_memfd does not own the page.
 */
int kvm_gmem_cmpxchg(const struct kvm_memory_slot *slot, gpa_t gpa, void *old,
		     const void *new, unsigned int size)
{
	gfn_t gfn = gpa_to_gfn(gpa);
	struct page *page;
	bool done;

	if (!kvm_gmem_owns_gfn(slot, gfn))
		return -EOPNOTSUPP;

	page = kvm_gmem_page(slot, gfn, false);
	if (!page)
		return -EFAULT;

	done = guest_memory_cmpxchg_page(page, offset_in_page(gpa), old, new,
					 size);
	put_page(page);

	return done ? 0 : 1;
}

/*
 * hva_to_pfn_remapped() for the mapping of a hidden file, which an ordinary slot may
 * show.  The page is looked up in the file: the page tables may have it in a larger page
 * that does not look like memory.  But they must have it, or mprotect() would not call
 * the MMU notifiers.  Called with the mmap_lock; may sleep.
 *
 * Returns 0 with a reference to the page, or KVM_PFN_ERR_RO_FAULT in @pfn; -ENOENT for
 * other mappings; -EAGAIN if the caller should start over; another errno.
 */
int kvm_gmem_hva_to_pfn(struct vm_area_struct *vma, unsigned long addr,
			bool write_fault, bool *writable, kvm_pfn_t *pfn)
{
	bool can_write = vma->vm_flags & VM_WRITE, unlocked = false;
	unsigned long __pfn;
	int r;

	if (!guest_memory_vma_hidden(vma))
		return -ENOENT;

	if (write_fault && !can_write) {
		*pfn = KVM_PFN_ERR_RO_FAULT;
		return 0;
	}

	r = fixup_user_fault(current->mm, addr,
			     write_fault ? FAULT_FLAG_WRITE : 0, &unlocked);
	if (unlocked)
		return -EAGAIN;
	if (!r)
		r = guest_memory_vma_pfn(vma, addr, &__pfn);
	if (r)
		/* It went away again. */
		return r == -ENOENT ? -EAGAIN : r;

	if (writable)
		*writable = can_write;
	*pfn = __pfn;

	return 0;
}
