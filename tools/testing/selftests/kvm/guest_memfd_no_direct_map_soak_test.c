// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_no_direct_map_soak_test: a thousand hidden files
 *
 * Several threads, each with a VM, create, populate, convert, punch and free
 * files of many sizes.  Each has several files at a time, so that files share
 * the large blocks that their memory comes from.  New memory must be zero, and
 * must keep what is written to it.  At the end the direct map must not have
 * been split to small pages, and all memory must be free again.
 *
 * Debugging options that check or poison free memory must not touch hidden
 * pages.
 *
 * Timeout: 300
 * Append: debug: page_poison=1
 * Append: debug: init_on_free=1 debug_pagealloc=on
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>
#include <pthread.h>

#include "guest_memfd_hidden.h"

#define GPA		0x10000000ul
#define MAX_SIZE	(4 * SZ_1M)
#define NR_THREADS	3
#define NR_ALIVE	8
#define SLOT		5

/* The debug kernel is several times slower. */
#define NR_FILES	1000
#define NR_FILES_DEBUG	150
#define NR_WARM_UP	20

/* A file and its expected contents. */
struct file {
	int fd;
	uint8_t *mem;
	size_t size;
	uint64_t seed;
};

struct worker {
	pthread_t thread;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	bool protected;
	unsigned int rand;
	struct file files[NR_ALIVE];
};

static struct worker workers[NR_THREADS];
static unsigned long nr_files, nr_taken;
static size_t page_size;

static unsigned long pick(struct worker *w, unsigned long limit)
{
	return rand_r(&w->rand) % limit;
}

static size_t pick_size(struct worker *w)
{
	switch (pick(w, 16)) {
	case 0:
		return SZ_2M;
	case 1:
		return SZ_64K * (1 + pick(w, MAX_SIZE / SZ_64K));
	case 2 ... 7:
		return SZ_64K * (1 + pick(w, 8));
	default:
		return page_size * (1 + pick(w, 4));
	}
}

static void show_file(struct worker *w, struct file *f, bool show)
{
	vm_set_user_memory_region2(w->vm, SLOT, KVM_MEM_GUEST_MEMFD, GPA,
				   show ? f->size : 0, show ? f->mem : NULL, f->fd, 0);
}

/* Let the guest check and write a page, and convert the file back and forth. */
static void guest_use(struct worker *w, struct file *f)
{
	size_t page = pick(w, f->size / page_size) * page_size;

	show_file(w, f, true);
	assert_guest_sees(w->vcpu, GPA + page, page_size, f->seed + page);
	gmem_guest_fill(w->vcpu, GPA + page, page_size, f->seed + page);
	if (w->protected) {
		gmem_make_private(f->fd, 0, f->size);
		assert_guest_sees(w->vcpu, GPA + page, page_size, f->seed + page);
		gmem_make_shared(f->fd, page, f->size - page);
		gmem_make_shared(f->fd, 0, f->size);
	}
	show_file(w, f, false);
}

static void fill_file(struct file *f, size_t start, size_t end)
{
	for (; start < end; start += page_size)
		gmem_fill(f->mem + start, page_size, f->seed + start);
}

static void check_file(struct file *f)
{
	size_t off;

	for (off = 0; off < f->size; off += page_size)
		TEST_ASSERT(gmem_matches(f->mem + off, page_size, f->seed + off),
			    "Wrong data at 0x%lx of 0x%lx", off, f->size);
}

static void punch_file(struct worker *w, struct file *f)
{
	size_t start = pick(w, f->size / page_size) * page_size, off;
	size_t len = page_size * (1 + pick(w, (f->size - start) / page_size));

	gmem_punch(f->fd, start, len);
	ASSERT_EQ(gmem_allocated(f->fd), f->size - len);
	for (off = start; off < start + len; off += 16 * page_size)
		TEST_ASSERT(gmem_is_zero(f->mem + off, page_size), "A hole is not zero");
	fill_file(f, start, start + len);
}

static void new_file(struct worker *w, struct file *f, unsigned long nr)
{
	size_t off;

	f->size = pick_size(w);
	f->seed = nr << 24;
	f->fd = vm_create_guest_memfd(w->vm, f->size,
				      GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	f->mem = gmem_mmap(f->fd, 0, f->size);
	if (pick(w, 2))
		gmem_fallocate(f->fd, 0, f->size);
	for (off = 0; off < f->size; off += 32 * page_size)
		TEST_ASSERT(gmem_is_zero(f->mem + off, page_size), "New memory is not zero");
	fill_file(f, 0, f->size);
}

static void free_file(struct file *f)
{
	if (!f->mem)
		return;
	check_file(f);
	close(f->fd);
	ASSERT_OK(munmap(f->mem, f->size));
	f->mem = NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned long nr;
	struct file *f;
	int i;

	while ((nr = __atomic_fetch_add(&nr_taken, 1, __ATOMIC_RELAXED)) < nr_files) {
		f = &w->files[pick(w, NR_ALIVE)];
		free_file(f);
		new_file(w, f, nr);
		guest_use(w, f);
		if (pick(w, 2))
			punch_file(w, f);
		f = &w->files[pick(w, NR_ALIVE)];
		if (f->mem)
			punch_file(w, f);
	}
	for (i = 0; i < NR_ALIVE; i++)
		free_file(&w->files[i]);
	return NULL;
}

/* Create all VMs first: VM creation in the library is not thread-safe. */
static void run_workers(unsigned long files)
{
	struct worker *w;

	nr_files = files;
	nr_taken = 0;
	for (w = workers; w < workers + NR_THREADS; w++) {
		w->rand = w - workers + 1;
		w->protected = gmem_have_protected_vms() && w > workers;
		w->vm = gmem_create_vm(w->protected, 1, gmem_guest_code, &w->vcpu);
		gmem_guest_map(w->vm, GPA, MAX_SIZE);
		gmem_guest_start(w->vcpu);
	}
	for (w = workers; w < workers + NR_THREADS; w++)
		pthread_create(&w->thread, NULL, work, w);
	for (w = workers; w < workers + NR_THREADS; w++)
		pthread_join(w->thread, NULL);
	for (w = workers; w < workers + NR_THREADS; w++) {
		ASSERT_EQ(gmem_vm_stat(w->vm, "gmem_pages"), 0ul);
		kvm_vm_free(w->vm);
	}
}

static void assert_same(const char *name, uint64_t before, uint64_t after)
{
	if (before == -1ull) {
		ksft_test_result_skip("%s: the kernel does not count it\n", name);
		return;
	}
	TEST_ASSERT(before == after, "%s was %lu, is %lu", name, before, after);
	ksft_test_result_pass("%s is %lu, as before\n", name, after);
}

int main(int argc, char *argv[])
{
	unsigned long files = NR_FILES;
	uint64_t splits, small, free, slab;
	int64_t grown;
	int opt;

	page_size = getpagesize();
	if (gmem_debug_kernel())
		files = NR_FILES_DEBUG;
	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n')
			return KSFT_FAIL;
		files = atoi(optarg);
	}
	gmem_require_no_direct_map();
	__TEST_REQUIRE(!geteuid(), "not root");

	setbuf(stdout, NULL);
	ksft_print_header();
	ksft_set_plan(4);
	splits = gmem_vmstat("direct_map_level2_splits");
	small = gmem_meminfo("DirectMap4k");
	/* Warm up what the kernel allocates once and keeps. */
	run_workers(NR_WARM_UP);
	gmem_drop_caches();
	free = gmem_free_memory();
	slab = gmem_meminfo("Slab");

	run_workers(files);
	ksft_test_result_pass("%lu files, %d threads\n", nr_files, NR_THREADS);
	assert_same("direct_map_level2_splits", splits,
		    gmem_vmstat("direct_map_level2_splits"));
	assert_same("DirectMap4k", small, gmem_meminfo("DirectMap4k"));
	/*
	 * The files of all threads use more than this tolerance at any time.
	 * KASAN keeps objects that were freed to the slab allocator for a
	 * while.
	 */
	grown = gmem_meminfo("Slab") - slab;
	gmem_wait_for_free(free - (grown > 0 ? grown : 0) - SZ_16M / SZ_1K);
	ksft_test_result_pass("The memory is free again\n");
	ksft_finished();
	return 0;
}
