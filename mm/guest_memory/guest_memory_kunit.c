// SPDX-License-Identifier: GPL-2.0
/* KUnit tests for the parts of guest memory that are pure logic */
#include <kunit/test.h>
#include <linux/guest_memory.h>
#include <linux/limits.h>
#include <linux/mm.h>

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

static struct kunit_case guest_memory_cases[] = {
	KUNIT_CASE_PARAM(test_check_range, range_gen_params),
	{}
};

static struct kunit_suite guest_memory_suite = {
	.name		= "guest_memory",
	.test_cases	= guest_memory_cases,
};

kunit_test_suite(guest_memory_suite);

MODULE_LICENSE("GPL");
