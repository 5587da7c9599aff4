// SPDX-License-Identifier: GPL-2.0
/* KUnit tests for the parts of guest memory that are pure logic */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/guest_memory.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/rcupdate.h>

#include "../internal.h"

struct range_case {
	const char *name;
	loff_t size;
	u64 offset;
	u64 len;
	int ret;
};

/* The largest file: a page less would not be a multiple of the page size. */
#define MAX_FILE	((loff_t)(LLONG_MAX & PAGE_MASK))

static const struct range_case range_cases[] = {
	{ "whole file", SZ_1M, 0, SZ_1M, 0 },
	{ "first page", SZ_1M, 0, PAGE_SIZE, 0 },
	{ "last page", SZ_1M, SZ_1M - PAGE_SIZE, PAGE_SIZE, 0 },
	{ "largest file", MAX_FILE, 0, MAX_FILE, 0 },
	{ "end of largest file", MAX_FILE, MAX_FILE - PAGE_SIZE, PAGE_SIZE, 0 },
	{ "empty", SZ_1M, 0, 0, -EINVAL },
	{ "unaligned offset", SZ_1M, 1, PAGE_SIZE, -EINVAL },
	{ "unaligned length", SZ_1M, 0, PAGE_SIZE - 1, -EINVAL },
	{ "one page too long", SZ_1M, 0, SZ_1M + PAGE_SIZE, -EINVAL },
	{ "begins at the end", SZ_1M, SZ_1M, PAGE_SIZE, -EINVAL },
	{ "begins behind the end", SZ_1M, SZ_2M, PAGE_SIZE, -EINVAL },
	{ "sum wraps", SZ_1M, U64_MAX & PAGE_MASK, SZ_1M, -EINVAL },
	{ "sum wraps to 0", SZ_1M, 1ULL << 63, 1ULL << 63, -EINVAL },
	{ "negative as loff_t", MAX_FILE, 1ULL << 63, PAGE_SIZE, -EINVAL },
	{ "crosses LLONG_MAX", MAX_FILE, MAX_FILE, PAGE_SIZE, -EINVAL },
};

static void range_desc(const struct range_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(range, range_cases, range_desc);

static void test_check_range(struct kunit *test)
{
	const struct range_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->ret,
			guest_memory_check_range(c->size, c->offset, c->len));
}

#define NR_INDEXES	512

/* A set of ranges must agree with a bitmap about every index and every run. */
static void check_ranges(struct kunit *test, struct guest_memory_ranges *ranges,
			 const unsigned long *model)
{
	unsigned long i, first, last, end;

	for (i = 0; i < NR_INDEXES; i = end) {
		bool set = test_bit(i, model);

		end = set ? find_next_zero_bit(model, NR_INDEXES, i) :
			    find_next_bit(model, NR_INDEXES, i);
		KUNIT_ASSERT_EQ(test, set,
				guest_memory_ranges_find(ranges, i, &first,
							 &last));
		KUNIT_ASSERT_EQ(test, i, first);
		/* Behind the model nothing is set. */
		if (end == NR_INDEXES && !set)
			KUNIT_ASSERT_EQ(test, ULONG_MAX, last);
		else
			KUNIT_ASSERT_EQ(test, end - 1, last);
		KUNIT_ASSERT_EQ(test, set,
				guest_memory_ranges_test(ranges, end - 1));
	}
}

static void test_ranges_random(struct kunit *test)
{
	DECLARE_BITMAP(model, NR_INDEXES) = {};
	struct guest_memory_ranges ranges;
	unsigned long first, last;
	struct rnd_state rnd;
	bool set;
	int i;

	prandom_seed_state(&rnd, 6103);
	guest_memory_ranges_init(&ranges);
	check_ranges(test, &ranges, model);

	for (i = 0; i < 2000; i++) {
		first = prandom_u32_state(&rnd) % NR_INDEXES;
		last = first + prandom_u32_state(&rnd) % 32;
		last = min(last, NR_INDEXES - 1UL);
		set = prandom_u32_state(&rnd) & 1;

		KUNIT_ASSERT_EQ(test, 0,
				guest_memory_ranges_set(&ranges, first, last,
							set, GFP_KERNEL));
		if (set)
			bitmap_set(model, first, last - first + 1);
		else
			bitmap_clear(model, first, last - first + 1);
		check_ranges(test, &ranges, model);
	}

	guest_memory_ranges_destroy(&ranges);
}

/* Large enough that freeing it walks inner nodes, which happens after RCU. */
static void test_ranges_large(struct kunit *test)
{
	struct guest_memory_ranges ranges;
	unsigned long i;

	guest_memory_ranges_init(&ranges);
	for (i = 0; i < 16384; i += 2)
		KUNIT_ASSERT_EQ(test, 0,
				guest_memory_ranges_set(&ranges, i, i, true,
							GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, guest_memory_ranges_set(&ranges, 0, 16383, true,
							 GFP_KERNEL));
	for (i = 0; i < 16384; i += 2)
		KUNIT_ASSERT_EQ(test, 0,
				guest_memory_ranges_set(&ranges, i, i, false,
							GFP_KERNEL));
	guest_memory_ranges_destroy(&ranges);
	rcu_barrier();
}

static void test_ranges_ends(struct kunit *test)
{
	struct guest_memory_ranges ranges;
	unsigned long first, last;

	guest_memory_ranges_init(&ranges);

	/* The first and the last index there are, and all of them. */
	KUNIT_EXPECT_EQ(test, 0, guest_memory_ranges_set(&ranges, 0, 0, true,
							 GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, guest_memory_ranges_set(&ranges, ULONG_MAX,
							 ULONG_MAX, true,
							 GFP_KERNEL));
	KUNIT_EXPECT_FALSE(test, guest_memory_ranges_find(&ranges, 1, &first,
							  &last));
	KUNIT_EXPECT_EQ(test, 1, first);
	KUNIT_EXPECT_EQ(test, ULONG_MAX - 1, last);

	KUNIT_EXPECT_EQ(test, 0, guest_memory_ranges_set(&ranges, 1,
							 ULONG_MAX - 1, true,
							 GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, guest_memory_ranges_find(&ranges, 7, &first,
							 &last));
	KUNIT_EXPECT_EQ(test, 0, first);
	KUNIT_EXPECT_EQ(test, ULONG_MAX, last);

	KUNIT_EXPECT_EQ(test, 0, guest_memory_ranges_set(&ranges, 0, ULONG_MAX,
							 false, GFP_KERNEL));
	KUNIT_EXPECT_FALSE(test, guest_memory_ranges_test(&ranges, 0));

	guest_memory_ranges_destroy(&ranges);
}

/* A batch ends with a block, or the range, and is never empty. */
static void test_batch_end(struct kunit *test)
{
	const pgoff_t block = GUEST_MEMORY_BLOCK_PAGES;
	const pgoff_t batch = GUEST_MEMORY_REMOVE_BATCH;

	KUNIT_EXPECT_EQ(test, batch, guest_memory_batch_end(0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, batch, guest_memory_batch_end(1, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, batch,
			guest_memory_batch_end(block - 1, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, batch + block,
			guest_memory_batch_end(block, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 1, guest_memory_batch_end(0, 1));
	KUNIT_EXPECT_EQ(test, block + 1,
			guest_memory_batch_end(block, block + 1));
	KUNIT_EXPECT_EQ(test, batch, guest_memory_batch_end(0, batch));
	KUNIT_EXPECT_EQ(test, batch, guest_memory_batch_end(0, batch + 1));
}

static struct kunit_case guest_memory_cases[] = {
	KUNIT_CASE_PARAM(test_check_range, range_gen_params),
	KUNIT_CASE(test_ranges_random),
	KUNIT_CASE(test_ranges_large),
	KUNIT_CASE(test_ranges_ends),
	KUNIT_CASE(test_batch_end),
	{}
};

static struct kunit_suite guest_memory_suite = {
	.name		= "guest_memory",
	.test_cases	= guest_memory_cases,
};

kunit_test_suite(guest_memory_suite);

MODULE_LICENSE("GPL");
