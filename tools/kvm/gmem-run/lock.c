// SPDX-License-Identifier: GPL-2.0
/*
 * The only lock. A thread that holds it may enter an interposed function again,
 * from libc or from a signal handler: gmem_lock() then returns false and the
 * call goes straight to the kernel.
 *
 * fork() takes the lock, so that a child that continues as the VMM (a daemon)
 * finds the state consistent and the lock free.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "lock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool held __attribute__((tls_model("initial-exec")));

bool gmem_lock(void)
{
	if (held)
		return false;
	held = true;
	pthread_mutex_lock(&lock);
	return true;
}

/* For signal handlers: waits for a second at most. */
bool gmem_trylock(void)
{
	int tries;

	if (held)
		return false;
	for (tries = 0; tries < 100; tries++) {
		if (!pthread_mutex_trylock(&lock)) {
			held = true;
			return true;
		}
		usleep(10000);
	}
	return false;
}

void gmem_unlock(void)
{
	pthread_mutex_unlock(&lock);
	held = false;
}

static void before_fork(void)
{
	if (!held)
		pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	if (!held)
		pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void lock_init(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}
