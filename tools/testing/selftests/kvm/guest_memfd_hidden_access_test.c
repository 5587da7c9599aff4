// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_access_test: I/O and debugging
 *
 * With GUEST_MEMFD_FLAG_NO_DIRECT_MAP, no reference to a page can be taken
 * through a mapping: operations that need one fail with a defined errno and
 * change nothing.  Operations that copy through the mapping work.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/loop.h>
#include <netinet/in.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/io_uring.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static int fd;

/* A child that has the memory mapped and stops to be traced. */
static pid_t stopped_child(void)
{
	pid_t pid = ASSERT_OK(fork());
	int status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		assert_host_sees(mem, size, 1);
		raise(SIGSTOP);
		assert_host_sees(mem, size, 1);
		_exit(0);
	}
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFSTOPPED(status), "Child failed, wait status 0x%x", status);
	return pid;
}

static void end_child(pid_t pid)
{
	int status;

	ASSERT_OK(ptrace(PTRACE_CONT, pid, 0, 0));
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "Child failed, wait status 0x%x", status);
}

static const char *test_ptrace(void)
{
	pid_t pid;

	fd = start_hidden();
	pid = stopped_child();
	ASSERT_ERRNO(ptrace(PTRACE_PEEKDATA, pid, mem, 0), EIO);
	ASSERT_ERRNO(ptrace(PTRACE_POKEDATA, pid, mem, 0), EIO);
	end_child(pid);
	return stop_filled(fd, NULL);
}

static const char *test_proc_mem(void)
{
	uint8_t *buf = gmem_anonymous(page_size);
	char path[64];
	pid_t pid;
	int file;

	fd = start_hidden();
	pid = stopped_child();
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	file = ASSERT_OK(open(path, O_RDWR));
	ASSERT_ERRNO(pread(file, buf, page_size, (uintptr_t)mem), EIO);
	ASSERT_ERRNO(pwrite(file, buf, page_size, (uintptr_t)mem), EIO);
	TEST_ASSERT(gmem_is_zero(buf, page_size), "Data from a failed read");
	close(file);
	end_child(pid);
	ASSERT_OK(munmap(buf, page_size));
	return stop_filled(fd, NULL);
}

static const char *test_process_vm(void)
{
	uint8_t *buf = gmem_anonymous(size);
	struct iovec local = { buf, size }, remote;

	fd = start_hidden();
	remote = (struct iovec){ mem, size };
	ASSERT_ERRNO(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), EFAULT);
	ASSERT_ERRNO(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), EFAULT);
	TEST_ASSERT(gmem_is_zero(buf, size), "Data from a failed read");

	/* The local side is accessed by ordinary copies, which work. */
	gmem_fill(buf, size, 1);
	ASSERT_EQ(process_vm_readv(getpid(), &remote, 1, &local, 1, 0), (ssize_t)size);
	assert_host_sees(mem, size, 1);
	memset(buf, 0, size);
	ASSERT_EQ(process_vm_writev(getpid(), &remote, 1, &local, 1, 0), (ssize_t)size);
	assert_host_sees(buf, size, 1);
	ASSERT_OK(munmap(buf, size));
	return stop_filled(fd, NULL);
}

static const char *test_direct_io(void)
{
	int backing = ASSERT_OK(open("/tmp", O_TMPFILE | O_RDWR, 0600)), loop, direct;
	uint8_t *buf = gmem_anonymous(size);
	const char *name;

	ASSERT_OK(ftruncate(backing, 2 * size));
	name = gmem_free_loop(&loop);
	if (!name) {
		close(backing);
		ASSERT_OK(munmap(buf, size));
		return "no loop devices";
	}

	fd = start_hidden();
	ASSERT_OK(ioctl(loop, LOOP_SET_FD, backing));
	direct = ASSERT_OK(open(name, O_RDWR | O_DIRECT));
	ASSERT_ERRNO(pwrite(direct, mem, size, 0), EFAULT);
	ASSERT_EQ(pread(direct, buf, size, 0), (ssize_t)size);
	TEST_ASSERT(gmem_is_zero(buf, size), "A failed write wrote");
	ASSERT_ERRNO(pread(direct, mem, size, 0), EFAULT);
	assert_host_sees(mem, size, 1);
	close(direct);

	/* Buffered I/O needs no page reference. */
	ASSERT_EQ(pwrite(loop, mem, size, 0), (ssize_t)size);
	ASSERT_EQ(pread(loop, buf, size, 0), (ssize_t)size);
	assert_host_sees(buf, size, 1);
	memset(mem, 0, size);
	ASSERT_EQ(pread(loop, mem, size, 0), (ssize_t)size);
	ASSERT_OK(ioctl(loop, LOOP_CLR_FD));
	close(loop);
	close(backing);
	ASSERT_OK(munmap(buf, size));
	return stop_filled(fd, NULL);
}

static const char *test_pipes(void)
{
	uint8_t *buf = gmem_anonymous(size);
	struct iovec iov;
	int p[2], null;

	fd = start_hidden();
	ASSERT_OK(pipe(p));
	iov = (struct iovec){ mem, size };
	ASSERT_ERRNO(vmsplice(p[1], &iov, 1, 0), EFAULT);
	ASSERT_ERRNO(vmsplice(p[1], &iov, 1, SPLICE_F_GIFT), EFAULT);
	/* Nor can pages be spliced from the file. */
	ASSERT_ERRNO(splice(fd, NULL, p[1], NULL, size, 0), EINVAL);

	ASSERT_EQ(write(p[1], mem, size), (ssize_t)size);
	ASSERT_EQ(read(p[0], buf, size), (ssize_t)size);
	assert_host_sees(buf, size, 1);
	memset(mem, 0, size);
	ASSERT_EQ(write(p[1], buf, size), (ssize_t)size);
	ASSERT_EQ(read(p[0], mem, size), (ssize_t)size);
	assert_host_sees(mem, size, 1);

	/* From a pipe to memory, vmsplice() copies. */
	memset(mem, 0, page_size);
	ASSERT_EQ(write(p[1], buf, page_size), (ssize_t)page_size);
	iov.iov_len = page_size;
	ASSERT_EQ(vmsplice(p[0], &iov, 1, 0), (ssize_t)page_size);
	assert_host_sees(mem, page_size, 1);
	ASSERT_EQ(write(p[1], mem, page_size), (ssize_t)page_size);
	null = ASSERT_OK(open("/dev/null", O_WRONLY));
	ASSERT_EQ(splice(p[0], NULL, null, NULL, page_size, 0), (ssize_t)page_size);
	close(null);
	close(p[0]);
	close(p[1]);
	ASSERT_OK(munmap(buf, size));
	return stop_filled(fd, NULL);
}

static const char *test_io_uring(void)
{
	struct io_uring_params params = { };
	int ring = syscall(__NR_io_uring_setup, 4, &params);
	struct iovec iov;

	if (ring < 0) {
		errno = 0;
		return "no io_uring";
	}
	fd = start_hidden();
	iov = (struct iovec){ mem, size };
	ASSERT_ERRNO(syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1),
		     EFAULT);
	close(ring);
	return stop_filled(fd, NULL);
}

static const char *test_zerocopy_send(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iovlen = 1 };
	int sock = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct iovec iov;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(9);
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on))) {
		errno = 0;
		return "no sockets with SO_ZEROCOPY";
	}
	/* Without a working loopback device, the test would prove nothing. */
	iov = (struct iovec){ &to, sizeof(to) };
	msg.msg_iov = &iov;
	if (sendmsg(sock, &msg, 0) < 0) {
		errno = 0;
		close(sock);
		return "no loopback network";
	}
	fd = start_hidden();
	iov = (struct iovec){ mem, page_size / 2 };
	ASSERT_ERRNO(sendmsg(sock, &msg, MSG_ZEROCOPY), EFAULT);
	close(sock);
	return stop_filled(fd, NULL);
}

static long do_futex(int op, uint32_t val)
{
	struct timespec timeout = { .tv_nsec = 1000000 };

	return syscall(SYS_futex, mem, op, val, &timeout, NULL, 0);
}

/* A shared futex is keyed by its page, a private one by its address. */
static const char *test_futex(void)
{
	uint32_t val;

	fd = start_hidden();
	val = *(uint32_t *)mem;
	ASSERT_ERRNO(do_futex(FUTEX_WAIT, val), EFAULT);
	ASSERT_ERRNO(do_futex(FUTEX_WAKE, 1), EFAULT);
	ASSERT_ERRNO(do_futex(FUTEX_LOCK_PI, 0), EFAULT);
	ASSERT_ERRNO(do_futex(FUTEX_WAIT_PRIVATE, val), ETIMEDOUT);
	ASSERT_ERRNO(do_futex(FUTEX_WAIT_PRIVATE, val + 1), EAGAIN);
	ASSERT_EQ(do_futex(FUTEX_WAKE_PRIVATE, 1), 0l);
	return stop_filled(fd, NULL);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_ptrace),
	GMEM_TEST(test_proc_mem),
	GMEM_TEST(test_process_vm),
	GMEM_TEST(test_direct_io),
	GMEM_TEST(test_pipes),
	GMEM_TEST(test_io_uring),
	GMEM_TEST(test_zerocopy_send),
	GMEM_TEST(test_futex),
};

static void init(void)
{
	gmem_require_no_direct_map();
	init_barebones();
}

GMEM_TEST_MAIN(init)
