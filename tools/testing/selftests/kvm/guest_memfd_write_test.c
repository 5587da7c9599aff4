// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_write_test: population of guest memory by pwrite()
 *
 * With GUEST_MEMFD_FLAG_WRITE a VMM can write shared pages at any alignment
 * without mapping them, and private pages once, before they are allocated.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/uio.h>

#include "guest_memfd_private.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static uint8_t *buf;

/* Create a VM, protected or not, with a slot, and a buffer of random bytes. */
static int start(bool protected, uint64_t flags)
{
	size_t i;

	buf = gmem_anonymous(size);
	for (i = 0; i < size; i++)
		buf[i] = rand();
	return start_vm_with_slot(protected, flags);
}

static void stop(int fd)
{
	stop_vm(fd);
	ASSERT_OK(munmap(buf, size));
}

static void write_all(int fd, const void *data, size_t len, uint64_t pos)
{
	ASSERT_EQ(pwrite(fd, data, len, pos), (ssize_t)len);
}

static const char *test_any_alignment(void)
{
	static const int lens[] = { 1, 7, 8, 63, 511, 4095, 4096, 4097, 12289 };
	int fd = start(false, GMEM_ALL_FLAGS), i, pos;
	uint8_t *want = gmem_anonymous(size);

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		for (pos = 0; pos + lens[i] <= size; pos += 1 + lens[i] * 5 / 3) {
			write_all(fd, buf + pos / 2, lens[i], pos);
			memcpy(want + pos, buf + pos / 2, lens[i]);
		}
		TEST_ASSERT(!memcmp(want, mem, size), "Wrong data after writes of %d", lens[i]);
	}
	for (pos = 0; pos < size; pos += 2040)
		ASSERT_EQ(gmem_guest_read(vcpu, GPA + (pos & ~7)),
			  *(uint64_t *)(want + (pos & ~7)));
	ASSERT_OK(munmap(want, size));
	stop(fd);
	return NULL;
}

static const char *test_limits(void)
{
	int fd = start(false, GMEM_ALL_FLAGS);
	struct iovec iov[3] = {
		{ buf, 100 }, { buf + 100, 0 }, { buf + 100, page_size },
	};

	ASSERT_ERRNO(pwrite(fd, buf, 1, size), EINVAL);
	ASSERT_ERRNO(pwrite(fd, buf, page_size, size + page_size), EINVAL);
	ASSERT_ERRNO(pwrite(fd, buf, page_size, -page_size), EINVAL);
	ASSERT_ERRNO(pwrite(fd, buf, 1, INT64_MAX), EINVAL);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	/* Writes are cut off at the end of the file. */
	ASSERT_EQ(pwrite(fd, buf, page_size, size - 100), 100l);
	TEST_ASSERT(!memcmp(mem + size - 100, buf, 100), "Wrong data at the end");
	ASSERT_EQ(pwrite(fd, buf, 0, 0), 0l);
	ASSERT_EQ(pwritev(fd, iov, 3, 50), (ssize_t)page_size + 100);
	TEST_ASSERT(!memcmp(mem + 50, buf, page_size + 100), "Wrong data of a vector");
	TEST_ASSERT(gmem_is_zero(mem, 48), "Wrong data before a partial page");

	/* The file has no position and cannot be read. */
	ASSERT_EQ(pread(fd, buf, 1, 0), -1l);
	ASSERT_EQ(read(fd, buf, 1), -1l);
	errno = 0;
	stop(fd);
	return NULL;
}

static const char *test_source(void)
{
	int fd = start(false, GMEM_ALL_FLAGS);
	uint8_t *gap;

	/* The file as source: populated or not, the same page or another. */
	gmem_fill(mem, page_size, 1);
	write_all(fd, mem, page_size, page_size);
	ASSERT_EQ(memcmp(mem, mem + page_size, page_size), 0);
	write_all(fd, mem + 100, page_size, 100);
	assert_host_sees(mem, page_size, 1);
	write_all(fd, mem + 4 * page_size, page_size, 3 * page_size);
	TEST_ASSERT(gmem_is_zero(mem + 3 * page_size, page_size), "A hole is not zero");

	/* A source that is unmapped in part or as a whole. */
	gap = gmem_anonymous(2 * page_size);
	memcpy(gap, buf, page_size);
	ASSERT_OK(munmap(gap + page_size, page_size));
	ASSERT_EQ(pwrite(fd, gap, 2 * page_size, 5 * page_size), (ssize_t)page_size);
	TEST_ASSERT(!memcmp(mem + 5 * page_size, buf, page_size), "Wrong data");
	ASSERT_EQ(pwrite(fd, gap + page_size - 10, page_size, 6 * page_size), 10l);
	ASSERT_ERRNO(pwrite(fd, gap + page_size, page_size, 7 * page_size), EFAULT);
	TEST_ASSERT(gmem_is_zero(mem + 7 * page_size, page_size), "Data from nowhere");
	ASSERT_OK(munmap(gap, page_size));
	stop(fd);
	return NULL;
}

static const char *test_flag_missing(void)
{
	int fd = start(false, GMEM_SHARED);

	ASSERT_ERRNO(pwrite(fd, buf, page_size, 0), ESPIPE);
	ASSERT_ERRNO(write(fd, buf, page_size), EINVAL);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	stop(fd);
	return NULL;
}

static const char *test_private(void)
{
	int fd = start(true, GMEM_ALL_FLAGS);
	uint64_t page;

	write_all(fd, buf, page_size, 0);
	gmem_make_private(fd, 0, size);
	ASSERT_ERRNO(pwrite(fd, buf, 1, 0), EPERM);
	ASSERT_ERRNO(pwrite(fd, buf, page_size, 0), EPERM);

	/* A page can be written once, even if only a part of it was written. */
	write_all(fd, buf + page_size, page_size, page_size);
	ASSERT_ERRNO(pwrite(fd, buf, page_size, page_size), EPERM);
	write_all(fd, buf + 2 * page_size, 16, 2 * page_size);
	ASSERT_ERRNO(pwrite(fd, buf, page_size - 16, 2 * page_size + 16), EPERM);

	/* The guest has accessed the page first. */
	gmem_guest_write(vcpu, GPA + 4 * page_size, 4);
	ASSERT_EQ(pwrite(fd, buf + 3 * page_size, 3 * page_size, 3 * page_size),
		  (ssize_t)page_size);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + 4 * page_size), 4ul);
	for (page = 0; page < 4; page++)
		ASSERT_EQ(gmem_guest_read(vcpu, GPA + page * page_size),
			  *(uint64_t *)(buf + page * page_size));
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + 2 * page_size + 16), 0ul);
	gmem_assert_no_access(mem, size);

	/* A new page can be written, and a shared page any number of times. */
	gmem_punch(fd, 0, page_size);
	write_all(fd, buf + 8, page_size, 0);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA), *(uint64_t *)(buf + 8));
	gmem_make_shared(fd, 0, size);
	TEST_ASSERT(!memcmp(mem, buf + 8, page_size), "Wrong data");
	write_all(fd, buf, size, 0);
	TEST_ASSERT(!memcmp(mem, buf, size), "Wrong data");
	stop(fd);
	return NULL;
}

/* A private page is added only if all data could be copied. */
static const char *test_private_bad_source(void)
{
	int fd = start(true, GMEM_ALL_FLAGS);
	uint8_t *gap = gmem_anonymous(2 * page_size);

	gmem_make_private(fd, 0, size);
	ASSERT_OK(munmap(gap + page_size, page_size));
	pwrite(fd, gap + page_size - 10, page_size, 0);
	errno = 0;
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	/* Private pages of the file cannot be a source, either. */
	ASSERT_ERRNO(pwrite(fd, mem, page_size, page_size), EFAULT);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	write_all(fd, buf, size, 0);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA), *(uint64_t *)buf);
	ASSERT_OK(munmap(gap, page_size));
	stop(fd);
	return NULL;
}

/* Without MMAP or INIT_SHARED: all pages are private from the beginning. */
static const char *test_never_shared(void)
{
	uint64_t flags[] = { GUEST_MEMFD_FLAG_WRITE,
			     GUEST_MEMFD_FLAG_WRITE | GUEST_MEMFD_FLAG_MMAP };
	int i, fd;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = start(true, flags[i]);
		vm_make_private(vm, GPA, size);
		write_all(fd, buf, size - page_size, 0);
		ASSERT_ERRNO(pwrite(fd, buf, 1, 0), EPERM);
		ASSERT_EQ(gmem_guest_read(vcpu, GPA + page_size),
			  *(uint64_t *)(buf + page_size));
		gmem_guest_write(vcpu, GPA + size - page_size, 1);
		ASSERT_ERRNO(pwrite(fd, buf, 1, size - 1), EPERM);
		stop(fd);
	}
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_any_alignment),
	GMEM_TEST(test_limits),
	GMEM_TEST(test_source),
	GMEM_TEST(test_flag_missing),
	GMEM_TEST(test_private),
	GMEM_TEST(test_private_bad_source),
	GMEM_TEST(test_never_shared),
};

GMEM_TEST_MAIN(gmem_require_protected_vms)
