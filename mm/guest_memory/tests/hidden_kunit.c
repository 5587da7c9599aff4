// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for guest memory outside the direct map: chunks, windows, accesses,
 * and pages on their way back
 *
 * Like window.c, this file is not instrumented.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/set_memory.h>
#include <linux/string.h>
#include <linux/topology.h>
#include <linux/uaccess.h>

#include <asm/tlbflush.h>

#include "../hidden/hidden.h"
#include "../internal.h"

static bool readable(const void *addr)
{
	u64 val;

	return !copy_from_kernel_nofault(&val, addr, sizeof(val));
}

/*
 * At an address of a window, with interrupts off.  On x86 these are addresses of
 * user space, for which there are other functions.
 */
static bool window_readable(void *addr)
{
	bool found;
	u64 val;

	if (!IS_ENABLED(CONFIG_X86))
		return readable(addr);

	pagefault_disable();
	found = !__get_user(val, (u64 __user *)addr);
	pagefault_enable();

	return found;
}

static struct guest_memory_chunk *hidden_chunk(struct kunit *test)
{
	LIST_HEAD(list);

	if (!guest_memory_can_hide())
		kunit_skip(test, "this machine cannot hide memory");

	KUNIT_ASSERT_EQ(test, 0, guest_memory_start_hiding());
	KUNIT_ASSERT_EQ(test, 1, guest_memory_make_chunks(GFP_KERNEL,
							  numa_mem_id(),
							  1, &list));

	return list_first_entry(&list, struct guest_memory_chunk, node);
}

/* All pages of a chunk are hidden, or none is. */
static void check_chunk(struct kunit *test, struct page *page, bool hidden)
{
	unsigned int i;

	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++, page++) {
		KUNIT_EXPECT_EQ(test, hidden, !kernel_page_present(page));
		KUNIT_EXPECT_EQ(test, hidden, !readable(page_address(page)));
	}
}

/* Out of the direct map, written to through windows, and back with that. */
static void test_chunk(struct kunit *test)
{
	struct guest_memory_chunk *chunk = hidden_chunk(test);
	unsigned int i, nr = GUEST_MEMORY_CHUNK_PAGES;
	struct page *page = chunk->page;
	u64 val;

	check_chunk(test, page, true);
	KUNIT_EXPECT_FALSE(test, guest_memory_page_hidden(page - 1));
	KUNIT_EXPECT_FALSE(test, guest_memory_page_hidden(page + nr));

	for (i = nr; i--;) {
		KUNIT_EXPECT_TRUE(test, guest_memory_page_hidden(page + i));
		val = i + 1;
		guest_memory_write_page(page + i, PAGE_SIZE - sizeof(val), &val,
					sizeof(val));
	}

	KUNIT_EXPECT_EQ(test, 0, set_direct_map_range_noflush(page, nr, true));
	check_chunk(test, page, false);
	for (i = 0; i < nr; i++) {
		val = *(u64 *)(page_address(page + i + 1) - sizeof(val));
		KUNIT_EXPECT_EQ(test, i + 1, val);
		clear_page(page_address(page + i));
	}

	KUNIT_EXPECT_TRUE(test, guest_memory_drop_chunk(chunk));
	KUNIT_EXPECT_FALSE(test, guest_memory_page_hidden(page));
}

/*
 * Open a window on @nr pages, number them from @first on, and close it again.
 * It shows these pages and nothing behind them, whatever it showed before.
 */
static void *number_pages(struct kunit *test, struct page **pages,
			  unsigned int nr, u64 first)
{
	struct guest_memory_window window;
	unsigned int i, nr_readable = 0;
	unsigned long flags;
	void *addr;

	local_irq_save(flags);
	addr = arch_guest_memory_open_window(&window, pages, nr);
	for (i = 0; i < nr; i++)
		WRITE_ONCE(*(u64 *)(addr + i * PAGE_SIZE), first + i);
	for (i = 0; i < GUEST_MEMORY_WINDOW_PAGES; i++)
		if (window_readable(addr + i * PAGE_SIZE))
			nr_readable++;
	arch_guest_memory_close_window(&window);
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, nr, nr_readable);

	return addr;
}

static void test_window(struct kunit *test)
{
	const unsigned int nr = GUEST_MEMORY_WINDOW_PAGES;
	struct guest_memory_chunk *chunk = hidden_chunk(test);
	struct page *pages[GUEST_MEMORY_WINDOW_PAGES];
	unsigned int i;
	void *addr;
	u64 val;

	BUILD_BUG_ON(GUEST_MEMORY_WINDOW_PAGES > GUEST_MEMORY_CHUNK_PAGES);

	/* Pages in any order, and the same addresses for other ones at once. */
	for (i = 0; i < nr; i++)
		pages[i] = chunk->page + nr - 1 - i;
	addr = number_pages(test, pages, nr, 100);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_FALSE(test, readable(addr + i * PAGE_SIZE));
	number_pages(test, &pages[nr / 2], 1, 200);
	KUNIT_EXPECT_FALSE(test, readable(addr));

	for (i = 0; i < nr; i++) {
		guest_memory_read_page(pages[i], 0, &val, sizeof(val));
		KUNIT_EXPECT_EQ(test, i == nr / 2 ? 200 : 100 + i, val);
	}

	guest_memory_zero_hidden(pages, nr);
	for (i = 0; i < nr; i++) {
		guest_memory_read_page(pages[i], 0, &val, sizeof(val));
		KUNIT_EXPECT_EQ(test, 0, val);
	}

	KUNIT_EXPECT_TRUE(test, guest_memory_drop_chunk(chunk));
}

/* An access, at any alignment of either side, changes its bytes and no others. */
static void check_access(struct kunit *test, struct page *page, unsigned int len,
			 unsigned int to, unsigned int from)
{
	u8 data[64], seen[64], before[64];
	unsigned int i;

	for (i = 0; i < sizeof(data); i++) {
		data[i] = 16 * len + i + 1;
		before[i] = ~data[i];
	}
	guest_memory_write_page(page, 0, before, sizeof(before));
	guest_memory_write_page(page, to, data + from, len);
	guest_memory_read_page(page, 0, seen, sizeof(seen));
	KUNIT_EXPECT_EQ(test, 0, memcmp(seen, before, to));
	KUNIT_EXPECT_EQ(test, 0, memcmp(seen + to, data + from, len));
	KUNIT_EXPECT_EQ(test, 0, memcmp(seen + to + len, before + to + len,
					sizeof(seen) - to - len));

	memset(seen, 0, sizeof(seen));
	guest_memory_read_page(page, to, seen + from, len);
	KUNIT_EXPECT_EQ(test, 0, memcmp(seen + from, data + from, len));
	KUNIT_EXPECT_EQ(test, 0, seen[from + len]);
}

static void test_access(struct kunit *test)
{
	static const unsigned int lens[] = { 1, 2, 3, 4, 7, 8, 9 };
	struct guest_memory_chunk *chunk = hidden_chunk(test);
	unsigned int i, to, from;
	struct page *page;

	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		for (to = 0; to < 9; to++) {
			for (from = 0; from < 9; from++) {
				check_access(test, page, lens[i], to, from);
				check_access(test, chunk->page, lens[i], to,
					     from);
			}
		}
	}
	__free_page(page);
	guest_memory_zero_hidden(&chunk->page, 1);
	KUNIT_EXPECT_TRUE(test, guest_memory_drop_chunk(chunk));
}

#define NR_LEAVING	40

/* A page is freed soon after its last reference is gone, even if others follow. */
static void test_leaving(struct kunit *test)
{
	unsigned long before = guest_memory_nr_leaving();
	struct page *pages[NR_LEAVING];
	unsigned int i;

	if (!guest_memory_can_hide())
		kunit_skip(test, "this machine cannot hide memory");

	KUNIT_ASSERT_EQ(test, 0, guest_memory_reserve_get());
	for (i = 0; i < NR_LEAVING; i++) {
		pages[i] = guest_memory_reserve_alloc(numa_mem_id(), NULL,
						      GUEST_MEMORY_MAKE);
		KUNIT_ASSERT_NOT_NULL(test, pages[i]);
		pages[i]->private = 0;
		/* The one of guest_memory_collect(), and another one. */
		page_ref_add(pages[i], 2);
	}

	guest_memory_collect(page_folio(pages[0]));
	KUNIT_EXPECT_EQ(test, before + 1, guest_memory_nr_leaving());
	put_page(pages[0]);
	/* Faster than waiting pages are looked at. */
	for (i = 1; i < NR_LEAVING; i++) {
		guest_memory_collect(page_folio(pages[i]));
		usleep_range(10000, 11000);
	}
	KUNIT_EXPECT_EQ(test, 0, page_ref_count(pages[0]));

	for (i = 1; i < NR_LEAVING; i++)
		put_page(pages[i]);
	for (i = 0; i < 100 && guest_memory_nr_leaving() > before; i++)
		msleep(100);
	KUNIT_EXPECT_EQ(test, before, guest_memory_nr_leaving());
	guest_memory_reserve_put();
}

static struct folio *whole_chunk(struct kunit *test)
{
	struct folio *folio;

	folio = guest_memory_hidden_alloc_huge(NULL, 0, numa_mem_id(),
					       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_EQ(test, GUEST_MEMORY_CHUNK_ORDER, folio_order(folio));
	KUNIT_EXPECT_EQ(test, 1, folio_ref_count(folio));
	folio->private = NULL;

	return folio;
}

/* No page of a chunk is anything but a free page of it. */
static void check_free(struct kunit *test, struct page *page)
{
	unsigned int i;

	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++, page++) {
		KUNIT_EXPECT_FALSE(test, PageCompound(page));
		KUNIT_EXPECT_EQ(test, 0, page_ref_count(page));
		KUNIT_EXPECT_EQ(test, -1, atomic_read(&page->_mapcount));
		KUNIT_EXPECT_NULL(test, page->mapping);
		KUNIT_EXPECT_EQ(test, 0, page_private(page));
		KUNIT_EXPECT_EQ(test, 0, page->flags & PAGE_FLAGS_CHECK_AT_PREP);
		KUNIT_EXPECT_TRUE(test, guest_memory_page_hidden(page));
	}
}

/* A whole chunk as a folio; it is freed as one, zeroed, after its last reference. */
static void test_folio(struct kunit *test)
{
	unsigned long before = guest_memory_nr_leaving();
	u64 val, secret = 0x5ec2e7;
	struct folio *folio;
	struct page *page;
	unsigned int i;

	if (!guest_memory_can_hide() || !guest_memory_has_blocks())
		kunit_skip(test, "no folios of hidden memory here");

	KUNIT_ASSERT_EQ(test, 0, guest_memory_reserve_get());
	folio = whole_chunk(test);
	page = folio_page(folio, 0);
	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++)
		guest_memory_write_page(page + i, 8 * i, &secret, sizeof(secret));

	/* The one of guest_memory_collect(), and another one. */
	folio_ref_add(folio, 2);
	guest_memory_collect(folio);
	KUNIT_EXPECT_EQ(test, before + GUEST_MEMORY_CHUNK_PAGES,
			guest_memory_nr_leaving());
	guest_memory_read_page(page + 37, 8 * 37, &val, sizeof(val));
	KUNIT_EXPECT_EQ(test, secret, val);
	folio_put(folio);
	for (i = 0; i < 100 && guest_memory_nr_leaving() > before; i++)
		msleep(100);
	KUNIT_EXPECT_EQ(test, before, guest_memory_nr_leaving());
	check_free(test, page);

	/* As a rule, the chunk that was used last. */
	folio = whole_chunk(test);
	page = folio_page(folio, 0);
	for (i = 0; i < GUEST_MEMORY_CHUNK_PAGES; i++) {
		guest_memory_read_page(page + i, 8 * i, &val, sizeof(val));
		KUNIT_EXPECT_EQ(test, 0, val);
	}
	folio_get(folio);
	guest_memory_collect(folio);
	check_free(test, page);
	guest_memory_reserve_put();
}

static struct kunit_case guest_memory_hidden_cases[] = {
	KUNIT_CASE(test_chunk),
	KUNIT_CASE(test_window),
	KUNIT_CASE(test_access),
	KUNIT_CASE(test_leaving),
	KUNIT_CASE(test_folio),
	{}
};

static struct kunit_suite guest_memory_hidden_suite = {
	.name		= "guest_memory_hidden",
	.test_cases	= guest_memory_hidden_cases,
};

kunit_test_suite(guest_memory_hidden_suite);

MODULE_LICENSE("GPL");
