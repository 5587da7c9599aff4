// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_hidden_kernel_test: hidden memory and the kernel itself
 *
 * The pages of a file with GUEST_MEMFD_FLAG_NO_DIRECT_MAP are not in the direct
 * map from the first access until they are freed.  Code that reads or saves all
 * memory must cope with that: /proc/kcore, which the test also uses to read
 * memory, and hibernation, which is refused.  Memory errors are handled as in
 * any other memory.
 *
 * Each poisoned page is lost to the machine until it reboots.
 *
 * Parameters: kvm.tdp_mmu=0
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#define NDM_SHARED	(GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

static int fd;

static uint64_t pfns[NR_PAGES];

static void start(bool protected)
{
	int i;

	ASSERT_EQ(gmem_trace_start(), NULL);
	fd = start_vm_with_slot(protected, NDM_SHARED);
	gmem_guest_fill(vcpu, GPA, size, 1);
	for (i = 0; i < NR_PAGES; i++)
		pfns[i] = gmem_traced_pfn(GPA + i * page_size);
	assert_host_sees(mem, size, 1);
}

/* The pages may be in use again, but must not have the file's contents. */
static void assert_kcore_lacks(uint64_t seed)
{
	uint8_t *buf = gmem_anonymous(page_size), *want = gmem_anonymous(size);
	int i;

	gmem_fill(want, size, seed);
	for (i = 0; i < NR_PAGES; i++) {
		gmem_kcore_read(pfns[i], buf);
		TEST_ASSERT(memcmp(buf, want + i * page_size, page_size),
			    "The kernel sees page %d", i);
	}
	ASSERT_OK(munmap(want, size));
	ASSERT_OK(munmap(buf, page_size));
}

static void assert_kcore_is_zero(void)
{
	uint8_t *buf = gmem_anonymous(page_size);
	int i;

	for (i = 0; i < NR_PAGES; i++) {
		gmem_kcore_read(pfns[i], buf);
		TEST_ASSERT(gmem_is_zero(buf, page_size), "The kernel sees page %d", i);
	}
	ASSERT_OK(munmap(buf, page_size));
}

/* Why memory cannot be read through /proc/kcore; NULL if reading works. */
static const char *cannot_look(void)
{
	const char *skip = geteuid() ? "not root" : gmem_kcore_missing();
	uint8_t *buf, *plain;

	if (skip)
		return skip;
	buf = gmem_anonymous(page_size);
	plain = gmem_anonymous(page_size);
	gmem_fill(plain, page_size, 9);
	gmem_kcore_read(gmem_pfn(plain), buf);
	assert_host_sees(buf, page_size, 9);
	ASSERT_OK(munmap(buf, page_size));
	ASSERT_OK(munmap(plain, page_size));
	return NULL;
}

static const char *test_control(void)
{
	const char *skip = cannot_look();
	uint8_t *buf;
	int i;

	if (skip)
		return skip;
	/* The same file without the flag. */
	fd = start_vm_with_slot(false, GMEM_SHARED);
	gmem_fill(mem, size, 1);
	buf = gmem_anonymous(size);
	for (i = 0; i < NR_PAGES; i++)
		gmem_kcore_read(gmem_pfn(mem + i * page_size), buf + i * page_size);
	assert_host_sees(buf, size, 1);
	ASSERT_OK(munmap(buf, size));
	stop_vm(fd);
	return NULL;
}

static const char *test_hidden(void)
{
	const char *skip = cannot_look();

	if (skip)
		return skip;
	start(false);
	assert_kcore_is_zero();
	gmem_fill(mem, size, 2);
	assert_kcore_is_zero();
	assert_guest_sees(vcpu, GPA, size, 2);

	/* Pages are cleared before they are freed. */
	gmem_punch(fd, 0, size / 2);
	assert_kcore_lacks(2);
	stop_vm(fd);
	assert_kcore_lacks(2);
	gmem_drop_caches();
	assert_kcore_lacks(2);
	return NULL;
}

static const char *test_hidden_while_private(void)
{
	const char *skip = cannot_look();

	if (skip)
		return skip;
	start(true);
	gmem_make_private(fd, 0, size);
	assert_kcore_is_zero();
	gmem_guest_fill(vcpu, GPA, size, 3);
	assert_kcore_is_zero();
	gmem_make_shared(fd, 0, size);
	assert_kcore_is_zero();
	assert_host_sees(mem, size, 3);
	stop_vm(fd);
	return NULL;
}

/* Whether the first word of /sys/power/disk is "[disabled]". */
static bool no_hibernation(void)
{
	char word[32] = "";
	FILE *f = fopen("/sys/power/disk", "r");

	TEST_ASSERT(f && fscanf(f, "%31s", word) == 1, "Cannot read /sys/power/disk");
	fclose(f);
	return !strcmp(word, "[disabled]");
}

static bool state_has_disk(void)
{
	FILE *f = fopen("/sys/power/state", "r");
	bool found = false;
	char word[32];

	TEST_ASSERT(f, "Cannot read /sys/power/state");
	while (fscanf(f, "%31s", word) == 1)
		found |= !strcmp(word, "disk");
	fclose(f);
	return found;
}

/* The reserve for later files is freed, the last of it by a worker. */
static void wait_for_hibernation(void)
{
	int i;

	for (i = 0; i < 100 && no_hibernation(); i++) {
		gmem_drop_caches();
		usleep(100000);
	}
	TEST_ASSERT(!no_hibernation(), "One cannot hibernate afterwards");
}

static const char *test_hibernation(void)
{
	if (access("/sys/power/disk", R_OK)) {
		errno = 0;
		return "the kernel cannot hibernate";
	}
	start(false);
	/* Do not try to hibernate unless that will be refused. */
	TEST_ASSERT(no_hibernation(), "One can hibernate");
	TEST_ASSERT(!state_has_disk(), "'disk' is among the states");
	ASSERT_EQ(gmem_write_file("/sys/power/state", "disk"), EPERM);
	assert_host_sees(mem, size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(fd);

	wait_for_hibernation();
	return NULL;
}

#define SNAPSHOT	"/dev/snapshot"

/*
 * While a process may save all memory through /dev/snapshot, no hidden file can
 * be created.  While there is a hidden file, /dev/snapshot cannot be opened.
 */
static const char *test_snapshot(void)
{
	int snapshot;

	if (access(SNAPSHOT, R_OK)) {
		errno = 0;
		return "no " SNAPSHOT;
	}
	wait_for_hibernation();
	snapshot = ASSERT_OK(open(SNAPSHOT, O_RDONLY));
	vm = vm_create_barebones();
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, NDM_SHARED), EBUSY);
	ASSERT_ERRNO(__vm_create_guest_memfd(vm, size, GUEST_MEMFD_FLAG_NO_DIRECT_MAP), EBUSY);
	fd = start_filled(GMEM_SHARED);
	stop_filled(fd, NULL);
	/* Refused calls must not leave anything that prevents hibernation. */
	TEST_ASSERT(!no_hibernation(), "One cannot hibernate any more");
	close(snapshot);

	fd = start_hidden();
	ASSERT_ERRNO(open(SNAPSHOT, O_RDONLY), EPERM);
	ASSERT_ERRNO(open(SNAPSHOT, O_WRONLY), EPERM);
	stop_filled(fd, NULL);
	kvm_vm_free(vm);
	wait_for_hibernation();
	close(ASSERT_OK(open(SNAPSHOT, O_RDONLY)));
	return NULL;
}

/* Page 1 is inaccessible, page 0 is unchanged. */
static void assert_page_is_poisoned(uint8_t *map)
{
	TEST_ASSERT(!gmem_try_read(map + page_size, NULL), "The host can read the page");
	TEST_ASSERT(!gmem_try_write(map + page_size, 1), "The host can write the page");
	assert_host_sees(map, page_size, 1);
}

static const char *test_poison(void)
{
	const char *skip = gmem_cannot_corrupt();
	uint8_t *fresh;
	uint64_t bad;
	int i, page;

	if (skip)
		return skip;
	start(false);
	bad = pfns[1];
	gmem_corrupt(bad);
	assert_page_is_poisoned(mem);
	ASSERT_EQ(gmem_guest_read(vcpu, GPA), *(uint64_t *)mem);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + page_size, 0, 0);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EHWPOISON);
	vcpu_run_expect_memory_fault(vcpu, GPA + page_size, EHWPOISON);
	fresh = gmem_mmap(fd, 0, size);
	assert_page_is_poisoned(fresh);
	ASSERT_OK(munmap(fresh, size));
	ASSERT_EQ(gmem_allocated(fd), size);

	/* Punching a hole replaces it with a good page. */
	gmem_punch(fd, page_size, page_size);
	ASSERT_EQ(gmem_guest_finish(vcpu), 0ul);
	gmem_guest_fill(vcpu, GPA, size, 2);
	assert_host_sees(mem, size, 2);
	TEST_ASSERT(gmem_traced_pfn(GPA + page_size) != bad, "The bad page is back");
	stop_vm(fd);

	/* Neither another file nor the page allocator may get the bad page. */
	for (i = 0; i < 20; i++) {
		gmem_drop_caches();
		start(false);
		for (page = 0; page < NR_PAGES; page++)
			TEST_ASSERT(pfns[page] != bad, "The bad page is back");
		stop_vm(fd);
	}
	TEST_ASSERT(gmem_is_poisoned(bad), "The page counts as good again");
	return NULL;
}

/* Close the file while it has a poisoned private page. */
static const char *test_close_with_poison(void)
{
	const char *skip = gmem_cannot_corrupt();
	uint64_t bad;

	if (skip)
		return skip;
	start(true);
	gmem_make_private(fd, 0, size);
	bad = pfns[2];
	gmem_corrupt(bad);
	gmem_guest_order(vcpu, GMEM_GUEST_READ, GPA + 2 * page_size, 0, 0);
	vcpu_run_expect_memory_fault_flags(vcpu, GPA + 2 * page_size, EHWPOISON,
					   KVM_MEMORY_EXIT_FLAG_PRIVATE);
	stop_vm(fd);
	gmem_drop_caches();
	TEST_ASSERT(gmem_is_poisoned(bad), "The page counts as good again");
	start(false);
	stop_vm(fd);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_control),
	GMEM_TEST(test_hidden),
	GMEM_TEST_PROTECTED(test_hidden_while_private),
	/* Come first: poisoned pages stay hidden and prevent hibernation. */
	GMEM_TEST(test_hibernation),
	GMEM_TEST(test_snapshot),
	GMEM_TEST(test_poison),
	GMEM_TEST_PROTECTED(test_close_with_poison),
};

static void init(void)
{
	const char *skip;

	gmem_require_no_direct_map();
	skip = gmem_trace_start();
	__TEST_REQUIRE(!skip, "%s", skip);
}

GMEM_TEST_MAIN(init)
