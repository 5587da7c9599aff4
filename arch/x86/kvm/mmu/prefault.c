// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: KVM_PRE_FAULT_MEMORY on x86
 *
 * KVM runs the read fault that the guest would take, with the vCPU's own MMU
 * but without the guest.  This works if a fault depends on the guest physical
 * address only, i.e. with two-dimensional paging and outside nested guests.
 */
#include <linux/kvm_host.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "gmem.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

bool kvm_arch_pre_fault_supported(void)
{
	return tdp_enabled;
}

/* The fault needs the vCPU's MMU. */
void kvm_arch_pre_fault_begin(struct kvm_vcpu *vcpu)
{
	vcpu_load(vcpu);
}

void kvm_arch_pre_fault_end(struct kvm_vcpu *vcpu)
{
	vcpu_put(vcpu);
}

/*
 * Returns the level of the leaf that maps @gpa, or PG_LEVEL_NONE.  An existing
 * mapping is kept, because another vCPU may have installed more permissions
 * than a read fault would.  Only for TDP MMU roots, whose page tables are freed
 * by RCU.
 */
static int kvm_pre_fault_level(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	int level = vcpu->arch.mmu->root_role.level;
	tdp_ptep_t table;
	u64 spte;

	kvm_tdp_mmu_walk_lockless_begin();
	for (table = (tdp_ptep_t)__va(vcpu->arch.mmu->root.hpa); ; level--) {
		spte = kvm_tdp_mmu_read_spte(table + SPTE_INDEX(gpa, level));
		table = spte_to_child_pt(spte, level);
		if (!table)
			break;
	}
	kvm_tdp_mmu_walk_lockless_end();

	return is_shadow_present_pte(spte) ? level : PG_LEVEL_NONE;
}

/* Try once.  Returns RET_PF_* or -errno, with the mapping level in @fault. */
static int kvm_pre_fault_try(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	int r;

	/*
	 * KVM_RUN services this request before it enters the guest.  While it
	 * is pending, or the root is obsolete, every fault counts as stale.
	 */
	if (kvm_check_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))
		kvm_mmu_free_obsolete_roots(vcpu);

	r = kvm_mmu_reload(vcpu);
	if (r)
		return r;

	/*
	 * A slot may be beyond the page tables of a vCPU with a small
	 * MAXPHYADDR, where the walk would wrap around.
	 */
	if (fault->addr >> SPTE_LEVEL_SHIFT(vcpu->arch.mmu->root_role.level + 1))
		return -ENOENT;

	if (is_tdp_mmu(vcpu->arch.mmu)) {
		r = kvm_pre_fault_level(vcpu, fault->addr);
		if (r != PG_LEVEL_NONE) {
			fault->goal_level = r;
			return RET_PF_SPURIOUS;
		}
	}

	r = kvm_tdp_page_fault(vcpu, fault);
	if (r == RET_PF_FIXED)
		vcpu->stat.pf_fixed++;

	return r;
}

/* Returns 0 if @gfn may have memory, -ENOENT, or -EAGAIN. */
static int kvm_pre_fault_check_slot(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_memory_slot *slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);

	/* User space retries after the caller has left the SRCU section. */
	if (slot && (slot->flags & KVM_MEMSLOT_INVALID))
		return -EAGAIN;

	if (slot || kvm_gfn_is_private(vcpu->kvm, gfn))
		return 0;

	return -ENOENT;
}

static long kvm_pre_fault_result(gpa_t gpa, u64 size, u8 level)
{
	u64 block = KVM_HPAGE_SIZE(level);

	return min(size, block - (gpa & (block - 1)));
}

long kvm_arch_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm_page_fault fault = {
		.addr		= gpa,
		.error_code	= PFERR_USER_MASK,
		.user		= true,
		.is_tdp		= true,
		/* The guest did not access it: no async page fault, no exit. */
		.prefetch	= true,
		.nx_huge_page_workaround_enabled =
			is_nx_huge_page_enabled(vcpu->kvm),
		.max_level	= KVM_MAX_HUGEPAGE_LEVEL,
		.req_level	= PG_LEVEL_4K,
		.goal_level	= PG_LEVEL_4K,
	};
	int r;

	if (!tdp_enabled || vcpu->arch.mmu->page_fault != kvm_tdp_page_fault)
		return -EOPNOTSUPP;

	r = kvm_pre_fault_check_slot(vcpu, gpa_to_gfn(gpa));
	if (r)
		return r;

	r = kvm_pre_fault_try(vcpu, &fault);
	switch (r) {
	case RET_PF_FIXED:
	case RET_PF_SPURIOUS:
		return kvm_pre_fault_result(gpa, size, fault.goal_level);
	case RET_PF_RETRY:
		return 0;
	default:
		/* MMIO and the like cannot be mapped. */
		return r < 0 ? r : -ENOENT;
	}
}
