// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: how the kernel reads and writes it
 *
 * A window shows the page to this CPU for as long as the access takes, with
 * interrupts off.  The addresses of a window have no shadow: this file is not
 * instrumented.
 */
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/irqflags.h>
#include <linux/mm.h>

#include "../access.h"
#include "hidden.h"

/**
 * struct guest_memory_access - an access to a page that is under way
 * @window:	shows the page
 * @flags:	the interrupt flag before
 */
struct guest_memory_access {
	struct guest_memory_window window;
	unsigned long flags;
};

static __always_inline void *
guest_memory_begin_access(struct guest_memory_access *access,
			  struct page **pages, unsigned int nr)
{
	local_irq_save(access->flags);
	return arch_guest_memory_open_window(&access->window, pages, nr);
}

static __always_inline void
guest_memory_end_access(struct guest_memory_access *access)
{
	arch_guest_memory_close_window(&access->window);
	local_irq_restore(access->flags);
}

void guest_memory_read_hidden(struct page *page, unsigned int offset,
			      void *data, unsigned int len)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, &page, 1);

	guest_memory_load(data, addr + offset, len);
	guest_memory_end_access(&access);
}

void guest_memory_write_hidden(struct page *page, unsigned int offset,
			       const void *data, unsigned int len)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, &page, 1);

	guest_memory_store(addr + offset, data, len);
	guest_memory_end_access(&access);
}

bool guest_memory_cmpxchg_hidden(struct page *page, unsigned int offset,
				 void *old, const void *new, unsigned int size)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, &page, 1);
	bool done;

	done = guest_memory_try_cmpxchg(addr + offset, old, new, size);
	guest_memory_end_access(&access);

	return done;
}

void guest_memory_merge_hidden(struct page *page, const void *old,
			       const void *new)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, &page, 1);

	guest_memory_merge(addr, old, new);
	guest_memory_end_access(&access);
}

void guest_memory_zero_hidden(struct page **pages, unsigned int nr)
{
	struct guest_memory_access access;
	void *addr = guest_memory_begin_access(&access, pages, nr);
	unsigned int i;

	for (i = 0; i < nr; i++)
		clear_page(addr + i * PAGE_SIZE);
	guest_memory_end_access(&access);
}
