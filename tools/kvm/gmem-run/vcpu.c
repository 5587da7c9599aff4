// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPUs of protected VMs, and where the VMM has mapped their struct
 * kvm_run. The VMM's mapping is used, because one of our own would keep the VM
 * alive after the VMM has closed it.
 */
#include "report.h"
#include "vcpu.h"
#include "vec.h"

static struct gmem_vec vcpus = GMEM_VEC(struct gmem_vcpu);

static struct gmem_vcpu *find(int fd)
{
	size_t i;

	for (i = 0; i < vcpus.nr; i++) {
		struct gmem_vcpu *vcpu = gmem_vec_at(&vcpus, i);

		if (vcpu->fd == fd)
			return vcpu;
	}
	return NULL;
}

/* The fd may have been that of another vCPU, which is closed now. */
void gmem_vcpu_created(int fd, int vm_fd)
{
	struct gmem_vcpu *vcpu = find(fd);

	if (!vcpu)
		vcpu = gmem_vec_add(&vcpus);
	if (!vcpu)
		gmem_stop("out of memory");
	vcpu->fd = fd;
	vcpu->vm_fd = vm_fd;
	vcpu->run = NULL;
	vcpu->open = false;
}

void gmem_vcpu_mapped(int fd, void *addr)
{
	struct gmem_vcpu *vcpu = find(fd);

	if (vcpu)
		vcpu->run = addr;
}

void gmem_vcpu_unmapped(uintptr_t start, uintptr_t end)
{
	size_t i;

	for (i = 0; i < vcpus.nr; i++) {
		struct gmem_vcpu *vcpu = gmem_vec_at(&vcpus, i);
		uintptr_t run = (uintptr_t)vcpu->run;

		if (run >= start && run < end)
			vcpu->run = NULL;
	}
}

/* The pointer is valid until another vCPU is created. */
const struct gmem_vcpu *gmem_vcpu_find(int fd)
{
	return find(fd);
}

void gmem_vcpu_set_open(int fd, bool open)
{
	struct gmem_vcpu *vcpu = find(fd);

	if (vcpu)
		vcpu->open = open;
}
