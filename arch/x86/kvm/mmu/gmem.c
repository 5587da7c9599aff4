// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: x86 page faults
 *
 * A fault on a gmem-only slot takes its page from the file instead of from the
 * page tables at the slot's userspace_addr.  Everything after that (dirty
 * logging, write protection of page tables, installing the SPTE) is the same as
 * for other memory, in the TDP MMU, the shadow MMU and for nested guests.
 */
#include <linux/kvm_host.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "gmem.h"

static int kvm_gmem_order_to_level(unsigned int order)
{
	if (order >= KVM_HPAGE_GFN_SHIFT(PG_LEVEL_1G))
		return PG_LEVEL_1G;
	if (order >= KVM_HPAGE_GFN_SHIFT(PG_LEVEL_2M))
		return PG_LEVEL_2M;
	return PG_LEVEL_4K;
}

int kvm_gmem_max_mapping_level(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	/* Blocks are single pages; the host's page tables have no say. */
	return PG_LEVEL_4K;
}

int kvm_gmem_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	unsigned int order = 0;
	u8 level;
	int r;

	r = kvm_gmem_get_pfn(vcpu->kvm, fault->slot, fault->gfn, &fault->pfn,
			     &order);
	if (r) {
		/*
		 * The completion of an async page fault has nobody to report
		 * to, and must leave the exit of the next KVM_RUN alone.
		 */
		if (!fault->prefetch)
			kvm_prepare_memory_fault_exit(vcpu,
						      gfn_to_gpa(fault->gfn),
						      PAGE_SIZE);
		return r;
	}

	/* What is_page_fault_stale() compares to invalidations in progress. */
	fault->hva = __gfn_to_hva_memslot(fault->slot, fault->gfn);
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
