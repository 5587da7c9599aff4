// SPDX-License-Identifier: GPL-2.0
/*
 * The memslots of each VM, as recorded by region.c.
 */
#include "report.h"
#include "uapi.h"
#include "vec.h"
#include "vm.h"

static const char * const kind_names[] = {
	[GMEM_SLOT_BOUND] = "bound",
	[GMEM_SLOT_ALIAS] = "alias",
	[GMEM_SLOT_READONLY] = "readonly",
	[GMEM_SLOT_DEVICE] = "device",
	[GMEM_SLOT_LEFT] = "left",
	[GMEM_SLOT_OWN] = "own",
};

const char *gmem_slot_kind_name(enum gmem_slot_kind kind)
{
	return kind_names[kind];
}

struct gmem_slot *gmem_slot_find(const struct gmem_vm *vm, u32 id)
{
	size_t i;

	for (i = 0; i < vm->slots.nr; i++) {
		struct gmem_slot *slot = gmem_vec_at(&vm->slots, i);

		if (slot->region.slot == id)
			return slot;
	}
	return NULL;
}

/* Is any of this memory in a bound slot of any VM? */
bool gmem_slot_binds(uintptr_t start, uintptr_t end)
{
	const struct gmem_vm *vm;
	size_t i, j;

	for (i = 0; (vm = gmem_vm_at(i)); i++) {
		for (j = 0; j < vm->slots.nr; j++) {
			const struct gmem_slot *slot = gmem_vec_at(&vm->slots, j);
			u64 uaddr = slot->region.userspace_addr;

			if (slot->kind == GMEM_SLOT_BOUND && start < end &&
			    start < uaddr + slot->region.memory_size &&
			    end > uaddr)
				return true;
		}
	}
	return false;
}

const struct gmem_slot *gmem_slot_bound_at(const struct gmem_vm *vm, u64 gpa)
{
	size_t i;

	for (i = 0; i < vm->slots.nr; i++) {
		const struct gmem_slot *slot = gmem_vec_at(&vm->slots, i);
		const struct kvm_userspace_memory_region2 *r = &slot->region;

		if (slot->kind == GMEM_SLOT_BOUND && gpa >= r->guest_phys_addr &&
		    gpa - r->guest_phys_addr < r->memory_size)
			return slot;
	}
	return NULL;
}

/* Returns an alias, which keeps the VM from becoming private, or NULL. */
const struct gmem_slot *gmem_slot_alias(const struct gmem_vm *vm)
{
	size_t i;

	for (i = 0; i < vm->slots.nr; i++) {
		const struct gmem_slot *slot = gmem_vec_at(&vm->slots, i);

		if (slot->kind == GMEM_SLOT_ALIAS)
			return slot;
	}
	return NULL;
}

/* If this fails, the slot is neither reported nor converted nor moved. */
void gmem_slot_record(struct gmem_vm *vm, const struct gmem_slot *slot)
{
	struct gmem_slot *copy = gmem_vec_add(&vm->slots);

	if (copy)
		*copy = *slot;
	else
		gmem_say("out of memory, slot %#x is not remembered",
			 slot->region.slot);
}

void gmem_slot_forget(struct gmem_vm *vm, struct gmem_slot *slot)
{
	size_t i = (size_t)(slot - (struct gmem_slot *)vm->slots.data);

	gmem_vec_remove(&vm->slots, i);
}
