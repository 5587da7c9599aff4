// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_stage2_test: permissions in stage 2
 *
 * Pages gain the permission to be executed or written when the guest needs it:
 * a guest runs what it wrote itself, with dirty logging switched in between; a
 * fetch without memory exits; what was only read stays out of the dirty log.
 */
#include <linux/bits.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"
#include "processor.h"

/* Of the guest that calls what the host has written. */
static uint64_t (*guest_fn)(void);

static void guest_caller(void)
{
	for (;;) {
		GUEST_SYNC(0);
		GUEST_SYNC(guest_fn());
	}
}

static uint64_t next_sync(void)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC,
		    "Guest stopped with exit reason %u (%s)", vcpu->run->exit_reason,
		    exit_reason_str(vcpu->run->exit_reason));
	return uc.args[1];
}

static uint64_t guest_call(uint64_t addr)
{
	guest_fn = (void *)addr;
	sync_global_to_guest(vm, guest_fn);
	ASSERT_EQ(next_sync(), 0ul);
	return next_sync();
}

static int start_caller(uint64_t flags)
{
	vm = gmem_create_vm(false, 1, guest_caller, &vcpu);
	gmem_guest_map(vm, GPA, size);
	return new_slot(flags);
}

/* A function that returns @val. */
static void write_function(uint32_t *code, uint16_t val)
{
	code[0] = 0xd2800000 | val << 5;	/* mov x0, #val */
	code[1] = 0xd65f03c0;			/* ret */
	__builtin___clear_cache((char *)code, (char *)(code + 2));
}

/* The guest reads, writes and then executes; also while writes are logged. */
static void guest_writes_function(void)
{
	uint32_t *code = (uint32_t *)(GPA + page_size);

	for (;;) {
		GUEST_SYNC(0);
		GUEST_SYNC(READ_ONCE(code[2]));
		WRITE_ONCE(code[0], 0xd2800000 | 42 << 5);
		WRITE_ONCE(code[1], 0xd65f03c0);
		asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb"
			     : : "r" (code) : "memory");
		GUEST_SYNC(((uint64_t (*)(void))code)());
	}
}

static const char *test_fetch_what_was_written(void)
{
	int i, fd;

	vm = gmem_create_vm(false, 1, guest_writes_function, &vcpu);
	sync_global_to_guest(vm, page_size);
	gmem_guest_map(vm, GPA, size);
	fd = new_slot(GMEM_SHARED);
	for (i = 0; i < 4; i++) {
		if (i == 1)
			ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
		if (i == 3)
			ASSERT_OK(__set_slot(fd, 0, size));
		ASSERT_EQ(next_sync(), 0ul);
		ASSERT_EQ(next_sync(), 0ul);
		ASSERT_EQ(next_sync(), 42ul);
		gmem_punch(fd, 0, size);
	}
	stop_vm(fd);
	return NULL;
}

static const char *test_fetch_without_memory(void)
{
	int fd = start_caller(GMEM_SHARED);

	write_function((uint32_t *)mem, 1);
	ASSERT_EQ(guest_call(GPA), 1ul);
	free_memory(fd);
	guest_fn = (void *)GPA;
	sync_global_to_guest(vm, guest_fn);
	ASSERT_EQ(next_sync(), 0ul);
	vcpu_run_expect_memory_fault(vcpu, GPA, EFAULT);
	vcpu_run_expect_memory_fault(vcpu, GPA, EFAULT);
	stop_vm(-1);
	return NULL;
}

static uint64_t dirty_pages(void)
{
	uint64_t log = 0;

	kvm_vm_get_dirty_log(vm, SLOT, &log);
	return log;
}

static const char *test_reads_are_not_dirty(void)
{
	int fd;

	start_vm(false);
	fd = new_memory(GMEM_SHARED);
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	assert_guest_sees_zero(vcpu, GPA, size);
	ASSERT_EQ(dirty_pages(), 0ul);

	gmem_guest_write(vcpu, GPA + 3 * page_size, 1);
	ASSERT_EQ(dirty_pages(), BIT(3));
	ASSERT_EQ(gmem_guest_read(vcpu, GPA + 3 * page_size), 1ul);
	ASSERT_EQ(dirty_pages(), 0ul);
	gmem_guest_write(vcpu, GPA + 3 * page_size, 2);
	ASSERT_EQ(dirty_pages(), BIT(3));

	/* A hole is no write; the new page is clean until it is written. */
	gmem_punch(fd, 0, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	ASSERT_EQ(dirty_pages(), 0ul);
	gmem_guest_fill(vcpu, GPA, size, 1);
	ASSERT_EQ(dirty_pages(), BIT(NR_PAGES) - 1);

	/* Without the log writes take no fault; with it again, they do. */
	ASSERT_OK(__set_slot(fd, 0, size));
	gmem_guest_fill(vcpu, GPA, size, 2);
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	ASSERT_EQ(dirty_pages(), 0ul);
	gmem_guest_write(vcpu, GPA, 1);
	ASSERT_EQ(dirty_pages(), BIT(0));
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_fetch_what_was_written),
	GMEM_TEST(test_fetch_without_memory),
	GMEM_TEST(test_reads_are_not_dirty),
};

GMEM_TEST_MAIN(gmem_require_mmap)
