// SPDX-License-Identifier: GPL-2.0
/*
 * vmm CASE: a small VMM that runs under gmem-run --protected on a real KVM. It
 * does not know about guest_memfd and finds out what gmem-run did by accessing
 * the memory of its guest. "vmm list" prints the cases with their
 * --private-from and expected status.
 *
 * The guest runs in real mode, with segments that cover all of its memory, and
 * executes one of a few instructions at a time: the VMM sets the registers, and
 * reads them when the guest halts.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../uapi.h"

#define PAGE		4096UL
#define RAM		0x100000UL
#define DATA		0x10000UL
#define LATE		0x200000UL
#define PORT		0x80		/* of --private-from */
#define SHARED		0
#define PRIVATE		_BITUL(4)
#define CPUID_FEATURES	0x40000001
#define MAX_VCPUS	4
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Where the guest's instructions are; each is followed by hlt. */
#define CALL		0x1000
#define READ		0x1010
#define WRITE		0x1020
#define OUT		0x1030
#define CPUID		0x1040

#define check(cond)							\
	do {								\
		if (!(cond)) {						\
			printf("vmm: line %d: %s is not so\n", __LINE__, \
			       #cond);					\
			fflush(stdout);					\
			_exit(1);					\
		}							\
	} while (0)

struct vcpu {
	int fd;
	struct kvm_run *run;
};

static int kvm, vm;
static unsigned char *ram;
static struct vcpu vcpus[MAX_VCPUS];
static sigjmp_buf on_sigbus;

static void sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

/* Can we, the VMM, read the page? */
static bool can_read(const unsigned char *page)
{
	if (sigsetjmp(on_sigbus, 1))
		return false;
	asm volatile("" : : "r" (*page) : "memory");
	return true;
}

static bool can_read_any(unsigned char *mem, size_t size)
{
	size_t at;

	for (at = 0; at < size; at += PAGE)
		if (can_read(mem + at))
			return true;
	return false;
}

static void *map(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(mem != MAP_FAILED);
	return mem;
}

static int set_slot(unsigned int slot, uint64_t gpa, void *mem, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) ? errno : 0;
}

static void set_segments(int fd)
{
	struct kvm_sregs sregs;

	check(!ioctl(fd, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = 0;
	sregs.ds.limit = 0xffffffff;
	sregs.ds.g = 1;
	check(!ioctl(fd, KVM_SET_SREGS, &sregs));
}

static void add_vcpu(unsigned int id)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct vcpu *vcpu = &vcpus[id];

	vcpu->fd = ioctl(vm, KVM_CREATE_VCPU, id);
	check(vcpu->fd >= 0 && size > 0);
	vcpu->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	check(vcpu->run != MAP_FAILED);
	set_segments(vcpu->fd);
}

static bool is_amd(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(0, &eax, &ebx, &ecx, &edx) &&
	       ebx == signature_AMD_ebx;
}

static void load(void)
{
	static const unsigned char call_amd[] = { 0x0f, 0x01, 0xd9, 0xf4 };
	static const unsigned char call_intel[] = { 0x0f, 0x01, 0xc1, 0xf4 };
	static const unsigned char read[] = { 0x67, 0x8a, 0x03, 0xf4 };
	static const unsigned char write[] = { 0x67, 0x88, 0x03, 0xf4 };
	static const unsigned char out[] = { 0xee, 0xf4 };
	static const unsigned char cpuid[] = { 0x0f, 0xa2, 0xf4 };

	memcpy(ram + CALL, is_amd() ? call_amd : call_intel, 4);
	memcpy(ram + READ, read, sizeof(read));
	memcpy(ram + WRITE, write, sizeof(write));
	memcpy(ram + OUT, out, sizeof(out));
	memcpy(ram + CPUID, cpuid, sizeof(cpuid));
	memset(ram + DATA, 0x5a, RAM - DATA);
}

static void start(void)
{
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(kvm >= 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(vm >= 0);
	ram = map(RAM);
	load();
	check(!set_slot(0, 0, ram, RAM));
	add_vcpu(0);
}

/* Returns the result of KVM_RUN. */
static int enter(struct vcpu *vcpu, unsigned int what, struct kvm_regs *regs)
{
	int ret;

	regs->rip = what;
	regs->rflags = 2;
	check(!ioctl(vcpu->fd, KVM_SET_REGS, regs));
	ret = ioctl(vcpu->fd, KVM_RUN, 0);
	if (!ret)
		check(!ioctl(vcpu->fd, KVM_GET_REGS, regs));
	return ret;
}

static void run_to_hlt(struct vcpu *vcpu, unsigned int what,
		       struct kvm_regs *regs)
{
	check(!enter(vcpu, what, regs));
	check(vcpu->run->exit_reason == KVM_EXIT_HLT);
}

static unsigned char guest_read(struct vcpu *vcpu, uint64_t gpa)
{
	struct kvm_regs regs = { .rbx = gpa };

	run_to_hlt(vcpu, READ, &regs);
	return (unsigned char)regs.rax;
}

static void guest_write(uint64_t gpa, unsigned char value)
{
	struct kvm_regs regs = { .rax = value, .rbx = gpa };

	run_to_hlt(&vcpus[0], WRITE, &regs);
}

static int guest_maps(uint64_t gpa, uint64_t pages, uint64_t attributes)
{
	struct kvm_regs regs = {
		.rax = GMEM_HC_MAP_GPA_RANGE,
		.rbx = gpa,
		.rcx = pages,
		.rdx = attributes,
	};

	run_to_hlt(&vcpus[0], CALL, &regs);
	return (int)regs.rax;
}

/* The VMM gets the exit even if it triggers the conversion. */
static void guest_out(unsigned short port)
{
	struct kvm_regs regs = { .rdx = port };

	check(!enter(&vcpus[0], OUT, &regs));
	check(vcpus[0].run->exit_reason == KVM_EXIT_IO);
	check(vcpus[0].run->io.port == port);
	check(!ioctl(vcpus[0].fd, KVM_RUN, 0));
	check(vcpus[0].run->exit_reason == KVM_EXIT_HLT);
}

static void hold(int *pipe_fds, void *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = PAGE };

	check(!pipe(pipe_fds));
	check(vmsplice(pipe_fds[1], &iov, 1, 0) == (ssize_t)PAGE);
}

static void release(const int *pipe_fds)
{
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* Memory is private before the first instruction and keeps its content. */
static void case_run(void)
{
	start();
	check(can_read(ram) && can_read(ram + DATA));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	check(!can_read_any(ram, RAM));
	guest_write(DATA, 0xa5);
	check(guest_read(&vcpus[0], DATA) == 0xa5);
	check(guest_read(&vcpus[0], RAM - 1) == 0x5a);
}

static void case_io(void)
{
	start();
	check(guest_read(&vcpus[0], DATA) == 0x5a && can_read(ram));
	guest_out(PORT + 1);
	check(can_read(ram));
	guest_out(PORT);
	check(!can_read_any(ram, RAM));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	guest_out(PORT);
}

static void case_map(void)
{
	start();
	check(!guest_maps(DATA, 2, SHARED));
	check(can_read(ram + DATA) && can_read(ram + DATA + PAGE));
	check(!can_read(ram + DATA - PAGE) && !can_read(ram + DATA + 2 * PAGE));
	check(ram[DATA] == 0x5a);
	ram[DATA] = 0x77;
	check(guest_read(&vcpus[0], DATA) == 0x77);
	check(!guest_maps(DATA, 1, PRIVATE));
	check(!can_read(ram + DATA) && can_read(ram + DATA + PAGE));
	check(guest_read(&vcpus[0], DATA) == 0x77);

	check(guest_maps(DATA + 1, 1, SHARED) == -EINVAL);
	check(guest_maps(DATA, 0, SHARED) == -EINVAL);
	check(guest_maps(DATA, 1, 1 << 5) == -EINVAL);
	check(guest_maps(RAM, 1, SHARED) == -EINVAL);
	check(guest_maps(RAM - PAGE, 2, SHARED) == -EINVAL);
	check(guest_maps(DATA, UINT32_MAX, SHARED) == -EINVAL);
	check(!can_read(ram + DATA) && !can_read(ram + RAM - PAGE));
}

/* The ends of the memory, requests that change nothing, and what is not the guest's. */
static void case_map_odd(void)
{
	static const uint64_t pages[] = { 0, RAM - PAGE };
	size_t i;

	start();
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		check(!guest_maps(pages[i], 1, SHARED));
		check(!guest_maps(pages[i], 1, SHARED) && can_read(ram + pages[i]));
		check(!guest_maps(pages[i], 1, PRIVATE));
		check(!guest_maps(pages[i], 1, PRIVATE) && !can_read(ram + pages[i]));
	}
	check(guest_maps(0xfee00000, 1, SHARED) == -EINVAL);
	/* The guest is in real mode: KVM takes 32 bits of each. */
	check(guest_maps(UINT32_MAX - PAGE + 1, 1, SHARED) == -EINVAL);
	check(guest_maps(UINT32_MAX - PAGE + 1, UINT32_MAX, SHARED) == -EINVAL);
	check(guest_maps(0, UINT32_MAX, SHARED) == -EINVAL);
	check(guest_maps(PAGE, UINT32_MAX / PAGE, SHARED) == -EINVAL);
	check(!can_read_any(ram, RAM));
	/* All of it, shared and private again, with what was in it. */
	check(!guest_maps(0, RAM / PAGE, SHARED) && can_read(ram + DATA));
	check(!guest_maps(0, RAM / PAGE, PRIVATE) && !can_read_any(ram, RAM));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
}

static void case_guest(void)
{
	start();
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	check(can_read_any(ram, RAM));
	check(!guest_maps(0, RAM / PAGE, PRIVATE));
	check(!can_read_any(ram, RAM));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
}

/* The VMM holds a page that the guest wants to make private. */
static void case_map_held(void)
{
	int fds[2];

	start();
	check(!guest_maps(DATA, 1, SHARED));
	hold(fds, ram + DATA);
	check(guest_maps(DATA, 1, PRIVATE) == -EAGAIN);
	check(can_read(ram + DATA));
	release(fds);
	check(!guest_maps(DATA, 1, PRIVATE) && !can_read(ram + DATA));
}

/* The VMM gets memory faults that no conversion resolves. */
static void case_fault(void)
{
	struct {
		uint64_t address, size, attributes, flags;
	} private = { LATE, PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0 };
	struct kvm_regs regs = { .rbx = LATE };
	const struct gmem_memory_fault *fault;

	start();
	check(!ioctl(vm, _IOC(_IOC_WRITE, KVMIO, 0xd2, sizeof(private)),
		     &private));
	check(enter(&vcpus[0], READ, &regs) == -1 && errno == EFAULT);
	check(vcpus[0].run->exit_reason == KVM_EXIT_MEMORY_FAULT);
	fault = (const void *)vcpus[0].run->padding;
	check(fault->gpa == LATE && fault->size == PAGE);
	check(fault->flags == KVM_MEMORY_EXIT_FLAG_PRIVATE);
}

static void *reader(void *arg)
{
	int i;

	for (i = 0; i < 200; i++)
		check(guest_read(arg, DATA + (unsigned int)i) == 0x5a);
	return NULL;
}

static void case_threads(void)
{
	pthread_t threads[MAX_VCPUS];
	unsigned int i;

	start();
	for (i = 1; i < MAX_VCPUS; i++)
		add_vcpu(i);
	for (i = 0; i < MAX_VCPUS; i++)
		check(!pthread_create(&threads[i], NULL, reader, &vcpus[i]));
	for (i = 0; i < MAX_VCPUS; i++)
		pthread_join(threads[i], NULL);
	check(!can_read_any(ram, RAM));
}

static void *release_later(void *fds)
{
	usleep(700000);
	release(fds);
	return NULL;
}

static void case_held_short(void)
{
	pthread_t thread;
	int fds[2];

	start();
	hold(fds, ram + DATA);
	check(!pthread_create(&thread, NULL, release_later, fds));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	check(!can_read_any(ram, RAM));
	pthread_join(thread, NULL);
}

static void case_held(void)
{
	int fds[2];

	start();
	hold(fds, ram + DATA);
	guest_read(&vcpus[0], DATA);
}

static void case_late(void)
{
	unsigned char *mem = map(RAM);

	start();
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	memset(mem, 0x33, RAM);
	check(!set_slot(1, LATE, mem, RAM));
	check(!can_read_any(mem, RAM));
	check(guest_read(&vcpus[0], LATE + 5) == 0x33);
	/* Discarded memory is zero and stays private. */
	check(!madvise(mem, PAGE, MADV_DONTNEED));
	check(!guest_read(&vcpus[0], LATE + 5) && !can_read(mem));
	check(guest_read(&vcpus[0], LATE + PAGE) == 0x33);
	/* Delete the slot and add it at another address. */
	check(!set_slot(1, 0, NULL, 0) && !can_read_any(mem, RAM));
	check(!set_slot(2, 2 * LATE, mem, RAM) && !can_read_any(mem, RAM));
	check(guest_read(&vcpus[0], 2 * LATE + PAGE) == 0x33);
}

static void case_alias(void)
{
	start();
	check(!set_slot(1, LATE, ram, RAM));
	guest_read(&vcpus[0], DATA);
}

static void case_alias_late(void)
{
	start();
	check(!set_slot(1, LATE, ram, RAM) && !set_slot(1, 0, NULL, 0));
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	set_slot(1, LATE, ram, RAM);
}

static void case_left(void)
{
	uintptr_t heap = (uintptr_t)sbrk((intptr_t)(2 * PAGE));

	start();
	set_slot(1, LATE, (void *)((heap + PAGE - 1) & ~(PAGE - 1)), PAGE);
}

static void case_type(void)
{
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ioctl(kvm, KVM_CREATE_VM, 2);
}

static void case_never(void)
{
	start();
	check(guest_read(&vcpus[0], DATA) == 0x5a && can_read(ram));
}

static void case_smm(void)
{
	start();
	check(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE) == 1);
	check(!ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM));
	check(set_slot(1 << 16, LATE, map(PAGE), PAGE) == EINVAL);
}

/* A child inherits the mappings but cannot read private memory either. */
static void case_fork(void)
{
	int status;
	pid_t pid;

	start();
	check(guest_read(&vcpus[0], DATA) == 0x5a);
	pid = fork();
	if (!pid) {
		check(!can_read_any(ram, RAM));
		check(ioctl(vcpus[0].fd, KVM_RUN, 0) == -1 && errno == EIO);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid && !status);
	check(guest_read(&vcpus[0], DATA) == 0x5a);
}

static void case_cpuid(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };
	struct kvm_regs regs = { .rax = CPUID_FEATURES };

	start();
	check(!ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid));
	check(!ioctl(vcpus[0].fd, KVM_SET_CPUID2, &cpuid));
	run_to_hlt(&vcpus[0], CPUID, &regs);
	check(regs.rax >> 16 & 1);
}

static const struct {
	const char *name;
	const char *from;
	int status;		/* expected, under gmem-run */
	void (*run)(void);
} cases[] = {
	{ "run", "run", 0, case_run },
	{ "io", "io:0x80", 0, case_io },
	{ "guest", "guest", 0, case_guest },
	{ "map", "run", 0, case_map },
	{ "map-odd", "run", 0, case_map_odd },
	{ "map-held", "run", 0, case_map_held },
	{ "fault", "run", 0, case_fault },
	{ "threads", "run", 0, case_threads },
	{ "late", "run", 0, case_late },
	{ "smm", "run", 0, case_smm },
	{ "fork", "run", 0, case_fork },
	{ "cpuid", "run", 0, case_cpuid },
	{ "held-short", "run", 0, case_held_short },
	{ "held", "run", 3, case_held },
	{ "alias", "run", 3, case_alias },
	{ "alias-late", "run", 3, case_alias_late },
	{ "left", "run", 3, case_left },
	{ "type", "run", 3, case_type },
	{ "never", "io:0x80", 3, case_never },
};

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = sigbus };
	size_t i;

	if (argc != 2) {
		fputs("usage: vmm list|CASE\n", stderr);
		return 2;
	}
	sigaction(SIGBUS, &action, NULL);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!strcmp(argv[1], "list")) {
			printf("%s %s %d\n", cases[i].name, cases[i].from,
			       cases[i].status);
		} else if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 0;
		}
	}
	return strcmp(argv[1], "list") ? 2 : 0;
}
