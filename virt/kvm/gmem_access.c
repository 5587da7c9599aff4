// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: how KVM itself reads and writes guest memory
 *
 * KVM fetches instructions, walks page tables and keeps clocks in guest memory.
 * It does so through userspace_addr, but in a protected virtual machine that
 * address may show nothing, or something else.  There KVM takes the page from
 * the file, as the guest does, and fails where the guest would: a private gfn of
 * a slot without a file has no memory.  No other virtual machine uses this path.
 *
 * An access holds a reference to the page and no lock.  It may hit a page that
 * is on its way out of the file, like an access of the guest that came a little
 * earlier; the page is freed after the access.  A conversion to private may find
 * the reference and waits for it to go.
 */
#include <linux/highmem.h>
#include <linux/kvm_host.h>

#include "gmem.h"

/* The page at @gfn with a reference, or NULL. */
static struct page *kvm_gmem_page(const struct kvm_memory_slot *slot, gfn_t gfn,
				  bool atomic)
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
		r = guest_memory_get_pfn(bind->inode, index, &pfn, &order);

	return r ? NULL : pfn_to_page(pfn);
}

kvm_pfn_t kvm_gmem_to_pfn(const struct kvm_memory_slot *slot, gfn_t gfn,
			  bool atomic, bool *writable)
{
	struct page *page = kvm_gmem_page(slot, gfn, atomic);

	if (writable)
		*writable = true;

	return page ? page_to_pfn(page) : KVM_PFN_ERR_FAULT;
}

/*
 * Copy to or from guest memory.  What is one access when the guest does it has
 * to be one when KVM emulates it: nobody sees half of a page table entry.
 */
static void kvm_gmem_copy(void *to, const void *from, int len)
{
	switch (len) {
	case 1:
		WRITE_ONCE(*(u8 *)to, READ_ONCE(*(const u8 *)from));
		break;
	case 2:
		WRITE_ONCE(*(u16 *)to, READ_ONCE(*(const u16 *)from));
		break;
	case 4:
		WRITE_ONCE(*(u32 *)to, READ_ONCE(*(const u32 *)from));
		break;
	case 8:
		WRITE_ONCE(*(u64 *)to, READ_ONCE(*(const u64 *)from));
		break;
	default:
		memcpy(to, from, len);
	}
}

int kvm_gmem_read(const struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		  int offset, int len, bool atomic)
{
	struct page *page = kvm_gmem_page(slot, gfn, atomic);
	void *addr;

	if (!page)
		return -EFAULT;

	addr = kmap_local_page(page);
	kvm_gmem_copy(data, addr + offset, len);
	kunmap_local(addr);
	put_page(page);

	return 0;
}

int kvm_gmem_write(const struct kvm_memory_slot *slot, gfn_t gfn,
		   const void *data, int offset, int len)
{
	struct page *page = kvm_gmem_page(slot, gfn, false);
	void *addr;

	if (!page)
		return -EFAULT;

	addr = kmap_local_page(page);
	kvm_gmem_copy(addr + offset, data, len);
	kunmap_local(addr);
	put_page(page);

	return 0;
}

static bool kvm_try_cmpxchg(void *ptr, void *old, const void *new,
			    unsigned int size)
{
	switch (size) {
	case 1:
		return try_cmpxchg((u8 *)ptr, (u8 *)old, *(u8 *)new);
	case 2:
		return try_cmpxchg((u16 *)ptr, (u16 *)old, *(u16 *)new);
	case 4:
		return try_cmpxchg((u32 *)ptr, (u32 *)old, *(u32 *)new);
	default:
		return try_cmpxchg((u64 *)ptr, (u64 *)old, *(u64 *)new);
	}
}

int kvm_gmem_cmpxchg(const struct kvm_memory_slot *slot, gpa_t gpa, void *old,
		     const void *new, unsigned int size)
{
	gfn_t gfn = gpa_to_gfn(gpa);
	struct page *page;
	void *addr;
	bool done;

	if (!kvm_gmem_owns_gfn(slot, gfn))
		return -EOPNOTSUPP;

	page = kvm_gmem_page(slot, gfn, false);
	if (!page)
		return -EFAULT;

	addr = kmap_local_page(page);
	done = kvm_try_cmpxchg(addr + offset_in_page(gpa), old, new, size);
	kunmap_local(addr);
	put_page(page);

	return done ? 0 : 1;
}
