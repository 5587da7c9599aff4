// SPDX-License-Identifier: GPL-2.0
/*
 * gmem-bench [-r ROUNDS] [GROUP...]: path lengths of guest_memfd, in nanoseconds
 * of CLOCK_MONOTONIC. In the counting emulator (qemu/l1 -I) a nanosecond is an
 * instruction. See README in this folder.
 *
 * Uses nothing but the public ABI and asks for capabilities, so that it runs on
 * any kernel; what a kernel does not have is reported with the reason.
 *
 * Output: a line a row, "name<TAB>value<TAB>note". The value is "-" where there
 * is none. All lines come at the end: writing one makes interrupts.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/const.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>

/* Numbers of the ABI, for builds against older headers. */
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD		_BITUL(2)
#define KVM_CAP_VM_TYPES		235
#define KVM_CAP_PRE_FAULT_MEMORY	236
#define KVM_MEMORY_ATTRIBUTE_PRIVATE	_BITULL(3)
#define KVM_SET_USER_MEMORY_REGION2	0x40a0ae49
#define KVM_SET_MEMORY_ATTRIBUTES	0x4020aed2
#define KVM_CREATE_GUEST_MEMFD		0xc040aed4
#define KVM_PRE_FAULT_MEMORY		0xc040aed5
struct kvm_userspace_memory_region2 {
	__u32 slot, flags;
	__u64 guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
	__u32 guest_memfd, pad1;
	__u64 pad2[14];
};

struct kvm_create_guest_memfd {
	__u64 size, flags, reserved[6];
};

struct kvm_memory_attributes {
	__u64 address, size, attributes, flags;
};

struct kvm_pre_fault_memory {
	__u64 gpa, size, flags, padding[5];
};
#endif

#define CAP_GUEST_MEMFD_FLAGS		244
#define CAP_GMEM_ATTRIBUTES		250
#define SET_MEMORY_ATTRIBUTES2		0xc080aed2
struct attributes2 {
	__u64 offset, size, attributes, flags, error_offset, reserved[11];
};

#define FLAG_SHARED		3ul	/* MMAP | INIT_SHARED */
#define FLAG_NO_DIRECT_MAP	4ul
#define ORDINARY_VM		0
#define SW_PROTECTED_VM		1

#define PAGE		4096ul
#define GIB		0x40000000ul
#define CODE_GPA	0x1000ul
#define TEST_GPA	(256ul << 20)
#define TEST_SIZE	(64ul << 20)
#define TEST_PAGES	(TEST_SIZE / PAGE)
#define FRAGMENTS_SIZE	(GIB / 2)
#define ATTR_GPA	(64 * GIB)
#define ATTR_SIZE	(64 * GIB)
#define ATTR_VMS	64
#define PAIRS		128
#define CREATIONS	4096
#define MAX_ROUNDS	15
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MAX_SAMPLES	(MAX_ROUNDS * PAIRS)

struct vm {
	int fd, vcpu;
	struct kvm_run *run;
	__u8 *code;
};

struct row {
	const char *name, *suffix, *note;
	double samples[MAX_SAMPLES];
	int nr_samples;
};

static const char *const attribute_rows[] = {
	"attr-64g", "attr-64g-slot", "attr-64g-memory", NULL };
static const char *const convert_rows[] = {
	"convert-to-shared", "convert-to-private", "private-refault", "convert-4k", NULL };
static const char *const private_rows[] = {
	"private-fault-cold", "punch-hole", "fallocate", NULL };
static const char *const prefault_rows[] = { "prefault-cold", NULL };
static const char *const shared_rows[] = {
	"gmem-only-fault-cold", "host-fault-present", "host-fault-cold", NULL };
static const char *const inplace_rows[] = {
	"inplace-to-private", "inplace-to-shared", "inplace-4k", NULL };
static const char *const create_rows[] = { "create-close", NULL };

static const char *const no_protected = "no software-protected VMs";
static const char *const no_ndm = "no NO_DIRECT_MAP";

static int kvm;
static struct row rows[64];
static unsigned int nr_rows;
static __u64 clock_cost;

static __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static __u64 since(__u64 start)
{
	return now() - start - clock_cost;
}

static void calibrate(void)
{
	__u64 t, best = ~0ull;
	int i;

	for (i = 0; i < 64; i++) {
		t = now();
		t = now() - t;
		if (t < best)
			best = t;
	}
	clock_cost = best;
}

static struct row *get_row(const char *name, const char *suffix)
{
	struct row *row;
	unsigned int i;

	for (i = 0; i < nr_rows; i++)
		if (!strcmp(rows[i].name, name) && !strcmp(rows[i].suffix, suffix))
			return &rows[i];
	if (nr_rows == ARRAY_SIZE(rows))
		errx(1, "too many rows");
	row = &rows[nr_rows++];
	row->name = name;
	row->suffix = suffix;
	row->note = "";
	return row;
}

static void record(const char *name, const char *suffix, double value)
{
	struct row *row = get_row(name, suffix);

	if (row->nr_samples == MAX_SAMPLES)
		errx(1, "too many samples");
	row->samples[row->nr_samples++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The median: a timer may hit a call, and the page allocator may find itself in
 * an unusual state, but not most of the time.
 */
static double median(struct row *row)
{
	qsort(row->samples, row->nr_samples, sizeof(double), compare);
	return row->samples[row->nr_samples / 2];
}

/* Rows that this kernel does not have. */
static void cannot(const char *const *names, const char *suffix, const char *why)
{
	for (; *names; names++)
		get_row(*names, suffix)->note = why;
}

static void print_rows(void)
{
	unsigned int i;

	for (i = 0; i < nr_rows; i++) {
		printf("%s%s\t", rows[i].name, rows[i].suffix);
		if (rows[i].nr_samples)
			printf("%.1f", median(&rows[i]));
		else
			printf("-");
		printf("\t%s\n", rows[i].note);
	}
}

static int xioctl(int fd, unsigned long req, void *arg, const char *what)
{
	int r = ioctl(fd, req, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

static unsigned long capability(int fd, unsigned long cap)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return r > 0 ? r : 0;
}

static void set_region(struct vm *vm, int slot, __u64 gpa, __u64 size,
		       void *addr, int gmem)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = gmem < 0 ? 0 : KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)addr,
		.guest_memfd = gmem < 0 ? 0 : gmem,
	};

	xioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region, "set region");
}

static int create_gmem(struct vm *vm, __u64 size, __u64 flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

	return xioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &args, "create guest_memfd");
}

static void set_private(struct vm *vm, __u64 gpa, __u64 size, bool private)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	xioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs, "set attributes");
}

static __u64 time_set_private(struct vm *vm, __u64 gpa, __u64 size,
			      bool private)
{
	__u64 t = now();

	set_private(vm, gpa, size, private);
	return since(t);
}

static __u64 time_convert(int gmem, __u64 offset, __u64 size, bool private)
{
	struct attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};
	__u64 t = now();

	xioctl(gmem, SET_MEMORY_ATTRIBUTES2, &attrs, "set attributes of the file");
	return since(t);
}

static __u64 time_fallocate(int gmem, int mode)
{
	__u64 t = now();

	if (fallocate(gmem, FALLOC_FL_KEEP_SIZE | mode, 0, TEST_SIZE))
		err(1, "fallocate");
	return since(t);
}

static void *anon(__u64 size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static bool has_protected(void)
{
	return capability(kvm, KVM_CAP_VM_TYPES) & (1 << SW_PROTECTED_VM);
}

static int create_bare_vm(unsigned long type)
{
	int fd = ioctl(kvm, KVM_CREATE_VM, type);

	if (fd < 0)
		err(1, "create VM");
	return fd;
}

/* Flat 32-bit protected mode: write to ecx pages from edi on, then halt. */
static void create_vm(struct vm *vm, unsigned long type)
{
	static const __u8 code[] = {
		0x89, 0x07,				/* 1: mov [edi], eax */
		0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* add edi, 4096 */
		0x49,					/* dec ecx */
		0x75, 0xf5,				/* jnz 1b */
		0xf4,					/* hlt */
	};
	struct kvm_sregs sregs;
	struct kvm_segment *seg;
	int size;

	vm->fd = create_bare_vm(type);
	vm->code = anon(16 * PAGE);
	memcpy(vm->code + CODE_GPA, code, sizeof(code));
	set_region(vm, 0, 0, 16 * PAGE, vm->code, -1);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		err(1, "create vCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		err(1, "mmap vCPU");

	xioctl(vm->vcpu, KVM_GET_SREGS, &sregs, "get sregs");
	sregs.cr0 |= 1;
	seg = &sregs.cs;
	*seg = (struct kvm_segment) { .limit = ~0u, .selector = 8, .type = 11,
				      .present = 1, .db = 1, .s = 1, .g = 1 };
	sregs.ds = *seg;
	sregs.ds.type = 3;
	sregs.ds.selector = 16;
	sregs.es = sregs.ds;
	sregs.ss = sregs.ds;
	xioctl(vm->vcpu, KVM_SET_SREGS, &sregs, "set sregs");
}

static void destroy_vm(struct vm *vm)
{
	munmap(vm->run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(vm->vcpu);
	close(vm->fd);
	munmap(vm->code, 16 * PAGE);
}

/* Let the guest touch pages; returns the time it took. */
static __u64 guest_touch(struct vm *vm, __u64 gpa, __u64 pages)
{
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2, .rdi = gpa,
				 .rcx = pages, .rax = 1 };
	__u64 t;

	xioctl(vm->vcpu, KVM_SET_REGS, &regs, "set regs");
	t = now();
	xioctl(vm->vcpu, KVM_RUN, NULL, "run");
	t = since(t);
	if (vm->run->exit_reason != KVM_EXIT_HLT)
		errx(1, "unexpected exit %u", vm->run->exit_reason);
	return t;
}

static __u64 host_touch(__u8 *mem)
{
	__u64 i, t = now();

	for (i = 0; i < TEST_PAGES; i++) {
		mem[i * PAGE] = 1;
		/* The compiler must not leave one out. */
		__asm__ volatile("" : : : "memory");
	}
	return since(t);
}

static double per_page(__u64 t)
{
	return (double)t / TEST_PAGES;
}

/* Let background work come to an end: kfree_rcu() may wait for seconds. */
static void settle(void)
{
	sleep(12);
}

/*
 * Time to set a range, warm. A kernel whose cost grows with the size is given
 * less, and the row says so.
 */
static void time_attributes(struct vm *vm, const char *name)
{
	__u64 t = time_set_private(vm, ATTR_GPA, GIB, true);
	unsigned int i, scale = 1, calls = 16;

	set_private(vm, ATTR_GPA, GIB, false);
	if (t > 10000000) {
		get_row(name, "")->note = "64 times 1 GiB";
		scale = ATTR_SIZE / GIB;
		calls = 2;
	}
	for (i = 0; i < calls; i++) {
		t = time_set_private(vm, ATTR_GPA, ATTR_SIZE / scale, true);
		set_private(vm, ATTR_GPA, ATTR_SIZE / scale, false);
		record(name, "", (double)t * scale);
	}
}

struct slab {
	char name[64];
	long objects, size;
};

/* Hand back what caches keep for later use, so that objects can be counted. */
static void shrink_slabs(const struct slab *slabs, int nr)
{
	char path[sizeof(slabs->name) + 64];
	int i, fd;

	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%.63s/shrink",
			 slabs[i].name);
		fd = open(path, O_WRONLY);
		if (fd < 0 || write(fd, "1", 1) != 1)
			err(1, "%s", path);
		close(fd);
	}
}

static int read_slabs(struct slab *slabs, int max)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512];
	int nr = 0;

	if (!f)
		err(1, "/proc/slabinfo");
	while (nr < max && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld %*d %ld", slabs[nr].name,
			   &slabs[nr].objects, &slabs[nr].size) == 3)
			nr++;
	fclose(f);
	return nr;
}

/* What the kernel allocates otherwise, in bytes. */
static long other_memory(void)
{
	static const char *const keys[] = { "VmallocUsed", "PageTables",
					    "SecPageTables", "Percpu", "KernelStack" };
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128], key[64];
	long kib, sum = 0;
	unsigned int i;

	if (!f)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %ld kB", key, &kib) != 2)
			continue;
		for (i = 0; i < ARRAY_SIZE(keys); i++)
			if (!strcmp(key, keys[i]))
				sum += kib * 1024;
	}
	fclose(f);
	return sum;
}

/*
 * The memory that attributes take: what each of @nr virtual machines allocates.
 * Fewer objects than one for each are somebody else's.
 */
static long attribute_memory(const int *vms, int nr, __u64 size)
{
	static struct slab before[512], after[512];
	int i, j, nr_before, nr_after;
	long other, bytes;

	nr_before = read_slabs(before, 512);
	shrink_slabs(before, nr_before);
	settle();
	nr_before = read_slabs(before, 512);
	other = other_memory();
	for (i = 0; i < nr; i++) {
		struct vm vm = { .fd = vms[i] };

		set_private(&vm, ATTR_GPA, size, true);
	}
	shrink_slabs(before, nr_before);
	settle();
	nr_after = read_slabs(after, 512);
	bytes = other_memory() - other;
	bytes = bytes > 0 ? bytes / nr : 0;
	for (i = 0; i < nr_after; i++)
		for (j = 0; j < nr_before; j++)
			if (!strcmp(after[i].name, before[j].name) &&
			    after[i].objects > before[j].objects)
				bytes += (after[i].objects - before[j].objects) / nr *
					 after[i].size;
	return bytes;
}

static void count_attribute_memory(void)
{
	int i, nr = ATTR_VMS, scale = 1, vms[ATTR_VMS];
	const char *name = "attr-64g-memory";

	/* The other row knows whether size matters. */
	if (*get_row("attr-64g", "")->note) {
		get_row(name, "")->note = "64 times 1 GiB";
		scale = ATTR_SIZE / GIB;
		nr = 1;
	}
	for (i = 0; i < nr; i++)
		vms[i] = create_bare_vm(SW_PROTECTED_VM);
	record(name, "", (double)attribute_memory(vms, nr, ATTR_SIZE / scale) * scale);
	for (i = 0; i < nr; i++)
		close(vms[i]);
}

static void bench_attributes(void)
{
	struct vm vm;
	void *mem;
	int gmem;

	if (!has_protected()) {
		cannot(attribute_rows, "", no_protected);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	time_attributes(&vm, "attr-64g");
	mem = anon(ATTR_SIZE);
	gmem = create_gmem(&vm, ATTR_SIZE, 0);
	set_region(&vm, 1, ATTR_GPA, ATTR_SIZE, mem, gmem);
	guest_touch(&vm, 0x2000, 1);
	time_attributes(&vm, "attr-64g-slot");
	close(gmem);
	destroy_vm(&vm);
	munmap(mem, ATTR_SIZE);
	count_attribute_memory();
}

static __u64 prefault(struct vm *vm)
{
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = TEST_SIZE };
	__u64 t = now();

	while (range.size)
		xioctl(vm->vcpu, KVM_PRE_FAULT_MEMORY, &range, "prefault");
	return since(t);
}

static void convert_dual(struct vm *vm)
{
	__u64 t;
	int i;

	record("convert-to-shared", "",
	       per_page(time_set_private(vm, TEST_GPA, TEST_SIZE, false)));
	/* Nothing is mapped any more. Short enough for a timer to matter. */
	for (i = 0; i < 5; i++) {
		record("convert-to-private", "",
		       per_page(time_set_private(vm, TEST_GPA, TEST_SIZE, true)));
		if (i < 4)
			set_private(vm, TEST_GPA, TEST_SIZE, false);
	}
	record("private-refault", "", per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));

	for (i = 0; i < PAIRS; i++) {
		t = time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, false);
		t += time_set_private(vm, TEST_GPA + 2 * i * PAGE, PAGE, true);
		record("convert-4k", "", t / 2.);
	}
}

/* Private memory of a slot with two backings; @extra are more file flags. */
static void private_memory(struct vm *vm, const char *suffix, __u64 extra)
{
	void *mem = anon(TEST_SIZE);
	int gmem = create_gmem(vm, TEST_SIZE, extra);

	set_region(vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	set_private(vm, TEST_GPA, TEST_SIZE, true);
	guest_touch(vm, 0x2000, 1);

	record("private-fault-cold", suffix,
	       per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));
	if (!extra)
		convert_dual(vm);
	record("punch-hole", suffix,
	       per_page(time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE)));
	record("fallocate", suffix, per_page(time_fallocate(gmem, 0)));
	time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE);

	if (capability(vm->fd, KVM_CAP_PRE_FAULT_MEMORY))
		record("prefault-cold", suffix, per_page(prefault(vm)));
	else
		cannot(prefault_rows, suffix, "no KVM_CAP_PRE_FAULT_MEMORY");
	set_region(vm, 1, TEST_GPA, 0, mem, gmem);
	close(gmem);
	munmap(mem, TEST_SIZE);
}

static void bench_private(void)
{
	struct vm vm;

	if (!has_protected()) {
		cannot(private_rows, "", no_protected);
		cannot(prefault_rows, "", no_protected);
		cannot(convert_rows, "", no_protected);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	private_memory(&vm, "", 0);
	if (capability(vm.fd, CAP_GUEST_MEMFD_FLAGS) & FLAG_NO_DIRECT_MAP) {
		private_memory(&vm, "-ndm", FLAG_NO_DIRECT_MAP);
	} else {
		cannot(private_rows, "-ndm", no_ndm);
		cannot(prefault_rows, "-ndm", no_ndm);
	}
	destroy_vm(&vm);
}

static void bench_create(void)
{
	struct vm vm;
	__u64 t;
	int i;

	if (!has_protected()) {
		cannot(create_rows, "", no_protected);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	settle();
	t = now();
	for (i = 0; i < CREATIONS; i++)
		close(create_gmem(&vm, TEST_SIZE, 0));
	record("create-close", "", (double)since(t) / CREATIONS);
	destroy_vm(&vm);
}

static __u8 *map_gmem(int gmem)
{
	void *mem = mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap guest_memfd");
	return mem;
}

/*
 * Page tables stay, so that they are there in both rows of host faults; but memory
 * that nobody can refer to is not for MADV_DONTNEED. There 32 page tables are part
 * of the row.
 */
static void unmap_pages(__u8 *mem, int gmem)
{
	if (madvise(mem, TEST_SIZE, MADV_DONTNEED) &&
	    mmap(mem, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, gmem,
		 0) == MAP_FAILED)
		err(1, "mmap guest_memfd");
}

static void shared_memory(struct vm *vm, const char *suffix, __u64 extra)
{
	int gmem = create_gmem(vm, TEST_SIZE, FLAG_SHARED | extra);
	__u8 *mem = map_gmem(gmem);

	set_region(vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	guest_touch(vm, 0x2000, 1);

	record("gmem-only-fault-cold", suffix,
	       per_page(guest_touch(vm, TEST_GPA, TEST_PAGES)));
	host_touch(mem);
	unmap_pages(mem, gmem);
	record("host-fault-present", suffix, per_page(host_touch(mem)));
	time_fallocate(gmem, FALLOC_FL_PUNCH_HOLE);
	record("host-fault-cold", suffix, per_page(host_touch(mem)));

	set_region(vm, 1, TEST_GPA, 0, mem, gmem);
	munmap(mem, TEST_SIZE);
	close(gmem);
}

static void bench_shared(void)
{
	unsigned long flags;
	struct vm vm;

	create_vm(&vm, ORDINARY_VM);
	flags = capability(vm.fd, CAP_GUEST_MEMFD_FLAGS);
	if ((flags & FLAG_SHARED) == FLAG_SHARED)
		shared_memory(&vm, "", 0);
	else
		cannot(shared_rows, "", "a guest_memfd cannot be mapped");
	if ((flags & FLAG_SHARED) == FLAG_SHARED && (flags & FLAG_NO_DIRECT_MAP))
		shared_memory(&vm, "-ndm", FLAG_NO_DIRECT_MAP);
	else
		cannot(shared_rows, "-ndm", no_ndm);
	destroy_vm(&vm);
}

/* Conversion in place, of pages that guest and host have mapped. */
static void bench_inplace(void)
{
	__u64 t;
	struct vm vm;
	__u8 *mem;
	int i, gmem;

	if (!has_protected()) {
		cannot(inplace_rows, "", no_protected);
		return;
	}
	create_vm(&vm, SW_PROTECTED_VM);
	if (!capability(vm.fd, CAP_GMEM_ATTRIBUTES)) {
		cannot(inplace_rows, "", "no conversion in place");
		destroy_vm(&vm);
		return;
	}
	gmem = create_gmem(&vm, TEST_SIZE, FLAG_SHARED);
	mem = map_gmem(gmem);
	set_region(&vm, 1, TEST_GPA, TEST_SIZE, mem, gmem);
	host_touch(mem);
	guest_touch(&vm, TEST_GPA, TEST_PAGES);
	settle();

	record("inplace-to-private", "", per_page(time_convert(gmem, 0, TEST_SIZE, true)));
	guest_touch(&vm, TEST_GPA, TEST_PAGES);
	record("inplace-to-shared", "", per_page(time_convert(gmem, 0, TEST_SIZE, false)));
	host_touch(mem);
	guest_touch(&vm, TEST_GPA, TEST_PAGES);
	for (i = 0; i < PAIRS; i++) {
		t = time_convert(gmem, 2 * i * PAGE, PAGE, true);
		t += time_convert(gmem, 2 * i * PAGE, PAGE, false);
		record("inplace-4k", "", t / 2.);
	}
	munmap(mem, TEST_SIZE);
	close(gmem);
	destroy_vm(&vm);
}

static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "attributes",	bench_attributes },
	{ "private",	bench_private },
	{ "shared",	bench_shared },
	{ "inplace",	bench_inplace },
	{ "create",	bench_create },
};

static bool chosen(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/*
 * Take what small pieces of memory the page allocator has left from booting, and
 * keep them: pages then come from, and go back to, large blocks. How much it has
 * to split and merge differs from boot to boot otherwise.
 */
static void take_fragments(void)
{
	struct vm vm;

	if (!has_protected())
		return;
	vm.fd = create_bare_vm(SW_PROTECTED_VM);
	if (fallocate(create_gmem(&vm, FRAGMENTS_SIZE, 0), FALLOC_FL_KEEP_SIZE, 0,
		      FRAGMENTS_SIZE))
		err(1, "fallocate");
}

/* The same addresses every time. */
static void no_randomisation(char **argv)
{
	int old = personality(0xffffffff);

	if (old & ADDR_NO_RANDOMIZE)
		return;
	personality(old | ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
	err(1, "exec");
}

int main(int argc, char **argv)
{
	int opt, round, rounds = 9;
	unsigned int i;

	no_randomisation(argv);
	while ((opt = getopt(argc, argv, "r:")) != -1) {
		if (opt != 'r' || atoi(optarg) < 1 || atoi(optarg) > MAX_ROUNDS) {
			fprintf(stderr, "usage: gmem-bench [-r ROUNDS] [GROUP...]\n");
			return 2;
		}
		rounds = atoi(optarg);
	}
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		err(1, "/dev/kvm");
	calibrate();
	take_fragments();
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		for (round = 0; chosen(groups[i].name, argv + optind) && round < rounds; round++)
			groups[i].run();
	print_rows();
	return 0;
}
