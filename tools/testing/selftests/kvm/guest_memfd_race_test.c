// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_race_test: everything at once, for a given time
 *
 * Two vCPUs write to their pages of a slot and read them back, while threads of
 * the host remove the memory, the slot or the file.  A vCPU may read what it
 * has just written, or zero.  A freed page must never be written again, which
 * would be noticed in other memory of the test.  In some races KVM itself
 * writes to the slot: the clock of each vCPU has a page after those of the
 * vCPUs.
 *
 * Options: -t SECONDS per race (default 2), -r NAME of a race
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <sys/wait.h>

#include "guest_memfd_stress.h"

#define NR_VCPUS	2
#define NR_GUEST_PAGES	32
#define NR_PAGES	(NR_GUEST_PAGES + NR_VCPUS)
#include "guest_memfd_fixture.h"

#define MAX_STEPS	4
#define TOKEN_STRIDE	504

static struct kvm_vcpu *vcpus[NR_VCPUS];
static int fd;

/* The settings of a race that the guest needs. */
static bool use_clock;
static bool old_tokens_allowed;

typedef void (*step_fn)(unsigned int *seed);

static uint64_t clock_gpa(int vcpu)
{
	return GPA + (NR_GUEST_PAGES + vcpu) * page_size;
}

static void guest_code(uint64_t id)
{
	uint64_t token = id << GMEM_TOKEN_SHIFT, page, off, val;

	for (;;) {
		token++;
		if (use_clock)
			gmem_guest_clock(clock_gpa(id - 1));
		for (page = id - 1; page < NR_GUEST_PAGES; page += NR_VCPUS) {
			uint64_t *p = (uint64_t *)(GPA + page * page_size);

			for (off = 0; off < page_size; off += TOKEN_STRIDE)
				gmem_store(&p[off / sizeof(*p)], token);
			for (off = 0; off < page_size; off += TOKEN_STRIDE) {
				val = gmem_load(&p[off / sizeof(*p)]);
				if (val == token || !val)
					continue;
				GUEST_ASSERT_2(old_tokens_allowed && val < token &&
					       val >> GMEM_TOKEN_SHIFT == id, val, token);
			}
		}
		if (!(token % 16))
			GUEST_SYNC(token);
	}
}

static void *step_thread(void *arg)
{
	step_fn step = arg;
	unsigned int seed = (uintptr_t)&seed >> 4;

	while (!gmem_stress_stopped()) {
		step(&seed);
		gmem_stress_count_step();
	}
	return NULL;
}

static void random_range(unsigned int *seed, uint64_t *offset, uint64_t *len)
{
	uint64_t first = rand_r(seed) % NR_PAGES;

	*offset = first * page_size;
	*len = (1 + rand_r(seed) % (NR_PAGES - first)) * page_size;
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

/* Guest and host see the same pages: these words are tokens or zero. */
static void host_check(uint64_t page, uint64_t off)
{
	uint64_t val = READ_ONCE(*(uint64_t *)(mem + page * page_size + off));

	TEST_ASSERT(!val || val >> GMEM_TOKEN_SHIFT == page % NR_VCPUS + 1,
		    "Page %lu holds 0x%lx", page, val);
}

static void step_host_read(unsigned int *seed)
{
	uint64_t page;

	for (page = 0; page < NR_GUEST_PAGES; page++)
		host_check(page, rand_r(seed) % (page_size / TOKEN_STRIDE) * TOKEN_STRIDE);
}

/* New memory may well consist of pages that were just punched. */
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
	gmem_zap(fd, offset, mem + offset, len);
	ASSERT_OK(mmap(mem + offset, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, fd, offset));
}

static void step_delete_slot(unsigned int *seed)
{
	if (!__set_slot(READ_ONCE(fd), 0, 0) && rand_r(seed) % 2)
		sched_yield();
	if (__set_slot(READ_ONCE(fd), 0, size))
		TEST_ASSERT(errno == EINVAL, "Cannot bind, errno %d", errno);
}

static void step_toggle_log(unsigned int *seed)
{
	/* Enough for a block of 2 MiB. */
	uint64_t bitmap[SZ_2M / MIN_PAGE_SIZE / 64];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bitmap };

	/* EINVAL: another thread has done it, or the slot does not exist. */
	if (__set_slot(fd, rand_r(seed) % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0, size))
		TEST_ASSERT(errno == EINVAL, "Cannot set flags, errno %d", errno);
	if (__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log))
		TEST_ASSERT(errno == ENOENT, "Cannot get the log, errno %d", errno);
}

static void step_close(unsigned int *seed)
{
	close(fd);
	if (rand_r(seed) % 2)
		sched_yield();
	ASSERT_OK(__set_slot(READ_ONCE(fd), 0, 0));
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	ASSERT_OK(__set_slot(READ_ONCE(fd), 0, size));
	usleep(rand_r(seed) % 2000);
}

/* Close and replace the file while others bind it and punch holes. */
static void step_replace_file(unsigned int *seed)
{
	close(fd);
	WRITE_ONCE(fd, vm_create_guest_memfd(vm, size, GMEM_SHARED));
	usleep(rand_r(seed) % 500);
}

static void step_bind_any(unsigned int *seed)
{
	uint64_t offset, len;

	if (__set_slot(READ_ONCE(fd), 0, rand_r(seed) % 2 ? size : 0))
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

static void start(bool mapped)
{
	int i;

	vm = gmem_create_vm(false, NR_VCPUS, guest_code, vcpus);
	gmem_catch_exceptions(vm, vcpus, NR_VCPUS);
	gmem_guest_map(vm, GPA, size);
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	mem = mapped ? gmem_mmap(fd, 0, size) : NULL;
	ASSERT_OK(__set_slot(READ_ONCE(fd), 0, size));
	sync_global_to_guest(vm, page_size);
	sync_global_to_guest(vm, use_clock);
	sync_global_to_guest(vm, old_tokens_allowed);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_args_set(vcpus[i], 1, (uint64_t)i + 1);
	for (i = 0; use_clock && i < NR_VCPUS; i++)
		gmem_clock_init(vcpus[i], clock_gpa(i));
}

static void stop(void)
{
	uint64_t page, off;

	for (page = 0; mem && page < NR_GUEST_PAGES; page++)
		for (off = 0; off < page_size; off += TOKEN_STRIDE)
			host_check(page, off);
	stop_vm(fd);
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
	int i;

	use_clock = race->use_clock;
	old_tokens_allowed = race->old_tokens_allowed;
	gmem_stress_reset();
	gmem_stress.mmio_allowed = race->mmio_allowed;
	gmem_stress.faults_allowed = race->faults_allowed;
	start(!race->unmapped);
	for (i = 0; i < NR_VCPUS; i++)
		gmem_stress_add_vcpu(vcpus[i]);
	for (i = 0; i < MAX_STEPS && race->steps[i]; i++)
		gmem_stress_add_thread(step_thread, race->steps[i]);
	gmem_stress_wait();
	stop();
	ksft_print_msg("%s: %lu guest syncs, %lu steps\n", race->name,
		       gmem_stress.nr_syncs, gmem_stress.nr_steps);
	TEST_ASSERT(gmem_stress.nr_syncs && gmem_stress.nr_steps,
		    "The guests or the threads made no progress");
}

/* Repeatedly kill a process in the middle of the race. */
static void run_killed_race(const struct race *race)
{
	struct timespec start;
	int status;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (timespec_to_ns(timespec_elapsed(start)) < gmem_stress.seconds * NSEC_PER_SEC) {
		pid = ASSERT_OK(fork());
		if (!pid) {
			gmem_stress.seconds = 3600;
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

static void run(const void *one)
{
	const struct race *race = one;

	if (race->killed)
		run_killed_race(race);
	else
		run_race(race);
}

int main(int argc, char *argv[])
{
	init_sizes();
	gmem_require_mmap();
	return gmem_stress_main(argc, argv, races, sizeof(races[0]), ARRAY_SIZE(races), run);
}
