// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_test: hidden memory on arm64
 *
 * GUEST_MEMFD_FLAG_NO_DIRECT_MAP is supported if and only if the direct map is
 * mapped with pages (not with rodata=on) and stage 2 determines cacheability
 * (FWB).  KVM then does no cache maintenance by address, whatever the guest
 * does.  Memory tags, which are copied by address, are not supported.
 *
 * Append: rodata=on
 * Processor: neoverse-n1
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"
#include "processor.h"

#define NDM_SHARED	(GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

/* ID_AA64MMFR2_EL1.FWB */
#define MMFR2_FWB(val)	((val) >> 40 & 0xf)

static bool have_flag;

static bool on_cmdline(const char *word)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "r");

	TEST_ASSERT(f && fgets(line, sizeof(line), f), "Cannot read the command line");
	fclose(f);
	return strstr(line, word);
}

static const char *why_not(void)
{
	return have_flag ? NULL : "KVM has no GUEST_MEMFD_FLAG_NO_DIRECT_MAP";
}

static const char *test_when_there_is_one(void)
{
	uint64_t mmfr2;
	bool expected;
	int fd;

	create_vm(false);
	vcpu_get_reg(vcpu, KVM_ARM64_SYS_REG(SYS_ID_AA64MMFR2_EL1), &mmfr2);
	expected = MMFR2_FWB(mmfr2) && !on_cmdline("rodata=on") &&
		   !on_cmdline("rodata=off");
	ASSERT_EQ(have_flag, expected);
	ASSERT_EQ(!!(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS) &
		     GUEST_MEMFD_FLAG_NO_DIRECT_MAP), expected);
	if (expected) {
		fd = ASSERT_OK(__vm_create_guest_memfd(vm, size, NDM_SHARED));
		close(fd);
	} else {
		ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, NDM_SHARED), EINVAL);
	}

	/* Files without the flag work as before. */
	stop_vm(new_slot(GMEM_SHARED));
	return NULL;
}

/* Maintenance by set/way, caches off, caches on: KVM traps some of this. */
static void cache_guest(void)
{
	uint64_t *p = (uint64_t *)GPA;
	uint64_t sctlr = read_sysreg(sctlr_el1);

	for (;;) {
		WRITE_ONCE(*p, READ_ONCE(*p) + 1);
		asm volatile("dsb sy\n\tdc cisw, %0\n\tdc csw, %0\n\tdsb sy\n\tisb"
			     : : "r" (0ul) : "memory");
		write_sysreg(sctlr & ~(1ul << 2 | 1ul << 12), sctlr_el1);
		isb();
		WRITE_ONCE(*p, READ_ONCE(*p) + 1);
		write_sysreg(sctlr, sctlr_el1);
		isb();
		GUEST_SYNC(READ_ONCE(*p));
	}
}

static uint64_t run_to_sync(void)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return uc.args[1];
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		TEST_FAIL("Unexpected ucall");
	}
}

static const char *test_guest_cache_maintenance(void)
{
	struct kvm_vcpu_init init = { };
	const char *skip = why_not();
	int fd;

	if (skip)
		return skip;

	vm = gmem_create_vm(false, 1, cache_guest, &vcpu);
	gmem_guest_map(vm, GPA, size);
	fd = new_slot(NDM_SHARED);
	ASSERT_EQ(run_to_sync(), 2ul);
	*(uint64_t *)mem += 1;
	ASSERT_EQ(run_to_sync(), 5ul);

	/* A vCPU that is reset has its caches off. */
	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	ASSERT_EQ(*(uint64_t *)mem, 5ul);
	gmem_punch(fd, 0, size);
	ASSERT_EQ(*(uint64_t *)mem, 0ul);
	stop_vm(fd);
	return NULL;
}

/* An ordinary slot on a mapping of a hidden file. */
static const char *test_code_in_mapping(void)
{
	const char *skip = why_not();
	int fd, i;

	if (skip)
		return skip;

	start_vm(false);
	fd = new_memory(NDM_SHARED);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	for (i = 0; i < NR_PAGES; i++) {
		gmem_put_code(mem + i * page_size, i + 1);
		assert_guest_calls(vcpu, GPA + i * page_size, i + 1);
		gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA + i * page_size, 0, i + 100);
		assert_guest_calls(vcpu, GPA + i * page_size, i + 100);
	}
	stop_vm(fd);
	return NULL;
}

/* The mapping is VM_PFNMAP, but not an I/O region, which KVM cannot log. */
static const char *test_dirty_log_of_mapping(void)
{
	const char *skip = why_not();
	uint64_t bitmap = 0;
	int fd;

	if (skip)
		return skip;

	start_vm(false);
	fd = new_memory(NDM_SHARED);
	vm_set_user_memory_region(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, size, mem);
	gmem_guest_read(vcpu, GPA);
	gmem_guest_write(vcpu, GPA + 3 * page_size, 1);
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap, 1ul << 3);
	gmem_guest_write(vcpu, GPA, 1);
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap, 1ul);

	/* Off and on again. */
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem);
	gmem_guest_write(vcpu, GPA, 2);
	vm_set_user_memory_region(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, size, mem);
	gmem_guest_write(vcpu, GPA + page_size, 2);
	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	ASSERT_EQ(bitmap, 1ul << 1);
	stop_vm(fd);
	return NULL;
}

static int copy_tags(void *tags, uint64_t flags)
{
	struct kvm_arm_copy_mte_tags copy = {
		.guest_ipa = GPA,
		.length = page_size,
		.addr = tags,
		.flags = flags,
	};

	return __vm_ioctl(vm, KVM_ARM_MTE_COPY_TAGS, &copy);
}

/* With tags, a slot cannot have such a mapping, unless it is mapped later. */
static const char *test_tags_of_mapping(void)
{
	const char *skip = why_not();
	uint8_t *tags;
	void *other;
	int fd;

	if (skip)
		return skip;
	if (!kvm_has_cap(KVM_CAP_ARM_MTE))
		return "no memory tagging";

	vm = vm_create_barebones();
	vm_enable_cap(vm, KVM_CAP_ARM_MTE, 0);
	tags = gmem_anonymous(page_size);
	other = gmem_anonymous(size);
	memset(other, 1, size);
	fd = new_memory(NDM_SHARED);
	memset(mem, 1, size);
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem), EINVAL);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, other);
	ASSERT_OK(copy_tags(tags, 0));
	ASSERT_OK(copy_tags(tags, KVM_ARM_TAGS_FROM_GUEST));

	ASSERT_OK(mmap(other, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	ASSERT_ERRNO(copy_tags(tags, 0), EFAULT);
	ASSERT_ERRNO(copy_tags(tags, KVM_ARM_TAGS_FROM_GUEST), EFAULT);
	ASSERT_EQ(gmem_allocated(fd), size);
	ASSERT_OK(munmap(other, size));
	ASSERT_OK(munmap(tags, page_size));
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_when_there_is_one),
	GMEM_TEST(test_guest_cache_maintenance),
	GMEM_TEST(test_code_in_mapping),
	GMEM_TEST(test_dirty_log_of_mapping),
	GMEM_TEST(test_tags_of_mapping),
};

static void init(void)
{
	gmem_require_mmap();
	have_flag = kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) &
		    GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
}

GMEM_TEST_MAIN(init)
