// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_types_test: VM types, and VMs without guest_memfd
 *
 * Tests the VM type in the machine type, in addition to the IPA size, the
 * capabilities of each type, and what excludes guest_memfd: memory tagging, in
 * either order, and pKVM, which refuses everything related to guest_memfd.
 *
 * Append: kvm-arm.mode=nvhe
 * Append: kvm-arm.mode=protected
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm_para.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"
#include "guest_memfd_private.h"

#define TYPE(type)	((unsigned long)(type) << KVM_VM_TYPE_ARM_TYPE_SHIFT)
#define PROTECTED	TYPE(KVM_ARM_SW_PROTECTED_VM)

static const char other_mode[] = "not in this kvm-arm.mode";
static bool pkvm;
static int kvm_fd;

static bool on_cmdline(const char *word)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "r");

	TEST_ASSERT(f && fgets(line, sizeof(line), f), "Cannot read the command line");
	fclose(f);
	return strstr(line, word);
}

static void create_and_close(unsigned long type)
{
	int vm_fd = ASSERT_OK(ioctl(kvm_fd, KVM_CREATE_VM, type));

	ASSERT_EQ(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES),
		  (int)(BIT(KVM_ARM_DEFAULT_VM) | BIT(KVM_ARM_SW_PROTECTED_VM)));
	close(vm_fd);
}

static const char *test_vm_types(void)
{
	unsigned long limit = kvm_check_cap(KVM_CAP_ARM_VM_IPA_SIZE), type, ipa;
	int bit;

	if (pkvm)
		return other_mode;

	ASSERT_EQ(kvm_check_cap(KVM_CAP_VM_TYPES),
		  (unsigned int)(BIT(KVM_ARM_DEFAULT_VM) | BIT(KVM_ARM_SW_PROTECTED_VM)));
	for (type = 0; type < 16; type++) {
		for (ipa = 0; ipa < 64; ipa++) {
			if ((type == KVM_ARM_DEFAULT_VM || type == KVM_ARM_SW_PROTECTED_VM) &&
			    (!ipa || (ipa >= 32 && ipa <= limit)))
				create_and_close(TYPE(type) | ipa);
			else
				ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM,
						   TYPE(type) | ipa), EINVAL);
		}
	}

	/* The upper bits of the IPA size, and bits without a meaning. */
	for (bit = 6; bit < 64; bit++) {
		ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, 1ul << bit), EINVAL);
		if (!(PROTECTED & 1ul << bit))
			ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, 1ul << bit | PROTECTED),
				     EINVAL);
	}
	return NULL;
}

static const char *test_caps(void)
{
	struct {
		long cap;
		unsigned int system;
		unsigned int ordinary;
		unsigned int protected;
	} caps[] = {
		{ KVM_CAP_USER_MEMORY2, 1, 1, 1 },
		{ KVM_CAP_MEMORY_FAULT_INFO, 0, 0, 0 },
		{ KVM_CAP_MEMORY_ATTRIBUTES, 8, 0, 8 },
		{ KVM_CAP_GUEST_MEMFD, 1, 1, 1 },
		{ KVM_CAP_PRE_FAULT_MEMORY, 1, 1, 1 },
		{ KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 8, 0, 8 },
		{ KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_MAP_GPA_RANGE), 0,
		  BIT(KVM_HC_MAP_GPA_RANGE) },
	};
	struct kvm_vm *ordinary, *protected;
	int i;

	if (pkvm)
		return other_mode;

	ordinary = vm_create_barebones();
	protected = gmem_create_protected_barebones();
	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		ASSERT_EQ(kvm_check_cap(caps[i].cap), caps[i].system);
		ASSERT_EQ((unsigned int)vm_check_cap(ordinary, caps[i].cap), caps[i].ordinary);
		ASSERT_EQ((unsigned int)vm_check_cap(protected, caps[i].cap),
			  caps[i].protected);
	}
	kvm_vm_free(ordinary);
	kvm_vm_free(protected);
	return NULL;
}

static int bind(int fd, uint64_t gpa, void *addr)
{
	return __vm_set_user_memory_region2(vm, SLOT, KVM_MEM_GUEST_MEMFD, gpa, size,
					    addr, fd, 0);
}

static const char *test_bad_addresses(void)
{
	uint64_t end;
	int fd;

	if (pkvm)
		return other_mode;

	vm = vm_create_barebones();
	end = 1ull << vm->pa_bits;
	fd = new_memory(GMEM_SHARED);
	ASSERT_ERRNO(bind(fd, end, mem), EFAULT);
	ASSERT_ERRNO(bind(fd, end - page_size, mem), EFAULT);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	ASSERT_OK(bind(fd, end - size, mem));
	delete_slot();

	/* Tagged addresses. */
	ASSERT_ERRNO(bind(fd, GPA, (void *)((uintptr_t)mem | 1ul << 56)), EINVAL);
	ASSERT_ERRNO(bind(fd, GPA, (void *)((uintptr_t)mem | 0xful << 60)), EINVAL);
	ASSERT_OK(bind(fd, GPA, mem));
	stop_vm(fd);
	return NULL;
}

/* Only protected VMs support dual-backed slots. */
static const char *test_dual_backed(void)
{
	int fd;

	if (pkvm)
		return other_mode;

	vm = vm_create_barebones();
	fd = new_memory(0);
	ASSERT_ERRNO(bind(fd, GPA, mem), EINVAL);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	stop_vm(fd);
	vm = gmem_create_protected_barebones();
	fd = new_memory(0);
	ASSERT_OK(bind(fd, GPA, mem));
	stop_vm(fd);
	return NULL;
}

static int enable_mte(void)
{
	return __vm_enable_cap(vm, KVM_CAP_ARM_MTE, 0);
}

static const char *why_no_mte(void)
{
	if (pkvm)
		return other_mode;
	return kvm_has_cap(KVM_CAP_ARM_MTE) ? NULL : "no memory tagging";
}

static const char *test_mte_first(void)
{
	const char *skip = why_no_mte();
	void *other;
	int fd;

	if (skip)
		return skip;

	vm = vm_create_barebones();
	ASSERT_OK(enable_mte());
	fd = new_memory(GMEM_SHARED);
	ASSERT_ERRNO(bind(fd, GPA, mem), EINVAL);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);

	/* Nor can it be plain memory of a slot: its pages have no tags. */
	ASSERT_ERRNO(__vm_set_user_memory_region(vm, SLOT, 0, GPA, size, mem), EINVAL);
	other = gmem_anonymous(size);
	vm_set_user_memory_region2(vm, SLOT, 0, GPA, size, other, -1, 0);
	stop_vm(fd);
	ASSERT_OK(munmap(other, size));
	return NULL;
}

static const char *test_mte_second(void)
{
	const char *skip = why_no_mte();
	int fd;

	if (skip)
		return skip;

	vm = vm_create_barebones();
	fd = new_slot(GMEM_SHARED);
	ASSERT_ERRNO(enable_mte(), EINVAL);
	TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, 0, size), "The binding is gone");

	/* The same if the file is closed, but the slot still exists. */
	free_memory(fd);
	ASSERT_ERRNO(enable_mte(), EINVAL);
	delete_slot();
	ASSERT_OK(enable_mte());
	fd = new_memory(GMEM_SHARED);
	ASSERT_ERRNO(bind(fd, GPA, mem), EINVAL);
	stop_vm(fd);
	return NULL;
}

static const char *test_pkvm_refuses(void)
{
	static const long caps[] = {
		KVM_CAP_USER_MEMORY2, KVM_CAP_MEMORY_FAULT_INFO,
		KVM_CAP_MEMORY_ATTRIBUTES, KVM_CAP_GUEST_MEMFD,
		KVM_CAP_GUEST_MEMFD_FLAGS, KVM_CAP_PRE_FAULT_MEMORY,
		KVM_CAP_VM_TYPES, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES,
	};
	struct kvm_pre_fault_memory range = { .size = page_size };
	void *other;
	int i;

	if (!pkvm)
		return other_mode;

	create_vm(false);
	other = gmem_anonymous(size);
	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		ASSERT_EQ(kvm_check_cap(caps[i]), 0u);
		ASSERT_EQ(vm_check_cap(vm, caps[i]), 0);
	}
	ASSERT_ERRNO(ioctl(kvm_fd, KVM_CREATE_VM, PROTECTED), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, 0), EINVAL);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, GMEM_SHARED), EINVAL);
	ASSERT_ERRNO(__vm_set_user_memory_region2(vm, SLOT, 0, GPA, size, other, -1, 0),
		     EINVAL);
	ASSERT_ERRNO(__vm_set_attributes(vm, GPA, size, 0), EINVAL);
	ASSERT_ERRNO(__vm_make_private(vm, GPA, size), EINVAL);
	ASSERT_ERRNO(__vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range), EINVAL);

	/* Guests that use none of this still run. */
	vm_set_user_memory_region(vm, SLOT, 0, GPA, size, other);
	gmem_guest_start(vcpu);
	stop_vm(-1);
	ASSERT_OK(munmap(other, size));
	return NULL;
}

/* With nVHE, KVM maps kernel memory at EL2 that may become guest memory. */
static const char *test_nvhe_hides_nothing(void)
{
	uint64_t flag = GUEST_MEMFD_FLAG_NO_DIRECT_MAP;

	if (!on_cmdline("kvm-arm.mode=nvhe"))
		return other_mode;

	vm = vm_create_barebones();
	ASSERT_EQ(vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS) & (int)flag, 0);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, GMEM_SHARED | flag), EINVAL);
	kvm_vm_free(vm);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_vm_types),
	GMEM_TEST(test_caps),
	GMEM_TEST(test_bad_addresses),
	GMEM_TEST(test_dual_backed),
	GMEM_TEST(test_mte_first),
	GMEM_TEST(test_mte_second),
	GMEM_TEST(test_pkvm_refuses),
	GMEM_TEST(test_nvhe_hides_nothing),
};

static void init(void)
{
	kvm_fd = open_kvm_dev_path_or_exit();
	pkvm = on_cmdline("kvm-arm.mode=protected");
	if (!pkvm)
		gmem_require_protected_vms();
}

GMEM_TEST_MAIN(init)
