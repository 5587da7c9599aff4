/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the guest_memfd tests: running a list of small tests, calls that
 * must fail, parsing fdinfo, accessing memory that may be absent, and a guest
 * that reads and writes memory on command.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_UTIL_H
#define SELFTEST_KVM_GUEST_MEMFD_UTIL_H

#include <linux/compiler.h>

#include "kvm_util.h"
#include "test_util.h"

#ifndef GUEST_MEMFD_MAGIC
#define GUEST_MEMFD_MAGIC	0x474d454d
#endif

#define GMEM_SHARED	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)
#define GMEM_ALL_FLAGS	(GMEM_SHARED | GUEST_MEMFD_FLAG_WRITE)

/* Without the flags that not all machines support. */
#define gmem_common_flags(flags)	((flags) & ~(GUEST_MEMFD_FLAG_NO_DIRECT_MAP | \
						     GUEST_MEMFD_FLAG_HUGETLB))

/*
 * A test returns NULL, or the reason why it is skipped.  It does not return if
 * it fails.
 */
struct gmem_test {
	const char *name;
	const char *(*run)(void);
	bool protected;
	bool pages;
};

#define GMEM_TEST(fn)		{ #fn, fn }
/* A test that requires protected VMs, and is skipped without them. */
#define GMEM_TEST_PROTECTED(fn)	{ #fn, fn, true }
/* Tests that require files that may have single pages, and are skipped without them. */
#define GMEM_TEST_PAGES(fn)	{ #fn, fn, false, true }
#define GMEM_TEST_PROTECTED_PAGES(fn)	{ #fn, fn, true, true }

/*
 * Run all tests, or those whose name contains argv[1], with TAP output.  Does
 * not return; exits with the skip code if all of them were skipped.
 */
int gmem_run_tests(int argc, char *argv[], const struct gmem_test *tests, int nr);

/*
 * Skip the program if the kernel lacks guest_memfd, or the named feature.
 *
 * GMEM_FLAGS in the environment can be no-direct-map, hugetlb, or both with a comma in
 * between.  vm_create_guest_memfd() adds that flag to all files then, and the kernel
 * must support it.
 */
void gmem_require(void);
void gmem_require_mmap(void);
void gmem_require_protected_vms(void);

/* Whether all files are hidden, and the skip reason of tests of references. */
bool gmem_all_hidden(void);
extern const char *const gmem_no_references;

/* Whether all files have memory of the pool of 2 MiB, and a skip reason then. */
bool gmem_all_hugetlb(void);
extern const char *const gmem_no_pages;

/* How many pages the pool should have for any test. */
#define GMEM_POOL_PAGES		64

/* log2 of a page size, in the flags of a file. */
#define GMEM_LOG2(shift)	((uint64_t)(shift) << GUEST_MEMFD_HUGE_SHIFT)

/* An attribute of the pool with pages of 1 << @shift bytes. */
unsigned long gmem_pool(int shift, const char *name);

/* Set the size of the pool in pages; returns the new size. */
unsigned long gmem_set_pool(int shift, unsigned long nr);

/* Architecture-specific: VMs with private memory, or why there are none. */
extern const char *const gmem_no_protected_vms;
bool gmem_have_protected_vms(void);
unsigned long gmem_protected_vm_type(void);

/*
 * A clock that KVM writes to guest memory for a vCPU: the host sets it up once,
 * and the guest may trigger an update at any time.
 */
void gmem_clock_init(struct kvm_vcpu *vcpu, uint64_t gpa);
void gmem_guest_clock(uint64_t gpa);

/* Write a function that returns @val to memory, and call it in the guest. */
void gmem_put_code(void *where, uint32_t val);
uint64_t gmem_guest_call(void *code);

/* Older headers lack them. */
#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* The errno of unknown VM ioctls. */
#ifdef __aarch64__
#define GMEM_ENOTTY_VM		EINVAL
#else
#define GMEM_ENOTTY_VM		ENOTTY
#endif

/* Whether an ordinary VM can bind a file that the host cannot map. */
#ifdef __aarch64__
#define GMEM_DUAL_BACKED_ORDINARY	false
#else
#define GMEM_DUAL_BACKED_ORDINARY	true
#endif

/* Guest page faults on any memory so far; 0 if KVM does not count them. */
uint64_t gmem_faults_taken(struct kvm_vcpu *vcpu);

/* Turn guest exceptions into failed guest assertions that describe them. */
void gmem_catch_exceptions(struct kvm_vm *vm, struct kvm_vcpu **vcpus, int nr_vcpus);

/* Print the registers and statistics of a vCPU that is not running. */
void gmem_dump_vcpu(struct kvm_vcpu *vcpu);

/* A VM, protected or not, whose guests may use ucalls. */
struct kvm_vm *gmem_create_vm(bool protected, int nr_vcpus, void *guest_code,
			      struct kvm_vcpu **vcpus);
struct kvm_vm *gmem_create_protected_barebones(void);

/* The same; the page tables can map @extra bytes more. */
struct kvm_vm *gmem_create_large_vm(bool protected, int nr_vcpus, size_t extra,
				    void *guest_code, struct kvm_vcpu **vcpus);

/*
 * @call must return -1 (or MAP_FAILED) and set errno to @err.  Here and below
 * errno is cleared for TEST_ASSERT(), which turns EACCES into a skip.
 */
#define ASSERT_ERRNO(call, err)						\
do {									\
	int __want = (err), __err;					\
	long __ret;							\
									\
	errno = 0;							\
	__ret = (long)(call);						\
	__err = errno;							\
	errno = 0;							\
	TEST_ASSERT(__ret == -1 && __err == __want,			\
		    "%s returned %ld, errno %d (%s), expected %d (%s)",	\
		    #call, __ret, __err, strerror(__err),		\
		    __want, strerror(__want));				\
} while (0)

/* @call must not return -1 (or MAP_FAILED); evaluates to what it returned. */
#define ASSERT_OK(call)							\
({									\
	typeof(call) __ok = (call);					\
	int __err = errno;						\
									\
	errno = 0;							\
	TEST_ASSERT((long)__ok != -1, "%s failed, errno %d (%s)",	\
		    #call, __err, strerror(__err));			\
	__ok;								\
})

/* Map a file or a part of it. */
static inline void *gmem_mmap(int fd, uint64_t offset, size_t size)
{
	return ASSERT_OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			      fd, offset));
}

static inline void *gmem_anonymous(size_t size)
{
	return ASSERT_OK(mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* Zap the host's page table entries of a mapping; the file keeps its pages. */
void gmem_zap(int fd, uint64_t offset, void *addr, size_t len);

int __gmem_punch(int fd, uint64_t offset, uint64_t len);
void gmem_punch(int fd, uint64_t offset, uint64_t len);
int __gmem_fallocate(int fd, uint64_t offset, uint64_t len);
void gmem_fallocate(int fd, uint64_t offset, uint64_t len);

/* What /proc/self/fdinfo says about a guest_memfd. */
uint64_t gmem_fdinfo(int fd, const char *key);
int gmem_nr_bindings(int fd);
bool gmem_has_binding(int fd, int slot, uint64_t gpa, uint64_t offset,
		      uint64_t size);
uint64_t gmem_allocated(int fd);

/* A binary stat of the VM or of a vCPU; it must exist. */
uint64_t gmem_vm_stat(struct kvm_vm *vm, const char *name);
uint64_t gmem_vcpu_stat(struct kvm_vcpu *vcpu, const char *name);

/* Touch memory that may not be there: false if the access raised SIGBUS. */
bool gmem_try_read(void *addr, uint8_t *val);
bool gmem_try_write(void *addr, uint8_t val);

/*
 * Guest accesses to memory that may turn out to be MMIO.  On arm64 KVM cannot
 * emulate an instruction that also updates its address register.
 */
static inline uint64_t gmem_load(const uint64_t *p)
{
#ifdef __aarch64__
	uint64_t val;

	asm volatile("ldr %0, %1" : "=r" (val) : "Q" (*p) : "memory");
	return val;
#else
	return READ_ONCE(*p);
#endif
}

static inline void gmem_store(uint64_t *p, uint64_t val)
{
#ifdef __aarch64__
	asm volatile("str %1, %0" : "=Q" (*p) : "r" (val) : "memory");
#else
	WRITE_ONCE(*p, val);
#endif
}

/*
 * A pattern that both sides can write and check.  No library calls: this runs
 * in the guest too.
 */
void gmem_fill(void *start, size_t size, uint64_t seed);
bool gmem_matches(const void *start, size_t size, uint64_t seed);
bool gmem_is_zero(const void *start, size_t size);

/*
 * A guest that executes commands: create a vCPU with gmem_guest_code(), start
 * it, then send it commands.  Addresses are virtual and must be mapped in the
 * guest.
 */
enum gmem_guest_op {
	GMEM_GUEST_READ,
	GMEM_GUEST_WRITE,
	GMEM_GUEST_FILL,
	GMEM_GUEST_CHECK,
	GMEM_GUEST_CHECK_ZERO,
	GMEM_GUEST_CLOCK,
	GMEM_GUEST_PUT_CODE,
	GMEM_GUEST_CALL,
};

void gmem_guest_code(void);
void gmem_guest_start(struct kvm_vcpu *vcpu);
void gmem_guest_order(struct kvm_vcpu *vcpu, enum gmem_guest_op op,
		      uint64_t addr, uint64_t size, uint64_t val);
uint64_t gmem_guest_finish(struct kvm_vcpu *vcpu);
uint64_t gmem_guest_do(struct kvm_vcpu *vcpu, enum gmem_guest_op op,
		       uint64_t addr, uint64_t size, uint64_t val);

static inline uint64_t gmem_guest_read(struct kvm_vcpu *vcpu, uint64_t addr)
{
	return gmem_guest_do(vcpu, GMEM_GUEST_READ, addr, 0, 0);
}

static inline void gmem_guest_write(struct kvm_vcpu *vcpu, uint64_t addr,
				    uint64_t val)
{
	gmem_guest_do(vcpu, GMEM_GUEST_WRITE, addr, 0, val);
}

static inline void gmem_guest_fill(struct kvm_vcpu *vcpu, uint64_t addr, size_t len,
				   uint64_t seed)
{
	gmem_guest_do(vcpu, GMEM_GUEST_FILL, addr, len, seed);
}

static inline void assert_guest_calls(struct kvm_vcpu *vcpu, uint64_t addr, uint32_t val)
{
	ASSERT_EQ(gmem_guest_do(vcpu, GMEM_GUEST_CALL, addr, 0, 0), (uint64_t)val);
}

/* Map guest physical memory one to one, whatever the guest's page size is. */
void gmem_guest_map(struct kvm_vm *vm, uint64_t gpa, size_t len);

void assert_guest_sees(struct kvm_vcpu *vcpu, uint64_t addr, size_t len, uint64_t seed);
void assert_guest_sees_zero(struct kvm_vcpu *vcpu, uint64_t addr, size_t len);
void assert_host_sees(const void *addr, size_t len, uint64_t seed);

/* KVM_RUN must fail with @err and report a memory fault in the page of @gpa. */
void vcpu_run_expect_memory_fault(struct kvm_vcpu *vcpu, uint64_t gpa, int err);
void vcpu_run_expect_memory_fault_flags(struct kvm_vcpu *vcpu, uint64_t gpa, int err,
					uint64_t flags);

/* The guest's next command causes an MMIO read of @gpa, which returns @val. */
void gmem_expect_mmio_read(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t val);

/* Write a string to a procfs, sysfs or debugfs file; returns 0 or an errno. */
int gmem_write_file(const char *path, const char *val);

/* Page frame number of a mapped page, 0 if not permitted or not present. */
uint64_t gmem_pfn(void *addr);

/*
 * Whether this is a debug kernel, whose checkers slow down everything several
 * times and delay the freeing of memory.
 */
bool gmem_debug_kernel(void);

/*
 * Run @fn in a new memory cgroup, whose directory it gets.  Returns what @fn
 * returns, or why there is no such cgroup.
 */
const char *gmem_in_cgroup(const char *(*fn)(const char *cgroup));

/* Number of bytes charged to a memory cgroup. */
uint64_t gmem_cgroup_bytes(const char *cgroup);

/* Open a free loop device; returns its name, or NULL if there is none. */
const char *gmem_free_loop(int *loop);

/* Run @child in a forked process, which must exit with status 0. */
void gmem_in_child(void (*child)(void *arg), void *arg);

/*
 * Run @child in a forked process until it calls gmem_child_waits(), to be
 * killed there by gmem_kill_child().  Returns 0 if the child exited before,
 * with status 0.
 */
pid_t gmem_start_child(void (*child)(void *arg), void *arg);
void gmem_child_waits(void);
void gmem_kill_child(pid_t pid);

#endif /* SELFTEST_KVM_GUEST_MEMFD_UTIL_H */
