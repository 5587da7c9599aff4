// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_compat_test: the ABI for 32-bit processes
 *
 * Structures have the same layout and numbers the same meaning for 32 and 64
 * bits.  All calls use int $0x80, the entry for 32-bit system calls even in a
 * 64-bit process; all pointers must therefore be below 4 GiB.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/uio.h>

#define NR_PAGES	8
#include "guest_memfd_fixture.h"
#include "guest_memfd_private.h"

#define NR32_MUNMAP	91
#define NR32_IOCTL	54
#define NR32_MMAP2	192
#define NR32_FALLOCATE	324

/* Memory that a 32-bit pointer can address. */
static union {
	struct kvm_create_guest_memfd create;
	struct kvm_userspace_memory_region2 region;
	struct kvm_memory_attributes attributes;
	struct kvm_memory_attributes2 attributes2;
	struct kvm_pre_fault_memory range;
	struct {
		uint32_t slot;
		uint32_t padding;
		uint32_t dirty_bitmap;
		uint32_t padding2;
	} dirty_log;
} *low;

/* An i386 system call; returns -1 and sets errno on failure, like libc. */
static long syscall32(uint32_t nr, uint32_t a, uint32_t b, uint32_t c, uint32_t d,
		      uint32_t e, uint32_t f)
{
	uint32_t ret;

	/* The sixth argument is in the frame pointer. */
	asm volatile("mov %%rbp, %%r12\n\t"
		     "mov %k[f], %%ebp\n\t"
		     "int $0x80\n\t"
		     "mov %%r12, %%rbp\n\t"
		     : "=a" (ret)
		     : "a" (nr), "b" (a), "c" (b), "d" (c), "S" (d), "D" (e), [f] "r" (f)
		     : "r8", "r9", "r10", "r11", "r12", "memory", "cc");

	if (ret >= -4095u) {
		errno = -ret;
		return -1;
	}
	return ret;
}

static long ioctl32(int fd, uint32_t cmd, void *arg)
{
	return syscall32(NR32_IOCTL, fd, cmd, (uintptr_t)arg, 0, 0, 0);
}

static int create32(uint64_t len, uint64_t flags)
{
	low->create = (struct kvm_create_guest_memfd) { .size = len, .flags = flags };
	return ioctl32(vm->fd, KVM_CREATE_GUEST_MEMFD, low);
}

static int bind32(uint32_t flags, uint64_t len, int fd, uint64_t offset)
{
	low->region = (struct kvm_userspace_memory_region2) {
		.slot = SLOT,
		.flags = KVM_MEM_GUEST_MEMFD | flags,
		.guest_phys_addr = GPA,
		.memory_size = len,
		.guest_memfd = fd,
		.guest_memfd_offset = offset,
	};
	return ioctl32(vm->fd, KVM_SET_USER_MEMORY_REGION2, low);
}

static int check_extension32(int fd, unsigned long cap)
{
	return ASSERT_OK(ioctl32(fd, KVM_CHECK_EXTENSION, (void *)cap));
}

static long fallocate32(int fd, int mode, uint64_t offset, uint64_t len)
{
	return syscall32(NR32_FALLOCATE, fd, mode, offset, offset >> 32, len, len >> 32);
}

static sigjmp_buf jmp;

static void no_compat(int sig)
{
	siglongjmp(jmp, 1);
}

static bool has_compat(void)
{
	struct sigaction old, sa = { .sa_handler = no_compat };
	long ret;

	ASSERT_OK(sigaction(SIGSEGV, &sa, &old));
	if (sigsetjmp(jmp, 1)) {
		ASSERT_OK(sigaction(SIGSEGV, &old, NULL));
		return false;
	}

	ret = ioctl32(vm->kvm_fd, KVM_GET_API_VERSION, NULL);
	ASSERT_OK(sigaction(SIGSEGV, &old, NULL));
	return ret == KVM_API_VERSION;
}

static const char *test_create(void)
{
	const uint64_t big = 1ull << 40;
	int fd;

	fd = ASSERT_OK(create32(size, GMEM_SHARED));
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-size"), size);
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-flags"), (uint64_t)GMEM_SHARED);
	close(fd);

	/* KVM sees both halves of each field. */
	fd = ASSERT_OK(create32(big, 0));
	ASSERT_EQ(gmem_fdinfo(fd, "gmem-size"), big);
	close(fd);
	ASSERT_ERRNO(create32(size, 1ull << 40), EINVAL);
	ASSERT_ERRNO(create32(size + 1, 0), EINVAL);
	ASSERT_ERRNO(create32(0, 0), EINVAL);
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_CREATE_GUEST_MEMFD, NULL), EFAULT);
	return NULL;
}

/* Values with the highest bit set would look like errors. */
static const char *test_caps(void)
{
	static const int caps[] = {
		KVM_CAP_USER_MEMORY2, KVM_CAP_MEMORY_FAULT_INFO, KVM_CAP_MEMORY_ATTRIBUTES,
		KVM_CAP_GUEST_MEMFD, KVM_CAP_VM_TYPES, KVM_CAP_PRE_FAULT_MEMORY,
		KVM_CAP_GUEST_MEMFD_FLAGS, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES,
		KVM_CAP_MULTI_ADDRESS_SPACE,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		ASSERT_EQ(check_extension32(vm->kvm_fd, caps[i]),
			  ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, caps[i]));
		ASSERT_EQ(check_extension32(vm->fd, caps[i]), vm_check_cap(vm, caps[i]));
	}
	ASSERT_EQ(check_extension32(vm->fd, KVM_CAP_GUEST_MEMFD), 1);
	ASSERT_EQ(check_extension32(vm->kvm_fd, KVM_CAP_USER_MEMORY2), 1);
	ASSERT_EQ(gmem_common_flags(check_extension32(vm->fd, KVM_CAP_GUEST_MEMFD_FLAGS)),
		  GMEM_ALL_FLAGS);
	return NULL;
}

static const char *test_vm_types(void)
{
	int types = check_extension32(vm->kvm_fd, KVM_CAP_VM_TYPES), other;
	unsigned long type;

	for (type = 0; type < 31; type++) {
		if (types & (1 << type)) {
			other = ASSERT_OK(ioctl32(vm->kvm_fd, KVM_CREATE_VM, (void *)type));
			ASSERT_EQ(check_extension32(other, KVM_CAP_MEMORY_ATTRIBUTES),
				  type ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0);
			ASSERT_EQ(check_extension32(other, KVM_CAP_MULTI_ADDRESS_SPACE),
				  type ? 1 : 2);
			close(other);
			continue;
		}
		ASSERT_ERRNO(ioctl32(vm->kvm_fd, KVM_CREATE_VM, (void *)type), EINVAL);
	}
	ASSERT_ERRNO(ioctl32(vm->kvm_fd, KVM_CREATE_VM, (void *)0xfffffffful), EINVAL);
	return NULL;
}

static const char *test_bind(void)
{
	const uint64_t far = 1ull << 36;
	int fd = ASSERT_OK(create32(1ull << 40, GMEM_SHARED));

	ASSERT_ERRNO(bind32(0, size, fd, 1), EINVAL);
	ASSERT_ERRNO(bind32(0, size, fd, 1ull << 40), EINVAL);
	ASSERT_ERRNO(bind32(KVM_MEM_READONLY, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind32(0, size, -1, 0), EBADF);
	ASSERT_ERRNO(bind32(0, size, vm->fd, 0), EINVAL);
	ASSERT_ERRNO(bind32(1u << 31, size, fd, 0), EINVAL);
	ASSERT_ERRNO(bind32(0, size, fd, -page_size), EINVAL);
	ASSERT_ERRNO(bind32(0, 1ull << 62, fd, 0), EINVAL);
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_SET_USER_MEMORY_REGION2, NULL), EFAULT);
	low->region.flags = KVM_MEM_GUEST_MEMFD;
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_SET_USER_MEMORY_REGION, low), EINVAL);
	ASSERT_EQ(gmem_nr_bindings(fd), 0);

	ASSERT_OK(bind32(0, size, fd, far));
	TEST_ASSERT(gmem_has_binding(fd, SLOT, GPA, far, size), "Not in fdinfo");
	ASSERT_ERRNO(bind32(0, size, fd, far), EINVAL);
	low->region.slot = SLOT + 1;
	low->region.guest_phys_addr = far;
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_SET_USER_MEMORY_REGION2, low), EEXIST);
	ASSERT_OK(bind32(0, 0, -1, 0));
	ASSERT_EQ(gmem_nr_bindings(fd), 0);
	close(fd);
	return NULL;
}

static const char *test_dirty_log(void)
{
	int fd = ASSERT_OK(create32(size, GMEM_SHARED));

	ASSERT_OK(bind32(0, size, fd, 0));
	low->dirty_log.slot = SLOT;
	low->dirty_log.dirty_bitmap = (uintptr_t)low + page_size / 2;
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_GET_DIRTY_LOG, low), ENOENT);

	ASSERT_OK(bind32(KVM_MEM_LOG_DIRTY_PAGES, size, fd, 0));
	low->dirty_log.slot = SLOT;
	low->dirty_log.dirty_bitmap = (uintptr_t)low + page_size / 2;
	memset((void *)low + page_size / 2, 0xff, 8);
	ASSERT_OK(ioctl32(vm->fd, KVM_GET_DIRTY_LOG, low));
	ASSERT_EQ(*(uint64_t *)((void *)low + page_size / 2), 0ul);
	ASSERT_OK(bind32(0, 0, -1, 0));
	close(fd);
	return NULL;
}

static const char *test_fallocate(void)
{
	const uint64_t far = (1ull << 40) - page_size;
	int keep = FALLOC_FL_KEEP_SIZE, punch = keep | FALLOC_FL_PUNCH_HOLE;
	int fd = ASSERT_OK(create32(1ull << 40, 0));

	ASSERT_ERRNO(fallocate32(fd, 0, 0, size), EOPNOTSUPP);
	ASSERT_ERRNO(fallocate32(fd, keep, 1, page_size), EINVAL);
	ASSERT_ERRNO(fallocate32(fd, keep, 1ull << 40, page_size), EINVAL);
	ASSERT_OK(fallocate32(fd, keep, far, page_size));
	ASSERT_EQ(gmem_allocated(fd), page_size);
	ASSERT_OK(fallocate32(fd, punch, 0, far));
	ASSERT_EQ(gmem_allocated(fd), page_size);
	ASSERT_OK(fallocate32(fd, punch, far, 1ull << 41));
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	close(fd);
	return NULL;
}

static const char *test_mmap(void)
{
	int fd = ASSERT_OK(create32(1ull << 40, GMEM_SHARED));
	uint64_t offset = 1ull << 39;
	uint8_t *mem, *mem64;
	long addr;

	ASSERT_ERRNO(syscall32(NR32_MMAP2, 0, size, PROT_READ, MAP_PRIVATE, fd, 0),
		     EINVAL);
	ASSERT_ERRNO(syscall32(NR32_MMAP2, 0, size, PROT_READ | PROT_EXEC, MAP_SHARED,
			       fd, 0), EPERM);

	addr = ASSERT_OK(syscall32(NR32_MMAP2, 0, size, PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, offset >> 12));
	mem = (uint8_t *)addr;
	mem64 = gmem_mmap(fd, offset, size);
	gmem_fill(mem, size, 1);
	TEST_ASSERT(gmem_matches(mem64, size, 1), "The mappings differ");
	ASSERT_OK(munmap(mem64, size));
	ASSERT_OK(syscall32(NR32_MUNMAP, addr, size, 0, 0, 0, 0));
	close(fd);
	return NULL;
}

static long convert32(int fd, uint64_t offset, uint64_t len, uint64_t attributes,
		      uint64_t flags)
{
	low->attributes2 = (struct kvm_memory_attributes2) {
		.offset = offset,
		.size = len,
		.attributes = attributes,
		.flags = flags,
		.error_offset = -1ull,
	};
	return ioctl32(fd, KVM_SET_MEMORY_ATTRIBUTES2, low);
}

static void assert_file_attributes(int fd, uint64_t offset)
{
	const uint64_t private = KVM_MEMORY_ATTRIBUTE_PRIVATE;

	ASSERT_OK(convert32(fd, offset, page_size, private, 0));
	gmem_assert_no_access(mem, page_size);
	TEST_ASSERT(gmem_try_read(mem + page_size, NULL), "The next page is private");

	/* Bits in either half are checked. */
	ASSERT_ERRNO(convert32(fd, offset, page_size, 1ull << 36, 0), EINVAL);
	ASSERT_ERRNO(convert32(fd, offset, page_size, private, 1), EINVAL);
	ASSERT_ERRNO(convert32(fd, offset, page_size, private, 1ull << 63), EINVAL);
	ASSERT_ERRNO(convert32(fd, offset, 0, private, 0), EINVAL);
	ASSERT_ERRNO(convert32(fd, offset + 1, page_size, private, 0), EINVAL);
	ASSERT_ERRNO(convert32(fd, offset, -page_size, private, 0), EINVAL);
	ASSERT_EQ((uint64_t)low->attributes2.error_offset, -1ul);
	memset(low, 0, sizeof(*low));
	low->attributes2.size = page_size;
	low->attributes2.reserved[ARRAY_SIZE(low->attributes2.reserved) - 1] = 1ull << 40;
	ASSERT_ERRNO(ioctl32(fd, KVM_SET_MEMORY_ATTRIBUTES2, low), EINVAL);
	ASSERT_ERRNO(ioctl32(fd, KVM_SET_MEMORY_ATTRIBUTES2, NULL), EFAULT);
	ASSERT_ERRNO(ioctl32(fd, KVM_SET_MEMORY_ATTRIBUTES, low), ENOTTY);

	ASSERT_OK(convert32(fd, offset, page_size, 0, 0));
	TEST_ASSERT(gmem_try_read(mem, NULL), "The page is private");
}

/* A page is in use: its offset is returned, although it is above 4 GiB. */
static void assert_error_offset(int fd, uint64_t offset)
{
	struct iovec iov = { mem + page_size, page_size };
	int p[2];

	ASSERT_OK(pipe(p));
	mem[page_size] = 1;
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), (ssize_t)page_size);
	ASSERT_ERRNO(convert32(fd, offset, size, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0), EAGAIN);
	ASSERT_EQ((uint64_t)low->attributes2.error_offset, offset + page_size);

	/* The call fails if the offset cannot be written back. */
	ASSERT_OK(mprotect(low, page_size, PROT_READ));
	ASSERT_ERRNO(ioctl32(fd, KVM_SET_MEMORY_ATTRIBUTES2, low), EFAULT);
	ASSERT_OK(mprotect(low, page_size, PROT_READ | PROT_WRITE));
	TEST_ASSERT(gmem_try_read(mem, NULL), "A call that failed converted a page");
	close(p[0]);
	close(p[1]);
	ASSERT_OK(convert32(fd, offset, size, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0));
}

static const char *test_file_attributes(void)
{
	const uint64_t far = 1ull << 36;
	struct kvm_vm *protected = gmem_create_protected_barebones();
	int fd = vm_create_guest_memfd(protected, 1ull << 40, GMEM_SHARED);

	mem = gmem_mmap(fd, far, size);
	assert_file_attributes(fd, far);
	assert_error_offset(fd, far);
	kvm_vm_free(protected);
	free_memory(fd);

	/* Files of an ordinary VM have no private memory. */
	fd = ASSERT_OK(create32(size, GMEM_SHARED));
	ASSERT_ERRNO(convert32(fd, 0, size, 0, 0), EINVAL);
	close(fd);
	return NULL;
}

static const char *test_vm_attributes(void)
{
	const uint64_t far = 1ull << 36;
	struct kvm_vm *protected = gmem_create_protected_barebones();
	struct kvm_memory_attributes *attrs = &low->attributes;
	const struct kvm_memory_attributes bad[] = {
		{ .address = far, .size = 0 },
		{ .address = far + 1, .size = page_size },
		{ .address = far, .size = page_size + 1 },
		{ .address = -page_size, .size = page_size },
		{ .address = far, .size = page_size, .flags = 1ull << 40 },
		{ .address = far, .size = page_size, .attributes = 1ull << 40 },
	};
	int i;

	*attrs = (struct kvm_memory_attributes) {
		.address = far,
		.size = far,
		.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE,
	};
	ASSERT_OK(ioctl32(protected->fd, KVM_SET_MEMORY_ATTRIBUTES, low));
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, low), EINVAL);
	ASSERT_ERRNO(ioctl32(protected->fd, KVM_SET_MEMORY_ATTRIBUTES, NULL), EFAULT);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		*attrs = bad[i];
		ASSERT_ERRNO(ioctl32(protected->fd, KVM_SET_MEMORY_ATTRIBUTES, low), EINVAL);
	}
	kvm_vm_free(protected);
	return NULL;
}

static long prefault32(uint64_t gpa, uint64_t len, uint64_t flags)
{
	low->range = (struct kvm_pre_fault_memory) {
		.gpa = gpa,
		.size = len,
		.flags = flags,
	};
	return ioctl32(vcpu->fd, KVM_PRE_FAULT_MEMORY, low);
}

static void assert_prefault(void)
{
	const uint64_t far = 1ull << 36;

	ASSERT_ERRNO(prefault32(0, 0, 0), EINVAL);
	ASSERT_ERRNO(prefault32(1, page_size, 0), EINVAL);
	ASSERT_ERRNO(prefault32(0, page_size + 1, 0), EINVAL);
	ASSERT_ERRNO(prefault32(-page_size, page_size, 0), EINVAL);
	ASSERT_ERRNO(prefault32(0, page_size, 1ull << 63), EINVAL);
	ASSERT_ERRNO(ioctl32(vcpu->fd, KVM_PRE_FAULT_MEMORY, NULL), EFAULT);
	ASSERT_ERRNO(prefault32(far, page_size, 0), ENOENT);
	ASSERT_EQ((uint64_t)low->range.gpa, far);
	ASSERT_EQ((uint64_t)low->range.size, page_size);
	ASSERT_OK(prefault32(0, page_size, 0));
	ASSERT_EQ((uint64_t)low->range.gpa, page_size);
	ASSERT_EQ((uint64_t)low->range.size, 0ul);
}

static const char *test_prefault(void)
{
	struct kvm_vm *other;

	if (!kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "no KVM_PRE_FAULT_MEMORY";
	other = gmem_create_vm(false, 1, gmem_guest_code, &vcpu);
	assert_prefault();
	kvm_vm_free(other);
	return NULL;
}

static const char *test_prefault_protected(void)
{
	const uint64_t far = 1ull << 36;
	struct kvm_vm *protected = gmem_create_vm(true, 1, gmem_guest_code, &vcpu);

	assert_prefault();
	/* Missing private memory is a different error. */
	vm_make_private(protected, far, far);
	ASSERT_ERRNO(prefault32(far, page_size, 0), EFAULT);
	kvm_vm_free(protected);
	return NULL;
}

/* Protected VMs have no second address space, not in this ABI, either. */
static const char *test_protected_slots(void)
{
	struct kvm_vm *ordinary = vm;
	int fd;

	vm = gmem_create_protected_barebones();
	fd = ASSERT_OK(create32(size, GMEM_SHARED));
	ASSERT_OK(bind32(0, size, fd, 0));
	low->region.slot |= 1 << 16;
	low->region.guest_phys_addr = 1ull << 36;
	low->region.guest_memfd_offset = 0;
	ASSERT_ERRNO(ioctl32(vm->fd, KVM_SET_USER_MEMORY_REGION2, low), EINVAL);
	ASSERT_OK(bind32(0, 0, -1, 0));
	close(fd);
	/* A slot with a file without MMAP is dual-backed. */
	fd = ASSERT_OK(create32(size, 0));
	ASSERT_ERRNO(bind32(KVM_MEM_LOG_DIRTY_PAGES, size, fd, 0), EINVAL);
	ASSERT_OK(bind32(0, size, fd, 0));
	ASSERT_ERRNO(convert32(fd, 0, size, 0, 0), EINVAL);
	ASSERT_OK(bind32(0, 0, -1, 0));
	close(fd);
	kvm_vm_free(vm);
	vm = ordinary;
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_create),
	GMEM_TEST(test_caps),
	GMEM_TEST(test_vm_types),
	GMEM_TEST(test_bind),
	GMEM_TEST(test_dirty_log),
	GMEM_TEST(test_fallocate),
	GMEM_TEST(test_mmap),
	GMEM_TEST_PROTECTED(test_vm_attributes),
	GMEM_TEST_PROTECTED(test_file_attributes),
	GMEM_TEST(test_prefault),
	GMEM_TEST_PROTECTED(test_prefault_protected),
	GMEM_TEST_PROTECTED(test_protected_slots),
};

static void init(void)
{
	init_barebones();
	__TEST_REQUIRE(has_compat(), "The kernel does not support 32-bit system calls");
	low = ASSERT_OK(mmap(NULL, page_size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
}

GMEM_TEST_MAIN(init)
