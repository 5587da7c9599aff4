/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A fake KVM for the self-test: memslots, guest_memfds and vCPUs, with the
 * rules that matter to the library. KVM_RUN calls fake_kvm.guest, which the
 * test sets.
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
	bool private;		/* state of its first page when bound */
};

/* A guest_memfd, with one byte of state per page. */
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
	int attributes_failures;	/* number of failures; -1: always */
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
