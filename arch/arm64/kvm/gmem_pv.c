// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: paravirtual interfaces of protected VMs
 *
 * Guests request the conversion of memory with the hypercalls that Linux makes
 * as a guest of pKVM: HYP_MEMINFO (function 2 of KVM's vendor services),
 * MEM_SHARE (3) and MEM_UNSHARE (4).  Numbers, arguments and results are those
 * that Documentation/virt/kvm/arm/hypercalls.rst and include/linux/arm-smccc.h
 * of Linux 6.12 define.
 *
 * KVM checks the arguments and forwards the request to user space, which
 * converts the memory and leaves the result in kvm_run.  KVM itself changes no
 * state.
 *
 * A call is available to the guest if its bit, which has the number of the
 * function, is set in KVM_REG_ARM_VENDOR_HYP_BMAP and if user space has enabled
 * the exit with KVM_CAP_EXIT_HYPERCALL.  The two are independent, so that user
 * space can restore them in any order.
 */
#include <linux/arm-smccc.h>
#include <linux/kvm_host.h>
#include <linux/kvm_para.h>

#include <asm/kvm_emulate.h>
#include <asm/kvm_mmu.h>
#include <asm/pvclock-abi.h>

#include <kvm/arm_hypercalls.h>

#include "gmem_pv.h"

#define KVM_GMEM_HYPERCALLS	(BIT(KVM_REG_ARM_VENDOR_HYP_BIT_HYP_MEMINFO) | \
				 BIT(KVM_REG_ARM_VENDOR_HYP_BIT_MEM_SHARE) | \
				 BIT(KVM_REG_ARM_VENDOR_HYP_BIT_MEM_UNSHARE))

/*
 * The mask that KVM_CAP_EXIT_HYPERCALL can enable; @kvm is NULL for /dev/kvm.
 * As on x86, BIT(KVM_HC_MAP_GPA_RANGE) stands for guest-requested conversion.
 */
unsigned long kvm_gmem_exit_hypercalls(struct kvm *kvm)
{
	if (kvm ? kvm_has_private_mem(kvm) : kvm_arch_vm_types() > 1)
		return BIT(KVM_HC_MAP_GPA_RANGE);

	return 0;
}

/* Enable @mask and disable the rest.  Returns 0 or -EINVAL. */
int kvm_gmem_enable_exit_hypercalls(struct kvm *kvm, u64 mask)
{
	if (!kvm_has_private_mem(kvm) || (mask & ~kvm_gmem_exit_hypercalls(kvm)))
		return -EINVAL;

	if (mask)
		set_bit(KVM_ARCH_FLAG_MEM_HYPERCALLS, &kvm->arch.flags);
	else
		clear_bit(KVM_ARCH_FLAG_MEM_HYPERCALLS, &kvm->arch.flags);

	return 0;
}

/* The bits of KVM_REG_ARM_VENDOR_HYP_BMAP that only protected VMs have. */
unsigned long kvm_gmem_vendor_hyp_features(struct kvm *kvm)
{
	return kvm_has_private_mem(kvm) ? KVM_GMEM_HYPERCALLS : 0;
}

/*
 * KVM_REG_ARM_VENDOR_HYP_BMAP without the hypercalls that this vCPU cannot
 * make.  The caller holds vcpu->mutex.
 */
unsigned long kvm_gmem_visible_hypercalls(struct kvm_vcpu *vcpu)
{
	unsigned long bmap = vcpu->kvm->arch.smccc_feat.vendor_hyp_bmap;

	/* The calls have 64-bit arguments. */
	if (!test_bit(KVM_ARCH_FLAG_MEM_HYPERCALLS, &vcpu->kvm->arch.flags) ||
	    vcpu_mode_is_32bit(vcpu))
		bmap &= ~KVM_GMEM_HYPERCALLS;

	return bmap;
}

/* Exit to user space; kvm_gmem_finish_hypercall() completes the call. */
static int kvm_gmem_forward_hypercall(struct kvm_vcpu *vcpu, u32 func_id)
{
	struct kvm_run *run = vcpu->run;
	int i;

	run->exit_reason = KVM_EXIT_HYPERCALL;
	run->hypercall.nr = func_id;
	for (i = 0; i < ARRAY_SIZE(run->hypercall.args); i++)
		run->hypercall.args[i] = vcpu_get_reg(vcpu, i + 1);
	run->hypercall.ret = SMCCC_RET_SUCCESS;
	run->hypercall.longmode = 0;
	run->hypercall.pad = 0;
	vcpu_set_flag(vcpu, MEM_HYPERCALL);

	return 0;
}

/*
 * Handle a hypercall that kvm_gmem_visible_hypercalls() allows.  The caller
 * holds vcpu->mutex.  Returns 1 to run the guest again, 0 to exit to user
 * space.
 */
int kvm_gmem_hypercall(struct kvm_vcpu *vcpu, u32 func_id)
{
	unsigned long arg1 = smccc_get_arg1(vcpu);
	long r = SMCCC_RET_INVALID_PARAMETER;

	/* Reserved in all three calls. */
	if (smccc_get_arg2(vcpu) || smccc_get_arg3(vcpu))
		goto out;

	if (func_id == ARM_SMCCC_VENDOR_HYP_KVM_HYP_MEMINFO_FUNC_ID) {
		if (!arg1)
			r = PAGE_SIZE;
		goto out;
	}

	if (PAGE_ALIGNED(arg1) && arg1 < kvm_phys_size(vcpu->kvm))
		return kvm_gmem_forward_hypercall(vcpu, func_id);

out:
	smccc_set_retval(vcpu, r, 0, 0, 0);
	return 1;
}

/*
 * When KVM_RUN begins: if kvm_gmem_hypercall() made the last exit, pass the
 * result from user space to the guest.  The caller holds vcpu->mutex.
 */
void kvm_gmem_finish_hypercall(struct kvm_vcpu *vcpu)
{
	if (!vcpu_get_flag(vcpu, MEM_HYPERCALL))
		return;

	vcpu_clear_flag(vcpu, MEM_HYPERCALL);
	smccc_set_retval(vcpu, vcpu->run->hypercall.ret, 0, 0, 0);
}

/*
 * Report stolen time in a protected VM.  The usual way uses the slot's
 * userspace address, but the record may be in the file.  Called by the vCPU's
 * process before it enters the guest, with kvm->srcu held; may sleep.
 */
void kvm_gmem_update_stolen_time(struct kvm_vcpu *vcpu)
{
	gpa_t gpa = vcpu->arch.steal.base +
		    offsetof(struct pvclock_vcpu_stolen_time, stolen_time);
	u64 last_steal = vcpu->arch.steal.last_steal;
	struct kvm *kvm = vcpu->kvm;
	__le64 record;
	u64 steal;

	if (kvm_read_guest(kvm, gpa, &record, sizeof(record)))
		return;

	vcpu->arch.steal.last_steal = READ_ONCE(current->sched_info.run_delay);
	steal = le64_to_cpu(record) + vcpu->arch.steal.last_steal - last_steal;
	record = cpu_to_le64(steal);
	kvm_write_guest(kvm, gpa, &record, sizeof(record));
}
