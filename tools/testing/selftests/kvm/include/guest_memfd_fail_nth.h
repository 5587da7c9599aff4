/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the fail-nth tests: repeat an operation with its first, second, ...
 * allocation or argument copy failing, until no failure is injected any more.
 * Leaks show in the number of file descriptors, in the VM's page count, and in
 * a VM that is never freed.
 *
 * Needs CONFIG_FAULT_INJECTION_DEBUG_FS with CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC.  The debugfs settings are left changed; they select
 * what may fail, but do not enable injection.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H
#define SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H

#include "guest_memfd_util.h"

/*
 * @prepare and @undo run without injection, before and after each @call.  @call
 * returns -1 and sets errno if it fails.  @check verifies the state after a
 * failed call and completes the operation.
 */
struct gmem_operation {
	const char *name;
	void (*prepare)(void);
	int (*call)(void);
	void (*check)(int err);
	void (*undo)(void);
};

/* End the test if the kernel cannot inject failures. */
void gmem_require_injection(void);

/* Sweep all failures of each operation, with TAP output. */
void gmem_sweep_all(struct kvm_vm *vm, const struct gmem_operation *ops, int nr);

/* With all files closed, free the VM, check that it is gone, end the test. */
int gmem_sweep_end(struct kvm_vm *vm);

#endif /* SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H */
