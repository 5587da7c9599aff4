/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of guests that have only private memory: code, stack,
 * page tables and all data are in a guest_memfd in slot 0.
 *
 * Guest and host cannot communicate through memory: the guest reports values,
 * each with a number that identifies it, by exits for port I/O or MMIO.
 *
 * This header defines variables; include it once per program.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_PROTECTED_H
#define SELFTEST_KVM_GUEST_MEMFD_PROTECTED_H

#include "guest_memfd_private.h"

#define MMIO_GPA	0x10000000ul
#define MMIO_VALUE	0x1122334455667788ul
#define BUF_SIZE	(4 * MIN_PAGE_SIZE)

static struct kvm_vcpu *vcpu;
static struct kvm_vm *vm;
static size_t page_size;
static uint8_t guest_buf[BUF_SIZE] __aligned(MIN_PAGE_SIZE);

#ifdef __x86_64__
#include "processor.h"

/* Not the port of ucalls, for which the library reads guest memory. */
#define REPORT_PORT	0x2000

static inline void guest_report(uint64_t what, uint64_t val)
{
	asm volatile("in %w[port], %%al"
		     : : [port] "d" (REPORT_PORT), "D" (what), "S" (val)
		     : "rax", "memory");
}

/* Whether the vCPU exited for a report, and which report it is. */
static inline bool get_report(uint64_t *what, uint64_t *val)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != REPORT_PORT)
		return false;
	vcpu_regs_get(vcpu, &regs);
	*what = regs.rdi;
	*val = regs.rsi;
	return true;
}
#else
/* After the part of the page that the tests use as a device. */
#define REPORT_OFFSET	0x800

static inline void guest_report(uint64_t what, uint64_t val)
{
	gmem_store((uint64_t *)(MMIO_GPA + REPORT_OFFSET) + what, val);
}

static inline bool get_report(uint64_t *what, uint64_t *val)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason != KVM_EXIT_MMIO || !run->mmio.is_write ||
	    run->mmio.phys_addr < MMIO_GPA + REPORT_OFFSET)
		return false;
	*what = (run->mmio.phys_addr - MMIO_GPA - REPORT_OFFSET) / sizeof(*what);
	memcpy(val, run->mmio.data, sizeof(*val));
	return true;
}
#endif

/* The vCPU must have exited for report @want; returns the reported value. */
static inline uint64_t assert_report(uint64_t want)
{
	uint64_t what = 0, val = 0;

	TEST_ASSERT(get_report(&what, &val), "Exit reason %u (%s) instead of report %lu",
		    vcpu->run->exit_reason, exit_reason_str(vcpu->run->exit_reason), want);
	ASSERT_EQ(what, want);
	return val;
}

/* Run the guest up to its next report, which must be @what. */
static inline uint64_t expect_report(uint64_t what)
{
	vcpu_run(vcpu);
	return assert_report(what);
}

static inline struct userspace_mem_region *slot0(void)
{
	return memslot2region(vm, 0);
}

/* Create a guest whose memory is in a guest_memfd, which is still shared. */
static inline void create_vm(void *guest_code)
{
	vm_slot0_src = VM_MEM_SRC_GUEST_MEMFD;
	vm = gmem_create_vm(true, 1, guest_code, &vcpu);
	vm_slot0_src = DEFAULT_VM_MEM_SRC;
	virt_map(vm, MMIO_GPA, MMIO_GPA, 1);
}

/* Convert slot 0, which the host cannot access from here on. */
static inline void make_private(void)
{
	struct userspace_mem_region *region = slot0();
	uint8_t *end = region->host_mem + region->region.memory_size;
	uint8_t *page;

	vm_make_private(vm, 0, region->region.memory_size);
	for (page = region->host_mem; page < end; page += page_size)
		TEST_ASSERT(!gmem_try_read(page, NULL), "The host can read slot 0");
	/* KVM must not need the mapping, either. */
	ASSERT_OK(mprotect(region->host_mem, region->region.memory_size, PROT_NONE));
}

static inline void stop_vm(void)
{
	uint64_t pages = gmem_vm_stat(vm, "gmem_pages");

	TEST_ASSERT(pages > 0 && pages <= slot0()->region.memory_size / page_size,
		    "%lu pages", pages);
	kvm_vm_free(vm);
}

/* The basic test, for all programs. */
static inline void plain_guest(void)
{
	gmem_fill(guest_buf, BUF_SIZE, 1);
	guest_report(1, gmem_matches(guest_buf, BUF_SIZE, 1));
	guest_report(2, gmem_matches(guest_buf, BUF_SIZE, 1));
	gmem_put_code(guest_buf, 0x12345678);
	guest_report(3, gmem_guest_call(guest_buf));
	gmem_put_code(guest_buf, 0x9abcdef0);
	guest_report(4, gmem_guest_call(guest_buf));
}

static inline const char *test_plain(void)
{
	create_vm(plain_guest);
	make_private();
	ASSERT_EQ(expect_report(1), 1ul);
	/* The guest must not notice a conversion to shared and back. */
	vm_make_shared(vm, 0, slot0()->region.memory_size);
	vm_make_private(vm, 0, slot0()->region.memory_size);
	ASSERT_EQ(expect_report(2), 1ul);
	ASSERT_EQ(expect_report(3), 0x12345678ul);
	ASSERT_EQ(expect_report(4), 0x9abcdef0ul);
	stop_vm();
	return NULL;
}

static inline int run_protected_tests(int argc, char *argv[],
				      const struct gmem_test *tests, int nr)
{
	page_size = getpagesize();
	gmem_require_protected_vms();
	return gmem_run_tests(argc, argv, tests, nr);
}

#endif /* SELFTEST_KVM_GUEST_MEMFD_PROTECTED_H */
