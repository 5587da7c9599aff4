// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: x86 page faults
 *
 * A fault on a gmem-only slot, or on a private gfn, takes its page from the file
 * instead of from the page tables at the slot's userspace_addr.  Everything after that (dirty
 * logging, write protection of page tables, installing the SPTE) is the same as
 * for other memory, in the TDP MMU, the shadow MMU and for nested guests.
 */
#include <linux/kvm_host.h>

#include "mmu.h"
#include "mmu_internal.h"
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
	/* Blocks are single pages; the host's page tables have no say. */
	if (kvm_slot_is_gmem_only(slot))
		return PG_LEVEL_4K;

	/* One page cannot map private and shared memory. */
	while (max_level > PG_LEVEL_4K &&
	       !kvm_gmem_uniform(kvm, gfn, KVM_PAGES_PER_HPAGE(max_level)))
		max_level--;

	/* Private gfns of this slot are mapped from the file's blocks. */
	return kvm_gfn_is_private(kvm, gfn) ? PG_LEVEL_4K : max_level;
}

/*
 * Tell user space about an access that has no memory.  The completion of an
 * async page fault has nobody to report to, and must leave the exit of the next
 * KVM_RUN alone.
 */
static int kvm_gmem_fault_exit(struct kvm_vcpu *vcpu,
			       struct kvm_page_fault *fault, int r)
{
	const struct kvm_memory_slot *slot = fault->slot;
	bool private = kvm_gmem_is_private(vcpu->kvm, slot, fault->gfn);

	/* It became shared since kvm_gmem_handles_fault() was asked. */
	if (!private && !(slot && kvm_slot_is_gmem_only(slot)))
		return RET_PF_RETRY;

	if (!fault->prefetch)
		kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(fault->gfn),
					      PAGE_SIZE, private);
	return r;
}

/*
 * The counterpart of kvm_faultin_pfn(), for faults for which
 * kvm_gmem_handles_fault() is true.  Fills in pfn, with a reference to the page,
 * hva, map_writable and max_level.  The caller sampled fault->mmu_seq, followed
 * by smp_rmb(), and holds kvm->srcu; may sleep.
 *
 * Returns RET_PF_CONTINUE; RET_PF_RETRY without a page; -EFAULT or -EHWPOISON with
 * the exit to user space filled in.
 */
int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	unsigned int order = 0;
	u8 level;
	int r;

	if (!fault->slot || !kvm_slot_is_gmem(fault->slot))
		return kvm_gmem_fault_exit(vcpu, fault, -EFAULT);

	/* What is_page_fault_stale() compares to invalidations in progress. */
	fault->hva = __gfn_to_hva_memslot(fault->slot, fault->gfn);
	if (kvm_gmem_is_invalidating(vcpu->kvm, fault->hva))
		return RET_PF_RETRY;

	r = kvm_gmem_get_pfn(vcpu->kvm, fault->slot, fault->gfn, &fault->pfn,
			     &order);
	if (r)
		return kvm_gmem_fault_exit(vcpu, fault, r);

	/*
	 * Also for a read while the slot has dirty logging, where it makes the
	 * page count as dirty, as for other memory: a read fault must not
	 * replace the writable SPTE that a faster vCPU installed.
	 */
	fault->map_writable = true;
	/* Other limits, such as the guest's own page size, stay in force. */
	level = kvm_gmem_order_to_level(order);
	fault->max_level = min(fault->max_level, level);

	return RET_PF_CONTINUE;
}

/*
 * A fault that took its page from the process has found none.  RET_PF_CONTINUE if
 * that is how it is.
 */
int kvm_gmem_check_bad_page(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	/* The gfn has become private, and is not mapped in the process any more. */
	if (kvm_gmem_handles_fault(vcpu->kvm, fault->slot, fault->gfn))
		return RET_PF_RETRY;

	/* Nobody has touched the page yet, so nobody needs a signal. */
	if (fault->prefetch && fault->pfn == KVM_PFN_ERR_HWPOISON)
		return -EHWPOISON;

	return RET_PF_CONTINUE;
}

unsigned long kvm_arch_vm_types(void)
{
	unsigned long types = BIT(KVM_X86_DEFAULT_VM);

	/* The emulator cannot end the delivery of an interrupt in an exit. */
	if (IS_ENABLED(CONFIG_KVM_SW_PROTECTED_VM) && tdp_enabled &&
	    READ_ONCE(tdp_mmu_enabled) && !kvm_caps.emulates_real_mode)
		types |= BIT(KVM_X86_SW_PROTECTED_VM);

	return types;
}
