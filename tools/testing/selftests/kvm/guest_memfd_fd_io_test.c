// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_fd_io_test: I/O other than read() and write()
 *
 * A guest_memfd can only be read through a mapping.  All writes take the same
 * path as write(): they succeed with GUEST_MEMFD_FLAG_WRITE and fail without,
 * even if the kernel does not check first whether the file supports positions.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/loop.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

/* A shared file with pattern 1, with or without GUEST_MEMFD_FLAG_WRITE. */
static int start(bool writable)
{
	return start_filled(writable ? GMEM_ALL_FLAGS : GMEM_SHARED);
}

/* The last reference to the file may be dropped a little later, by a worker. */
static void wait_until_gone(void)
{
	int i;

	for (i = 0; i < 1000 && gmem_vm_stat(vm, "gmem_pages"); i++)
		usleep(10000);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);
}

/* Check that a page of pattern 2 was written to the beginning, or nothing. */
static void stop(int fd, bool written)
{
	errno = 0;
	if (written) {
		assert_host_sees(mem, page_size, 2);
		gmem_fill(mem, size, 1);
	}
	stop_filled(fd, NULL);
	wait_until_gone();
}

/* An ordinary file that begins with a page of pattern 2. */
static int ordinary_file(void)
{
	int fd = ASSERT_OK(open("/tmp", O_TMPFILE | O_RDWR, 0600));
	uint8_t *buf = gmem_anonymous(page_size);

	gmem_fill(buf, page_size, 2);
	ASSERT_EQ(pwrite(fd, buf, page_size, 0), (ssize_t)page_size);
	ASSERT_OK(ftruncate(fd, size));
	ASSERT_OK(munmap(buf, page_size));
	return fd;
}

static void assert_ordinary_file(int fd)
{
	uint8_t *buf = gmem_anonymous(size);

	ASSERT_EQ(pread(fd, buf, size, 0), (ssize_t)size);
	assert_host_sees(buf, page_size, 2);
	TEST_ASSERT(gmem_is_zero(buf + page_size, size - page_size), "Guest data in a file");
	ASSERT_OK(munmap(buf, size));
	close(fd);
}

/* Both directions, with and without positions, and from the file to itself. */
static const char *test_copy_calls(void)
{
	int other = ordinary_file(), writable, fd, p[2];
	loff_t pos, pos2;

	ASSERT_OK(pipe(p));
	for (writable = 0; writable < 2; writable++) {
		fd = start(writable);
		pos = 0;
		pos2 = 0;
		ASSERT_ERRNO(sendfile(other, fd, NULL, page_size), EINVAL);
		ASSERT_ERRNO(sendfile(other, fd, &pos, page_size), ESPIPE);
		ASSERT_ERRNO(sendfile(fd, other, &pos, page_size), EINVAL);
		ASSERT_ERRNO(copy_file_range(fd, &pos, other, &pos2, page_size, 0), EXDEV);
		ASSERT_ERRNO(copy_file_range(other, &pos, fd, &pos2, page_size, 0), EXDEV);
		ASSERT_ERRNO(copy_file_range(fd, &pos, fd, &pos2, page_size, 0), EINVAL);

		ASSERT_EQ(write(p[1], mem, page_size), (ssize_t)page_size);
		ASSERT_ERRNO(splice(fd, NULL, p[1], NULL, page_size, 0), EINVAL);
		ASSERT_ERRNO(splice(p[0], NULL, fd, NULL, page_size, 0), EINVAL);
		ASSERT_ERRNO(tee(p[0], fd, page_size, 0), EINVAL);
		ASSERT_EQ(read(p[0], mem, page_size), (ssize_t)page_size);
		ASSERT_EQ(pos + pos2, 0l);
		stop(fd, false);
	}
	close(p[0]);
	close(p[1]);
	assert_ordinary_file(other);
	return NULL;
}

static const char *test_vectors(void)
{
	uint8_t *buf = gmem_anonymous(page_size);
	struct iovec iov = { buf, page_size };
	int fd = start(false);

	gmem_fill(buf, page_size, 2);
	ASSERT_ERRNO(preadv2(fd, &iov, 1, 0, 0), ESPIPE);
	ASSERT_ERRNO(preadv2(fd, &iov, 1, -1, 0), EINVAL);
	ASSERT_ERRNO(pwritev2(fd, &iov, 1, 0, 0), ESPIPE);
	ASSERT_ERRNO(pwritev2(fd, &iov, 1, -1, 0), EINVAL);
	stop(fd, false);

	fd = start(true);
	ASSERT_ERRNO(preadv2(fd, &iov, 1, 0, 0), ESPIPE);
	ASSERT_ERRNO(pwritev2(fd, &iov, 1, 0, RWF_NOWAIT), EOPNOTSUPP);
	assert_host_sees(mem, size, 1);
	/* There is no end to append to. */
	ASSERT_EQ(pwritev2(fd, &iov, 1, 0, RWF_APPEND | RWF_DSYNC), (ssize_t)page_size);
	stop(fd, true);
	ASSERT_OK(munmap(buf, page_size));
	return NULL;
}

/* Returns the result of one operation; errors are negative errnos. */
static long do_aio(int fd, int op, void *buf)
{
	struct iocb cb = {
		.aio_fildes = fd,
		.aio_lio_opcode = op,
		.aio_buf = (uintptr_t)buf,
		.aio_nbytes = page_size,
	}, *cbs = &cb;
	struct io_event event = {};
	aio_context_t ctx = 0;
	long ret;

	ASSERT_OK(syscall(SYS_io_setup, 1, &ctx));
	ret = syscall(SYS_io_submit, ctx, 1, &cbs);
	if (ret < 0)
		ret = -errno;
	else
		ASSERT_EQ(syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL), 1l);
	ASSERT_OK(syscall(SYS_io_destroy, ctx));
	errno = 0;
	return ret < 0 ? ret : event.res;
}

static const char *test_aio(void)
{
	uint8_t *buf = gmem_anonymous(page_size);
	aio_context_t ctx = 0;
	int fd;

	if (syscall(SYS_io_setup, 1, &ctx)) {
		errno = 0;
		return "no asynchronous I/O";
	}
	ASSERT_OK(syscall(SYS_io_destroy, ctx));
	gmem_fill(buf, page_size, 2);
	fd = start(false);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_PREAD, buf), -EINVAL);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_PWRITE, buf), -EINVAL);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_FSYNC, NULL), -EINVAL);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_POLL, NULL), -EINVAL);
	stop(fd, false);
	fd = start(true);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_PREAD, buf), -EINVAL);
	ASSERT_EQ(do_aio(fd, IOCB_CMD_PWRITE, buf), (long)page_size);
	stop(fd, true);
	ASSERT_OK(munmap(buf, page_size));
	return NULL;
}

static struct {
	int fd;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
} ring;

static void *map_ring(uint64_t offset)
{
	return ASSERT_OK(mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			      offset));
}

/* A ring so small that each part fits into a page. */
static bool open_ring(void)
{
	memset(&ring.params, 0, sizeof(ring.params));
	ring.fd = syscall(__NR_io_uring_setup, 1, &ring.params);
	errno = 0;
	if (ring.fd < 0)
		return false;
	ring.sq = map_ring(IORING_OFF_SQ_RING);
	ring.cq = map_ring(IORING_OFF_CQ_RING);
	ring.sqes = map_ring(IORING_OFF_SQES);
	return true;
}

static void close_ring(void)
{
	ASSERT_OK(munmap(ring.sq, page_size));
	ASSERT_OK(munmap(ring.cq, page_size));
	ASSERT_OK(munmap(ring.sqes, page_size));
	close(ring.fd);
}

static long do_ring(int fd, int op, void *buf, size_t len, uint64_t offset)
{
	uint32_t *tail = (uint32_t *)(ring.sq + ring.params.sq_off.tail);
	uint32_t *head = (uint32_t *)(ring.cq + ring.params.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(ring.cq + ring.params.cq_off.cqes);
	uint32_t slot;

	*ring.sqes = (struct io_uring_sqe) {
		.opcode = op,
		.fd = fd,
		.addr = (uintptr_t)buf,
		.len = len,
		.off = offset,
	};
	((uint32_t *)(ring.sq + ring.params.sq_off.array))[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ASSERT_EQ(syscall(__NR_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0),
		  1l);
	slot = *head & *(uint32_t *)(ring.cq + ring.params.cq_off.ring_mask);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return cqes[slot].res;
}

/* io_uring passes a position although the file takes none. */
static const char *test_io_uring(void)
{
	uint8_t *buf = gmem_anonymous(page_size);
	struct iovec iov = { buf, page_size };
	int fd, writable;

	if (!open_ring())
		return "no io_uring";

	gmem_fill(buf, page_size, 2);
	ASSERT_OK(syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1));
	for (writable = 0; writable < 2; writable++) {
		long want = writable ? page_size : -EINVAL;

		fd = start(writable);
		ASSERT_EQ(do_ring(fd, IORING_OP_READ, buf, page_size, 0), -EINVAL);
		ASSERT_EQ(do_ring(fd, IORING_OP_READV, &iov, 1, 0), -EINVAL);
		ASSERT_EQ(do_ring(fd, IORING_OP_READ_FIXED, buf, page_size, 0), -EINVAL);
		ASSERT_EQ(do_ring(fd, IORING_OP_FSYNC, NULL, 0, 0), -EINVAL);
		ASSERT_EQ(do_ring(fd, IORING_OP_WRITE, buf, page_size, size), -EINVAL);
		assert_host_sees(buf, page_size, 2);
		assert_host_sees(mem, size, 1);
		ASSERT_EQ(do_ring(fd, IORING_OP_WRITE, buf, page_size, 0), want);
		memset(mem, 0, writable ? page_size : 0);
		ASSERT_EQ(do_ring(fd, IORING_OP_WRITEV, &iov, 1, 0), want);
		memset(mem, 0, writable ? page_size : 0);
		ASSERT_EQ(do_ring(fd, IORING_OP_WRITE_FIXED, buf, page_size, 0), want);
		stop(fd, writable);
	}
	close_ring();
	ASSERT_OK(munmap(buf, page_size));
	return NULL;
}

/* A file registered with io_uring survives close(), which VMMs may overlook. */
static const char *test_io_uring_keeps_file(void)
{
	int fd;

	if (!open_ring())
		return "no io_uring";
	fd = start(false);
	ASSERT_OK(syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_FILES, &fd, 1));
	stop_filled(fd, NULL);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), (uint64_t)NR_PAGES);
	ASSERT_OK(syscall(__NR_io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 0));
	close_ring();
	wait_until_gone();
	return NULL;
}

/* A loop device on guest memory can be written like the file, but not read. */
static void use_loop(int loop, bool writable)
{
	uint8_t *buf = gmem_anonymous(page_size);

	gmem_fill(buf, page_size, 2);
	ASSERT_ERRNO(pread(loop, buf, page_size, page_size), EIO);
	assert_host_sees(buf, page_size, 2);
	/* This writes to the page cache of the device; fsync() may fail. */
	ASSERT_EQ(pwrite(loop, buf, page_size, 0), (ssize_t)page_size);
	fsync(loop);
	errno = 0;
	assert_host_sees(mem, page_size, writable ? 2 : 1);
	ASSERT_OK(munmap(buf, page_size));
}

/* The kernel may refuse to attach a file that cannot be read. */
static const char *test_loop(void)
{
	struct loop_config config = { };
	bool attached, writable;
	int loop, fd, way;

	for (way = 0; way < 4; way++) {
		writable = way % 2;
		if (!gmem_free_loop(&loop))
			return "no loop devices";
		fd = start(writable);
		config.fd = fd;
		attached = !(way < 2 ? ioctl(loop, LOOP_SET_FD, fd) :
				       ioctl(loop, LOOP_CONFIGURE, &config));
		if (attached) {
			use_loop(loop, writable);
			ASSERT_OK(ioctl(loop, LOOP_CLR_FD));
		}
		close(loop);
		stop(fd, attached && writable);
	}
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_copy_calls),
	GMEM_TEST(test_vectors),
	GMEM_TEST(test_aio),
	GMEM_TEST(test_io_uring),
	GMEM_TEST(test_io_uring_keeps_file),
	GMEM_TEST(test_loop),
};

GMEM_TEST_MAIN(init_barebones)
