// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_mapping_test: mappings of hidden memory
 *
 * With GUEST_MEMFD_FLAG_NO_DIRECT_MAP, host mappings are VM_PFNMAP.  System
 * calls and procfs files that deal with mappings must cope with that, and must
 * neither disclose nor change the contents.  Core dumps must not contain them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/perf_event.h>
#include <linux/sizes.h>
#include <linux/userfaultfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

static int fd;

static const char *test_mlock(void)
{
	uint8_t *second;

	fd = start_hidden();
	ASSERT_OK(mlock(mem, size));
	ASSERT_OK(munlock(mem, size));
	ASSERT_OK(mlock2(mem, size, MLOCK_ONFAULT));
	ASSERT_OK(mlockall(MCL_CURRENT | MCL_FUTURE));
	second = gmem_mmap(fd, 0, size);
	assert_host_sees(second, size, 1);
	ASSERT_OK(munlockall());
	ASSERT_OK(munmap(second, size));
	second = ASSERT_OK(mmap(NULL, size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_POPULATE | MAP_LOCKED, fd, 0));
	assert_host_sees(second, size, 1);
	ASSERT_OK(munmap(second, size));
	return stop_filled(fd, NULL);
}

/* Advice that needs struct pages fails, and none affects the data. */
static const char *test_madvise(void)
{
	static const struct {
		int advice, err;
	} advices[] = {
		{ MADV_NORMAL, 0 }, { MADV_RANDOM, 0 }, { MADV_SEQUENTIAL, 0 },
		{ MADV_DONTDUMP, 0 }, { MADV_DONTFORK, 0 }, { MADV_DOFORK, 0 },
		{ MADV_DONTNEED, EINVAL }, { MADV_FREE, EINVAL }, { MADV_COLD, EINVAL },
		{ MADV_PAGEOUT, EINVAL }, { MADV_POPULATE_READ, EINVAL },
		{ MADV_POPULATE_WRITE, EINVAL }, { MADV_WIPEONFORK, EINVAL },
		{ MADV_DODUMP, EINVAL }, { MADV_COLLAPSE, EINVAL },
		{ MADV_HWPOISON, EFAULT }, { MADV_SOFT_OFFLINE, EFAULT },
	};
	int i, err;

	fd = start_hidden();
	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		/* Skip advice that the kernel does not know. */
		if (madvise(mem, 0, advices[i].advice))
			continue;
		errno = 0;
		madvise(mem, size, advices[i].advice);
		err = errno;
		errno = 0;
		TEST_ASSERT(err == advices[i].err, "madvise(%d): errno %d, expected %d",
			    advices[i].advice, err, advices[i].err);
		assert_host_sees(mem, size, 1);
	}
	/* These may or may not be supported. */
	madvise(mem, size, MADV_WILLNEED);
	madvise(mem, size, MADV_MERGEABLE);
	madvise(mem, size, MADV_UNMERGEABLE);
	madvise(mem, size, MADV_HUGEPAGE);
	assert_host_sees(mem, size, 1);
	errno = 0;
	ASSERT_OK(madvise(mem, page_size, MADV_REMOVE));
	TEST_ASSERT(gmem_is_zero(mem, page_size), "MADV_REMOVE left data");
	gmem_fill(mem, size, 1);
	return stop_filled(fd, NULL);
}

static const char *test_mapping(void)
{
	unsigned char present[NR_PAGES];
	uint8_t *to = gmem_anonymous(size);

	fd = start_hidden();
	ASSERT_OK(mincore(mem, size, present));
	ASSERT_EQ(present[0] & 1, 1);
	ASSERT_OK(msync(mem, size, MS_ASYNC));
	ASSERT_OK(mprotect(mem, size, PROT_READ));
	assert_host_sees(mem, size, 1);
	ASSERT_OK(mprotect(mem, size, PROT_READ | PROT_WRITE));
	mem = ASSERT_OK(mremap(mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "A moved mapping shows old data");
	gmem_fill(mem, size, 1);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	ASSERT_ERRNO(mprotect(mem, size, PROT_READ | PROT_EXEC), EACCES);
	return stop_filled(fd, NULL);
}

static const char *test_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC), mode;

	if (uffd < 0) {
		errno = 0;
		return "userfaultfd is not available";
	}
	fd = start_hidden();
	reg.range.start = (uintptr_t)mem;
	reg.range.len = size;
	ASSERT_OK(ioctl(uffd, UFFDIO_API, &api));
	for (mode = 1; mode < 8; mode++) {
		reg.mode = mode;
		ASSERT_ERRNO(ioctl(uffd, UFFDIO_REGISTER, &reg), EINVAL);
	}
	close(uffd);
	return stop_filled(fd, NULL);
}

static const char *test_numa_calls(void)
{
	int node = -1, status = 1, to = 0;
	void *page;

	if (!gmem_has_node(0))
		return "the kernel has no NUMA support";

	fd = start_hidden();
	page = mem;
	ASSERT_ERRNO(syscall(SYS_get_mempolicy, &node, NULL, 0, mem,
			     MPOL_F_ADDR | MPOL_F_NODE), EFAULT);
	ASSERT_OK(syscall(SYS_get_mempolicy, &node, NULL, 0, mem, MPOL_F_ADDR));
	ASSERT_EQ(node, MPOL_DEFAULT);
	syscall(SYS_move_pages, 0, 1ul, &page, NULL, &status, 0);
	TEST_ASSERT(status < 0, "move_pages() found a page on node %d", status);
	syscall(SYS_move_pages, 0, 1ul, &page, &to, &status, MPOL_MF_MOVE);
	TEST_ASSERT(status < 0, "move_pages() moved a page to node %d", status);
	errno = 0;
	ASSERT_OK(gmem_mbind(mem, size, MPOL_BIND, 1));
	ASSERT_OK(syscall(SYS_mbind, mem, size, MPOL_DEFAULT, NULL, 0, MPOL_MF_MOVE));
	return stop_filled(fd, NULL);
}

static void child_uses_mapping(void *arg)
{
	assert_host_sees(mem, size, 1);
	gmem_fill(mem, size, 2);
	gmem_fill(mem, size, 1);
	ASSERT_OK(munmap(mem, size));
}

static const char *test_fork(void)
{
	int i;

	fd = start_hidden();
	for (i = 0; i < 4; i++)
		gmem_in_child(child_uses_mapping, NULL);
	/* MADV_DOFORK reverts MADV_DONTFORK. */
	ASSERT_OK(madvise(mem, size, MADV_DONTFORK));
	ASSERT_OK(madvise(mem, size, MADV_DOFORK));
	gmem_in_child(child_uses_mapping, NULL);
	return stop_filled(fd, NULL);
}

/* Read @path to its end; returns the number of bytes, 0 on failure. */
static size_t read_all(const char *path)
{
	int file = open(path, O_RDONLY);
	static char buf[SZ_64K];
	size_t sum = 0;
	ssize_t len;

	if (file >= 0) {
		while ((len = read(file, buf, sizeof(buf))) > 0)
			sum += len;
		close(file);
	}
	errno = 0;
	return sum;
}

static const char *test_procfs(void)
{
	fd = start_hidden();
	ASSERT_EQ(gmem_pfn(mem), 0ul);
	TEST_ASSERT(read_all("/proc/self/maps"), "No maps");
	read_all("/proc/self/smaps");
	read_all("/proc/self/smaps_rollup");
	read_all("/proc/self/numa_maps");
	gmem_write_file("/proc/self/clear_refs", "1");
	gmem_write_file("/proc/self/clear_refs", "3");
	gmem_write_file("/proc/self/clear_refs", "4");
	read_all("/proc/kpageflags");
	read_all("/proc/kpagecount");
	read_all("/sys/kernel/mm/page_idle/bitmap");
	return stop_filled(fd, NULL);
}

/* While this is open, the kernel looks for build IDs of new mappings. */
static int open_build_ids(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.mmap = 1,
		.mmap2 = 1,
		.mmap_data = 1,
		.build_id = 1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static const char *test_build_id(void)
{
	static const uint8_t elf[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
	int event = open_build_ids(), i;
	uint8_t *second;

	if (event < 0) {
		errno = 0;
		return "no perf events with build IDs";
	}
	fd = start_hidden();
	memcpy(mem, elf, sizeof(elf));
	for (i = 0; i < 3; i++) {
		second = gmem_mmap(fd, 0, size);
		ASSERT_EQ(memcmp(second, elf, sizeof(elf)), 0);
		ASSERT_OK(munmap(second, size));
	}
	gmem_fill(mem, size, 1);
	close(event);
	return stop_filled(fd, NULL);
}

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE_FILE	"/tmp/gmem-core"

static void child_crash(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	uint8_t *ordinary = gmem_anonymous(size);

	setrlimit(RLIMIT_CORE, &limit);
	/* All mappings: private and shared, with and without a file. */
	gmem_write_file("/proc/self/coredump_filter", "0x7f");
	gmem_fill(ordinary, size, 7);
	abort();
}

/* Count the pages of the core dump that have pattern @seed. */
static int count_in_core(uint64_t seed)
{
	int file = ASSERT_OK(open(CORE_FILE, O_RDONLY)), nr = 0, i;
	uint8_t *want = gmem_anonymous(size), *buf = gmem_anonymous(page_size);

	gmem_fill(want, size, seed);
	while (read(file, buf, page_size) == (ssize_t)page_size)
		for (i = 0; i < NR_PAGES; i++)
			nr += !memcmp(buf, want + i * page_size, page_size);
	ASSERT_OK(munmap(want, size));
	ASSERT_OK(munmap(buf, page_size));
	close(file);
	return nr;
}

/* Let a child crash with the memory mapped, and check its core dump. */
static const char *dump_core(void)
{
	const char *skip = NULL;
	int status;
	pid_t pid;

	fd = start_hidden();
	pid = ASSERT_OK(fork());
	if (!pid)
		child_crash();
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFSIGNALED(status), "The child did not crash, status 0x%x", status);
	if (WCOREDUMP(status)) {
		ASSERT_EQ(count_in_core(7), NR_PAGES);
		ASSERT_EQ(count_in_core(1), 0);
	} else {
		skip = "no core was dumped";
	}
	unlink(CORE_FILE);
	return stop_filled(fd, skip);
}

static const char *test_core_dump(void)
{
	const char *skip = "no " CORE_PATTERN;
	char old[256] = "";
	FILE *f = fopen(CORE_PATTERN, "r");

	if (f) {
		TEST_ASSERT(fgets(old, sizeof(old), f), "Cannot read " CORE_PATTERN);
		fclose(f);
		if (gmem_write_file(CORE_PATTERN, CORE_FILE))
			return "not root";
		skip = dump_core();
		gmem_write_file(CORE_PATTERN, old);
	}
	errno = 0;
	return skip;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_mlock),
	GMEM_TEST(test_madvise),
	GMEM_TEST(test_mapping),
	GMEM_TEST(test_userfaultfd),
	GMEM_TEST(test_numa_calls),
	GMEM_TEST(test_fork),
	GMEM_TEST(test_procfs),
	GMEM_TEST(test_build_id),
	GMEM_TEST(test_core_dump),
};

static void init(void)
{
	gmem_require_no_direct_map();
	init_barebones();
}

GMEM_TEST_MAIN(init)
