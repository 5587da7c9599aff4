/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of private memory: the two ways to convert memory, and
 * checks that accesses to private memory fail.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_PRIVATE_H
#define SELFTEST_KVM_GUEST_MEMFD_PRIVATE_H

#include "guest_memfd_util.h"

static inline int __vm_set_attributes(struct kvm_vm *vm, uint64_t gpa,
				      uint64_t size, uint64_t attributes)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = size,
		.attributes = attributes,
	};

	return __vm_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &attrs);
}

static inline int __vm_make_private(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	return __vm_set_attributes(vm, gpa, size, KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

static inline void vm_make_private(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	ASSERT_OK(__vm_make_private(vm, gpa, size));
}

static inline void vm_make_shared(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	ASSERT_OK(__vm_set_attributes(vm, gpa, size, 0));
}

/* Convert through the file; @error receives the offset of a page in use. */
static inline int __gmem_set_attributes(int fd, uint64_t offset, uint64_t size,
					uint64_t attributes, uint64_t *error)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = attributes,
		.error_offset = -1ull,
	};
	int ret = ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs);

	if (error)
		*error = attrs.error_offset;
	return ret;
}

static inline int __gmem_make_private(int fd, uint64_t offset, uint64_t size)
{
	return __gmem_set_attributes(fd, offset, size,
				     KVM_MEMORY_ATTRIBUTE_PRIVATE, NULL);
}

static inline void gmem_make_private(int fd, uint64_t offset, uint64_t size)
{
	ASSERT_OK(__gmem_make_private(fd, offset, size));
}

static inline void gmem_make_shared(int fd, uint64_t offset, uint64_t size)
{
	ASSERT_OK(__gmem_set_attributes(fd, offset, size, 0, NULL));
}

/* KVM_RUN must fail and say that the page of @gpa is private. */
static inline void vcpu_run_expect_private_fault(struct kvm_vcpu *vcpu, uint64_t gpa)
{
	vcpu_run_expect_memory_fault_flags(vcpu, gpa, EFAULT,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
}

/* No page of the range can be read or written. */
static inline void gmem_assert_no_access(void *start, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += MIN_PAGE_SIZE) {
		TEST_ASSERT(!gmem_try_read(start + off, NULL),
			    "The host can read the private page at +0x%lx", off);
		TEST_ASSERT(!gmem_try_write(start + off, 1),
			    "The host can write the private page at +0x%lx", off);
	}
}

#endif /* SELFTEST_KVM_GUEST_MEMFD_PRIVATE_H */
