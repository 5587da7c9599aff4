// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_fleet_test: start and kill many small VMs
 *
 * In each round, a number of processes create a VM with one or two vCPUs and a
 * guest_memfd each, and punch holes and convert memory while the guest writes.
 * They are killed at random times, some of them before the guest has started.
 * Nothing may be left of them: no VM, no memory of their files, no page still
 * being freed, and no more kernel memory than before.
 *
 * Options: -n NUMBER of rounds (default 2)
 *
 * Timeout: 120
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	256
#include "guest_memfd_fixture.h"

#define NR_VMS		24
#define NR_KINDS	4
#define KVM_DEBUGFS	"/sys/kernel/debug/kvm"

/* What processes of earlier rounds may have left behind, in KiB or pages. */
struct traces {
	uint64_t free, slab, unevictable, gmem_pages;
	int vms;
};

/* Number of guests that ran, in memory shared by all processes. */
static unsigned long *nr_ran;

static void guest_code(uint64_t id)
{
	uint64_t page, token = 0;

	for (;;) {
		token++;
		for (page = id; page < NR_PAGES; page += 2)
			gmem_store((uint64_t *)(GPA + page * page_size), token);
		GUEST_SYNC(token);
	}
}

static void *run_vcpu(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	vcpu_run(vcpu);
	__atomic_fetch_add(nr_ran, 1, __ATOMIC_RELAXED);
	for (;;)
		vcpu_run(vcpu);
	return NULL;
}

/* Run a VM until the process is killed. */
static void live(int nr, bool protected, uint64_t flags)
{
	struct kvm_vcpu *vcpus[2];
	int nr_vcpus = 1 + nr / NR_KINDS % 2, fd, i;
	pthread_t thread;

	vm = gmem_create_vm(protected, nr_vcpus, guest_code, vcpus);
	gmem_guest_map(vm, GPA, size);
	sync_global_to_guest(vm, page_size);
	fd = new_slot(flags);
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_args_set(vcpus[i], 1, (uint64_t)i);
		ASSERT_EQ(pthread_create(&thread, NULL, run_vcpu, vcpus[i]), 0);
	}
	for (i = 0;; i = (i + 1) % NR_PAGES) {
		gmem_punch(fd, i * page_size, page_size);
		if (protected && i % 8 == 0)
			__vm_make_private(vm, GPA, size / 2);
		if (protected && i % 8 == 4)
			vm_make_shared(vm, GPA, size);
		gmem_try_read(mem + i * page_size, NULL);
	}
}

static void child(int nr)
{
	bool protected = nr % NR_KINDS >= 2 && gmem_have_protected_vms();
	uint64_t flags = nr % NR_KINDS == 3 && protected ? 0 : GMEM_SHARED;

	/* Every third file is hidden, unless all of them are. */
	if (nr % 3 == 2)
		flags |= gmem_last_kind();
	live(nr, protected, flags);
}

static void run_round(void)
{
	pid_t pids[NR_VMS], pid;
	int i, j, status;

	for (i = 0; i < NR_VMS; i++) {
		pids[i] = ASSERT_OK(fork());
		if (!pids[i])
			child(i);
	}
	/* Kill in random order, while slower processes are still starting. */
	for (i = 0; i < NR_VMS; i++) {
		j = i + rand() % (NR_VMS - i);
		pid = pids[j];
		pids[j] = pids[i];
		pids[i] = pid;
		usleep(rand() % (gmem_debug_kernel() ? 400000 : 100000));
		ASSERT_OK(kill(pids[i], SIGKILL));
	}
	for (i = 0; i < NR_VMS; i++) {
		ASSERT_OK(waitpid(pids[i], &status, 0));
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "A VM failed, wait status 0x%x", status);
	}
}

/* KVM has a debugfs directory for each VM, and a file with the sum of all. */
static void count_vms(struct traces *t)
{
	DIR *dir = opendir(KVM_DEBUGFS);
	struct dirent *entry;
	FILE *f;

	t->vms = 0;
	t->gmem_pages = 0;
	errno = 0;
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		t->vms += entry->d_type == DT_DIR && entry->d_name[0] != '.';
	closedir(dir);
	f = fopen(KVM_DEBUGFS "/gmem_pages", "r");
	TEST_ASSERT(f && fscanf(f, "%lu", &t->gmem_pages) == 1, "Cannot read gmem_pages");
	fclose(f);
}

static struct traces look_for_traces(void)
{
	struct traces t;

	if (gmem_last_kind())
		gmem_wait_for_leaving();
	gmem_drop_caches();
	t.free = gmem_free_memory();
	t.slab = gmem_meminfo("Slab");
	t.unevictable = gmem_meminfo("Unevictable");
	count_vms(&t);
	return t;
}

static void assert_no_traces(const struct traces *before)
{
	struct traces now;
	int64_t grown;
	int i;

	/* RCU callbacks and workers may still have memory to free. */
	for (i = 0; i < 50; i++) {
		now = look_for_traces();
		if (now.vms == before->vms && now.unevictable == before->unevictable &&
		    now.slab <= before->slab + 4 * SZ_1K)
			break;
		usleep(100000);
	}
	ASSERT_EQ(now.vms, before->vms);
	ASSERT_EQ(now.gmem_pages, before->gmem_pages);
	/* A page or two may still be in per-CPU LRU batches. */
	TEST_ASSERT(now.unevictable <= before->unevictable + 64,
		    "%lu KiB unevictable, were %lu", now.unevictable, before->unevictable);
	/* KASAN keeps objects that were freed to the slab allocator. */
	grown = now.slab - before->slab;
	TEST_ASSERT(grown <= 4 * SZ_1K || gmem_debug_kernel(), "The slab grew by %ld KiB", grown);
	gmem_wait_for_free(before->free - (grown > 0 ? grown : 0) - SZ_16M / SZ_1K);
}

int main(int argc, char *argv[])
{
	int opt, i, rounds = 2;
	struct traces before;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n')
			return KSFT_FAIL;
		rounds = atoi(optarg);
	}
	init_sizes();
	gmem_require_mmap();
	__TEST_REQUIRE(!geteuid(), "not root");
	nr_ran = ASSERT_OK(mmap(NULL, page_size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(rounds);
	/* Warm up what the kernel allocates once and keeps. */
	run_round();
	before = look_for_traces();
	for (i = 0; i < rounds; i++) {
		run_round();
		assert_no_traces(&before);
		ksft_test_result_pass("Round %d of %d VMs\n", i + 1, NR_VMS);
	}
	ksft_print_msg("%lu guests ran\n", *nr_ran);
	TEST_ASSERT(*nr_ran, "No guest ran");
	ksft_finished();
	return 0;
}
