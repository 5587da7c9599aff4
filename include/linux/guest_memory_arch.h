/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory outside the direct map: the interface of the architecture
 *
 * A window is a handful of kernel addresses that belong to one CPU.  While it is
 * open, with interrupts off, it shows pages that have no other kernel address;
 * when it is closed, nothing of that is left in page tables or TLBs.
 */
#ifndef _LINUX_GUEST_MEMORY_ARCH_H
#define _LINUX_GUEST_MEMORY_ARCH_H

#include <linux/mm_types.h>
#include <linux/sizes.h>
#include <linux/types.h>

/* Pages in a window: few enough to zero them with interrupts off. */
#define GUEST_MEMORY_WINDOW_PAGES	(SZ_64K >> PAGE_SHIFT)

/**
 * struct guest_memory_window - an open window
 * @mm:		the mm to return to, if the architecture switches it
 * @nr:		number of pages it shows
 */
struct guest_memory_window {
	struct mm_struct *mm;
	unsigned int nr;
};

/**
 * arch_guest_memory_can_hide() - test whether memory can leave the direct map
 *
 * Context: any, after boot.
 * Return: true if the direct map can be changed and all that the architecture
 * itself does with guest memory can do without it.
 */
bool arch_guest_memory_can_hide(void);

/**
 * arch_guest_memory_init_windows() - make a window for each possible CPU
 *
 * Called until it succeeds, once at a time.
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int arch_guest_memory_init_windows(void);

/**
 * arch_guest_memory_open_window() - show pages to this CPU
 * @window:	receives the state that is needed to close it
 * @pages:	the pages
 * @nr:		how many, 1 to GUEST_MEMORY_WINDOW_PAGES
 *
 * On x86 user addresses are unreachable while the window is open.  The
 * addresses have no KASAN shadow.
 *
 * Context: interrupts off from before until the window is closed; not in NMIs.
 * Return: the address of the first page, the others follow it.
 */
void *arch_guest_memory_open_window(struct guest_memory_window *window,
				    struct page **pages, unsigned int nr);

/**
 * arch_guest_memory_close_window() - undo arch_guest_memory_open_window()
 * @window:	the open window
 *
 * Context: interrupts off, same CPU.
 */
void arch_guest_memory_close_window(struct guest_memory_window *window);

#endif /* _LINUX_GUEST_MEMORY_ARCH_H */
