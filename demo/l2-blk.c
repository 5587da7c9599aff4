// SPDX-License-Identifier: GPL-2.0
/*
 * l2-blk DISK: in L2, print the nanoseconds of one read and of one write of 4 KiB, one at
 * a time, with O_DIRECT: the mean of many, in the fastest of a few rounds, in which the
 * system did nothing else. Writes go to the fourth MiB of DISK.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK		4096
#define NR_BLOCKS	256
#define NR_ROUNDS	6
#define WRITE_AT	(3L << 20)

static void *buffer;
static int disk;

static void once(long block, bool write)
{
	ssize_t done;

	if (write)
		done = pwrite(disk, buffer, BLOCK, WRITE_AT + block * BLOCK);
	else
		done = pread(disk, buffer, BLOCK, block * BLOCK);
	if (done != BLOCK)
		err(1, "block %ld", block);
}

static long mean(bool write)
{
	struct timespec start, end;
	long i;

	once(0, write);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < NR_BLOCKS; i++)
		once(i, write);
	clock_gettime(CLOCK_MONOTONIC, &end);

	return ((end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec -
		start.tv_nsec) / NR_BLOCKS;
}

static long fastest(bool write)
{
	long best = mean(write), next;
	int i;

	for (i = 1; i < NR_ROUNDS; i++) {
		next = mean(write);
		if (next < best)
			best = next;
	}
	return best;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: l2-blk DISK");
	disk = open(argv[1], O_RDWR | O_DIRECT);
	if (disk < 0)
		err(1, "%s", argv[1]);
	buffer = aligned_alloc(BLOCK, BLOCK);
	if (!buffer)
		err(1, "aligned_alloc");
	memset(buffer, 0x5a, BLOCK);
	printf("L2: blk_read=%ld\n", fastest(false));
	printf("L2: blk_write=%ld\n", fastest(true));
	return 0;
}
