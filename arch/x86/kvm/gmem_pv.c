// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: steal time in private memory, clocks outside the direct map
 *
 * KVM usually reports steal time by writing to the slot's userspace address,
 * also from contexts that cannot sleep.  In a protected VM the record is in the
 * file.  The vCPU that owns it is not running, so plain writes are sufficient.
 * KVM does not report there that a vCPU is preempted; without that hint guests
 * send IPIs to flush TLBs instead of leaving the flush to KVM.
 *
 * KVM usually updates a clock through a mapping of the page.  In any VM, a page
 * outside the direct map is written like other guest memory instead.
 */
#include <linux/kvm_host.h>

#include "gmem_pv.h"
#include "trace.h"

#define st_offset(field)	offsetof(struct kvm_steal_time, field)

/*
 * Both functions are called by the vCPU's process before it enters the guest,
 * with kvm->srcu held, and may sleep.
 */
void kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu)
{
	gpa_t gpa = vcpu->arch.st.msr_val & KVM_STEAL_VALID_BITS;
	struct kvm *kvm = vcpu->kvm;
	struct kvm_steal_time st;

	if (kvm_read_guest(kvm, gpa, &st, sizeof(st)))
		return;

	/* An odd version tells the guest that the record is being changed. */
	st.version = (st.version | 1) + (st.version & 1 ? 2 : 0);
	if (kvm_write_guest(kvm, gpa + st_offset(version), &st.version,
			    sizeof(st.version)))
		return;

	/* The version is odd before the record changes. */
	smp_wmb();

	st.steal += current->sched_info.run_delay - vcpu->arch.st.last_steal;
	vcpu->arch.st.last_steal = current->sched_info.run_delay;
	kvm_write_guest(kvm, gpa + st_offset(steal), &st.steal,
			sizeof(st.steal));

	/* The value is complete before the version says so. */
	smp_wmb();

	st.version++;
	kvm_write_guest(kvm, gpa + st_offset(version), &st.version,
			sizeof(st.version));
}

#define clock_offset(field)	offsetof(struct pvclock_vcpu_time_info, field)

/*
 * Write vcpu->arch.hv_clock to the clock at @gpa, whose page cannot be mapped.
 */
void kvm_gmem_update_pvclock(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct pvclock_vcpu_time_info *clock = &vcpu->arch.hv_clock;
	struct pvclock_vcpu_time_info old;
	struct kvm *kvm = vcpu->kvm;

	if (kvm_read_guest(kvm, gpa, &old, sizeof(old)))
		return;

	/* Other vCPUs may read this clock; an odd version makes them wait. */
	clock->version = (old.version + 1) | 1;
	if (kvm_write_guest(kvm, gpa + clock_offset(version), &clock->version,
			    sizeof(clock->version)))
		return;

	/* The version is odd before anything else changes. */
	smp_wmb();

	/* The guest may not have seen yet that it was stopped. */
	clock->flags |= old.flags & PVCLOCK_GUEST_STOPPED;
	if (vcpu->arch.pvclock_set_guest_stopped_request) {
		clock->flags |= PVCLOCK_GUEST_STOPPED;
		vcpu->arch.pvclock_set_guest_stopped_request = false;
	}
	kvm_write_guest(kvm, gpa, clock, sizeof(*clock));

	/* The clock is complete before the version says so. */
	smp_wmb();

	clock->version++;
	kvm_write_guest(kvm, gpa + clock_offset(version), &clock->version,
			sizeof(clock->version));

	trace_kvm_pvclock_update(vcpu->vcpu_id, clock);
}
