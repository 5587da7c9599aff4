// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads for the guest_memfd stress tests, see guest_memfd_stress.h.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#include "guest_memfd_stress.h"

#define MAX_THREADS	12
#define MAX_PATIENCE	20

struct gmem_stress gmem_stress = { .seconds = 2 };

static pthread_t threads[MAX_THREADS];
static int nr_threads;
static bool stop;

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
		REPORT_GUEST_ASSERT_2(uc, "read 0x%lx, expected 0x%lx");
		return;
	}

	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && gmem_stress.mmio_allowed,
		    "Exit reason %u (%s)", run->exit_reason,
		    exit_reason_str(run->exit_reason));
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
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
		TEST_ASSERT(gmem_stress.faults_allowed && errno == EFAULT &&
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
	ASSERT_EQ(pthread_create(&threads[nr_threads++], NULL, fn, arg), 0);
}

void gmem_stress_add_vcpu(struct kvm_vcpu *vcpu)
{
	gmem_stress_add_thread(vcpu_thread, vcpu);
}

void gmem_stress_wait(void)
{
	int patience = MAX_PATIENCE;

	sleep(gmem_stress.seconds);
	/* A slow machine may need longer, but not forever. */
	while (!(READ_ONCE(gmem_stress.nr_syncs) && READ_ONCE(gmem_stress.nr_steps)) &&
	       patience--)
		sleep(1);
	WRITE_ONCE(stop, true);
	while (nr_threads)
		pthread_join(threads[--nr_threads], NULL);
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
