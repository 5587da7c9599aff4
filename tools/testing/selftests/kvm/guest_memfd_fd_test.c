// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_fd_test: other operations on the file descriptor
 *
 * A guest_memfd is a file, which can be passed to any code that executes,
 * mounts, watches, locks or passes on files.  Operations that make no sense
 * must be refused, others must not affect the memory, and none may keep the
 * memory after the file is closed.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd	443
#endif

static char path[64];
static int fd;

static void start(void)
{
	fd = start_filled(GMEM_ALL_FLAGS);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
}

/* The file is unchanged, works, and its memory is freed when it is closed. */
static const char *stop(const char *skip)
{
	errno = 0;
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, page_size);
	TEST_ASSERT(gmem_is_zero(mem, page_size), "The hole is not zero");
	gmem_fill(mem, size, 1);
	stop_filled(fd, NULL);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);
	return skip;
}

static const char *test_execute(void)
{
	static char * const none[1];

	start();
	strcpy((char *)mem, "#!/bin/true\n");
	ASSERT_ERRNO(syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH), EACCES);
	ASSERT_ERRNO(execve(path, none, none), EACCES);
	gmem_fill(mem, size, 1);
	return stop(NULL);
}

static const char *test_module(void)
{
	if (geteuid())
		return "not root";
	if (access("/proc/modules", F_OK)) {
		errno = 0;
		return "the kernel has no modules";
	}
	start();
	ASSERT_ERRNO(syscall(SYS_finit_module, fd, "", 0), EINVAL);
	return stop(NULL);
}

/* The file is no swap area, even if it looks like one. */
static const char *test_swap(void)
{
	uint32_t *info;

	if (geteuid())
		return "not root";
	start();
	info = (uint32_t *)(mem + 1024);
	memset(mem, 0, page_size);
	info[0] = 1;
	info[1] = NR_PAGES - 1;
	memcpy(mem + page_size - 10, "SWAPSPACE2", 10);
	ASSERT_ERRNO(swapon(path, 0), ENXIO);
	ASSERT_ERRNO(swapoff(path), ENXIO);
	gmem_fill(mem, size, 1);
	return stop(NULL);
}

/* The file cannot be opened again, and its path is of no other use. */
static const char *test_open_again(void)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC };
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int i, mount_id, other;

	start();
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		ASSERT_ERRNO(open(path, modes[i]), ENXIO);
	ASSERT_ERRNO(name_to_handle_at(fd, "", &h.handle, &mount_id, AT_EMPTY_PATH),
		     EOPNOTSUPP);
	ASSERT_ERRNO(truncate(path, 0), EINVAL);
	ASSERT_ERRNO(chmod(path, 0777), EINVAL);
	ASSERT_ERRNO(openat(fd, "x", O_RDONLY), ENOTDIR);

	/* An O_PATH descriptor gives no access to the memory. */
	other = ASSERT_OK(open(path, O_PATH));
	ASSERT_ERRNO(__gmem_punch(other, 0, size), EBADF);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_SHARED, other, 0), EBADF);
	ASSERT_ERRNO(__set_slot(other, 0, size), EBADF);
	close(other);
	return stop(NULL);
}

static const char *test_mount(void)
{
	if (geteuid())
		return "not root";
	start();
	ASSERT_ERRNO(linkat(fd, "", AT_FDCWD, "/tmp/gmem-link", AT_EMPTY_PATH), EXDEV);
	ASSERT_ERRNO(mount(path, "/dev/null", NULL, MS_BIND, NULL), EINVAL);
	ASSERT_ERRNO(mount("/dev/null", path, NULL, MS_BIND, NULL), EINVAL);
	ASSERT_ERRNO(umount(path), EINVAL);
	ASSERT_ERRNO(chroot(path), ENOTDIR);
	ASSERT_ERRNO(ioctl(fd, FIFREEZE, 0), EOPNOTSUPP);
	return stop(NULL);
}

/* Locks apply to the file, not to its contents. */
static const char *test_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	start();
	ASSERT_OK(flock(fd, LOCK_EX));
	gmem_fill(mem, size, 1);
	ASSERT_OK(flock(fd, LOCK_UN));
	ASSERT_OK(fcntl(fd, F_OFD_SETLK, &lock));
	ASSERT_ERRNO(fcntl(fd, F_SETLK, &lock), EAGAIN);
	ASSERT_EQ(pwrite(fd, mem, 1, 0), 1l);
	/* open() fails anyway, but must wait for a lease to be broken first. */
	signal(SIGIO, SIG_IGN);
	ASSERT_OK(fcntl(fd, F_SETLEASE, F_RDLCK));
	ASSERT_ERRNO(open(path, O_RDWR | O_NONBLOCK), EAGAIN);
	signal(SIGIO, SIG_DFL);
	/* Closing the file drops the locks and the lease. */
	return stop(NULL);
}

static const char *test_flags(void)
{
	start();
	ASSERT_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EINVAL);
	ASSERT_ERRNO(fcntl(fd, F_GET_SEALS), EINVAL);
	ASSERT_ERRNO(fcntl(fd, F_SETFL, O_DIRECT), EINVAL);
	ASSERT_ERRNO(fcntl(fd, F_SETPIPE_SZ, 4096), EBADF);

	/* O_APPEND does not override the position of a write. */
	ASSERT_OK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_ASYNC));
	ASSERT_EQ(pwrite(fd, mem + 8, 8, 8), 8l);
	ASSERT_EQ((size_t)lseek(fd, 0, SEEK_CUR), -1ul);
	return stop(NULL);
}

static const char *test_watch(void)
{
	int epoll = ASSERT_OK(epoll_create1(0));
	int watch = ASSERT_OK(inotify_init1(IN_NONBLOCK));
	struct epoll_event event = { .events = EPOLLIN };

	start();
	ASSERT_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), EPERM);
	ASSERT_OK(inotify_add_watch(watch, path, IN_ALL_EVENTS));
	gmem_punch(fd, 0, size);
	gmem_fill(mem, size, 1);
	ASSERT_EQ(pwrite(fd, mem, size, 0), (ssize_t)size);
	/* The watch stays after the memory is freed. */
	stop(NULL);
	close(watch);
	close(epoll);
	return NULL;
}

#define FAN_CLASS_PRE_CONTENT	0x8
#define FAN_MARK_ADD		0x1
#define FAN_ALL_PERM		0x30000ull

/* A watch for permission events, sent before each access. */
static const char *test_fanotify(void)
{
	int watch = syscall(SYS_fanotify_init, FAN_CLASS_PRE_CONTENT | O_NONBLOCK, O_RDONLY);

	if (watch < 0) {
		errno = 0;
		return "no fanotify";
	}
	start();
	/* Pseudo file systems may refuse marks; others must have no effect. */
	syscall(SYS_fanotify_mark, watch, FAN_MARK_ADD, FAN_ALL_PERM, AT_FDCWD, path);
	ASSERT_EQ(pwrite(fd, mem, size, 0), (ssize_t)size);
	stop(NULL);
	close(watch);
	return NULL;
}

static const char *test_mapping_types(void)
{
	void *addr;

	start();
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0), EPERM);
	ASSERT_ERRNO(mprotect(mem, size, PROT_READ | PROT_EXEC), EACCES);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0),
		     EOPNOTSUPP);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, page_size / 2), EINVAL);
	ASSERT_ERRNO(mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_HUGETLB, fd, 0), EINVAL);
	addr = ASSERT_OK(mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_LOCKED | MAP_NORESERVE,
			      fd, 0));
	assert_host_sees(addr, size, 1);
	ASSERT_OK(munmap(addr, size));
	return stop(NULL);
}

/* Remapping only ever creates another view of the same file. */
static const char *test_remap(void)
{
	uint8_t *map, *second;

	start();
	map = gmem_mmap(fd, 0, size);
	ASSERT_OK(syscall(SYS_remap_file_pages, map, page_size, 0, 1, 0));
	ASSERT_EQ(memcmp(map, mem + page_size, page_size), 0);
	assert_host_sees(mem, size, 1);
	ASSERT_OK(munmap(map, size));

	map = ASSERT_OK(mremap(gmem_mmap(fd, 0, size), size, size / 2, 0));
	map = ASSERT_OK(mremap(map, size / 2, size / 2, MREMAP_MAYMOVE | MREMAP_FIXED,
			       gmem_anonymous(size)));
	assert_host_sees(map, size / 2, 1);

	/*
	 * An old length of 0 duplicates a mapping.  A mapping of hidden memory
	 * can be neither extended nor duplicated.
	 */
	if (gmem_all_hidden()) {
		ASSERT_ERRNO(mremap(map, size / 2, 2 * size, MREMAP_MAYMOVE), EFAULT);
		ASSERT_ERRNO(mremap(map, 0, size / 2, MREMAP_MAYMOVE), EFAULT);
	} else {
		map = ASSERT_OK(mremap(map, size / 2, 2 * size, MREMAP_MAYMOVE));
		assert_host_sees(map, size, 1);
		TEST_ASSERT(!gmem_try_read(map + size, NULL), "There is something after the end");
		ASSERT_OK(munmap(map + size / 2, size + size / 2));
		second = ASSERT_OK(mremap(map, 0, size / 2, MREMAP_MAYMOVE));
		assert_host_sees(second, size / 2, 1);
		ASSERT_OK(munmap(second, size / 2));
	}
	ASSERT_OK(munmap(map, size / 2));
	return stop(NULL);
}

static const char *test_attributes(void)
{
	char val[16] = "";

	start();
	ASSERT_ERRNO(fsetxattr(fd, "user.x", val, 1, 0), EOPNOTSUPP);
	ASSERT_ERRNO(fsetxattr(fd, "system.posix_acl_access", val, 1, 0), EOPNOTSUPP);
	ASSERT_ERRNO(fgetxattr(fd, "user.x", val, 1), EOPNOTSUPP);
	ASSERT_ERRNO(fremovexattr(fd, "user.x"), EOPNOTSUPP);
	ASSERT_EQ(flistxattr(fd, val, sizeof(val)), 0l);
	TEST_ASSERT(syscall(SYS_quotactl_fd, fd, 0x80000100, 0, val) < 0, "There are quotas");
	return stop(NULL);
}

static const char *test_ioctls(void)
{
	static const struct {
		unsigned long cmd;
		int err;
	} ioctls[] = {
		{ FS_IOC_GETFLAGS, ENOTTY }, { FS_IOC_FSGETXATTR, ENOTTY },
		{ FS_IOC_FIEMAP, EOPNOTSUPP }, { FICLONE, EBADF }, { FIDEDUPERANGE, EOPNOTSUPP },
		{ FIBMAP, EINVAL }, { FITRIM, ENOTTY }, { BLKGETSIZE64, ENOTTY },
		{ KVM_RUN, ENOTTY }, { KVM_CREATE_VCPU, ENOTTY }, { KVM_GET_API_VERSION, ENOTTY },
		{ KVM_SET_USER_MEMORY_REGION2, ENOTTY }, { KVM_SET_MEMORY_ATTRIBUTES, ENOTTY },
	};
	char arg[256] = "";
	int i;

	if (geteuid())
		return "not root";
	start();
	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		memset(arg, 0, sizeof(arg));
		/* -1 is never a valid file descriptor. */
		ASSERT_ERRNO(ioctl(fd, ioctls[i].cmd, ioctls[i].cmd == FICLONE ? (void *)-1 : arg),
			     ioctls[i].err);
	}
	ASSERT_ERRNO(ioctl(fd, FICLONE, fd), EOPNOTSUPP);
	return stop(NULL);
}

static const char *test_sync(void)
{
	int advice;

	start();
	ASSERT_ERRNO(fsync(fd), EINVAL);
	ASSERT_ERRNO(fdatasync(fd), EINVAL);
	ASSERT_OK(syncfs(fd));
	ASSERT_OK(sync_file_range(fd, 0, size, SYNC_FILE_RANGE_WRITE));
	ASSERT_ERRNO(msync(mem, size, MS_SYNC), EINVAL);
	ASSERT_OK(msync(mem, size, MS_ASYNC | MS_INVALIDATE));
	/* Nothing can be read, written back or dropped, whatever these return. */
	readahead(fd, 0, size);
	for (advice = 0; advice < 8; advice++)
		posix_fadvise(fd, 0, size, advice);
	return stop(NULL);
}

static int uprobe_type(void)
{
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
	int type = -1;

	errno = 0;
	if (!f)
		return -1;
	ASSERT_EQ(fscanf(f, "%d", &type), 1);
	fclose(f);
	return type;
}

/* The host must not set a breakpoint in guest memory. */
static const char *test_uprobe(void)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = uprobe_type() };

	if ((int)attr.type < 0)
		return "no uprobes";
	start();
	attr.uprobe_path = (uintptr_t)path;
	TEST_ASSERT(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0,
		    "perf set a breakpoint");
	return stop(NULL);
}

/* A message of one byte that can carry a descriptor. */
struct message {
	char control[CMSG_SPACE(sizeof(int))];
	char byte;
	struct iovec iov;
	struct msghdr hdr;
};

static struct cmsghdr *init_message(struct message *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->iov = (struct iovec) { &msg->byte, 1 };
	msg->hdr.msg_iov = &msg->iov;
	msg->hdr.msg_iovlen = 1;
	msg->hdr.msg_control = msg->control;
	msg->hdr.msg_controllen = sizeof(msg->control);
	return CMSG_FIRSTHDR(&msg->hdr);
}

static void send_fd(int sock, int sent)
{
	struct message msg;
	struct cmsghdr *cmsg = init_message(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &sent, sizeof(int));
	ASSERT_EQ(sendmsg(sock, &msg.hdr, 0), 1l);
}

static int receive_fd(int sock)
{
	struct message msg;
	struct cmsghdr *cmsg = init_message(&msg);
	int received;

	ASSERT_EQ(recvmsg(sock, &msg.hdr, 0), 1l);
	memcpy(&received, CMSG_DATA(cmsg), sizeof(int));
	return received;
}

/* The child was forked before the file existed, and has only its descriptor. */
static void child_uses_fd(int sock)
{
	int file = receive_fd(sock);
	uint8_t *map = gmem_mmap(file, 0, size);

	assert_host_sees(map, size, 1);
	gmem_punch(file, 0, page_size);
	TEST_ASSERT(gmem_is_zero(map, page_size), "The hole is not zero");
	ASSERT_EQ(pwrite(file, map + page_size, 8, 0), 8l);
	gmem_fill(map, size, 1);
	ASSERT_ERRNO(__set_slot(file, 0, size), EIO);
	_exit(0);
}

static const char *test_pass_on(void)
{
	int pair[2], status;
	pid_t pid;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = ASSERT_OK(fork());
	if (!pid)
		child_uses_fd(pair[0]);
	start();
	send_fd(pair[1], fd);
	ASSERT_OK(waitpid(pid, &status, 0));
	ASSERT_EQ(status, 0);
	assert_host_sees(mem, size, 1);

	/* The message in flight holds the only reference. */
	send_fd(pair[1], fd);
	ASSERT_OK(munmap(mem, size));
	close(fd);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), (uint64_t)NR_PAGES);
	fd = receive_fd(pair[0]);
	mem = gmem_mmap(fd, 0, size);
	stop(NULL);

	/* A file that is never received is freed with the socket. */
	start();
	send_fd(pair[1], fd);
	free_memory(fd);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), (uint64_t)NR_PAGES);
	close(pair[0]);
	close(pair[1]);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_execute),
	GMEM_TEST(test_module),
	GMEM_TEST(test_swap),
	GMEM_TEST(test_open_again),
	GMEM_TEST(test_mount),
	GMEM_TEST(test_locks),
	GMEM_TEST(test_flags),
	GMEM_TEST(test_watch),
	GMEM_TEST(test_fanotify),
	GMEM_TEST(test_mapping_types),
	GMEM_TEST(test_remap),
	GMEM_TEST(test_attributes),
	GMEM_TEST(test_ioctls),
	GMEM_TEST(test_sync),
	GMEM_TEST(test_uprobe),
	GMEM_TEST(test_pass_on),
};

GMEM_TEST_MAIN(init_barebones)
