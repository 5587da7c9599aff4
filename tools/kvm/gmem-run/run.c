// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_RUN of a protected VM. With --private-from run, memory becomes private
 * before it. After it, some exits are handled here and the vCPU is run again;
 * all others are passed to the VMM. The lock is taken before and after KVM_RUN,
 * but never held during it.
 *
 * A conversion fails while the host uses the page. It is tried again for a while,
 * without the lock between two attempts: another thread of the VMM may have to
 * release the page. If the VMM stops the vCPU meanwhile, KVM_RUN ends with EINTR, and
 * the next one goes on with the attempts; KVM, which would take the answer, is not
 * entered before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "lock.h"
#include "options.h"
#include "private.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

/* How long a conversion is tried again, and the pause between two attempts. */
#define PATIENCE_MS	1000
#define PAUSE_US	10000

enum answer {
	ANSWER_NONE,		/* the exit is the VMM's */
	ANSWER_DONE,		/* run the vCPU again */
	ANSWER_OPEN,		/* the VMM wants to stop the vCPU first */
};

static struct gmem_vm *vm_of(const struct gmem_vcpu *vcpu)
{
	return vcpu ? gmem_vm_find(vcpu->vm_fd) : NULL;
}

/* Returns a copy: the array of vCPUs may move while the vCPU runs. */
static int run_begin(int fd, struct gmem_vcpu *copy)
{
	const struct gmem_vcpu *vcpu;
	struct gmem_vm *vm;

	/* Called from a signal handler that interrupted our own work. */
	if (!gmem_lock())
		return -EBUSY;
	vcpu = gmem_vcpu_find(fd);
	vm = vm_of(vcpu);
	if (!vm)
		gmem_stop("fd %d: a vCPU that was made elsewhere", fd);
	if (!vcpu->run)
		gmem_stop("fd %d: the VMM has not mapped its vCPU", fd);
	vm->ran = true;
	if (gmem_options.from.when == GMEM_WHEN_RUN)
		gmem_private_vm(vm);
	*copy = *vcpu;
	gmem_unlock();
	return 0;
}

/*
 * The guest's access does not match the state of the memory. Convert the memory
 * to match the access, if possible. If the state already matches, the fault has
 * another reason, which only the VMM can handle: an exit is only handled here
 * if the guest makes progress then.
 */
static bool memory_fault(struct gmem_vm *vm, const struct kvm_run *run)
{
	const struct gmem_memory_fault *fault = (const void *)run->padding;
	bool private = fault->flags & KVM_MEMORY_EXIT_FLAG_PRIVATE;

	return !(fault->flags & ~KVM_MEMORY_EXIT_FLAG_PRIVATE) &&
	       gmem_convert_differs(vm, fault->gpa, fault->size, private) &&
	       !gmem_convert_gpa(vm, fault->gpa, fault->size, private);
}

static void io(struct gmem_vm *vm, const struct kvm_run *run)
{
	if (gmem_options.from.when == GMEM_WHEN_IO &&
	    run->io.direction == KVM_EXIT_IO_OUT &&
	    run->io.port == gmem_options.from.port)
		gmem_private_vm(vm);
}

/* Handles the exit if possible; returns whether to run the vCPU again. */
static bool try_answer(const struct gmem_vcpu *vcpu, int ret, bool *busy)
{
	struct kvm_run *run = vcpu->run;
	bool done = false;
	struct gmem_vm *vm;

	if (ret && ret != -EFAULT)
		return false;
	if (!gmem_lock())
		return false;
	vm = vm_of(vcpu);
	if (!vm) {
		/* Its VM is gone. */
	} else if (ret) {
		done = run->exit_reason == KVM_EXIT_MEMORY_FAULT &&
		       memory_fault(vm, run);
	} else if (run->exit_reason == KVM_EXIT_IO) {
		io(vm, run);
	} else if (run->exit_reason == KVM_EXIT_HYPERCALL) {
		done = gmem_hypercall(vm, run, busy);
	}
	gmem_unlock();
	return done;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum answer answered(const struct gmem_vcpu *vcpu, int ret)
{
	long until = 0;

	for (;;) {
		bool busy = false;
		bool done = try_answer(vcpu, ret, &busy);

		if (!busy)
			return done ? ANSWER_DONE : ANSWER_NONE;
		if (!until)
			until = now_ms() + PATIENCE_MS;
		else if (now_ms() >= until)
			return ANSWER_DONE;
		/* A signal that came earlier has set immediate_exit. */
		if (usleep(PAUSE_US) || vcpu->run->immediate_exit)
			return ANSWER_OPEN;
	}
}

static void set_open(int fd, bool open)
{
	if (!gmem_lock())
		return;
	gmem_vcpu_set_open(fd, open);
	gmem_unlock();
}

int gmem_run(int fd, unsigned long request, void *arg)
{
	struct gmem_vcpu vcpu;
	enum answer answer;
	bool open;
	int ret;

	if (!gmem_options.protected)
		return gmem_sys_ioctl(fd, request, arg);
	ret = run_begin(fd, &vcpu);
	if (ret)
		return ret;
	do {
		ret = vcpu.open ? 0 : gmem_sys_ioctl(fd, request, arg);
		answer = answered(&vcpu, ret);
		open = answer == ANSWER_OPEN;
		if (open != vcpu.open)
			set_open(fd, open);
		vcpu.open = open;
	} while (answer == ANSWER_DONE);
	return open ? -EINTR : ret;
}
