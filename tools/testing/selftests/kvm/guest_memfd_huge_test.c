// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_huge_test: blocks of 2 MiB
 *
 * Which memory gets blocks of 2 MiB and which does not, who maps them as one page,
 * and what remains of a block of which a part is taken away.
 *
 * Machine: -n
 * Parameters: kvm.nx_huge_pages=force
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_FLAGS=hugetlb
 * Append: kvm-arm.mode=nvhe
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <linux/sizes.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "guest_memfd_hidden.h"
#include "guest_memfd_private.h"

/* Four blocks. */
#define NR_PAGES	2048
#include "guest_memfd_fixture.h"

#define BLOCK		((size_t)SZ_2M)
#define PARAMS		"/sys/module/kvm/parameters/"
#define PARAM		PARAMS "gmem_huge"
/* Where the tests touch a block: not at an end of it. */
#define TOUCHED		(37 * page_size)

/* Whether a conversion in a block leaves its other pages mapped in the guest. */
#ifdef __x86_64__
#define KEEPS_NEIGHBOURS	true
#else
#define KEEPS_NEIGHBOURS	false
#endif

static int fd;

/* Does KVM map what the guest executes by single pages, and remember that? */
static bool nx_huge_pages;

static void set_param(const char *val)
{
	ASSERT_EQ(gmem_write_file(PARAM, val), 0);
}

/* Memory that is aligned like gfns, so that huge pages can map it. */
static uint8_t *aligned_anonymous(void)
{
	uint8_t *addr = ASSERT_OK(mmap(NULL, size + BLOCK, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	uint8_t *start = (uint8_t *)(((uint64_t)addr + BLOCK - 1) & -BLOCK);

	ASSERT_OK(munmap(addr, size + BLOCK));
	return ASSERT_OK(mmap(start, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* A protected VM with private memory in a slot; mem is its shared memory. */
static void start_private_at(uint64_t offset)
{
	start_vm(true);
	fd = vm_create_guest_memfd(vm, size + offset, 0);
	mem = aligned_anonymous();
	ASSERT_OK(__vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA, size,
					       mem, fd, offset));
	vm_make_private(vm, GPA, size);
}

static void start_private(void)
{
	start_private_at(0);
}

static const char *stop(void)
{
	stop_vm(fd);
	set_param("always");
	return NULL;
}

/* @whole: bytes of the file in whole blocks. */
static void assert_file(size_t allocated, size_t whole)
{
	ASSERT_EQ(gmem_allocated(fd), allocated);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m"), whole);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_2m"), whole / BLOCK);
}

/* How many blocks the guest has mapped as one page. */
static void assert_mapped(uint64_t blocks)
{
#ifdef __x86_64__
	ASSERT_EQ(gmem_vm_stat(vm, "pages_2m"), blocks);
#endif
}

static uint64_t faults_on_file(void)
{
	return gmem_vcpu_stat(vcpu, "gmem_faults");
}

/* The block at @gpa is mapped: no access to it faults. */
static void assert_no_faults(uint64_t gpa)
{
	uint64_t before, off;

	gmem_guest_write(vcpu, gpa, 1);
	before = faults_on_file();
	for (off = 0; off < BLOCK; off += 16 * page_size)
		gmem_guest_write(vcpu, gpa + off, off);
	ASSERT_EQ(faults_on_file(), before);
}

/* Does the file, a parameter, say @val?  False if there is no such parameter. */
static bool says(const char *path, const char *val)
{
	char buf[16] = "";
	int param;

	param = open(path, O_RDONLY);
	errno = 0;
	if (param < 0)
		return false;
	ASSERT_OK(read(param, buf, sizeof(buf) - 1));
	close(param);
	buf[strcspn(buf, "\n")] = 0;
	return !strcmp(buf, val);
}

static const char *test_param(void)
{
	ASSERT_EQ(gmem_write_file(PARAM, "sometimes"), EINVAL);
	ASSERT_EQ(gmem_write_file(PARAM, "always2"), EINVAL);
	TEST_ASSERT(says(PARAM, "always"), "It is something else");

	/* It applies to files that are made from then on. */
	start_private();
	set_param("never");
	gmem_guest_write(vcpu, GPA + TOUCHED, 1);
	assert_file(BLOCK, BLOCK);
	return stop();
}

static const char *test_touch(void)
{
	start_private();
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + BLOCK + TOUCHED), 0ul);
	assert_file(BLOCK, BLOCK);
	assert_mapped(1);
	assert_no_faults(GPA + BLOCK);
	assert_guest_sees_zero(vcpu, GPA + BLOCK + page_size, 2 * page_size);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), BLOCK / page_size);

	gmem_guest_write(vcpu, GPA + 3 * BLOCK, 1);
	assert_file(2 * BLOCK, 2 * BLOCK);
	assert_mapped(2);
	return stop();
}

static const char *test_never(void)
{
	set_param("never");
	start_private();
	gmem_guest_write(vcpu, GPA, 1);
	gmem_fallocate(fd, BLOCK, BLOCK);
	assert_file(BLOCK + page_size, 0);
	assert_mapped(0);
	return stop();
}

static const char *test_populate(void)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA + 2 * BLOCK, .size = BLOCK };

	set_param("populate");
	start_private();
	gmem_guest_write(vcpu, GPA, 1);
	assert_file(page_size, 0);
	/* There is a page in the first block. */
	gmem_fallocate(fd, 0, 2 * BLOCK);
	assert_file(2 * BLOCK, BLOCK);
	gmem_guest_write(vcpu, GPA + BLOCK, 1);
	assert_mapped(1);

	ASSERT_OK(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
	ASSERT_EQ(range.size, 0ul);
	assert_file(3 * BLOCK, 2 * BLOCK);
	assert_mapped(2);
	assert_no_faults(GPA + 2 * BLOCK);
	/* Again, which changes nothing. */
	gmem_fallocate(fd, 0, 3 * BLOCK);
	assert_file(3 * BLOCK, 2 * BLOCK);
	return stop();
}

static const char *test_process(void)
{
	ASSERT_OK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	start_private();
	ASSERT_OK(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	gmem_guest_write(vcpu, GPA, 1);
	gmem_fallocate(fd, BLOCK, BLOCK);
	assert_file(BLOCK + page_size, 0);
	return stop();
}

static int __create_with_log2(unsigned long log2, uint64_t flags)
{
	return __vm_create_guest_memfd(vm, size, flags | log2 << GUEST_MEMFD_HUGE_SHIFT);
}

/* The file itself says that it wants no blocks of 2 MiB, and nothing else. */
static const char *test_flag(void)
{
	unsigned long log2;

	start_vm(true);
	for (log2 = 1; log2 < 64; log2++)
		if (log2 != 12)
			ASSERT_ERRNO(__create_with_log2(log2, 0), EINVAL);
	fd = ASSERT_OK(__create_with_log2(12, GMEM_SHARED));
	mem = gmem_mmap(fd, 0, size);
	set_slot(SLOT, GPA, fd, 0, size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"), GMEM_SHARED);
	gmem_guest_write(vcpu, GPA, 1);
	*(mem + BLOCK) = 1;
	gmem_fallocate(fd, 2 * BLOCK, BLOCK);
	assert_file(BLOCK + 2 * page_size, 0);
	return stop();
}

/* write() of whole blocks; the rest is written by pages. */
static const char *test_write_call(void)
{
	uint8_t *data = gmem_anonymous(size);

	gmem_fill(data, size, 7);
	start_vm(true);
	fd = vm_create_guest_memfd(vm, size, GUEST_MEMFD_FLAG_WRITE);
	mem = aligned_anonymous();
	set_slot(SLOT, GPA, fd, 0, size);
	vm_make_private(vm, GPA, size);

	ASSERT_EQ(pwrite(fd, data + 5, 2 * BLOCK, BLOCK - page_size),
		  (ssize_t)(2 * BLOCK));
	assert_file(2 * BLOCK, BLOCK);
	ASSERT_ERRNO(pwrite(fd, data, BLOCK, BLOCK), EPERM);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + BLOCK), *(uint64_t *)(data + 5 + page_size));
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + 2 * BLOCK - 8),
		  *(uint64_t *)(data + 5 + page_size + BLOCK - 8));
	assert_mapped(1);

	/* A source that ends in the middle: what is there is written. */
	ASSERT_OK(munmap(data + BLOCK / 2, page_size));
	ASSERT_EQ(pwrite(fd, data, BLOCK, 3 * BLOCK), (ssize_t)(BLOCK / 2));
	assert_file(2 * BLOCK + BLOCK / 2, BLOCK);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + 3 * BLOCK), *(uint64_t *)data);
	ASSERT_OK(munmap(data, size));
	return stop();
}

/* The node of the page that the guest faults on at @gpa. */
static int node_at(uint64_t gpa)
{
	gmem_guest_write(vcpu, gpa, 1);
	return gmem_node_of(gmem_traced_pfn(gpa));
}

/* A block must have memory of one node, and of the right one. */
static const char *test_policy(void)
{
	const char *skip = gmem_trace_start();

	if (skip)
		return skip;
	if (!gmem_has_node(0) || !gmem_has_node(1))
		return "the machine has no nodes 0 and 1";

	start_vm(false);
	fd = new_memory(GMEM_SHARED);
	set_slot(SLOT, GPA, fd, 0, size);
	ASSERT_OK(gmem_mbind(mem, BLOCK + TOUCHED, MPOL_BIND, 2));
	ASSERT_OK(gmem_mbind(mem + 2 * BLOCK, 2 * BLOCK, MPOL_INTERLEAVE, 3));
	ASSERT_EQ(node_at(GPA), 1);
	ASSERT_EQ(node_at(GPA + BLOCK), 1);
	assert_file(BLOCK + page_size, BLOCK);
	gmem_fallocate(fd, 2 * BLOCK, 2 * BLOCK);
	assert_file(3 * BLOCK + page_size, 3 * BLOCK);

	TEST_ASSERT(gmem_is_zero(mem + BLOCK - page_size, page_size), "Not zero");
	ASSERT_EQ(*(uint64_t *)(mem + BLOCK), 1ul);
	TEST_ASSERT(gmem_is_zero(mem + 2 * BLOCK, 2 * BLOCK), "Not zero");
	ASSERT_EQ(node_at(GPA + 2 * BLOCK) + node_at(GPA + 3 * BLOCK), 1);
	return stop();
}

/* Only what was asked for is allocated at the ends of a range. */
static const char *test_fallocate_part(void)
{
	start_private();
	gmem_fallocate(fd, page_size, 3 * BLOCK - 2 * page_size);
	assert_file(3 * BLOCK - 2 * page_size, BLOCK);
	return stop();
}

/* The rest of a file that is not a multiple of 2 MiB has single pages. */
static const char *test_tail(void)
{
	start_vm(true);
	fd = vm_create_guest_memfd(vm, size - page_size, 0);
	mem = aligned_anonymous();
	ASSERT_OK(__vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA,
					       size - page_size, mem, fd, 0));
	vm_make_private(vm, GPA, size);
	gmem_guest_write(vcpu, GPA + 3 * BLOCK + TOUCHED, 1);
	assert_file(page_size, 0);
	gmem_fallocate(fd, 0, size - page_size);
	assert_file(size - page_size, 3 * BLOCK);
	return stop();
}

/* Gfns that are not aligned like the file have blocks, but small mappings. */
static const char *test_unaligned(void)
{
	start_private_at(page_size);
	gmem_guest_fill(vcpu, GPA + BLOCK - 2 * page_size, 4 * page_size, 1);
	assert_file(2 * BLOCK, 2 * BLOCK);
	assert_mapped(0);
	gmem_punch(fd, BLOCK, page_size);
	assert_guest_sees_zero(vcpu, GPA + BLOCK - page_size, page_size);
	return stop();
}

static void check_punch(uint64_t offset, size_t len)
{
	/* The pages on both sides of each border. */
	uint64_t start = GPA + offset - page_size, end = GPA + offset + len - page_size;

	gmem_fallocate(fd, 0, size);
	gmem_guest_fill(vcpu, start, 2 * page_size, offset);
	gmem_guest_fill(vcpu, end, 2 * page_size, offset + 1);
	gmem_punch(fd, offset, len);
	ASSERT_EQ(gmem_allocated(fd), size - len);
	assert_guest_sees(vcpu, start, page_size, offset);
	assert_guest_sees_zero(vcpu, start + page_size, page_size);
	assert_guest_sees_zero(vcpu, end, page_size);
	TEST_ASSERT(gmem_guest_read(vcpu, end + page_size), "The page behind is zero");
	gmem_punch(fd, 0, size);
	assert_file(0, 0);
	assert_mapped(0);
}

/* What is punched is free at once, and the rest of a block remains. */
static const char *test_punch(void)
{
	start_private();
	check_punch(BLOCK + 5 * page_size, page_size + page_size);
	check_punch(BLOCK, 3 * page_size);
	check_punch(2 * BLOCK - 3 * page_size, 3 * page_size);
	check_punch(BLOCK - page_size, BLOCK + 2 * page_size);
	check_punch(BLOCK + 100 * page_size, BLOCK);
	check_punch(BLOCK, 2 * BLOCK);

	/* A block with a hole has single pages until it is empty. */
	gmem_fallocate(fd, 0, BLOCK);
	gmem_punch(fd, TOUCHED, page_size);
	gmem_guest_write(vcpu, GPA + TOUCHED, 1);
	assert_file(BLOCK, 0);
	assert_mapped(0);
	gmem_punch(fd, 0, BLOCK);
	gmem_guest_write(vcpu, GPA + TOUCHED, 1);
	assert_file(BLOCK, BLOCK);
	/* As for other memory, KVM does not replace its table of single pages then. */
	assert_mapped(nx_huge_pages ? 0 : 1);
	return stop();
}

/* A page in a block becomes shared, which the host backs, and private again. */
static const char *test_convert(void)
{
	start_private();
	gmem_guest_fill(vcpu, GPA + TOUCHED, 2 * page_size, 1);
	assert_mapped(1);

	vm_make_shared(vm, GPA + TOUCHED, page_size);
	assert_mapped(0);
	assert_file(BLOCK, BLOCK);
	gmem_guest_fill(vcpu, GPA + TOUCHED, page_size, 2);
	assert_host_sees(mem + TOUCHED, page_size, 2);
	gmem_guest_write(vcpu, GPA, 1);
	assert_mapped(0);

	vm_make_private(vm, GPA + TOUCHED, page_size);
	assert_guest_sees(vcpu, GPA + TOUCHED, 2 * page_size, 1);
	assert_mapped(1);
	assert_no_faults(GPA);
	return stop();
}

/* The memory limit has room for pages, but not for a block: no kill, no block. */
static const char *run_in_cgroup(const char *cgroup)
{
	char path[128], val[32];
	uint64_t off;

	start_private();
	/* Charges are batched per CPU. */
	snprintf(path, sizeof(path), "%s/memory.max", cgroup);
	snprintf(val, sizeof(val), "%lu", gmem_cgroup_bytes(cgroup) + BLOCK / 2);
	ASSERT_EQ(gmem_write_file(path, val), 0);
	for (off = 0; off < 16 * page_size; off += page_size)
		gmem_guest_write(vcpu, GPA + TOUCHED + off, 1);
	assert_file(16 * page_size, 0);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-2m-fallback"), 1ul);
	ASSERT_EQ(gmem_write_file(path, "max"), 0);
	gmem_guest_write(vcpu, GPA + BLOCK, 1);
	assert_file(BLOCK + 16 * page_size, BLOCK);
	return stop();
}

static const char *test_memcg(void)
{
	return gmem_in_cgroup(run_in_cgroup);
}

static void expect_poison(uint64_t gpa)
{
	gmem_guest_order(vcpu, GMEM_GUEST_READ, gpa, 0, 0);
	vcpu_run_expect_memory_fault_flags(vcpu, gpa, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
}

/* The guest loses the page with a memory error, and keeps the other 511. */
static const char *check_poison(uint64_t bad, size_t punch)
{
	uint64_t pfn;

	if (gmem_cannot_corrupt() || gmem_trace_start())
		return "cannot inject memory errors, or not trace";

	start_private();
	gmem_guest_fill(vcpu, GPA, 4 * page_size, 1);
	assert_mapped(1);
	pfn = gmem_traced_pfn(GPA);
	ASSERT_EQ(pfn % (BLOCK / page_size), 0ul);
	gmem_corrupt(pfn + bad / page_size);
	assert_file(BLOCK, 0);
	assert_mapped(0);
	if (bad)
		assert_guest_sees(vcpu, GPA, 4 * page_size, 1);
	gmem_guest_write(vcpu, GPA + BLOCK - page_size, 1);
	expect_poison(GPA + bad);
	assert_mapped(0);

	gmem_punch(fd, bad & -punch, punch);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	TEST_ASSERT(gmem_is_poisoned(pfn + bad / page_size), "The page is not poisoned");
	gmem_guest_write(vcpu, GPA + bad, 1);
	assert_file(BLOCK, punch == BLOCK ? BLOCK : 0);
	return stop();
}

static const char *test_poison_head(void)
{
	return check_poison(0, page_size);
}

static const char *test_poison_middle(void)
{
	return check_poison(100 * page_size, BLOCK);
}

/* The page flags of all 512 pages, and that nobody else can take them apart. */
static const char *test_folio(void)
{
	uint64_t flags[BLOCK / MIN_PAGE_SIZE], pfn;
	int i, kpageflags;

	if (gmem_trace_start())
		return "cannot trace";

	start_private();
	gmem_guest_write(vcpu, GPA + TOUCHED, 1);
	pfn = gmem_traced_pfn(GPA + TOUCHED) - TOUCHED / page_size;
	gmem_write_file("/sys/kernel/debug/split_huge_pages", "1");
	gmem_write_file("/proc/sys/vm/compact_memory", "1");
	kpageflags = ASSERT_OK(open("/proc/kpageflags", O_RDONLY));
	ASSERT_EQ(pread(kpageflags, flags, sizeof(flags), pfn * sizeof(*flags)),
		  (ssize_t)sizeof(flags));
	close(kpageflags);
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		TEST_ASSERT(flags[i] & (1ul << KPF_THP), "Page %d has flags 0x%lx", i,
			    flags[i]);
	assert_file(BLOCK, BLOCK);
	assert_mapped(1);
	return stop();
}

/* The number of bytes of a mapping that the host maps by 2 MiB. */
static size_t pmd_mapped(const void *addr)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end, kib, found = 0;
	bool here = false;
	char line[512];

	TEST_ASSERT(f, "Cannot open smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (unsigned long)addr >= start && (unsigned long)addr < end;
		else if (here && sscanf(line, "FilePmdMapped: %lu kB", &kib) == 1)
			found = kib * SZ_1K;
	}
	fclose(f);
	return found;
}

/* smaps does not look into mappings of hidden memory. */
static size_t host_maps(size_t len)
{
	return gmem_all_hidden() ? 0 : len;
}

static void assert_host_mapped(size_t len)
{
	ASSERT_EQ(pmd_mapped(mem), host_maps(len));
}

/* How many faults it takes the host to read every page of a block. */
static long host_faults(const uint8_t *addr)
{
	struct rusage before, after;
	size_t off;

	ASSERT_OK(getrusage(RUSAGE_SELF, &before));
	for (off = 0; off < BLOCK; off += page_size)
		READ_ONCE(addr[off]);
	ASSERT_OK(getrusage(RUSAGE_SELF, &after));
	return after.ru_minflt - before.ru_minflt;
}

static void check_child(void *arg)
{
	assert_host_sees(mem, size, 2);
	gmem_fill(mem, size, 3);
}

/* A slot whose memory host and guest share; the host's mapping is aligned. */
static void start_shared(bool protected)
{
	start_vm(protected);
	fd = new_memory(GMEM_SHARED);
	ASSERT_EQ((unsigned long)mem % BLOCK, 0ul);
	set_slot(SLOT, GPA, fd, 0, size);
}

static const char *test_shared_guest_first(void)
{
	start_shared(false);
	gmem_guest_fill(vcpu, GPA + TOUCHED, 2 * page_size, 1);
	assert_file(BLOCK, BLOCK);
	assert_mapped(1);
	assert_host_mapped(0);
	assert_host_sees(mem + TOUCHED, 2 * page_size, 1);
	assert_host_mapped(BLOCK);
	assert_mapped(1);
	return stop();
}

static const char *test_shared_host_first(void)
{
	start_shared(false);
	gmem_fill(mem + TOUCHED, 2 * page_size, 1);
	assert_file(BLOCK, BLOCK);
	assert_host_mapped(BLOCK);
	assert_guest_sees(vcpu, GPA + TOUCHED, 2 * page_size, 1);
	assert_mapped(1);
	assert_no_faults(GPA);
	return stop();
}

/* MADV_NOHUGEPAGE is about the host's mapping, not about memory and guest. */
static const char *test_no_huge_page(void)
{
	start_shared(false);
	ASSERT_OK(madvise(mem, BLOCK, MADV_NOHUGEPAGE));
	gmem_fill(mem, 2 * page_size, 1);
	gmem_fill(mem + BLOCK, page_size, 1);
	ASSERT_EQ(pmd_mapped(mem), 0ul);
	ASSERT_EQ(pmd_mapped(mem + BLOCK), host_maps(BLOCK));
	assert_file(2 * BLOCK, 2 * BLOCK);
	assert_guest_sees(vcpu, GPA, 2 * page_size, 1);
	assert_guest_sees(vcpu, GPA + BLOCK, page_size, 1);
	assert_mapped(2);
	return stop();
}

static const char *test_shared_punch(void)
{
	start_shared(false);
	gmem_fill(mem, size, 1);
	assert_host_mapped(size);
	gmem_guest_fill(vcpu, GPA + BLOCK, page_size, 2);
	gmem_punch(fd, BLOCK + page_size, page_size);
	ASSERT_EQ(gmem_allocated(fd), size - page_size);
	assert_host_sees(mem + BLOCK, page_size, 2);
	TEST_ASSERT(gmem_is_zero(mem + BLOCK + page_size, page_size), "Not zero");
	assert_host_mapped(size - BLOCK);
	ASSERT_OK(madvise(mem, BLOCK, MADV_REMOVE));
	TEST_ASSERT(gmem_is_zero(mem, BLOCK), "Not zero");
	assert_host_mapped(size - BLOCK);
	return stop();
}

/* However it is mapped, nobody gets a reference to a page of hidden memory. */
static const char *test_hidden_references(void)
{
	struct iovec iov, to;
	int pipes[2];
	uint8_t buf[64];

	if (!gmem_all_hidden())
		return "not for memory in the direct map";

	start_shared(false);
	gmem_fill(mem, size, 1);
	iov.iov_base = mem + TOUCHED;
	iov.iov_len = sizeof(buf);
	to.iov_base = buf;
	to.iov_len = sizeof(buf);
	ASSERT_OK(pipe(pipes));
	ASSERT_ERRNO(vmsplice(pipes[1], &iov, 1, 0), EFAULT);
	ASSERT_ERRNO(process_vm_readv(getpid(), &to, 1, &iov, 1, 0), EFAULT);
	close(pipes[0]);
	close(pipes[1]);

	/* Blocks are mapped as one page, and all changes of a mapping work. */
	gmem_zap(fd, 0, mem, size);
	if (KEEPS_NEIGHBOURS)
		TEST_ASSERT(host_faults(mem) < 5, "Single pages");
	gmem_fill(mem, BLOCK, 1);
	ASSERT_EQ(host_faults(mem), 0l);
	ASSERT_OK(madvise(mem + BLOCK, BLOCK, MADV_NOHUGEPAGE));
	TEST_ASSERT(host_faults(mem + BLOCK) >= (long)(BLOCK / page_size), "A huge page");
	ASSERT_OK(mprotect(mem + TOUCHED, page_size, PROT_READ));
	ASSERT_OK(mprotect(mem, size, PROT_READ));
	ASSERT_OK(mprotect(mem, size, PROT_READ | PROT_WRITE));
	gmem_fill(mem, size, 2);
	assert_guest_sees(vcpu, GPA, size, 2);
	gmem_in_child(check_child, NULL);
	assert_host_sees(mem, size, 3);
	ASSERT_OK(munmap(mem + BLOCK, page_size));
	assert_guest_sees(vcpu, GPA, size, 3);
	ASSERT_OK(mmap(mem + BLOCK, page_size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, fd, BLOCK));
	assert_host_sees(mem, size, 3);
	return stop();
}

/* Pinned memory cannot be split: the hole reads zero, but stays in the file. */
static const char *test_punch_pinned(void)
{
	struct iovec iov;
	int pipes[2];

	if (gmem_all_hidden())
		return gmem_no_references;

	start_shared(false);
	gmem_fill(mem, BLOCK, 1);
	ASSERT_OK(pipe(pipes));
	iov.iov_base = mem + TOUCHED;
	iov.iov_len = page_size;
	ASSERT_EQ(ASSERT_OK(vmsplice(pipes[1], &iov, 1, 0)), (ssize_t)page_size);

	gmem_guest_fill(vcpu, GPA, 3 * page_size, 2);
	gmem_punch(fd, page_size, page_size);
	assert_file(BLOCK, BLOCK);
	assert_guest_sees(vcpu, GPA, page_size, 2);
	assert_guest_sees_zero(vcpu, GPA + page_size, page_size);
	TEST_ASSERT(gmem_is_zero(mem + page_size, page_size), "Not zero");
	gmem_punch(fd, 0, BLOCK);
	assert_file(0, 0);
	close(pipes[0]);
	close(pipes[1]);
	TEST_ASSERT(gmem_is_zero(mem, BLOCK), "Not zero");
	return stop();
}

/* In a protected VM the host maps single pages, the guest the whole block. */
static const char *test_protected_host(void)
{
	start_shared(true);
	gmem_fill(mem, 2 * page_size, 1);
	assert_file(BLOCK, BLOCK);
	assert_host_mapped(0);
	assert_guest_sees(vcpu, GPA, 2 * page_size, 1);
	assert_mapped(1);

	ASSERT_OK(madvise(mem + BLOCK, BLOCK, MADV_HUGEPAGE));
	gmem_fill(mem + BLOCK, 2 * page_size, 1);
	ASSERT_EQ(pmd_mapped(mem + BLOCK), host_maps(BLOCK));
	return stop();
}

static void check_convert_in_place(bool huge)
{
	uint64_t page = GPA + TOUCHED, faults;

	start_shared(true);
	if (huge)
		ASSERT_OK(madvise(mem, size, MADV_HUGEPAGE));
	gmem_guest_fill(vcpu, GPA, BLOCK, 1);
	assert_host_sees(mem, BLOCK, 1);
	assert_host_mapped(huge ? BLOCK : 0);
	assert_mapped(1);

	/* The guest keeps the neighbours, and the host loses the huge page. */
	gmem_make_private(fd, TOUCHED, page_size);
	assert_host_mapped(0);
	assert_file(BLOCK, BLOCK);
	faults = faults_on_file();
	gmem_guest_write(vcpu, page - page_size, 2);
	gmem_guest_write(vcpu, page + page_size, 2);
	gmem_guest_write(vcpu, GPA + BLOCK - page_size, 2);
	if (KEEPS_NEIGHBOURS)
		ASSERT_EQ(faults_on_file(), faults);
	assert_mapped(0);
	gmem_assert_no_access(mem + TOUCHED, page_size);
	ASSERT_EQ(*(uint64_t *)(mem + TOUCHED + page_size), 2ul);
	gmem_guest_write(vcpu, page, 3);
	assert_mapped(0);
	assert_host_mapped(0);

	gmem_make_shared(fd, TOUCHED, page_size);
	ASSERT_EQ(*(uint64_t *)(mem + TOUCHED), 3ul);
	ASSERT_EQ(gmem_guest_read(vcpu, page), 3ul);
	assert_mapped(1);
	assert_no_faults(GPA);
	assert_file(BLOCK, BLOCK);

	/* And all of it. */
	gmem_make_private(fd, 0, size);
	gmem_assert_no_access(mem, 2 * page_size);
	gmem_guest_write(vcpu, GPA, 4);
	assert_mapped(1);
	stop();
}

static const char *test_convert_in_place(void)
{
	check_convert_in_place(false);
	check_convert_in_place(true);
	return NULL;
}

/* A reference to one page of a huge mapping is one to all of them. */
static const char *test_convert_pinned(void)
{
	bool huge;

	if (gmem_all_hidden())
		return gmem_no_references;

	for (huge = false; ; huge = true) {
		struct iovec iov;
		uint64_t error;
		int pipes[2];

		start_shared(true);
		if (huge)
			ASSERT_OK(madvise(mem, size, MADV_HUGEPAGE));
		gmem_fill(mem, 2 * BLOCK, 1);
		ASSERT_OK(pipe(pipes));
		iov.iov_base = mem + BLOCK + TOUCHED;
		iov.iov_len = page_size;
		ASSERT_EQ(ASSERT_OK(vmsplice(pipes[1], &iov, 1, 0)), (ssize_t)page_size);

		if (huge) {
			ASSERT_ERRNO(__gmem_set_attributes(fd, page_size, 2 * BLOCK,
							   KVM_MEMORY_ATTRIBUTE_PRIVATE,
							   &error), EAGAIN);
			ASSERT_EQ(error, BLOCK);
			ASSERT_ERRNO(__gmem_set_attributes(fd, BLOCK + page_size, page_size,
							   KVM_MEMORY_ATTRIBUTE_PRIVATE,
							   &error), EAGAIN);
			ASSERT_EQ(error, BLOCK + page_size);
		} else {
			ASSERT_ERRNO(__gmem_set_attributes(fd, page_size, 2 * BLOCK,
							   KVM_MEMORY_ATTRIBUTE_PRIVATE,
							   &error), EAGAIN);
			ASSERT_EQ(error, BLOCK + TOUCHED);
			gmem_make_private(fd, BLOCK, TOUCHED);
		}
		close(pipes[0]);
		close(pipes[1]);
		gmem_make_private(fd, 0, 2 * BLOCK);
		stop();
		if (huge)
			return NULL;
	}
}

/* The host touches a block of which a part is private from the beginning. */
static const char *test_mixed_block(void)
{
	start_shared(true);
	ASSERT_OK(madvise(mem, size, MADV_HUGEPAGE));
	gmem_make_private(fd, 0, page_size);
	gmem_guest_write(vcpu, GPA, 1);
	assert_file(BLOCK, BLOCK);
	gmem_fill(mem + page_size, page_size, 2);
	assert_host_mapped(0);
	assert_guest_sees(vcpu, GPA + page_size, page_size, 2);
	gmem_assert_no_access(mem, page_size);
	assert_mapped(0);
	/* An empty block is not filled for the sake of a part. */
	gmem_make_private(fd, BLOCK, page_size);
	*(mem + BLOCK + page_size) = 1;
	assert_file(BLOCK + page_size, BLOCK);
	return stop();
}

/* Dirty logging is by pages; when it ends, huge mappings return. */
static const char *test_dirty_log(void)
{
	unsigned long bitmap[NR_PAGES / 64];

	start_shared(false);
	gmem_guest_fill(vcpu, GPA, 2 * page_size, 1);
	assert_mapped(1);
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	gmem_guest_write(vcpu, GPA + TOUCHED, 2);
	kvm_vm_get_dirty_log(vm, SLOT, bitmap);
	ASSERT_EQ(bitmap[0], 1ul << TOUCHED / page_size);
	ASSERT_EQ(bitmap[1], 0ul);
	assert_mapped(0);
	/* A page that is read may be mapped without write permission. */
	gmem_guest_read(vcpu, GPA + page_size);
	ASSERT_OK(__set_slot(fd, 0, size));
	assert_no_faults(GPA + page_size);
	assert_mapped(1);
	return stop();
}

/* If need be, KVM maps a block that has code by single pages, for a time. */
static const char *test_code(void)
{
	int tries;

	start_shared(false);
	gmem_put_code(mem + TOUCHED, 1);
	gmem_guest_write(vcpu, GPA, 1);
	assert_mapped(1);
	assert_guest_calls(vcpu, GPA + TOUCHED, 1);
	gmem_guest_write(vcpu, GPA, 2);
	assert_mapped(nx_huge_pages ? 0 : 1);
	assert_file(BLOCK, BLOCK);
	if (!nx_huge_pages)
		return stop();

	ASSERT_EQ(gmem_write_file(PARAMS "nx_huge_pages_recovery_ratio", "1"), 0);
	ASSERT_EQ(gmem_write_file(PARAMS "nx_huge_pages_recovery_period_ms", "10"), 0);
	for (tries = 0; tries < 1000 && gmem_vm_stat(vm, "pages_2m") != 1; tries++) {
		usleep(10000);
		gmem_guest_write(vcpu, GPA, 3);
	}
	assert_mapped(1);
	assert_guest_calls(vcpu, GPA + TOUCHED, 1);
	return stop();
}

static const struct gmem_test tests[] = {
	GMEM_TEST_PROTECTED_PAGES(test_param),
	GMEM_TEST_PROTECTED(test_touch),
	GMEM_TEST_PROTECTED_PAGES(test_never),
	GMEM_TEST_PROTECTED_PAGES(test_populate),
	GMEM_TEST_PROTECTED_PAGES(test_process),
	GMEM_TEST_PROTECTED_PAGES(test_flag),
	GMEM_TEST_PROTECTED_PAGES(test_write_call),
	GMEM_TEST_PAGES(test_policy),
	GMEM_TEST_PROTECTED_PAGES(test_fallocate_part),
	GMEM_TEST_PROTECTED_PAGES(test_tail),
	GMEM_TEST_PROTECTED_PAGES(test_unaligned),
	GMEM_TEST_PROTECTED_PAGES(test_punch),
	GMEM_TEST_PROTECTED(test_convert),
	GMEM_TEST_PROTECTED_PAGES(test_memcg),
	GMEM_TEST_PROTECTED(test_folio),
	GMEM_TEST_PROTECTED_PAGES(test_poison_head),
	GMEM_TEST_PROTECTED_PAGES(test_poison_middle),
	GMEM_TEST(test_shared_guest_first),
	GMEM_TEST(test_shared_host_first),
	GMEM_TEST(test_no_huge_page),
	GMEM_TEST_PAGES(test_shared_punch),
	GMEM_TEST_PAGES(test_punch_pinned),
	GMEM_TEST(test_hidden_references),
	GMEM_TEST(test_dirty_log),
	GMEM_TEST(test_code),
	GMEM_TEST_PROTECTED(test_protected_host),
	GMEM_TEST_PROTECTED(test_convert_in_place),
	GMEM_TEST_PROTECTED(test_convert_pinned),
	GMEM_TEST_PROTECTED_PAGES(test_mixed_block),
};

static void init(void)
{
	gmem_require();
	__TEST_REQUIRE(page_size == MIN_PAGE_SIZE, "all blocks are single pages");
	__TEST_REQUIRE(!gmem_write_file(PARAM, "always"), "cannot write " PARAM);
	nx_huge_pages = says(PARAMS "nx_huge_pages", "Y");
}

GMEM_TEST_MAIN(init);
