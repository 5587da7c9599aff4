// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_fail_nth_test: every allocation fails once
 *
 * Each operation is repeated with its first, second, ... allocation or copy of
 * arguments failing, until one run meets no injected failure.  After a failure
 * the errno has to make sense, nothing may be left half done, and the same
 * operation has to work.  What leaks shows in the number of file descriptors,
 * the VM's pages, and a VM that never goes away.
 *
 * Needs CONFIG_FAULT_INJECTION_DEBUG_FS with CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC.  Leaves their debugfs settings changed, which only
 * says what may fail, not that it does.
 *
 * Kernel: debug
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "guest_memfd_util.h"

#define DEBUGFS		"/sys/kernel/debug/"
#define NR_PAGES	4
#define SLOT		5
#define GPA		0x10000000ul
#define MAX_NTH		1000

static struct kvm_vcpu *vcpu;
static struct kvm_vm *vm;
static size_t page_size;
static size_t size;
static uint8_t *mem;
static int fail_nth_fd;
static int fd;

/*
 * @prepare and @undo run without injection, before and after each @call.  @call
 * returns -1 and sets errno, or not.  @check looks at what a failed call left
 * and finishes the work.
 */
struct operation {
	const char *name;
	void (*prepare)(void);
	int (*call)(void);
	void (*check)(int err);
	void (*undo)(void);
};

/* The copy of the value to or from the kernel is a place that can fail too. */
static void arm(int nth)
{
	char val[16];
	int len = snprintf(val, sizeof(val), "%d", nth);
	ssize_t ret;

	ret = pwrite(fail_nth_fd, val, len, 0);
	if (ret < 0 && errno == EFAULT)
		ret = pwrite(fail_nth_fd, val, len, 0);
	ASSERT_EQ(ret, (ssize_t)len);
}

/* Stop injecting: returns whether a failure was injected since arm(). */
static bool disarm(void)
{
	char val[16] = "1";
	ssize_t ret;

	ret = pread(fail_nth_fd, val, sizeof(val) - 1, 0);
	TEST_ASSERT(ret > 0 || errno == EFAULT, "Cannot read fail-nth, errno %d", errno);
	arm(0);
	return !atoi(val);
}

static int nr_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	TEST_ASSERT(dir, "Cannot list the file descriptors");
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* Returns the number of failures that were injected. */
static int sweep(const struct operation *op)
{
	int nth, ret, err, fds;
	uint64_t pages;
	bool injected;

	for (nth = 1; nth < MAX_NTH; nth++) {
		pages = gmem_vm_stat(vm, "gmem_pages");
		fds = nr_fds();
		if (op->prepare)
			op->prepare();

		arm(nth);
		ret = op->call();
		err = errno;
		injected = disarm();

		TEST_ASSERT(ret != -1 || injected, "%s: errno %d (%s) without injection",
			    op->name, err, strerror(err));
		if (ret == -1) {
			TEST_ASSERT(err == ENOMEM || err == EFAULT,
				    "%s: errno %d (%s) for failure %d", op->name, err,
				    strerror(err), nth);
			op->check(err);
		}
		if (op->undo)
			op->undo();
		ASSERT_EQ(nr_fds(), fds);
		ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), pages);
		if (!injected)
			return nth - 1;
	}
	TEST_FAIL("%s: no end after %d failures", op->name, MAX_NTH);
}

static int new_fd = -1;

static int create(void)
{
	new_fd = __vm_create_guest_memfd(vm, size, GMEM_SHARED);
	return new_fd;
}

static void check_create(int err)
{
	new_fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
}

static void close_new(void)
{
	close(new_fd);
}

static int set_slot(uint32_t flags, size_t len)
{
	return __vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD | flags, GPA,
					    len, mem, fd, 0);
}

static int bind(void)
{
	return set_slot(0, size);
}

static int unbind(void)
{
	return set_slot(0, 0);
}

static int logging_on(void)
{
	return set_slot(KVM_MEM_LOG_DIRTY_PAGES, size);
}

static void do_bind(void)
{
	ASSERT_OK(bind());
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
}

static void do_unbind(void)
{
	ASSERT_OK(unbind());
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
}

static void check_bind(int err)
{
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	do_bind();
}

static void check_unbind(int err)
{
	TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, 0, size), "The binding is gone");
	do_unbind();
}

static void check_logging_on(int err)
{
	uint64_t bitmap;
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = &bitmap };

	ASSERT_ERRNO(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	ASSERT_OK(logging_on());
	ASSERT_OK(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log));
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
}

static int allocate(void)
{
	return __gmem_fallocate(fd, 0, size);
}

/* Whatever it managed to allocate is good memory. */
static void check_allocate(int err)
{
	struct stat st;

	ASSERT_OK(fstat(fd, &st));
	ASSERT_EQ((uint64_t)st.st_blocks * 512, gmem_allocated(fd));
	TEST_ASSERT(gmem_allocated(fd) < size, "Failed with everything allocated");
	ASSERT_OK(allocate());
	ASSERT_EQ(gmem_allocated(fd), size);
	TEST_ASSERT(gmem_is_zero(mem, size), "New memory is not zero");
}

static void punch_all(void)
{
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
}

static void fill_all(void)
{
	gmem_fill(mem, size, 1);
}

static int punch(void)
{
	return __gmem_punch(fd, page_size, page_size);
}

static void check_punch(int err)
{
	TEST_ASSERT(gmem_matches(mem, page_size, 1), "Data outside the hole is gone");
	TEST_ASSERT(gmem_matches(mem, 2 * page_size, 1) ||
		    gmem_is_zero(mem + page_size, page_size), "Half a page is gone");
}

static int host_fault(void)
{
	return madvise(mem, size, MADV_POPULATE_WRITE);
}

static void check_host_fault(int err)
{
	TEST_ASSERT(gmem_is_zero(mem, size), "New memory is not zero");
	ASSERT_EQ(gmem_allocated(fd), size);
}

static void prepare_guest_fault(void)
{
	do_bind();
	gmem_guest_order(vcpu, GMEM_GUEST_WRITE, GPA + page_size, 0, 0x1234);
}

static int guest_fault(void)
{
	return __vcpu_run(vcpu);
}

static void check_guest_fault(int err)
{
	if (err == EFAULT) {
		ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_MEMORY_FAULT);
		ASSERT_EQ((uint64_t)vcpu->run->memory_fault.gpa, GPA + page_size);
	}
	vcpu_run(vcpu);
}

static void undo_guest_fault(void)
{
	struct ucall uc;

	ASSERT_EQ(get_ucall(vcpu, &uc), (uint64_t)UCALL_SYNC);
	ASSERT_EQ(*(uint64_t *)(mem + page_size), 0x1234ul);
	ASSERT_EQ(gmem_allocated(fd), page_size);
	do_unbind();
	punch_all();
}

static const struct operation operations[] = {
	{ "create", NULL, create, check_create, close_new },
	{ "bind", NULL, bind, check_bind, do_unbind },
	{ "delete", do_bind, unbind, check_unbind, NULL },
	{ "logging", do_bind, logging_on, check_logging_on, do_unbind },
	{ "fallocate", NULL, allocate, check_allocate, punch_all },
	{ "punch", fill_all, punch, check_punch, punch_all },
	{ "host-fault", NULL, host_fault, check_host_fault, punch_all },
	{ "guest-fault", prepare_guest_fault, guest_fault, check_guest_fault,
	  undo_guest_fault },
};

static void require_injection(void)
{
	static const char * const attrs[] = { "failslab", "fail_page_alloc" };
	char path[96];
	int i;

	fail_nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	__TEST_REQUIRE(fail_nth_fd >= 0, "no /proc/thread-self/fail-nth");

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		snprintf(path, sizeof(path), DEBUGFS "%s/ignore-gfp-wait", attrs[i]);
		__TEST_REQUIRE(!gmem_write_file(path, "N"), "no %s", path);
		snprintf(path, sizeof(path), DEBUGFS "%s/verbose", attrs[i]);
		gmem_write_file(path, "0");
	}
	gmem_write_file(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	gmem_write_file(DEBUGFS "fail_page_alloc/min-order", "0");
	gmem_write_file(DEBUGFS "fail_usercopy/verbose", "0");
}

/* KVM's directory of a VM goes when the VM does. */
static void assert_vm_is_destroyed(int vm_fd)
{
	char path[64];

	snprintf(path, sizeof(path), DEBUGFS "kvm/%d-%d", getpid(), vm_fd);
	TEST_ASSERT(access(path, F_OK), "%s is still there", path);
}

int main(int argc, char *argv[])
{
	char path[64];
	int i, nr, vm_fd;

	page_size = getpagesize();
	size = NR_PAGES * page_size;
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP);
	require_injection();

	vm = vm_create_with_one_vcpu(&vcpu, gmem_guest_code);
	virt_map(vm, GPA, GPA, NR_PAGES);
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	mem = gmem_mmap(fd, 0, size);
	gmem_guest_start(vcpu);

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(operations));
	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		nr = sweep(&operations[i]);
		ksft_test_result_pass("%s, %d failures\n", operations[i].name, nr);
	}

	vm_fd = vm->fd;
	snprintf(path, sizeof(path), DEBUGFS "kvm/%d-%d", getpid(), vm_fd);
	TEST_ASSERT(!access(path, F_OK), "No %s", path);
	ASSERT_OK(munmap(mem, size));
	close(fd);
	kvm_vm_free(vm);
	assert_vm_is_destroyed(vm_fd);
	ksft_finished();
	return 0;
}
