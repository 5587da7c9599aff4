// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual machines with one vCPU, and timed calls.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem-bench.h"

#define CODE_GPA	0x1000ul

int kvm;
__u64 clock_cost;

void calibrate(void)
{
	__u64 t, best = ~0ull;
	int i;

	for (i = 0; i < 64; i++) {
		t = now();
		t = now() - t;
		if (t < best)
			best = t;
	}
	clock_cost = best;
}

int xioctl(int fd, unsigned long req, void *arg, const char *what)
{
	int r = ioctl(fd, req, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

unsigned long capability(int fd, unsigned long cap)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return r > 0 ? r : 0;
}

void set_region(struct vm *vm, int slot, __u64 gpa, __u64 size,
		void *addr, int gmem)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = gmem < 0 ? 0 : KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)addr,
		.guest_memfd = gmem < 0 ? 0 : gmem,
	};

	xioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region, "set region");
}

int create_gmem(struct vm *vm, __u64 size, __u64 flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

	return xioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &args, "create guest_memfd");
}

void set_private(struct vm *vm, __u64 gpa, __u64 size, bool private)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	xioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs, "set attributes");
}

__u64 time_set_private(struct vm *vm, __u64 gpa, __u64 size,
		       bool private)
{
	__u64 t = now();

	set_private(vm, gpa, size, private);
	return since(t);
}

__u64 time_convert(int gmem, __u64 offset, __u64 size, bool private)
{
	struct attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};
	__u64 t = now();

	xioctl(gmem, SET_MEMORY_ATTRIBUTES2, &attrs, "set attributes of the file");
	return since(t);
}

__u64 time_fallocate(int gmem, int mode)
{
	__u64 t = now();

	if (fallocate(gmem, FALLOC_FL_KEEP_SIZE | mode, 0, TEST_SIZE))
		err(1, "fallocate");
	return since(t);
}

/* Aligned like the guest's memory, so that huge pages can map it. */
void *anon(__u64 size)
{
	__u8 *p = mmap(NULL, size + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u8 *start = (__u8 *)(((__u64)p + BLOCK - 1) & -BLOCK);

	if (p == MAP_FAILED || munmap(p, size + BLOCK))
		err(1, "mmap");
	p = mmap(start, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

/* Whether new files may have blocks of 2 MiB; false if the kernel has none. */
bool use_blocks(bool use)
{
	int fd = open("/sys/module/kvm/parameters/gmem_huge", O_WRONLY);
	const char *val = use ? "always" : "never";

	if (fd < 0)
		return false;
	if (write(fd, val, strlen(val)) < 0)
		err(1, "gmem_huge");
	close(fd);
	return true;
}

/* Whether files of TEST_SIZE can have memory of the pool, which they leave empty. */
bool use_pool(struct vm *vm, bool use)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY);
	char val[32];
	int gmem;

	if (fd < 0)
		return false;
	snprintf(val, sizeof(val), "%lu", use ? TEST_SIZE / BLOCK : 0);
	if (write(fd, val, strlen(val)) < 0)
		err(1, "nr_hugepages");
	close(fd);
	if (!use || !(capability(vm->fd, CAP_GUEST_MEMFD_FLAGS) & FLAG_IN_POOL))
		return false;
	gmem = create_gmem(vm, TEST_SIZE, FLAG_HUGETLB);
	close(gmem);
	return true;
}

bool has_protected(void)
{
	return capability(kvm, KVM_CAP_VM_TYPES) & (1 << SW_PROTECTED_VM);
}

int create_bare_vm(unsigned long type)
{
	int fd = ioctl(kvm, KVM_CREATE_VM, type);

	if (fd < 0)
		err(1, "create VM");
	return fd;
}

/* Flat 32-bit protected mode: write to ecx pages starting at edi, then halt. */
void create_vm(struct vm *vm, unsigned long type)
{
	static const __u8 code[] = {
		0x89, 0x07,				/* 1: mov [edi], eax */
		0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* add edi, 4096 */
		0x49,					/* dec ecx */
		0x75, 0xf5,				/* jnz 1b */
		0xf4,					/* hlt */
	};
	struct kvm_sregs sregs;
	struct kvm_segment *seg;
	int size;

	vm->fd = create_bare_vm(type);
	vm->code = anon(16 * PAGE);
	memcpy(vm->code + CODE_GPA, code, sizeof(code));
	set_region(vm, 0, 0, 16 * PAGE, vm->code, -1);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		err(1, "create vCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		err(1, "mmap vCPU");

	xioctl(vm->vcpu, KVM_GET_SREGS, &sregs, "get sregs");
	sregs.cr0 |= 1;
	seg = &sregs.cs;
	*seg = (struct kvm_segment) { .limit = ~0u, .selector = 8, .type = 11,
				      .present = 1, .db = 1, .s = 1, .g = 1 };
	sregs.ds = *seg;
	sregs.ds.type = 3;
	sregs.ds.selector = 16;
	sregs.es = sregs.ds;
	sregs.ss = sregs.ds;
	xioctl(vm->vcpu, KVM_SET_SREGS, &sregs, "set sregs");
}

void destroy_vm(struct vm *vm)
{
	munmap(vm->run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(vm->vcpu);
	close(vm->fd);
	munmap(vm->code, 16 * PAGE);
}

/* Let the guest touch pages; returns the time it took. */
__u64 guest_touch(struct vm *vm, __u64 gpa, __u64 pages)
{
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2, .rdi = gpa,
				 .rcx = pages, .rax = 1 };
	__u64 t;

	xioctl(vm->vcpu, KVM_SET_REGS, &regs, "set regs");
	t = now();
	xioctl(vm->vcpu, KVM_RUN, NULL, "run");
	t = since(t);
	if (vm->run->exit_reason != KVM_EXIT_HLT)
		errx(1, "unexpected exit %u", vm->run->exit_reason);
	return t;
}

__u64 host_touch(__u8 *mem)
{
	__u64 i, t = now();

	for (i = 0; i < TEST_PAGES; i++) {
		mem[i * PAGE] = 1;
		/* Keep the compiler from eliding a store. */
		__asm__ volatile("" : : : "memory");
	}
	return since(t);
}

/* Wait for background work to finish: kfree_rcu() may take seconds. */
void settle(void)
{
	sleep(12);
}
