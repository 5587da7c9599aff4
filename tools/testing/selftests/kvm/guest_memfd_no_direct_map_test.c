// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_no_direct_map_test: memory outside the kernel's direct map
 *
 * Guest and host can use a file with GUEST_MEMFD_FLAG_NO_DIRECT_MAP like any
 * other: new memory is zero, is allocated on the requested node, and is freed
 * again.  guest_memfd_hidden_access_test checks that the rest of the kernel
 * cannot access it.
 *
 * Machine: -n -m 1G
 * Timeout: 300
 * Append: movablecore=256M
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <signal.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	16
#include "guest_memfd_fixture.h"

#define NDM		GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define NDM_SHARED	(GMEM_SHARED | NDM)

static void assert_flags(bool no_mmap)
{
	uint64_t valid = vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
	uint64_t flags;
	int fd;

	TEST_ASSERT(valid & NDM, "The VM has 0x%lx", valid);
	/* Not for a file of this size. */
	valid &= ~GUEST_MEMFD_FLAG_HUGETLB;
	for (flags = NDM; flags < 2 * (GMEM_ALL_FLAGS | NDM); flags++) {
		if (!(flags & NDM) || (!no_mmap && !(flags & GUEST_MEMFD_FLAG_MMAP)))
			continue;
		if (flags & ~valid) {
			ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, flags), EINVAL);
			continue;
		}
		fd = vm_create_guest_memfd(vm, size, flags);
		ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"), flags);
		ASSERT_EQ(gmem_allocated(fd), 0ul);
		close(fd);
	}
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, NDM | 1ull << 63), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, 0, NDM_SHARED), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, page_size + 1, NDM_SHARED), EINVAL);
}

static const char *test_create(void)
{
	vm = vm_create_barebones();
	assert_flags(GMEM_DUAL_BACKED_ORDINARY);
	kvm_vm_free(vm);
	return NULL;
}

static const char *test_create_protected(void)
{
	vm = gmem_create_protected_barebones();
	assert_flags(true);
	kvm_vm_free(vm);
	return NULL;
}

static const char *test_guest_and_host(void)
{
	int fd = start_vm_with_slot(false, NDM_SHARED);

	gmem_guest_fill(vcpu, GPA, size / 2, 1);
	assert_host_sees(mem, size / 2, 1);
	TEST_ASSERT(gmem_is_zero(mem + size / 2, size / 2), "New memory is not zero");
	gmem_fill(mem, size, 2);
	assert_guest_sees(vcpu, GPA, size, 2);
	gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA, 0, 0x1234);
	assert_guest_calls(vcpu, GPA, 0x1234);

	gmem_punch(fd, 0, size / 2);
	assert_guest_sees_zero(vcpu, GPA, size / 2);
	TEST_ASSERT(gmem_is_zero(mem, size / 2), "The hole is not zero");
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	gmem_fallocate(fd, 0, size);
	TEST_ASSERT(gmem_is_zero(mem, size), "Allocated pages are not zero");
	assert_guest_sees_zero(vcpu, GPA, size);
	stop_vm(fd);
	return NULL;
}

/* A slot that has only the address of the host mapping, not the file. */
static const char *test_ordinary_slot(void)
{
	int fd;

	start_vm(false);
	fd = new_memory(NDM_SHARED);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	gmem_fill(mem, size / 2, 1);
	assert_guest_sees(vcpu, GPA, size / 2, 1);
	gmem_guest_fill(vcpu, GPA, size, 2);
	assert_host_sees(mem, size, 2);
	gmem_punch(fd, 0, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_fill(mem, size, 3);
	assert_guest_sees(vcpu, GPA, size, 3);
	stop_vm(fd);
	return NULL;
}

/* Write to a whole file, free it, and check that the next files are zero. */
static const char *test_freed_memory_is_zero(void)
{
	size_t big = SZ_4M, off;
	uint8_t *map;
	int i, fd;

	vm = vm_create_barebones();
	for (i = 0; i < 16; i++) {
		fd = vm_create_guest_memfd(vm, big, NDM_SHARED);
		map = gmem_mmap(fd, 0, big);
		for (off = 0; off < big; off += page_size)
			TEST_ASSERT(gmem_is_zero(map + off, page_size),
				    "File %d is not zero at 0x%lx", i, off);
		memset(map, 0x55, big);
		/* Free memory with the file, in parts, or in one hole. */
		for (off = 0; i % 3 == 1 && off < big; off += 3 * page_size)
			gmem_punch(fd, off, page_size);
		if (i % 3 == 2)
			gmem_punch(fd, 0, big);
		ASSERT_OK(munmap(map, big));
		close(fd);
	}
	kvm_vm_free(vm);
	return NULL;
}

/* Pages of two files may be neighbours in memory, but must stay separate. */
static const char *test_files_are_apart(void)
{
	int fd, other, i;
	uint8_t *map;

	vm = vm_create_barebones();
	fd = new_memory(NDM_SHARED);
	other = vm_create_guest_memfd(vm, size, NDM_SHARED);
	map = gmem_mmap(other, 0, size);
	for (i = 0; i < NR_PAGES; i++) {
		gmem_fill(mem + i * page_size, page_size, 1);
		gmem_fill(map + i * page_size, page_size, 2);
	}
	gmem_punch(fd, page_size, page_size);
	for (i = 0; i < NR_PAGES; i++) {
		assert_host_sees(map + i * page_size, page_size, 2);
		if (i != 1)
			assert_host_sees(mem + i * page_size, page_size, 1);
	}
	free_memory(fd);
	for (i = 0; i < NR_PAGES; i++)
		assert_host_sees(map + i * page_size, page_size, 2);
	ASSERT_OK(munmap(map, size));
	close(other);
	kvm_vm_free(vm);
	return NULL;
}

static void child_uses_memory(void *arg)
{
	assert_host_sees(mem, size, 1);
	gmem_fill(mem, size / 2, 2);
	gmem_punch(*(int *)arg, size / 2, page_size);
	/* This mapping was never touched before. */
	assert_host_sees(gmem_mmap(*(int *)arg, 0, size), size / 2, 2);
}

static const char *test_fork_and_exit(void)
{
	int fd = start_vm_with_slot(false, NDM_SHARED);

	gmem_fill(mem, size, 1);
	gmem_in_child(child_uses_memory, &fd);
	assert_host_sees(mem, size / 2, 2);
	assert_guest_sees(vcpu, GPA, size / 2, 2);
	ASSERT_EQ(gmem_allocated(fd), size - page_size);
	stop_vm(fd);
	return NULL;
}

static const char *test_outlives_vm(void)
{
	int fd;

	vm = vm_create_barebones();
	fd = new_memory(NDM_SHARED);
	gmem_fill(mem, size, 1);
	kvm_vm_free(vm);
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "The hole is not zero");
	close(fd);
	gmem_fill(mem, size, 2);
	assert_host_sees(mem, size, 2);
	free_memory(-1);
	return NULL;
}

static const char *test_private(void)
{
	int fd = start_vm_with_slot(true, NDM);

	gmem_fill(mem, size, 1);
	vm_make_private(vm, GPA, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_guest_fill(vcpu, GPA, size, 2);
	vm_make_shared(vm, GPA, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	vm_make_private(vm, GPA, size);
	assert_guest_sees(vcpu, GPA, size, 2);
	gmem_punch(fd, 0, page_size);
	assert_guest_sees_zero(vcpu, GPA, page_size);
	stop_vm(fd);
	return NULL;
}

static const char *test_convert_in_place(void)
{
	int fd = start_vm_with_slot(true, NDM_SHARED);

	gmem_fill(mem, size, 1);
	gmem_make_private(fd, 0, size / 2);
	gmem_assert_no_access(mem, size / 2);
	assert_guest_sees(vcpu, GPA, size, 1);
	gmem_guest_fill(vcpu, GPA, size, 2);
	gmem_make_shared(fd, page_size, size - page_size);
	gmem_assert_no_access(mem, page_size);
	gmem_make_shared(fd, 0, page_size);
	assert_host_sees(mem, size, 2);

	vm_make_private(vm, GPA, size);
	gmem_punch(fd, 0, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_assert_no_access(mem, size);
	stop_vm(fd);
	return NULL;
}

/* The source may also be hidden memory, even the same page. */
static const char *test_pwrite(void)
{
	uint8_t *buf = gmem_anonymous(size);
	size_t pos, len;
	int fd;

	vm = vm_create_barebones();
	if (!(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_WRITE)) {
		kvm_vm_free(vm);
		return "this VM has no flag WRITE";
	}
	fd = new_memory(GMEM_ALL_FLAGS | NDM);
	gmem_fill(buf, size, 1);
	for (pos = 0, len = 1; pos < size; pos += len, len = len * 2 + 1) {
		if (len > size - pos)
			len = size - pos;
		ASSERT_EQ(pwrite(fd, buf + pos, len, pos), (ssize_t)len);
	}
	assert_host_sees(mem, size, 1);
	ASSERT_EQ(pwrite(fd, mem + 8, page_size, 2 * page_size + 8), (ssize_t)page_size);
	ASSERT_EQ(memcmp(mem + 8, mem + 2 * page_size + 8, page_size), 0);
	ASSERT_EQ(pwrite(fd, mem + 64, page_size, 64), (ssize_t)page_size);
	assert_host_sees(mem, 2 * page_size, 1);
	/* An unpopulated source in the same file. */
	gmem_punch(fd, 4 * page_size, page_size);
	ASSERT_EQ(pwrite(fd, mem + 4 * page_size, page_size, 0), (ssize_t)page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "A hole is not zero");
	free_memory(fd);
	kvm_vm_free(vm);
	ASSERT_OK(munmap(buf, size));
	return NULL;
}

static const char *test_policy(void)
{
	const char *skip = gmem_trace_start();
	int fd, i;

	if (skip)
		return skip;
	if (!gmem_has_node(0) || !gmem_has_node(1))
		return "the machine has no nodes 0 and 1";

	fd = start_vm_with_slot(false, NDM_SHARED);
	for (i = 0; i < NR_PAGES; i++)
		ASSERT_OK(gmem_mbind(mem + i * page_size, page_size, MPOL_BIND,
				     1ul << (i & 1)));
	/* Allocate by host faults, by fallocate(), and by guest faults. */
	memset(mem, 1, size / 4);
	gmem_fallocate(fd, size / 4, size / 4);
	gmem_guest_fill(vcpu, GPA, size, 1);
	for (i = 0; i < NR_PAGES; i++)
		ASSERT_EQ(gmem_node_of(gmem_traced_pfn(GPA + i * page_size)), i & 1);
	stop_vm(fd);
	return NULL;
}

/* Allocate 4 MiB that are neither movable nor reclaimable. */
static void fill_pipes(void)
{
	static const char data[SZ_64K];
	int i, fds[2];

	for (i = 0; i < 64; i++) {
		ASSERT_OK(pipe(fds));
		ASSERT_EQ(write(fds[1], data, sizeof(data)), sizeof(data));
	}
}

/* fallocate() fails with ENOMEM, keeps its pages, and leaves some memory. */
static void allocate_all(uint64_t total)
{
	uint8_t *map;
	uint64_t got;
	int fd;

	vm = vm_create_barebones();
	fd = vm_create_guest_memfd(vm, total, NDM_SHARED);
	ASSERT_ERRNO(__gmem_fallocate(fd, 0, total), ENOMEM);
	got = gmem_allocated(fd);
	TEST_ASSERT(got > total / 4 && got < total, "Allocated %lu of %lu", got, total);
	map = gmem_mmap(fd, 0, got);
	TEST_ASSERT(gmem_is_zero(map + got - page_size, page_size), "Not zero");
	fill_pipes();
	exit(0);
}

/* Allocating more than all memory fails without invoking the OOM killer. */
static const char *test_more_than_there_is(void)
{
	uint64_t total = gmem_meminfo("MemTotal") * SZ_1K, before, kills;
	pid_t pid;
	int status;

	if (total > 8ul * SZ_1G)
		return "the machine has too much memory for that";

	gmem_drop_caches();
	before = gmem_free_memory();
	kills = gmem_vmstat("oom_kill");
	pid = ASSERT_OK(fork());
	if (!pid) {
		ASSERT_EQ(gmem_write_file("/proc/self/oom_score_adj", "1000"), 0);
		allocate_all(total);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(gmem_vmstat("oom_kill"), kills);
	ASSERT_EQ(status, 0);
	gmem_wait_for_free(before - 64 * SZ_1K);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_create),
	GMEM_TEST_PROTECTED(test_create_protected),
	GMEM_TEST(test_guest_and_host),
	GMEM_TEST(test_ordinary_slot),
	GMEM_TEST(test_freed_memory_is_zero),
	GMEM_TEST(test_files_are_apart),
	GMEM_TEST(test_fork_and_exit),
	GMEM_TEST(test_outlives_vm),
	GMEM_TEST_PROTECTED(test_private),
	GMEM_TEST_PROTECTED(test_convert_in_place),
	GMEM_TEST(test_pwrite),
	GMEM_TEST(test_policy),
	GMEM_TEST(test_more_than_there_is),
};

GMEM_TEST_MAIN(gmem_require_no_direct_map)
