// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_RUN of a protected VM. Before, the memory becomes private if that is the
 * moment. After, some exits are answered here and the vCPU runs on; all others
 * are the VMM's. The lock is taken around the vCPU's run, never during it.
 */
#include <errno.h>

#include "lock.h"
#include "options.h"
#include "private.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

static struct gmem_vm *vm_of(const struct gmem_vcpu *vcpu)
{
	return vcpu ? gmem_vm_find(vcpu->vm_fd) : NULL;
}

/* Returns a copy: others may come and go while the vCPU runs. */
static int run_begin(int fd, struct gmem_vcpu *copy)
{
	const struct gmem_vcpu *vcpu;
	struct gmem_vm *vm;

	/* In a signal handler that came in the middle of our own work. */
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
 * The guest's access and the state of the memory do not fit. If it is memory
 * that we can convert, the access decides. If the state is the wanted one
 * already, there is another reason, which only the VMM can deal with: what is
 * answered here brings the guest on.
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

/* Is the exit dealt with? Then the vCPU runs on. */
static bool answered(const struct gmem_vcpu *vcpu, int ret)
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
		done = gmem_hypercall(vm, run);
	}
	gmem_unlock();
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
