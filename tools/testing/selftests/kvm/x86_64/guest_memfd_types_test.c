// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_types_test: VM types
 *
 * VM types in KVM_CAP_VM_TYPES can be created, all others are refused.
 * Protected VMs require the TDP MMU, and have only one address space and thus
 * no SMM.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 */
#define NR_PAGES	16
#include "guest_memfd_fixture.h"

static bool tdp_mmu;

static const char *test_vm_types(void)
{
	int kvm_fd = open_kvm_dev_path_or_exit();
	unsigned long types = BIT(KVM_X86_DEFAULT_VM);
	unsigned long type;
	int vm_fd;

	if (tdp_mmu)
		types |= BIT(KVM_X86_SW_PROTECTED_VM);
	ASSERT_EQ(kvm_check_cap(KVM_CAP_VM_TYPES), (int)types);
	for (type = 0; type < 70; type++) {
		if (type < 64 && types & BIT(type)) {
			vm_fd = ASSERT_OK(ioctl(kvm_fd, KVM_CREATE_VM, type));
			ASSERT_EQ(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES),
				  (int)types);
			close(vm_fd);
		} else {
			ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, type), EINVAL);
		}
	}
	ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, -1ul), EINVAL);
	ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, BIT(32) + 1), EINVAL);
	close(kvm_fd);
	return NULL;
}

/* A protected VM has no slots in a second address space. */
static const char *test_address_spaces(void)
{
	struct kvm_vm *ordinary = vm_create_barebones();
	uint32_t smm_slot = 1 << 16 | SLOT;
	int fd = start_vm_with_slot(true, 0);

	ASSERT_EQ(vm_check_cap(ordinary, KVM_CAP_MULTI_ADDRESS_SPACE), 2);
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MULTI_ADDRESS_SPACE), 1);
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, smm_slot, 0, GPA + size, size, mem),
		     EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region2(vm, smm_slot, 0, GPA + size, size, mem,
						  -1, 0), EINVAL);
	ASSERT_OK(__vm_set_user_memory_region(ordinary, smm_slot, 0, GPA, size, mem));
	kvm_vm_free(ordinary);
	stop_vm(fd);
	return NULL;
}

/* User space cannot put a vCPU of a protected VM into SMM. */
static const char *test_smm(void)
{
	struct kvm_vm *ordinary = vm_create_barebones();
	int fd = start_vm_with_slot(true, GMEM_SHARED);
	struct kvm_vcpu_events events;

	if (!vm_check_cap(ordinary, KVM_CAP_X86_SMM)) {
		kvm_vm_free(ordinary);
		stop_vm(fd);
		return "KVM has no SMM";
	}
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_X86_SMM), 0);
	ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_SMI, NULL), EINVAL);
	vcpu_events_get(vcpu, &events);
	ASSERT_OK(__vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events));
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	events.smi.pending = 1;
	ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events), EINVAL);
	events.smi.pending = 0;
	events.smi.smm = 1;
	ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events), EINVAL);
	gmem_guest_write(vcpu, GPA, 1);
	vcpu_events_get(vcpu, &events);
	ASSERT_EQ(events.smi.smm, 0);
	ASSERT_EQ(events.smi.pending, 0);
	kvm_vm_free(ordinary);
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_vm_types),
	GMEM_TEST_PROTECTED(test_address_spaces),
	GMEM_TEST_PROTECTED(test_smm),
};

static void init(void)
{
	gmem_require_mmap();
	tdp_mmu = get_kvm_param_bool("tdp_mmu") && kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY);
}

GMEM_TEST_MAIN(init)
