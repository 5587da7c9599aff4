// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_HC_MAP_GPA_RANGE: the guest asks for a range of its memory to be private
 * or shared. Its result is 0, -EINVAL, or -EAGAIN when somebody on the host
 * uses a page that is to become private: the guest may ask again.
 */
#include <errno.h>

#include "preload.h"

/* The preferred page size is a hint, and has no meaning above this. */
#define ATTR_PAGE_SIZE	0xfULL
#define ATTR_PRIVATE	_BITULL(4)

static int map_gpa_range(struct gmem_vm *vm, u64 gpa, u64 pages, u64 attributes)
{
	int ret;

	if (attributes & ~(ATTR_PAGE_SIZE | ATTR_PRIVATE) ||
	    pages > UINT64_MAX / GMEM_HC_PAGE_SIZE)
		return -EINVAL;
	ret = gmem_convert_gpa(vm, gpa, pages * GMEM_HC_PAGE_SIZE,
			       attributes & ATTR_PRIVATE);
	/* Out of memory, or interrupted: that passes, too. */
	return !ret || ret == -EINVAL ? ret : -EAGAIN;
}

void gmem_hypercall(struct gmem_vm *vm, struct kvm_run *run)
{
	int ret = map_gpa_range(vm, run->hypercall.args[0],
				run->hypercall.args[1],
				run->hypercall.args[2]);

	run->hypercall.ret = (u64)(long)ret;
}
