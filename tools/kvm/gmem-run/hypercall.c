// SPDX-License-Identifier: GPL-2.0
/*
 * Hypercalls by which the guest makes its memory private or shared.
 *
 * On x86, KVM_HC_MAP_GPA_RANGE converts a range. It returns 0, -EINVAL, or
 * -EAGAIN if the host uses a page that is to become private or for another
 * temporary failure: the guest may retry. On arm64, MEM_SHARE and MEM_UNSHARE
 * convert one page of the host's page size, and return "invalid parameter" on
 * any failure.
 */
#include <errno.h>

#include "private.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

/* The preferred page size, a hint that is ignored. */
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
	/* -ENOMEM and -EINTR are temporary, too: the guest may retry. */
	return !ret || ret == -EINVAL ? ret : -EAGAIN;
}

static int convert_page(struct gmem_vm *vm, u64 gpa, bool private)
{
	if (gmem_convert_gpa(vm, gpa, gmem_page_size, private))
		return GMEM_SMCCC_INVALID_PARAMETER;
	return 0;
}

/* Handles the hypercalls above; returns false for any other. */
bool gmem_hypercall(struct gmem_vm *vm, struct kvm_run *run)
{
	const __u64 *args = run->hypercall.args;
	int ret;

	switch (run->hypercall.nr) {
	case GMEM_HC_MAP_GPA_RANGE:
		ret = map_gpa_range(vm, args[0], args[1], args[2]);
		break;
	case GMEM_HC_MEM_SHARE:
	case GMEM_HC_MEM_UNSHARE:
		ret = convert_page(vm, args[0],
				   run->hypercall.nr == GMEM_HC_MEM_UNSHARE);
		break;
	default:
		return false;
	}
	run->hypercall.ret = (u64)(long)ret;
	return true;
}
