// SPDX-License-Identifier: GPL-2.0
/*
 * Hypercalls by which the guest makes its memory private or shared.
 *
 * On x86, KVM_HC_MAP_GPA_RANGE converts a range. It returns 0, -EINVAL, or
 * -EAGAIN if the host uses a page that is to become private or for another
 * temporary failure: the guest may retry. On arm64, MEM_SHARE and MEM_UNSHARE
 * convert one page of the host's page size, and return "invalid parameter" on
 * any failure.
 *
 * The guest gets a temporary failure only if it lasts: see run.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "options.h"
#include "private.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

/* The preferred page size, a hint that is ignored. */
#define ATTR_PAGE_SIZE	0xfULL
#define ATTR_PRIVATE	_BITULL(4)

#define LATE_US		1000000
#define NR_LATE		8

/*
 * For tests of guests. Returns whether @ret is the answer, and no attempt is made.
 */
static bool is_hostile(bool private, int *ret)
{
	static unsigned int nr_calls;
	unsigned int nr = nr_calls++;

	switch (gmem_options.answers) {
	case GMEM_ANSWERS_REFUSE:
		*ret = -EINVAL;
		return !private;
	case GMEM_ANSWERS_AGAIN:
		*ret = -EAGAIN;
		return nr % 4 != 3;
	case GMEM_ANSWERS_LATE:
		if (nr < NR_LATE)
			usleep(LATE_US);
		return false;
	case GMEM_ANSWERS_LIE:
		*ret = 0;
		return true;
	default:
		return false;
	}
}

/* Sets @busy if the failure is temporary. */
static int convert(struct gmem_vm *vm, u64 gpa, u64 size, bool private,
		   bool *busy)
{
	int ret;

	if (is_hostile(private, &ret))
		return ret;
	ret = gmem_convert_gpa(vm, gpa, size, private);
	*busy = ret == -EAGAIN || ret == -ENOMEM || ret == -EINTR;
	if (*busy)
		return -EAGAIN;
	return ret ? -EINVAL : 0;
}

static int map_gpa_range(struct gmem_vm *vm, u64 gpa, u64 pages, u64 attributes,
			 bool *busy)
{
	if (attributes & ~(ATTR_PAGE_SIZE | ATTR_PRIVATE) ||
	    pages > UINT64_MAX / GMEM_HC_PAGE_SIZE)
		return -EINVAL;
	return convert(vm, gpa, pages * GMEM_HC_PAGE_SIZE,
		       attributes & ATTR_PRIVATE, busy);
}

static int convert_page(struct gmem_vm *vm, u64 gpa, bool private, bool *busy)
{
	if (convert(vm, gpa, gmem_page_size, private, busy))
		return GMEM_SMCCC_INVALID_PARAMETER;
	return 0;
}

/*
 * Handles the hypercalls above; returns false for any other. Sets @busy if the
 * failure is temporary: the call can be repeated before the guest runs again.
 */
bool gmem_hypercall(struct gmem_vm *vm, struct kvm_run *run, bool *busy)
{
	const __u64 *args = run->hypercall.args;
	int ret;

	switch (run->hypercall.nr) {
	case GMEM_HC_MAP_GPA_RANGE:
		ret = map_gpa_range(vm, args[0], args[1], args[2], busy);
		break;
	case GMEM_HC_MEM_SHARE:
	case GMEM_HC_MEM_UNSHARE:
		ret = convert_page(vm, args[0],
				   run->hypercall.nr == GMEM_HC_MEM_UNSHARE,
				   busy);
		break;
	default:
		return false;
	}
	run->hypercall.ret = (u64)(long)ret;
	return true;
}
