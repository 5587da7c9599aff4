// SPDX-License-Identifier: GPL-2.0
/*
 * gmem-bench [-r ROUNDS] [GROUP...]: measure path lengths of guest_memfd, in
 * nanoseconds of CLOCK_MONOTONIC. In the counting emulator (qemu/l1 -I), a nanosecond
 * is one instruction. See README in this folder.
 *
 * It uses only the public ABI and checks capabilities, so that it runs on any kernel;
 * what a kernel does not support is reported with the reason.
 *
 * Output: one line per row, "name<TAB>value<TAB>note". The value is "-" if there is
 * none. All lines are printed at the end, because printing causes interrupts.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

#include "gmem-bench.h"

#define FRAGMENTS_SIZE	(GIB / 2)

static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "attributes",	bench_attributes },
	{ "private",	bench_private },
	{ "shared",	bench_shared },
	{ "inplace",	bench_inplace },
	{ "private-2m",	bench_private_2m },
	{ "shared-2m",	bench_shared_2m },
	{ "inplace-2m",	bench_inplace_2m },
	{ "create",	bench_create },
};

static bool chosen(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/*
 * Allocate and keep the small blocks that the page allocator has left after boot, so
 * that pages come from, and return to, large blocks. Otherwise, the number of splits
 * and merges differs from boot to boot.
 */
static void take_fragments(void)
{
	struct vm vm;

	if (!has_protected())
		return;
	vm.fd = create_bare_vm(SW_PROTECTED_VM);
	if (fallocate(create_gmem(&vm, FRAGMENTS_SIZE, 0), FALLOC_FL_KEEP_SIZE, 0,
		      FRAGMENTS_SIZE))
		err(1, "fallocate");
}

/* Disable ASLR, so that addresses are the same in every run. */
static void no_randomisation(char **argv)
{
	int old = personality(0xffffffff);

	if (old & ADDR_NO_RANDOMIZE)
		return;
	personality(old | ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
	err(1, "exec");
}

int main(int argc, char **argv)
{
	int opt, round, rounds = 9;
	unsigned int i;

	no_randomisation(argv);
	while ((opt = getopt(argc, argv, "r:")) != -1) {
		if (opt != 'r' || atoi(optarg) < 1 || atoi(optarg) > MAX_ROUNDS) {
			fprintf(stderr, "usage: gmem-bench [-r ROUNDS] [GROUP...]\n");
			return 2;
		}
		rounds = atoi(optarg);
	}
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		err(1, "/dev/kvm");
	calibrate();
	use_blocks(false);
	take_fragments();
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		for (round = 0; chosen(groups[i].name, argv + optind) && round < rounds; round++)
			groups[i].run();
	print_rows();
	return 0;
}
