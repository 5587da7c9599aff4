// SPDX-License-Identifier: GPL-2.0
/*
 * Say who accessed private memory, before the SIGBUS ends the VMM.
 *
 * The VMM may install a handler of its own; ours stays in front of it, and passes
 * on what it gets. The kernel does not call it if the signal is blocked, as QEMU does in
 * most threads, so that it never is. It takes no lock: the thread may hold one, or another thread may.
 * It reads files and slots that another thread may change, which at worst makes the
 * message wrong.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "file.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "sigbus.h"
#include "vm.h"

#define MAX_FRAMES	32

/* What the VMM installed, or the default action. */
static struct sigaction its_action;
static bool installed;

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

/* The slot that shows the memory at this address, which is private, or NULL. */
static const struct gmem_slot *private_slot_at(uintptr_t addr, u64 *gpa)
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
			return slot;
		}
	}
	return NULL;
}

static void explain(uintptr_t addr)
{
	void *frames[MAX_FRAMES];
	char name[16] = "?";
	u64 gpa;
	int n;

	if (!private_slot_at(addr, &gpa))
		return;
	prctl(PR_GET_NAME, name);
	gmem_say("thread '%s' of the VMM accesses private memory, gpa %#lx; its calls:",
		 name, gpa);
	gmem_event("event=sigbus gpa=%#lx thread=%s", gpa, name);
	n = backtrace(frames, MAX_FRAMES);
	backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	static atomic_flag once = ATOMIC_FLAG_INIT;

	if (info->si_code == BUS_ADRERR && !atomic_flag_test_and_set(&once))
		explain((uintptr_t)info->si_addr);
	if (its_action.sa_flags & SA_SIGINFO)
		its_action.sa_sigaction(sig, info, context);
	else if (its_action.sa_handler != SIG_DFL &&
		 its_action.sa_handler != SIG_IGN)
		its_action.sa_handler(sig);
	else
		/* The access faults again and takes the default action. */
		next_sigaction(SIGBUS, &its_action, NULL);
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
	sigset_t set;

	if (!next)
		next = next_function("pthread_sigmask");
	if (new && how != SIG_UNBLOCK && gmem_options.protected) {
		set = *new;
		sigdelset(&set, SIGBUS);
		new = &set;
	}
	return next(how, new, old);
}
