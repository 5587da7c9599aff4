// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for tests of memory outside the direct map, see guest_memfd_hidden.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/elf.h>
#include <linux/kernel-page-flags.h>
#include <sys/syscall.h>

#include "guest_memfd_hidden.h"

#define KCORE		"/proc/kcore"
#define NODE_DIR	"/sys/devices/system/node"
#define BLOCK_SIZE	"/sys/devices/system/memory/block_size_bytes"
#define RESERVE		"/sys/kernel/debug/guest_memory_reserve"
#define CORRUPT_PFN	"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define UNPOISON_PFN	"/sys/kernel/debug/hwpoison/unpoison-pfn"

uint64_t gmem_last_kind(void)
{
	return kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
}

const char *gmem_no_direct_map_missing(void)
{
	return gmem_last_kind() ? NULL : "the kernel or the machine has no NO_DIRECT_MAP";
}

void gmem_require_no_direct_map(void)
{
	const char *skip;

	gmem_require_mmap();
	skip = gmem_no_direct_map_missing();
	__TEST_REQUIRE(!skip, "%s", skip);
}

const char *gmem_kcore_missing(void)
{
	int fd = open(KCORE, O_RDONLY);

	errno = 0;
	if (fd < 0)
		return "no " KCORE;
	close(fd);
	return NULL;
}

/*
 * Only segments of RAM and of the kernel's image have a physical address.  Parts of
 * the image that were freed after boot are other people's pages now, and no longer
 * mapped there.  The RAM around the image is the larger segment.
 */
void gmem_kcore_read(uint64_t pfn, void *buf)
{
	int fd = ASSERT_OK(open(KCORE, O_RDONLY)), i;
	size_t page_size = getpagesize();
	struct elf64_phdr seg, ram = { };
	uint64_t pa = pfn * page_size;
	struct elf64_hdr hdr;

	ASSERT_EQ(pread(fd, &hdr, sizeof(hdr), 0), (ssize_t)sizeof(hdr));
	for (i = 0; i < hdr.e_phnum; i++) {
		ASSERT_EQ(pread(fd, &seg, sizeof(seg), hdr.e_phoff + i * sizeof(seg)),
			  (ssize_t)sizeof(seg));
		if (seg.p_type == PT_LOAD && seg.p_paddr != -1ul && pa >= seg.p_paddr &&
		    pa - seg.p_paddr < seg.p_memsz && seg.p_memsz > ram.p_memsz)
			ram = seg;
	}
	TEST_ASSERT(ram.p_memsz, "%s has no page frame 0x%lx", KCORE, pfn);
	ASSERT_EQ(pread(fd, buf, page_size, ram.p_offset + pa - ram.p_paddr),
		  (ssize_t)page_size);
	close(fd);
}

/* Mark units of the smallest page size, whatever the page size. */
static const int mark_offsets[] = { 0, MIN_PAGE_SIZE / 2, MIN_PAGE_SIZE - sizeof(uint64_t) };

void gmem_mark(void *addr, size_t len, uint64_t val)
{
	size_t page;
	int i;

	for (page = 0; page < len; page += MIN_PAGE_SIZE)
		for (i = 0; i < ARRAY_SIZE(mark_offsets); i++)
			WRITE_ONCE(*(uint64_t *)(addr + page + mark_offsets[i]), ~val);
}

/* Clear each page found, or the copy in the buffer would be counted as well. */
static void count_marks(uint8_t *buf, size_t len, uint64_t first, unsigned long *counts,
			int nr)
{
	size_t page;
	uint64_t i;
	int j;

	for (page = 0; page < len; page += MIN_PAGE_SIZE)
		for (j = 0; j < ARRAY_SIZE(mark_offsets); j++) {
			i = ~*(uint64_t *)(buf + page + mark_offsets[j]) - first;
			if (i >= nr)
				continue;
			counts[i]++;
			memset(buf + page, 0, MIN_PAGE_SIZE);
			break;
		}
}

void gmem_kcore_count(uint64_t first, unsigned long *counts, int nr)
{
	int fd = ASSERT_OK(open(KCORE, O_RDONLY)), i;
	const size_t chunk = 1ul << 20;
	uint8_t *buf = ASSERT_OK(malloc(chunk));
	struct elf64_phdr seg;
	struct elf64_hdr hdr;
	uint64_t off, left;
	ssize_t len;

	memset(counts, 0, nr * sizeof(*counts));
	ASSERT_EQ(pread(fd, &hdr, sizeof(hdr), 0), (ssize_t)sizeof(hdr));
	for (i = 0; i < hdr.e_phnum; i++) {
		ASSERT_EQ(pread(fd, &seg, sizeof(seg), hdr.e_phoff + i * sizeof(seg)),
			  (ssize_t)sizeof(seg));
		if (seg.p_type != PT_LOAD || seg.p_paddr == -1ul)
			continue;
		for (off = 0; off < seg.p_memsz; off += len) {
			left = seg.p_memsz - off;
			len = pread(fd, buf, min_t(uint64_t, left, chunk),
				    seg.p_offset + off);
			TEST_ASSERT(len > 0, "Cannot read at 0x%lx, errno %d",
				    (uint64_t)seg.p_paddr + off, errno);
			count_marks(buf, len, first, counts, nr);
		}
	}
	free(buf);
	close(fd);
}

const char *gmem_cannot_corrupt(void)
{
	bool can = !access(CORRUPT_PFN, W_OK);

	errno = 0;
	return can ? NULL : "no " CORRUPT_PFN;
}

static int write_pfn(const char *path, uint64_t pfn)
{
	char val[32];

	snprintf(val, sizeof(val), "0x%lx", pfn);
	return gmem_write_file(path, val);
}

void gmem_corrupt(uint64_t pfn)
{
	ASSERT_EQ(write_pfn(CORRUPT_PFN, pfn), 0);
}

/* 0 or an errno. */
int gmem_unpoison(uint64_t pfn)
{
	return write_pfn(UNPOISON_PFN, pfn);
}

bool gmem_is_poisoned(uint64_t pfn)
{
	int fd = ASSERT_OK(open("/proc/kpageflags", O_RDONLY));
	uint64_t flags;

	ASSERT_EQ(pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)),
		  (ssize_t)sizeof(flags));
	close(fd);
	return flags & (1ul << KPF_HWPOISON);
}

/* Lines "key value" or "key: value". */
static uint64_t read_key(const char *path, const char *key)
{
	uint64_t val, found = -1ull;
	char line[256], name[64];
	FILE *f = fopen(path, "r");

	TEST_ASSERT(f, "Cannot open %s", path);
	while (found == -1ull && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^: ]%*[: ]%lu", name, &val) == 2 &&
		    !strcmp(name, key))
			found = val;
	fclose(f);
	return found;
}

uint64_t gmem_meminfo(const char *key)
{
	return read_key("/proc/meminfo", key);
}

uint64_t gmem_vmstat(const char *key)
{
	return read_key("/proc/vmstat", key);
}

void gmem_wait_for_leaving(void)
{
	uint64_t left = 1;
	int i;

	for (i = 0; left && i < 100; i++) {
		usleep(50000);
		left = read_key(RESERVE, "leaving");
	}
	TEST_ASSERT(!left, "%lu pages are still referred to", left);
}

/* Writing 4 suppresses the kernel's message. */
void gmem_drop_caches(void)
{
	gmem_write_file("/proc/sys/vm/drop_caches", "4");
	ASSERT_EQ(gmem_write_file("/proc/sys/vm/drop_caches", "3"), 0);
}

/* MemFree lacks the lists per CPU, which may hold several blocks of 2 MiB. */
uint64_t gmem_free_memory(void)
{
	uint64_t pages = 0, n;
	char line[256];
	FILE *f = fopen("/proc/zoneinfo", "r");

	TEST_ASSERT(f, "Cannot open /proc/zoneinfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %lu", &n) == 1)
			pages += n;
	fclose(f);
	return gmem_meminfo("MemFree") + pages * (getpagesize() / 1024);
}

void gmem_wait_for_free(uint64_t kib)
{
	uint64_t now;
	int i;

	for (i = 0; i < 100; i++) {
		gmem_drop_caches();
		now = gmem_free_memory();
		if (now >= kib)
			return;
		usleep(100000);
	}
	TEST_FAIL("%lu KiB of memory are free, expected %lu", now, kib);
}

long gmem_mbind(void *addr, size_t len, int mode, unsigned long nodes)
{
	return syscall(SYS_mbind, addr, len, mode, &nodes, 8 * sizeof(nodes), 0);
}

int gmem_node_of_page(void *addr)
{
	int status = -1;

	ASSERT_OK(syscall(SYS_move_pages, 0, 1ul, &addr, NULL, &status, 0));
	return status;
}

bool gmem_has_node(int node)
{
	char path[64];
	bool has;

	snprintf(path, sizeof(path), NODE_DIR "/node%d", node);
	has = !access(path, F_OK);
	errno = 0;
	return has;
}

/* tracefs is mounted automatically below debugfs. */
#define TRACING		"/sys/kernel/debug/tracing/"

const char *gmem_trace_start(void)
{
	if (gmem_write_file(TRACING "events/kvm/kvm_gmem_fault/enable", "1"))
		return "no tracepoint " TRACING "events/kvm/kvm_gmem_fault";
	close(ASSERT_OK(open(TRACING "trace", O_WRONLY | O_TRUNC)));
	ASSERT_EQ(gmem_write_file(TRACING "tracing_on", "1"), 0);
	return NULL;
}

/* Use the last fault at the address. */
uint64_t gmem_traced_pfn(uint64_t gpa)
{
	unsigned long gfn, pfn, found = 0;
	FILE *f = fopen(TRACING "trace", "r");
	char line[256], *event;

	TEST_ASSERT(f, "Cannot open " TRACING "trace");
	while (fgets(line, sizeof(line), f)) {
		event = strstr(line, "kvm_gmem_fault: ");
		if (event && sscanf(event, "kvm_gmem_fault: gfn 0x%lx pfn 0x%lx",
				    &gfn, &pfn) == 2 && gfn == gpa / getpagesize() && pfn)
			found = pfn;
	}
	fclose(f);
	TEST_ASSERT(found, "No fault was traced at 0x%lx", gpa);
	return found;
}

long gmem_memory_block(uint64_t pfn)
{
	uint64_t block_size;
	FILE *f = fopen(BLOCK_SIZE, "r");

	errno = 0;
	if (!f)
		return -1;
	ASSERT_EQ(fscanf(f, "%lx", &block_size), 1);
	fclose(f);
	return pfn * getpagesize() / block_size;
}

/* Find the node whose directory in sysfs has the memory block of the page. */
int gmem_node_of(uint64_t pfn)
{
	long block = gmem_memory_block(pfn);
	char path[96];
	int node;

	TEST_ASSERT(block >= 0, "Cannot open " BLOCK_SIZE);
	for (node = 0; gmem_has_node(node); node++) {
		snprintf(path, sizeof(path), NODE_DIR "/node%d/memory%ld", node, block);
		if (!access(path, F_OK))
			return node;
	}
	errno = 0;
	return -1;
}
