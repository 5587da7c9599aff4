// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: how the kernel itself reads and writes it
 *
 * A page that is in the direct map is reached there.  A hidden one is shown to
 * this CPU for as long as the access takes; see hidden/window.c.
 *
 * The caller has a reference to the page, which keeps the page from changing
 * between the two.
 */
#include <linux/export.h>
#include <linux/guest_memory.h>
#include <linux/highmem.h>

#include "access.h"

void guest_memory_read_page(struct page *page, unsigned int offset, void *data,
			    unsigned int len)
{
	void *addr;

	if (guest_memory_page_hidden(page)) {
		guest_memory_read_hidden(page, offset, data, len);
		return;
	}

	addr = kmap_local_page(page);
	guest_memory_load(data, addr + offset, len);
	kunmap_local(addr);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_read_page, GUEST_MEMORY);

void guest_memory_write_page(struct page *page, unsigned int offset,
			     const void *data, unsigned int len)
{
	void *addr;

	if (guest_memory_page_hidden(page)) {
		guest_memory_write_hidden(page, offset, data, len);
		return;
	}

	addr = kmap_local_page(page);
	guest_memory_store(addr + offset, data, len);
	kunmap_local(addr);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_write_page, GUEST_MEMORY);

bool guest_memory_cmpxchg_page(struct page *page, unsigned int offset,
			       void *old, const void *new, unsigned int size)
{
	void *addr;
	bool done;

	if (guest_memory_page_hidden(page))
		return guest_memory_cmpxchg_hidden(page, offset, old, new, size);

	addr = kmap_local_page(page);
	done = guest_memory_try_cmpxchg(addr + offset, old, new, size);
	kunmap_local(addr);

	return done;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_cmpxchg_page, GUEST_MEMORY);

void guest_memory_merge_page(struct page *page, const void *old,
			     const void *new)
{
	void *addr;

	if (guest_memory_page_hidden(page)) {
		guest_memory_merge_hidden(page, old, new);
		return;
	}

	addr = kmap_local_page(page);
	guest_memory_merge(addr, old, new);
	kunmap_local(addr);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_merge_page, GUEST_MEMORY);
