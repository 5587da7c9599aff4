// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_numa_test: NUMA policies and memory cgroups
 *
 * mbind() on a mapping sets the policy of a range of the file: it applies to
 * every mapping and to all later allocations, whoever causes them, and moves no
 * pages.  Also checks that memory is charged to the memory cgroup.
 *
 * Machine: -n
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static void assert_policy(void *addr, int mode, unsigned long nodes)
{
	unsigned long got_nodes[16] = {};
	int got = -1;

	ASSERT_OK(syscall(SYS_get_mempolicy, &got, got_nodes,
			  8 * sizeof(got_nodes), addr, MPOL_F_ADDR));
	ASSERT_EQ(got, mode);
	ASSERT_EQ(got_nodes[0], nodes);
}

static const char no_numa[] = "the kernel has no NUMA support";
static const char not_seen[] = "the node of a hidden page is not reported";
static const char no_nodes[] = "the machine has no nodes 0 and 1";

static const char *test_default_policy(void)
{
	int fd;

	if (!gmem_has_node(0))
		return no_numa;

	fd = new_memory(GMEM_SHARED);
	assert_policy(mem, MPOL_DEFAULT, 0);
	memset(mem, 1, size);
	assert_policy(mem, MPOL_DEFAULT, 0);
	free_memory(fd);
	return NULL;
}

static const char *test_bad_policy(void)
{
	int fd;

	if (!gmem_has_node(0))
		return no_numa;

	fd = new_memory(GMEM_SHARED);
	ASSERT_ERRNO(gmem_mbind(mem, size, MPOL_MAX, 1), EINVAL);
	ASSERT_ERRNO(gmem_mbind(mem, size, -1, 1), EINVAL);
	ASSERT_ERRNO(gmem_mbind(mem, size, MPOL_BIND, 0), EINVAL);
	ASSERT_ERRNO(gmem_mbind(mem, size, MPOL_DEFAULT, 1), EINVAL);
	ASSERT_ERRNO(gmem_mbind(mem + 1, size, MPOL_BIND, 1), EINVAL);
	assert_policy(mem, MPOL_DEFAULT, 0);
	free_memory(fd);
	return NULL;
}

static const char *test_policy_belongs_to_the_file(void)
{
	uint8_t *second;
	int fd;

	if (!gmem_has_node(0))
		return no_numa;

	fd = new_memory(GMEM_SHARED);
	second = gmem_mmap(fd, page_size, page_size);
	ASSERT_OK(gmem_mbind(mem + page_size, page_size, MPOL_BIND, 1));
	assert_policy(mem, MPOL_DEFAULT, 0);
	assert_policy(mem + page_size, MPOL_BIND, 1);
	assert_policy(mem + 2 * page_size, MPOL_DEFAULT, 0);
	assert_policy(second, MPOL_BIND, 1);

	ASSERT_OK(munmap(mem, size));
	assert_policy(second, MPOL_BIND, 1);
	mem = gmem_mmap(fd, 0, size);
	assert_policy(mem + page_size, MPOL_BIND, 1);

	ASSERT_OK(gmem_mbind(mem, size, MPOL_INTERLEAVE, 1));
	assert_policy(second, MPOL_INTERLEAVE, 1);
	ASSERT_OK(gmem_mbind(mem, size, MPOL_DEFAULT, 0));
	assert_policy(second, MPOL_DEFAULT, 0);
	ASSERT_OK(munmap(second, page_size));
	free_memory(fd);
	return NULL;
}

static const char *test_policy_places_pages(void)
{
	int fd, i;

	if (!gmem_has_node(0) || !gmem_has_node(1))
		return no_nodes;
	if (gmem_all_hidden())
		return not_seen;

	fd = new_memory(GMEM_SHARED);
	for (i = 0; i < NR_PAGES; i++)
		ASSERT_OK(gmem_mbind(mem + i * page_size, page_size, MPOL_BIND,
				     1ul << (i & 1)));

	/* Allocate one half by host faults, the other by fallocate(). */
	memset(mem, 1, size / 2);
	gmem_fallocate(fd, size / 2, size / 2);
	memset(mem, 1, size);
	for (i = 0; i < NR_PAGES; i++)
		ASSERT_EQ(gmem_node_of_page(mem + i * page_size), i & 1);

	free_memory(fd);
	return NULL;
}

static const char *test_policy_moves_nothing(void)
{
	int fd, to = 1, status = -1;
	void *page;

	if (!gmem_has_node(0) || !gmem_has_node(1))
		return no_nodes;
	if (gmem_all_hidden())
		return not_seen;

	fd = new_memory(GMEM_SHARED);
	page = mem;
	ASSERT_OK(gmem_mbind(mem, size, MPOL_BIND, 1));
	memset(mem, 1, size);
	ASSERT_EQ(gmem_node_of_page(mem), 0);

	ASSERT_OK(gmem_mbind(mem, size, MPOL_BIND, 2));
	ASSERT_EQ(gmem_node_of_page(mem), 0);
	syscall(SYS_move_pages, 0, 1ul, &page, &to, &status, MPOL_MF_MOVE);
	ASSERT_EQ(gmem_node_of_page(mem), 0);

	/* The new policy applies once the page has been freed. */
	gmem_punch(fd, 0, page_size);
	*mem = 1;
	ASSERT_EQ(gmem_node_of_page(mem), 1);
	ASSERT_EQ(gmem_node_of_page(mem + page_size), 0);
	free_memory(fd);
	return NULL;
}

/* Charges are batched per CPU: use large sizes and generous limits. */
static const char *run_in_cgroup(const char *cgroup)
{
	size_t big = 1024 * page_size;
	uint64_t before, after;
	int fd;

	before = gmem_cgroup_bytes(cgroup);
	fd = vm_create_guest_memfd(vm, big, 0);
	gmem_fallocate(fd, 0, big);
	after = gmem_cgroup_bytes(cgroup);
	TEST_ASSERT(after >= before + big / 2, "Charged %lu of %lu bytes",
		    after - before, big);

	gmem_punch(fd, 0, big);
	after = gmem_cgroup_bytes(cgroup);
	TEST_ASSERT(after < before + big / 2, "%lu of %lu bytes are still charged",
		    after - before, big);
	close(fd);
	return NULL;
}

static const char *test_memory_is_charged(void)
{
	return gmem_in_cgroup(run_in_cgroup);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_default_policy),
	GMEM_TEST(test_bad_policy),
	GMEM_TEST(test_policy_belongs_to_the_file),
	GMEM_TEST(test_policy_places_pages),
	GMEM_TEST(test_policy_moves_nothing),
	GMEM_TEST(test_memory_is_charged),
};

GMEM_TEST_MAIN(init_barebones)
