// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_huge_race_test: everything that breaks up blocks of 2 MiB, at once
 *
 * Two vCPUs write to pages that are spread over a few blocks and read them back,
 * while threads of the host convert, punch and populate ranges that begin and end
 * anywhere, touch the memory, cause memory errors, delete the slot, toggle dirty
 * logging, and ask the kernel to migrate, reclaim and collapse the memory.  A vCPU may
 * read what it has just written, or zero where holes are punched; the host may see
 * nothing but what the owner of a page has written.
 *
 * Options: -t SECONDS per race (default 2), -r NAME of a race
 *
 * Machine: -n -m 4G
 * Parameters: kvm.nx_huge_pages=force
 * Append: kvm-arm.mode=nvhe
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mman.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "guest_memfd_private.h"
#include "guest_memfd_stress.h"

/* Four blocks. */
#define NR_PAGES	2048
#include "guest_memfd_fixture.h"

#define BLOCK_PAGES	512
#define NR_VCPUS	2
/* The guest uses every page whose number is a multiple of this, in turns. */
#define PAGE_STRIDE	31
#define WORD_STRIDE	61
#define MAX_STEPS	5
/* Each memory error takes a page from the machine. */
#define MAX_ERRORS	64

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

typedef void (*step_fn)(unsigned int *seed);

struct race {
	const char *name;
	step_fn steps[MAX_STEPS];
	bool zero_allowed;
	bool old_allowed;
	bool errors;
};

static struct kvm_vcpu *vcpus[NR_VCPUS];
static const struct race *race;
static int fd, nr_errors;
static bool protected;

/* Synced to the guest. */
static bool zero_allowed, old_allowed;

static __thread sigjmp_buf sigbus_jmp;
static __thread bool sigbus_expected;

/* The process may be told of a memory error at any time. */
static void sigbus_handler(int sig, siginfo_t *info, void *context)
{
	if (sigbus_expected)
		siglongjmp(sigbus_jmp, 1);
	if (info->si_code != BUS_MCEERR_AO)
		_exit(KSFT_FAIL);
}

static uint64_t owner(uint64_t page)
{
	return page / PAGE_STRIDE % NR_VCPUS + 1;
}

static void guest_check(const uint64_t *p, uint64_t token)
{
	uint64_t i, val;

	for (i = 0; i < page_size / sizeof(*p); i += WORD_STRIDE) {
		val = gmem_load(&p[i]);
		if (val == token || (zero_allowed && !val))
			continue;
		GUEST_ASSERT_2(old_allowed && val < token &&
			       val >> GMEM_TOKEN_SHIFT == token >> GMEM_TOKEN_SHIFT, val, token);
	}
}

static void guest_code(uint64_t id)
{
	uint64_t token = id << GMEM_TOKEN_SHIFT, page, i;

	for (;;) {
		token++;
		for (page = 0; page < NR_PAGES; page += PAGE_STRIDE) {
			uint64_t *p = (uint64_t *)(GPA + page * page_size);

			if (page / PAGE_STRIDE % NR_VCPUS + 1 != id)
				continue;
			for (i = 0; i < page_size / sizeof(*p); i += WORD_STRIDE)
				gmem_store(&p[i], token);
			guest_check(p, token);
		}
		GUEST_SYNC(token);
	}
}

static uint64_t random_page(unsigned int *seed)
{
	return rand_r(seed) % (NR_PAGES / PAGE_STRIDE) * PAGE_STRIDE;
}

/* A few pages, a few blocks, or something between. */
static void random_range(unsigned int *seed, uint64_t *offset, uint64_t *len)
{
	uint64_t first, nr;

	switch (rand_r(seed) % 3) {
	case 0:
		first = rand_r(seed) % NR_PAGES;
		nr = 1 + rand_r(seed) % 4;
		break;
	case 1:
		first = rand_r(seed) % (NR_PAGES / BLOCK_PAGES) * BLOCK_PAGES;
		nr = BLOCK_PAGES * (1 + rand_r(seed) % 2);
		break;
	default:
		first = rand_r(seed) % NR_PAGES;
		nr = 1 + rand_r(seed) % NR_PAGES;
	}
	*offset = first * page_size;
	*len = min_t(uint64_t, nr, NR_PAGES - first) * page_size;
}

/* EAGAIN: somebody has a reference to a page, and may for a while. */
static void step_convert(unsigned int *seed)
{
	uint64_t offset, len, attrs = rand_r(seed) % 2 ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;

	random_range(seed, &offset, &len);
	if (__gmem_set_attributes(fd, offset, len, attrs, NULL))
		TEST_ASSERT(attrs && errno == EAGAIN, "errno %d", errno);
}

static void step_punch(unsigned int *seed)
{
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	gmem_punch(fd, offset, len);
}

static void step_fallocate(unsigned int *seed)
{
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	gmem_fallocate(fd, offset, len);
}

/* Words of a page that the host may not be able to read. */
static void step_look(unsigned int *seed)
{
	uint64_t page = random_page(seed), val;
	uint64_t *p = (void *)mem + page * page_size;

	sigbus_expected = true;
	if (!sigsetjmp(sigbus_jmp, 1)) {
		val = READ_ONCE(p[rand_r(seed) % (page_size / sizeof(*p)) /
				  WORD_STRIDE * WORD_STRIDE]);
		TEST_ASSERT(!val || val >> GMEM_TOKEN_SHIFT == owner(page),
			    "Page %lu holds 0x%lx", page, val);
	}
	sigbus_expected = false;
}

/* The host writes where nobody else does. */
static void step_write(unsigned int *seed)
{
	uint64_t page = random_page(seed) + 1;

	sigbus_expected = true;
	if (!sigsetjmp(sigbus_jmp, 1))
		WRITE_ONCE(mem[page * page_size], 1);
	sigbus_expected = false;
}

/* Whether advice has an effect depends on the state of the memory. */
static void step_advise(unsigned int *seed)
{
	static const int advices[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE, MADV_DONTNEED, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_SOFT_OFFLINE, MADV_POPULATE_WRITE,
	};
	uint64_t offset, len;

	random_range(seed, &offset, &len);
	madvise(mem + offset, len, advices[rand_r(seed) % ARRAY_SIZE(advices)]);
}

static void step_compact(unsigned int *seed)
{
	gmem_write_file("/proc/sys/vm/compact_memory", "1");
	usleep(rand_r(seed) % 20000);
}

/* A hole takes the page with the error out of the file. */
static void step_error(unsigned int *seed)
{
	uint64_t offset = random_page(seed) * page_size;

	usleep(rand_r(seed) % 20000);
	if (__atomic_fetch_add(&nr_errors, 1, __ATOMIC_RELAXED) < MAX_ERRORS &&
	    !madvise(mem + offset, page_size, MADV_HWPOISON))
		usleep(rand_r(seed) % 2000);
	gmem_punch(fd, offset, page_size);
}

static void step_delete_slot(unsigned int *seed)
{
	delete_slot();
	set_slot(SLOT, GPA, fd, 0, size);
	usleep(rand_r(seed) % 2000);
}

static void step_toggle_log(unsigned int *seed)
{
	uint64_t bitmap[NR_PAGES / 64];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bitmap };

	/* EINVAL: it is so already. */
	if (__set_slot(fd, rand_r(seed) % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0, size))
		TEST_ASSERT(errno == EINVAL, "Cannot set flags, errno %d", errno);
	if (__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log))
		TEST_ASSERT(errno == ENOENT, "Cannot get the log, errno %d", errno);
	usleep(rand_r(seed) % 2000);
}

static const struct race races[] = {
	{ "convert", { step_convert, step_convert, step_look, step_write } },
	{ "convert-log", { step_convert, step_toggle_log, step_look, step_advise } },
	{ "punch", { step_punch, step_fallocate, step_look, step_write, step_advise },
	  .zero_allowed = true },
	{ "convert-punch", { step_convert, step_punch, step_fallocate, step_look, step_write },
	  .zero_allowed = true },
	{ "advise", { step_advise, step_advise, step_compact, step_write, step_look } },
	{ "error", { step_error, step_convert, step_look, step_write, step_advise },
	  .zero_allowed = true, .errors = true },
	{ "error-punch", { step_error, step_punch, step_fallocate, step_look, step_compact },
	  .zero_allowed = true, .errors = true },
	{ "delete", { step_delete_slot, step_convert, step_punch, step_look, step_advise },
	  .zero_allowed = true, .old_allowed = true },
};

static __thread int nr_runs;

static void prefault(struct kvm_vcpu *vcpu)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = size };

	/* It may fail when there is no slot, or where there is a memory error. */
	if (nr_runs++ % 4 == 3 && __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range))
		TEST_ASSERT(old_allowed || race->errors, "Prefault failed, errno %d", errno);
}

static void *step_thread(void *arg)
{
	unsigned int seed = (uintptr_t)&seed >> 4;
	step_fn step = arg;

	while (!gmem_stress_stopped()) {
		step(&seed);
		gmem_stress_count_step();
	}
	errno = 0;
	return NULL;
}

static void start(void)
{
	int i;

	nr_errors = 0;
	zero_allowed = race->zero_allowed;
	old_allowed = race->old_allowed;
	vm = gmem_create_vm(protected, NR_VCPUS, guest_code, vcpus);
	gmem_catch_exceptions(vm, vcpus, NR_VCPUS);
	gmem_guest_map(vm, GPA, size);
	fd = new_slot(GMEM_SHARED);
	/* The host may map half of the memory by 2 MiB in a protected VM, too. */
	ASSERT_OK(madvise(mem, size / 2, MADV_HUGEPAGE));
	sync_global_to_guest(vm, page_size);
	sync_global_to_guest(vm, zero_allowed);
	sync_global_to_guest(vm, old_allowed);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_args_set(vcpus[i], 1, (uint64_t)i + 1);
}

static void run_race(const void *one)
{
	int i;

	race = one;
	gmem_stress_reset();
	gmem_stress.mmio_allowed = race->old_allowed;
	gmem_stress.faults_allowed = race->old_allowed;
	gmem_stress.errors_allowed = race->errors;
	gmem_stress.before_run = prefault;
	start();
	for (i = 0; i < NR_VCPUS; i++)
		gmem_stress_add_vcpu(vcpus[i]);
	for (i = 0; i < MAX_STEPS && race->steps[i]; i++)
		if (protected || race->steps[i] != step_convert)
			gmem_stress_add_thread(step_thread, race->steps[i]);
	gmem_stress_wait();
	stop_vm(fd);
	ksft_print_msg("%s: %lu guest rounds, %lu steps\n", race->name, gmem_stress.nr_syncs,
		       gmem_stress.nr_steps);
	TEST_ASSERT(gmem_stress.nr_syncs && gmem_stress.nr_steps,
		    "The guests or the threads made no progress");
}

int main(int argc, char *argv[])
{
	struct sigaction sa = { .sa_sigaction = sigbus_handler, .sa_flags = SA_SIGINFO };

	init_sizes();
	gmem_require_mmap();
	__TEST_REQUIRE(page_size == MIN_PAGE_SIZE, "all blocks are single pages");
	protected = gmem_have_protected_vms();
	ASSERT_OK(sigaction(SIGBUS, &sa, NULL));
	return gmem_stress_main(argc, argv, races, sizeof(races[0]), ARRAY_SIZE(races),
				run_race);
}
