/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMs of this process, and their memslots.
 */
#ifndef GMEM_RUN_VM_H
#define GMEM_RUN_VM_H

#include <sys/types.h>

#include "gmem-run.h"
#include "uapi.h"
#include "vec.h"

/* slot.c */
enum gmem_slot_kind {
	GMEM_SLOT_BOUND,	/* registered with one of our files */
	GMEM_SLOT_ALIAS,	/* ordinary slot on the mapping of such a file */
	GMEM_SLOT_READONLY,	/* ROM: left alone */
	GMEM_SLOT_DEVICE,	/* a device's memory, not RAM: left alone */
	GMEM_SLOT_LEFT,		/* writable RAM that could not be taken over */
	GMEM_SLOT_OWN,		/* the VMM's own guest_memfd */
};

struct gmem_slot {
	enum gmem_slot_kind kind;
	struct kvm_userspace_memory_region2 region;
	dev_t dev;
	ino_t ino;
	const char *why;
};

#define GMEM_AS_ID(slot)	((slot) >> 16)
#define GMEM_SLOT_ID(slot)	((slot) & 0xffff)

struct gmem_vm {
	int fd;
	pid_t pid;
	bool usable;
	bool ran;		/* KVM_RUN was called */
	bool private;		/* the memory was made private */
	struct gmem_vec slots;
};

struct gmem_slot *gmem_slot_find(const struct gmem_vm *vm, u32 id);
void gmem_slot_record(struct gmem_vm *vm, const struct gmem_slot *slot);
void gmem_slot_forget(struct gmem_vm *vm, struct gmem_slot *slot);
bool gmem_slot_binds(uintptr_t start, uintptr_t end);
const struct gmem_slot *gmem_slot_alias(const struct gmem_vm *vm);
const struct gmem_slot *gmem_slot_bound_at(const struct gmem_vm *vm, u64 gpa);
const char *gmem_slot_kind_name(enum gmem_slot_kind kind);

/* vm.c */
void gmem_vm_created(int fd);
struct gmem_vm *gmem_vm_find(int fd);
struct gmem_vm *gmem_vm_at(size_t i);

#endif /* GMEM_RUN_VM_H */
