// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_attributes_test: memory use of attributes
 *
 * Attributes are stored as ranges: memory use depends on the number of
 * boundaries, not of pages.  The test counts the maple tree nodes in
 * /proc/slabinfo for many VMs at once, so that the few nodes that other tasks
 * allocate do not matter.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>

#include "guest_memfd_private.h"

#define NR_VMS		64
#define GPA		SZ_4G
#define MAX_NODES	16l	/* 4 KiB */
#define NR_RANGES	8192l	/* where every other page differs */

static struct kvm_vm *vms[NR_VMS];
static size_t page_size, pattern_size;

/* Number of maple_node objects in use, and their size; 0 if unknown. */
static uint64_t count_nodes(uint64_t *node_size)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	uint64_t active = 0, size = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "maple_node %lu %*u %lu", &active, &size) == 2)
			break;
	if (f)
		fclose(f);
	*node_size = size;
	return active;
}

static uint64_t count_shrunk(uint64_t *node_size)
{
	FILE *f = fopen("/sys/kernel/slab/maple_node/shrink", "w");

	if (f) {
		fputs("1", f);
		fclose(f);
	}
	return count_nodes(node_size);
}

/*
 * Nodes are freed after an RCU grace period.  KASAN keeps them longer, until
 * the cache is shrunk; a kernel without the file for that has no KASAN, either.
 *
 * All objects of a slab that a CPU allocates from count as used: 256 nodes with
 * 64K pages.  Shrinking takes the slab away from the CPU; the smallest of
 * several counts is one without such slabs.
 */
static uint64_t count_settled(uint64_t *node_size)
{
	uint64_t smallest = ~0ull;
	int i;

	usleep(200000);
	for (i = 0; i < 5; i++) {
		smallest = min(smallest, count_shrunk(node_size));
		usleep(20000);
	}
	return smallest;
}

static void create_vms(void)
{
	int i;

	for (i = 0; i < NR_VMS; i++)
		vms[i] = gmem_create_protected_barebones();
}

static void free_vms(void)
{
	int i;

	for (i = 0; i < NR_VMS; i++)
		kvm_vm_free(vms[i]);
}

/* 64 GiB without a slot, in one go and in pieces: one range in the end. */
static const char *test_64g(void)
{
	uint64_t before, node_size, chunk;
	long nodes;
	int i;

	create_vms();
	before = count_settled(&node_size);
	for (i = 0; i < NR_VMS; i++)
		vm_make_private(vms[i], GPA, 64ull * SZ_1G);
	nodes = count_settled(&node_size) - before;
	ksft_print_msg("64 GiB in one range: %ld nodes of %lu bytes for %d VMs\n",
		       nodes, node_size, NR_VMS);
	TEST_ASSERT(nodes <= MAX_NODES * NR_VMS,
		    "More than %ld nodes per VM", MAX_NODES);

	/* Fill gaps backwards: neighbours must merge. */
	for (i = 0; i < NR_VMS; i++)
		for (chunk = 0; chunk < 128; chunk += 2)
			vm_make_shared(vms[i], GPA + chunk * SZ_512M, SZ_512M);
	for (i = 0; i < NR_VMS; i++)
		for (chunk = 128; chunk > 0; chunk -= 2)
			vm_make_private(vms[i], GPA + (chunk - 2) * SZ_512M, SZ_512M);
	nodes = count_settled(&node_size) - before;
	ksft_print_msg("64 GiB from 128 pieces: %ld nodes\n", nodes);
	TEST_ASSERT(nodes <= MAX_NODES * NR_VMS,
		    "More than %ld nodes per VM", MAX_NODES);
	free_vms();
	return NULL;
}

/* The worst case that a guest can cause: every other page. */
static const char *test_alternating(void)
{
	uint64_t before, node_size, gpa;
	struct kvm_vm *vm;
	long nodes;

	vm = gmem_create_protected_barebones();
	before = count_settled(&node_size);
	for (gpa = GPA; gpa < GPA + pattern_size; gpa += 2 * page_size)
		vm_make_private(vm, gpa, page_size);
	nodes = count_settled(&node_size) - before;
	ksft_print_msg("every other page: %ld nodes for %ld ranges, %ld bytes for each\n",
		       nodes, NR_RANGES, nodes * (long)node_size / NR_RANGES);
	TEST_ASSERT(nodes * (long)node_size / NR_RANGES < 200, "Too much for a range");

	vm_make_private(vm, GPA, pattern_size);
	nodes = count_settled(&node_size) - before;
	ksft_print_msg("All of it in one range again: %ld nodes\n", nodes);
	TEST_ASSERT(nodes < NR_RANGES / 64 + MAX_NODES, "The nodes are still there");
	kvm_vm_free(vm);
	return NULL;
}

/* The state of pages in a file is kept in the same way. */
static const char *test_file(void)
{
	uint64_t before, node_size, offset;
	struct kvm_vm *vm;
	long nodes;
	int fd;

	vm = gmem_create_protected_barebones();
	fd = vm_create_guest_memfd(vm, 64ull * SZ_1G, GMEM_SHARED);
	before = count_settled(&node_size);
	gmem_make_private(fd, 0, 64ull * SZ_1G);
	gmem_make_shared(fd, 0, 64ull * SZ_1G);
	for (offset = 0; offset < pattern_size; offset += 2 * page_size)
		gmem_make_private(fd, offset, page_size);
	nodes = count_settled(&node_size) - before;
	ksft_print_msg("every other page of a file: %ld nodes for %ld ranges\n",
		       nodes, NR_RANGES);
	TEST_ASSERT(nodes * (long)node_size / NR_RANGES < 200, "Too much for a range");
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	close(fd);
	kvm_vm_free(vm);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_64g),
	GMEM_TEST(test_alternating),
	GMEM_TEST(test_file),
};

int main(int argc, char *argv[])
{
	uint64_t node_size;

	page_size = getpagesize();
	pattern_size = 2 * NR_RANGES * page_size;
	gmem_require_protected_vms();
	count_nodes(&node_size);
	__TEST_REQUIRE(node_size, "no maple_node in /proc/slabinfo");
	return gmem_run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
