// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for the guest_memfd tests, see guest_memfd_util.h.
 */
#define _GNU_SOURCE
#include <linux/loop.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest_memfd_util.h"

static bool gmem_selected(const struct gmem_test *test, int argc, char *argv[])
{
	return argc < 2 || strstr(test->name, argv[1]);
}

static const char *gmem_run_test(const struct gmem_test *test)
{
	if (test->protected && !gmem_have_protected_vms())
		return gmem_no_protected_vms;
	if (test->pages && gmem_all_hugetlb())
		return gmem_no_pages;
	return test->run();
}

int gmem_run_tests(int argc, char *argv[], const struct gmem_test *tests, int nr)
{
	int i, selected = 0;
	const char *skip;

	for (i = 0; i < nr; i++)
		selected += gmem_selected(&tests[i], argc, argv);

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(selected);
	for (i = 0; i < nr; i++) {
		if (!gmem_selected(&tests[i], argc, argv))
			continue;

		ksft_print_msg("%s\n", tests[i].name);
		skip = gmem_run_test(&tests[i]);
		if (skip)
			ksft_test_result_skip("%s: %s\n", tests[i].name, skip);
		else
			ksft_test_result_pass("%s\n", tests[i].name);
	}

	if (selected && ksft_get_xskip_cnt() == selected)
		exit(KSFT_SKIP);
	ksft_finished();
	return 0;
}

const char *const gmem_no_references = "no page can be held by its address";

bool gmem_all_hidden(void)
{
	return vm_guest_memfd_flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
}

const char *const gmem_no_pages = "all memory comes in blocks of 2 MiB";

bool gmem_all_hugetlb(void)
{
	return vm_guest_memfd_flags & GUEST_MEMFD_FLAG_HUGETLB;
}

unsigned long gmem_pool(int shift, const char *name)
{
	unsigned long val = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%lukB/%s",
		 1ul << (shift - 10), name);
	f = fopen(path, "r");
	TEST_ASSERT(f && fscanf(f, "%lu", &val) == 1, "Cannot read %s", path);
	fclose(f);
	return val;
}

unsigned long gmem_set_pool(int shift, unsigned long nr)
{
	char path[128], val[32];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_hugepages",
		 1ul << (shift - 10));
	snprintf(val, sizeof(val), "%lu", nr);
	gmem_write_file(path, val);
	return gmem_pool(shift, "nr_hugepages");
}

static void gmem_take_hugetlb(void)
{
	const unsigned long nr = GMEM_POOL_PAGES;

	vm_guest_memfd_flags |= GUEST_MEMFD_FLAG_HUGETLB | GMEM_LOG2(21);
	if (gmem_pool(21, "nr_hugepages") < nr)
		__TEST_REQUIRE(gmem_set_pool(21, nr) == nr,
			       "the machine has no memory for the pool");
}

static void gmem_take_flags(void)
{
	const char *flags = getenv("GMEM_FLAGS");
	unsigned long supported;

	if (!flags)
		return;

	supported = kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS);
	if (strstr(flags, "no-direct-map")) {
		__TEST_REQUIRE(supported & GUEST_MEMFD_FLAG_NO_DIRECT_MAP,
			       "the kernel or the machine has no NO_DIRECT_MAP");
		vm_guest_memfd_flags |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	}
	if (strstr(flags, "hugetlb")) {
		__TEST_REQUIRE(supported & GUEST_MEMFD_FLAG_HUGETLB,
			       "the kernel or the machine has no pools");
		gmem_take_hugetlb();
	}
	TEST_ASSERT(vm_guest_memfd_flags, "Unknown flags '%s'", flags);
}

void gmem_require(void)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	gmem_take_flags();
}

void gmem_require_mmap(void)
{
	gmem_require();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP);
}

void gmem_require_protected_vms(void)
{
	gmem_require();
	__TEST_REQUIRE(gmem_have_protected_vms(), "%s", gmem_no_protected_vms);
}

struct kvm_vm *gmem_create_large_vm(bool protected, int nr_vcpus, size_t extra,
				    void *guest_code, struct kvm_vcpu **vcpus)
{
	struct kvm_vm *vm;

	vm_type = protected ? gmem_protected_vm_type() : 0;
	vm = __vm_create_with_vcpus(VM_MODE_DEFAULT, nr_vcpus, extra / MIN_PAGE_SIZE,
				    guest_code, vcpus);
	vm_type = 0;
	ucall_init(vm, NULL);
	return vm;
}

struct kvm_vm *gmem_create_vm(bool protected, int nr_vcpus, void *guest_code,
			      struct kvm_vcpu **vcpus)
{
	return gmem_create_large_vm(protected, nr_vcpus, 0, guest_code, vcpus);
}

struct kvm_vm *gmem_create_protected_barebones(void)
{
	struct kvm_vm *vm;

	vm_type = gmem_protected_vm_type();
	vm = vm_create_barebones();
	vm_type = 0;
	return vm;
}

/* MADV_DONTNEED is refused for mappings of hidden memory. */
void gmem_zap(int fd, uint64_t offset, void *addr, size_t len)
{
	if (gmem_all_hidden())
		ASSERT_OK(mmap(addr, len, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, fd, offset));
	else
		ASSERT_OK(madvise(addr, len, MADV_DONTNEED));
}

int __gmem_punch(int fd, uint64_t offset, uint64_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 offset, len);
}

void gmem_punch(int fd, uint64_t offset, uint64_t len)
{
	ASSERT_OK(__gmem_punch(fd, offset, len));
}

int __gmem_fallocate(int fd, uint64_t offset, uint64_t len)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, len);
}

void gmem_fallocate(int fd, uint64_t offset, uint64_t len)
{
	ASSERT_OK(__gmem_fallocate(fd, offset, len));
}

/* Call @fn for each line of the fdinfo of @fd, until it returns true. */
static bool gmem_fdinfo_find(int fd, bool (*fn)(const char *line, void *arg),
			     void *arg)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s, errno %d", path, errno);

	while (!found && fgets(line, sizeof(line), f))
		found = fn(line, arg);
	fclose(f);
	return found;
}

struct fdinfo_key {
	const char *key;
	uint64_t val;
};

static bool fdinfo_match_key(const char *line, void *arg)
{
	struct fdinfo_key *k = arg;
	size_t len = strlen(k->key);
	char *end;

	if (strncmp(line, k->key, len) || line[len] != ':')
		return false;

	TEST_ASSERT(line[len + 1] == '\t', "No tab after the key: %s", line);
	k->val = strtoull(line + len + 2, &end, 0);
	TEST_ASSERT(*end == '\n', "Not a number: %s", line);
	return true;
}

uint64_t gmem_fdinfo(int fd, const char *key)
{
	struct fdinfo_key k = { .key = key };

	TEST_ASSERT(gmem_fdinfo_find(fd, fdinfo_match_key, &k),
		    "fdinfo has no %s", key);
	return k.val;
}

uint64_t gmem_allocated(int fd)
{
	return gmem_fdinfo(fd, "gmem-allocated");
}

static bool fdinfo_count_bindings(const char *line, void *arg)
{
	int *nr = arg;

	*nr += !strncmp(line, "gmem-binding:\t", strlen("gmem-binding:\t"));
	return false;
}

int gmem_nr_bindings(int fd)
{
	int nr = 0;

	gmem_fdinfo_find(fd, fdinfo_count_bindings, &nr);
	return nr;
}

static bool fdinfo_match_prefix(const char *line, void *arg)
{
	const char *prefix = arg;

	return !strncmp(line, prefix, strlen(prefix));
}

bool gmem_has_binding(int fd, int slot, uint64_t gpa, uint64_t offset,
		      uint64_t size)
{
	uint64_t page_size = getpagesize();
	char line[256];

	snprintf(line, sizeof(line),
		 "gmem-binding:\tslot=%d:%d gfn=0x%lx pgoff=0x%lx npages=0x%lx uaddr=0x",
		 slot >> 16, slot & 0xffff, gpa / page_size,
		 offset / page_size, size / page_size);
	return gmem_fdinfo_find(fd, fdinfo_match_prefix, line);
}

uint64_t gmem_vm_stat(struct kvm_vm *vm, const char *name)
{
	uint64_t val[2] = { -1ull, 0 };

	__vm_get_stat(vm, name, val, 1);
	TEST_ASSERT(val[0] != -1ull, "The VM has no stat '%s'", name);
	return val[0];
}

uint64_t gmem_vcpu_stat(struct kvm_vcpu *vcpu, const char *name)
{
	int fd = ASSERT_OK(vcpu_get_stats_fd(vcpu)), i;
	struct kvm_stats_desc *descs, *desc;
	struct kvm_stats_header header;
	uint64_t val[2];

	read_stats_header(fd, &header);
	descs = read_stats_descriptors(fd, &header);
	for (i = 0; i < header.num_desc; i++) {
		desc = get_stats_descriptor(descs, i, &header);
		if (strcmp(desc->name, name))
			continue;
		read_stat_data(fd, &header, desc, val, 1);
		free(descs);
		close(fd);
		return val[0];
	}
	TEST_FAIL("A vCPU has no stat '%s'", name);
}

static __thread sigjmp_buf sigbus_jmp;

static void sigbus_handler(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

/* Read (val) or write (new) one byte; false if that raised SIGBUS. */
static bool gmem_try_access(uint8_t *addr, uint8_t *val, uint8_t new)
{
	struct sigaction old, sa = { .sa_handler = sigbus_handler };

	ASSERT_OK(sigaction(SIGBUS, &sa, &old));
	if (sigsetjmp(sigbus_jmp, 1)) {
		ASSERT_OK(sigaction(SIGBUS, &old, NULL));
		return false;
	}

	if (val)
		*val = READ_ONCE(*addr);
	else
		WRITE_ONCE(*addr, new);
	ASSERT_OK(sigaction(SIGBUS, &old, NULL));
	return true;
}

bool gmem_try_read(void *addr, uint8_t *val)
{
	uint8_t dummy;

	return gmem_try_access(addr, val ?: &dummy, 0);
}

bool gmem_try_write(void *addr, uint8_t val)
{
	return gmem_try_access(addr, NULL, val);
}

/*
 * Checking both ends and the middle of each page is enough to notice a page
 * that is missing, stale, misplaced or half cleared, and cheap in an emulated
 * guest.
 */
#define PATTERN_STRIDE	2040

static uint64_t pattern(uint64_t seed, uint64_t offset)
{
	return (seed << 32) ^ (offset + 1) * 0x9e3779b97f4a7c15ull;
}

void gmem_fill(void *start, size_t size, uint64_t seed)
{
	uint64_t page, off;

	for (page = 0; page < size; page += MIN_PAGE_SIZE)
		for (off = 0; off < MIN_PAGE_SIZE; off += PATTERN_STRIDE)
			gmem_store(start + page + off, pattern(seed, page + off));
}

bool gmem_matches(const void *start, size_t size, uint64_t seed)
{
	uint64_t page, off;

	for (page = 0; page < size; page += MIN_PAGE_SIZE)
		for (off = 0; off < MIN_PAGE_SIZE; off += PATTERN_STRIDE)
			if (gmem_load(start + page + off) != pattern(seed, page + off))
				return false;
	return true;
}

bool gmem_is_zero(const void *start, size_t size)
{
	uint64_t off;

	for (off = 0; off < size; off += sizeof(uint64_t))
		if (gmem_load(start + off))
			return false;
	return true;
}

/* In guest memory; the host writes it through addr_gva2hva(). */
static struct gmem_guest_cmd {
	uint64_t op;
	uint64_t addr;
	uint64_t size;
	uint64_t val;
	uint64_t result;
} guest_cmd;

static uint64_t gmem_guest_obey(struct gmem_guest_cmd *cmd)
{
	void *addr = (void *)cmd->addr;

	switch (cmd->op) {
	case GMEM_GUEST_READ:
		return gmem_load(addr);
	case GMEM_GUEST_WRITE:
		gmem_store(addr, cmd->val);
		return 0;
	case GMEM_GUEST_FILL:
		gmem_fill(addr, cmd->size, cmd->val);
		return 0;
	case GMEM_GUEST_CHECK:
		return gmem_matches(addr, cmd->size, cmd->val);
	case GMEM_GUEST_CHECK_ZERO:
		return gmem_is_zero(addr, cmd->size);
	case GMEM_GUEST_PUT_CODE:
		gmem_put_code(addr, cmd->val);
		return 0;
	case GMEM_GUEST_CALL:
		return gmem_guest_call(addr);
	case GMEM_GUEST_CLOCK:
		gmem_guest_clock(cmd->addr);
		return 0;
	default:
		return -1;
	}
}

void gmem_guest_code(void)
{
	struct gmem_guest_cmd *cmd = &guest_cmd;

	for (;;) {
		GUEST_SYNC(0);
		cmd->result = gmem_guest_obey(cmd);
	}
}

/* Run the guest until it waits for a command. */
void gmem_guest_start(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC,
		    "Guest stopped with exit reason %u (%s)",
		    vcpu->run->exit_reason,
		    exit_reason_str(vcpu->run->exit_reason));
}

/*
 * Store a command, which the guest executes at the next KVM_RUN: call
 * gmem_guest_finish(), or expect a memory fault first.
 */
void gmem_guest_order(struct kvm_vcpu *vcpu, enum gmem_guest_op op,
		      uint64_t addr, uint64_t size, uint64_t val)
{
	struct gmem_guest_cmd *cmd = addr_gva2hva(vcpu->vm, (vm_vaddr_t)&guest_cmd);

	cmd->op = op;
	cmd->addr = addr;
	cmd->size = size;
	cmd->val = val;
}

uint64_t gmem_guest_finish(struct kvm_vcpu *vcpu)
{
	struct gmem_guest_cmd *cmd = addr_gva2hva(vcpu->vm, (vm_vaddr_t)&guest_cmd);

	gmem_guest_start(vcpu);
	return cmd->result;
}

uint64_t gmem_guest_do(struct kvm_vcpu *vcpu, enum gmem_guest_op op,
		       uint64_t addr, uint64_t size, uint64_t val)
{
	gmem_guest_order(vcpu, op, addr, size, val);
	return gmem_guest_finish(vcpu);
}

void assert_guest_sees(struct kvm_vcpu *vcpu, uint64_t addr, size_t len, uint64_t seed)
{
	TEST_ASSERT(gmem_guest_do(vcpu, GMEM_GUEST_CHECK, addr, len, seed),
		    "The guest sees other data than %lu at 0x%lx", seed, addr);
}

void assert_guest_sees_zero(struct kvm_vcpu *vcpu, uint64_t addr, size_t len)
{
	TEST_ASSERT(gmem_guest_do(vcpu, GMEM_GUEST_CHECK_ZERO, addr, len, 0),
		    "The guest does not see zeros at 0x%lx", addr);
}

void assert_host_sees(const void *addr, size_t len, uint64_t seed)
{
	TEST_ASSERT(gmem_matches(addr, len, seed), "The host sees other data than %lu",
		    seed);
}

/* KVM reports host pages, which may be larger than the guest's. */
void vcpu_run_expect_memory_fault_flags(struct kvm_vcpu *vcpu, uint64_t gpa, int err,
					uint64_t flags)
{
	struct kvm_run *run = vcpu->run;
	uint64_t page_size = getpagesize();

	ASSERT_ERRNO(_vcpu_run(vcpu), err);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MEMORY_FAULT,
		    "Exit reason %u (%s), expected MEMORY_FAULT",
		    run->exit_reason, exit_reason_str(run->exit_reason));
	ASSERT_EQ((uint64_t)run->memory_fault.gpa, gpa & ~(page_size - 1));
	ASSERT_EQ((uint64_t)run->memory_fault.size, page_size);
	ASSERT_EQ((uint64_t)run->memory_fault.flags, flags);
}

void vcpu_run_expect_memory_fault(struct kvm_vcpu *vcpu, uint64_t gpa, int err)
{
	vcpu_run_expect_memory_fault_flags(vcpu, gpa, err, 0);
}

void gmem_expect_mmio_read(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t val)
{
	struct kvm_run *run = vcpu->run;

	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write &&
		    run->mmio.phys_addr == gpa,
		    "Exit reason %u (%s), expected an MMIO read of 0x%lx",
		    run->exit_reason, exit_reason_str(run->exit_reason), gpa);
	memcpy(run->mmio.data, &val, sizeof(val));
}

int gmem_write_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return errno;
	if (write(fd, val, strlen(val)) < 0)
		ret = errno;
	close(fd);
	return ret;
}

uint64_t gmem_pfn(void *addr)
{
	uint64_t entry, page = (uintptr_t)addr / getpagesize();
	int fd = ASSERT_OK(open("/proc/self/pagemap", O_RDONLY));
	ssize_t len = pread(fd, &entry, sizeof(entry), page * sizeof(entry));

	TEST_ASSERT(len == sizeof(entry), "Cannot read pagemap, errno %d", errno);
	close(fd);
	return entry & (1ull << 63) ? entry & ((1ull << 55) - 1) : 0;
}

bool gmem_debug_kernel(void)
{
	bool has_lockdep = !access("/proc/lockdep", F_OK);

	errno = 0;
	return has_lockdep;
}

static const char *join_cgroup(const char *cgroup, const char *(*fn)(const char *))
{
	char procs[128];

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	return gmem_write_file(procs, "0") ? "cannot join a cgroup" : fn(cgroup);
}

const char *gmem_in_cgroup(const char *(*fn)(const char *cgroup))
{
	char root[] = "/tmp/gmem-cgroup-XXXXXX", cgroup[64], path[96];
	const char *skip = "no cgroup2 with the memory controller";

	TEST_ASSERT(mkdtemp(root), "Cannot make %s", root);
	if (mount("none", root, "cgroup2", 0, NULL)) {
		rmdir(root);
		return "cannot mount cgroup2";
	}

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
	snprintf(cgroup, sizeof(cgroup), "%s/gmem-test", root);
	gmem_write_file(path, "+hugetlb");
	if (!gmem_write_file(path, "+memory") && !mkdir(cgroup, 0700)) {
		skip = join_cgroup(cgroup, fn);
		snprintf(path, sizeof(path), "%s/cgroup.procs", root);
		gmem_write_file(path, "0");
		rmdir(cgroup);
	}
	umount(root);
	rmdir(root);
	return skip;
}

uint64_t gmem_cgroup_bytes(const char *cgroup)
{
	char path[128];
	uint64_t val;
	FILE *f;

	snprintf(path, sizeof(path), "%s/memory.current", cgroup);
	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s", path);
	ASSERT_EQ(fscanf(f, "%lu", &val), 1);
	fclose(f);
	return val;
}

const char *gmem_free_loop(int *loop)
{
	static char name[32];
	int control = open("/dev/loop-control", O_RDWR), nr;

	*loop = -1;
	if (control >= 0) {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		close(control);
		snprintf(name, sizeof(name), "/dev/loop%d", nr);
		*loop = open(name, O_RDWR);
	}
	errno = 0;
	return *loop < 0 ? NULL : name;
}

void gmem_in_child(void (*child)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	pid = ASSERT_OK(fork());
	if (!pid) {
		child(arg);
		_exit(0);
	}
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "Child failed, wait status 0x%x", status);
}

static int child_pipe[2];

pid_t gmem_start_child(void (*child)(void *arg), void *arg)
{
	ssize_t len;
	int status;
	pid_t pid;
	char byte;

	ASSERT_OK(pipe(child_pipe));
	pid = ASSERT_OK(fork());
	if (!pid) {
		child(arg);
		_exit(0);
	}
	close(child_pipe[1]);
	len = ASSERT_OK(read(child_pipe[0], &byte, 1));
	close(child_pipe[0]);
	if (len)
		return pid;
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(!status, "Child failed, wait status 0x%x", status);
	return 0;
}

void gmem_child_waits(void)
{
	ASSERT_EQ(write(child_pipe[1], "", 1), 1l);
	for (;;)
		pause();
}

void gmem_kill_child(pid_t pid)
{
	int status;

	ASSERT_OK(kill(pid, SIGKILL));
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "Child failed, wait status 0x%x", status);
}
