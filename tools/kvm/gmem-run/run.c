// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_RUN of a protected VM. With --private-from run, memory becomes private
 * before it. After it, some exits are handled here and the vCPU is run again;
 * all others are passed to the VMM. The lock is taken before and after KVM_RUN,
 * but never held during it, nor while a vCPU waits for a page that the host uses:
 * another thread of the VMM has to release it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "lock.h"
#include "options.h"
#include "private.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

/* How often, and after how long, a conversion is tried again. */
#define BUSY_TRIES	100
#define BUSY_PAUSE_US	10000

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
static bool answer(const struct gmem_vcpu *vcpu, int ret, bool *busy)
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

/* A signal, with which the VMM stops its vCPUs, ends the attempts. */
static bool answered(const struct gmem_vcpu *vcpu, int ret)
{
	unsigned int tries = 0;
	bool done, busy;

	do {
		busy = false;
		done = answer(vcpu, ret, &busy);
	} while (busy && ++tries < BUSY_TRIES && !usleep(BUSY_PAUSE_US));

	return done;
}

int gmem_run(int fd, unsigned long request, void *arg)
{
	struct gmem_vcpu vcpu;
	int ret;

	if (!gmem_options.protected)
		return gmem_sys_ioctl(fd, request, arg);
	ret = run_begin(fd, &vcpu);
	if (ret)
		return ret;
	do {
		ret = gmem_sys_ioctl(fd, request, arg);
	} while (answered(&vcpu, ret));
	return ret;
}
