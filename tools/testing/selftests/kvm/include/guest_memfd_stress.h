/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests in which vCPUs and host threads access the same memory
 * concurrently for a given time: their options, the threads, and the handling
 * of vCPU exits.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_STRESS_H
#define SELFTEST_KVM_GUEST_MEMFD_STRESS_H

#include "guest_memfd_util.h"

/* The highest byte of a token identifies its writer; tokens increase. */
#define GMEM_TOKEN_SHIFT	56

struct gmem_stress {
	/* Set by the test: allowed exits, and a callback before KVM_RUN. */
	bool mmio_allowed;
	bool faults_allowed;
	bool errors_allowed;
	void (*before_run)(struct kvm_vcpu *vcpu);

	/* Duration in seconds; set by the option -t. */
	long seconds;

	/* Number of syncs of all guests, and of steps of all threads. */
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

/* Reset settings, counters and threads of the last run. */
void gmem_stress_reset(void);

/* Start a thread that runs @vcpu, or @fn, until gmem_stress_stopped(). */
void gmem_stress_add_vcpu(struct kvm_vcpu *vcpu);
void gmem_stress_add_thread(void *(*fn)(void *), void *arg);
bool gmem_stress_stopped(void);
void gmem_stress_count_step(void);

/* Wait until the time is up and both sides made progress; stop all threads. */
void gmem_stress_wait(void);

#endif /* SELFTEST_KVM_GUEST_MEMFD_STRESS_H */
