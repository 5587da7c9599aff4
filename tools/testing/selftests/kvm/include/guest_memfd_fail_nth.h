/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fail-nth tests share: an operation is repeated with its first, second,
 * ... allocation or copy of arguments failing, until it meets no failure.  What
 * leaks shows in the number of file descriptors, the VM's pages, and a VM that
 * never goes away.
 *
 * Needs CONFIG_FAULT_INJECTION_DEBUG_FS with CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC.  Leaves their debugfs settings changed, which only
 * says what may fail, not that it does.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H
#define SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H

#include "guest_memfd_util.h"

/*
 * @prepare and @undo run without injection, before and after each @call.  @call
 * returns -1 and sets errno, or not.  @check looks at what a failed call left
 * and finishes the work.
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

/* Free the VM, whose files are closed, see that it is gone, and end the test. */
int gmem_sweep_end(struct kvm_vm *vm);

#endif /* SELFTEST_KVM_GUEST_MEMFD_FAIL_NTH_H */
