/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A KVM for the self-test: memslots and guest_memfds, with the rules that the
 * library meets, and without guests.
 */
#ifndef FAKE_KVM_H
#define FAKE_KVM_H

#include <stdbool.h>

#include "../uapi.h"

#define FAKE_SLOTS	64

struct fake_slot {
	bool used;
	bool bound;
	struct kvm_userspace_memory_region2 region;
	unsigned long ino;
};

struct fake_kvm {
	int caps;
	int create_errno;
	int region2_errno;
	int nr_created;
	struct fake_slot slots[FAKE_SLOTS];
};

extern struct fake_kvm fake_kvm;

struct fake_slot *fake_slot(unsigned int id);

#endif /* FAKE_KVM_H */
