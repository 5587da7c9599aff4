/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of most guest_memfd test programs, one instance at a time: a VM
 * whose vCPU runs gmem_guest_code(), a file of NR_PAGES pages, and SLOT, which
 * maps the file at GPA.
 *
 * This header defines variables.  A program defines NR_PAGES and includes it
 * once.  Tests of VM or file creation use their own VM or file instead.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_FIXTURE_H
#define SELFTEST_KVM_GUEST_MEMFD_FIXTURE_H

#include <linux/sizes.h>

#include "guest_memfd_util.h"

#define SLOT		5
#define GPA		0x10000000ul

static struct kvm_vcpu *vcpu __maybe_unused;
static struct kvm_vm *vm;
static size_t page_size;
static size_t size;

/* The mapping of the file, or the shared memory of a dual-backed slot. */
static uint8_t *mem;

/*
 * GMEM_TEST_MAIN() calls this; programs with their own main() must do so.  With
 * GMEM_BLOCK=2m in the environment, the pages of the test are the first of a block of
 * 2 MiB that is all of the file; few programs allow that.
 */
static inline void init_sizes(void)
{
	const char *block = getenv("GMEM_BLOCK");

	page_size = getpagesize();
	size = NR_PAGES * page_size;
	if (block) {
		TEST_ASSERT(!strcmp(block, "2m"), "Unknown block '%s'", block);
		size = SZ_2M;
	}
}

/* How much of the file there is after @len bytes of it were touched. */
static inline size_t size_with(size_t len)
{
	return getenv("GMEM_BLOCK") && len ? size : len;
}

/* A VM without vCPUs for all tests of the program. */
static inline void init_barebones(void)
{
	gmem_require_mmap();
	vm = vm_create_barebones();
}

/* main() of a program that only calls @init() and runs its list of tests. */
#define GMEM_TEST_MAIN(init)						\
int main(int argc, char *argv[])					\
{									\
	init_sizes();							\
	init();								\
	gmem_run_tests(argc, argv, tests, ARRAY_SIZE(tests));		\
}

/* The guest's page tables map twice the size of the file. */
static inline void create_vm(bool protected)
{
	vm = gmem_create_vm(protected, 1, gmem_guest_code, &vcpu);
	gmem_guest_map(vm, GPA, 2 * size);
}

/* Create the VM and run the guest until it waits for a command. */
static inline void start_vm(bool protected)
{
	create_vm(protected);
	gmem_guest_start(vcpu);
}

/* Create the file and set up mem; returns the file descriptor. */
static inline int new_memory(uint64_t flags)
{
	int fd = vm_create_guest_memfd(vm, size, flags);

	mem = flags & GUEST_MEMFD_FLAG_MMAP ? gmem_mmap(fd, 0, size) : gmem_anonymous(size);
	return fd;
}

static inline void free_memory(int fd)
{
	ASSERT_OK(munmap(mem, size));
	mem = NULL;
	if (fd >= 0)
		close(fd);
}

/* Populated memory, for a test that must not change it. */
static inline int start_filled(uint64_t flags)
{
	int fd = new_memory(flags);

	gmem_fill(mem, size, 1);
	return fd;
}

/* Likewise, but outside the direct map. */
static inline int start_hidden(void)
{
	return start_filled(GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
}

/* Check that memory is unchanged; expected failures may have set errno. */
static inline const char *stop_filled(int fd, const char *skip)
{
	errno = 0;
	assert_host_sees(mem, size, 1);
	ASSERT_EQ(gmem_allocated(fd), size);
	free_memory(fd);
	return skip;
}

/* Bind a range of the file to a slot, or delete the slot if @len is 0. */
static inline void set_slot(int slot, uint64_t gpa, int fd, uint64_t offset, size_t len)
{
	vm_set_user_memory_region2(vm, slot, KVM_MEM_GUEST_MEMFD, gpa, len,
				   len && mem ? mem + offset : NULL, fd, offset);
}

/* Bind the whole file to SLOT, or delete SLOT if @len is 0; returns 0 or -1. */
static inline int __set_slot(int fd, uint32_t flags, size_t len)
{
	return __vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD | flags, GPA,
					    len, mem, fd, 0);
}

static inline int new_slot(uint64_t flags)
{
	int fd = new_memory(flags);

	set_slot(SLOT, GPA, fd, 0, size);
	return fd;
}

static inline void delete_slot(void)
{
	set_slot(SLOT, GPA, -1, 0, 0);
}

static inline int start_vm_with_slot(bool protected, uint64_t flags)
{
	start_vm(protected);
	return new_slot(flags);
}

/* @fd may be -1 if the test has closed it, mem NULL if it has unmapped it. */
static inline void stop_vm(int fd)
{
	errno = 0;
	kvm_vm_free(vm);
	if (mem)
		free_memory(fd);
	else if (fd >= 0)
		close(fd);
}

#endif /* SELFTEST_KVM_GUEST_MEMFD_FIXTURE_H */
