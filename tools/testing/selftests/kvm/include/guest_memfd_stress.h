/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests share that let vCPUs and threads of the host loose on the same
 * memory for a given time: their options, the threads, and which exits of a
 * vCPU are no failure.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_STRESS_H
#define SELFTEST_KVM_GUEST_MEMFD_STRESS_H

#include "guest_memfd_util.h"

/* A token names in its highest byte who wrote it, and grows. */
#define GMEM_TOKEN_SHIFT	56

struct gmem_stress {
	/* Set by the test: what a vCPU may meet, and may do before it runs. */
	bool mmio_allowed;
	bool faults_allowed;
	void (*before_run)(struct kvm_vcpu *vcpu);

	/* How long, in seconds; set by the option -t. */
	long seconds;

	/* How often the guests synchronized, and the threads took a step. */
	unsigned long nr_syncs;
	unsigned long nr_steps;
};

extern struct gmem_stress gmem_stress;

/*
 * Run those @cases that option -r selects, with TAP output.  Each is an object
 * of @size bytes that begins with a pointer to its name.
 */
int gmem_stress_main(int argc, char *argv[], const void *cases, size_t size, int nr,
		     void (*run)(const void *one));

/* Forget what the last run allowed and counted, and whom it ran. */
void gmem_stress_reset(void);

/* Start a thread that runs @vcpu, or @fn until gmem_stress_stopped(). */
void gmem_stress_add_vcpu(struct kvm_vcpu *vcpu);
void gmem_stress_add_thread(void *(*fn)(void *), void *arg);
bool gmem_stress_stopped(void);
void gmem_stress_count_step(void);

/* Wait until the time is over and both sides did something; end all threads. */
void gmem_stress_wait(void);

#endif /* SELFTEST_KVM_GUEST_MEMFD_STRESS_H */
