// SPDX-License-Identifier: GPL-2.0
/*
 * Say who accessed private memory, before the SIGBUS ends the VMM.
 *
 * The VMM may install a handler of its own; ours stays in front of it, and passes
 * on what it gets. The kernel does not call it if the signal is blocked, as QEMU does in
 * most threads, so that it never is. But a thread that blocks it may want to read it
 * from a descriptor, if it is about a memory error elsewhere: then it is blocked and
 * sent once more.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "file.h"
#include "lock.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "sigbus.h"
#include "vm.h"

#define MAX_FRAMES	32

/* What the VMM installed, or the default action. */
static struct sigaction its_action;
static bool installed;
/* Would SIGBUS be blocked in this thread without us? */
static __thread bool wants_blocked __attribute__((tls_model("initial-exec")));

/* The function of the C library that ours hides. */
static void *next_function(const char *name)
{
	void *next = dlsym(RTLD_NEXT, name);

	if (!next)
		gmem_stop("the C library has no %s()", name);
	return next;
}

static int next_sigaction(int sig, const struct sigaction *new,
			  struct sigaction *old)
{
	static int (*next)(int sig, const struct sigaction *new,
			   struct sigaction *old);

	if (!next)
		next = next_function("sigaction");
	return next(sig, new, old);
}

/* Is the memory at this address private, and what is its guest address? */
static bool private_slot_at(uintptr_t addr, u64 *gpa)
{
	const struct gmem_vm *vm;
	size_t i, j;

	for (i = 0; (vm = gmem_vm_at(i)); i++) {
		for (j = 0; j < vm->slots.nr; j++) {
			const struct gmem_slot *slot = gmem_vec_at(&vm->slots, j);
			const struct kvm_userspace_memory_region2 *r = &slot->region;
			const struct gmem_file *file;
			u64 offset;

			if (slot->kind != GMEM_SLOT_BOUND ||
			    addr - r->userspace_addr >= r->memory_size)
				continue;
			offset = addr - r->userspace_addr + r->guest_memfd_offset;
			file = gmem_file_find(slot->dev, slot->ino);
			if (!file ||
			    !gmem_state_differs(file, offset, offset + 1, false))
				continue;
			*gpa = addr - r->userspace_addr + r->guest_phys_addr;
			return true;
		}
	}
	return false;
}

/* Returns whether this was an access to private memory. */
static bool explain(uintptr_t addr)
{
	void *frames[MAX_FRAMES];
	bool found = false;
	char name[16] = "?";
	u64 gpa;
	int n;

	if (gmem_trylock()) {
		found = private_slot_at(addr, &gpa);
		gmem_unlock();
	}
	if (!found)
		return false;
	prctl(PR_GET_NAME, name);
	gmem_say("thread '%s' of the VMM accesses private memory, gpa %#lx; its calls:",
		 name, gpa);
	gmem_event("event=sigbus gpa=%#lx thread=%s", gpa, name);
	n = backtrace(frames, MAX_FRAMES);
	backtrace_symbols_fd(frames, n, STDERR_FILENO);
	return true;
}

static void send_again(siginfo_t *info, ucontext_t *context)
{
	sigaddset(&context->uc_sigmask, SIGBUS);
	syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, info);
}

/* An access faults again, and ends the VMM; a signal that was sent must be sent again. */
static void take_default(const siginfo_t *info)
{
	if (next_sigaction(SIGBUS, &its_action, NULL))
		return;
	installed = false;
	if (info->si_code <= 0)
		raise(SIGBUS);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	static atomic_bool explained;
	int saved = errno;

	if (info->si_code == BUS_ADRERR && !atomic_load(&explained) &&
	    explain((uintptr_t)info->si_addr))
		atomic_store(&explained, true);
	errno = saved;
	if (wants_blocked && info->si_code == BUS_MCEERR_AO)
		send_again(info, context);
	else if (its_action.sa_flags & SA_SIGINFO)
		its_action.sa_sigaction(sig, info, context);
	else if (its_action.sa_handler != SIG_DFL &&
		 its_action.sa_handler != SIG_IGN)
		its_action.sa_handler(sig);
	else
		take_default(info);
}

/* Called when there is a protected VM. */
void gmem_sigbus_init(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	void *frame;

	if (installed)
		return;
	/* The first call loads a library, which a handler must not. */
	backtrace(&frame, 1);
	installed = !next_sigaction(SIGBUS, &action, &its_action);
}

/*
 * The VMM's sigaction(). Its handler for SIGBUS comes after ours. With the default
 * action it wants to end at once, and gets it.
 */
int gmem_sigbus_action(int sig, const struct sigaction *new,
		       struct sigaction *old)
{
	struct sigaction was = its_action;

	if (sig != SIGBUS || !installed)
		return next_sigaction(sig, new, old);
	if (new) {
		if (!(new->sa_flags & SA_SIGINFO) && new->sa_handler == SIG_DFL) {
			if (next_sigaction(sig, new, NULL))
				return -1;
			installed = false;
		}
		its_action = *new;
	}
	if (old)
		*old = was;
	return 0;
}

/* pthread_sigmask() of a VMM: SIGBUS is not blocked. */
int gmem_sigbus_mask(int how, const sigset_t *new, sigset_t *old)
{
	static int (*next)(int how, const sigset_t *new, sigset_t *old);
	bool blocked = wants_blocked;
	sigset_t set;
	int ret;

	if (!next)
		next = next_function("pthread_sigmask");
	if (!gmem_options.protected)
		return next(how, new, old);
	if (new) {
		set = *new;
		if (how == SIG_SETMASK)
			blocked = sigismember(new, SIGBUS);
		else if (sigismember(new, SIGBUS))
			blocked = how == SIG_BLOCK;
		if (how != SIG_UNBLOCK)
			sigdelset(&set, SIGBUS);
		new = &set;
	}
	ret = next(how, new, old);
	if (ret)
		return ret;
	if (old && wants_blocked)
		sigaddset(old, SIGBUS);
	wants_blocked = blocked;
	return 0;
}
