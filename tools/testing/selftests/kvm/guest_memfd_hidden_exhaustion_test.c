// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_exhaustion_test: no memory left for hidden files
 *
 * Memory is taken out of the direct map in blocks of 2 MiB.  If no block is
 * free, because all memory is in use, because a page of every block is in use,
 * or because the policy of the file allows only one node, an access must fail
 * at once: a system call with an errno, the guest with an exit, and the host
 * with SIGBUS.  It must neither trigger the OOM killer nor wait for memory.
 *
 * Machine: -n -m 1G
 * Kernel: normal
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	16
#include "guest_memfd_fixture.h"

#define NDM_ALL		(GMEM_ALL_FLAGS | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)
#define BLOCK		SZ_2M
#define MAX_SECONDS	20

static uint64_t total;

/* A file as large as all memory, bound to SLOT and mapped at map. */
static uint8_t *map;
static int fd;

static void start(void)
{
	gmem_drop_caches();
	total = gmem_meminfo("MemTotal") * SZ_1K / BLOCK * BLOCK;
	start_vm(false);
	fd = vm_create_guest_memfd(vm, total, NDM_ALL);
	map = gmem_mmap(fd, 0, total);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA, total, map, fd, 0);
	virt_map(vm, GPA + total - page_size, GPA + total - page_size, 1);
}

static void stop(void)
{
	ASSERT_OK(munmap(map, total));
	close(fd);
	kvm_vm_free(vm);
}

/* Run in a child with a timeout, so that the test can report its death. */
static void touch_in_vain(void *arg)
{
	int zero = ASSERT_OK(open("/dev/zero", O_RDONLY));
	uint8_t *last = map + total - page_size;

	alarm(MAX_SECONDS);
	TEST_ASSERT(!gmem_try_read(last, NULL), "Read a page that cannot be allocated");
	TEST_ASSERT(!gmem_try_write(last, 1), "Wrote a page that cannot be allocated");
	ASSERT_ERRNO(read(zero, last, page_size), EFAULT);
	ASSERT_ERRNO(pwrite(fd, &zero, sizeof(zero), total - page_size), ENOMEM);
	ASSERT_ERRNO(__gmem_fallocate(fd, total - page_size, page_size), ENOMEM);
	close(zero);
}

/*
 * Allocate all but the last page of the file, which is left for the test.
 * Retry while that helps: more memory may become available after a while.
 */
static void allocate_all(void)
{
	uint64_t before;

	do {
		before = gmem_allocated(fd);
		ASSERT_ERRNO(__gmem_fallocate(fd, 0, total - page_size), ENOMEM);
		usleep(200000);
	} while (gmem_allocated(fd) > before);
}

/* The last page cannot be allocated: accesses fail, and no task is killed. */
static void assert_exhausted(void)
{
	uint64_t kills = gmem_vmstat("oom_kill");

	allocate_all();
	gmem_in_child(touch_in_vain, NULL);
	gmem_guest_order(vcpu, GMEM_GUEST_WRITE, GPA + total - page_size, 0, 1);
	vcpu_run_expect_memory_fault(vcpu, GPA + total - page_size, EFAULT);
	ASSERT_EQ(gmem_vmstat("oom_kill"), kills);
}

/* Memory is available again: the guest continues, the host sees its write. */
static void assert_available(void)
{
	gmem_guest_finish(vcpu);
	ASSERT_EQ(*(uint64_t *)(map + total - page_size), 1ul);
}

static const char *test_no_memory(void)
{
	start();
	assert_exhausted();
	gmem_punch(fd, 0, BLOCK);
	assert_available();
	stop();
	return NULL;
}

/* An ordinary slot on a mapping whose page cannot be allocated. */
static const char *test_ordinary_slot(void)
{
	uint64_t gpa;

	start();
	gpa = GPA + total;
	allocate_all();
	vm_set_user_memory_region(vm, SLOT + 1, 0, gpa, page_size, map + total - page_size);
	virt_map(vm, gpa, gpa, 1);
	gmem_guest_order(vcpu, GMEM_GUEST_WRITE, gpa, 0, 1);
	alarm(MAX_SECONDS);
	ASSERT_ERRNO(_vcpu_run(vcpu), EFAULT);
	alarm(0);
	gmem_punch(fd, 0, BLOCK);
	assert_available();
	stop();
	return NULL;
}

/*
 * Allocate most of the available memory, then free all but one page of every
 * block.  These pages cannot be migrated.
 */
static int fragment_memory(uint64_t *held)
{
	uint64_t len = (gmem_meminfo("MemAvailable") - 48 * SZ_1K) * SZ_1K / BLOCK * BLOCK;
	int holder = vm_create_guest_memfd(vm, len, GMEM_SHARED);
	uint64_t *pagemap = gmem_anonymous(len / page_size * sizeof(*pagemap));
	int pagemap_fd = ASSERT_OK(open("/proc/self/pagemap", O_RDONLY));
	uint64_t off, from = 0;
	uint8_t *pages;

	/* Pages must be mapped to be found in pagemap. */
	pages = gmem_mmap(holder, 0, len);
	for (off = 0; off < len; off += page_size)
		READ_ONCE(pages[off]);
	for (off = 0; off < len / page_size; off += 512)
		ASSERT_OK(pread(pagemap_fd, &pagemap[off], 512 * sizeof(*pagemap),
				((uintptr_t)pages / page_size + off) * sizeof(*pagemap)));
	for (off = 0; off < len; off += page_size) {
		if (pagemap[off / page_size] % (BLOCK / page_size))
			continue;
		if (off > from)
			gmem_punch(holder, from, off - from);
		from = off + page_size;
	}
	if (len > from)
		gmem_punch(holder, from, len - from);
	close(pagemap_fd);
	ASSERT_OK(munmap(pagemap, len / page_size * sizeof(*pagemap)));
	ASSERT_OK(munmap(pages, len));
	*held = gmem_allocated(holder);
	return holder;
}

static const char *test_fragmentation(void)
{
	uint64_t held;
	int holder;

	start();
	holder = fragment_memory(&held);
	TEST_ASSERT(held && held < total / 64, "0x%lx bytes are held", held);
	TEST_ASSERT(gmem_meminfo("MemFree") * SZ_1K > total / 2, "Little memory is free");
	assert_exhausted();
	/* Only blocks without a page of the holder could be allocated. */
	TEST_ASSERT(gmem_allocated(fd) < total / 2, "Memory is not fragmented");
	close(holder);
	assert_available();
	stop();
	return NULL;
}

/* Other tasks that are bound to the node must still get memory. */
static void bystander(void *arg)
{
	unsigned long nodes = 1ul << 1;
	uint8_t *anon;

	alarm(MAX_SECONDS);
	ASSERT_OK(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8 * sizeof(nodes)));
	anon = gmem_anonymous(SZ_4M);
	memset(anon, 1, SZ_4M);
}

static const char *test_policy(void)
{
	if (!gmem_has_node(0) || !gmem_has_node(1))
		return "the machine has no nodes 0 and 1";

	start();
	ASSERT_OK(gmem_mbind(map, total, MPOL_BIND, 1ul << 1));
	assert_exhausted();
	TEST_ASSERT(gmem_allocated(fd) < total * 3 / 4, "0x%lx bytes of one node",
		    gmem_allocated(fd));
	gmem_in_child(bystander, NULL);
	/* The other node still has memory. */
	ASSERT_OK(gmem_mbind(map + total - page_size, page_size, MPOL_BIND, 1ul << 0));
	assert_available();
	stop();
	return NULL;
}

/* Run on the CPUs of node 0 that the test may use. */
static void run_on_node0(void)
{
	cpu_set_t all, cpu;
	char path[64];
	int i;

	ASSERT_OK(sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&cpu);
	for (i = 0; i < CPU_SETSIZE; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/node0", i);
		if (CPU_ISSET(i, &all) && !access(path, F_OK))
			CPU_SET(i, &cpu);
	}
	errno = 0;
	ASSERT_OK(sched_setaffinity(0, sizeof(cpu), &cpu));
}

/* Free hidden pages of another node must not win over the nearest node. */
static const char *test_nearest_node(void)
{
	const char *skip = gmem_trace_start();
	size_t len = 8 * BLOCK;
	uint64_t off;

	if (skip)
		return skip;
	if (!gmem_has_node(0) || !gmem_has_node(1))
		return "the machine has no nodes 0 and 1";

	start();
	/* Leave free pages on node 1. */
	ASSERT_OK(gmem_mbind(map, len, MPOL_BIND, 1ul << 1));
	gmem_fallocate(fd, 0, len);
	for (off = 0; off < len; off += BLOCK)
		gmem_punch(fd, off + page_size, BLOCK - page_size);
	gmem_wait_for_leaving();

	run_on_node0();
	ASSERT_OK(gmem_mbind(map + len, len, MPOL_BIND, 1ul << 0 | 1ul << 1));
	gmem_fallocate(fd, len, len);
	virt_map(vm, GPA + len, GPA + len, len / vm->page_size);
	for (off = len; off < 2 * len; off += BLOCK) {
		gmem_guest_write(vcpu, GPA + off, 1);
		ASSERT_EQ(gmem_node_of(gmem_traced_pfn(GPA + off)), 0);
	}
	stop();
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_nearest_node),
	GMEM_TEST(test_no_memory),
	GMEM_TEST(test_ordinary_slot),
	GMEM_TEST(test_fragmentation),
	GMEM_TEST(test_policy),
};

GMEM_TEST_MAIN(gmem_require_no_direct_map)
