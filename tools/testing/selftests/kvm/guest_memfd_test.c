// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_test: the file itself
 *
 * Tests creation, the properties of the file descriptor, the file operations
 * that are supported and those that are refused, fallocate(), and the lifetime
 * of the memory.  Nothing here maps the file or runs a guest.
 *
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

/* A fresh file without flags on the common VM. */
static int new_file(void)
{
	return vm_create_guest_memfd(vm, size, 0);
}

static const char *test_create_flags(void)
{
	uint64_t valid = vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
	uint64_t flags;
	int bit;

	/* Not for a file of this size. */
	valid &= ~GUEST_MEMFD_FLAG_HUGETLB;
	for (bit = 0; bit < 64; bit++) {
		flags = 1ull << bit;
		if (flags & valid) {
			close(vm_create_guest_memfd(vm, size, flags));
			continue;
		}
		ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, flags), EINVAL);
		ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, flags | GMEM_SHARED),
			     EINVAL);
	}
	close(vm_create_guest_memfd(vm, size, GMEM_SHARED));
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, -1ull), EINVAL);
	return NULL;
}

static const char *test_create_sizes(void)
{
	uint64_t bad;

	for (bad = 0; bad < page_size; bad++)
		ASSERT_ERRNO(__vm_create_guest_memfd(vm, bad, 0), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, page_size + 1, 0), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, -page_size, 0), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, 1ull << 63, 0), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, INT64_MAX, 0), EINVAL);

	close(vm_create_guest_memfd(vm, page_size, 0));
	close(vm_create_guest_memfd(vm, 1ull << 40, 0));
	close(vm_create_guest_memfd(vm, INT64_MAX & ~(page_size - 1), 0));
	return NULL;
}

static const char *test_create_reserved_is_ignored(void)
{
	struct kvm_create_guest_memfd args = { .size = size };

	memset(args.reserved, 0xff, sizeof(args.reserved));
	close(ASSERT_OK(__vm_ioctl(vm, KVM_CREATE_GUEST_MEMFD, &args)));
	return NULL;
}

static const char *test_create_bad_pointer(void)
{
	ASSERT_ERRNO(ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, NULL), EFAULT);
	ASSERT_ERRNO(ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, -1ul), EFAULT);
	return NULL;
}

static const char *test_create_wrong_fd(void)
{
	struct kvm_create_guest_memfd args = { .size = size };
	int fd = new_file();

	ASSERT_ERRNO(ioctl(vm->kvm_fd, KVM_CREATE_GUEST_MEMFD, &args), EINVAL);
	ASSERT_ERRNO(ioctl(fd, KVM_CREATE_GUEST_MEMFD, &args), ENOTTY);
	close(fd);
	return NULL;
}

static const char *test_create_no_fd_left(void)
{
	struct rlimit old, none = { 0, 0 };

	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &old));
	none.rlim_max = old.rlim_max;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, 0), EMFILE);
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &old));
	close(new_file());
	return NULL;
}

static void child_create(void *arg)
{
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, 0), EIO);
	ASSERT_ERRNO(__vm_set_user_memory_region2(vm, 1, KVM_MEM_GUEST_MEMFD, 0,
						  size, NULL, *(int *)arg, 0), EIO);
}

static const char *test_vm_ioctls_from_other_mm(void)
{
	int fd = new_file();

	gmem_in_child(child_create, &fd);
	close(fd);
	return NULL;
}

static const char *test_caps(void)
{
	struct {
		long cap;
		unsigned int val;
	} caps[] = {
		{ KVM_CAP_USER_MEMORY2, 1 },
		{ KVM_CAP_GUEST_MEMFD, 1 },
#ifdef __x86_64__
		{ KVM_CAP_MEMORY_FAULT_INFO, 1 },
#endif
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		ASSERT_EQ(kvm_check_cap(caps[i].cap), caps[i].val);
		ASSERT_EQ((unsigned int)vm_check_cap(vm, caps[i].cap), caps[i].val);
	}

	ASSERT_EQ(gmem_common_flags(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS)),
		  GMEM_ALL_FLAGS);
	ASSERT_EQ((unsigned int)vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS),
		  kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS));

	/* To VMMs, a non-zero value means that this VM has private memory. */
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES), 0);
	return NULL;
}

static const char *test_file_descriptor(void)
{
	char path[64], name[64] = "";
	struct stat st, st2;
	struct statfs fs;
	int fd = new_file(), fd2 = new_file();

	ASSERT_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ASSERT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);

	ASSERT_OK(fstat(fd, &st));
	ASSERT_OK(fstat(fd2, &st2));
	TEST_ASSERT(S_ISREG(st.st_mode), "Mode 0%o is not a regular file", st.st_mode);
	ASSERT_EQ((size_t)st.st_size, size);
	ASSERT_EQ((size_t)st.st_blksize, page_size);
	ASSERT_EQ(st.st_blocks, 0l);
	TEST_ASSERT(st.st_ino != st2.st_ino, "Two files share inode %lu", st.st_ino);

	ASSERT_OK(fstatfs(fd, &fs));
	ASSERT_EQ((unsigned long)fs.f_type, (unsigned long)GUEST_MEMFD_MAGIC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ASSERT_OK(readlink(path, name, sizeof(name) - 1));
	TEST_ASSERT(strstr(name, "kvm-gmem"), "The file is called '%s'", name);

	/* A file that is opened again would belong to no VM. */
	ASSERT_ERRNO(open(path, O_RDWR), ENXIO);
	close(fd);
	close(fd2);
	return NULL;
}

static const char *test_read_write_refused(void)
{
	char buf[16] = "";
	struct iovec iov = { buf, sizeof(buf) };
	int fd = new_file(), p[2];
	loff_t off = 0;

	ASSERT_OK(pipe(p));
	ASSERT_ERRNO(read(fd, buf, sizeof(buf)), EINVAL);
	ASSERT_ERRNO(write(fd, buf, sizeof(buf)), EINVAL);
	ASSERT_ERRNO(readv(fd, &iov, 1), EINVAL);
	ASSERT_ERRNO(writev(fd, &iov, 1), EINVAL);
	ASSERT_ERRNO(pread(fd, buf, sizeof(buf), 0), ESPIPE);
	ASSERT_ERRNO(pwrite(fd, buf, sizeof(buf), 0), ESPIPE);
	ASSERT_ERRNO(lseek(fd, 0, SEEK_SET), ESPIPE);
	ASSERT_ERRNO(lseek(fd, 0, SEEK_END), ESPIPE);
	TEST_ASSERT(sendfile(p[1], fd, NULL, size) < 0, "sendfile() worked");
	TEST_ASSERT(splice(fd, &off, p[1], NULL, size, 0) < 0, "splice() worked");
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	close(p[0]);
	close(p[1]);
	close(fd);
	return NULL;
}

static const char *test_attributes_are_fixed(void)
{
	int fd = new_file();
	struct stat st;

	ASSERT_ERRNO(ftruncate(fd, 0), EINVAL);
	ASSERT_ERRNO(ftruncate(fd, size), EINVAL);
	ASSERT_ERRNO(ftruncate(fd, size * 2), EINVAL);
	ASSERT_ERRNO(fchmod(fd, 0777), EINVAL);
	ASSERT_ERRNO(fchown(fd, 1, 1), EINVAL);
	ASSERT_ERRNO(futimens(fd, NULL), EINVAL);
	ASSERT_OK(fstat(fd, &st));
	ASSERT_EQ((size_t)st.st_size, size);
	close(fd);
	return NULL;
}

static const char *test_fallocate_refused(void)
{
	static const int bad_modes[] = {
		0, FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
		FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_PUNCH_HOLE, 1 << 30,
	};
	const uint64_t far = INT64_MAX & ~(page_size - 1);
	int fd = new_file(), i;

	for (i = 0; i < ARRAY_SIZE(bad_modes); i++)
		ASSERT_ERRNO(fallocate(fd, bad_modes[i], 0, size), EOPNOTSUPP);

	ASSERT_ERRNO(__gmem_fallocate(fd, 1, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, 0, page_size - 1), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, 0, 0), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, -page_size, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, size, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, 0, size + page_size), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, size - page_size, 2 * page_size), EINVAL);
	ASSERT_ERRNO(__gmem_fallocate(fd, far, page_size), EFBIG);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	gmem_fallocate(fd, 0, size);
	ASSERT_ERRNO(__gmem_punch(fd, 1, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_punch(fd, 0, page_size + 1), EINVAL);
	ASSERT_ERRNO(__gmem_punch(fd, 0, 0), EINVAL);
	ASSERT_ERRNO(__gmem_punch(fd, -page_size, page_size), EINVAL);
	ASSERT_ERRNO(__gmem_punch(fd, far, page_size), EFBIG);
	ASSERT_EQ(gmem_allocated(fd), size);
	close(fd);
	return NULL;
}

static void assert_blocks(int fd, int nr_pages)
{
	struct stat st;

	ASSERT_OK(fstat(fd, &st));
	ASSERT_EQ((size_t)st.st_blocks * 512, nr_pages * page_size);
	ASSERT_EQ((size_t)st.st_size, size);
	ASSERT_EQ(gmem_allocated(fd), nr_pages * page_size);
}

static const char *test_fallocate_and_punch(void)
{
	int fd = new_file();

	gmem_fallocate(fd, page_size, 2 * page_size);
	assert_blocks(fd, 2);
	gmem_fallocate(fd, 0, 4 * page_size);
	assert_blocks(fd, 4);
	gmem_fallocate(fd, size - page_size, page_size);
	assert_blocks(fd, 5);

	gmem_punch(fd, page_size, page_size);
	assert_blocks(fd, 4);
	gmem_punch(fd, page_size, page_size);
	assert_blocks(fd, 4);
	gmem_punch(fd, 0, size);
	assert_blocks(fd, 0);
	gmem_fallocate(fd, 0, size);
	assert_blocks(fd, NR_PAGES);
	close(fd);
	return NULL;
}

static const char *test_punch_past_eof(void)
{
	int fd = new_file();

	gmem_fallocate(fd, 0, size);
	gmem_punch(fd, size, page_size);
	gmem_punch(fd, 1ull << 40, 1ull << 30);
	assert_blocks(fd, NR_PAGES);
	gmem_punch(fd, size - page_size, 1ull << 40);
	assert_blocks(fd, NR_PAGES - 1);
	close(fd);
	return NULL;
}

/* The effort depends on the number of allocated pages, not on the size. */
static const char *test_punch_largest_file(void)
{
	uint64_t largest = INT64_MAX & ~(page_size - 1);
	int fd = vm_create_guest_memfd(vm, largest, 0);

	gmem_fallocate(fd, 0, page_size);
	gmem_fallocate(fd, 1ull << 50, page_size);
	gmem_fallocate(fd, largest - page_size, page_size);
	ASSERT_EQ(gmem_allocated(fd), 3 * page_size);
	gmem_punch(fd, page_size, largest - 2 * page_size);
	ASSERT_EQ(gmem_allocated(fd), 2 * page_size);
	gmem_punch(fd, 0, largest);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	close(fd);
	return NULL;
}

static void on_alarm(int sig)
{
}

static const char *test_fallocate_is_interruptible(void)
{
	struct sigaction old, sa = { .sa_handler = on_alarm };
	int fd = vm_create_guest_memfd(vm, 1ull << 40, 0);

	/* More than all memory.  Repeat the signal: the first may be early. */
	ASSERT_OK(sigaction(SIGALRM, &sa, &old));
	ualarm(20000, 20000);
	ASSERT_ERRNO(__gmem_fallocate(fd, 0, 1ull << 40), EINTR);
	ualarm(0, 0);
	ASSERT_OK(sigaction(SIGALRM, &old, NULL));
	gmem_punch(fd, 0, 1ull << 40);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	close(fd);
	return NULL;
}

static const char *test_fdinfo(void)
{
	int fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);

	ASSERT_EQ(gmem_fdinfo(fd, "gmem-size"), size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-allocated"), 0ul);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-private"), 0ul);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"), GMEM_SHARED | vm_guest_memfd_flags);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-views"), 1ul);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);

	vm_set_user_memory_region2(vm, 1, KVM_MEM_GUEST_MEMFD, 0x10000, page_size,
				   NULL, fd, page_size);
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	TEST_ASSERT(gmem_has_binding(fd, 1, 0x10000, page_size, page_size),
		    "The binding is not in fdinfo");
	vm_set_user_memory_region2(vm, 1, KVM_MEM_GUEST_MEMFD, 0, 0, NULL, -1, 0);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	close(fd);
	return NULL;
}

static const char *test_pages_stat(void)
{
	uint64_t before = gmem_vm_stat(vm, "gmem_pages");
	int fd = new_file(), fd2 = new_file();

	gmem_fallocate(fd, 0, size);
	gmem_fallocate(fd2, 0, page_size);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), before + NR_PAGES + 1);
	gmem_punch(fd, 0, 2 * page_size);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), before + NR_PAGES - 1);
	close(fd);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), before + 1);
	close(fd2);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), before);
	return NULL;
}

static const char *test_survives_the_vm(void)
{
	struct kvm_vm *other = vm_create_barebones();
	int fd = vm_create_guest_memfd(other, size, 0);

	gmem_fallocate(fd, 0, page_size);
	kvm_vm_free(other);
	assert_blocks(fd, 1);
	gmem_fallocate(fd, 0, size);
	assert_blocks(fd, NR_PAGES);
	gmem_punch(fd, 0, size);
	assert_blocks(fd, 0);
	close(fd);
	return NULL;
}

static const char *test_duplicates(void)
{
	int fd = new_file(), fd2 = ASSERT_OK(dup(fd));

	gmem_fallocate(fd, 0, page_size);
	close(fd);
	assert_blocks(fd2, 1);
	ASSERT_EQ(gmem_fdinfo(fd2, "gmem-views"), 1ul);
	close(fd2);
	return NULL;
}

static void child_exec(void *arg)
{
	char fd[16];

	snprintf(fd, sizeof(fd), "%d", *(int *)arg);
	execl("/proc/self/exe", "guest_memfd_test", "--after-exec", fd, NULL);
	TEST_FAIL("exec failed");
}

/* Runs after exec, without a VM, only with the file. */
static int after_exec(int fd)
{
	assert_blocks(fd, 1);
	gmem_fallocate(fd, 0, 2 * page_size);
	gmem_punch(fd, 0, page_size);
	assert_blocks(fd, 1);
	return 0;
}

static const char *test_survives_exec(void)
{
	int fd = new_file();

	gmem_fallocate(fd, 0, page_size);
	gmem_in_child(child_exec, &fd);
	assert_blocks(fd, 1);
	close(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_create_flags),
	GMEM_TEST(test_create_sizes),
	GMEM_TEST(test_create_reserved_is_ignored),
	GMEM_TEST(test_create_bad_pointer),
	GMEM_TEST(test_create_wrong_fd),
	GMEM_TEST(test_create_no_fd_left),
	GMEM_TEST(test_vm_ioctls_from_other_mm),
	GMEM_TEST(test_caps),
	GMEM_TEST(test_file_descriptor),
	GMEM_TEST(test_read_write_refused),
	GMEM_TEST(test_attributes_are_fixed),
	GMEM_TEST(test_fallocate_refused),
	GMEM_TEST(test_fallocate_and_punch),
	GMEM_TEST(test_punch_past_eof),
	GMEM_TEST(test_punch_largest_file),
	GMEM_TEST(test_fallocate_is_interruptible),
	GMEM_TEST(test_fdinfo),
	GMEM_TEST(test_pages_stat),
	GMEM_TEST(test_survives_the_vm),
	GMEM_TEST(test_duplicates),
	GMEM_TEST(test_survives_exec),
};

int main(int argc, char *argv[])
{
	init_sizes();
	if (argc == 3 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]));

	gmem_require();
	vm = vm_create_barebones();
	return gmem_run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}
