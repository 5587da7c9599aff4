// SPDX-License-Identifier: GPL-2.0
/*
 * Path lengths of guest_memfd, in nanoseconds of CLOCK_MONOTONIC. In the
 * counting emulator (qemu/l1 -I) a nanosecond is an instruction.
 *
 * Uses nothing but the public ABI, so that it runs on any kernel that has
 * guest_memfd; what a kernel does not have is left out.
 *
 * Output: one line a row, "name<TAB>value<TAB>unit".
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Numbers of the ABI, for builds against older headers. */
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD		(1UL << 2)
#define KVM_CAP_PRE_FAULT_MEMORY	236
#define KVM_CAP_VM_TYPES		235
#define KVM_MEMORY_ATTRIBUTE_PRIVATE	(1ULL << 3)
#define KVM_SET_USER_MEMORY_REGION2	0x40a0ae49
#define KVM_SET_MEMORY_ATTRIBUTES	0x4020aed2
#define KVM_CREATE_GUEST_MEMFD		0xc040aed4
#define KVM_PRE_FAULT_MEMORY		0xc040aed5
struct kvm_userspace_memory_region2 {
	__u32 slot, flags;
	__u64 guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
	__u32 guest_memfd, pad1;
	__u64 pad2[14];
};

struct kvm_create_guest_memfd {
	__u64 size, flags, reserved[6];
};

struct kvm_memory_attributes {
	__u64 address, size, attributes, flags;
};

struct kvm_pre_fault_memory {
	__u64 gpa, size, flags, padding[5];
};
#endif

#define CAP_GUEST_MEMFD_FLAGS	244
#define FLAG_SHARED		3	/* MMAP | INIT_SHARED */
#define SW_PROTECTED_VM		1

#define PAGE		4096ul
#define CODE_GPA	0x1000ul
#define TEST_GPA	(256ul << 20)
#define TEST_SIZE	(64ul << 20)
#define TEST_PAGES	(TEST_SIZE / PAGE)
#define ATTR_GPA	(64ul << 30)
#define ATTR_SIZE	(64ul << 30)

struct vm {
	int fd, vcpu;
	struct kvm_run *run;
	uint8_t *code;
};

static int kvm;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int xioctl(int fd, unsigned long req, void *arg, const char *what)
{
	int r = ioctl(fd, req, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

static void row(const char *name, double value, const char *unit)
{
	printf("%s\t%.0f\t%s\n", name, value, unit);
	fflush(stdout);
}

static void set_region(struct vm *vm, int slot, uint64_t gpa, uint64_t size,
		       void *addr, int gmem)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = gmem < 0 ? 0 : KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)addr,
		.guest_memfd = gmem < 0 ? 0 : gmem,
	};

	xioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region, "set region");
}

static int create_gmem(struct vm *vm, uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

	return xioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &args, "create guest_memfd");
}

static void set_private(struct vm *vm, uint64_t gpa, uint64_t size, bool private)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	xioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs, "set attributes");
}

static void *anon(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

/* Flat 32-bit protected mode: write to ecx pages from edi on, then halt. */
static void create_vm(struct vm *vm, unsigned long type)
{
	static const uint8_t code[] = {
		0x89, 0x07,				/* 1: mov [edi], eax */
		0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* add edi, 4096 */
		0x49,					/* dec ecx */
		0x75, 0xf5,				/* jnz 1b */
		0xf4,					/* hlt */
	};
	struct kvm_sregs sregs;
	struct kvm_segment *seg;
	int size;

	vm->fd = ioctl(kvm, KVM_CREATE_VM, type);
	if (vm->fd < 0)
		err(1, "create VM");
	vm->code = anon(16 * PAGE);
	memcpy(vm->code + CODE_GPA, code, sizeof(code));
	set_region(vm, 0, 0, 16 * PAGE, vm->code, -1);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		err(1, "create vCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);

	xioctl(vm->vcpu, KVM_GET_SREGS, &sregs, "get sregs");
	sregs.cr0 |= 1;
	seg = &sregs.cs;
	*seg = (struct kvm_segment) { .limit = ~0u, .selector = 8, .type = 11,
				      .present = 1, .db = 1, .s = 1, .g = 1 };
	sregs.ds = sregs.es = sregs.ss = *seg;
	sregs.ds.type = sregs.es.type = sregs.ss.type = 3;
	sregs.ds.selector = sregs.es.selector = sregs.ss.selector = 16;
	xioctl(vm->vcpu, KVM_SET_SREGS, &sregs, "set sregs");
}

static void destroy_vm(struct vm *vm)
{
	munmap(vm->run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(vm->vcpu);
	close(vm->fd);
	munmap(vm->code, 16 * PAGE);
}

/* Let the guest touch pages; returns the time it took. */
static uint64_t guest_touch(struct vm *vm, uint64_t gpa, uint64_t pages)
{
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2, .rdi = gpa,
				 .rcx = pages, .rax = 1 };
	uint64_t t;

	xioctl(vm->vcpu, KVM_SET_REGS, &regs, "set regs");
	t = now();
	xioctl(vm->vcpu, KVM_RUN, NULL, "run");
	t = now() - t;
	if (vm->run->exit_reason != KVM_EXIT_HLT)
		errx(1, "unexpected exit %u", vm->run->exit_reason);
	return t;
}

static double per_page(uint64_t t)
{
	return (double)t / TEST_PAGES;
}

static uint64_t slab_kib(void)
{
	char line[128];
	uint64_t kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %lu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static void bench_attributes(struct vm *vm)
{
	uint64_t t, before;

	/* Warm the path up, on other gfns. */
	set_private(vm, ATTR_GPA / 2, PAGE, true);
	set_private(vm, ATTR_GPA / 2, PAGE, false);

	before = slab_kib();
	t = now();
	set_private(vm, ATTR_GPA, ATTR_SIZE, true);
	t = now() - t;
	row("attr-64g-set", t, "whole call");
	row("attr-64g-mem", slab_kib() - before, "KiB");
	t = now();
	set_private(vm, ATTR_GPA, ATTR_SIZE, false);
	t = now() - t;
	row("attr-64g-clear", t, "whole call");
}

static void prefault(struct vm *vm)
{
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = TEST_SIZE };

	while (range.size)
		xioctl(vm->vcpu, KVM_PRE_FAULT_MEMORY, &range, "prefault");
}

static void bench_convert(struct vm *vm)
{
	uint64_t t;
	int i;

	t = now();
	set_private(vm, TEST_GPA, TEST_SIZE, false);
	row("convert-to-shared", per_page(now() - t), "per page");
	t = now();
	set_private(vm, TEST_GPA, TEST_SIZE, true);
	row("convert-to-private", per_page(now() - t), "per page");
	row("private-refault", per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)),
	    "per page");

	t = now();
	for (i = 0; i < 256; i++) {
		set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, false);
		set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, true);
	}
	row("convert-4k", (now() - t) / 512., "per page");
}

static void fallocate_all(int gmem, int mode)
{
	if (fallocate(gmem, FALLOC_FL_KEEP_SIZE | mode, 0, TEST_SIZE))
		err(1, "fallocate");
}

static void bench_private(void)
{
	struct vm vm;
	uint64_t t;
	int gmem;

	create_vm(&vm, SW_PROTECTED_VM);
	gmem = create_gmem(&vm, TEST_SIZE, 0);
	set_region(&vm, 1, TEST_GPA, TEST_SIZE, anon(TEST_SIZE), gmem);
	guest_touch(&vm, 0x2000, 1);

	bench_attributes(&vm);
	set_private(&vm, TEST_GPA, TEST_SIZE, true);
	row("private-fault-cold",
	    per_page(guest_touch(&vm, TEST_GPA, TEST_PAGES)), "per page");
	bench_convert(&vm);

	t = now();
	fallocate_all(gmem, FALLOC_FL_PUNCH_HOLE);
	row("punch-hole", per_page(now() - t), "per page");
	t = now();
	fallocate_all(gmem, 0);
	row("fallocate", per_page(now() - t), "per page");
	fallocate_all(gmem, FALLOC_FL_PUNCH_HOLE);

	if (ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) > 0) {
		t = now();
		prefault(&vm);
		row("prefault-cold", per_page(now() - t), "per page");
	}
	close(gmem);
	destroy_vm(&vm);
}

static void bench_create(struct vm *vm)
{
	uint64_t t = now();
	int i;

	for (i = 0; i < 256; i++)
		close(create_gmem(vm, TEST_SIZE, 0));
	row("create-close", (now() - t) / 256., "per pair");
}

static void host_touch(volatile uint8_t *mem)
{
	uint64_t i;

	for (i = 0; i < TEST_PAGES; i++)
		mem[i * PAGE] = 1;
}

static void bench_shared(void)
{
	struct vm vm;
	uint64_t t;
	void *mem;
	int gmem;

	create_vm(&vm, 0);
	gmem = create_gmem(&vm, TEST_SIZE, FLAG_SHARED);
	mem = mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0);
	if (mem == MAP_FAILED)
		err(1, "mmap guest_memfd");
	set_region(&vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	guest_touch(&vm, 0x2000, 1);

	row("gmem-only-fault-cold",
	    per_page(guest_touch(&vm, TEST_GPA, TEST_PAGES)), "per page");
	t = now();
	host_touch(mem);
	row("host-fault-present", per_page(now() - t), "per page");
	fallocate_all(gmem, FALLOC_FL_PUNCH_HOLE);
	t = now();
	host_touch(mem);
	row("host-fault-cold", per_page(now() - t), "per page");
	destroy_vm(&vm);
	close(gmem);
}

int main(void)
{
	struct vm vm;

	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		err(1, "/dev/kvm");
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) & (1 << SW_PROTECTED_VM)) {
		bench_private();
		create_vm(&vm, SW_PROTECTED_VM);
		bench_create(&vm);
		destroy_vm(&vm);
	}
	if ((ioctl(kvm, KVM_CHECK_EXTENSION, CAP_GUEST_MEMFD_FLAGS) & FLAG_SHARED) == FLAG_SHARED)
		bench_shared();
	return 0;
}
