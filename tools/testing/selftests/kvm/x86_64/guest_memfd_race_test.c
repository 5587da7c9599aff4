// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_race_test: everything at once, for a given time
 *
 * Two vCPUs write to their pages of a slot and read them back, while threads of
 * the host take the memory, the slot or the file away.  A vCPU may find what it
 * has just written, or zero; a page that is freed must never be written again,
 * which other memory of the test would notice.  In some races KVM itself writes
 * to the slot: the clock of each vCPU has a page behind those of the vCPUs.
 *
 * Options: -t SECONDS per race (default 2), -r NAME of a race
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <linux/stddef.h>
#include <asm/kvm_para.h>

#include "guest_memfd_util.h"
#include "processor.h"

#define NR_VCPUS	2
#define NR_PAGES	32
#define NR_SLOT_PAGES	(NR_PAGES + NR_VCPUS)
#define SLOT		5
#define GPA		0x10000000ul
#define MAX_STEPS	4
#define MAX_PATIENCE	20

/* A token names the vCPU that wrote it, and grows. */
#define TOKEN_SHIFT	56
#define TOKEN_STRIDE	504

static struct kvm_vcpu *vcpus[NR_VCPUS];
static struct kvm_vm *vm;
static size_t page_size;
static size_t size;
static uint8_t *mem;
static int fd;
static bool stop_race;
static long seconds = 2;

/* How often the guests synchronized, and the threads took their steps. */
static unsigned long nr_syncs, nr_steps;

/* What a race does and allows. The first two are for the guest. */
static bool use_clock;
static bool old_tokens_allowed;
static bool mmio_allowed;
static bool faults_allowed;

typedef void (*step_fn)(unsigned int *seed);

static void guest_code(uint64_t id)
{
	uint64_t token = id << TOKEN_SHIFT, page, off, val;

	for (;;) {
		token++;
		if (use_clock)
			wrmsr(MSR_KVM_SYSTEM_TIME_NEW,
			      (GPA + (NR_PAGES + id - 1) * PAGE_SIZE) | KVM_MSR_ENABLED);
		for (page = id - 1; page < NR_PAGES; page += NR_VCPUS) {
			uint64_t *p = (uint64_t *)(GPA + page * PAGE_SIZE);

			for (off = 0; off < PAGE_SIZE; off += TOKEN_STRIDE)
				WRITE_ONCE(p[off / sizeof(*p)], token);
			for (off = 0; off < PAGE_SIZE; off += TOKEN_STRIDE) {
				val = READ_ONCE(p[off / sizeof(*p)]);
				if (val == token || !val)
					continue;
				GUEST_ASSERT_2(old_tokens_allowed && val < token &&
					       val >> TOKEN_SHIFT == id, val, token);
			}
		}
		if (!(token % 16))
			GUEST_SYNC(token);
	}
}

static void handle_exit(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct ucall uc;

	if (run->exit_reason == KVM_EXIT_MMIO) {
		TEST_ASSERT(mmio_allowed, "MMIO at 0x%llx", run->mmio.phys_addr);
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0, sizeof(run->mmio.data));
		return;
	}

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		__atomic_fetch_add(&nr_syncs, 1, __ATOMIC_RELAXED);
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT_2(uc, "read 0x%lx, wrote 0x%lx");
		break;
	default:
		TEST_FAIL("Exit reason %u (%s)", run->exit_reason,
			  exit_reason_str(run->exit_reason));
	}
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	while (!READ_ONCE(stop_race)) {
		if (!_vcpu_run(vcpu)) {
			handle_exit(vcpu);
			continue;
		}
		TEST_ASSERT(faults_allowed && errno == EFAULT &&
			    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "KVM_RUN failed, errno %d, exit reason %u", errno,
			    vcpu->run->exit_reason);
		sched_yield();
	}
	return NULL;
}

static void *step_thread(void *arg)
{
	step_fn step = arg;
	unsigned int seed = (uintptr_t)&seed >> 4;

	while (!READ_ONCE(stop_race)) {
		step(&seed);
		__atomic_fetch_add(&nr_steps, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int set_slot(uint32_t flags, size_t len)
{
	return __vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD | flags, GPA,
					    len, mem, READ_ONCE(fd), 0);
}

static void random_range(unsigned int *seed, uint64_t *offset, uint64_t *len)
{
	uint64_t first = rand_r(seed) % NR_SLOT_PAGES;

	*offset = first * page_size;
	*len = (1 + rand_r(seed) % (NR_SLOT_PAGES - first)) * page_size;
}

static void step_punch(unsigned int *seed)
{
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	gmem_punch(fd, offset, len);
}

static void step_fallocate(unsigned int *seed)
{
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	gmem_fallocate(fd, offset, len);
}

/* Both sides of the race see the same pages: these words are tokens or zero. */
static void host_check(uint64_t page, uint64_t off)
{
	uint64_t val = READ_ONCE(*(uint64_t *)(mem + page * page_size + off));

	TEST_ASSERT(!val || val >> TOKEN_SHIFT == page % NR_VCPUS + 1,
		    "Page %lu holds 0x%lx", page, val);
}

static void step_host_read(unsigned int *seed)
{
	uint64_t page;

	for (page = 0; page < NR_PAGES; page++)
		host_check(page, rand_r(seed) % (page_size / TOKEN_STRIDE) * TOKEN_STRIDE);
}

/* Memory that was a hole's a moment ago may well be here now. */
static void step_canary(unsigned int *seed)
{
	size_t i, len = 2 * size;
	uint64_t *p;

	p = ASSERT_OK(mmap(NULL, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
	TEST_ASSERT(gmem_is_zero(p, len), "New memory is not zero");
	for (i = 0; i < len / sizeof(*p); i += 63)
		p[i] = 0x5a5a5a5a5a5a5a5aul + i;
	sched_yield();
	for (i = 0; i < len / sizeof(*p); i += 63)
		TEST_ASSERT(p[i] == 0x5a5a5a5a5a5a5a5aul + i,
			    "Somebody wrote 0x%lx to other memory", p[i]);
	ASSERT_OK(munmap(p, len));
}

static void step_remap(unsigned int *seed)
{
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	ASSERT_OK(madvise(mem + offset, len, MADV_DONTNEED));
	ASSERT_OK(mmap(mem + offset, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, fd, offset));
}

static void step_delete_slot(unsigned int *seed)
{
	if (!set_slot(0, 0) && rand_r(seed) % 2)
		sched_yield();
	if (set_slot(0, size))
		TEST_ASSERT(errno == EINVAL, "Cannot bind, errno %d", errno);
}

static void step_toggle_log(unsigned int *seed)
{
	uint64_t bitmap;
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = &bitmap };

	/* EINVAL: another thread has done it, or the slot is not there. */
	if (set_slot(rand_r(seed) % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0, size))
		TEST_ASSERT(errno == EINVAL, "Cannot set flags, errno %d", errno);
	if (__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log))
		TEST_ASSERT(errno == ENOENT, "Cannot get the log, errno %d", errno);
}

static void step_close(unsigned int *seed)
{
	close(fd);
	if (rand_r(seed) % 2)
		sched_yield();
	ASSERT_OK(set_slot(0, 0));
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	ASSERT_OK(set_slot(0, size));
	usleep(rand_r(seed) % 2000);
}

/* Close the file while others bind it and punch holes, and make another one. */
static void step_replace_file(unsigned int *seed)
{
	close(fd);
	WRITE_ONCE(fd, vm_create_guest_memfd(vm, size, GMEM_SHARED));
	usleep(rand_r(seed) % 500);
}

static void step_bind_any(unsigned int *seed)
{
	uint64_t offset, len;

	if (set_slot(0, rand_r(seed) % 2 ? size : 0))
		TEST_ASSERT(errno == EINVAL || errno == EBADF,
			    "Cannot set slot, errno %d", errno);
	random_range(seed, &offset, &len);
	if (__gmem_punch(READ_ONCE(fd), offset, len))
		TEST_ASSERT(errno == EBADF, "Cannot punch, errno %d", errno);
}

static void step_fork(unsigned int *seed)
{
	int status;
	pid_t pid;

	pid = ASSERT_OK(fork());
	if (!pid) {
		step_host_read(seed);
		if (*seed % 2)
			gmem_punch(fd, 0, size);
		_exit(0);
	}
	ASSERT_OK(waitpid(pid, &status, 0));
	TEST_ASSERT(!status, "Child failed, wait status 0x%x", status);
	rand_r(seed);
}

static void start_vm(bool mapped)
{
	int i;

	vm = vm_create_with_vcpus(NR_VCPUS, guest_code, vcpus);
	virt_map(vm, GPA, GPA, NR_SLOT_PAGES);
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	mem = mapped ? gmem_mmap(fd, 0, size) : NULL;
	ASSERT_OK(set_slot(0, size));
	sync_global_to_guest(vm, use_clock);
	sync_global_to_guest(vm, old_tokens_allowed);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_args_set(vcpus[i], 1, (uint64_t)i + 1);
}

static void stop_vm(void)
{
	uint64_t page, off;

	for (page = 0; mem && page < NR_PAGES; page++)
		for (off = 0; off < page_size; off += TOKEN_STRIDE)
			host_check(page, off);
	kvm_vm_free(vm);
	if (mem)
		ASSERT_OK(munmap(mem, size));
	close(fd);
}

static void run_threads(const step_fn *steps)
{
	pthread_t threads[NR_VCPUS + MAX_STEPS];
	int nr = 0, patience = MAX_PATIENCE, i;

	WRITE_ONCE(stop_race, false);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_create(&threads[nr++], NULL, vcpu_thread, vcpus[i]);
	for (i = 0; i < MAX_STEPS && steps[i]; i++)
		pthread_create(&threads[nr++], NULL, step_thread, steps[i]);

	sleep(seconds);
	/* A slow machine may need longer, but not forever. */
	while (!(READ_ONCE(nr_syncs) && READ_ONCE(nr_steps)) && patience--)
		sleep(1);
	WRITE_ONCE(stop_race, true);
	while (nr--)
		pthread_join(threads[nr], NULL);
}

struct race {
	const char *name;
	step_fn steps[MAX_STEPS];
	bool unmapped;
	bool use_clock;
	bool old_tokens_allowed;
	bool mmio_allowed;
	bool faults_allowed;
	bool killed;
};

static const struct race races[] = {
	{ "punch", { step_punch, step_host_read, step_canary } },
	{ "punch-fallocate", { step_punch, step_fallocate, step_punch, step_canary } },
	{ "remap", { step_punch, step_remap, step_host_read, step_canary } },
	{ "fork", { step_punch, step_fork, step_host_read } },
	{ "log", { step_toggle_log, step_toggle_log, step_punch, step_host_read } },
	{ "clock", { step_toggle_log, step_remap, step_punch, step_canary },
	  .use_clock = true },
	{ "close", { step_close, step_canary }, .unmapped = true,
	  .mmio_allowed = true, .faults_allowed = true },
	{ "close-bind", { step_replace_file, step_bind_any, step_bind_any, step_canary },
	  .unmapped = true, .old_tokens_allowed = true, .mmio_allowed = true,
	  .faults_allowed = true },
	{ "delete", { step_delete_slot, step_punch, step_canary },
	  .old_tokens_allowed = true, .mmio_allowed = true },
	{ "delete-log", { step_delete_slot, step_toggle_log, step_punch, step_fork },
	  .use_clock = true, .old_tokens_allowed = true, .mmio_allowed = true },
	{ "kill", { step_punch, step_toggle_log, step_remap, step_canary },
	  .use_clock = true, .killed = true },
};

static void run_race(const struct race *race)
{
	use_clock = race->use_clock;
	old_tokens_allowed = race->old_tokens_allowed;
	mmio_allowed = race->mmio_allowed;
	faults_allowed = race->faults_allowed;
	nr_syncs = 0;
	nr_steps = 0;
	start_vm(!race->unmapped);
	run_threads(race->steps);
	stop_vm();
	ksft_print_msg("%s: %lu guest syncs, %lu steps\n", race->name, nr_syncs, nr_steps);
	TEST_ASSERT(nr_syncs && nr_steps, "The guests or the threads made no progress");
}

/* Processes that die in the middle of it all, again and again. */
static void run_killed_race(const struct race *race)
{
	struct timespec start;
	int status;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (timespec_to_ns(timespec_elapsed(start)) < seconds * NSEC_PER_SEC) {
		pid = ASSERT_OK(fork());
		if (!pid) {
			seconds = 3600;
			run_race(race);
			_exit(1);
		}
		usleep(20000 + rand() % 200000);
		kill(pid, SIGKILL);
		ASSERT_OK(waitpid(pid, &status, 0));
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "Child failed, wait status 0x%x", status);
	}
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	int opt, i, nr = 0;

	while ((opt = getopt(argc, argv, "t:r:")) != -1) {
		if (opt == 't')
			seconds = atoi(optarg);
		else if (opt == 'r')
			only = optarg;
		else
			return KSFT_FAIL;
	}
	TEST_ASSERT(seconds > 0, "-t takes a number of seconds");

	page_size = getpagesize();
	size = NR_SLOT_PAGES * page_size;
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP);

	for (i = 0; i < ARRAY_SIZE(races); i++)
		nr += !only || !strcmp(only, races[i].name);

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < ARRAY_SIZE(races); i++) {
		if (only && strcmp(only, races[i].name))
			continue;
		if (races[i].killed)
			run_killed_race(&races[i]);
		else
			run_race(&races[i]);
		ksft_test_result_pass("%s\n", races[i].name);
	}
	ksft_finished();
	return 0;
}
