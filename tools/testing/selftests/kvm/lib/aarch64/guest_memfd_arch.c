// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest_memfd tests' view of arm64, see guest_memfd_util.h.
 */
#include "guest_memfd_util.h"
#include "processor.h"

/* Arm DEN0057: the call that returns the address of the stolen time. */
#define PV_TIME_ST		0xc5000021

const char *const gmem_no_protected_vms = "KVM has no software-protected VMs";

unsigned long gmem_protected_vm_type(void)
{
	return KVM_ARM_SW_PROTECTED_VM << KVM_VM_TYPE_ARM_TYPE_SHIFT;
}

bool gmem_have_protected_vms(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_ARM_SW_PROTECTED_VM);
}

/* The host sets the address of the stolen time, once for each vCPU. */
void gmem_clock_init(struct kvm_vcpu *vcpu, uint64_t gpa)
{
	struct kvm_device_attr attr = {
		.group = KVM_ARM_VCPU_PVTIME_CTRL,
		.attr = KVM_ARM_VCPU_PVTIME_IPA,
		.addr = (uintptr_t)&gpa,
	};

	vcpu_ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr);
}

/* KVM initializes the structure now, and updates it when the vCPU is loaded. */
void gmem_guest_clock(uint64_t gpa)
{
	struct arm_smccc_res res;

	smccc_hvc(PV_TIME_ST, 0, 0, 0, 0, 0, 0, 0, &res);
}

/* KVM does not count them on arm64. */
uint64_t gmem_faults_taken(struct kvm_vcpu *vcpu)
{
	return 0;
}

static void report_exception(struct ex_regs *regs)
{
	__GUEST_ASSERT(false, "exception: ESR, FAR, PC", 3, read_sysreg(esr_el1),
		       read_sysreg(far_el1), regs->pc);
}

void gmem_catch_exceptions(struct kvm_vm *vm, struct kvm_vcpu **vcpus, int nr_vcpus)
{
	int i;

	vm_init_descriptor_tables(vm);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_init_descriptor_tables(vcpus[i]);
	for (i = 0; i < ESR_EC_NUM; i++)
		vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, i, report_exception);
}

void gmem_dump_vcpu(struct kvm_vcpu *vcpu)
{
	uint64_t pc, pstate, sp;

	vcpu_get_reg(vcpu, ARM64_CORE_REG(regs.pc), &pc);
	vcpu_get_reg(vcpu, ARM64_CORE_REG(regs.pstate), &pstate);
	vcpu_get_reg(vcpu, ARM64_CORE_REG(sp_el1), &sp);
	ksft_print_msg("vCPU %u: PC 0x%lx PSTATE 0x%lx SP 0x%lx; %lu exits, %lu for MMIO\n",
		       vcpu->id, pc, pstate, sp, gmem_vcpu_stat(vcpu, "exits"),
		       gmem_vcpu_stat(vcpu, "mmio_exit_user"));
}

/* movz w0, #low; movk w0, #high, lsl #16; ret */
void gmem_put_code(void *where, uint32_t val)
{
	uint32_t *code = where;

	WRITE_ONCE(code[0], 0x52800000 | (val & 0xffff) << 5);
	WRITE_ONCE(code[1], 0x72a00000 | (val >> 16) << 5);
	WRITE_ONCE(code[2], 0xd65f03c0);
}

/* New code may be in the data cache, old code in the instruction cache. */
uint64_t gmem_guest_call(void *code)
{
	asm volatile("dc cvau, %0\n\tdsb ish\n\tic iallu\n\tdsb ish\n\tisb"
		     : : "r" (code) : "memory");
	return ((uint64_t (*)(void))code)();
}

void gmem_guest_map(struct kvm_vm *vm, uint64_t gpa, size_t len)
{
	virt_map(vm, gpa, gpa, DIV_ROUND_UP(len, vm->page_size));
}
