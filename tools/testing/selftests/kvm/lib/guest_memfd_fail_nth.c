// SPDX-License-Identifier: GPL-2.0-only
/*
 * Injection of failures for the guest_memfd tests, see guest_memfd_fail_nth.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>

#include "guest_memfd_fail_nth.h"

#define DEBUGFS		"/sys/kernel/debug/"
#define MAX_NTH		1000

static int fail_nth_fd;

/* Copying the value to or from the kernel may be made to fail, too. */
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

/* Stop injecting; returns whether a failure was injected since arm(). */
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
static int sweep(struct kvm_vm *vm, const struct gmem_operation *op)
{
	int nth, ret, err, fds;
	uint64_t pages;
	bool injected;

	for (nth = 1; nth < MAX_NTH; nth++) {
		pages = gmem_vm_stat(vm, "gmem_pages");
		fds = nr_fds();
		/* Empty the reserve, or no allocation would fail. */
		if (gmem_all_hidden())
			gmem_write_file("/proc/sys/vm/drop_caches", "2");
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

void gmem_sweep_all(struct kvm_vm *vm, const struct gmem_operation *ops, int nr)
{
	int i, failures;

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < nr; i++) {
		failures = sweep(vm, &ops[i]);
		ksft_test_result_pass("%s, %d failures\n", ops[i].name, failures);
	}
}

void gmem_require_injection(void)
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

/* KVM removes the debugfs directory of a VM when the VM is freed. */
int gmem_sweep_end(struct kvm_vm *vm)
{
	char path[64];

	snprintf(path, sizeof(path), DEBUGFS "kvm/%d-%d", getpid(), vm->fd);
	TEST_ASSERT(!access(path, F_OK), "No %s", path);
	kvm_vm_free(vm);
	TEST_ASSERT(access(path, F_OK), "%s is still there", path);
	errno = 0;
	ksft_finished();
	return 0;
}
