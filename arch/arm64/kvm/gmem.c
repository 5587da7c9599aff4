// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: arm64 stage-2 faults
 *
 * For an abort on a gmem-only slot, or on a private gfn, KVM takes the page
 * from the file instead of the page tables at the slot's userspace_addr.
 *
 * Invariants:
 *
 * - Stage 2 maps a page, or with 4K pages a block of 2 MiB.  A permission fault on
 *   a PTE needs no new table and changes no address.
 * - A block whose pages no longer have one state, or whose slot gets a dirty log, is
 *   replaced by a table when a page of it is mapped; a table by a block when
 *   a page of the block faults that may be mapped as one.
 * - A fault looks up the state of the gfn and its page after it sampled
 *   mmu_invalidate_seq.  Both change only inside an invalidation, which under
 *   mmu_lock is visible in the count or has zapped the mapping.  On this
 *   kernel, stage2_map() needs mmu_lock for write; for relax_perms() of a PTE,
 *   read is enough.
 * - While a slot has dirty logging, a PTE becomes writable in the same mmu_lock
 *   section that logs the write.  stage2_map() does not change a PTE that
 *   differs in permissions only, so a slow read fault cannot revoke the write
 *   permission that a faster vCPU got.
 * - A fault sees the slot's flags as of the begin of its SRCU section.
 *   Enabling dirty logging waits for the end of the section before it
 *   write-protects.
 */
#include <linux/kvm_host.h>

#include <asm/kvm_arm.h>
#include <asm/kvm_emulate.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>
#include <asm/virt.h>

#include "gmem.h"

/*
 * The stage-2 page tables of pKVM belong to the hypervisor, which does not
 * support guest_memfd.
 */
bool kvm_arch_gmem_supported(void)
{
	return !is_protected_kvm_enabled();
}

unsigned long kvm_arch_vm_types(void)
{
	unsigned long types = BIT(KVM_ARM_DEFAULT_VM);

	if (IS_ENABLED(CONFIG_KVM_SW_PROTECTED_VM) && kvm_arch_gmem_supported())
		types |= BIT(KVM_ARM_SW_PROTECTED_VM);

	return types;
}

/* The number of pages around fault->gfn to map as one.  Under mmu_lock. */
static gfn_t kvm_gmem_nr_pages(struct kvm *kvm,
			       const struct kvm_gmem_fault *fault)
{
	unsigned int order;

	if (!guest_memory_has_blocks() || fault->perm_page ||
	    kvm_slot_dirty_track_enabled(fault->slot))
		return 1;

	order = kvm_gmem_max_order(kvm, fault->slot, fault->gfn);
	/* Tables of a small IPA space have no entries of 1 GiB. */
	if (kvm->arch.mmu.pgt->start_level > 1)
		order = min_t(unsigned int, order, PMD_SHIFT - PAGE_SHIFT);

	return 1ul << order;
}

/*
 * True if one entry maps @nr pages at @gpa.  What the fault found there may have been
 * replaced since.
 */
static bool kvm_gmem_is_mapped(struct kvm_pgtable *pgt, gpa_t gpa, gfn_t nr)
{
	kvm_pte_t pte = 0;
	u32 level;

	return !kvm_pgtable_get_leaf(pgt, gpa, &pte, &level) &&
	       kvm_pte_valid(pte) &&
	       kvm_granule_size(level) == nr * PAGE_SIZE;
}

static int kvm_gmem_stage2_map(struct kvm_vcpu *vcpu,
			       const struct kvm_gmem_fault *fault,
			       kvm_pfn_t pfn)
{
	gfn_t nr = kvm_gmem_nr_pages(vcpu->kvm, fault);
	struct kvm_pgtable *pgt = vcpu->arch.hw_mmu->pgt;
	enum kvm_pgtable_prot prot = KVM_PGTABLE_PROT_R;
	gpa_t gpa = gfn_to_gpa(round_down(fault->gfn, nr));
	bool writable;
	int r;

	writable = fault->write || !kvm_slot_dirty_track_enabled(fault->slot);
	if (writable)
		prot |= KVM_PGTABLE_PROT_W;

	/* Otherwise an exec fault invalidates the instruction cache. */
	if (fault->exec || cpus_have_const_cap(ARM64_HAS_CACHE_DIC))
		prot |= KVM_PGTABLE_PROT_X;

	/* Both do cache maintenance, through the linear map. */
	if (fault->perm && kvm_gmem_is_mapped(pgt, gpa, nr))
		r = kvm_pgtable_stage2_relax_perms(pgt, gpa, prot);
	else if (fault->perm_page)
		r = -EAGAIN;
	else
		r = kvm_pgtable_stage2_map(pgt, gpa, nr * PAGE_SIZE,
					   __pfn_to_phys(round_down(pfn, nr)),
					   prot, &vcpu->arch.mmu_page_cache);

	if (!r && writable)
		mark_page_dirty_in_slot(vcpu->kvm, fault->slot, fault->gfn);

	/* Lost a race; a missing permission will fault again. */
	return r == -EAGAIN ? 0 : r;
}

/*
 * Map the page at fault->gfn, or the block around it, in stage 2, with page
 * tables from the vCPU's memory cache.  Called by a process of kvm->mm with
 * vcpu->mutex and kvm->srcu held; may sleep.
 *
 * Returns 0 if the page is mapped or the access is to be retried; -EFAULT,
 * -EHWPOISON or -ENOMEM.
 */
int kvm_gmem_map(struct kvm_vcpu *vcpu, struct kvm_gmem_fault *fault)
{
	struct kvm_memory_slot *slot = fault->slot;
	struct kvm *kvm = vcpu->kvm;
	unsigned long seq, hva;
	unsigned int order = 0;
	kvm_pfn_t pfn;
	int r;

	if (!fault->perm_page) {
		r = kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
					       kvm_mmu_cache_min_pages(kvm));
		if (r)
			return r;
	}

	seq = kvm->mmu_invalidate_seq;
	/* Pairs with the smp_wmb() in kvm_mmu_invalidate_end(). */
	smp_rmb();

	fault->private = kvm_gmem_is_private(kvm, slot, fault->gfn);
	/* The gfn became shared: retry, then user_mem_abort() handles it. */
	if (!fault->private && !(slot && kvm_slot_is_gmem_only(slot)))
		return 0;

	if (!slot || !kvm_slot_is_gmem(slot))
		return -EFAULT;

	hva = __gfn_to_hva_memslot(slot, fault->gfn);
	if (kvm_gmem_is_invalidating(kvm, hva))
		return 0;

	r = kvm_gmem_get_pfn(vcpu, slot, fault->gfn,
			     fault->prefault ? GUEST_MEMORY_POPULATE :
					       GUEST_MEMORY_FAULT,
			     &pfn, &order);
	if (r)
		return r;

	if (fault->perm_page)
		read_lock(&kvm->mmu_lock);
	else
		write_lock(&kvm->mmu_lock);

	if (!mmu_invalidate_retry_hva(kvm, seq, hva))
		r = kvm_gmem_stage2_map(vcpu, fault, pfn);

	if (fault->perm_page)
		read_unlock(&kvm->mmu_lock);
	else
		write_unlock(&kvm->mmu_lock);

	/* Stage 2 holds no reference, see gmem_invalidate.c. */
	kvm_release_pfn_clean(pfn);

	return r;
}

/* Stage 2 replaces a block by a table, and a table by a block, when it has to. */
void kvm_arch_gmem_split(struct kvm *kvm, const struct kvm_memory_slot *slot,
			 gfn_t start, gfn_t end)
{
}

void kvm_arch_gmem_promote(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t start, gfn_t end)
{
}

/* The page is mapped but old, and hardware does not set the access flag. */
static void kvm_gmem_access_fault(struct kvm_vcpu *vcpu, phys_addr_t fault_ipa)
{
	write_lock(&vcpu->kvm->mmu_lock);
	kvm_pgtable_stage2_mkyoung(vcpu->arch.hw_mmu->pgt, fault_ipa);
	write_unlock(&vcpu->kvm->mmu_lock);
}

/*
 * The counterpart of user_mem_abort(), for aborts for which
 * kvm_gmem_handles_fault() is true.  @fault_status is FSC_FAULT, FSC_PERM or
 * FSC_ACCESS.  Called by the vCPU's process with kvm->srcu held; may sleep.
 *
 * Returns 1 to run the guest again; -EFAULT or -EHWPOISON with the exit to user
 * space filled in; -ENOMEM.
 */
int kvm_gmem_abort(struct kvm_vcpu *vcpu, phys_addr_t fault_ipa,
		   struct kvm_memory_slot *slot, unsigned long fault_status)
{
	struct kvm_gmem_fault fault = {
		.slot	= slot,
		.gfn	= fault_ipa >> PAGE_SHIFT,
		.write	= kvm_is_write_fault(vcpu),
		.exec	= kvm_vcpu_trap_is_exec_fault(vcpu),
	};
	u8 level = kvm_vcpu_trap_get_fault_level(vcpu);
	int r;

	/* Leave the SRCU section and retry until the slot is gone. */
	if (slot && (slot->flags & KVM_MEMSLOT_INVALID))
		return 1;

	if (fault_status == FSC_ACCESS) {
		kvm_gmem_access_fault(vcpu, fault_ipa);
		return 1;
	}

	/* A page may be part of a block that was mapped by pages for a while. */
	fault.perm = fault_status == FSC_PERM;
	fault.perm_page = fault.perm && level == KVM_PGTABLE_MAX_LEVELS - 1 &&
			  (!slot || !kvm_slot_is_gmem(slot) ||
			   kvm_slot_dirty_track_enabled(slot) ||
			   !guest_memory_has_whole(slot->gmem->inode));

	r = kvm_gmem_map(vcpu, &fault);
	if (r == -EFAULT || r == -EHWPOISON)
		kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(fault.gfn),
					      PAGE_SIZE, fault.private);

	return r ? r : 1;
}

bool kvm_gmem_has_slots(struct kvm *kvm)
{
	struct kvm_memory_slot *slot;
	int bkt;

	lockdep_assert_held(&kvm->slots_lock);

	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm))
		if (kvm_slot_is_gmem(slot))
			return true;

	return false;
}
