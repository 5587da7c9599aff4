// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test for blocks of 2 MiB: populate, convert and punch ranges of a file at
 * random, and compare which blocks guests may map as one page with a model.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/guest_memory.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include "../../internal.h"
#include "../internal.h"

#define NR_BLOCKS	4
#define NR_PAGES	(NR_BLOCKS * GUEST_MEMORY_BLOCK_PAGES)
#define NR_STEPS	400

/* The model: what there is, and which blocks have entered the file as one. */
static DECLARE_BITMAP(present, NR_PAGES);
static DECLARE_BITMAP(private, NR_PAGES);
static bool whole[NR_BLOCKS];

/* What the file has told its user. */
static long nr_pages, nr_whole;
static int nr_invalidating;

static void user_detach(struct guest_memory_user *user)
{
}

static void user_begin(struct guest_memory_user *user, pgoff_t start, pgoff_t end)
{
	nr_invalidating++;
}

static void user_end(struct guest_memory_user *user, pgoff_t start, pgoff_t end)
{
	nr_invalidating--;
}

static void user_promote(struct guest_memory_user *user, pgoff_t start, pgoff_t end)
{
}

static void user_account(struct guest_memory_user *user, long nr, long blocks)
{
	nr_pages += nr;
	nr_whole += blocks;
}

static const struct guest_memory_user_ops user_ops = {
	.detach			= user_detach,
	.invalidate_begin	= user_begin,
	.invalidate_end		= user_end,
	.promote		= user_promote,
	.account		= user_account,
};

static struct guest_memory_user user = { .ops = &user_ops };

static int file_release(struct inode *inode, struct file *file)
{
	guest_memory_release(inode, &user);
	return 0;
}

static const struct file_operations file_ops = {
	.owner		= THIS_MODULE,
	.release	= file_release,
};

static void model_populate(pgoff_t start, pgoff_t end)
{
	unsigned int b;

	for (b = 0; b < NR_BLOCKS; b++) {
		pgoff_t first = b * GUEST_MEMORY_BLOCK_PAGES;
		pgoff_t next = first + GUEST_MEMORY_BLOCK_PAGES;

		if (start <= first && end >= next &&
		    find_next_bit(present, next, first) >= next)
			whole[b] = true;
	}
	bitmap_set(present, start, end - start);
}

static void model_punch(pgoff_t start, pgoff_t end)
{
	unsigned int b;

	bitmap_clear(present, start, end - start);
	for (b = start / GUEST_MEMORY_BLOCK_PAGES;
	     b <= (end - 1) / GUEST_MEMORY_BLOCK_PAGES; b++)
		whole[b] = false;
}

static bool model_uniform(unsigned int b)
{
	pgoff_t first = b * GUEST_MEMORY_BLOCK_PAGES;
	pgoff_t next = first + GUEST_MEMORY_BLOCK_PAGES;

	return test_bit(first, private) ?
	       find_next_zero_bit(private, next, first) >= next :
	       find_next_bit(private, next, first) >= next;
}

static void step(struct kunit *test, struct file *file, struct rnd_state *rnd)
{
	struct inode *inode = file_inode(file);
	pgoff_t start = prandom_u32_state(rnd) % NR_PAGES;
	pgoff_t len = 1 + prandom_u32_state(rnd) % (NR_PAGES / 2), end, error;
	int mode = FALLOC_FL_KEEP_SIZE;
	long r;

	/* Half of the ranges are whole blocks. */
	if (prandom_u32_state(rnd) % 2) {
		start = round_down(start, GUEST_MEMORY_BLOCK_PAGES);
		len = round_up(len, GUEST_MEMORY_BLOCK_PAGES);
	}
	end = min_t(pgoff_t, start + len, NR_PAGES);
	len = end - start;

	switch (prandom_u32_state(rnd) % 4) {
	case 0:
		r = guest_memory_fallocate(file, mode, PFN_PHYS(start), PFN_PHYS(len));
		model_populate(start, end);
		break;
	case 1:
		mode |= FALLOC_FL_PUNCH_HOLE;
		r = guest_memory_fallocate(file, mode, PFN_PHYS(start), PFN_PHYS(len));
		model_punch(start, end);
		break;
	case 2:
		r = guest_memory_convert(inode, start, end, true, GFP_KERNEL, &error);
		bitmap_set(private, start, len);
		break;
	default:
		r = guest_memory_convert(inode, start, end, false, GFP_KERNEL, &error);
		bitmap_clear(private, start, len);
	}
	KUNIT_EXPECT_EQ(test, 0, r);
}

static void compare(struct kunit *test, struct inode *inode, struct rnd_state *rnd)
{
	unsigned int b, order, nr = 0;
	pgoff_t index;

	for (b = 0; b < NR_BLOCKS; b++) {
		index = b * GUEST_MEMORY_BLOCK_PAGES +
			prandom_u32_state(rnd) % GUEST_MEMORY_BLOCK_PAGES;
		order = whole[b] && model_uniform(b) ? GUEST_MEMORY_BLOCK_ORDER : 0;
		KUNIT_EXPECT_EQ(test, order, guest_memory_max_order(inode, index));
		nr += whole[b];
	}
	KUNIT_EXPECT_EQ(test, nr, nr_whole);
	KUNIT_EXPECT_EQ(test, nr > 0, guest_memory_has_whole(inode));
	KUNIT_EXPECT_EQ(test, bitmap_weight(present, NR_PAGES), nr_pages);
	KUNIT_EXPECT_EQ(test, 0, nr_invalidating);
}

static void test_blocks(struct kunit *test)
{
	const unsigned long flags = GUEST_MEMORY_MAPPABLE | GUEST_MEMORY_INIT_SHARED |
				    GUEST_MEMORY_CONVERTIBLE | GUEST_MEMORY_HUGE;
	struct rnd_state rnd;
	struct file *file;
	int i;

	if (!guest_memory_has_blocks())
		kunit_skip(test, "all blocks are single pages");

	prandom_seed_state(&rnd, 3141592653589793238ULL);
	file = guest_memory_create_file("[kunit]", PFN_PHYS(NR_PAGES), flags,
					&file_ops, &user);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	for (i = 0; i < NR_STEPS; i++) {
		step(test, file, &rnd);
		compare(test, file_inode(file), &rnd);
		cond_resched();
	}
	__fput_sync(file);
	KUNIT_EXPECT_EQ(test, 0, nr_pages);
	KUNIT_EXPECT_EQ(test, 0, nr_whole);
}

static struct kunit_case guest_memory_huge_cases[] = {
	KUNIT_CASE(test_blocks),
	{}
};

static struct kunit_suite guest_memory_huge_suite = {
	.name		= "guest_memory_huge",
	.test_cases	= guest_memory_huge_cases,
};

kunit_test_suite(guest_memory_huge_suite);

MODULE_LICENSE("GPL");
