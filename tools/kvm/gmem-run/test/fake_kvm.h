/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A KVM for the self-test: memslots, guest_memfds and vCPUs, with the rules that
 * the library meets. A vCPU runs what the test puts into fake_kvm.guest.
 */
#ifndef FAKE_KVM_H
#define FAKE_KVM_H

#include <stdbool.h>

#include "../uapi.h"

#define FAKE_SLOTS	64
#define FAKE_FILES	16
#define FAKE_PAGES	4096

struct fake_slot {
	bool used;
	bool bound;
	struct kvm_userspace_memory_region2 region;
	unsigned long ino;
	bool private;		/* its first page, when it was bound */
};

/* The states of a file, a byte a page. */
struct fake_file {
	unsigned long ino;
	unsigned long long flags;
	unsigned char private[FAKE_PAGES];
};

struct fake_kvm {
	int caps;
	int types;
	int create_errno;
	int region2_errno;
	int attributes_errno;
	int attributes_failures;	/* how often; -1: always */
	int enable_errno;
	int nr_created;
	int nr_converted;
	unsigned long vm_type;
	unsigned long long hypercalls;
	struct kvm_cpuid2 *cpuid;
	struct fake_slot slots[FAKE_SLOTS];
	struct fake_file files[FAKE_FILES];
	int (*guest)(int vcpu, struct kvm_run *run);
};

extern struct fake_kvm fake_kvm;

struct fake_slot *fake_slot(unsigned int id);
struct fake_file *fake_file(unsigned long ino);
bool fake_private(unsigned int id, unsigned long page);

#endif /* FAKE_KVM_H */
