// SPDX-License-Identifier: GPL-2.0
/*
 * --protected: the VMM requests an ordinary VM and gets a software-protected
 * one. Once its memory is private (see private.c), no process on the host can
 * access it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "options.h"
#include "protect.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"

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
 * VMMs query /dev/kvm before they create a VM: hide what protected VMs do not
 * support, SMM and its address space.
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

/* Lets the guest request conversions, see hypercall.c. */
void gmem_protect_created(int fd)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1 << GMEM_HC_MAP_GPA_RANGE },
	};
	int ret;

	if (!has_attributes(fd))
		gmem_stop("fd %d is a VM that is not protected", fd);
	ret = gmem_sys_ioctl(fd, KVM_ENABLE_CAP, &cap);
	if (ret)
		gmem_stop("KVM does not pass on hypercalls: %s",
			  strerrordesc_np(-ret));
	gmem_event("event=protected fd=%d type=%d from=%s", fd, GMEM_VM_TYPE,
		   when_name());
}
