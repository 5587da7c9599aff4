// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_reference_test: references to pages that become private
 *
 * For every way in which a process can reference a shared page: the reference
 * either prevents the conversion, or gives no access afterwards.  After a
 * successful conversion only the guest can read or write the page.
 *
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/io_uring.h>

#include "guest_memfd_private.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

static int start(void)
{
	int fd = start_vm_with_slot(true, GMEM_SHARED);

	gmem_fill(mem, size, 1);
	return fd;
}

static void stop(int fd)
{
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(fd);
}

/* Page @page is in use: no range that contains it can be converted. */
static void assert_in_use(int fd, uint64_t page)
{
	uint64_t error;

	ASSERT_ERRNO(__gmem_set_attributes(fd, 0, size, KVM_MEMORY_ATTRIBUTE_PRIVATE,
					   &error), EAGAIN);
	ASSERT_EQ(error, page * page_size);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, size), EAGAIN);
	assert_host_sees(mem, size, 1);
}

static void assert_unused(int fd)
{
	gmem_make_private(fd, 0, size);
	gmem_assert_no_access(mem, size);
}

static const char *test_vmsplice(void)
{
	struct iovec iov = { NULL, page_size };
	uint8_t *buf = gmem_anonymous(page_size);
	int fd = start(), fds[2];

	iov.iov_base = mem + 2 * page_size;
	ASSERT_OK(pipe(fds));
	ASSERT_EQ(vmsplice(fds[1], &iov, 1, 0), (ssize_t)page_size);
	assert_in_use(fd, 2);
	ASSERT_EQ(read(fds[0], buf, page_size), (ssize_t)page_size);
	assert_unused(fd);

	/* Private pages cannot be added to a pipe. */
	ASSERT_ERRNO(vmsplice(fds[1], &iov, 1, 0), EFAULT);
	close(fds[0]);
	close(fds[1]);
	ASSERT_OK(munmap(buf, page_size));
	stop(fd);
	return NULL;
}

/* A registered buffer is pinned for as long as it is registered. */
static const char *test_io_uring(void)
{
	struct io_uring_params params = { };
	struct iovec iov = { NULL, 2 * page_size };
	int ring, fd;

	ring = syscall(__NR_io_uring_setup, 4, &params);
	if (ring < 0)
		return "no io_uring";

	fd = start();
	iov.iov_base = mem + 3 * page_size;
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)) {
		/* Refusing long-term pins of file pages is safe as well. */
		TEST_ASSERT(errno == EOPNOTSUPP || errno == EFAULT,
			    "Cannot register a buffer, errno %d", errno);
		errno = 0;
	} else {
		assert_in_use(fd, 3);
		ASSERT_OK(syscall(__NR_io_uring_register, ring,
				  IORING_UNREGISTER_BUFFERS, NULL, 0));
	}
	assert_unused(fd);
	ASSERT_ERRNO(syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS,
			     &iov, 1), EFAULT);
	close(ring);
	stop(fd);
	return NULL;
}

/* O_DIRECT I/O in flight is hard to arrange; to private pages it must fail. */
static const char *test_direct_io(void)
{
	int fd = start(), file, plain = ASSERT_OK(open("/proc/self/exe", O_RDONLY));
	uint8_t *buf = gmem_anonymous(page_size);

	ASSERT_EQ(pread(plain, buf, page_size, 0), (ssize_t)page_size);
	file = open("/proc/self/exe", O_RDONLY | O_DIRECT);
	errno = 0;
	if (file < 0)
		ksft_print_msg("no O_DIRECT here, only buffered I/O\n");
	else
		ASSERT_EQ(dup2(file, plain), plain);
	ASSERT_EQ(pread(plain, mem, page_size, 0), (ssize_t)page_size);
	ASSERT_EQ(memcmp(mem, buf, page_size), 0);
	gmem_fill(mem, page_size, 1);
	assert_unused(fd);
	ASSERT_ERRNO(pread(plain, mem, page_size, 0), EFAULT);
	if (file >= 0)
		close(file);
	close(plain);
	ASSERT_OK(munmap(buf, page_size));
	stop(fd);
	return NULL;
}

/* Let the child do its next step, and wait until it is done. */
static void child_step(int sock)
{
	char c = 0;

	ASSERT_EQ(write(sock, &c, 1), 1l);
	ASSERT_EQ(read(sock, &c, 1), 1l);
}

static void child_wait(int sock, bool done)
{
	char c = 0;

	if (done)
		ASSERT_EQ(write(sock, &c, 1), 1l);
	if (read(sock, &c, 1) != 1)
		_exit(0);
}

/* Start @child with a socket to the parent; returns the parent's end. */
static int start_child(void (*child)(int sock), pid_t *pid)
{
	int socks[2];

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	*pid = ASSERT_OK(fork());
	if (!*pid) {
		close(socks[0]);
		child(socks[1]);
		_exit(0);
	}
	close(socks[1]);
	return socks[0];
}

static void end_child(int sock, pid_t pid)
{
	int status;

	close(sock);
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "Child failed, wait status 0x%x", status);
}

static uint8_t *child_mem;
static int child_fd;

/* The child has touched its mapping, and must lose access by the conversion. */
static void child_loses_memory(int sock)
{
	if (!child_mem)
		child_mem = gmem_mmap(child_fd, 0, size);
	child_wait(sock, false);
	assert_host_sees(child_mem, size, 1);
	child_wait(sock, true);
	gmem_assert_no_access(child_mem, size);
	child_wait(sock, true);
	assert_host_sees(child_mem, size, 1);
	child_wait(sock, true);
}

static void run_child_loses_memory(int fd)
{
	pid_t pid;
	int sock;

	sock = start_child(child_loses_memory, &pid);
	child_step(sock);
	assert_unused(fd);
	child_step(sock);
	gmem_make_shared(fd, 0, size);
	child_step(sock);
	assert_host_sees(mem, size, 1);
	end_child(sock, pid);
}

static const char *test_fork(void)
{
	int fd = start();

	child_mem = mem;
	run_child_loses_memory(fd);
	stop(fd);
	return NULL;
}

static const char *test_second_process(void)
{
	int fd = start();

	child_mem = NULL;
	child_fd = fd;
	run_child_loses_memory(fd);
	stop(fd);
	return NULL;
}

/* A second mapping, also inherited by another process. */
static const char *test_second_mapping(void)
{
	int fd = start();

	child_mem = gmem_mmap(fd, 0, size);
	assert_host_sees(child_mem, size, 1);
	run_child_loses_memory(fd);
	ASSERT_OK(mprotect(child_mem, size, PROT_READ));
	TEST_ASSERT(gmem_try_read(child_mem, NULL), "Cannot read shared memory");
	gmem_make_private(fd, 0, size);
	TEST_ASSERT(!gmem_try_read(child_mem, NULL), "Can read private memory");
	ASSERT_OK(munmap(child_mem, size));
	stop(fd);
	return NULL;
}

/* Access the mapping of process @pid from another process. */
static int foreign_access(pid_t pid, bool write, void *buf)
{
	struct iovec local = { buf, 64 }, remote = { mem, 64 };
	ssize_t ret;

	if (write)
		ret = process_vm_writev(pid, &local, 1, &remote, 1, 0);
	else
		ret = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	return ret == 64 ? 0 : errno;
}

static void child_uses_parent(int sock)
{
	uint8_t buf[64];
	char path[32];
	int file;

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	file = ASSERT_OK(open(path, O_RDWR));
	child_wait(sock, false);
	ASSERT_EQ(foreign_access(getppid(), false, buf), 0);
	ASSERT_EQ(foreign_access(getppid(), true, buf), 0);
	ASSERT_EQ(pread(file, buf, sizeof(buf), (uintptr_t)mem), (ssize_t)sizeof(buf));
	child_wait(sock, true);
	ASSERT_EQ(foreign_access(getppid(), false, buf), EFAULT);
	ASSERT_EQ(foreign_access(getppid(), true, buf), EFAULT);
	errno = 0;
	ASSERT_EQ(pread(file, buf, sizeof(buf), (uintptr_t)mem), -1l);
	ASSERT_EQ(pwrite(file, buf, sizeof(buf), (uintptr_t)mem), -1l);
	errno = 0;
	child_wait(sock, true);
}

static const char *test_process_vm(void)
{
	int fd = start(), sock;
	pid_t pid;

	sock = start_child(child_uses_parent, &pid);
	child_step(sock);
	assert_unused(fd);
	child_step(sock);
	end_child(sock, pid);
	stop(fd);
	return NULL;
}

static bool stop_thread;

static void *touch_thread(void *arg)
{
	unsigned long *touched = arg;
	uint64_t page;

	while (!READ_ONCE(stop_thread)) {
		for (page = 0; page < NR_PAGES; page++)
			*touched += gmem_try_read(mem + page * page_size, NULL);
	}
	errno = 0;
	return NULL;
}

/* Faults wait for a conversion, and rarely make it fail. */
static const char *test_touch(void)
{
	int fd = start(), i, total = 0;
	unsigned long touched = 0;
	pthread_t thread;

	stop_thread = false;
	pthread_create(&thread, NULL, touch_thread, &touched);
	for (i = 0; i < 50; i++) {
		while (__gmem_make_private(fd, 0, size)) {
			total++;
			TEST_ASSERT(errno == EAGAIN && total <= 10,
				    "errno %d, EAGAIN %d times", errno, total);
		}
		gmem_make_shared(fd, 0, size);
		usleep(1000);
	}
	WRITE_ONCE(stop_thread, true);
	pthread_join(thread, NULL);
	ksft_print_msg("%lu pages touched, EAGAIN %d times\n", touched, total);
	stop(fd);
	return NULL;
}

static void *copy_thread(void *arg)
{
	unsigned long *copied = arg;
	struct iovec local, remote = { mem, size };
	ssize_t ret;

	local.iov_base = gmem_anonymous(size);
	local.iov_len = size;
	while (!READ_ONCE(stop_thread)) {
		ret = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		*copied += ret > 0;
	}
	errno = 0;
	return NULL;
}

/*
 * Transient references do not prevent a conversion for long, if the caller pauses
 * before the next attempt: to copy a block, the thread references one page after the
 * other, and each attempt makes it fault again.
 */
static const char *test_transient(void)
{
	/* The copy of a whole block takes long. */
	int rounds = size > NR_PAGES * page_size ? 10 : 50;
	int fd = start(), i, tries, total = 0;
	unsigned long copied = 0;
	pthread_t thread;

	stop_thread = false;
	pthread_create(&thread, NULL, copy_thread, &copied);
	for (i = 0; i < rounds; i++) {
		for (tries = 0; __gmem_make_private(fd, 0, size); tries++) {
			TEST_ASSERT(errno == EAGAIN && tries < 100,
				    "errno %d after %d tries", errno, tries);
			usleep(10000);
		}
		total += tries;
		gmem_assert_no_access(mem, size);
		gmem_make_shared(fd, 0, size);
	}
	WRITE_ONCE(stop_thread, true);
	pthread_join(thread, NULL);
	ksft_print_msg("%lu copies, EAGAIN %d times\n", copied, total);
	stop(fd);
	return NULL;
}

/* Operations on a process's own mapping only affect page tables. */
static const char *test_own_mapping(void)
{
	int fd = start();

	ASSERT_OK(mlock(mem, size));
	assert_unused(fd);
	ASSERT_OK(munlock(mem, size));
	gmem_make_shared(fd, 0, size);

	ASSERT_OK(madvise(mem, size, MADV_POPULATE_WRITE));
	assert_unused(fd);
	ASSERT_EQ(madvise(mem, size, MADV_POPULATE_READ), -1);
	ASSERT_EQ(madvise(mem, size, MADV_POPULATE_WRITE), -1);
	errno = 0;
	gmem_make_shared(fd, 0, size);

	ASSERT_OK(madvise(mem, size, MADV_POPULATE_READ));
	ASSERT_OK(mprotect(mem, size, PROT_NONE));
	gmem_make_private(fd, 0, size);
	ASSERT_OK(mprotect(mem, size, PROT_READ | PROT_WRITE));
	gmem_assert_no_access(mem, size);
	gmem_make_shared(fd, 0, size);

	mem = ASSERT_OK(mremap(mem, size, 2 * size, MREMAP_MAYMOVE));
	assert_host_sees(mem, size, 1);
	assert_unused(fd);
	mem = ASSERT_OK(mremap(mem, 2 * size, size, 0));
	stop(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_vmsplice),
	GMEM_TEST(test_io_uring),
	GMEM_TEST(test_direct_io),
	GMEM_TEST(test_fork),
	GMEM_TEST(test_second_process),
	GMEM_TEST(test_second_mapping),
	GMEM_TEST(test_process_vm),
	GMEM_TEST(test_touch),
	GMEM_TEST(test_transient),
	GMEM_TEST(test_own_mapping),
};

GMEM_TEST_MAIN(gmem_require_protected_vms)
