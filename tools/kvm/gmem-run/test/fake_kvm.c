// SPDX-License-Identifier: GPL-2.0
/*
 * A fake KVM for the self-test. There is one VM at a time: creating another one
 * deletes all slots. The guest_memfds are memfds, each of which has its own
 * inode and can be mapped shared.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../sys.h"
#include "fake_kvm.h"

#define NAME		"kvm-gmem"
#define ALL_FLAGS	(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY | \
			 KVM_MEM_GUEST_MEMFD)

struct fake_kvm fake_kvm;

struct fake_slot *fake_slot(unsigned int id)
{
	size_t i;

	for (i = 0; i < FAKE_SLOTS; i++)
		if (fake_kvm.slots[i].used &&
		    fake_kvm.slots[i].region.slot == id)
			return &fake_kvm.slots[i];
	return NULL;
}

struct fake_file *fake_file(unsigned long ino)
{
	size_t i;

	for (i = 0; i < FAKE_FILES; i++)
		if (fake_kvm.files[i].ino == ino)
			return &fake_kvm.files[i];
	return NULL;
}

/* The state of a page of a bound slot. */
bool fake_private(unsigned int id, unsigned long page)
{
	struct fake_slot *slot = fake_slot(id);

	page += slot->region.guest_memfd_offset / 4096;
	return fake_file(slot->ino)->private[page];
}

static int create_vm(unsigned long machine)
{
	unsigned long type = machine >> GMEM_VM_TYPE_SHIFT;

	if (!(fake_kvm.types >> type & 1))
		return -EINVAL;
	fake_kvm.vm_type = type;
	memset(fake_kvm.slots, 0, sizeof(fake_kvm.slots));
	return memfd_create("kvm-vm", MFD_CLOEXEC);
}

static int create_gmem(const struct kvm_create_guest_memfd *create)
{
	struct fake_file *file = fake_file(0);
	struct stat st;
	int fd;

	if (fake_kvm.create_errno)
		return -fake_kvm.create_errno;
	if ((create->flags & 3) != 3 || create->flags & ~(u64)fake_kvm.caps ||
	    !create->size || create->size % 4096)
		return -EINVAL;
	fd = memfd_create(NAME, MFD_ALLOW_SEALING);
	if (fd < 0 || syscall(SYS_ftruncate, fd, create->size) ||
	    fstat(fd, &st))
		return -errno;
	fake_kvm.nr_created++;
	if (file) {
		file->ino = st.st_ino;
		file->flags = create->flags;
	}
	return fd;
}

static bool overlaps(u64 a, u64 b, u64 a_size, u64 b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int check_new(const struct kvm_userspace_memory_region2 *new)
{
	size_t i;

	for (i = 0; i < FAKE_SLOTS; i++) {
		const struct fake_slot *slot = &fake_kvm.slots[i];
		const struct kvm_userspace_memory_region2 *r = &slot->region;

		if (slot->used && r->slot >> 16 == new->slot >> 16 &&
		    r->slot != new->slot &&
		    overlaps(r->guest_phys_addr, new->guest_phys_addr,
			     r->memory_size, new->memory_size))
			return -EEXIST;
	}
	return 0;
}

static int bind(struct fake_slot *new)
{
	const struct kvm_userspace_memory_region2 *want = &new->region;
	char path[64], link[64] = "";
	struct stat st;
	size_t i;

	snprintf(path, sizeof(path), "/proc/self/fd/%u", want->guest_memfd);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -EBADF;
	if (!strstr(link, NAME) || fstat((int)want->guest_memfd, &st))
		return -EINVAL;
	new->ino = st.st_ino;
	if (fake_file(new->ino))
		new->private = fake_file(new->ino)
				->private[want->guest_memfd_offset / 4096];
	if (want->guest_memfd_offset + want->memory_size > (u64)st.st_size)
		return -EINVAL;
	for (i = 0; i < FAKE_SLOTS; i++) {
		const struct fake_slot *slot = &fake_kvm.slots[i];
		const struct kvm_userspace_memory_region2 *r = &slot->region;

		if (slot->used && slot->bound && slot->ino == new->ino &&
		    overlaps(r->guest_memfd_offset, want->guest_memfd_offset,
			     r->memory_size, want->memory_size))
			return -EEXIST;
	}
	return 0;
}

static int add(const struct kvm_userspace_memory_region2 *want)
{
	struct fake_slot new = { .used = true, .region = *want };
	size_t i;
	int ret = check_new(want);

	new.bound = want->flags & KVM_MEM_GUEST_MEMFD;
	if (!ret && new.bound)
		ret = bind(&new);
	for (i = 0; !ret && i < FAKE_SLOTS; i++) {
		if (fake_kvm.slots[i].used)
			continue;
		fake_kvm.slots[i] = new;
		return 0;
	}
	return ret ? ret : -ENOSPC;
}

static int modify(struct fake_slot *slot,
		  const struct kvm_userspace_memory_region2 *want)
{
	struct kvm_userspace_memory_region2 *have = &slot->region;
	unsigned int change = have->flags ^ want->flags;
	int ret;

	if (have->memory_size != want->memory_size ||
	    have->userspace_addr != want->userspace_addr ||
	    change & ~KVM_MEM_LOG_DIRTY_PAGES)
		return -EINVAL;
	if (slot->bound &&
	    (!change || have->guest_phys_addr != want->guest_phys_addr ||
	     have->guest_memfd_offset != want->guest_memfd_offset))
		return -EINVAL;
	ret = check_new(want);
	if (!ret)
		*have = *want;
	return ret;
}

static int set_region(const void *arg, size_t size)
{
	struct kvm_userspace_memory_region2 want = { 0 };
	struct fake_slot *slot;
	unsigned int valid = ALL_FLAGS;

	if (!arg)
		return -EFAULT;
	memcpy(&want, arg, size);
	if (size < sizeof(want))
		valid &= ~(unsigned int)KVM_MEM_GUEST_MEMFD;
	else if (fake_kvm.region2_errno)
		return -fake_kvm.region2_errno;
	if (want.flags & KVM_MEM_GUEST_MEMFD)
		valid &= ~(unsigned int)KVM_MEM_READONLY;
	if (want.flags & ~valid ||
	    (want.memory_size | want.userspace_addr | want.guest_phys_addr |
	     want.guest_memfd_offset) & 4095)
		return -EINVAL;
	slot = fake_slot(want.slot);
	if (want.memory_size)
		return slot ? modify(slot, &want) : add(&want);
	if (!slot)
		return -EINVAL;
	slot->used = false;
	return 0;
}

/* The fd of a VM queries that VM; -1 stands for /dev/kvm. */
static int capability(int fd, long number)
{
	bool protected = fake_kvm.types >> GMEM_VM_TYPE & 1;

	if (fd >= 0)
		protected = fake_kvm.vm_type;
	switch (number) {
	case KVM_CAP_USER_MEMORY2:
	case KVM_CAP_GUEST_MEMFD:
		return !!fake_kvm.caps;
	case KVM_CAP_GUEST_MEMFD_FLAGS:
		return fake_kvm.caps;
	case KVM_CAP_VM_TYPES:
		return fake_kvm.types;
	case KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES:
		return protected ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	case KVM_CAP_X86_SMM:
		return 1;
	case KVM_CAP_MULTI_ADDRESS_SPACE:
		return 2;
	default:
		return 0;
	}
}

static int set_attributes(int fd, struct kvm_memory_attributes2 *want)
{
	struct fake_file *file;
	struct stat st;
	size_t i;

	if (fstat(fd, &st))
		return -errno;
	file = fake_file(st.st_ino);
	if (!file || !fake_kvm.vm_type || want->flags || !want->size ||
	    want->attributes & ~KVM_MEMORY_ATTRIBUTE_PRIVATE ||
	    (want->offset | want->size) & 4095 ||
	    want->offset + want->size > (u64)st.st_size)
		return -EINVAL;
	if (fake_kvm.attributes_failures) {
		if (fake_kvm.attributes_failures > 0)
			fake_kvm.attributes_failures--;
		want->error_offset = want->offset;
		return -fake_kvm.attributes_errno;
	}
	fake_kvm.nr_converted++;
	for (i = want->offset / 4096; i < (want->offset + want->size) / 4096; i++)
		file->private[i] = !!want->attributes;
	return 0;
}

static int enable(const struct kvm_enable_cap *cap)
{
	if (cap->cap != KVM_CAP_EXIT_HYPERCALL)
		return -EINVAL;
	if (fake_kvm.enable_errno)
		return -fake_kvm.enable_errno;
	fake_kvm.hypercalls = cap->args[0];
	return 0;
}

/* A memfd stands for the vCPU, so that the VMM can map it. */
static int create_vcpu(void)
{
	int fd = memfd_create("kvm-vcpu", MFD_CLOEXEC);

	if (fd < 0 || syscall(SYS_ftruncate, fd, 4096))
		return -errno;
	return fd;
}

static int run(int fd)
{
	struct kvm_run *run = (void *)syscall(SYS_mmap, NULL, 4096,
					      PROT_READ | PROT_WRITE,
					      MAP_SHARED, fd, 0);
	int ret;

	if (run == MAP_FAILED)
		return -errno;
	ret = fake_kvm.guest(fd, run);
	syscall(SYS_munmap, run, 4096);
	return ret;
}

#ifdef __x86_64__
static int set_cpuid(const struct kvm_cpuid2 *want)
{
	size_t size = sizeof(*want) + want->nent * sizeof(want->entries[0]);

	if (want->nent > 256)
		return -E2BIG;
	free(fake_kvm.cpuid);
	fake_kvm.cpuid = malloc(size);
	memcpy(fake_kvm.cpuid, want, size);
	return 0;
}
#endif

int gmem_sys_ioctl(int fd, unsigned long request, void *arg)
{
	long ret;

	switch (request) {
	case KVM_CREATE_VM:
		return create_vm((unsigned long)arg);
	case KVM_CHECK_EXTENSION:
		return capability(fd, (long)arg);
	case KVM_CREATE_VCPU:
		return create_vcpu();
	case KVM_RUN:
		return run(fd);
	case KVM_ENABLE_CAP:
		return enable(arg);
#ifdef __x86_64__
	case KVM_SET_CPUID2:
		return set_cpuid(arg);
#endif
	case KVM_SET_MEMORY_ATTRIBUTES2:
		return set_attributes(fd, arg);
	case KVM_CREATE_GUEST_MEMFD:
		return create_gmem(arg);
	case KVM_SET_USER_MEMORY_REGION:
		return set_region(arg,
				  sizeof(struct kvm_userspace_memory_region));
	case KVM_SET_USER_MEMORY_REGION2:
		return set_region(arg,
				  sizeof(struct kvm_userspace_memory_region2));
	default:
		ret = syscall(SYS_ioctl, fd, request, arg);
		return ret < 0 ? -errno : (int)ret;
	}
}
