// SPDX-License-Identifier: GPL-2.0
/*
 * The library's self-test. It needs no KVM: the test acts as the VMM and
 * fake_kvm.c as the kernel, with the library's interposed functions between
 * them, as in a real VMM. Each case runs in its own process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../file.h"
#include "../options.h"
#include "../process.h"
#include "../region.h"
#include "selftest.h"

#define AS(as, id)	((as) << 16 | (id))

int vm;

void create_vm(void)
{
	vm = ioctl(-1, KVM_CREATE_VM, 0);
	check(vm >= 0);
}

int set_flags(unsigned int id, unsigned long gpa, void *mem,
	      unsigned long size, unsigned int flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)mem,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) ? errno : 0;
}

int set(unsigned int id, unsigned long gpa, void *mem, unsigned long size)
{
	return set_flags(id, gpa, mem, size, 0);
}

/*
 * ioctl() is declared with the leaf attribute: the compiler may assume that it
 * does not call back into the calling file. KVM_RUN does call the guest of a
 * test, but none is in this file.
 */
int run_vcpu(int fd)
{
	return ioctl(fd, KVM_RUN, 0);
}

bool is_bound(unsigned int id)
{
	return fake_slot(id) && fake_slot(id)->bound;
}

/* Does what() make the library exit with GMEM_EXIT_REQUIRE? */
bool stops(void (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		what();
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == GMEM_EXIT_REQUIRE;
}

static unsigned long offset_of(unsigned int id)
{
	return fake_slot(id)->region.guest_memfd_offset;
}

char *map_anon(size_t size)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(mem != MAP_FAILED);
	return mem;
}

/* The VMA of an address, with its flags. Its name is not valid any more. */
static struct gmem_vma vma_at(const void *mem)
{
	struct gmem_maps maps;
	struct gmem_vma vma;

	check(!gmem_maps_read(&maps, true));
	check(gmem_maps_find(&maps, (uintptr_t)mem));
	vma = *gmem_maps_find(&maps, (uintptr_t)mem);
	gmem_maps_free(&maps);
	return vma;
}

static bool on_file(const void *mem)
{
	struct gmem_vma vma = vma_at(mem);

	return vma.flags & GMEM_VMA_SHARED && gmem_file_of_vma(&vma);
}

static unsigned long allocated(unsigned int id)
{
	struct stat st;

	check(!fstat((int)fake_slot(id)->region.guest_memfd, &st));
	return (unsigned long)st.st_blocks * 512;
}

/* On a read, some host kernels allocate a page, others map the zero page. */
static bool is_exclusive(const char *mem)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	check(fd >= 0);
	check(pread(fd, &entry, sizeof(entry),
		    (off_t)((uintptr_t)mem / PAGE * sizeof(entry))) == sizeof(entry));
	close(fd);
	return entry >> 56 & 1;
}

static void test_anonymous(void)
{
	char *mem = map_anon(MIB);
	unsigned long i, nr = 17;

	for (i = 0; i < 16; i++)
		memset(mem + i * 3 * PAGE, (int)i + 1, PAGE);
	/* Written zeroes stay allocated, the zero page is not copied. */
	mem[PAGE] = 0;
	check(!mem[2 * PAGE]);
	nr += is_exclusive(mem + 2 * PAGE);
	check(!set(0, 0, mem, MIB));
	check(is_bound(0) && offset_of(0) == 0 && on_file(mem));
	for (i = 0; i < 16; i++) {
		check(mem[i * 3 * PAGE] == (char)(i + 1));
		check(mem[i * 3 * PAGE + PAGE - 1] == (char)(i + 1));
	}
	check(allocated(0) == nr * PAGE && !mem[PAGE]);
	check(!mem[2 * PAGE]);
	mem[100 * PAGE] = 1;
	/* Includes page 2, which the read above allocated. */
	check(allocated(0) == 19 * PAGE);
}

/* Like QEMU: reserve, map inside, leave a guard, several slots per block. */
static void test_split_block(void)
{
	char *area = mmap(NULL, 4 * MIB, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *mem = mmap(area + MIB, 2 * MIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	check(mem == area + MIB);
	check(!munmap(area, MIB));
	check(!set(1, MIB, mem + MIB, MIB));
	check(!set(0, 0, mem, 0xa0000));
	check(!set_flags(2, 0xc0000, mem + 0xc0000, 0x8000, KVM_MEM_READONLY));
	check(is_bound(0) && is_bound(1) && !is_bound(2));
	check(offset_of(0) == 0 && offset_of(1) == MIB);
	check(fake_slot(0)->ino == fake_slot(1)->ino);
	check(on_file(mem) && on_file(mem + 2 * MIB - 1));
	check(!on_file(area + 3 * MIB) && fake_kvm.nr_created == 1);
}

static void test_merged_neighbours(void)
{
	char *area = map_anon(3 * MIB);
	char *mem;

	/* One VMA in /proc/self/maps, but two calls of mmap(). */
	mem = mmap(area + MIB, MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(vma_at(area).end > (uintptr_t)area + 2 * MIB);
	check(!set(0, 0, mem + PAGE, PAGE));
	check(is_bound(0) && offset_of(0) == PAGE);
	check(on_file(mem) && on_file(mem + MIB - 1));
	check(!on_file(mem - 1) && !on_file(mem + MIB));
}

static void test_slot_over_two_blocks(void)
{
	char *area = map_anon(2 * MIB);

	mmap(area + MIB, MIB, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(!set(0, 0, area + PAGE, 2 * MIB - 2 * PAGE));
	check(is_bound(0) && on_file(area) && on_file(area + 2 * MIB - 1));
}

/* The mmap() of the allocator is not seen: take only the slot. */
static void test_allocator(void)
{
	char *mem = aligned_alloc(PAGE, 4 * MIB);

	memset(mem, 7, 4 * MIB);
	check(!set(0, 0, mem + PAGE, MIB));
	check(is_bound(0) && on_file(mem + PAGE) && mem[MIB] == 7);
	check(!on_file(mem) && !on_file(mem + PAGE + MIB));
	free(mem);
}

static void test_not_ours(void)
{
	FILE *tmp = tmpfile();
	char *file, *private, *gap, *heap;
	int fd = memfd_create("private", 0);

	check(!ftruncate(fileno(tmp), (off_t)MIB) && !ftruncate(fd, (off_t)MIB));
	file = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(tmp),
		    0);
	private = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	gap = map_anon(MIB);
	munmap(gap + MIB / 2, PAGE);
	heap = sbrk((intptr_t)(2 * MIB));
	heap = (char *)(((uintptr_t)heap + PAGE - 1) & ~(PAGE - 1));

	check(!set(0, 0, file, MIB) && !is_bound(0));
	check(!set(1, MIB, private, MIB) && !is_bound(1));
	check(!set(2, 2 * MIB, gap, MIB) && !is_bound(2));
	check(!set(3, 3 * MIB, heap, PAGE) && !is_bound(3));
	check(gmem_regions_left == 4 && !fake_kvm.nr_created);
	/* A new mapping is tried although the previous one was refused. */
	check(!set(2, 0, NULL, 0));
	munmap(gap, MIB);
	gap = mmap(gap, MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(!set(2, 2 * MIB, gap, MIB) && is_bound(2));
}

static void test_memfd(void)
{
	int fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int copy = dup(fd);
	char *mem, *other;
	int seals;

	check(!ftruncate(fd, (off_t)(4 * MIB)));
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
	mem = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other = mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, (off_t)MIB);
	memset(mem + MIB, 5, PAGE);
	check(pwrite(fd, "here", 4, (off_t)(3 * MIB)) == 4);

	check(!set(0, 0, mem, MIB) && !set(1, 2 * MIB, mem + MIB, 3 * MIB));
	check(is_bound(0) && is_bound(1) && offset_of(1) == MIB);
	check(on_file(mem) && on_file(other) && fake_kvm.nr_created == 1);
	check(other[0] == 5 && !memcmp(mem + 3 * MIB, "here", 4));
	check(!(vma_at(other).prot & PROT_WRITE));
	check(allocated(0) == 2 * PAGE);
	mem[MIB] = 6;
	check(other[0] == 6);

	check(fcntl(fd, F_GETFD) == FD_CLOEXEC && !fcntl(copy, F_GETFD));
	check(gmem_file_of_fd(fd) && gmem_file_of_fd(copy));
	seals = fcntl(copy, F_GET_SEALS);
	check(seals == (F_SEAL_GROW | F_SEAL_SHRINK));
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	check(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) && errno == EPERM);
	check(!ftruncate(fd, (off_t)(4 * MIB)));
	check(ftruncate(fd, (off_t)MIB) && errno == EPERM);
}

static void test_shared_anonymous(void)
{
	char *mem = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	strcpy(mem + PAGE, "kept");
	check(!set(0, 0, mem, MIB));
	/* Without an fd, only a privileged process can open the file. */
	check(is_bound(0) == !geteuid());
	check(!strcmp(mem + PAGE, "kept"));
}

static void test_alias(void)
{
	char *mem = map_anon(MIB);

	check(!set(0, 0, mem, MIB));
	check(!set(1, 16 * MIB, mem + 0xa0000, 0x20000));
	check(!set(AS(1, 0), 0, mem, MIB));
	check(is_bound(0) && fake_slot(1) && !is_bound(1));
	check(fake_slot(AS(1, 0)) && !is_bound(AS(1, 0)));
	check(!gmem_regions_left);
	/* Slots that overlap are still an error. */
	check(set(2, 0, map_anon(PAGE), PAGE) == EEXIST);
}

/* If the slot in SMM comes first, the file is created but not bound. */
static void test_other_space_first(void)
{
	char *mem = map_anon(MIB);

	check(!set(AS(1, 0), 0, mem, MIB) && !is_bound(AS(1, 0)));
	check(!set(0, 0, mem, MIB) && is_bound(0));
}

static void test_readonly(void)
{
	char *mem = map_anon(MIB);

	mem[0] = 3;
	check(!set_flags(0, 0, mem, PAGE, KVM_MEM_READONLY));
	check(!is_bound(0) && !on_file(mem));
	/* Shadow RAM: read-only, deleted, writable. */
	check(!set(0, 0, NULL, 0) && !fake_slot(0));
	check(!set(0, 0, mem, PAGE) && is_bound(0) && mem[0] == 3);
	check(!set(0, 0, NULL, 0));
	check(!set_flags(0, 0, mem, PAGE, KVM_MEM_READONLY) && !is_bound(0));
}

static void test_change(void)
{
	char *mem = map_anon(2 * MIB);

	check(!set(0, 0, mem, MIB));
	check(!set(0, 0, mem, MIB));
	check(!set_flags(0, 0, mem, MIB, KVM_MEM_LOG_DIRTY_PAGES));
	check(fake_slot(0)->region.flags & KVM_MEM_LOG_DIRTY_PAGES);
	check(!set_flags(0, 0, mem, MIB, KVM_MEM_LOG_DIRTY_PAGES));
	check(!set(0, 0, mem, MIB));
	check(!(fake_slot(0)->region.flags & KVM_MEM_LOG_DIRTY_PAGES));
	check(is_bound(0));

	check(set_flags(0, 0, mem, MIB, KVM_MEM_READONLY) == EINVAL);
	check(set(0, 0, mem, MIB / 2) == EINVAL);
	check(set(0, 0, mem + PAGE, MIB) == EINVAL);
	check(!set(1, 8 * MIB, mem + MIB, MIB));
	check(set(0, 8 * MIB, mem, MIB) == EEXIST && is_bound(0));
	check(!set(0, 4 * MIB, mem, MIB) && is_bound(0));
	check(fake_slot(0)->region.guest_phys_addr == 4 * MIB);

	check(!set(0, 0, NULL, 0) && !fake_slot(0));
	check(set(0, 0, NULL, 0) == EINVAL);
	check(!set_flags(0, 0, mem, MIB, KVM_MEM_LOG_DIRTY_PAGES));
	check(is_bound(0) && fake_kvm.nr_created == 1);
}

static void test_bad_input(void)
{
	char *mem = map_anon(MIB);

	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, NULL) == -1);
	check(set(0, 0, mem + 1, MIB) == EINVAL);
	check(set(0, 0, mem, 100) == EINVAL);
	check(set_flags(0, 0, mem, MIB, 1U << 5) == EINVAL);
	check(!fake_slot(0));
}

static void test_no_capability(void)
{
	char *mem = map_anon(MIB);

	fake_kvm.caps = GUEST_MEMFD_FLAG_MMAP;
	create_vm();
	check(!set(0, 0, mem, MIB) && !is_bound(0) && !on_file(mem));
	fake_kvm.caps = 0;
	create_vm();
	check(!set(0, 0, mem, MIB) && !is_bound(0) && !on_file(mem));
}

static void test_failures(void)
{
	char *mem = map_anon(MIB), *late;
	int fd = memfd_create("ram", 0);

	memset(mem, 9, MIB);
	fake_kvm.create_errno = ENOMEM;
	check(!set(0, 0, mem, MIB) && !is_bound(0) && !on_file(mem));
	check(mem[5] == 9);
	/* An ordinary slot has used the memory: it is not tried again. */
	fake_kvm.create_errno = 0;
	check(!set(0, 0, NULL, 0));
	check(!set(0, 0, mem, MIB) && !is_bound(0));

	check(!ftruncate(fd, (off_t)MIB));
	mem = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fake_kvm.create_errno = EMFILE;
	check(!set(1, MIB, mem, MIB) && !is_bound(1));
	check(!gmem_file_of_fd(fd));
	fake_kvm.create_errno = 0;

	late = map_anon(MIB);
	late[0] = 4;
	fake_kvm.region2_errno = ENOMEM;
	check(!set(2, 2 * MIB, late, MIB) && !is_bound(2) && late[0] == 4);
	check(gmem_regions_left == 4);
}

/* After a block is unmapped, our fd must not keep the VM alive. */
static void test_unmapped(void)
{
	char *mem = map_anon(MIB);
	int fd;

	check(!set(0, 0, mem, MIB));
	fd = (int)fake_slot(0)->region.guest_memfd;
	check(!set(0, 0, NULL, 0));
	check(!munmap(mem, MIB / 2) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	check(!munmap(mem + MIB / 2, MIB / 2) && fcntl(fd, F_GETFD) == -1);
}

static void test_discard(void)
{
	char *mem = map_anon(MIB);

	memset(mem, 1, MIB);
	check(!set(0, 0, mem, MIB) && allocated(0) == MIB);
	check(!madvise(mem + PAGE, PAGE, MADV_DONTNEED));
	check(!mem[PAGE] && mem[0] == 1 && mem[2 * PAGE] == 1);
	check(!madvise(mem + PAGE, PAGE, MADV_FREE));
	check(!madvise(mem, MIB, MADV_DONTNEED) && !allocated(0));
}

/* The VMM maps new memory over a page of a slot. */
static void test_renew(void)
{
	char *mem = map_anon(MIB);

	memset(mem, 1, MIB);
	check(!set(0, 0, mem, MIB));
	check(mmap(mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      mem + PAGE);
	check(on_file(mem + PAGE) && !mem[PAGE] && mem[0] == 1);
	/* Without a slot, the VMM uses the addresses for something else. */
	check(!set(0, 0, NULL, 0));
	check(mmap(mem, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem);
	check(!on_file(mem) && !mem[0] && mem[2 * PAGE] == 1);
}

static void test_advice(void)
{
	char *mem = map_anon(MIB);

	check(!madvise(mem, MIB, MADV_DONTFORK));
	check(!madvise(mem + MIB / 2, MIB / 2, MADV_DONTDUMP));
	check(!set(0, 0, mem, MIB) && is_bound(0));
	check(vma_at(mem).flags ==
	      (GMEM_VMA_DONTFORK | GMEM_VMA_SHARED));
	check(vma_at(mem + MIB - 1).flags ==
	      (GMEM_VMA_DONTFORK | GMEM_VMA_DONTDUMP | GMEM_VMA_SHARED));
}

struct writer {
	pthread_t thread;
	atomic_ulong *page;
	atomic_bool *stop;
	unsigned long count;
};

static void *writer_main(void *arg)
{
	struct writer *writer = arg;
	size_t i;

	while (!atomic_load(writer->stop)) {
		for (i = 0; i < 256; i++)
			atomic_fetch_add(&writer->page[i * PAGE / 8], 1);
		writer->count++;
	}
	return NULL;
}

/* No store of another thread is lost while the memory is moved. */
static void test_writers(void)
{
	atomic_bool stop = false;
	struct writer writers[2];
	size_t i, round;

	for (round = 0; round < 20; round++) {
		char *mem = map_anon(MIB);

		stop = false;
		for (i = 0; i < 2; i++) {
			writers[i].page = (atomic_ulong *)mem + i;
			writers[i].stop = &stop;
			writers[i].count = 0;
			check(!pthread_create(&writers[i].thread, NULL,
					      writer_main, &writers[i]));
		}
		usleep(2000);
		check(!set((unsigned int)round, round * MIB, mem, MIB));
		check(is_bound((unsigned int)round));
		usleep(2000);
		stop = true;
		for (i = 0; i < 2; i++)
			pthread_join(writers[i].thread, NULL);
		for (i = 0; i < 512; i++)
			check(writers[i & 1].page[(i / 2) * PAGE / 8] ==
			      writers[i & 1].count);
	}
}

static void test_fork(void)
{
	char *mem = map_anon(MIB);
	int status;
	pid_t pid;

	check(!set(0, 0, mem, MIB));
	pid = fork();
	if (!pid) {
		char *own = map_anon(MIB);

		/* A daemon continues as the VMM in the child. */
		create_vm();
		check(!set(0, 0, own, MIB) && is_bound(0));
		munmap(own, MIB);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid && !status);
	check(is_bound(0));
}

static void test_environment(void)
{
	setenv("LD_PRELOAD", "/x/gmem-run.so:/y/other.so", 1);
	setenv(GMEM_ENV_PID, "1", 1);
	setenv(GMEM_ENV_REPORT, "/nonexistent", 1);
	create_vm();
	check(!strcmp(getenv("LD_PRELOAD"), "/y/other.so"));
	check(!getenv(GMEM_ENV_PID) && !getenv(GMEM_ENV_REPORT));

	setenv("LD_PRELOAD", "/x/gmem-run.so", 1);
	setenv(GMEM_ENV_PID, "1", 1);
	create_vm();
	check(!getenv("LD_PRELOAD"));
	/* Not started by the launcher: the environment is left alone. */
	setenv("LD_PRELOAD", "/y/other.so", 1);
	create_vm();
	check(!strcmp(getenv("LD_PRELOAD"), "/y/other.so"));
}

static void test_require(void)
{
	char *mem = map_anon(MIB);
	int status;
	pid_t pid;

	gmem_options.require = true;
	check(!set(0, 0, mem, MIB) && is_bound(0));
	check(!set(1, MIB, mem, PAGE) && !is_bound(1));
	check(!set_flags(2, 2 * MIB, map_anon(MIB), MIB, KVM_MEM_READONLY));
	pid = fork();
	if (!pid) {
		fake_kvm.create_errno = ENOMEM;
		set(3, 3 * MIB, map_anon(MIB), MIB);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == GMEM_EXIT_REQUIRE);
	pid = fork();
	if (!pid) {
		fake_kvm.caps = 0;
		create_vm();
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == GMEM_EXIT_REQUIRE);
}

static u64 flags_of(unsigned int id)
{
	return fake_file(fake_slot(id)->ino)->flags;
}

static void set_own_file(void)
{
	struct kvm_userspace_memory_region2 region = {
		.flags = KVM_MEM_GUEST_MEMFD,
		.memory_size = PAGE,
		.userspace_addr = (unsigned long)map_anon(PAGE),
		.guest_memfd = fake_slot(0)->region.guest_memfd,
		.guest_memfd_offset = MIB,
		.slot = 9,
		.guest_phys_addr = 64 * MIB,
	};

	ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static void set_unmapped(void)
{
	set(9, 64 * MIB, sbrk(0), PAGE);
}

/* All files have the flag, for anonymous memory and for memfds. */
static void test_no_direct_map(void)
{
	int fd = memfd_create("ram", 0);
	char *mem = map_anon(2 * MIB), *file;

	check(!ftruncate(fd, (off_t)MIB));
	file = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fake_kvm.caps |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	create_vm();
	check(!set(0, 0, map_anon(MIB), MIB) && flags_of(0) == 3);

	gmem_options.no_direct_map = true;
	gmem_options.require = true;
	create_vm();
	memset(mem, 5, PAGE);
	check(!set(0, 0, mem, MIB) && is_bound(0) && flags_of(0) == 7);
	check(!set(1, 16 * MIB, file, MIB) && is_bound(1) && flags_of(1) == 7);
	check(mem[1] == 5 && fake_kvm.nr_created == 3);
	/* ROM need not be hidden; the memory of the alias already is. */
	check(!set_flags(2, 32 * MIB, map_anon(PAGE), PAGE, KVM_MEM_READONLY));
	check(!set(3, 48 * MIB, mem, PAGE) && !is_bound(3));
	check(stops(set_own_file) && stops(set_unmapped));

	/* Together with --protected, both options apply. */
	gmem_options.protected = true;
	create_vm();
	check(fake_kvm.vm_type == GMEM_VM_TYPE);
	check(!set(0, 0, map_anon(MIB), MIB) && flags_of(0) == 7);
	gmem_options.protected = false;

	fake_kvm.caps = 3;
	check(stops(create_vm));
	fake_kvm.caps = GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	check(stops(create_vm));
	fake_kvm.caps = 0;
	check(stops(create_vm));
}

static const struct test tests[] = {
	TEST(anonymous), TEST(split_block), TEST(merged_neighbours),
	TEST(slot_over_two_blocks), TEST(allocator), TEST(not_ours),
	TEST(memfd), TEST(shared_anonymous), TEST(alias),
	TEST(other_space_first), TEST(readonly), TEST(change),
	TEST(bad_input), TEST(no_capability), TEST(failures),
	TEST(unmapped), TEST(discard), TEST(renew), TEST(advice), TEST(writers),
	TEST(fork), TEST(environment), TEST(require), TEST(no_direct_map),
};

static int run(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(60);
		fake_kvm.caps = GUEST_MEMFD_FLAG_MMAP |
				GUEST_MEMFD_FLAG_INIT_SHARED;
		fake_kvm.types = 1 << 0 | 1 << GMEM_VM_TYPE;
		create_vm();
		test->run();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

static size_t run_all(const struct test *list, size_t nr)
{
	size_t i, failed = 0;

	for (i = 0; i < nr; i++) {
		int status = run(&list[i]);

		printf("%s gmem-run library: %s\n", status ? "FAIL" : "ok  ",
		       list[i].name);
		failed += !!status;
	}
	return failed;
}

int main(void)
{
	size_t failed = run_all(tests, ARRAY_SIZE(tests)) +
			run_all(protected_tests, nr_protected_tests);

	printf("%zu passed, %zu failed, 0 skipped\n",
	       ARRAY_SIZE(tests) + nr_protected_tests - failed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
