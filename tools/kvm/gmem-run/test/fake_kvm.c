// SPDX-License-Identifier: GPL-2.0
/*
 * A KVM for the self-test. One VM at a time: creating one starts afresh. The
 * guest_memfds are memfds, which have one inode each and can be mapped shared.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../preload.h"
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

static int create_vm(void)
{
	memset(fake_kvm.slots, 0, sizeof(fake_kvm.slots));
	return memfd_create("kvm-vm", MFD_CLOEXEC);
}

static int create_gmem(const struct kvm_create_guest_memfd *create)
{
	int fd;

	if (fake_kvm.create_errno)
		return -fake_kvm.create_errno;
	if (create->flags != 3 || !create->size || create->size % 4096)
		return -EINVAL;
	fd = memfd_create(NAME, MFD_ALLOW_SEALING);
	if (fd < 0 || syscall(SYS_ftruncate, fd, create->size))
		return -errno;
	fake_kvm.nr_created++;
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

static int capability(long number)
{
	if (number == KVM_CAP_USER_MEMORY2 || number == KVM_CAP_GUEST_MEMFD)
		return !!fake_kvm.caps;
	return number == KVM_CAP_GUEST_MEMFD_FLAGS ? fake_kvm.caps : 0;
}

int gmem_sys_ioctl(int fd, unsigned long request, void *arg)
{
	long ret;

	switch (request) {
	case KVM_CREATE_VM:
		return create_vm();
	case KVM_CHECK_EXTENSION:
		return capability((long)arg);
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
