// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hugetlb_test: memory of hugetlb pools
 *
 * What a file takes from its pool and when, what refuses it, that the pool gets
 * everything back whatever was done with the file, and pages of 1 GiB.
 *
 * Machine: -n -m 6G
 * Parameters: kvm_amd.npt=0
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"
#include "guest_memfd_private.h"

/* Four blocks. */
#define NR_PAGES	2048
#include "guest_memfd_fixture.h"

#define BLOCK		((size_t)SZ_2M)
#define GIANT		((size_t)SZ_1G)
#define TOUCHED		(37 * page_size)
#define NR_BLOCKS	4
#define FILES		1000
#define KILLS		50
#define MAX_NODES	2

#define HUGETLB_2M	(GUEST_MEMFD_FLAG_HUGETLB | GMEM_LOG2(21))
#define HUGETLB_1G	(GUEST_MEMFD_FLAG_HUGETLB | GMEM_LOG2(30))

static int fd;

/* All that a pool counts. */
struct pool {
	unsigned long total, free, rsvd, surplus;
	unsigned long node[MAX_NODES][3];
};

static struct pool pool_now(int shift)
{
	static const char * const names[] = {
		"nr_hugepages", "free_hugepages", "surplus_hugepages"
	};
	struct pool pool = {
		.total = gmem_pool(shift, "nr_hugepages"),
		.free = gmem_pool(shift, "free_hugepages"),
		.rsvd = gmem_pool(shift, "resv_hugepages"),
		.surplus = gmem_pool(shift, "surplus_hugepages"),
	};
	char path[128];
	int nid, i;
	FILE *f;

	for (nid = 0; nid < MAX_NODES; nid++) {
		for (i = 0; i < ARRAY_SIZE(names); i++) {
			snprintf(path, sizeof(path),
				 "/sys/devices/system/node/node%d/hugepages/hugepages-%lukB/%s",
				 nid, 1ul << (shift - 10), names[i]);
			f = fopen(path, "r");
			if (!f)
				continue;
			ASSERT_EQ(fscanf(f, "%lu", &pool.node[nid][i]), 1);
			fclose(f);
		}
	}
	errno = 0;
	return pool;
}

/* Pages in use by others come back a moment after the file is gone. */
static void wait_for_pool(int shift, const struct pool *want)
{
	struct pool now;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		now = pool_now(shift);
		if (!memcmp(&now, want, sizeof(now)))
			return;
		usleep(10000);
	}
	TEST_FAIL("The pool had total %lu free %lu rsvd %lu surplus %lu, now %lu %lu %lu %lu",
		  want->total, want->free, want->rsvd, want->surplus,
		  now.total, now.free, now.rsvd, now.surplus);
}

/* How many pages the pool can still promise. */
static unsigned long available(int shift)
{
	struct pool now = pool_now(shift);

	return now.free - now.rsvd;
}

static void start(bool protected, uint64_t flags)
{
	start_vm(protected);
	fd = new_memory(flags | HUGETLB_2M);
	set_slot(SLOT, GPA, fd, 0, size);
}

static const char *stop(const struct pool *before)
{
	stop_vm(fd);
	wait_for_pool(21, before);
	return NULL;
}

static void assert_mapped(uint64_t blocks)
{
#ifdef __x86_64__
	ASSERT_EQ(gmem_vm_stat(vm, "pages_2m"), blocks);
#endif
}

static int __create(size_t len, uint64_t flags)
{
	return __vm_create_guest_memfd(vm, len, flags | vm_guest_memfd_flags);
}

static const char *test_create(void)
{
	struct pool before = pool_now(21);
	int shift;

	vm = vm_create_barebones();
	for (shift = 1; shift < 64; shift++)
		if (shift != 21 && shift != 30)
			ASSERT_ERRNO(__create(GIANT, GUEST_MEMFD_FLAG_HUGETLB |
						     GMEM_LOG2(shift)), EINVAL);
	ASSERT_ERRNO(__create(BLOCK + page_size, HUGETLB_2M), EINVAL);
	ASSERT_ERRNO(__create(page_size, HUGETLB_2M), EINVAL);
	ASSERT_ERRNO(__create(GIANT + BLOCK, HUGETLB_1G), EINVAL);
	ASSERT_ERRNO(__create(0, HUGETLB_2M), EINVAL);
	ASSERT_ERRNO(__create((before.free + 1) * BLOCK, HUGETLB_2M), ENOMEM);
	ASSERT_ERRNO(__create(1ul << 62, HUGETLB_2M), ENOMEM);
	ASSERT_ERRNO(__create(1ul << 62, HUGETLB_1G), ENOMEM);
	wait_for_pool(21, &before);

	/* All of the pool, and the default one. */
	fd = ASSERT_OK(__create(before.free * BLOCK, HUGETLB_2M));
	ASSERT_EQ(available(21), 0ul);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-hugetlb"), before.free * BLOCK);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"),
		  GUEST_MEMFD_FLAG_HUGETLB | (vm_guest_memfd_flags & 0xffff));
	ASSERT_ERRNO(__create(BLOCK, GUEST_MEMFD_FLAG_HUGETLB), ENOMEM);
	close(fd);
	wait_for_pool(21, &before);
	fd = ASSERT_OK(__create(BLOCK, GUEST_MEMFD_FLAG_HUGETLB));
	ASSERT_EQ(available(21), before.free - 1);
	close(fd);
	kvm_vm_free(vm);
	wait_for_pool(21, &before);
	return NULL;
}

static const char *test_touch(void)
{
	struct pool before = pool_now(21), now;

	start(false, GMEM_SHARED);
	ASSERT_EQ(available(21), before.free - NR_BLOCKS);
	gmem_guest_fill(vcpu, GPA + TOUCHED, 2 * page_size, 1);
	assert_mapped(1);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), BLOCK);
	assert_host_sees(mem + TOUCHED, 2 * page_size, 1);
	assert_guest_sees_zero(vcpu, GPA, TOUCHED);

	/* What is not needed yet is only reserved, if it can come later. */
	now = pool_now(21);
	ASSERT_EQ(now.free - now.rsvd, before.free - NR_BLOCKS);
	ASSERT_EQ(now.total, before.total);
	if (now.rsvd) {
		ASSERT_EQ(gmem_allocated(fd), BLOCK);
		ASSERT_EQ(now.rsvd, NR_BLOCKS - 1ul);
	}

	/* The host first, and KVM itself. */
	gmem_fill(mem + BLOCK, 2 * page_size, 2);
	assert_guest_sees(vcpu, GPA + BLOCK, 2 * page_size, 2);
	gmem_fallocate(fd, 2 * BLOCK + page_size, page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), 3 * BLOCK);
	gmem_guest_write(vcpu, GPA + 2 * BLOCK, 1);
	assert_mapped(3);
	gmem_fallocate(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), size);
	return stop(&before);
}

/* The memory stays the file's, and a part of a block in the page cache, too. */
static const char *test_punch(void)
{
	struct pool before = pool_now(21);

	start(false, GMEM_SHARED);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_punch(fd, BLOCK - page_size, 2 * page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), size);
	TEST_ASSERT(gmem_is_zero(mem + BLOCK - page_size, 2 * page_size), "Not zero");
	assert_guest_sees_zero(vcpu, GPA + BLOCK - page_size, 2 * page_size);
	assert_guest_sees(vcpu, GPA, page_size, 1);
	assert_mapped(4);

	gmem_punch(fd, BLOCK - page_size, BLOCK + 2 * page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), 3 * BLOCK);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 3 * BLOCK / page_size);
	ASSERT_EQ(gmem_allocated(fd), size);
	assert_guest_sees_zero(vcpu, GPA + BLOCK - page_size, BLOCK + 2 * page_size);
	TEST_ASSERT(gmem_is_zero(mem + BLOCK, BLOCK), "Not zero");
	assert_mapped(4);

	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);
	ASSERT_EQ(available(21), before.free - NR_BLOCKS);
	TEST_ASSERT(gmem_is_zero(mem, size), "Not zero");
	return stop(&before);
}

static const char *test_convert(void)
{
	struct pool before = pool_now(21);

	start(true, GMEM_SHARED);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_make_private(fd, TOUCHED, page_size);
	gmem_assert_no_access(mem + TOUCHED, page_size);
	/* The host splits the block for its part. */
	gmem_fill(mem, page_size, 2);
	assert_guest_sees(vcpu, GPA, page_size, 2);
	gmem_guest_fill(vcpu, GPA + TOUCHED, page_size, 3);
	assert_mapped(3);
	gmem_make_shared(fd, TOUCHED, page_size);
	assert_host_sees(mem + TOUCHED, page_size, 3);
	gmem_guest_write(vcpu, GPA, 4);
	assert_mapped(4);

	/* A part and all of a block of single pages. */
	gmem_punch(fd, page_size, page_size);
	TEST_ASSERT(gmem_is_zero(mem + page_size, page_size), "Not zero");
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), size);
	gmem_make_private(fd, 0, size);
	gmem_punch(fd, 0, BLOCK);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), size - BLOCK);
	assert_guest_sees_zero(vcpu, GPA, BLOCK);
	gmem_assert_no_access(mem, size);
	return stop(&before);
}

/* The only way to private content is a whole block. */
static const char *test_write_call(void)
{
	uint8_t *data = gmem_anonymous(size);
	struct pool before = pool_now(21);

	gmem_fill(data, size, 7);
	start(true, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_WRITE);
	ASSERT_ERRNO(pwrite(fd, data, page_size, 0), EINVAL);
	ASSERT_ERRNO(pwrite(fd, data, BLOCK, page_size), EINVAL);
	ASSERT_EQ(pwrite(fd, data, 2 * BLOCK + page_size, BLOCK), (ssize_t)(2 * BLOCK));
	ASSERT_ERRNO(pwrite(fd, data, BLOCK, BLOCK), EPERM);
	ASSERT_OK(mprotect(data + 3 * BLOCK + page_size, page_size, PROT_NONE));
	ASSERT_ERRNO(pwrite(fd, data + 3 * BLOCK, BLOCK, 0), EFAULT);
	ASSERT_OK(mprotect(data + 3 * BLOCK + page_size, page_size, PROT_READ));
	assert_guest_sees(vcpu, GPA + BLOCK, 2 * BLOCK, 7);
	assert_mapped(2);

	/* Shared memory is written as everywhere; the block may be there or not. */
	gmem_make_shared(fd, 0, size);
	ASSERT_EQ(pwrite(fd, data, 100, page_size + 5), 100l);
	ASSERT_EQ(memcmp(mem + page_size + 5, data, 100), 0);
	ASSERT_EQ(pwrite(fd, data, size, 0), (ssize_t)size);
	assert_host_sees(mem, size, 7);
	/* A mapping of the block itself, which is not there, is the source. */
	gmem_punch(fd, 0, BLOCK);
	ASSERT_EQ(pwrite(fd, mem, BLOCK, 0), (ssize_t)BLOCK);
	TEST_ASSERT(gmem_is_zero(mem, BLOCK), "Not zero");
	ASSERT_OK(munmap(data, size));
	ASSERT_ERRNO(pwrite(fd, data, BLOCK, 0), EFAULT);
	return stop(&before);
}

/* What is in use stays in the file, and in use by its holder when that is gone. */
static const char *test_pinned(void)
{
	struct pool before = pool_now(21), now;
	struct iovec iov;
	int pipes[2];

	if (gmem_all_hidden())
		return gmem_no_references;

	start(false, GMEM_SHARED);
	gmem_fill(mem, size, 1);
	ASSERT_OK(pipe(pipes));
	iov.iov_base = mem + TOUCHED;
	iov.iov_len = page_size;
	ASSERT_EQ(ASSERT_OK(vmsplice(pipes[1], &iov, 1, 0)), (ssize_t)page_size);
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), BLOCK);
	TEST_ASSERT(gmem_is_zero(mem, size), "Not zero");
	gmem_fill(mem, page_size, 2);
	stop_vm(fd);

	now = pool_now(21);
	ASSERT_EQ(now.free, before.free - 1);
	ASSERT_EQ(now.total, before.total);
	close(pipes[0]);
	close(pipes[1]);
	wait_for_pool(21, &before);
	return NULL;
}

/* Pages that the pool gets for the file only. */
static const char *test_surplus(void)
{
	static const char * const path =
		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages";
	struct pool before = pool_now(21);
	char val[32];

	snprintf(val, sizeof(val), "%lu", before.free + NR_BLOCKS);
	ASSERT_EQ(gmem_write_file(path, val), 0);
	vm = vm_create_barebones();
	fd = ASSERT_OK(__create((before.free + 2) * BLOCK, HUGETLB_2M | GMEM_SHARED));
	ASSERT_EQ(gmem_pool(21, "surplus_hugepages"), 2ul);
	gmem_fallocate(fd, 0, (before.free + 2) * BLOCK);
	gmem_punch(fd, 0, 5 * BLOCK);
	ASSERT_EQ(gmem_pool(21, "nr_hugepages"), before.total + 2);
	ASSERT_EQ(gmem_write_file(path, "0"), 0);
	close(fd);
	kvm_vm_free(vm);
	wait_for_pool(21, &before);
	return NULL;
}

/* Whoever resizes the pool finds pages in use. */
static const char *test_resize(void)
{
	struct pool before = pool_now(21), now;

	start(false, GMEM_SHARED);
	gmem_fallocate(fd, 0, 2 * BLOCK);
	gmem_set_pool(21, 0);
	now = pool_now(21);
	ASSERT_EQ(now.total, (unsigned long)NR_BLOCKS);
	ASSERT_EQ(now.surplus, (unsigned long)NR_BLOCKS);
	gmem_guest_fill(vcpu, GPA, size, 1);
	stop_vm(fd);
	while (gmem_pool(21, "nr_hugepages"))
		usleep(10000);
	ASSERT_EQ(gmem_set_pool(21, before.total), before.total);
	return NULL;
}

/* The struct pages that the pool saved are there while a file has the pages. */
static const char *test_vmemmap(void)
{
	struct pool before = pool_now(21);

	if (gmem_write_file("/proc/sys/vm/hugetlb_optimize_vmemmap", "1"))
		return "the pool cannot save struct pages";

	gmem_set_pool(21, 0);
	ASSERT_EQ(gmem_set_pool(21, before.total), before.total);
	start(false, GMEM_SHARED);
	ASSERT_EQ(gmem_pool(21, "resv_hugepages"), 0ul);
	ASSERT_EQ(gmem_allocated(fd), size);
	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, 2 * BLOCK);
	assert_guest_sees_zero(vcpu, GPA, 2 * BLOCK);
	stop_vm(fd);
	while (gmem_pool(21, "free_hugepages") != before.free)
		usleep(10000);

	ASSERT_EQ(gmem_write_file("/proc/sys/vm/hugetlb_optimize_vmemmap", "0"), 0);
	gmem_set_pool(21, 0);
	ASSERT_EQ(gmem_set_pool(21, before.total), before.total);
	return NULL;
}

static uint64_t cgroup_value(const char *cgroup, const char *name)
{
	uint64_t val = -1ul;
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%lu", &val) != 1)
		val = -1ul;
	if (f)
		fclose(f);
	errno = 0;
	return val;
}

/*
 * Whether the worker that takes removed cgroups down does so.  The one whose file lives
 * is dying until then; another one goes away.
 */
static void assert_cgroups_die(const char *root)
{
	char path[160], line[64];
	uint64_t dying = -1ul;
	int tries;
	FILE *f;

	snprintf(path, sizeof(path), "%s/another", root);
	ASSERT_OK(mkdir(path, 0700));
	ASSERT_OK(rmdir(path));

	snprintf(path, sizeof(path), "%s/cgroup.stat", root);
	for (tries = 0; tries < 1000 && dying > 1; tries++) {
		usleep(10000);
		f = fopen(path, "r");
		TEST_ASSERT(f, "Cannot open %s", path);
		while (fgets(line, sizeof(line), f))
			sscanf(line, "nr_dying_descendants %lu", &dying);
		fclose(f);
	}
	ASSERT_EQ(dying, 1ul);
}

static const char *run_in_cgroup(const char *cgroup)
{
	char path[160], root[64];
	uint64_t charged;

	if (cgroup_value(cgroup, "hugetlb.2MB.current") == -1ul)
		return "no hugetlb controller";

	fd = new_memory(GMEM_SHARED | HUGETLB_2M);
	set_slot(SLOT, GPA, fd, 0, size);
	ASSERT_EQ(cgroup_value(cgroup, "hugetlb.2MB.current"), size);
	ASSERT_EQ(cgroup_value(cgroup, "hugetlb.2MB.rsvd.current"), size);
	charged = gmem_cgroup_bytes(cgroup);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_punch(fd, 0, 2 * BLOCK);
	ASSERT_EQ(cgroup_value(cgroup, "hugetlb.2MB.current"), size);
	TEST_ASSERT(gmem_cgroup_bytes(cgroup) < charged + BLOCK,
		    "The memory cgroup is charged, too");

	snprintf(path, sizeof(path), "%s/hugetlb.2MB.max", cgroup);
	ASSERT_EQ(gmem_write_file(path, "10485760"), 0);
	ASSERT_ERRNO(__create(2 * BLOCK, HUGETLB_2M), ENOMEM);
	close(ASSERT_OK(__create(BLOCK, HUGETLB_2M)));
	ASSERT_EQ(cgroup_value(cgroup, "hugetlb.2MB.current"), size);
	snprintf(path, sizeof(path), "%s/hugetlb.2MB.rsvd.max", cgroup);
	ASSERT_EQ(gmem_write_file(path, "8388608"), 0);
	ASSERT_ERRNO(__create(BLOCK, HUGETLB_2M), ENOMEM);
	ASSERT_EQ(cgroup_value(cgroup, "hugetlb.2MB.rsvd.current"), size);

	/* Gone, while the file lives. */
	snprintf(root, sizeof(root), "%.*s", (int)(strrchr(cgroup, '/') - cgroup), cgroup);
	snprintf(path, sizeof(path), "%s/cgroup.procs", root);
	ASSERT_EQ(gmem_write_file(path, "0"), 0);
	ASSERT_OK(rmdir(cgroup));
	assert_cgroups_die(root);
	gmem_guest_fill(vcpu, GPA, size, 1);
	free_memory(fd);
	return NULL;
}

static const char *test_cgroup(void)
{
	struct pool before = pool_now(21);
	const char *skip;

	/* Outside: a thread of the VM stays where the VM was made. */
	start_vm(false);
	skip = gmem_in_cgroup(run_in_cgroup);
	kvm_vm_free(vm);
	wait_for_pool(21, &before);
	return skip;
}

static int node_at(uint64_t gpa)
{
	gmem_guest_write(vcpu, gpa, 1);
	return gmem_node_of(gmem_traced_pfn(gpa));
}

/* The policy says where pages are taken, as far as there are any. */
static const char *test_policy(void)
{
	const char *skip = gmem_trace_start();
	struct pool before = pool_now(21);

	if (skip)
		return skip;
	if (!before.node[0][0] || !before.node[1][0])
		return "the pool has no pages on nodes 0 and 1";
	if (gmem_all_hidden())
		return "all pages are taken when the file is made";

	start(false, GMEM_SHARED);
	ASSERT_OK(gmem_mbind(mem, BLOCK, MPOL_BIND, 2));
	ASSERT_OK(gmem_mbind(mem + BLOCK, BLOCK, MPOL_BIND, 1));
	ASSERT_OK(gmem_mbind(mem + 2 * BLOCK, 2 * BLOCK, MPOL_INTERLEAVE, 3));
	ASSERT_EQ(node_at(GPA), 1);
	ASSERT_EQ(node_at(GPA + BLOCK), 0);
	ASSERT_EQ(node_at(GPA + 2 * BLOCK) + node_at(GPA + 3 * BLOCK), 1);
	/* The same memory again, whatever the policy is by now. */
	ASSERT_OK(gmem_mbind(mem, BLOCK, MPOL_BIND, 1));
	gmem_punch(fd, 0, BLOCK);
	ASSERT_EQ(node_at(GPA), 1);
	return stop(&before);
}

static void expect_poison(uint64_t gpa)
{
	gmem_guest_order(vcpu, GMEM_GUEST_READ, gpa, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, gpa, EHWPOISON);
}

/* The pool loses the page, and the file gets another one for an empty block. */
static const char *test_poison(void)
{
	struct pool before = pool_now(21), now;
	uint64_t pfn;

	if (gmem_cannot_corrupt() || gmem_trace_start())
		return "cannot inject memory errors, or not trace";

	start(false, GMEM_SHARED);
	gmem_guest_fill(vcpu, GPA, size, 1);
	gmem_punch(fd, 0, size);
	gmem_guest_write(vcpu, GPA, 1);
	pfn = gmem_traced_pfn(GPA);
	gmem_corrupt(pfn + 5);
	expect_poison(GPA + 5 * page_size);
	/* The block keeps its memory until it is empty. */
	gmem_punch(fd, 0, 6 * page_size);
	vcpu_run_expect_memory_fault(vcpu, GPA + 5 * page_size, EHWPOISON);
	ASSERT_EQ(gmem_pool(21, "nr_hugepages"), before.total);
	gmem_punch(fd, 0, BLOCK);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	assert_guest_sees_zero(vcpu, GPA, BLOCK);
	assert_mapped(1);
	ASSERT_EQ(gmem_pool(21, "nr_hugepages"), before.total - 1);

	/* One that has another error when the file is closed. */
	gmem_guest_write(vcpu, GPA + BLOCK, 1);
	gmem_corrupt(gmem_traced_pfn(GPA + BLOCK));
	stop_vm(fd);
	while (gmem_pool(21, "nr_hugepages") != before.total - 2)
		usleep(10000);
	now = pool_now(21);
	ASSERT_EQ(now.free, before.free - 2);
	ASSERT_EQ(now.rsvd, 0ul);
	TEST_ASSERT(gmem_is_poisoned(pfn + 5), "The page is not poisoned");
	ASSERT_EQ(gmem_set_pool(21, before.total), before.total);
	return NULL;
}

/* Without another page the block has none, and no other block loses one for it. */
static const char *test_poison_exhausted(void)
{
	struct pool before = pool_now(21);
	uint64_t pfn, gpa;

	if (gmem_cannot_corrupt() || gmem_trace_start())
		return "cannot inject memory errors, or not trace";

	ASSERT_EQ(gmem_set_pool(21, NR_BLOCKS), (unsigned long)NR_BLOCKS);
	start(false, GMEM_SHARED);
	gmem_guest_write(vcpu, GPA, 1);
	pfn = gmem_traced_pfn(GPA);
	gmem_corrupt(pfn);
	gmem_punch(fd, 0, BLOCK);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EFAULT);
	TEST_ASSERT(!gmem_try_read(mem, NULL), "The host can read what is not there");
	for (gpa = BLOCK; gpa < size; gpa += BLOCK)
		gmem_fill(mem + gpa, page_size, gpa);

	ASSERT_EQ(gmem_set_pool(21, NR_BLOCKS + 1), NR_BLOCKS + 1ul);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	for (gpa = BLOCK; gpa < size; gpa += BLOCK)
		assert_guest_sees(vcpu, GPA + gpa, page_size, gpa);
	stop_vm(fd);
	while (gmem_pool(21, "free_hugepages") != NR_BLOCKS + 1)
		usleep(10000);
	ASSERT_EQ(gmem_set_pool(21, before.total), before.total);
	return NULL;
}

/* Memory of a file stays, whether or not it is in the page cache. */
static const char *test_offline(void)
{
	const char *skip = gmem_trace_start();
	struct pool before = pool_now(21);
	char path[128];

	if (skip)
		return skip;

	start(false, GMEM_SHARED);
	gmem_guest_write(vcpu, GPA, 1);
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%ld/state",
		 gmem_memory_block(gmem_traced_pfn(GPA)));
	ASSERT_EQ(gmem_write_file(path, "offline"), EBUSY);
	gmem_punch(fd, 0, BLOCK);
	ASSERT_EQ(gmem_write_file(path, "offline"), EBUSY);
	assert_guest_sees_zero(vcpu, GPA, BLOCK);
	return stop(&before);
}

static void ignore(int sig)
{
}

/* Taking all pages ends when a signal arrives, and gives them back. */
static const char *test_signal(void)
{
	struct itimerval timer = { .it_interval.tv_usec = 200, .it_value.tv_usec = 200 };
	struct itimerval none = {};
	struct pool before = pool_now(21);
	int tries, err = 0;

	if (!gmem_all_hidden())
		return "pages are taken later";

	vm = vm_create_barebones();
	ASSERT_OK((long)signal(SIGALRM, ignore));
	ASSERT_OK(setitimer(ITIMER_REAL, &timer, NULL));
	for (tries = 0; tries < 1000 && err != EINTR; tries++) {
		fd = __create(before.free * BLOCK, HUGETLB_2M);
		err = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	}
	ASSERT_OK(setitimer(ITIMER_REAL, &none, NULL));
	ASSERT_EQ(err, EINTR);
	kvm_vm_free(vm);
	wait_for_pool(21, &before);
	return NULL;
}

/* One file with a life of its own, which ends at @step. */
static void live(int seed, int step)
{
	int file = ASSERT_OK(__create(NR_BLOCKS * BLOCK, HUGETLB_2M | GMEM_SHARED));
	uint8_t *addr = gmem_mmap(file, 0, NR_BLOCKS * BLOCK);
	uint64_t off, len;
	int i;

	srandom(seed);
	for (i = 0; i < step; i++) {
		off = random() % (NR_BLOCKS * BLOCK / page_size) * page_size;
		len = (random() % 700 + 1) * page_size;
		if (random() % 4 == 0)
			off &= -BLOCK, len = BLOCK;
		if (off + len > NR_BLOCKS * BLOCK)
			len = NR_BLOCKS * BLOCK - off;
		switch (random() % 5) {
		case 0:
			gmem_make_private(file, off, len);
			break;
		case 1:
			gmem_make_shared(file, off, len);
			break;
		case 2:
			gmem_punch(file, off, len);
			break;
		case 3:
			gmem_fallocate(file, off, len);
			break;
		default:
			gmem_try_write(addr + off, i);
		}
	}
	ASSERT_OK(munmap(addr, NR_BLOCKS * BLOCK));
	close(file);
}

static const char *test_many_files(void)
{
	struct pool before = pool_now(21);
	int i, nr = gmem_debug_kernel() ? FILES / 10 : FILES;

	vm = gmem_create_protected_barebones();
	for (i = 0; i < nr; i++)
		live(i, i % 16);
	kvm_vm_free(vm);
	wait_for_pool(21, &before);
	return NULL;
}

static const char *test_kill(void)
{
	int i, status, nr = gmem_debug_kernel() ? KILLS / 5 : KILLS;
	struct pool before = pool_now(21);
	pid_t pid;

	for (i = 0; i < nr; i++) {
		pid = fork();
		if (!pid) {
			vm = gmem_create_protected_barebones();
			for (;;)
				live(i, 8);
		}
		usleep(1000 + i * 700);
		kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(WIFSIGNALED(status), "The child ended with 0x%x", status);
	}
	wait_for_pool(21, &before);
	return NULL;
}

/* What must be moved out of the way may be in use for a moment. */
static bool have_giant(void)
{
	int tries;

	for (tries = 0; tries < 10; tries++) {
		if (gmem_set_pool(30, 1) == 1)
			return true;
		gmem_write_file("/proc/sys/vm/drop_caches", "3");
		gmem_write_file("/proc/sys/vm/compact_memory", "1");
		usleep(100000);
	}
	return false;
}

/* The slot of a file of 1 GiB. */
static const char *start_giant(bool protected, uint64_t flags)
{
	if (!have_giant())
		return "the machine has no contiguous 1 GiB";

	size = GIANT;
	vm = gmem_create_large_vm(protected, 1, GIANT, gmem_guest_code, &vcpu);
	gmem_guest_map(vm, 4 * GIANT, size);
	gmem_guest_start(vcpu);
	fd = new_memory(flags | HUGETLB_1G);
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, 4 * GIANT, size, mem, fd, 0);
	return NULL;
}

static const char *stop_giant(const char *skip)
{
	if (!skip) {
		stop_vm(fd);
		while (gmem_pool(30, "free_hugepages") != 1)
			usleep(10000);
	}
	gmem_set_pool(30, 0);
	size = NR_PAGES * page_size;
	errno = 0;
	return skip;
}

/* The guest's own pages have 2 MiB, which limits what the shadow MMU maps. */
static bool maps_giants(void)
{
	char val = 'Y';
	int param;

	param = open("/sys/module/kvm_amd/parameters/npt", O_RDONLY);
	if (param >= 0) {
		ASSERT_OK(read(param, &val, 1));
		close(param);
	}
	errno = 0;
#ifdef __x86_64__
	return val == 'Y' || val == '1';
#else
	return false;
#endif
}

static void assert_giant(uint64_t mapped, size_t whole)
{
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-1g"), whole ? GIANT : 0);
	if (maps_giants())
		ASSERT_EQ(gmem_vm_stat(vm, "pages_1g"), mapped);
}

/* 1 GiB is filled by blocks; when it is complete, it is one page. */
static const char *test_giant(void)
{
	uint64_t gpa = 4 * GIANT, off;
	const char *skip = start_giant(false, GMEM_SHARED);

	if (skip)
		return stop_giant(skip);

	for (off = 0; off < GIANT - BLOCK; off += BLOCK)
		gmem_guest_write(vcpu, gpa + off + TOUCHED, off + 1);
	assert_giant(0, 0);
	ASSERT_EQ(gmem_allocated(fd), GIANT);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), GIANT - BLOCK);
	gmem_guest_write(vcpu, gpa + off + TOUCHED, off + 1);
	assert_giant(1, GIANT);
	for (off = 0; off < GIANT; off += 7 * BLOCK)
		ASSERT_EQ(*(uint64_t *)(mem + off + TOUCHED), off + 1);

	/* A block less, and again. */
	gmem_punch(fd, 5 * BLOCK, BLOCK);
	assert_giant(0, 0);
	ASSERT_EQ(gmem_guest_read(vcpu, gpa + 6 * BLOCK + TOUCHED), 6 * BLOCK + 1);
	ASSERT_EQ(gmem_guest_read(vcpu, gpa + 5 * BLOCK + TOUCHED), 0ul);
	assert_giant(1, GIANT);
	/* A page less, which stays in the page cache. */
	gmem_punch(fd, 5 * BLOCK + page_size, page_size);
	assert_giant(0, GIANT);
	gmem_guest_write(vcpu, gpa, 1);
	assert_giant(1, GIANT);
	return stop_giant(NULL);
}

/* One page of it is converted and comes back. */
static const char *test_giant_convert(void)
{
	uint64_t gpa = 4 * GIANT, faults;
	const char *skip = start_giant(true, GMEM_SHARED);

	if (skip)
		return stop_giant(skip);

	gmem_fallocate(fd, 0, size);
	gmem_guest_write(vcpu, gpa + TOUCHED, 1);
	assert_giant(1, GIANT);
	gmem_make_private(fd, 9 * BLOCK + TOUCHED, page_size);
	assert_giant(0, GIANT);
	faults = gmem_vcpu_stat(vcpu, "gmem_faults");
	gmem_guest_write(vcpu, gpa + 8 * BLOCK, 2);
	gmem_guest_write(vcpu, gpa + 9 * BLOCK, 2);
	gmem_guest_write(vcpu, gpa + GIANT - BLOCK, 2);
	if (maps_giants()) {
		ASSERT_EQ(gmem_vcpu_stat(vcpu, "gmem_faults"), faults);
		ASSERT_EQ(gmem_vm_stat(vm, "pages_2m"), GIANT / BLOCK - 1);
	}
	gmem_assert_no_access(mem + 9 * BLOCK + TOUCHED, page_size);
	gmem_guest_write(vcpu, gpa + 9 * BLOCK + TOUCHED, 3);
	gmem_make_shared(fd, 9 * BLOCK + TOUCHED, page_size);
	ASSERT_EQ(gmem_guest_read(vcpu, gpa + 9 * BLOCK + TOUCHED), 3ul);
	ASSERT_EQ(*(uint64_t *)(mem + 9 * BLOCK + TOUCHED), 3ul);
	assert_giant(1, GIANT);
	return stop_giant(NULL);
}

static const struct gmem_test tests[] = {
	/* First, while there is contiguous memory. */
	GMEM_TEST(test_giant),
	GMEM_TEST_PROTECTED(test_giant_convert),
	GMEM_TEST(test_create),
	GMEM_TEST(test_touch),
	GMEM_TEST(test_punch),
	GMEM_TEST_PROTECTED(test_convert),
	GMEM_TEST_PROTECTED(test_write_call),
	GMEM_TEST(test_pinned),
	GMEM_TEST(test_surplus),
	GMEM_TEST(test_resize),
	GMEM_TEST(test_vmemmap),
	GMEM_TEST(test_cgroup),
	GMEM_TEST(test_policy),
	GMEM_TEST_PROTECTED(test_many_files),
	GMEM_TEST_PROTECTED(test_kill),
	GMEM_TEST(test_offline),
	GMEM_TEST(test_signal),
	GMEM_TEST(test_poison),
	GMEM_TEST(test_poison_exhausted),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_HUGETLB,
		       "the kernel or the machine has no pools");
	__TEST_REQUIRE(gmem_set_pool(21, GMEM_POOL_PAGES) == GMEM_POOL_PAGES,
		       "the machine has no memory for the pool");
}

GMEM_TEST_MAIN(init);
