// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads for the guest_memfd stress tests, see guest_memfd_stress.h.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "guest_memfd_stress.h"

#define MAX_THREADS	12

/*
 * Maximum time without progress, in seconds.  A guest may have to wait on a
 * busy machine, and is slow on a debug kernel.
 */
#define MAX_STALL	60

struct gmem_stress gmem_stress = { .seconds = 2 };

static pthread_t threads[MAX_THREADS];
static struct kvm_vcpu *vcpus[MAX_THREADS];
static int nr_threads;
static bool stop, stalled;

bool gmem_stress_stopped(void)
{
	return READ_ONCE(stop);
}

void gmem_stress_count_step(void)
{
	__atomic_fetch_add(&gmem_stress.nr_steps, 1, __ATOMIC_RELAXED);
}

void gmem_stress_reset(void)
{
	gmem_stress = (struct gmem_stress) { .seconds = gmem_stress.seconds };
	nr_threads = 0;
	WRITE_ONCE(stop, false);
}

static void handle_exit(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		__atomic_fetch_add(&gmem_stress.nr_syncs, 1, __ATOMIC_RELAXED);
		return;
	case UCALL_ABORT:
		gmem_dump_vcpu(vcpu);
		REPORT_GUEST_ASSERT_4(uc, "0x%lx, 0x%lx, 0x%lx, 0x%lx");
		return;
	}

	if (run->exit_reason == KVM_EXIT_SHUTDOWN)
		gmem_dump_vcpu(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && gmem_stress.mmio_allowed,
		    "Exit reason %u (%s)", run->exit_reason,
		    exit_reason_str(run->exit_reason));
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
}

/* Of KVM_EXIT_MEMORY_FAULT. */
static bool is_allowed(int err)
{
	return (gmem_stress.faults_allowed && err == EFAULT) ||
	       (gmem_stress.errors_allowed && err == EHWPOISON);
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	while (!gmem_stress_stopped()) {
		if (gmem_stress.before_run)
			gmem_stress.before_run(vcpu);
		if (!_vcpu_run(vcpu)) {
			handle_exit(vcpu);
			continue;
		}
		/* Stopped by fail_stalled(), which prints the vCPU's state. */
		if (errno == EINTR && READ_ONCE(stalled))
			return NULL;
		TEST_ASSERT(is_allowed(errno) &&
			    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "KVM_RUN failed, errno %d, exit reason %u", errno,
			    vcpu->run->exit_reason);
		sched_yield();
	}
	errno = 0;
	return NULL;
}

void gmem_stress_add_thread(void *(*fn)(void *), void *arg)
{
	TEST_ASSERT(nr_threads < MAX_THREADS, "More than %d threads", MAX_THREADS);
	vcpus[nr_threads] = fn == vcpu_thread ? arg : NULL;
	ASSERT_EQ(pthread_create(&threads[nr_threads++], NULL, fn, arg), 0);
}

void gmem_stress_add_vcpu(struct kvm_vcpu *vcpu)
{
	gmem_stress_add_thread(vcpu_thread, vcpu);
}

static void kick_handler(int sig)
{
}

static bool join_for(pthread_t thread, int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return !pthread_timedjoin_np(thread, NULL, &until);
}

/* Print all vCPUs.  One that does not leave KVM_RUN is a kernel bug. */
static void fail_stalled(void)
{
	struct sigaction sa = { .sa_handler = kick_handler };
	int i;

	ksft_print_msg("No progress for %d s: %lu guest syncs, %lu steps\n", MAX_STALL,
		       gmem_stress.nr_syncs, gmem_stress.nr_steps);
	ASSERT_OK(sigaction(SIGUSR1, &sa, NULL));
	WRITE_ONCE(stalled, true);
	for (i = 0; i < nr_threads; i++) {
		if (!vcpus[i])
			continue;
		vcpus[i]->run->immediate_exit = 1;
		pthread_kill(threads[i], SIGUSR1);
		if (join_for(threads[i], MAX_STALL))
			gmem_dump_vcpu(vcpus[i]);
		else
			ksft_print_msg("vCPU %u does not leave KVM_RUN\n", vcpus[i]->id);
	}
	TEST_FAIL("A stall");
}

void gmem_stress_wait(void)
{
	unsigned long syncs = 0;
	long second, last = 0;

	for (second = 0; second < gmem_stress.seconds || !READ_ONCE(gmem_stress.nr_syncs) ||
	     !READ_ONCE(gmem_stress.nr_steps); second++) {
		sleep(1);
		if (READ_ONCE(gmem_stress.nr_syncs) != syncs)
			last = second;
		syncs = READ_ONCE(gmem_stress.nr_syncs);
		if (second - last >= MAX_STALL)
			fail_stalled();
	}
	WRITE_ONCE(stop, true);
	while (nr_threads) {
		if (!join_for(threads[nr_threads - 1], MAX_STALL))
			fail_stalled();
		nr_threads--;
	}
}

int gmem_stress_main(int argc, char *argv[], const void *cases, size_t size, int nr,
		     void (*run)(const void *one))
{
	const char *only = NULL, *name;
	int opt, i, selected = 0;

	while ((opt = getopt(argc, argv, "t:r:")) != -1) {
		if (opt == 't')
			gmem_stress.seconds = atoi(optarg);
		else if (opt == 'r')
			only = optarg;
		else
			return KSFT_FAIL;
	}
	TEST_ASSERT(gmem_stress.seconds > 0, "-t takes a number of seconds");

	for (i = 0; i < nr; i++)
		selected += !only || !strcmp(only, *(const char **)(cases + i * size));
	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(selected);
	for (i = 0; i < nr; i++) {
		name = *(const char **)(cases + i * size);
		if (only && strcmp(only, name))
			continue;
		run(cases + i * size);
		ksft_test_result_pass("%s\n", name);
	}
	ksft_finished();
	return 0;
}
