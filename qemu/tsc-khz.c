// SPDX-License-Identifier: GPL-2.0
/*
 * Print the rate of this machine's TSC in kHz, measured against CLOCK_MONOTONIC.
 *
 * QEMU's TCG hands the host's TSC to the guest. A guest that calibrates on a
 * busy machine comes out wrong, and KVM in it then refuses its vCPUs' rate.
 * Each sample is the tightest of many reads, so that being preempted between
 * the two clocks does not count.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
	uint64_t tsc;
	uint64_t ns;
};

static struct sample take_sample(void)
{
	struct sample best = { 0 };
	uint64_t width = UINT64_MAX;
	int i;

	for (i = 0; i < 1000; i++) {
		struct timespec now;
		uint64_t before = __rdtsc();
		uint64_t after;

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
