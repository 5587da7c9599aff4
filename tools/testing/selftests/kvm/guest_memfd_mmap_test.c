// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_mmap_test: the file in the host's address space
 *
 * Checks what may be mapped and how, which accesses raise SIGBUS, that new and
 * punched memory is zero, and that nothing a host does to its mapping loses or
 * moves the memory.  No guest runs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static const char *test_needs_the_flag(void)
{
	static const uint64_t flags[] = { 0, GUEST_MEMFD_FLAG_INIT_SHARED };
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = vm_create_guest_memfd(vm, size, flags[i]);
		ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
		ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
		close(fd);
	}
	return NULL;
}

static const char *test_shared_only(void)
{
	int fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);

	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0),
		     EINVAL);
	close(fd);
	return NULL;
}

static const char *test_never_executable(void)
{
	int fd = new_memory(GMEM_SHARED);

	ASSERT_ERRNO(mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0), EPERM);
	ASSERT_ERRNO(mprotect(mem, size, PROT_READ | PROT_EXEC), EACCES);
	ASSERT_OK(mprotect(mem, size, PROT_NONE));
	ASSERT_OK(mprotect(mem, size, PROT_READ | PROT_WRITE));
	*mem = 1;
	free_memory(fd);
	return NULL;
}

static const char *test_past_eof(void)
{
	int fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	uint8_t *twice = gmem_mmap(fd, 0, 2 * size);
	uint8_t *beyond = gmem_mmap(fd, size, page_size);

	TEST_ASSERT(gmem_try_write(twice + size - 1, 1), "The last byte is not there");
	TEST_ASSERT(!gmem_try_write(twice + size, 1), "Wrote past EOF");
	TEST_ASSERT(!gmem_try_read(twice + 2 * size - 1, NULL), "Read past EOF");
	TEST_ASSERT(!gmem_try_read(beyond, NULL), "Read past EOF");
	ASSERT_EQ(gmem_allocated(fd), page_size);
	ASSERT_OK(munmap(beyond, page_size));
	ASSERT_OK(munmap(twice, 2 * size));
	close(fd);
	return NULL;
}

static const char *test_private_memory_is_not_there(void)
{
	int fd = new_memory(GUEST_MEMFD_FLAG_MMAP);

	TEST_ASSERT(!gmem_try_read(mem, NULL), "Read private memory");
	TEST_ASSERT(!gmem_try_write(mem, 1), "Wrote private memory");
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	gmem_fallocate(fd, 0, size);
	TEST_ASSERT(!gmem_try_read(mem, NULL), "Read private memory");
	ASSERT_ERRNO(madvise(mem, page_size, MADV_POPULATE_READ), EFAULT);
	free_memory(fd);
	return NULL;
}

static const char *test_new_memory_is_zero(void)
{
	int fd = new_memory(GMEM_SHARED);

	TEST_ASSERT(gmem_is_zero(mem, page_size), "A new page is not zero");
	ASSERT_EQ(gmem_allocated(fd), page_size);
	gmem_fallocate(fd, 0, size);
	TEST_ASSERT(gmem_is_zero(mem, size), "Allocated pages are not zero");
	free_memory(fd);
	return NULL;
}

static const char *test_mappings_agree(void)
{
	uint8_t *second;
	int fd = new_memory(GMEM_SHARED);

	second = gmem_mmap(fd, page_size, size - page_size);
	gmem_fill(mem, size, 1);
	TEST_ASSERT(!memcmp(mem + page_size, second, size - page_size),
		    "Two mappings differ");
	second[0]++;
	ASSERT_EQ(mem[page_size], second[0]);
	ASSERT_OK(munmap(second, size - page_size));
	free_memory(fd);
	return NULL;
}

static const char *test_punch_gives_zeros(void)
{
	int fd = new_memory(GMEM_SHARED);

	gmem_fill(mem, size, 2);
	gmem_punch(fd, 2 * page_size, 3 * page_size);
	ASSERT_EQ(gmem_allocated(fd), size - 3 * page_size);
	TEST_ASSERT(gmem_matches(mem, 2 * page_size, 2), "Lost a page before the hole");
	TEST_ASSERT(gmem_is_zero(mem + 2 * page_size, 3 * page_size),
		    "The hole is not zero");

	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	TEST_ASSERT(gmem_is_zero(mem, size), "The hole is not zero");
	gmem_fill(mem, size, 3);
	TEST_ASSERT(gmem_matches(mem, size, 3), "Cannot write to a filled hole");
	free_memory(fd);
	return NULL;
}

static const char *test_failed_punch_keeps_data(void)
{
	int fd = new_memory(GMEM_SHARED);

	gmem_fill(mem, size, 4);
	ASSERT_ERRNO(__gmem_punch(fd, 1, size - 1), EINVAL);
	ASSERT_ERRNO(__gmem_punch(fd, 0, page_size / 2), EINVAL);
	ASSERT_ERRNO(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, size), EOPNOTSUPP);
	TEST_ASSERT(gmem_matches(mem, size, 4), "A failed call lost data");
	free_memory(fd);
	return NULL;
}

static void child_write(void *arg)
{
	TEST_ASSERT(gmem_matches(mem, size / 2, 5), "The child sees other data");
	gmem_fill(mem + size / 2, size / 2, 6);
}

static const char *test_fork_shares(void)
{
	int fd = new_memory(GMEM_SHARED);

	gmem_fill(mem, size / 2, 5);
	gmem_in_child(child_write, NULL);
	TEST_ASSERT(gmem_matches(mem + size / 2, size / 2, 6),
		    "The parent does not see what the child wrote");
	free_memory(fd);
	return NULL;
}

static const char *test_mapping_outlives_fd_and_vm(void)
{
	struct kvm_vm *other = vm_create_barebones();
	int fd = vm_create_guest_memfd(other, size, GMEM_SHARED);
	uint8_t *first = gmem_mmap(fd, 0, size), *second;

	gmem_fill(first, size / 2, 7);
	kvm_vm_free(other);
	second = gmem_mmap(fd, 0, size);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(second, page_size), "The hole is not zero");
	close(fd);

	gmem_fill(first, size, 8);
	TEST_ASSERT(gmem_matches(second, size, 8), "Two mappings differ");
	ASSERT_OK(munmap(first, size));
	ASSERT_OK(munmap(second, size));
	return NULL;
}

static const char *test_madvise_keeps_data(void)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
		MADV_RANDOM, MADV_NORMAL, MADV_POPULATE_WRITE,
	};
	int fd = new_memory(GMEM_SHARED), i;

	gmem_fill(mem, size, 9);
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		if (madvise(mem, size, advice[i]))
			TEST_ASSERT(errno == EINVAL, "madvise(%d): errno %d",
				    advice[i], errno);
		ASSERT_EQ(gmem_allocated(fd), size);
		TEST_ASSERT(gmem_matches(mem, size, 9), "madvise(%d) lost data",
			    advice[i]);
	}
	ASSERT_OK(posix_fadvise(fd, 0, size, POSIX_FADV_DONTNEED));
	TEST_ASSERT(gmem_matches(mem, size, 9), "fadvise lost data");
	free_memory(fd);
	return NULL;
}

static const char *test_madvise_results(void)
{
	int fd = new_memory(GMEM_SHARED);

	if (thp_configured())
		ASSERT_OK(madvise(mem, size, MADV_HUGEPAGE));
	ASSERT_ERRNO(madvise(mem, size, MADV_COLLAPSE), EINVAL);
	ASSERT_ERRNO(madvise(mem, size, MADV_FREE), EINVAL);
	ASSERT_OK(madvise(mem, size, MADV_DONTNEED));
	ASSERT_OK(madvise(mem, size, MADV_POPULATE_WRITE));
	ASSERT_EQ(gmem_allocated(fd), size);

	gmem_fill(mem, size, 10);
	ASSERT_OK(madvise(mem, page_size, MADV_REMOVE));
	TEST_ASSERT(gmem_is_zero(mem, page_size), "MADV_REMOVE left data");
	free_memory(fd);
	return NULL;
}

static const char *test_mlock(void)
{
	int fd = new_memory(GMEM_SHARED);

	if (mlock(mem, size)) {
		free_memory(fd);
		return "mlock is not permitted";
	}
	ASSERT_EQ(gmem_allocated(fd), size);
	gmem_fill(mem, size, 11);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "The hole is not zero");
	ASSERT_OK(munlock(mem, size));
	free_memory(fd);
	return NULL;
}

static const char *test_kernel_access(void)
{
	uint8_t *copy = gmem_anonymous(size);
	struct iovec local = { copy, size }, remote;
	int fd = new_memory(GMEM_SHARED), p[2];

	ASSERT_OK(pipe(p));
	gmem_fill(mem, size, 12);
	ASSERT_EQ(write(p[1], mem, size), (ssize_t)size);
	ASSERT_EQ(read(p[0], copy, size), (ssize_t)size);
	TEST_ASSERT(!memcmp(mem, copy, size), "write() saw other data");

	gmem_fill(copy, size, 13);
	ASSERT_EQ(write(p[1], copy, size), (ssize_t)size);
	ASSERT_EQ(read(p[0], mem, size), (ssize_t)size);
	TEST_ASSERT(gmem_matches(mem, size, 13), "read() wrote other data");

	remote = (struct iovec){ mem, size };
	gmem_fill(mem, size, 14);
	ASSERT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), (ssize_t)size);
	TEST_ASSERT(gmem_matches(copy, size, 14), "process_vm_readv() saw other data");
	close(p[0]);
	close(p[1]);
	ASSERT_OK(munmap(copy, size));
	free_memory(fd);
	return NULL;
}

static const char *test_mremap(void)
{
	uint8_t *to = gmem_anonymous(size);
	int fd = new_memory(GMEM_SHARED);

	gmem_fill(mem, size, 15);
	mem = ASSERT_OK(mremap(mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	TEST_ASSERT(gmem_matches(mem, size, 15), "mremap() lost data");
	gmem_punch(fd, 0, size);
	TEST_ASSERT(gmem_is_zero(mem, size), "A moved mapping shows old data");
	free_memory(fd);
	return NULL;
}

/* Registration must fail, so that no VMM relies on getting missing faults. */
static const char *test_no_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC), fd;

	if (uffd < 0)
		return "userfaultfd is not available";

	fd = new_memory(GMEM_SHARED);
	reg.range.start = (uintptr_t)mem;
	reg.range.len = size;
	ASSERT_OK(ioctl(uffd, UFFDIO_API, &api));
	ASSERT_ERRNO(ioctl(uffd, UFFDIO_REGISTER, &reg), EINVAL);
	TEST_ASSERT(gmem_is_zero(mem, size), "New memory is not zero");
	close(uffd);
	free_memory(fd);
	return NULL;
}

/* Pages must not be migrated, since KVM's page tables could not be updated. */
static const char *test_pages_stay_in_place(void)
{
	uint64_t pfn[NR_PAGES];
	int fd = new_memory(GMEM_SHARED), i;

	gmem_fill(mem, size, 16);
	for (i = 0; i < NR_PAGES; i++)
		pfn[i] = gmem_pfn(mem + i * page_size);
	if (!pfn[0]) {
		free_memory(fd);
		return "pagemap shows no page frame numbers";
	}

	/* Each of them is optional, and none of them may have an effect. */
	gmem_write_file("/proc/sys/vm/compact_memory", "1");
	gmem_write_file("/proc/sys/vm/drop_caches", "3");
	gmem_write_file("/proc/sys/vm/compact_memory", "1");
	madvise(mem, size, MADV_PAGEOUT);

	for (i = 0; i < NR_PAGES; i++) {
		TEST_ASSERT(gmem_matches(mem, size, 16), "Data is gone");
		ASSERT_EQ(gmem_pfn(mem + i * page_size), pfn[i]);
	}
	free_memory(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_needs_the_flag),
	GMEM_TEST(test_shared_only),
	GMEM_TEST(test_never_executable),
	GMEM_TEST(test_past_eof),
	GMEM_TEST(test_private_memory_is_not_there),
	GMEM_TEST(test_new_memory_is_zero),
	GMEM_TEST(test_mappings_agree),
	GMEM_TEST(test_punch_gives_zeros),
	GMEM_TEST(test_failed_punch_keeps_data),
	GMEM_TEST(test_fork_shares),
	GMEM_TEST(test_mapping_outlives_fd_and_vm),
	GMEM_TEST(test_madvise_keeps_data),
	GMEM_TEST(test_madvise_results),
	GMEM_TEST(test_mlock),
	GMEM_TEST(test_kernel_access),
	GMEM_TEST(test_mremap),
	GMEM_TEST(test_no_userfaultfd),
	GMEM_TEST(test_pages_stay_in_place),
};

GMEM_TEST_MAIN(init_barebones)
