/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the KVM ABI that gmem-run needs, for building with kernel
 * headers that are older than guest_memfd.
 */
#ifndef GMEM_RUN_UAPI_H
#define GMEM_RUN_UAPI_H

#include <linux/const.h>
#include <linux/kvm.h>
#include <linux/types.h>

#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD		_BITUL(2)
#endif

#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

#define KVM_SET_USER_MEMORY_REGION2 \
	_IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif

#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};

#define KVM_CREATE_GUEST_MEMFD \
	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif

#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP		_BITULL(0)
#endif

#ifndef GUEST_MEMFD_FLAG_INIT_SHARED
#define GUEST_MEMFD_FLAG_INIT_SHARED	_BITULL(1)
#endif

#ifndef GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define GUEST_MEMFD_FLAG_NO_DIRECT_MAP	_BITULL(2)
#endif

#ifndef GUEST_MEMFD_FLAG_HUGETLB
#define GUEST_MEMFD_FLAG_HUGETLB	_BITULL(4)
#endif

#ifndef GUEST_MEMFD_HUGE_SHIFT
#define GUEST_MEMFD_HUGE_SHIFT		58
#endif

#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2		231
#endif

#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD		234
#endif

#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS	244
#endif

#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES		235
#endif

#ifndef KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES
#define KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES	250
#endif

#ifndef KVM_X86_SW_PROTECTED_VM
#define KVM_X86_SW_PROTECTED_VM		1
#endif

#ifndef KVM_MEMORY_ATTRIBUTE_PRIVATE
#define KVM_MEMORY_ATTRIBUTE_PRIVATE	_BITULL(3)
#endif

#ifndef KVM_SET_MEMORY_ATTRIBUTES2
struct kvm_memory_attributes2 {
	union {
		__u64 address;
		__u64 offset;
	};
	__u64 size;
	__u64 attributes;
	__u64 flags;
	__u64 error_offset;
	__u64 reserved[11];
};

#define KVM_SET_MEMORY_ATTRIBUTES2 \
	_IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)
#endif

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT		39
#endif

#ifndef KVM_MEMORY_EXIT_FLAG_PRIVATE
#define KVM_MEMORY_EXIT_FLAG_PRIVATE	_BITULL(3)
#endif

/* From linux/kvm_para.h, which not all architectures have. */
#define GMEM_HC_MAP_GPA_RANGE		12
#define GMEM_HC_PAGE_SIZE		4096

/* SMCCC numbers of KVM on arm64, as used by pKVM guests. */
#define GMEM_HC_MEM_SHARE		0xc6000003
#define GMEM_HC_MEM_UNSHARE		0xc6000004
#define GMEM_SMCCC_INVALID_PARAMETER	(-3)

/* The type of protected VMs, and the type bits that an ordinary VM may have. */
#ifdef __aarch64__
#define GMEM_VM_TYPE			15
#define GMEM_VM_TYPE_SHIFT		8
#define GMEM_VM_ORDINARY		0xffUL	/* the size of the address space */
#else
#define GMEM_VM_TYPE			KVM_X86_SW_PROTECTED_VM
#define GMEM_VM_TYPE_SHIFT		0
#define GMEM_VM_ORDINARY		0UL
#endif
#define GMEM_VM_PROTECTED		((unsigned long)GMEM_VM_TYPE << GMEM_VM_TYPE_SHIFT)

/* The member memory_fault of struct kvm_run, which older headers lack. */
struct gmem_memory_fault {
	__u64 flags;
	__u64 gpa;
	__u64 size;
};

#endif /* GMEM_RUN_UAPI_H */
