// SPDX-License-Identifier: GPL-2.0
/*
 * The summary at exit: the memslots of each VM that this process created, and
 * what backed them.
 */
#include <stdio.h>
#include <unistd.h>

#include "lock.h"
#include "options.h"
#include "private.h"
#include "report.h"
#include "summary.h"
#include "uapi.h"
#include "vec.h"
#include "vm.h"

struct summary {
	unsigned int slots[GMEM_SLOT_OWN + 1];
	u64 bytes[GMEM_SLOT_OWN + 1];
};

static void list_slot(const struct gmem_slot *slot)
{
	const struct kvm_userspace_memory_region2 *r = &slot->region;

	if (slot->kind == GMEM_SLOT_BOUND)
		gmem_say("%3u:%-3u %#14llx %#12llx  fd %u offset %#llx",
			 GMEM_AS_ID(r->slot), GMEM_SLOT_ID(r->slot),
			 r->guest_phys_addr, r->memory_size, r->guest_memfd,
			 r->guest_memfd_offset);
	else
		gmem_say("%3u:%-3u %#14llx %#12llx  %s: %s",
			 GMEM_AS_ID(r->slot), GMEM_SLOT_ID(r->slot),
			 r->guest_phys_addr, r->memory_size,
			 gmem_slot_kind_name(slot->kind), slot->why);
}

/* Orders slots by address space and guest address, which are unique. */
static bool is_before(const struct gmem_slot *a, const struct gmem_slot *b)
{
	u32 as_a = GMEM_AS_ID(a->region.slot), as_b = GMEM_AS_ID(b->region.slot);

	if (as_a != as_b)
		return as_a < as_b;
	return a->region.guest_phys_addr < b->region.guest_phys_addr;
}

static const struct gmem_slot *next_slot(const struct gmem_vm *vm,
					 const struct gmem_slot *last)
{
	const struct gmem_slot *next = NULL;
	size_t i;

	for (i = 0; i < vm->slots.nr; i++) {
		const struct gmem_slot *slot = gmem_vec_at(&vm->slots, i);

		if ((!last || is_before(last, slot)) &&
		    (!next || is_before(slot, next)))
			next = slot;
	}
	return next;
}

static void sum_up(const struct gmem_vm *vm, struct summary *summary)
{
	const struct gmem_slot *slot = NULL;

	if (gmem_options.list)
		gmem_say("%7s %14s %12s  %s", "slot", "gpa", "size", "memory");
	while ((slot = next_slot(vm, slot))) {
		summary->slots[slot->kind]++;
		summary->bytes[slot->kind] += slot->region.memory_size;
		if (gmem_options.list)
			list_slot(slot);
	}
}

static void report_vm(const struct gmem_vm *vm)
{
	struct summary sum = { 0 };

	sum_up(vm, &sum);
	if (gmem_options.list || gmem_options.verbose)
		gmem_say("%u slots bound (%lu KiB), %u aliases, %u read-only, %u left (%lu KiB)",
			 sum.slots[GMEM_SLOT_BOUND],
			 sum.bytes[GMEM_SLOT_BOUND] / 1024,
			 sum.slots[GMEM_SLOT_ALIAS],
			 sum.slots[GMEM_SLOT_READONLY],
			 sum.slots[GMEM_SLOT_LEFT],
			 sum.bytes[GMEM_SLOT_LEFT] / 1024);
	gmem_event("event=exit fd=%d bound=%u bytes=%#lx alias=%u readonly=%u left=%u",
		   vm->fd, sum.slots[GMEM_SLOT_BOUND],
		   sum.bytes[GMEM_SLOT_BOUND], sum.slots[GMEM_SLOT_ALIAS],
		   sum.slots[GMEM_SLOT_READONLY], sum.slots[GMEM_SLOT_LEFT]);
}

/* Reports only VMs of this process: children of the VMM call exit(), too. */
void gmem_summary_at_exit(int status, void *unused)
{
	const struct gmem_vm *vm;
	size_t i;

	(void)unused;
	if (!gmem_lock())
		return;
	for (i = 0; (vm = gmem_vm_at(i)); i++)
		if (vm->pid == getpid())
			report_vm(vm);
	for (i = 0; (vm = gmem_vm_at(i)); i++)
		if (vm->pid == getpid() && gmem_options.protected)
			gmem_private_at_exit(vm, status);
	if (!status && gmem_options.require && !gmem_report_any_bound() &&
	    gmem_options.pid == getpid()) {
		fflush(NULL);
		gmem_refuse("no memory was registered with KVM");
	}
	gmem_unlock();
}
