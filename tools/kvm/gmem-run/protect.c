// SPDX-License-Identifier: GPL-2.0
/*
 * --protected: the VMM asks for an ordinary VM and gets a software-protected
 * one, whose memory no process of the host can reach once it is private.
 *
 * The VMM has to load firmware and kernel first, so files begin as shared. At
 * the moment that --private-from names, all files of the VM become private as
 * a whole, under gmem_lock(): of the vCPU threads that arrive, one converts and
 * the others wait. A file that comes later becomes private before it is bound.
 *
 * The VMM goes on if and only if that works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

/* For what may pass; KVM itself has waited for some 20 ms then. */
#define PATIENCE_MS	5000
#define PAUSE_US	10000

static bool has_attributes(int fd)
{
	long cap = KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES;
	int ret = gmem_sys_ioctl(fd, KVM_CHECK_EXTENSION, (void *)cap);

	return ret > 0 && ret & (int)KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

static bool has_vm_type(int fd)
{
	int ret = gmem_sys_ioctl(fd, KVM_CHECK_EXTENSION,
				 (void *)(long)KVM_CAP_VM_TYPES);

	return ret > 0 && ret & 1 << GMEM_VM_TYPE;
}

int gmem_protect_create_vm(int fd, unsigned long request, void *arg)
{
	unsigned long machine = (unsigned long)arg;
	unsigned long type = machine & ~GMEM_VM_ORDINARY;

	if (!gmem_options.protected)
		return gmem_sys_ioctl(fd, request, arg);
	if (!has_vm_type(fd) || !has_attributes(fd))
		gmem_stop("KVM has no software-protected VMs here: %s",
			  "CONFIG_KVM_SW_PROTECTED_VM or its TDP MMU is off");
	if (type && type != GMEM_VM_PROTECTED)
		gmem_stop("the VMM asks for a VM of type %ld, not for an ordinary one",
			  (long)arg);
	return gmem_sys_ioctl(fd, request, (void *)(machine | GMEM_VM_PROTECTED));
}

/*
 * VMMs ask /dev/kvm, before there is a VM, for what protected VMs lack: SMM and
 * its address space.
 */
int gmem_protect_capability(int fd, unsigned long request, void *arg)
{
	int ret = gmem_sys_ioctl(fd, request, arg);

	if (!gmem_options.protected || ret <= 0)
		return ret;
	switch ((long)arg) {
	case KVM_CAP_MULTI_ADDRESS_SPACE:
		return 1;
	case KVM_CAP_X86_SMM:
		return 0;
	default:
		return ret;
	}
}

static const char *when_name(void)
{
	switch (gmem_options.from.when) {
	case GMEM_WHEN_RUN:
		return "run";
	case GMEM_WHEN_IO:
		return "io";
	default:
		return "guest";
	}
}

/* The guest may ask for conversions, see hypercall.c. */
void gmem_protect_created(struct gmem_vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1 << GMEM_HC_MAP_GPA_RANGE },
	};
	int ret;

	if (!has_attributes(vm->fd))
		gmem_stop("fd %d is a VM that is not protected", vm->fd);
	ret = gmem_sys_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	if (ret)
		gmem_stop("KVM does not pass on hypercalls: %s",
			  strerrordesc_np(-ret));
	gmem_event("event=protected fd=%d type=%d from=%s", vm->fd,
		   GMEM_VM_TYPE, when_name());
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void protect_file(struct gmem_file *file)
{
	long until = now_ms() + PATIENCE_MS;
	int ret;

	if (file->private)
		return;
	while ((ret = gmem_convert_file(file)) == -EAGAIN && now_ms() < until)
		usleep(PAUSE_US);
	if (ret == -EAGAIN)
		gmem_stop("fd %d: cannot make the memory private: %s",
			  file->fd, "the host holds on to a page for I/O");
	if (ret)
		gmem_stop("fd %d: cannot make the memory private: %s", file->fd,
			  strerrordesc_np(-ret));
	gmem_verbose("fd %d: %lu KiB are private", file->fd, file->size / 1024);
	gmem_event("event=private fd=%d size=%#lx", file->fd, file->size);
}

/* The moment has come. Under gmem_lock(). */
void gmem_protect_vm(struct gmem_vm *vm)
{
	const struct gmem_slot *alias;
	struct gmem_file *file;
	size_t i;

	if (vm->private)
		return;
	alias = gmem_slot_alias(vm);
	if (alias)
		gmem_stop("slot %u:%u, gpa %#llx size %#llx, shows private memory again",
			  GMEM_AS_ID(alias->region.slot),
			  GMEM_SLOT_ID(alias->region.slot),
			  alias->region.guest_phys_addr,
			  alias->region.memory_size);
	for (i = 0; (file = gmem_file_at(i)); i++)
		if (file->vm_fd == vm->fd)
			protect_file(file);
	vm->private = true;
}

/* A file that is about to be bound. */
void gmem_protect_file(const struct gmem_vm *vm, struct gmem_file *file)
{
	if (vm->private)
		protect_file(file);
}

void gmem_protect_at_exit(const struct gmem_vm *vm, int status)
{
	if (!vm->ran || vm->private || gmem_options.from.when != GMEM_WHEN_IO)
		return;
	gmem_say("the guest's memory was shared all the time: it has not written to port %#x",
		 gmem_options.from.port);
	if (!status)
		gmem_stop("so the VM was not protected");
}
