// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_run_test: guests on guest_memfd memory
 *
 * Guest and host write data and check each other's, for a VM whose memory is
 * all in a guest_memfd, and for slots in addition to an ordinary one:
 * gmem-only, dual-backed, and ordinary slots on a mapping of the file.  Also
 * checks guest accesses after memory is punched, a slot is deleted, or the file
 * is closed.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Append: kvm-arm.mode=nvhe
 * Processor: neoverse-n1
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/wait.h>

#define NR_PAGES	16
#include "guest_memfd_fixture.h"

static void add_slot(int fd, uint64_t offset, void *addr, size_t len)
{
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA, len, addr, fd,
				   offset);
}

/* A VM with a slot that guest and host share; userspace_addr is its mapping. */
static int start(void)
{
	return start_vm_with_slot(false, GMEM_SHARED);
}

/* The same, but without a slot. */
static int start_without_slot(void)
{
	start_vm(false);
	return new_memory(GMEM_SHARED);
}

static const char *test_whole_vm(void)
{
	vm_vaddr_t addr;

	vm_slot0_src = VM_MEM_SRC_GUEST_MEMFD;
	start_vm(false);
	vm_slot0_src = DEFAULT_VM_MEM_SRC;
	TEST_ASSERT(gmem_vcpu_stat(vcpu, "gmem_faults") > 0, "No fault was counted");
	TEST_ASSERT(gmem_allocated(memslot2region(vm, 0)->fd) > 0, "No memory is used");

	/* A single host page: if they are large, so small a VM has few. */
	addr = vm_vaddr_alloc_pages(vm, 1);
	assert_guest_sees_zero(vcpu, addr, page_size);
	gmem_guest_fill(vcpu, addr, page_size, 1);
	assert_host_sees(addr_gva2hva(vm, addr), page_size, 1);
	gmem_fill(addr_gva2hva(vm, addr), page_size, 2);
	assert_guest_sees(vcpu, addr, page_size, 2);
	kvm_vm_free(vm);
	return NULL;
}

static const char *test_guest_and_host_share(void)
{
	int fd = start();

	assert_guest_sees_zero(vcpu, GPA, page_size);
	gmem_guest_fill(vcpu, GPA, size, 3);
	assert_host_sees(mem, size, 3);
	gmem_fill(mem, size, 4);
	assert_guest_sees(vcpu, GPA, size, 4);
	ASSERT_EQ(gmem_allocated(fd), size);
	stop_vm(fd);
	return NULL;
}

static const char *test_guest_allocates(void)
{
	int fd = start();

	gmem_fallocate(fd, 0, page_size);
	assert_guest_sees_zero(vcpu, GPA, size);
	ASSERT_EQ(gmem_allocated(fd), size);
	TEST_ASSERT(gmem_is_zero(mem, size), "The host does not see zeros");
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), (uint64_t)NR_PAGES);
	TEST_ASSERT(gmem_vcpu_stat(vcpu, "gmem_faults") >= NR_PAGES, "Faults were not counted");
	stop_vm(fd);
	return NULL;
}

static const char *test_slot_in_the_middle_of_a_file(void)
{
	size_t first = 3 * page_size, len = 2 * page_size;
	int fd = start_without_slot();

	add_slot(fd, first, mem + first, len);
	gmem_guest_fill(vcpu, GPA, len, 5);
	assert_host_sees(mem + first, len, 5);
	TEST_ASSERT(gmem_is_zero(mem, first), "Written before the slot");
	TEST_ASSERT(gmem_is_zero(mem + first + len, page_size), "Written after the slot");
	stop_vm(fd);
	return NULL;
}

static const char *test_userspace_addr_is_not_used(void)
{
	uint8_t *elsewhere = gmem_anonymous(size);
	int fd = start_without_slot();

	add_slot(fd, 0, elsewhere, size);
	gmem_guest_fill(vcpu, GPA, size, 6);
	assert_host_sees(mem, size, 6);
	TEST_ASSERT(gmem_is_zero(elsewhere, size), "The guest wrote to userspace_addr");

	/* Only KVM's own accesses use userspace_addr. */
	gmem_punch(fd, 0, size);
	memset(elsewhere, 0xff, 16);
	gmem_clock_init(vcpu, GPA);
	gmem_guest_do(vcpu, GMEM_GUEST_CLOCK, GPA, 0, 0);
	TEST_ASSERT(*elsewhere != 0xff, "KVM did not write to userspace_addr");
	assert_guest_sees_zero(vcpu, GPA, page_size);
	stop_vm(fd);
	ASSERT_OK(munmap(elsewhere, size));
	return NULL;
}

/*
 * Copy-on-write at userspace_addr: KVM is notified of the page that replaces
 * the old one, which must not replace the page of the file.
 */
static const char *test_cow_at_userspace_addr(void)
{
	uint8_t *elsewhere = gmem_anonymous(size);
	int fd, p[2];
	pid_t pid;

	fd = start_without_slot();
	add_slot(fd, 0, elsewhere, size);
	memset(elsewhere, 1, size);
	gmem_guest_fill(vcpu, GPA, size, 22);

	ASSERT_OK(pipe(p));
	pid = ASSERT_OK(fork());
	if (!pid) {
		/* Share the pages until the parent closes its end. */
		close(p[1]);
		_exit(read(p[0], p, 1));
	}
	gmem_guest_read(vcpu, GPA);
	memset(elsewhere, 2, size);
	assert_guest_sees(vcpu, GPA, size, 22);
	gmem_guest_fill(vcpu, GPA, size, 23);
	assert_host_sees(mem, size, 23);
	TEST_ASSERT(elsewhere[size - 1] == 2, "The guest wrote to userspace_addr");
	close(p[0]);
	close(p[1]);
	ASSERT_OK(waitpid(pid, NULL, 0));
	stop_vm(fd);
	ASSERT_OK(munmap(elsewhere, size));
	return NULL;
}

static const char *test_no_mapping_at_all(void)
{
	int fd;

	start_vm(false);
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	add_slot(fd, 0, NULL, size);
	gmem_guest_fill(vcpu, GPA, size, 7);
	assert_guest_sees(vcpu, GPA, size, 7);
	gmem_punch(fd, 0, size);
	assert_guest_sees_zero(vcpu, GPA, size);
	stop_vm(fd);
	return NULL;
}

static const char *test_host_unmaps(void)
{
	int fd = start();

	gmem_guest_fill(vcpu, GPA, size, 8);
	gmem_zap(fd, 0, mem, size);
	assert_guest_sees(vcpu, GPA, size, 8);
	ASSERT_OK(mprotect(mem, size, PROT_NONE));
	gmem_guest_fill(vcpu, GPA, size, 9);
	ASSERT_OK(munmap(mem, size));
	assert_guest_sees(vcpu, GPA, size, 9);
	mem = gmem_mmap(fd, 0, size);
	assert_host_sees(mem, size, 9);
	stop_vm(fd);
	return NULL;
}

static const char *test_punch(void)
{
	int fd = start();

	gmem_guest_fill(vcpu, GPA, size, 10);
	gmem_punch(fd, page_size, 2 * page_size);
	assert_guest_sees_zero(vcpu, GPA + page_size, 2 * page_size);
	assert_guest_sees(vcpu, GPA, page_size, 10);
	gmem_guest_fill(vcpu, GPA, size, 11);
	assert_host_sees(mem, size, 11);

	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_fill(mem, size, 12);
	assert_guest_sees(vcpu, GPA, size, 12);
	stop_vm(fd);
	return NULL;
}

/* Execute memory that was read or written before, and what replaces it. */
static const char *test_guest_executes(void)
{
	int fd = start(), i;

	for (i = 0; i < NR_PAGES; i++) {
		uint64_t gpa = GPA + i * page_size;
		uint8_t *page = mem + i * page_size;

		gmem_put_code(page, 1000 + i);
		if (i % 3 == 1)
			gmem_guest_read(vcpu, gpa);
		if (i % 3 == 2)
			gmem_guest_write(vcpu, gpa + page_size / 2, 1);
		assert_guest_calls(vcpu, gpa, 1000 + i);
		gmem_put_code(page, 0x80000000 + i);
		assert_guest_calls(vcpu, gpa, 0x80000000 + i);
		gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, gpa, 0, 2000 + i);
		assert_guest_calls(vcpu, gpa, 2000 + i);
	}

	gmem_punch(fd, 0, size);
	for (i = 0; i < NR_PAGES; i++)
		gmem_put_code(mem + i * page_size, 3000 + i);
	for (i = 0; i < NR_PAGES; i++)
		assert_guest_calls(vcpu, GPA + i * page_size, 3000 + i);
	stop_vm(fd);
	return NULL;
}

static const char *test_file_closed(void)
{
	int fd;

	start_vm(false);
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	add_slot(fd, 0, NULL, size);
	gmem_guest_fill(vcpu, GPA, size, 13);
	close(fd);
	ASSERT_EQ(gmem_vm_stat(vm, "gmem_pages"), 0ul);

	/* Access a page that was mapped, but not at its first address. */
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + 3 * page_size + 8, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + 3 * page_size, EFAULT);
	vcpu_run_expect_memory_fault(vcpu, GPA + 3 * page_size, EFAULT);

	/* The slot can be deleted, and the access continues with a new one. */
	delete_slot();
	fd = vm_create_guest_memfd(vm, size, GMEM_SHARED);
	add_slot(fd, 0, NULL, size);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	gmem_guest_order(vcpu, GMEM_GUEST_WRITE, GPA, 0, 1);
	close(fd);
	vcpu_run_expect_memory_fault(vcpu, GPA, EFAULT);
	stop_vm(-1);
	return NULL;
}

/* Instruction fetches fault like other accesses. */
static const char *test_fetch_without_memory(void)
{
	int fd = start();

	gmem_put_code(mem + page_size, 1);
	assert_guest_calls(vcpu, GPA + page_size, 1);
	free_memory(fd);
	gmem_guest_order(vcpu, GMEM_GUEST_CALL, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EFAULT);

	delete_slot();
	fd = new_slot(GMEM_SHARED);
	gmem_put_code(mem + page_size, 2);
	ASSERT_EQ(gmem_guest_finish(vcpu), 2ul);
	stop_vm(fd);
	return NULL;
}

static const char *test_mapping_keeps_file_open(void)
{
	int fd = start();

	close(fd);
	gmem_guest_fill(vcpu, GPA, size, 14);
	assert_host_sees(mem, size, 14);
	ASSERT_OK(munmap(mem, size));
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA, EFAULT);
	stop_vm(-1);
	return NULL;
}

static const char *test_slot_deleted(void)
{
	int fd = start();

	gmem_guest_fill(vcpu, GPA, size, 15);
	delete_slot();
	assert_host_sees(mem, size, 15);

	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA, 0, 0);
	vcpu_run(vcpu);
	ASSERT_EQ(vcpu->run->exit_reason, (uint32_t)KVM_EXIT_MMIO);
	ASSERT_EQ((uint64_t)vcpu->run->mmio.phys_addr, GPA);
	memset(vcpu->run->mmio.data, 0xa5, sizeof(vcpu->run->mmio.data));
	ASSERT_EQ(gmem_guest_finish(vcpu), 0xa5a5a5a5a5a5a5a5ul);

	/* The same file can be bound again at another offset. */
	add_slot(fd, page_size, NULL, page_size);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA), *(uint64_t *)(mem + page_size));
	stop_vm(fd);
	return NULL;
}

/* The host cannot map the file: the guest uses the memory at userspace_addr. */
static const char *test_dual_backed(void)
{
	int fd;

	if (!GMEM_DUAL_BACKED_ORDINARY)
		return "an ordinary VM has no slots with two backings";

	fd = start_vm_with_slot(false, 0);
	gmem_guest_fill(vcpu, GPA, size, 16);
	assert_host_sees(mem, size, 16);
	gmem_fill(mem, size, 17);
	assert_guest_sees(vcpu, GPA, size, 17);
	ASSERT_EQ(gmem_allocated(fd), 0ul);

	gmem_fallocate(fd, 0, size);
	gmem_punch(fd, 0, size);
	assert_guest_sees(vcpu, GPA, size, 17);
	close(fd);
	assert_guest_sees(vcpu, GPA, size, 17);
	stop_vm(-1);
	return NULL;
}

static const char *test_host_may_not_look(void)
{
	int fd;

	start_vm(false);
	fd = vm_create_guest_memfd(vm, size, GUEST_MEMFD_FLAG_MMAP);
	mem = gmem_mmap(fd, 0, size);
	add_slot(fd, 0, mem, size);
	gmem_guest_fill(vcpu, GPA, size, 18);
	TEST_ASSERT(!gmem_try_read(mem, NULL), "The host can read private memory");
	assert_guest_sees(vcpu, GPA, size, 18);
	stop_vm(fd);
	return NULL;
}

/* A VMM may use the file as plain memory for an ordinary slot. */
static const char *test_ordinary_slot_on_mapping(void)
{
	int fd = start_without_slot();

	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	gmem_guest_fill(vcpu, GPA, size, 19);
	assert_host_sees(mem, size, 19);
	gmem_fill(mem, size, 20);
	assert_guest_sees(vcpu, GPA, size, 20);

	gmem_punch(fd, size - page_size, page_size);
	assert_guest_sees_zero(vcpu, GPA + size - page_size, page_size);
	gmem_zap(fd, 0, mem, size);
	assert_guest_sees(vcpu, GPA, size - page_size, 20);
	vm_set_user_memory_region(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, size, mem);
	gmem_guest_fill(vcpu, GPA, size, 21);
	assert_host_sees(mem, size, 21);
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_whole_vm),
	GMEM_TEST(test_guest_and_host_share),
	GMEM_TEST(test_guest_allocates),
	GMEM_TEST(test_slot_in_the_middle_of_a_file),
	GMEM_TEST(test_userspace_addr_is_not_used),
	GMEM_TEST(test_cow_at_userspace_addr),
	GMEM_TEST(test_no_mapping_at_all),
	GMEM_TEST(test_host_unmaps),
	GMEM_TEST(test_punch),
	GMEM_TEST(test_guest_executes),
	GMEM_TEST(test_file_closed),
	GMEM_TEST(test_fetch_without_memory),
	GMEM_TEST(test_mapping_keeps_file_open),
	GMEM_TEST(test_slot_deleted),
	GMEM_TEST(test_dual_backed),
	GMEM_TEST(test_host_may_not_look),
	GMEM_TEST(test_ordinary_slot_on_mapping),
};

GMEM_TEST_MAIN(gmem_require_mmap)
