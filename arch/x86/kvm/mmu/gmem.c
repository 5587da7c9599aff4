// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: x86 page faults
 *
 * For a fault on a gmem-only slot, or on a private gfn, KVM takes the page from
 * the file instead of the page tables at the slot's userspace_addr.  Everything
 * after that (dirty logging, write protection of page tables, installing the
 * SPTE) is the same as for other memory, in the TDP MMU, the shadow MMU and for
 * nested guests.
 */
#include <linux/kvm_host.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "tdp_mmu.h"
#include "gmem.h"
#include "x86.h"

bool kvm_arch_gmem_supported(void)
{
	return true;
}

static int kvm_gmem_order_to_level(unsigned int order)
{
	if (order >= KVM_HPAGE_GFN_SHIFT(PG_LEVEL_1G))
		return PG_LEVEL_1G;
	if (order >= KVM_HPAGE_GFN_SHIFT(PG_LEVEL_2M))
		return PG_LEVEL_2M;
	return PG_LEVEL_4K;
}

int __kvm_gmem_max_mapping_level(struct kvm *kvm,
				 const struct kvm_memory_slot *slot, gfn_t gfn,
				 int max_level)
{
	int level;

	if (max_level == PG_LEVEL_4K)
		return max_level;

	if (kvm_gmem_handles_fault(kvm, slot, gfn)) {
		level = kvm_gmem_order_to_level(kvm_gmem_max_order(kvm, slot,
								   gfn));
		return min(max_level, level);
	}

	/* A page must not map private and shared memory. */
	while (max_level > PG_LEVEL_4K &&
	       !kvm_gmem_uniform(kvm, gfn, KVM_PAGES_PER_HPAGE(max_level)))
		max_level--;

	return max_level;
}

/*
 * Split the huge page around @gfn, if it lies inside @slot and there may be one:
 * usually a block that is converted page by page has two states already.
 */
static void kvm_gmem_split_page(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn)
{
	gfn_t start = gfn & ~(KVM_PAGES_PER_HPAGE(PG_LEVEL_2M) - 1);
	gfn_t end = start + KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);

	if (start >= slot->base_gfn &&
	    end <= slot->base_gfn + slot->npages &&
	    kvm_gmem_was_uniform(kvm, slot, start, end))
		kvm_tdp_mmu_try_split_huge_pages(kvm, slot, start, end,
						 PG_LEVEL_4K, false);
}

/* Split the page of 1 GiB around @gfn, if there is one, into those of 2 MiB. */
static void kvm_gmem_split_giant(struct kvm *kvm,
				 const struct kvm_memory_slot *slot, gfn_t gfn)
{
	if (gfn & (KVM_PAGES_PER_HPAGE(PG_LEVEL_1G) - 1))
		kvm_tdp_mmu_try_split_huge_pages(kvm, slot, gfn, gfn + 1,
						 PG_LEVEL_2M, false);
}

/* The shadow MMU just drops huge pages. */
void kvm_arch_gmem_split(struct kvm *kvm, const struct kvm_memory_slot *slot,
			 gfn_t start, gfn_t end)
{
	const gfn_t mask = KVM_PAGES_PER_HPAGE(PG_LEVEL_2M) - 1;

	if (!is_tdp_mmu_enabled(kvm))
		return;

	if (guest_memory_flags(slot->gmem->inode) & GUEST_MEMORY_HUGETLB_1G) {
		kvm_gmem_split_giant(kvm, slot, start);
		if (end < slot->base_gfn + slot->npages)
			kvm_gmem_split_giant(kvm, slot, end);
	}

	if (start & mask)
		kvm_gmem_split_page(kvm, slot, start);
	if (end & mask && (!(start & mask) || (start ^ end) & ~mask))
		kvm_gmem_split_page(kvm, slot, end);
}

void kvm_arch_gmem_promote(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t start, gfn_t end)
{
	if (!is_tdp_mmu_enabled(kvm) || kvm_slot_dirty_track_enabled(slot))
		return;

	/* Often it is one block that has two states still. */
	if (end - start <= KVM_PAGES_PER_HPAGE(PG_LEVEL_2M) &&
	    !kvm_gmem_max_order(kvm, slot, start))
		return;

	read_lock(&kvm->mmu_lock);
	kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot, start, end);
	read_unlock(&kvm->mmu_lock);
}

/*
 * Report an access to missing memory to user space.  Prefetches, such as the
 * completion of an async page fault, do not report, and must not modify the
 * exit of the next KVM_RUN.
 */
static int kvm_gmem_fault_exit(struct kvm_vcpu *vcpu,
			       struct kvm_page_fault *fault, int r)
{
	const struct kvm_memory_slot *slot = fault->slot;
	bool private = kvm_gmem_is_private(vcpu->kvm, slot, fault->gfn);

	/* The gfn became shared after the check of the caller. */
	if (!private && !(slot && kvm_slot_is_gmem_only(slot)))
		return RET_PF_RETRY;

	if (!fault->prefetch)
		kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(fault->gfn),
					      PAGE_SIZE, private);
	return r;
}

/*
 * The counterpart of kvm_faultin_pfn(), for faults for which
 * kvm_gmem_handles_fault() is true.  Fills in pfn, with a reference to the
 * page, hva, map_writable and max_level.  The caller sampled fault->mmu_seq,
 * followed by smp_rmb(), and holds kvm->srcu; may sleep.
 *
 * Returns RET_PF_CONTINUE; RET_PF_RETRY without a page; -EFAULT or -EHWPOISON
 * with the exit to user space filled in.
 */
int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	unsigned int order = 0;
	int r;

	if (!fault->slot || !kvm_slot_is_gmem(fault->slot))
		return kvm_gmem_fault_exit(vcpu, fault, -EFAULT);

	/* is_page_fault_stale() compares this to pending invalidations. */
	fault->hva = __gfn_to_hva_memslot(fault->slot, fault->gfn);
	if (kvm_gmem_is_invalidating(vcpu->kvm, fault->hva))
		return RET_PF_RETRY;

	r = kvm_gmem_get_pfn(vcpu, fault->slot, fault->gfn,
			     fault->prefetch ? GUEST_MEMORY_POPULATE :
					       GUEST_MEMORY_FAULT,
			     &fault->pfn, &order);
	if (r)
		return kvm_gmem_fault_exit(vcpu, fault, r);

	/*
	 * Also for a read while the slot has dirty logging, where it marks the
	 * page dirty as for other memory: a read fault must not replace the
	 * writable SPTE that a faster vCPU installed.
	 */
	fault->map_writable = true;
	/* Respect other limits, such as the guest's own page size. */
	fault->max_level = order ? min_t(u8, fault->max_level,
					 kvm_gmem_order_to_level(order)) :
				   PG_LEVEL_4K;

	return RET_PF_CONTINUE;
}

/*
 * Called if a fault found no page in the process.  Returns RET_PF_CONTINUE if
 * KVM should treat the page as bad; RET_PF_RETRY; -EHWPOISON.
 */
int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	if (kvm_gmem_retry_fault(vcpu->kvm, fault->slot, fault->gfn,
				 fault->mmu_seq))
		return RET_PF_RETRY;

	/* The guest did not touch the page, so do not send a signal. */
	if (fault->prefetch && fault->pfn == KVM_PFN_ERR_HWPOISON)
		return -EHWPOISON;

	return RET_PF_CONTINUE;
}

unsigned long kvm_arch_vm_types(void)
{
	unsigned long types = BIT(KVM_X86_DEFAULT_VM);

	/* The emulator cannot exit while it delivers an interrupt. */
	if (IS_ENABLED(CONFIG_KVM_SW_PROTECTED_VM) && tdp_enabled &&
	    READ_ONCE(tdp_mmu_enabled) && !kvm_caps.emulates_real_mode)
		types |= BIT(KVM_X86_SW_PROTECTED_VM);

	return types;
}
