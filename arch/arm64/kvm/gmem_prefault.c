// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: KVM_PRE_FAULT_MEMORY on arm64
 *
 * KVM runs the read fault that the guest would take, without the guest.  Stage
 * 2 belongs to the VM.  The vCPU only provides the memory cache for page tables
 * and, for memory at userspace_addr, the field where the handler looks for the
 * syndrome.  So the vCPU need not be initialised, and its pending state for the
 * next run is preserved.
 */
#include <linux/kvm_host.h>

#include <asm/esr.h>
#include <asm/kvm_arm.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>

#include "gmem.h"

bool kvm_arch_pre_fault_supported(void)
{
	return true;
}

void kvm_arch_pre_fault_begin(struct kvm_vcpu *vcpu)
{
}

void kvm_arch_pre_fault_end(struct kvm_vcpu *vcpu)
{
}

/* Returns the size of the page or block that maps @gpa, or 0. */
static u64 kvm_pre_fault_mapped(struct kvm *kvm, gpa_t gpa)
{
	kvm_pte_t pte;
	u64 size = 0;
	u32 level;

	/* Page tables are freed with mmu_lock held for write. */
	read_lock(&kvm->mmu_lock);
	if (!kvm_pgtable_get_leaf(kvm->arch.mmu.pgt, gpa, &pte, &level) &&
	    kvm_pte_valid(pte))
		size = kvm_granule_size(level);
	read_unlock(&kvm->mmu_lock);

	return size;
}

/*
 * On a memory error, the handler would send a signal and return success.  As
 * the guest did not touch the page, return an error to user space instead.
 */
static bool kvm_pre_fault_poisoned(struct kvm_memory_slot *slot, gfn_t gfn)
{
	kvm_pfn_t pfn;

	pfn = __gfn_to_pfn_memslot(slot, gfn, false, NULL, false, NULL, NULL);
	if (!is_error_noslot_pfn(pfn))
		kvm_release_pfn_clean(pfn);

	return pfn == KVM_PFN_ERR_HWPOISON;
}

/* Map shared memory through the page tables of the process. */
static int kvm_pre_fault_hva(struct kvm_vcpu *vcpu, gpa_t gpa,
			     struct kvm_memory_slot *slot)
{
	struct kvm_vcpu_fault_info pending = vcpu->arch.fault;
	unsigned long hva;
	int r;

	/* The access is a read, so the slot may be read-only. */
	hva = gfn_to_hva_memslot_prot(slot, gpa_to_gfn(gpa), NULL);
	if (kvm_is_error_hva(hva))
		return -EFAULT;

	if (kvm_pre_fault_poisoned(slot, gpa_to_gfn(gpa)))
		return -EHWPOISON;

	/* Syndrome of a read with a translation fault at the last level. */
	vcpu->arch.fault.esr_el2 =
		((u64)ESR_ELx_EC_DABT_LOW << ESR_ELx_EC_SHIFT) |
		ESR_ELx_FSC_FAULT | (KVM_PGTABLE_MAX_LEVELS - 1);
	r = user_mem_abort(vcpu, gpa, slot, hva, FSC_FAULT);
	vcpu->arch.fault = pending;

	return r;
}

static int kvm_pre_fault_map(struct kvm_vcpu *vcpu, gpa_t gpa,
			     struct kvm_memory_slot *slot)
{
	struct kvm_gmem_fault fault = {
		.slot	= slot,
		.gfn	= gpa_to_gfn(gpa),
		.prefault = true,
	};
	unsigned long seq = vcpu->kvm->mmu_invalidate_seq;
	int r;

	/* Pairs with the smp_wmb() in kvm_mmu_invalidate_end(). */
	smp_rmb();

	if (kvm_gmem_handles_fault(vcpu->kvm, slot, fault.gfn))
		return kvm_gmem_map(vcpu, &fault);
	if (!slot)
		return -ENOENT;

	r = kvm_pre_fault_hva(vcpu, gpa, slot);
	if (r == -EFAULT &&
	    kvm_gmem_retry_fault(vcpu->kvm, slot, fault.gfn, seq))
		r = 0;

	return r;
}

long kvm_arch_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm_memory_slot *slot;
	u64 block;
	int r;

	slot = gfn_to_memslot(vcpu->kvm, gpa_to_gfn(gpa));
	/* User space retries after the caller has left the SRCU section. */
	if (slot && (slot->flags & KVM_MEMSLOT_INVALID))
		return -EAGAIN;

	block = slot ? kvm_pre_fault_mapped(vcpu->kvm, gpa) : 0;
	if (!block) {
		r = kvm_pre_fault_map(vcpu, gpa, slot);
		if (r)
			return r;

		/* Not mapped if an invalidation interfered. */
		block = kvm_pre_fault_mapped(vcpu->kvm, gpa);
		if (!block)
			return 0;
	}

	return min(size, block - (gpa & (block - 1)));
}
