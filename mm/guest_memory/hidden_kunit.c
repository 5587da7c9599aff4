// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for guest memory outside the direct map: blocks and windows
 *
 * Like access.c, this file is not instrumented.
 */
#include <kunit/test.h>
#include <linux/guest_memory.h>
#include <linux/guest_memory_arch.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/topology.h>
#include <linux/uaccess.h>

#include <asm/tlbflush.h>

#include "hidden.h"

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

static struct guest_memory_block *hidden_block(struct kunit *test)
{
	LIST_HEAD(list);

	if (!guest_memory_can_hide())
		kunit_skip(test, "this machine cannot hide memory");

	KUNIT_ASSERT_EQ(test, 0, guest_memory_start_hiding());
	KUNIT_ASSERT_EQ(test, 1, guest_memory_make_blocks(GFP_KERNEL,
							  numa_mem_id(),
							  1, &list));

	return list_first_entry(&list, struct guest_memory_block, node);
}

/* What every page of a block says about itself, one way or the other. */
static void check_block(struct kunit *test, struct page *page, bool hidden)
{
	unsigned int i;

	for (i = 0; i < GUEST_MEMORY_BLOCK_PAGES; i++, page++) {
		KUNIT_EXPECT_EQ(test, hidden, !kernel_page_present(page));
		KUNIT_EXPECT_EQ(test, hidden, !readable(page_address(page)));
	}
}

/* Out of the direct map, written to through windows, and back with that. */
static void test_block(struct kunit *test)
{
	struct guest_memory_block *block = hidden_block(test);
	unsigned int i, nr = GUEST_MEMORY_BLOCK_PAGES;
	struct page *page = block->page;
	u64 val;

	check_block(test, page, true);
	KUNIT_EXPECT_FALSE(test, guest_memory_page_hidden(page - 1));
	KUNIT_EXPECT_FALSE(test, guest_memory_page_hidden(page + nr));

	for (i = nr; i--;) {
		KUNIT_EXPECT_TRUE(test, guest_memory_page_hidden(page + i));
		val = i + 1;
		guest_memory_write_page(page + i, PAGE_SIZE - sizeof(val), &val,
					sizeof(val));
	}

	KUNIT_EXPECT_EQ(test, 0, set_direct_map_range_noflush(page, nr, true));
	check_block(test, page, false);
	for (i = 0; i < nr; i++) {
		val = *(u64 *)(page_address(page + i + 1) - sizeof(val));
		KUNIT_EXPECT_EQ(test, i + 1, val);
		clear_page(page_address(page + i));
	}

	KUNIT_EXPECT_TRUE(test, guest_memory_drop_block(block));
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
	struct guest_memory_block *block = hidden_block(test);
	struct page *pages[GUEST_MEMORY_WINDOW_PAGES];
	unsigned int i;
	void *addr;
	u64 val;

	BUILD_BUG_ON(GUEST_MEMORY_WINDOW_PAGES > GUEST_MEMORY_BLOCK_PAGES);

	/* Pages in any order, and the same addresses for other ones at once. */
	for (i = 0; i < nr; i++)
		pages[i] = block->page + nr - 1 - i;
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

	KUNIT_EXPECT_TRUE(test, guest_memory_drop_block(block));
}

static struct kunit_case guest_memory_hidden_cases[] = {
	KUNIT_CASE(test_block),
	KUNIT_CASE(test_window),
	{}
};

static struct kunit_suite guest_memory_hidden_suite = {
	.name		= "guest_memory_hidden",
	.test_cases	= guest_memory_hidden_cases,
};

kunit_test_suite(guest_memory_hidden_suite);

MODULE_LICENSE("GPL");
