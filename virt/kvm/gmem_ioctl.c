// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: ioctls and capabilities
 *
 * What user space passes is copied and checked here; the work is done in
 * guest_memfd.c and, for memory regions, by KVM's own memslot code.  Fields
 * that are reserved in the ABI are not looked at, as in Linux 6.8 and later.
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include "gmem.h"

/* The flags that KVM_CREATE_GUEST_MEMFD takes; @kvm is NULL for /dev/kvm. */
static u64 kvm_gmem_flags(struct kvm *kvm)
{
	return GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
}

int kvm_gmem_check_extension(struct kvm *kvm, long cap)
{
	switch (cap) {
	case KVM_CAP_USER_MEMORY2:
	case KVM_CAP_GUEST_MEMFD:
		return 1;
	case KVM_CAP_MEMORY_FAULT_INFO:
		return IS_ENABLED(CONFIG_X86);
	case KVM_CAP_GUEST_MEMFD_FLAGS:
		return kvm_gmem_flags(kvm);
	default:
		return 0;
	}
}

static int kvm_gmem_ioctl_create(struct kvm *kvm, void __user *argp)
{
	struct kvm_create_guest_memfd args;

	if (copy_from_user(&args, argp, sizeof(args)))
		return -EFAULT;

	if (args.flags & ~kvm_gmem_flags(kvm))
		return -EINVAL;

	if (!args.size || !PAGE_ALIGNED(args.size) || (s64)args.size < 0)
		return -EINVAL;

	return kvm_gmem_create(kvm, args.size, args.flags);
}

static int kvm_gmem_ioctl_set_region(struct kvm *kvm, void __user *argp)
{
	struct kvm_userspace_memory_region2 mem;

	if (copy_from_user(&mem, argp, sizeof(mem)))
		return -EFAULT;

	/* Higher ids are for slots that KVM makes itself. */
	if ((u16)mem.slot >= KVM_USER_MEM_SLOTS)
		return -EINVAL;

	return kvm_set_memory_region(kvm, &mem);
}

long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp)
{
	switch (ioctl) {
	case KVM_CREATE_GUEST_MEMFD:
		return kvm_gmem_ioctl_create(kvm, argp);
	case KVM_SET_USER_MEMORY_REGION2:
		return kvm_gmem_ioctl_set_region(kvm, argp);
	default:
		return -ENOTTY;
	}
}
