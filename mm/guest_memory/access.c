// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: how the kernel itself reads and writes it
 *
 * A page that is in the direct map is reached there.  A hidden one is shown to
 * this CPU for as long as the access takes, with interrupts off.
 *
 * The caller has a reference to the page, which keeps the page from changing
 * between the two.
 *
 * This file is not instrumented: the addresses of a window have no shadow.
 */
#include <linux/export.h>
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/highmem.h>
#include <linux/irqflags.h>
#include <linux/log2.h>
#include <linux/string.h>

#include <asm/unaligned.h>

#include "hidden/hidden.h"

/**
 * struct guest_memory_access - an access to a page that is under way
 * @window:	shows the page if it is hidden
 * @flags:	the interrupt flag before
 * @hidden:	is it?
 */
struct guest_memory_access {
	struct guest_memory_window window;
	unsigned long flags;
	bool hidden;
};

static __always_inline void *
guest_memory_begin_access(struct guest_memory_access *access, struct page *page)
{
	access->hidden = guest_memory_page_hidden(page);
	if (!access->hidden)
		return kmap_local_page(page);

	local_irq_save(access->flags);
	return arch_guest_memory_open_window(&access->window, &page, 1);
}

static __always_inline void
guest_memory_end_access(struct guest_memory_access *access, void *addr)
{
	if (!IS_ENABLED(CONFIG_GUEST_MEMORY_HIDDEN) || !access->hidden) {
		kunmap_local(addr);
		return;
	}

	arch_guest_memory_close_window(&access->window);
	local_irq_restore(access->flags);
}

/*
 * What is one access when the guest does it has to be one when the kernel does
 * it for the guest: nobody sees half of a page table entry.  READ_ONCE() may be
 * an instruction that takes aligned addresses only (LDAR).  Nothing is known of
 * the alignment of the kernel's side.
 */
static __always_inline void guest_memory_load(void *data, const void *from,
					      unsigned int len)
{
	bool aligned = IS_ALIGNED((unsigned long)from, len);

	switch (len) {
	case 1:
		*(u8 *)data = READ_ONCE(*(const u8 *)from);
		break;
	case 2:
		put_unaligned(aligned ? READ_ONCE(*(const u16 *)from) :
			      get_unaligned((const u16 *)from), (u16 *)data);
		break;
	case 4:
		put_unaligned(aligned ? READ_ONCE(*(const u32 *)from) :
			      get_unaligned((const u32 *)from), (u32 *)data);
		break;
	case 8:
		put_unaligned(aligned ? READ_ONCE(*(const u64 *)from) :
			      get_unaligned((const u64 *)from), (u64 *)data);
		break;
	default:
		memcpy(data, from, len);
	}
}

static __always_inline void guest_memory_store(void *to, const void *data,
					       unsigned int len)
{
	if (!is_power_of_2(len) || len > sizeof(u64) ||
	    !IS_ALIGNED((unsigned long)to, len)) {
		guest_memory_load(to, data, len);
		return;
	}

	switch (len) {
	case 1:
		WRITE_ONCE(*(u8 *)to, *(const u8 *)data);
		break;
	case 2:
		WRITE_ONCE(*(u16 *)to, get_unaligned((const u16 *)data));
		break;
	case 4:
		WRITE_ONCE(*(u32 *)to, get_unaligned((const u32 *)data));
		break;
	case 8:
		WRITE_ONCE(*(u64 *)to, get_unaligned((const u64 *)data));
		break;
	}
}

void guest_memory_read_page(struct page *page, unsigned int offset, void *data,
			    unsigned int len)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, page);

	guest_memory_load(data, addr + offset, len);
	guest_memory_end_access(&access, addr);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_read_page, GUEST_MEMORY);

void guest_memory_write_page(struct page *page, unsigned int offset,
			     const void *data, unsigned int len)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, page);

	guest_memory_store(addr + offset, data, len);
	guest_memory_end_access(&access, addr);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_write_page, GUEST_MEMORY);

static __always_inline bool guest_memory_try_cmpxchg(void *ptr, void *old,
						     const void *new,
						     unsigned int size)
{
	switch (size) {
	case 1:
		return arch_try_cmpxchg((u8 *)ptr, (u8 *)old, *(u8 *)new);
	case 2:
		return arch_try_cmpxchg((u16 *)ptr, (u16 *)old, *(u16 *)new);
	case 4:
		return arch_try_cmpxchg((u32 *)ptr, (u32 *)old, *(u32 *)new);
	default:
		return arch_try_cmpxchg((u64 *)ptr, (u64 *)old, *(u64 *)new);
	}
}

bool guest_memory_cmpxchg_page(struct page *page, unsigned int offset,
			       void *old, const void *new, unsigned int size)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, page);
	bool done;

	/* Not the instrumented one, which checks the shadow itself. */
	done = guest_memory_try_cmpxchg(addr + offset, old, new, size);
	guest_memory_end_access(&access, addr);

	return done;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_cmpxchg_page, GUEST_MEMORY);

void guest_memory_merge_page(struct page *page, const void *old,
			     const void *new)
{
	struct guest_memory_access access;
	u64 *to = guest_memory_begin_access(&access, page);
	const u64 *from = new, *base = old;
	u64 changed, now;
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*to); i++) {
		changed = from[i] ^ base[i];
		if (!changed)
			continue;

		now = READ_ONCE(to[i]);
		while (!arch_try_cmpxchg(&to[i], &now, (now & ~changed) |
						       (from[i] & changed)))
			;
	}
	guest_memory_end_access(&access, to);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_merge_page, GUEST_MEMORY);

#ifdef CONFIG_GUEST_MEMORY_HIDDEN
void guest_memory_zero_hidden(struct page **pages, unsigned int nr)
{
	struct guest_memory_window window;
	unsigned long flags;
	void *addr;
	unsigned int i;

	local_irq_save(flags);
	addr = arch_guest_memory_open_window(&window, pages, nr);
	for (i = 0; i < nr; i++)
		clear_page(addr + i * PAGE_SIZE);
	arch_guest_memory_close_window(&window);
	local_irq_restore(flags);
}
#endif
