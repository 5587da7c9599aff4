/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM_RUN of protected VMs, their exits, and the CPUID of their guests.
 */
#ifndef GMEM_RUN_VCPU_H
#define GMEM_RUN_VCPU_H

#include "gmem-run.h"
#include "uapi.h"
#include "vm.h"

/* vcpu.c: the vCPUs of protected VMs */
struct kvm_run;

struct gmem_vcpu {
	int fd;
	int vm_fd;
	struct kvm_run *run;
	bool open;		/* its last hypercall has no answer yet */
};

void gmem_vcpu_created(int fd, int vm_fd);
void gmem_vcpu_mapped(int fd, void *addr);
void gmem_vcpu_unmapped(uintptr_t start, uintptr_t end);
const struct gmem_vcpu *gmem_vcpu_find(int fd);
void gmem_vcpu_set_open(int fd, bool open);

/* run.c, hypercall.c: KVM_RUN, and the exits that gmem-run handles */
int gmem_run(int fd, unsigned long request, void *arg);
bool gmem_hypercall(struct gmem_vm *vm, struct kvm_run *run, bool *busy);

/* cpuid.c: advertises KVM_HC_MAP_GPA_RANGE */
int gmem_cpuid_set(int fd, unsigned long request, void *arg);

#endif /* GMEM_RUN_VCPU_H */
