// SPDX-License-Identifier: GPL-2.0
/*
 * Print the rate of this machine's TSC in kHz, measured against CLOCK_MONOTONIC.
 *
 * Under QEMU's TCG, the guest sees the host's TSC. A guest that calibrates it on
 * a busy machine gets a wrong rate, and KVM in the guest then rejects the rate of
 * its vCPUs. Each sample is the tightest of many reads, so that preemption
 * between the two clocks does not matter.
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
