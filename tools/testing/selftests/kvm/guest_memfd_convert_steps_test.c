// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_convert_steps_test: conversions in several steps
 *
 * KVM converts a large range in steps, but it is one conversion for user space:
 * if a page in the last step is in use, the first steps are undone, and pages
 * that were private before stay private.  A task that is killed while it
 * converts dies promptly; it leaves the range private, shared, or shared up to
 * some page and private from there on.
 *
 * Timeout: 90
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "guest_memfd_private.h"

#define NR_PAGES	(160 * SZ_1M / getpagesize())
#include "guest_memfd_fixture.h"

/* Private from the beginning: in the first, second and last step. */
static const uint64_t islands[] = { SZ_1M, 65 * SZ_1M, 66 * SZ_1M, 159 * SZ_1M };

#define NR_ISLANDS	ARRAY_SIZE(islands)
#define NR_KILLS	8
#define CHECKED		(64ul * SZ_1M - page_size)

static int fd;

/* The guest uses two pages; page tables for all would not fit in its memory. */
static void start_plain(void)
{
	vm = gmem_create_vm(true, 1, gmem_guest_code, &vcpu);
	gmem_guest_map(vm, GPA + CHECKED, page_size);
	gmem_guest_map(vm, GPA + size - page_size, page_size);
	gmem_guest_start(vcpu);
	fd = new_slot(GMEM_SHARED);
	gmem_fallocate(fd, 0, size);
}

static void start(void)
{
	int i;

	start_plain();
	for (i = 0; i < NR_ISLANDS; i++)
		gmem_make_private(fd, islands[i], 2 * page_size);
}

static const char *stop(void)
{
	stop_vm(fd);
	return NULL;
}

static bool is_private(uint64_t offset)
{
	return !gmem_try_read(mem + offset, NULL);
}

/* Only the islands are private. */
static void assert_islands(void)
{
	int i;

	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), NR_ISLANDS * 2 * page_size);
	for (i = 0; i < NR_ISLANDS; i++) {
		TEST_ASSERT(!is_private(islands[i] - page_size) && is_private(islands[i]) &&
			    is_private(islands[i] + page_size) &&
			    !is_private(islands[i] + 2 * page_size), "Island %d", i);
	}
}

/* Hold a reference to a page in a pipe. */
static void hold_page(uint64_t offset, int fds[2])
{
	struct iovec iov = { mem + offset, page_size };

	ASSERT_OK(pipe(fds));
	ASSERT_EQ(vmsplice(fds[1], &iov, 1, 0), (ssize_t)page_size);
}

static void drop_page(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static const char *test_undo(void)
{
	uint64_t busy = 150 * SZ_1M, error;
	int fds[2];

	start();
	gmem_fill(mem + CHECKED, page_size, 1);
	hold_page(busy, fds);

	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, KVM_MEMORY_ATTRIBUTE_PRIVATE, &error),
		     EAGAIN);
	ASSERT_EQ(error, busy);
	assert_islands();
	ASSERT_ERRNO(__vm_make_private(vm, GPA, size), EAGAIN);
	assert_islands();
	ASSERT_EQ(gmem_allocated(fd), size);
	assert_host_sees(mem + CHECKED, page_size, 1);

	drop_page(fds);
	vm_make_private(vm, GPA, size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), size);
	assert_guest_sees(vcpu, GPA + CHECKED, page_size, 1);
	vm_make_shared(vm, GPA, size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), 0ul);
	return stop();
}

/* Two slots: undoing the first one takes several steps as well. */
static const char *test_undo_slots(void)
{
	uint64_t flags = KVM_MEM_GUEST_MEMFD;
	int other, fds[2];
	uint8_t *page;

	start();
	other = vm_create_guest_memfd(vm, page_size, GMEM_SHARED);
	page = gmem_mmap(other, 0, page_size);
	vm_set_user_memory_region2(vm, SLOT + 1, flags, GPA + size, page_size, page, other, 0);
	*page = 1;
	ASSERT_OK(pipe(fds));
	ASSERT_EQ(vmsplice(fds[1], &(struct iovec) { page, page_size }, 1, 0),
		  (ssize_t)page_size);

	ASSERT_ERRNO(__vm_make_private(vm, GPA, size + page_size), EAGAIN);
	assert_islands();
	drop_page(fds);
	vm_make_private(vm, GPA, size + page_size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), size);
	ASSERT_OK(munmap(page, page_size));
	close(other);
	return stop();
}

/* Run in a child: convert the file back and forth. */
static void convert_for_ever(void)
{
	for (;;) {
		gmem_make_private(fd, 0, size);
		gmem_make_shared(fd, 0, size);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static const char *test_kill(void)
{
	uint64_t private, begins;
	int i, status;
	double begin;
	pid_t pid;

	start_plain();
	for (i = 0; i < NR_KILLS; i++) {
		pid = ASSERT_OK(fork());
		if (!pid)
			convert_for_ever();
		usleep(50000 + 37000 * i);
		begin = now();
		kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(WIFSIGNALED(status), "Status 0x%x", status);
		TEST_ASSERT(now() - begin < 30, "It took %.1f s to die", now() - begin);

		/* The range is private, shared, or shared up to some page. */
		private = gmem_fdinfo(fd, "gmem-private");
		begins = size - private;
		TEST_ASSERT(!private || (is_private(begins) &&
					 (!begins || !is_private(begins - page_size))),
			    "0x%lx bytes are private", private);
	}
	gmem_make_private(fd, 0, size);
	gmem_make_shared(fd, 0, size);
	gmem_guest_write(vcpu, GPA + size - page_size, 1);
	return stop();
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_undo),
	GMEM_TEST(test_undo_slots),
	GMEM_TEST(test_kill),
};

GMEM_TEST_MAIN(gmem_require_protected_vms)
