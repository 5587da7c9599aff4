// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_nested_test: guest_memfd memory of nested guests
 *
 * L2 uses guest_memfd memory of its L1, with nested paging (KVM shadows L1's
 * nested page tables) and without, while slot 0 is ordinary memory or a
 * guest_memfd as well.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "guest_memfd_private.h"
#include "processor.h"
#include "svm_util.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#define PG_LARGE_SHIFT	21
#define L2_STACK_WORDS	512

static int fd;

/* L2 takes commands directly from the host: its I/O exits do not go to L1. */
static void l1_guest_code(struct svm_test_data *svm, uint64_t nested_cr3)
{
	static unsigned long l2_stack[L2_STACK_WORDS];

	generic_svm_setup(svm, gmem_guest_code, &l2_stack[L2_STACK_WORDS]);
	if (nested_cr3) {
		svm->vmcb->control.nested_ctl |= SVM_NESTED_CTL_NP_ENABLE;
		svm->vmcb->control.nested_cr3 = nested_cr3;
	}
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_DONE();
}

/* Map the first GiB one to one in nested page tables; returns their root. */
static uint64_t build_nested_page_tables(void)
{
	const uint64_t bits = PTE_PRESENT_MASK | PTE_WRITABLE_MASK | PTE_USER_MASK;
	vm_vaddr_t table[3];
	uint64_t *entry;
	int i;

	for (i = 0; i < 3; i++) {
		table[i] = vm_vaddr_alloc_page(vm);
		memset(addr_gva2hva(vm, table[i]), 0, page_size);
		if (!i)
			continue;
		entry = addr_gva2hva(vm, table[i - 1]);
		entry[0] = addr_gva2gpa(vm, table[i]) | bits;
	}

	entry = addr_gva2hva(vm, table[2]);
	for (i = 0; i < 512; i++)
		entry[i] = ((uint64_t)i << PG_LARGE_SHIFT) | bits | PTE_LARGE_MASK;
	return addr_gva2gpa(vm, table[0]);
}

static void start(bool protected, enum vm_mem_backing_src_type slot0,
		  bool nested_paging)
{
	uint64_t nested_cr3 = 0;
	vm_vaddr_t svm_gva;

	vm_slot0_src = slot0;
	vm = gmem_create_vm(protected, 1, l1_guest_code, &vcpu);
	vm_slot0_src = DEFAULT_VM_MEM_SRC;

	vcpu_alloc_svm(vm, &svm_gva);
	gmem_guest_map(vm, GPA, size);
	if (nested_paging)
		nested_cr3 = build_nested_page_tables();
	vcpu_args_set(vcpu, 2, svm_gva, nested_cr3);

	fd = new_slot(GMEM_SHARED);
	gmem_guest_start(vcpu);
}

static void check_sharing(void)
{
	assert_guest_sees_zero(vcpu, GPA, page_size);
	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);
	gmem_fill(mem, size, 2);
	assert_guest_sees(vcpu, GPA, size, 2);
}

static void check_punch(void)
{
	gmem_guest_fill(vcpu, GPA, size, 3);
	gmem_punch(fd, page_size, page_size);
	assert_guest_sees_zero(vcpu, GPA + page_size, page_size);
	gmem_guest_write(vcpu, GPA + page_size, 0x1234);
	ASSERT_EQ(*(uint64_t *)(mem + page_size), 0x1234ul);
	assert_guest_sees(vcpu, GPA, page_size, 3);
}

static void check_dirty_log(void)
{
	uint64_t bitmap = 0;

	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	gmem_guest_write(vcpu, GPA + 2 * page_size, 1);
	gmem_guest_write(vcpu, GPA + 5 * page_size, 1);
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap, 1ul << 2 | 1ul << 5);
	gmem_guest_read(vcpu, GPA + 3 * page_size);
	gmem_guest_write(vcpu, GPA + 2 * page_size, 2);
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap, 1ul << 2);
	ASSERT_OK(__set_slot(fd, 0, size));
}

static void check_delete_and_fault(void)
{
	delete_slot();
	vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA, size, NULL, fd, 0);
	gmem_guest_fill(vcpu, GPA, size, 4);
	assert_host_sees(mem, size, 4);

	/* The exit reports L1's gpa, even if L2 made the access. */
	free_memory(fd);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EFAULT);

	delete_slot();
	fd = new_slot(GMEM_SHARED);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
}

static void check_conversion(void)
{
	gmem_guest_fill(vcpu, GPA, size, 5);
	vm_make_private(vm, GPA, size);
	gmem_assert_no_access(mem, size);
	assert_guest_sees(vcpu, GPA, size, 5);
	gmem_guest_fill(vcpu, GPA, size, 6);
	gmem_make_shared(fd, 0, page_size);
	assert_host_sees(mem, page_size, 6);
	gmem_assert_no_access(mem + page_size, size - page_size);
	assert_guest_sees(vcpu, GPA, size, 6);

	/* Private, but without memory: the exit reports L1's gpa again. */
	delete_slot();
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_private_fault(vcpu, GPA + page_size);
	ASSERT_OK(__set_slot(fd, 0, size));
	gmem_guest_finish(vcpu);
	vm_make_shared(vm, GPA, size);
	assert_host_sees(mem, size, 6);
}

static const char *check_protected(bool nested_paging)
{
	if (nested_paging && !kvm_cpu_has(X86_FEATURE_NPT))
		return "the vCPU has no nested paging";

	start(true, VM_MEM_SRC_GUEST_MEMFD, nested_paging);
	check_sharing();
	check_punch();
	check_conversion();
	check_delete_and_fault();
	stop_vm(fd);
	return NULL;
}

static const char *check_all(enum vm_mem_backing_src_type slot0, bool nested_paging)
{
	if (nested_paging && !kvm_cpu_has(X86_FEATURE_NPT))
		return "the vCPU has no nested paging";

	start(false, slot0, nested_paging);
	check_sharing();
	check_punch();
	check_dirty_log();
	check_delete_and_fault();
	stop_vm(fd);
	return NULL;
}

static const char *test_nested_paging(void)
{
	return check_all(VM_MEM_SRC_ANONYMOUS, true);
}

static const char *test_nested_paging_slot0(void)
{
	return check_all(VM_MEM_SRC_GUEST_MEMFD, true);
}

static const char *test_shadow_paging(void)
{
	return check_all(VM_MEM_SRC_ANONYMOUS, false);
}

static const char *test_shadow_paging_slot0(void)
{
	return check_all(VM_MEM_SRC_GUEST_MEMFD, false);
}

static const char *test_protected_nested_paging(void)
{
	return check_protected(true);
}

static const char *test_protected_shadow_paging(void)
{
	return check_protected(false);
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_nested_paging),
	GMEM_TEST(test_nested_paging_slot0),
	GMEM_TEST(test_shadow_paging),
	GMEM_TEST(test_shadow_paging_slot0),
	GMEM_TEST_PROTECTED(test_protected_nested_paging),
	GMEM_TEST_PROTECTED(test_protected_shadow_paging),
};

static void init(void)
{
	gmem_require_mmap();
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_SVM));
}

GMEM_TEST_MAIN(init)
