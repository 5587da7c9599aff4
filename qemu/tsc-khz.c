// SPDX-License-Identifier: GPL-2.0
/*
 * Print the rate of this machine's TSC in kHz, measured against CLOCK_MONOTONIC.
 *
 * QEMU's TCG hands the host's TSC to the guest. A guest that calibrates on a
 * busy machine comes out wrong, and KVM in it then refuses its vCPUs' rate.
 * Each sample is the tightest of many reads, so that being preempted between
 * the two clocks does not count.
 */
#include <linux/types.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
	__u64 tsc;
	__u64 ns;
};

static struct sample take_sample(void)
{
	struct sample best = { 0 };
	__u64 width = ~0ULL;
	int i;

	for (i = 0; i < 1000; i++) {
		struct timespec now;
		__u64 before = __rdtsc();
		__u64 after;

		clock_gettime(CLOCK_MONOTONIC, &now);
		after = __rdtsc();
		if (after - before >= width)
			continue;
		width = after - before;
		best.tsc = before + width / 2;
		best.ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	}
	return best;
}

int main(void)
{
	struct timespec pause = { .tv_nsec = 100000000 };
	struct sample first = take_sample();
	struct sample last;

	nanosleep(&pause, NULL);
	last = take_sample();
	printf("%.0f\n", (double)(last.tsc - first.tsc) * 1e6 / (last.ns - first.ns));
	return 0;
}
