// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_rootless_test: a VMM whose only right is to open /dev/kvm
 *
 * The tests run in their own user namespace, as an unprivileged user without
 * capabilities and with RLIMIT_MEMLOCK at 0.  All of guest_memfd works there.
 * Memory is charged to the cgroup of the process and stays below its limit: an
 * allocation beyond it fails or gets its process killed, but no other.
 *
 * Must be started by root, to set up the cgroups and to drop privileges.
 *
 * Timeout: 120
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sizes.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	1024
#include "guest_memfd_fixture.h"

#define NDM		GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define ID		12345
#define PATIENCE	60

#define CGROUPS		"/sys/fs/cgroup"
#define OURS		CGROUPS "/gmem-rootless"
#define AMPLE		OURS "/ample"
#define TIGHT		OURS "/tight"
#define LIMIT		SZ_16M
#define LIMIT_STRING	"16M"

static bool have_cgroups;
static const char no_cgroups[] = "no " CGROUPS " with the memory controller";

static const char *test_no_rights(void)
{
	char line[256], *eff = NULL;
	FILE *f = fopen("/proc/self/status", "r");

	TEST_ASSERT(f, "Cannot read the status");
	while (!eff && fgets(line, sizeof(line), f))
		eff = strstr(line, "CapEff:");
	TEST_ASSERT(eff && !strtoull(eff + strlen("CapEff:"), NULL, 16), "%s", line);
	fclose(f);
	ASSERT_EQ(getuid(), (uid_t)ID);
	ASSERT_ERRNO(mlock(&line, 1), EPERM);
	ASSERT_ERRNO(setuid(0), EINVAL);
	ASSERT_ERRNO(open("/dev/mem", O_RDWR), access("/dev/mem", F_OK) ? ENOENT : EACCES);
	return NULL;
}

static const char *test_create(void)
{
	uint64_t flags, valid = kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS);
	int fd;

	/* The pool has not as much. */
	valid &= ~GUEST_MEMFD_FLAG_HUGETLB;
	vm = vm_create_barebones();
	for (flags = 0; flags <= valid; flags++) {
		if (flags & ~valid)
			continue;
		fd = vm_create_guest_memfd(vm, 1ull << 40, flags);
		ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"), flags);
		close(fd);
	}
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, 2 * GUEST_MEMFD_FLAG_HUGETLB), EINVAL);
	kvm_vm_free(vm);
	return NULL;
}

static void prefault_all(void)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = size };

	while (kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY) && range.size)
		ASSERT_OK(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
}

static void use_all(bool protected, uint64_t kind)
{
	int fd = start_vm_with_slot(protected, GMEM_ALL_FLAGS | kind);
	uint8_t *buf = gmem_anonymous(size);

	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	gmem_punch(fd, 0, size);
	gmem_fallocate(fd, 0, size);
	prefault_all();
	TEST_ASSERT(gmem_is_zero(mem, page_size), "New memory is not zero");
	gmem_fill(buf, size, 2);
	ASSERT_EQ(pwrite(fd, buf, size, 0), (ssize_t)size);
	assert_guest_sees(vcpu, GPA, size, 2);
	if (protected) {
		vm_make_private(vm, GPA, size / 2);
		gmem_make_private(fd, size / 2, size / 2);
		TEST_ASSERT(!gmem_try_read(mem, NULL), "The host can read private memory");
		gmem_guest_fill(vcpu, GPA, size, 3);
		gmem_make_shared(fd, 0, size);
		assert_host_sees(mem, size, 3);
	}
	delete_slot();
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	gmem_guest_fill(vcpu, GPA, size, 4);
	ASSERT_OK(munmap(buf, size));
	stop_vm(fd);
}

static const char *test_ordinary_vm(void)
{
	uint64_t kind;

	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		use_all(false, kind);
	return NULL;
}

static const char *test_protected_vm(void)
{
	uint64_t kind;

	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		use_all(true, kind);
	return NULL;
}

/* The ways to populate a file, from offset 0 on. */
static int by_guest(int fd, size_t len)
{
	gmem_guest_order(vcpu, GMEM_GUEST_FILL, GPA, len, 1);
	if (!_vcpu_run(vcpu))
		return 0;
	TEST_ASSERT(errno == EFAULT && vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
		    "errno %d, exit reason %u", errno, vcpu->run->exit_reason);
	return -1;
}

static int by_host(int fd, size_t len)
{
	uint8_t *map = gmem_mmap(fd, 0, len);
	size_t off;

	for (off = 0; off < len; off += page_size)
		if (!gmem_try_write(map + off, 1))
			return -1;
	return munmap(map, len);
}

static int by_fallocate(int fd, size_t len)
{
	int ret = __gmem_fallocate(fd, 0, len);

	TEST_ASSERT(!ret || errno == ENOMEM, "errno %d", errno);
	return ret;
}

static int by_write(int fd, size_t len)
{
	static uint8_t buf[SZ_64K];
	size_t pos;

	for (pos = 0; pos < len; pos += sizeof(buf))
		if (pwrite(fd, buf, sizeof(buf), pos) != sizeof(buf))
			return -1;
	return 0;
}

static int by_prefault(int fd, size_t len)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = len };

	while (range.size)
		if (__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range))
			return -1;
	return 0;
}

static const struct way {
	const char *name;
	int (*populate)(int fd, size_t len);
} ways[] = {
	{ "guest", by_guest },
	{ "host", by_host },
	{ "fallocate", by_fallocate },
	{ "write", by_write },
	{ "prefault", by_prefault },
};

static bool possible(const struct way *way)
{
	return way->populate != by_prefault || kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY);
}

/* Charges are batched per CPU, and hidden pages may be freed by a worker. */
static void assert_charges(const struct way *way, uint64_t kind)
{
	int fd = new_slot(GMEM_ALL_FLAGS | kind), i;
	uint64_t before = gmem_cgroup_bytes(AMPLE), now;

	ASSERT_OK(way->populate(fd, size));
	now = gmem_cgroup_bytes(AMPLE);
	TEST_ASSERT(now > before + size * 3 / 4, "%s: charged %ld of %lu bytes", way->name,
		    (long)(now - before), size);
	gmem_punch(fd, 0, size);
	for (i = 0; i < 40; i++) {
		now = gmem_cgroup_bytes(AMPLE);
		if (now < before + size / 4)
			break;
		usleep(50000);
	}
	TEST_ASSERT(now < before + size / 4, "%s: %ld of %lu bytes are still charged",
		    way->name, (long)(now - before), size);
	delete_slot();
	free_memory(fd);
}

static const char *test_charged(void)
{
	uint64_t kind;
	int i;

	if (!have_cgroups)
		return no_cgroups;
	start_vm(false);
	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		for (i = 0; i < ARRAY_SIZE(ways); i++)
			if (possible(&ways[i]))
				assert_charges(&ways[i], kind);
	kvm_vm_free(vm);
	return NULL;
}

/* Number of processes of the cgroup that the OOM killer has killed. */
static uint64_t nr_killed(const char *cgroup)
{
	char path[96], line[64];
	uint64_t nr = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/memory.events", cgroup);
	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s", path);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "oom_kill %lu", &nr);
	fclose(f);
	return nr;
}

/* Populate twice the limit in a child; exits with 0 if that failed. */
static void child_exceeds(const struct way *way, uint64_t kind, bool protect)
{
	int fd;

	ASSERT_EQ(gmem_write_file(TIGHT "/cgroup.procs", "0"), 0);
	ASSERT_EQ(gmem_write_file("/proc/self/oom_score_adj", protect ? "-1000" : "1000"), 0);
	size = 2 * LIMIT;
	start_vm(false);
	fd = new_slot(GMEM_ALL_FLAGS | kind);
	_exit(way->populate(fd, size) != -1);
}

static bool set_limit(const char *limit)
{
	return !gmem_write_file(TIGHT "/memory.max", limit);
}

/*
 * Wait for a process that the OOM killer must not kill.  Its faults on its own
 * memory, such as the stack, are retried until there is memory: if it is stuck
 * at the limit, raise the limit.
 */
static int wait_and_help(pid_t pid)
{
	int status, stuck = 0, enough = gmem_debug_kernel() ? 20 : 10;

	while (stuck < enough) {
		if (ASSERT_OK(waitpid(pid, &status, WNOHANG)) == pid)
			return status;
		usleep(100000);
		stuck = gmem_cgroup_bytes(TIGHT) > LIMIT - SZ_64K ? stuck + 1 : 0;
	}
	TEST_ASSERT(set_limit("max"), "Cannot raise the limit");
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(set_limit(LIMIT_STRING), "Cannot lower the limit");
	return status;
}

/* Host faults on ordinary memory are retried until there is memory. */
static bool waits_for_memory(const struct way *way, uint64_t kind)
{
	return way->populate == by_host && !kind;
}

static void assert_limited(const struct way *way, uint64_t kind, bool protect)
{
	uint64_t killed = nr_killed(TIGHT);
	int status, i;
	pid_t pid;

	pid = ASSERT_OK(fork());
	if (!pid)
		child_exceeds(way, kind, protect);
	alarm(PATIENCE);
	if (protect)
		status = wait_and_help(pid);
	else
		ASSERT_OK(waitpid(pid, &status, 0));
	alarm(0);
	ksft_print_msg("%s%s%s: wait status 0x%x\n", way->name, kind ? ", hidden" : "",
		       protect ? ", not to be killed" : "", status);
	if (protect || !WIFSIGNALED(status))
		ASSERT_EQ(status, protect && waits_for_memory(way, kind) ? 1 << 8 : 0);
	else
		TEST_ASSERT(WTERMSIG(status) == SIGKILL && nr_killed(TIGHT) > killed,
			    "The process failed, wait status 0x%x", status);
	ASSERT_EQ(nr_killed(AMPLE), 0ul);
	for (i = 0; gmem_cgroup_bytes(TIGHT) > LIMIT / 4 && i < 40; i++)
		usleep(50000);
	TEST_ASSERT(gmem_cgroup_bytes(TIGHT) <= LIMIT / 4, "%lu bytes are still charged",
		    gmem_cgroup_bytes(TIGHT));
}

static const char *limit_all(int nr_ways, bool protect)
{
	uint64_t kind;
	int i;

	if (!have_cgroups)
		return no_cgroups;
	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		for (i = 0; i < nr_ways; i++)
			if (possible(&ways[i]))
				assert_limited(&ways[i], kind, protect);
	return NULL;
}

static const char *test_limit(void)
{
	return limit_all(ARRAY_SIZE(ways), false);
}

/* No process can be killed: requests for memory must fail. */
static const char *test_limit_and_nobody_to_kill(void)
{
	return limit_all(3, true);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_no_rights),
	GMEM_TEST(test_create),
	GMEM_TEST(test_ordinary_vm),
	GMEM_TEST_PROTECTED(test_protected_vm),
	GMEM_TEST(test_charged),
	GMEM_TEST(test_limit),
	GMEM_TEST(test_limit_and_nobody_to_kill),
};

static bool give_file(const char *path)
{
	bool ok = !chown(path, ID, ID);

	errno = 0;
	return ok;
}

static bool make_cgroup(const char *path)
{
	char procs[96];

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	return !mkdir(path, 0755) && give_file(procs);
}

static void remove_cgroups(void)
{
	rmdir(AMPLE);
	rmdir(TIGHT);
	rmdir(OURS);
	errno = 0;
}

/* Set up cgroups like a VM manager.  The tests may move between the two. */
static bool make_cgroups(void)
{
	remove_cgroups();
	return !gmem_write_file(CGROUPS "/cgroup.subtree_control", "+memory") &&
	       make_cgroup(OURS) &&
	       !gmem_write_file(OURS "/cgroup.subtree_control", "+memory") &&
	       make_cgroup(AMPLE) && make_cgroup(TIGHT) &&
	       give_file(TIGHT "/memory.max") && set_limit(LIMIT_STRING);
}

static void write_map(pid_t pid, const char *name)
{
	char path[64], map[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	snprintf(map, sizeof(map), "%d %d 1", ID, ID);
	ASSERT_EQ(gmem_write_file(path, map), 0);
}

/* The ID maps must be written from outside the namespace. */
static void enter_user_namespace(void)
{
	pid_t self = getpid(), helper;
	int p[2], status;
	char byte = 0;

	ASSERT_OK(pipe(p));
	helper = ASSERT_OK(fork());
	if (!helper) {
		ASSERT_EQ(read(p[0], &byte, 1), 1l);
		write_map(self, "uid_map");
		write_map(self, "gid_map");
		_exit(0);
	}
	ASSERT_OK(unshare(CLONE_NEWUSER));
	ASSERT_EQ(write(p[1], &byte, 1), 1l);
	ASSERT_OK(waitpid(helper, &status, 0));
	ASSERT_EQ(status, 0);
	close(p[0]);
	close(p[1]);
}

static void drop_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { };
	struct rlimit nothing = { 0, 0 };

	if (have_cgroups)
		ASSERT_EQ(gmem_write_file(AMPLE "/cgroup.procs", "0"), 0);
	/* Lower the minimum, so that the tests can return to this value. */
	ASSERT_EQ(gmem_write_file("/proc/self/oom_score_adj", "-1000"), 0);
	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &nothing));
	ASSERT_OK(setgroups(0, NULL));
	enter_user_namespace();
	ASSERT_OK(setresgid(ID, ID, ID));
	ASSERT_OK(setresuid(ID, ID, ID));
	ASSERT_OK(syscall(SYS_capset, &header, none));
	ASSERT_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* Otherwise /proc/self would belong to root. */
	ASSERT_OK(prctl(PR_SET_DUMPABLE, 1));
	ASSERT_EQ(gmem_write_file("/proc/self/oom_score_adj", "0"), 0);
}

int main(int argc, char *argv[])
{
	struct stat st;
	int status;
	pid_t pid;

	init_sizes();
	gmem_require_mmap();
	__TEST_REQUIRE(!geteuid(), "not root");
	__TEST_REQUIRE(!access("/proc/self/ns/user", F_OK), "no user namespaces");

	/* The only permission that the user needs. */
	ASSERT_OK(stat(KVM_DEV_PATH, &st));
	ASSERT_OK(chmod(KVM_DEV_PATH, 0666));
	have_cgroups = make_cgroups();
	pid = ASSERT_OK(fork());
	if (!pid) {
		drop_rights();
		gmem_run_tests(argc, argv, tests, ARRAY_SIZE(tests));
	}
	ASSERT_OK(waitpid(pid, &status, 0));
	remove_cgroups();
	ASSERT_OK(chmod(KVM_DEV_PATH, st.st_mode & 07777));
	return WIFEXITED(status) ? WEXITSTATUS(status) : KSFT_FAIL;
}
