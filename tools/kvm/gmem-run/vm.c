// SPDX-License-Identifier: GPL-2.0
/*
 * The VMs of this process, and whether KVM supports guest_memfd for them.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "options.h"
#include "protect.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vec.h"
#include "vm.h"

static struct gmem_vec vms = GMEM_VEC(struct gmem_vm);

static int capability(int fd, long number)
{
	return gmem_sys_ioctl(fd, KVM_CHECK_EXTENSION, (void *)number);
}

static bool vm_usable(int fd)
{
	u64 needed = gmem_file_flags(), flags = 0;
	int ret = capability(fd, KVM_CAP_GUEST_MEMFD_FLAGS);

	if (ret > 0 && capability(fd, KVM_CAP_USER_MEMORY2) > 0 &&
	    capability(fd, KVM_CAP_GUEST_MEMFD) > 0)
		flags = (u64)ret;
	if ((flags & needed) == needed)
		return true;
	if (flags && (needed & ~flags) == GUEST_MEMFD_FLAG_NO_DIRECT_MAP)
		gmem_stop("KVM cannot keep memory out of the direct map here");
	gmem_refuse("KVM has no guest_memfd for ordinary VMs here, the VMM runs as it is");
	return false;
}

struct gmem_vm *gmem_vm_at(size_t i)
{
	return i < vms.nr ? gmem_vec_at(&vms, i) : NULL;
}

static struct gmem_vm *vm_of_fd(int fd)
{
	size_t i;

	for (i = 0; i < vms.nr; i++) {
		struct gmem_vm *vm = gmem_vec_at(&vms, i);

		if (vm->fd == fd)
			return vm;
	}
	return NULL;
}

/* The fd may have been that of another VM, which is closed now. */
void gmem_vm_created(int fd)
{
	struct gmem_vm *vm = vm_of_fd(fd);

	gmem_options_forget();
	if (vm) {
		gmem_vec_free(&vm->slots);
	} else {
		vm = gmem_vec_add(&vms);
		if (!vm) {
			gmem_refuse("out of memory");
			return;
		}
	}
	*vm = (struct gmem_vm) {
		.fd = fd,
		.pid = getpid(),
		.slots = GMEM_VEC(struct gmem_slot),
	};
	gmem_event("event=vm fd=%d pid=%d", fd, vm->pid);
	vm->usable = vm_usable(fd);
	if (!vm->usable)
		gmem_event("event=unusable fd=%d", fd);
	else if (gmem_options.protected)
		gmem_protect_created(fd);
}

/* Is it a VM? It may have been created elsewhere and passed to us by fd. */
static bool is_vm(int fd)
{
	static const char name[] = "anon_inode:kvm-vm";
	char path[32], link[sizeof(name)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link)) == sizeof(name) - 1 &&
	       !memcmp(link, name, sizeof(name) - 1);
}

struct gmem_vm *gmem_vm_find(int fd)
{
	struct gmem_vm *vm = vm_of_fd(fd);

	if (!vm && is_vm(fd)) {
		gmem_vm_created(fd);
		vm = vm_of_fd(fd);
	}
	return vm && vm->usable ? vm : NULL;
}
