/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of private memory share: protected VMs, the two ways to convert
 * memory, and the exits that private memory makes.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_PRIVATE_H
#define SELFTEST_KVM_GUEST_MEMFD_PRIVATE_H

#include <linux/stddef.h>

#include "guest_memfd_util.h"
#include "processor.h"

static inline bool gmem_have_protected_vms(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM);
}

/* Without the TDP MMU there is no protected VM; a test of them ends here. */
static inline void gmem_require_protected_vms(void)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	__TEST_REQUIRE(gmem_have_protected_vms(),
		       "KVM has no software-protected VMs, is kvm.tdp_mmu off?");
}

static inline struct kvm_vm *gmem_create_protected_vm(struct kvm_vcpu **vcpu,
						      void *guest_code)
{
	struct kvm_vm *vm;

	vm_type = KVM_X86_SW_PROTECTED_VM;
	vm = vm_create_with_one_vcpu(vcpu, guest_code);
	vm_type = KVM_X86_DEFAULT_VM;
	return vm;
}

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

/* On the file itself; @error receives the offset of the page in the way. */
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

/* The guest's next order ends in an MMIO read of @gpa, and gets @val. */
static inline void gmem_expect_mmio_read(struct kvm_vcpu *vcpu, uint64_t gpa,
					 uint64_t val)
{
	struct kvm_run *run = vcpu->run;

	vcpu_run(vcpu);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write &&
		    run->mmio.phys_addr == gpa,
		    "Exit reason %u (%s), expected an MMIO read of 0x%lx",
		    run->exit_reason, exit_reason_str(run->exit_reason), gpa);
	memcpy(run->mmio.data, &val, sizeof(val));
}

static inline void *gmem_anonymous(size_t size)
{
	return ASSERT_OK(mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static inline void gmem_guest_fill(struct kvm_vcpu *vcpu, uint64_t addr, size_t len,
				   uint64_t seed)
{
	gmem_guest_do(vcpu, GMEM_GUEST_FILL, addr, len, seed);
}

static inline void assert_guest_sees(struct kvm_vcpu *vcpu, uint64_t addr, size_t len,
				     uint64_t seed)
{
	TEST_ASSERT(gmem_guest_do(vcpu, GMEM_GUEST_CHECK, addr, len, seed),
		    "The guest sees other data than %lu at 0x%lx", seed, addr);
}

static inline void assert_guest_sees_zero(struct kvm_vcpu *vcpu, uint64_t addr,
					  size_t len)
{
	TEST_ASSERT(gmem_guest_do(vcpu, GMEM_GUEST_CHECK_ZERO, addr, len, 0),
		    "The guest does not see zeros at 0x%lx", addr);
}

static inline void assert_host_sees(const void *addr, size_t len, uint64_t seed)
{
	TEST_ASSERT(gmem_matches(addr, len, seed),
		    "The host sees other data than %lu", seed);
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
