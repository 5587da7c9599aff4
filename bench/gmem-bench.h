/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of gmem-bench share.
 *
 * machine.c makes virtual machines and times what is done with them, results.c
 * keeps the rows; attributes.c, dual.c and mappable.c are the measurements, by
 * kind of memory.
 */
#ifndef GMEM_BENCH_H
#define GMEM_BENCH_H

#include <linux/const.h>
#include <linux/kvm.h>
#include <linux/types.h>
#include <stdbool.h>
#include <time.h>

/* Numbers of the ABI, for builds against older headers. */
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD		_BITUL(2)
#define KVM_CAP_VM_TYPES		235
#define KVM_CAP_PRE_FAULT_MEMORY	236
#define KVM_MEMORY_ATTRIBUTE_PRIVATE	_BITULL(3)
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

#define CAP_GUEST_MEMFD_FLAGS		244
#define CAP_GMEM_ATTRIBUTES		250
#define SET_MEMORY_ATTRIBUTES2		0xc080aed2
struct attributes2 {
	__u64 offset, size, attributes, flags, error_offset, reserved[11];
};

#define FLAG_SHARED		3ul	/* MMAP | INIT_SHARED */
#define FLAG_NO_DIRECT_MAP	4ul
#define FLAG_IN_POOL		16ul
#define FLAG_HUGETLB		(FLAG_IN_POOL | 21ull << 58)
#define ORDINARY_VM		0
#define SW_PROTECTED_VM		1

#define PAGE		4096ul
#define GIB		0x40000000ul
#define TEST_GPA	(256ul << 20)
#define TEST_SIZE	(64ul << 20)
#define TEST_PAGES	(TEST_SIZE / PAGE)
#define PAIRS		128
#define BLOCK		(2ul << 20)
#define MAX_ROUNDS	15
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MAX_SAMPLES	(MAX_ROUNDS * PAIRS)

struct vm {
	int fd, vcpu;
	struct kvm_run *run;
	__u8 *code;
};

struct row {
	const char *name, *suffix, *note;
	double samples[MAX_SAMPLES];
	int nr_samples;
};

extern int kvm;			/* /dev/kvm */
extern __u64 clock_cost;	/* of reading the clock, in nanoseconds */

/* In line, so that a row counts no calls of ours. */
static inline __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline __u64 since(__u64 start)
{
	return now() - start - clock_cost;
}

static inline double per_page(__u64 t)
{
	return (double)t / TEST_PAGES;
}

/* machine.c */
int xioctl(int fd, unsigned long req, void *arg, const char *what);
unsigned long capability(int fd, unsigned long cap);
void set_region(struct vm *vm, int slot, __u64 gpa, __u64 size,
		void *addr, int gmem);
int create_gmem(struct vm *vm, __u64 size, __u64 flags);
void set_private(struct vm *vm, __u64 gpa, __u64 size, bool private);
__u64 time_set_private(struct vm *vm, __u64 gpa, __u64 size,
		       bool private);
__u64 time_convert(int gmem, __u64 offset, __u64 size, bool private);
__u64 time_fallocate(int gmem, int mode);
void *anon(__u64 size);
bool has_protected(void);
int create_bare_vm(unsigned long type);
bool use_blocks(bool use);
bool use_pool(struct vm *vm, bool use);
void create_vm(struct vm *vm, unsigned long type);
void destroy_vm(struct vm *vm);
__u64 guest_touch(struct vm *vm, __u64 gpa, __u64 pages);
__u64 host_touch(__u8 *mem);
void settle(void);
void calibrate(void);

/* results.c */
struct row *get_row(const char *name, const char *suffix);
void record(const char *name, const char *suffix, double value);
void cannot(const char *const *names, const char *suffix, const char *why);
void print_rows(void);

/* The measurements: each is one round of its rows. */
void bench_attributes(void);
void bench_private(void);
void bench_create(void);
void bench_shared(void);
void bench_inplace(void);
void bench_private_2m(void);
void bench_shared_2m(void);
void bench_inplace_2m(void);

/* Why a kernel lacks rows. */
#define NO_PROTECTED	"no software-protected VMs"
#define NO_NDM		"no NO_DIRECT_MAP"
#define NO_BLOCKS	"no blocks of 2 MiB"
#define NO_HUGETLB	"no memory of hugetlb pools"

#endif /* GMEM_BENCH_H */
