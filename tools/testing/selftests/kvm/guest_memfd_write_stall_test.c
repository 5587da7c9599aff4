// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_write_stall_test: pwrite() from a slow source
 *
 * Pages of the source may arrive late or never, if userfaultfd handles them or
 * if copies fail.  Only the writer waits or gives up: guest and host can use
 * the file meanwhile, including the pages that are being written.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "guest_memfd_private.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static uint8_t *buf;

static int start(bool protected)
{
	buf = gmem_anonymous(size);
	gmem_fill(buf, size, 9);
	return start_vm_with_slot(protected, GMEM_ALL_FLAGS);
}

static void stop(int fd)
{
	stop_vm(fd);
	ASSERT_OK(munmap(buf, size));
}

/* A source whose pages are provided one by one by the test, and its reader. */
static struct {
	uint8_t *addr;
	int uffd;
	int fd;
	pthread_t thread;
} slow;

/* Timeout, in seconds, of operations that must not wait for the source. */
#define PATIENCE	20

static const char no_userfaultfd[] = "no userfaultfd for faults of the kernel";

static void *slow_writer(void *arg)
{
	return (void *)pwrite(slow.fd, slow.addr, 2 * page_size, 0);
}

/* Start a thread that writes two pages; returns false without userfaultfd. */
static bool start_slow_writer(int fd)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	slow.fd = fd;
	slow.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	errno = 0;
	if (slow.uffd < 0)
		return false;
	slow.addr = gmem_anonymous(size);
	reg.range.start = (uintptr_t)slow.addr;
	reg.range.len = size;
	ASSERT_OK(ioctl(slow.uffd, UFFDIO_API, &api));
	ASSERT_OK(ioctl(slow.uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(pthread_create(&slow.thread, NULL, slow_writer, NULL), 0);
	return true;
}

/* Returns the result of pwrite(). */
static long end_slow_writer(void)
{
	void *written;

	ASSERT_EQ(pthread_join(slow.thread, &written), 0);
	close(slow.uffd);
	ASSERT_OK(munmap(slow.addr, size));
	return (long)written;
}

/* Wait until the writer faults on the page. */
static void wait_for_reader(size_t page)
{
	struct pollfd pollfd = { .fd = slow.uffd, .events = POLLIN };
	struct uffd_msg msg;

	ASSERT_EQ(poll(&pollfd, 1, PATIENCE * 1000), 1);
	ASSERT_EQ(read(slow.uffd, &msg, sizeof(msg)), (ssize_t)sizeof(msg));
	ASSERT_EQ((uint64_t)msg.arg.pagefault.address & ~(page_size - 1),
		  (uint64_t)(slow.addr + page * page_size));
}

static void give_page(size_t page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)slow.addr + page * page_size,
		.src = (uintptr_t)buf + page * page_size,
		.len = page_size,
	};

	ASSERT_OK(ioctl(slow.uffd, UFFDIO_COPY, &copy));
}

/* Use the file in all ways, the pages being written in particular. */
static void use_file(int fd, bool protected)
{
	/* Any operation that waits for the source would wait forever. */
	alarm(PATIENCE);
	gmem_punch(fd, 0, size);
	gmem_fill(mem, size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	gmem_punch(fd, 0, 2 * page_size);
	gmem_guest_fill(vcpu, GPA, size, 2);
	assert_host_sees(mem, size, 2);
	if (protected) {
		gmem_make_private(fd, 0, size);
		gmem_guest_fill(vcpu, GPA, size, 3);
		vm_make_shared(vm, GPA, size);
		assert_host_sees(mem, size, 3);
	}
	gmem_punch(fd, 0, size);
	gmem_fallocate(fd, 0, size);
	ASSERT_EQ(pwrite(fd, buf, size, 0), (ssize_t)size);
	delete_slot();
	set_slot(SLOT, GPA, fd, 0, size);
	gmem_punch(fd, 0, size);
	alarm(0);
}

static const char *slow_source(bool protected)
{
	int fd = start(protected), page;

	if (!start_slow_writer(fd)) {
		stop(fd);
		return no_userfaultfd;
	}
	for (page = 0; page < 2; page++) {
		wait_for_reader(page);
		use_file(fd, protected);
		give_page(page);
	}
	ASSERT_EQ(end_slow_writer(), (long)(2 * page_size));
	/* The first page was punched while the second one was awaited. */
	TEST_ASSERT(gmem_is_zero(mem, page_size), "The hole is not zero");
	TEST_ASSERT(!memcmp(mem + page_size, buf + page_size, page_size), "Wrong data");
	stop(fd);
	return NULL;
}

static const char *test_slow_source(void)
{
	return slow_source(false);
}

static const char *test_slow_source_protected(void)
{
	return slow_source(true);
}

/* Convert the page and let the guest use it before the source arrives. */
static const char *test_slow_source_too_late(void)
{
	int fd = start(true);

	if (!start_slow_writer(fd)) {
		stop(fd);
		return no_userfaultfd;
	}
	wait_for_reader(0);
	alarm(PATIENCE);
	gmem_make_private(fd, 0, size);
	gmem_guest_write(vcpu, GPA, 1234);
	alarm(0);
	give_page(0);
	ASSERT_EQ(end_slow_writer(), -1l);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA), 1234ul);
	ASSERT_EQ(gmem_allocated(fd), page_size);
	stop(fd);
	return NULL;
}

/* A process that waits for its source. */
static void child_stalls(void *arg)
{
	/* If others are blocked by this process, its end unblocks them. */
	alarm(PATIENCE);
	if (!start_slow_writer(*(int *)arg))
		return;
	wait_for_reader(0);
	gmem_child_waits();
}

static const char *test_stalled_writer_is_killed(void)
{
	int fd = start(true);
	pid_t pid = gmem_start_child(child_stalls, &fd);

	if (pid) {
		use_file(fd, true);
		alarm(PATIENCE);
		gmem_kill_child(pid);
		alarm(0);
		ASSERT_EQ(gmem_allocated(fd), 0ul);
		use_file(fd, true);
	}
	stop(fd);
	return pid ? NULL : no_userfaultfd;
}

#define FAIL_USERCOPY	"/sys/kernel/debug/fail_usercopy/"

/* Run in a child, in which copies from user space fail from here on. */
static void child_cannot_copy(void *arg)
{
	int fd = *(int *)arg, err = 0;

	alarm(PATIENCE);
	ASSERT_EQ(gmem_write_file("/proc/self/make-it-fail", "1"), 0);
	if (pwrite(fd, buf, page_size, 0) != -1 || errno != EFAULT)
		err |= 1;
	if (pwrite(fd, buf, 100, page_size + 100) != -1 || errno != EFAULT)
		err |= 2;
	_exit(err);
}

/* The source is present, but cannot be copied: the write gives up. */
static const char *test_source_cannot_be_copied(void)
{
	static const char * const settings[][2] = {
		{ "task-filter", "Y" }, { "interval", "1" }, { "times", "-1" },
		{ "space", "0" }, { "verbose", "0" }, { "probability", "100" },
	};
	char path[96];
	int fd, i;

	if (gmem_write_file(FAIL_USERCOPY "probability", "0"))
		return "no " FAIL_USERCOPY;
	fd = start(true);
	gmem_fill(mem, size, 1);
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(path, sizeof(path), FAIL_USERCOPY "%s", settings[i][0]);
		ASSERT_EQ(gmem_write_file(path, settings[i][1]), 0);
	}
	gmem_in_child(child_cannot_copy, &fd);
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, size);
	gmem_make_private(fd, 0, size);
	gmem_in_child(child_cannot_copy, &fd);
	ASSERT_EQ(gmem_write_file(FAIL_USERCOPY "probability", "0"), 0);
	/* A page with half of the data must not stay in the file. */
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	stop(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_slow_source),
	GMEM_TEST_PROTECTED(test_slow_source_protected),
	GMEM_TEST_PROTECTED(test_slow_source_too_late),
	GMEM_TEST_PROTECTED(test_stalled_writer_is_killed),
	GMEM_TEST_PROTECTED(test_source_cannot_be_copied),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_WRITE,
		       "the kernel has no flag WRITE");
}

GMEM_TEST_MAIN(init)
