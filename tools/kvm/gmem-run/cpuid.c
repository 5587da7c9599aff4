// SPDX-License-Identifier: GPL-2.0
/*
 * Tell the guest that its memory is private, and advertise KVM_HC_MAP_GPA_RANGE.
 * KVM does not report the feature as supported, because user space handles the
 * hypercall, and a VMM that does not know about it does not set it either.
 */
#include <errno.h>
#include <string.h>

#include "options.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"

#ifdef __x86_64__

#include <asm/kvm_para.h>

#ifndef KVM_FEATURE_HC_MAP_GPA_RANGE
#define KVM_FEATURE_HC_MAP_GPA_RANGE	16
#endif

#ifndef KVM_HINTS_SW_PROTECTED
#define KVM_HINTS_SW_PROTECTED		31
#endif

/* KVM's own limit. */
#define MAX_ENTRIES	256
#define LEAF_LIMIT	0x40010000
#define LEAF_STEP	0x100

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[MAX_ENTRIES];
};

static bool is_kvm_leaf(const struct kvm_cpuid_entry2 *entry)
{
	return entry->function >= KVM_CPUID_SIGNATURE &&
	       entry->function < LEAF_LIMIT &&
	       !(entry->function % LEAF_STEP) &&
	       !memcmp(&entry->ebx, "KVMKVMKVM\0\0", 12);
}

/* The leaf after KVM's signature. Hyper-V's leaves come first, if present. */
static void advertise(struct cpuid *cpuid)
{
	u32 i, features = 0;

	for (i = 0; i < cpuid->head.nent; i++)
		if (is_kvm_leaf(&cpuid->entries[i]))
			features = cpuid->entries[i].function + 1;
	for (i = 0; features && i < cpuid->head.nent; i++) {
		if (cpuid->entries[i].function != features)
			continue;
		cpuid->entries[i].eax |= 1U << KVM_FEATURE_HC_MAP_GPA_RANGE;
		cpuid->entries[i].edx |= 1U << KVM_HINTS_SW_PROTECTED;
	}
}

int gmem_cpuid_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_cpuid2 *want = arg;
	struct cpuid cpuid;

	/* Leave it to KVM to reject invalid input. */
	if (!gmem_options.protected || !want || want->nent > MAX_ENTRIES)
		return gmem_sys_ioctl(fd, request, arg);
	memcpy(&cpuid, want, sizeof(*want) +
	       want->nent * sizeof(cpuid.entries[0]));
	advertise(&cpuid);
	return gmem_sys_ioctl(fd, request, &cpuid);
}

#else

int gmem_cpuid_set(int fd, unsigned long request, void *arg)
{
	return gmem_sys_ioctl(fd, request, arg);
}

#endif
