// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_storm_test: conversions under running vCPUs, for a given time
 *
 * vCPUs fill their pages and check every byte while host threads convert random
 * ranges back and forth.  The guest must not notice.  The host reads all pages
 * all the time: readable pages must have the data of their owner, and private
 * pages must not be readable.  Some pages are written by the host and checked
 * by the guest.
 *
 * Options: -t SECONDS per storm (default 2), -r NAME of a storm
 *
 * Timeout: 120
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map GMEM_BLOCK=2m
 * Environment: GMEM_FLAGS=no-direct-map
 * Environment: GMEM_BLOCK=2m
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>

#include "guest_memfd_private.h"
#include "guest_memfd_stress.h"

#define NR_PAGES	64
#include "guest_memfd_fixture.h"

#define MAX_VCPUS	4
#define NR_CONVERTERS	2
#define HALF_PAGES	(NR_PAGES / NR_CONVERTERS)
#define PRIVATE		KVM_MEMORY_ATTRIBUTE_PRIVATE

/* Every eighth page is the host's, the others belong to one vCPU each. */
#define HOST_STRIDE	8
#define HOST_ID		0x80ul

struct storm {
	const char *name;
	int nr_vcpus;
	bool dual;
	bool punch;
	bool delete;
	bool unmap;
};

static const struct storm storms[] = {
	{ "1-vcpu", 1 },
	{ "2-vcpus", 2 },
	{ "4-vcpus", 4 },
	{ "punch", 2, .punch = true },
	{ "delete", 2, .delete = true },
	{ "dual-backed", 2, .dual = true },
	{ "dual-backed-unmapped", 2, .dual = true, .unmap = true },
};

static const struct storm *storm;
static struct kvm_vcpu *vcpus[MAX_VCPUS];
static int fd;
static unsigned long nr_again, nr_pages_seen;

/* Synced to the guest. */
static uint64_t nr_vcpus;
static bool old_allowed, zero_allowed;

static bool is_host_page(uint64_t page)
{
	return page % HOST_STRIDE == HOST_STRIDE - 1;
}

static void guest_check(uint64_t *p, uint64_t token)
{
	uint64_t i, val;

	for (i = 0; i < page_size / sizeof(*p); i++) {
		val = gmem_load(&p[i]);
		if (val == token || (zero_allowed && !val))
			continue;
		GUEST_ASSERT_2(old_allowed && val < token &&
			       val >> GMEM_TOKEN_SHIFT == token >> GMEM_TOKEN_SHIFT, val, token);
	}
}

static void guest_check_host_page(uint64_t *p)
{
	uint64_t i, val;

	for (i = 0; i < page_size / sizeof(*p); i++) {
		val = gmem_load(&p[i]);
		GUEST_ASSERT_2(!val || val >> GMEM_TOKEN_SHIFT == HOST_ID, val, i);
	}
}

static void guest_code(uint64_t id)
{
	uint64_t token = id << GMEM_TOKEN_SHIFT, page, i;

	for (;;) {
		token++;
		for (page = id - 1; page < NR_PAGES; page += nr_vcpus) {
			uint64_t *p = (uint64_t *)(GPA + page * page_size);

			if (is_host_page(page)) {
				guest_check_host_page(p);
				continue;
			}
			for (i = 0; i < page_size / sizeof(*p); i++)
				gmem_store(&p[i], token);
			guest_check(p, token);
		}
		/* Check all pages again, after more conversions. */
		for (page = id - 1; page < NR_PAGES; page += nr_vcpus)
			if (!is_host_page(page))
				guest_check((uint64_t *)(GPA + page * page_size), token);
		GUEST_SYNC(token);
	}
}

static __thread int nr_runs;

/* Prefault before every fourth KVM_RUN of a vCPU. */
static void prefault(struct kvm_vcpu *vcpu)
{
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = size };

	if (nr_runs++ % 4 == 3 && __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range))
		TEST_ASSERT(storm->delete, "Prefault failed, errno %d", errno);
}

static __thread sigjmp_buf sigbus_jmp;

static void sigbus_handler(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

/* Copy a page from or to guest memory; false if it was private at some point. */
static bool try_copy(uint64_t *to, const uint64_t *from)
{
	size_t i;

	if (sigsetjmp(sigbus_jmp, 1))
		return false;
	for (i = 0; i < page_size / sizeof(*to); i++)
		WRITE_ONCE(to[i], READ_ONCE(from[i]));
	return true;
}

static int convert(uint64_t first, uint64_t nr, bool private, bool by_gfn)
{
	uint64_t attrs = private ? PRIVATE : 0;

	if (by_gfn)
		return __vm_set_attributes(vm, GPA + first * page_size, nr * page_size, attrs);
	return __gmem_set_attributes(fd, first * page_size, nr * page_size, attrs, NULL);
}

/* Private memory is unmapped, and mapped again before it becomes shared. */
static void unmap(uint64_t first, uint64_t nr)
{
	ASSERT_OK(munmap(mem + first * page_size, nr * page_size));
}

static void map_again(uint64_t first, uint64_t nr)
{
	ASSERT_OK(mmap(mem + first * page_size, nr * page_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* Each thread converts its own part of the file, so that it knows the state. */
static void *convert_thread(void *arg)
{
	unsigned int seed = (uintptr_t)arg * 7919;
	uint64_t *page = gmem_anonymous(page_size);
	uint64_t base = (uintptr_t)arg * HALF_PAGES, first, nr, i;
	bool private;

	while (!gmem_stress_stopped()) {
		first = base + rand_r(&seed) % HALF_PAGES;
		nr = 1 + rand_r(&seed) % (base + HALF_PAGES - first);
		/* Without a pause, faults would be retried again and again. */
		if (storm->dual)
			usleep(200);
		private = rand_r(&seed) % 2;
		gmem_stress_count_step();
		if (storm->punch && rand_r(&seed) % 4 == 0)
			gmem_punch(fd, first * page_size, nr * page_size);
		if (storm->unmap && !private)
			map_again(first, nr);
		if (convert(first, nr, private, storm->dual || rand_r(&seed) % 2)) {
			TEST_ASSERT(private && errno == EAGAIN, "errno %d", errno);
			__atomic_fetch_add(&nr_again, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (storm->unmap && private)
			unmap(first, nr);
		/*
		 * While the slot is deleted, conversions by gfn do not affect
		 * the file.
		 */
		for (i = first; !storm->dual && !storm->delete && i < first + nr; i++)
			TEST_ASSERT(try_copy(page, (void *)mem + i * page_size) == !private,
				    "Page %lu is %s", i, private ? "shared" : "private");
	}
	errno = 0;
	ASSERT_OK(munmap(page, page_size));
	return NULL;
}

static void check_page(uint64_t page, const uint64_t *data)
{
	uint64_t id = is_host_page(page) ? HOST_ID : page % nr_vcpus + 1, i;

	for (i = 0; i < page_size / sizeof(*data); i++)
		TEST_ASSERT(!data[i] || data[i] >> GMEM_TOKEN_SHIFT == id,
			    "Page %lu holds 0x%lx", page, data[i]);
}

static void *look_thread(void *arg)
{
	uint64_t *data = gmem_anonymous(page_size);
	uint64_t page, i, token = HOST_ID << GMEM_TOKEN_SHIFT;

	while (!gmem_stress_stopped()) {
		token++;
		for (page = 0; page < NR_PAGES; page++) {
			uint64_t *p = (void *)mem + page * page_size;

			if (try_copy(data, p)) {
				check_page(page, data);
				nr_pages_seen++;
			}
			for (i = 0; i < page_size / sizeof(*data); i++)
				data[i] = token;
			if (is_host_page(page))
				try_copy(p, data);
		}
	}
	ASSERT_OK(munmap(data, page_size));
	return NULL;
}

static void *slot_thread(void *arg)
{
	while (!gmem_stress_stopped()) {
		delete_slot();
		set_slot(SLOT, GPA, fd, 0, size);
		usleep(1000);
	}
	return NULL;
}

static void start(void)
{
	int i;

	nr_vcpus = storm->nr_vcpus;
	old_allowed = storm->dual || storm->delete;
	zero_allowed = storm->dual || storm->delete || storm->punch;
	vm = gmem_create_vm(true, nr_vcpus, guest_code, vcpus);
	gmem_catch_exceptions(vm, vcpus, nr_vcpus);
	gmem_guest_map(vm, GPA, size);
	fd = new_slot(storm->dual ? 0 : GMEM_SHARED);
	sync_global_to_guest(vm, page_size);
	sync_global_to_guest(vm, nr_vcpus);
	sync_global_to_guest(vm, old_allowed);
	sync_global_to_guest(vm, zero_allowed);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_args_set(vcpus[i], 1, (uint64_t)i + 1);
}

static void run_storm(const void *one)
{
	uintptr_t i;

	storm = one;
	nr_again = 0;
	nr_pages_seen = 0;
	gmem_stress_reset();
	gmem_stress.mmio_allowed = storm->delete;
	gmem_stress.faults_allowed = storm->delete;
	gmem_stress.before_run = prefault;
	start();
	for (i = 0; i < nr_vcpus; i++)
		gmem_stress_add_vcpu(vcpus[i]);
	for (i = 0; i < NR_CONVERTERS; i++)
		gmem_stress_add_thread(convert_thread, (void *)i);
	/* look_thread() cannot cope with mappings that come and go. */
	if (storm->unmap)
		nr_pages_seen = 1;
	else
		gmem_stress_add_thread(look_thread, NULL);
	if (storm->delete)
		gmem_stress_add_thread(slot_thread, NULL);
	gmem_stress_wait();
	stop_vm(fd);
	ksft_print_msg("%s: %lu guest rounds, %lu conversions, %lu EAGAIN, %lu pages seen\n",
		       storm->name, gmem_stress.nr_syncs, gmem_stress.nr_steps, nr_again,
		       nr_pages_seen);
	TEST_ASSERT(gmem_stress.nr_syncs && gmem_stress.nr_steps > nr_again && nr_pages_seen,
		    "The guest or the host made no progress");
}

int main(int argc, char *argv[])
{
	struct sigaction sa = { .sa_handler = sigbus_handler };

	init_sizes();
	gmem_require_protected_vms();
	ASSERT_OK(sigaction(SIGBUS, &sa, NULL));
	return gmem_stress_main(argc, argv, storms, sizeof(storms[0]), ARRAY_SIZE(storms),
				run_storm);
}
