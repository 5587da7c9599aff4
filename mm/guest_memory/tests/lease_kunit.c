// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for leases of hugetlb pages: what a pool counts while pages are out,
 * and what it gets back
 *
 * The pool has surplus pages for it, so that it need not have any before.
 */
#include <kunit/test.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_lease.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sizes.h>
#include <linux/topology.h>

#define NR_PAGES	3

struct counters {
	unsigned long nr, free, resv, surplus, max;
};

static struct hstate *pool;
static struct counters before;
static unsigned long overcommit;

static struct counters counters_now(void)
{
	struct counters now;

	spin_lock_irq(&hugetlb_lock);
	now.nr = pool->nr_huge_pages;
	now.free = pool->free_huge_pages;
	now.resv = pool->resv_huge_pages;
	now.surplus = pool->surplus_huge_pages;
	now.max = pool->max_huge_pages;
	spin_unlock_irq(&hugetlb_lock);

	return now;
}

static int init_pool(struct kunit *test)
{
	pool = size_to_hstate(SZ_2M);
	if (!pool)
		return 0;

	before = counters_now();
	overcommit = pool->nr_overcommit_huge_pages;
	pool->nr_overcommit_huge_pages = before.surplus + NR_PAGES;

	return 0;
}

static void exit_pool(struct kunit *test)
{
	struct counters now;

	if (!pool)
		return;

	pool->nr_overcommit_huge_pages = overcommit;
	now = counters_now();
	KUNIT_EXPECT_EQ(test, before.nr, now.nr);
	KUNIT_EXPECT_EQ(test, before.free, now.free);
	KUNIT_EXPECT_EQ(test, before.resv, now.resv);
	KUNIT_EXPECT_EQ(test, before.surplus, now.surplus);
	KUNIT_EXPECT_EQ(test, before.max, now.max);
}

static void get_lease(struct kunit *test, struct hugetlb_lease *lease)
{
	if (!pool)
		kunit_skip(test, "there is no pool with pages of 2 MiB");
	KUNIT_ASSERT_EQ(test, 0, hugetlb_lease_get(lease, pool, NR_PAGES));
	KUNIT_EXPECT_EQ(test, before.resv + NR_PAGES, counters_now().resv);
}

/* Single pages, without references, flags and whatever hugetlb stored in them. */
static void check_pages(struct kunit *test, struct page *page)
{
	unsigned long i;

	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(page_to_pfn(page),
					   pages_per_huge_page(pool)));
	for (i = 0; i < pages_per_huge_page(pool); i++) {
		KUNIT_ASSERT_EQ(test, 0, page_ref_count(page + i));
		KUNIT_ASSERT_FALSE(test, PageCompound(page + i));
		KUNIT_ASSERT_EQ(test, 0ul, page_private(page + i));
		KUNIT_ASSERT_PTR_EQ(test, (struct address_space *)NULL,
				    page[i].mapping);
	}
}

static void test_reserve(struct kunit *test)
{
	struct hugetlb_lease lease, other;

	get_lease(test, &lease);
	/* There are no more. */
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			hugetlb_lease_get(&other, pool,
					  before.free - before.resv + 1));
	hugetlb_lease_put(&lease);
}

static void test_take(struct kunit *test)
{
	struct page *pages[NR_PAGES];
	struct hugetlb_lease lease;
	unsigned int i;

	get_lease(test, &lease);
	for (i = 0; i < NR_PAGES; i++) {
		pages[i] = hugetlb_lease_take(&lease, numa_mem_id(), NULL);
		KUNIT_ASSERT_NOT_NULL(test, pages[i]);
		check_pages(test, pages[i]);
	}
	KUNIT_EXPECT_NULL(test, hugetlb_lease_take(&lease, numa_mem_id(), NULL));
	KUNIT_EXPECT_EQ(test, before.resv, counters_now().resv);

	/* In use, for all who look at the pool. */
	KUNIT_EXPECT_EQ(test, counters_now().nr - NR_PAGES, counters_now().free);
	for (i = 0; i < NR_PAGES; i++)
		hugetlb_lease_return(&lease, pages[i]);
	hugetlb_lease_put(&lease);
}

/* Some pages were never taken. */
static void test_take_some(struct kunit *test)
{
	struct hugetlb_lease lease;
	struct page *page;

	get_lease(test, &lease);
	page = hugetlb_lease_take(&lease, numa_mem_id(), NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, before.resv + NR_PAGES - 1, counters_now().resv);
	hugetlb_lease_return(&lease, page);
	hugetlb_lease_put(&lease);
}

/* A page that is lost was a surplus page; another one takes its place. */
static void test_lose(struct kunit *test)
{
	struct hugetlb_lease lease;
	struct page *page;
	unsigned long i;

	get_lease(test, &lease);
	page = hugetlb_lease_take(&lease, numa_mem_id(), NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	pool->nr_overcommit_huge_pages++;
	hugetlb_lease_lose(&lease, page);
	KUNIT_EXPECT_EQ(test, 0, hugetlb_lease_extend(&lease));
	KUNIT_EXPECT_EQ(test, (unsigned long)NR_PAGES, lease.nr_reserved);
	for (i = 0; i < pages_per_huge_page(pool); i++) {
		page_ref_unfreeze(page + i, 1);
		__free_page(page + i);
	}

	page = hugetlb_lease_take(&lease, numa_mem_id(), NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	hugetlb_lease_return(&lease, page);
	hugetlb_lease_put(&lease);
}

static struct kunit_case lease_cases[] = {
	KUNIT_CASE(test_reserve),
	KUNIT_CASE(test_take),
	KUNIT_CASE(test_take_some),
	KUNIT_CASE(test_lose),
	{}
};

static struct kunit_suite lease_suite = {
	.name		= "hugetlb_lease",
	.init		= init_pool,
	.exit		= exit_pool,
	.test_cases	= lease_cases,
};

kunit_test_suite(lease_suite);

MODULE_LICENSE("GPL");
