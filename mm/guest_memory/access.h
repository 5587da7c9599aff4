/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: single accesses to memory that guests use at the same time
 *
 * Inlined everywhere, because window.c must not call instrumented code.
 */
#ifndef _MM_GUEST_MEMORY_ACCESS_H
#define _MM_GUEST_MEMORY_ACCESS_H

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/string.h>
#include <linux/types.h>

#include <asm/unaligned.h>

struct page;

/*
 * An access that is single when the guest does it must be single when the kernel
 * does it for the guest, so that no other CPU sees half of a page table entry.
 * READ_ONCE() may compile to an instruction that requires an aligned address
 * (LDAR), and the kernel's buffer may have any alignment.
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

/* Not try_cmpxchg(), which is instrumented. */
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

/* Change the bits of the page at @addr in which @new differs from @old. */
static __always_inline void guest_memory_merge(void *addr, const void *old,
					       const void *new)
{
	const u64 *from = new, *base = old;
	u64 changed, now, *to = addr;
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
}

/* window.c: the same for hidden pages, see the functions for any page. */
void guest_memory_read_hidden(struct page *page, unsigned int offset,
			      void *data, unsigned int len);
void guest_memory_write_hidden(struct page *page, unsigned int offset,
			       const void *data, unsigned int len);
bool guest_memory_cmpxchg_hidden(struct page *page, unsigned int offset,
				 void *old, const void *new, unsigned int size);
void guest_memory_merge_hidden(struct page *page, const void *old,
			       const void *new);

#endif /* _MM_GUEST_MEMORY_ACCESS_H */
