// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: ioctls and capabilities
 *
 * This file copies and checks the arguments from user space.  guest_memfd.c,
 * mem_attributes.c and, for memory regions, KVM's own memslot code do the work.
 * As in Linux 6.8 and later, reserved fields of the ABI are ignored.
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include "gmem.h"

/* Flags that KVM_CREATE_GUEST_MEMFD accepts; @kvm is NULL for /dev/kvm. */
static u64 kvm_gmem_flags(struct kvm *kvm)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED |
		    GUEST_MEMFD_FLAG_WRITE;

	if (guest_memory_can_hide())
		flags |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	if (guest_memory_has_hugetlb())
		flags |= GUEST_MEMFD_FLAG_HUGETLB;

	return flags;
}

/* Attributes that memory can have; @kvm is NULL for /dev/kvm. */
static u64 kvm_gmem_attributes(struct kvm *kvm)
{
	if (kvm ? kvm_has_private_mem(kvm) : kvm_arch_vm_types() > 1)
		return KVM_MEMORY_ATTRIBUTE_PRIVATE;

	return 0;
}

/*
 * KVM_CHECK_EXTENSION; @kvm is NULL for /dev/kvm.  Returns 0 for capabilities
 * that do not belong to guest_memfd.
 */
int kvm_gmem_check_extension(struct kvm *kvm, long cap)
{
	if (!kvm_arch_gmem_supported())
		return 0;

	switch (cap) {
	case KVM_CAP_USER_MEMORY2:
	case KVM_CAP_GUEST_MEMFD:
		return 1;
	case KVM_CAP_MEMORY_FAULT_INFO:
		return IS_ENABLED(CONFIG_X86);
	case KVM_CAP_MEMORY_ATTRIBUTES:
	case KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES:
		return kvm_gmem_attributes(kvm);
	case KVM_CAP_VM_TYPES:
		return kvm_arch_vm_types();
	case KVM_CAP_PRE_FAULT_MEMORY:
		return kvm_arch_pre_fault_supported();
	case KVM_CAP_GUEST_MEMFD_FLAGS:
		return kvm_gmem_flags(kvm);
	default:
		return 0;
	}
}

/*
 * The page size in the flags.  Without GUEST_MEMFD_FLAG_HUGETLB there is one value
 * besides 0, for files that shall have no blocks of 2 MiB.
 */
static bool kvm_gmem_check_page_size(u64 flags)
{
	u64 log2 = flags >> GUEST_MEMFD_HUGE_SHIFT;
	unsigned long properties;

	if (flags & GUEST_MEMFD_FLAG_HUGETLB)
		return !guest_memory_find_hugetlb(log2, &properties);

	return !log2 || (guest_memory_has_blocks() && log2 == PAGE_SHIFT);
}

static int kvm_gmem_ioctl_create(struct kvm *kvm, void __user *argp)
{
	const u64 page_size = ~0ULL << GUEST_MEMFD_HUGE_SHIFT;
	struct kvm_create_guest_memfd args;

	if (copy_from_user(&args, argp, sizeof(args)))
		return -EFAULT;

	if (args.flags & ~page_size & ~kvm_gmem_flags(kvm) ||
	    !kvm_gmem_check_page_size(args.flags))
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

	/* Higher ids are for slots that KVM creates for itself. */
	if ((u16)mem.slot >= KVM_USER_MEM_SLOTS ||
	    !kvm_gmem_slot_allowed(kvm, mem.slot))
		return -EINVAL;

	return kvm_set_memory_region(kvm, &mem);
}

/*
 * The VM ioctls of guest_memfd, called without locks by a process of kvm->mm.
 * Returns -ENOTTY for ioctls of others.
 */
long kvm_gmem_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp)
{
	if (!kvm_arch_gmem_supported())
		return -ENOTTY;

	switch (ioctl) {
	case KVM_CREATE_GUEST_MEMFD:
		return kvm_gmem_ioctl_create(kvm, argp);
	case KVM_SET_USER_MEMORY_REGION2:
		return kvm_gmem_ioctl_set_region(kvm, argp);
	case KVM_SET_MEMORY_ATTRIBUTES:
		return kvm_ioctl_set_mem_attributes(kvm, argp);
	default:
		return -ENOTTY;
	}
}

/*
 * Populate [gpa, gpa + size) as far as possible.  Any progress counts as
 * success; user space calls again for the rest and gets the error then.
 */
static int kvm_pre_fault(struct kvm_vcpu *vcpu,
			 struct kvm_pre_fault_memory *range)
{
	u64 done = 0;
	long r = 0;
	int idx;

	kvm_arch_pre_fault_begin(vcpu);
	while (done < range->size) {
		r = -EINTR;
		if (signal_pending(current))
			break;

		/* A step may use an entry; KVM_RUN exits here, too. */
		r = -ENOSPC;
		if (vcpu->kvm->dirty_ring_size &&
		    kvm_dirty_ring_soft_full(&vcpu->dirty_ring))
			break;

		/* One SRCU section a step: slot deletion waits for its end. */
		idx = srcu_read_lock(&vcpu->kvm->srcu);
		r = kvm_arch_pre_fault_memory(vcpu, range->gpa + done,
					      range->size - done);
		srcu_read_unlock(&vcpu->kvm->srcu, idx);
		if (r < 0)
			break;

		done += r;
		cond_resched();
	}
	kvm_arch_pre_fault_end(vcpu);

	range->gpa += done;
	range->size -= done;

	return done ? 0 : r;
}

static int kvm_ioctl_pre_fault(struct kvm_vcpu *vcpu, void __user *argp)
{
	struct kvm_pre_fault_memory range;
	int r;

	if (copy_from_user(&range, argp, sizeof(range)))
		return -EFAULT;

	if (range.flags)
		return -EINVAL;

	if (!range.size || !PAGE_ALIGNED(range.gpa) ||
	    !PAGE_ALIGNED(range.size) || range.gpa + range.size <= range.gpa)
		return -EINVAL;

	r = kvm_pre_fault(vcpu, &range);

	if (copy_to_user(argp, &range, sizeof(range)))
		return -EFAULT;

	return r;
}

/* The same for vCPU ioctls; the caller holds vcpu->mutex. */
long kvm_gmem_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl,
			 void __user *argp)
{
	if (!kvm_arch_gmem_supported())
		return -ENOTTY;

	switch (ioctl) {
	case KVM_PRE_FAULT_MEMORY:
		return kvm_ioctl_pre_fault(vcpu, argp);
	default:
		return -ENOTTY;
	}
}
