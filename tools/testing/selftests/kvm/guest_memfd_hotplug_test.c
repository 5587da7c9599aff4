// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hotplug_test: hotplug of CPUs and memory, and compaction
 *
 * A guest keeps running while a host CPU goes offline and online, and while
 * pages are faulted in, punched and converted.  Memory blocks with guest memory
 * cannot be taken offline, and an attempt fails at once.  Compaction neither
 * migrates nor unmaps guest memory, and does not make conversions fail.
 *
 * Machine: -n -m 1G
 * Timeout: 120
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "guest_memfd_hidden.h"
#include "guest_memfd_stress.h"

#define NR_PAGES	64
#include "guest_memfd_fixture.h"

#define NR_VCPUS	2
#define NDM		GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"
#define COMPACT		"/proc/sys/vm/compact_memory"
#define NR_CONVERSIONS	100

static int fd;

/* Any page may be punched at any time, and then reads as zero. */
static void guest_code(uint64_t id)
{
	uint64_t token = id << GMEM_TOKEN_SHIFT, page, val;

	for (;;) {
		token++;
		for (page = id - 1; page < NR_PAGES; page += NR_VCPUS)
			gmem_store((uint64_t *)(GPA + page * page_size), token);
		for (page = id - 1; page < NR_PAGES; page += NR_VCPUS) {
			val = gmem_load((uint64_t *)(GPA + page * page_size));
			GUEST_ASSERT_2(!val || val == token, val, token);
		}
		GUEST_SYNC(token);
	}
}

static bool set_online(bool online)
{
	return !gmem_write_file(CPU_ONLINE, online ? "1" : "0");
}

static void cpu_back_online(void)
{
	set_online(true);
}

static void *toggle_cpu(void *arg)
{
	while (!gmem_stress_stopped()) {
		TEST_ASSERT(set_online(false), "CPU 1 does not go offline");
		usleep(5000);
		TEST_ASSERT(set_online(true), "CPU 1 does not come online");
		gmem_stress_count_step();
		usleep(5000);
	}
	return NULL;
}

static void *change_memory(void *arg)
{
	bool protected = arg;
	unsigned int seed = 1;
	size_t first, len;

	while (!gmem_stress_stopped()) {
		first = rand_r(&seed) % NR_PAGES * page_size;
		len = page_size * (1 + rand_r(&seed) % 8);
		if (first + len > size)
			len = size - first;
		gmem_punch(fd, first, len);
		if (protected) {
			ASSERT_OK(__gmem_make_private(fd, first, len));
			gmem_make_shared(fd, first, len);
		}
		gmem_fallocate(fd, first, len);
		/* Write where the guest does not look. */
		ASSERT_EQ(pwrite(fd, "", 1, first + page_size / 2), 1l);
		sched_yield();
	}
	return NULL;
}

static const char *toggle_cpu_under_guest(bool protected, uint64_t kind)
{
	struct kvm_vcpu *vcpus[NR_VCPUS];
	int i;

	if (access(CPU_ONLINE, W_OK)) {
		errno = 0;
		return "no CPU 1 that can go offline";
	}
	vm = gmem_create_vm(protected, NR_VCPUS, guest_code, vcpus);
	gmem_guest_map(vm, GPA, size);
	sync_global_to_guest(vm, page_size);
	fd = new_slot(GMEM_ALL_FLAGS | kind);
	gmem_stress_reset();
	for (i = 0; i < NR_VCPUS; i++) {
		vcpu_args_set(vcpus[i], 1, (uint64_t)i + 1);
		gmem_stress_add_vcpu(vcpus[i]);
	}
	gmem_stress_add_thread(change_memory, (void *)protected);
	gmem_stress_add_thread(toggle_cpu, NULL);
	gmem_stress_wait();
	ksft_print_msg("%lu rounds of the guest, CPU 1 was away %lu times\n",
		       gmem_stress.nr_syncs, gmem_stress.nr_steps);
	TEST_ASSERT(gmem_stress.nr_syncs && gmem_stress.nr_steps, "No progress");
	stop_vm(fd);
	return NULL;
}

static const char *test_cpu(void)
{
	return toggle_cpu_under_guest(false, 0);
}

static const char *test_cpu_hidden(void)
{
	return gmem_no_direct_map_missing() ?: toggle_cpu_under_guest(false, NDM);
}

static const char *test_cpu_protected(void)
{
	return toggle_cpu_under_guest(true, 0);
}

static const char *test_cpu_protected_hidden(void)
{
	return gmem_no_direct_map_missing() ?: toggle_cpu_under_guest(true, NDM);
}

/* Guest and host have mapped all pages. */
static void start(bool protected, uint64_t kind)
{
	fd = start_vm_with_slot(protected, GMEM_SHARED | kind);
	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
}

static uint64_t minor_faults(void)
{
	struct rusage usage;

	ASSERT_OK(getrusage(RUSAGE_SELF, &usage));
	return usage.ru_minflt;
}

/* Guest and host still have all pages mapped. */
static void assert_still_mapped(uint64_t gmem_faults)
{
	uint64_t faults;

	assert_guest_sees(vcpu, GPA, size, 1);
	ASSERT_EQ(gmem_vcpu_stat(vcpu, "gmem_faults"), gmem_faults);
	faults = minor_faults();
	assert_host_sees(mem, size, 1);
	faults = minor_faults() - faults;
	TEST_ASSERT(faults < NR_PAGES / 4, "The host took %lu faults", faults);
}

static void block_path(char *path, size_t len, long block)
{
	snprintf(path, len, "/sys/devices/system/memory/memory%ld/state", block);
}

static void on_alarm(int sig)
{
}

/* Try to take a block offline for @seconds; returns 0 or an errno. */
static int take_offline(long block, int seconds)
{
	struct sigaction old, sa = { .sa_handler = on_alarm };
	char path[96];
	int err;

	block_path(path, sizeof(path), block);
	ASSERT_OK(sigaction(SIGALRM, &sa, &old));
	alarm(seconds);
	err = gmem_write_file(path, "offline");
	alarm(0);
	ASSERT_OK(sigaction(SIGALRM, &old, NULL));
	errno = 0;
	return err;
}

/* The block of a page in the middle of the file; hidden pages are traced. */
static long block_of_guest(uint64_t kind)
{
	uint64_t pfn = kind ? gmem_traced_pfn(GPA + size / 2) : gmem_pfn(mem + size / 2);

	TEST_ASSERT(pfn, "The page frame number is unknown");
	return gmem_memory_block(pfn);
}

/* A block with holes, at the end of memory, is refused early with EINVAL. */
static void assert_not_offline(long block)
{
	int err = take_offline(block, 2);

	TEST_ASSERT(err == EBUSY || err == EINVAL, "Block %ld: errno %d", block, err);
}

static const char *offline_guest_memory(bool protected, uint64_t kind)
{
	const char *skip = kind ? gmem_trace_start() : NULL;
	uint64_t faults;
	long block;

	if (skip)
		return skip;
	start(protected, kind);
	block = block_of_guest(kind);
	if (block < 0) {
		stop_vm(fd);
		return "no memory blocks";
	}
	if (protected)
		gmem_make_private(fd, 0, size / 2);
	assert_guest_sees(vcpu, GPA, size, 1);
	faults = gmem_vcpu_stat(vcpu, "gmem_faults");
	assert_not_offline(block);
	assert_not_offline(block);
	if (protected) {
		gmem_make_shared(fd, 0, size / 2);
		assert_host_sees(mem, size, 1);
		gmem_guest_fill(vcpu, GPA, size, 2);
	} else {
		assert_still_mapped(faults);
	}
	stop_vm(fd);
	return NULL;
}

static const char *test_offline(void)
{
	return offline_guest_memory(false, 0);
}

static const char *test_offline_hidden(void)
{
	return gmem_no_direct_map_missing() ?: offline_guest_memory(false, NDM);
}

static const char *test_offline_private(void)
{
	return offline_guest_memory(true, 0);
}

#define LARGE_SIZE	(6 * SZ_64M)

/* Find a block of node 1 that can go offline and online as kernel memory. */
static long movable_block(void)
{
	char path[96];
	long block;

	for (block = 255; block >= 0; block--) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node1/memory%ld/state",
			 block);
		if (access(path, W_OK) || take_offline(block, 5))
			continue;
		ASSERT_EQ(gmem_write_file(path, "online_kernel"), 0);
		errno = 0;
		return block;
	}
	errno = 0;
	return -1;
}

/* Allocate until one of the sampled pages is in @block; returns its offset. */
static size_t allocate_in_block(uint8_t *map, long block)
{
	size_t start, off;

	for (start = 0; start < LARGE_SIZE; start += SZ_64M) {
		gmem_fallocate(fd, start, SZ_64M);
		for (off = start; off < start + SZ_64M; off += SZ_1M) {
			map[off] = 1;
			if (gmem_memory_block(gmem_pfn(map + off)) == block)
				return off;
		}
	}
	return LARGE_SIZE;
}

/*
 * A single page of guest memory must keep a block online that can go offline
 * without it.  Other kernel allocations come from another node.
 */
static const char *offline_one_page(long block)
{
	const char *skip = "no guest memory comes from the block";
	size_t off;
	uint8_t *map;
	int err;

	fd = vm_create_guest_memfd(vm, LARGE_SIZE, GMEM_SHARED);
	map = gmem_mmap(fd, 0, LARGE_SIZE);
	ASSERT_OK(gmem_mbind(map, LARGE_SIZE, MPOL_BIND, 2));
	off = allocate_in_block(map, block);
	if (off < LARGE_SIZE) {
		skip = NULL;
		if (off)
			gmem_punch(fd, 0, off);
		gmem_punch(fd, off + page_size, LARGE_SIZE);
		/* It is no longer mapped if it was in a block of 2 MiB. */
		(void)READ_ONCE(map[off]);
		ASSERT_EQ(take_offline(block, 2), EBUSY);
		TEST_ASSERT(gmem_pfn(map + off), "The page was taken from the host");
		gmem_punch(fd, off, page_size);
		err = take_offline(block, 10);
		ksft_print_msg("Block %ld without the page: %s\n", block,
			       err ? strerror(err) : "offline");
	}
	ASSERT_OK(munmap(map, LARGE_SIZE));
	close(fd);
	return skip;
}

static const char *test_offline_one_page(void)
{
	unsigned long node0 = 1;
	const char *skip;
	char path[96];
	long block;

	if (!gmem_has_node(0) || !gmem_has_node(1))
		return "the machine has no nodes 0 and 1";
	block = movable_block();
	if (block < 0)
		return "no memory block of node 1 goes offline";

	ASSERT_OK(syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 8 * sizeof(node0)));
	vm = vm_create_barebones();
	skip = offline_one_page(block);
	kvm_vm_free(vm);
	ASSERT_OK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	block_path(path, sizeof(path), block);
	gmem_write_file(path, "online");
	return skip;
}

/* Guest memory must not keep other blocks from going offline. */
static const char *test_offline_other_memory(void)
{
	long block, guest, tries = 0;
	char path[96];
	int err;

	start(false, 0);
	guest = block_of_guest(0);
	/* The last blocks have the fewest unmovable pages. */
	for (block = 255; guest >= 0 && block >= 0 && tries < 3; block--) {
		block_path(path, sizeof(path), block);
		if (block == guest || access(path, W_OK))
			continue;
		tries++;
		err = take_offline(block, 5);
		if (err) {
			ksft_print_msg("Block %ld does not go offline: %s\n", block,
				       strerror(err));
			continue;
		}
		ksft_print_msg("Block %ld is offline\n", block);
		assert_guest_sees(vcpu, GPA, size, 1);
		ASSERT_EQ(gmem_write_file(path, "online"), 0);
	}
	errno = 0;
	assert_guest_sees(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	stop_vm(fd);
	return tries ? NULL : "no memory blocks";
}

/* Compaction scans all pages each time, whether that is needed or not. */
static const char *compact(uint64_t kind)
{
	uint64_t scanned = gmem_vmstat("compact_migrate_scanned"), faults;
	int i;

	if (access(COMPACT, W_OK)) {
		errno = 0;
		return "no " COMPACT;
	}
	start(false, kind);
	faults = gmem_vcpu_stat(vcpu, "gmem_faults");
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(gmem_write_file(COMPACT, "1"), 0);
		assert_still_mapped(faults);
	}
	TEST_ASSERT(gmem_vmstat("compact_migrate_scanned") > scanned, "Nothing was looked at");
	stop_vm(fd);
	return NULL;
}

static const char *test_compaction(void)
{
	return compact(0);
}

static const char *test_compaction_hidden(void)
{
	return gmem_no_direct_map_missing() ?: compact(NDM);
}

static void *compact_thread(void *arg)
{
	while (!gmem_stress_stopped()) {
		ASSERT_EQ(gmem_write_file(COMPACT, "1"), 0);
		gmem_stress_count_step();
	}
	return NULL;
}

/* A reference taken by compaction, even briefly, would make this fail. */
static void *convert_thread(void *arg)
{
	int i;

	for (i = 0; i < NR_CONVERSIONS || !gmem_stress_stopped(); i++) {
		gmem_make_private(fd, 0, size);
		gmem_make_shared(fd, 0, size);
		memset(mem, 1, size);
		__atomic_fetch_add(&gmem_stress.nr_syncs, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static const char *convert_while_compacting(uint64_t kind)
{
	if (access(COMPACT, W_OK)) {
		errno = 0;
		return "no " COMPACT;
	}
	start(true, kind);
	gmem_stress_reset();
	gmem_stress_add_thread(compact_thread, NULL);
	gmem_stress_add_thread(convert_thread, NULL);
	gmem_stress_wait();
	ksft_print_msg("%lu conversions, memory compacted %lu times\n",
		       gmem_stress.nr_syncs, gmem_stress.nr_steps);
	stop_vm(fd);
	return NULL;
}

static const char *test_conversion(void)
{
	return convert_while_compacting(0);
}

static const char *test_conversion_hidden(void)
{
	return gmem_no_direct_map_missing() ?: convert_while_compacting(NDM);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_cpu),
	GMEM_TEST(test_cpu_hidden),
	GMEM_TEST_PROTECTED(test_cpu_protected),
	GMEM_TEST_PROTECTED(test_cpu_protected_hidden),
	GMEM_TEST(test_offline),
	GMEM_TEST(test_offline_hidden),
	GMEM_TEST_PROTECTED(test_offline_private),
	GMEM_TEST(test_offline_one_page),
	GMEM_TEST(test_offline_other_memory),
	GMEM_TEST(test_compaction),
	GMEM_TEST(test_compaction_hidden),
	GMEM_TEST_PROTECTED(test_conversion),
	GMEM_TEST_PROTECTED(test_conversion_hidden),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(!geteuid(), "not root");
	gmem_stress.seconds = 1;
	atexit(cpu_back_online);
}

GMEM_TEST_MAIN(init)
