// SPDX-License-Identifier: GPL-2.0
/*
 * Keep other threads from writing to memory that is being moved.
 *
 * The ranges are made read-only. A thread that writes to one of them faults and
 * waits in the handler below until the range has been remapped; the write is
 * then retried on the new mapping. Readers are not affected. A system call that
 * writes to such a range meanwhile fails with EFAULT, but memory that the guest
 * has never seen is not a target of I/O.
 *
 * Only one pause is active at a time, under gmem_lock().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "move.h"

#define MAX_RANGES	64

static struct {
	uintptr_t start;
	uintptr_t end;
	bool moved;
} ranges[MAX_RANGES];

static size_t nr_ranges;
static atomic_bool paused;
static struct sigaction old_action;

static bool in_range(uintptr_t addr)
{
	size_t i;

	for (i = 0; i < nr_ranges; i++)
		if (addr >= ranges[i].start && addr < ranges[i].end)
			return true;
	return false;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (in_range((uintptr_t)info->si_addr)) {
		while (atomic_load(&paused))
			sched_yield();
		return;
	}
	if (old_action.sa_flags & SA_SIGINFO)
		old_action.sa_sigaction(sig, info, context);
	else if (old_action.sa_handler != SIG_DFL &&
		 old_action.sa_handler != SIG_IGN)
		old_action.sa_handler(sig);
	else
		/* The access faults again and takes the default action. */
		sigaction(SIGSEGV, &old_action, NULL);
}

int gmem_pause_begin(void)
{
	struct sigaction action = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};

	nr_ranges = 0;
	atomic_store(&paused, true);
	if (!sigaction(SIGSEGV, &action, &old_action))
		return 0;
	atomic_store(&paused, false);
	return -errno;
}

/* The range must be mapped read-write. */
int gmem_pause_range(uintptr_t start, uintptr_t end)
{
	if (nr_ranges == MAX_RANGES)
		return -E2BIG;
	ranges[nr_ranges].start = start;
	ranges[nr_ranges].end = end;
	ranges[nr_ranges].moved = false;
	nr_ranges++;
	if (mprotect((void *)start, end - start, PROT_READ)) {
		int err = -errno;

		/* mprotect() may have changed part of the range. */
		mprotect((void *)start, end - start, PROT_READ | PROT_WRITE);
		nr_ranges--;
		return err;
	}
	return 0;
}

/* The range has been remapped, with its previous protection. */
void gmem_pause_moved(uintptr_t start, uintptr_t end)
{
	size_t i;

	for (i = 0; i < nr_ranges; i++)
		if (ranges[i].start == start && ranges[i].end == end)
			ranges[i].moved = true;
}

/* Ranges that were not moved become writable again. */
void gmem_pause_end(void)
{
	size_t i;

	for (i = 0; i < nr_ranges; i++)
		if (!ranges[i].moved)
			mprotect((void *)ranges[i].start,
				 ranges[i].end - ranges[i].start,
				 PROT_READ | PROT_WRITE);
	atomic_store(&paused, false);
	sigaction(SIGSEGV, &old_action, NULL);
}
