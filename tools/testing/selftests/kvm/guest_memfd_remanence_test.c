// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_remanence_test: guest data left in memory
 *
 * Files with marked pages, a large part of the machine's memory, are freed in
 * every possible way.  After that no page of the machine may have a mark:
 * neither as the kernel sees it through /proc/kcore, free pages included, nor
 * when the memory is allocated again.  While a file has its pages, other
 * operations preserve their contents, and the kernel does not see the contents
 * of hidden files.
 *
 * Machine: -n -m 1G
 * Leave: debug
 * Timeout: 120
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	64
#include "guest_memfd_fixture.h"

#define NDM		GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define FILE_SIZE	SZ_16M

/*
 * The mark of the file that is kept; those of the freed files follow.  As for gmem_mark(),
 * a mark is the complement of its value.
 */
static uint64_t first_mark;

enum { MARK_ALIVE, MARK_PUNCH, MARK_REMOVE, MARK_CLOSE, MARK_KILL, MARK_GUEST, NR_MARKS };

static const char * const names[NR_MARKS] = {
	"file", "punched", "MADV_REMOVE", "closed", "killed", "protected guest, killed",
};

/* Use new marks in each test, so that it does not find those of another one. */
static void new_marks(void)
{
	first_mark = 0x6d61726b00000000ull + ((uint64_t)rand() << 8);
}

/* Create a file, and mark all of its pages with @mark. */
static int marked_file(uint64_t kind, int mark, uint8_t **map)
{
	int fd = vm_create_guest_memfd(vm, FILE_SIZE, GMEM_SHARED | kind);

	*map = gmem_mmap(fd, 0, FILE_SIZE);
	gmem_mark(*map, FILE_SIZE, first_mark + mark);
	return fd;
}

static void child_has_file(void *kind)
{
	uint8_t *map;

	vm = vm_create_barebones();
	marked_file(*(uint64_t *)kind, MARK_KILL, &map);
	gmem_child_waits();
}

/* A running guest that has written to its private memory. */
static void child_has_guest(void *kind)
{
	size_t page;

	start_vm_with_slot(true, GMEM_SHARED | *(uint64_t *)kind);
	vm_make_private(vm, GPA, size);
	for (page = 0; page < size; page += page_size)
		gmem_guest_write(vcpu, GPA + page, ~(first_mark + MARK_GUEST));
	gmem_child_waits();
}

static void assert_mark(const unsigned long *counts, int mark, bool seen)
{
	TEST_ASSERT(!counts[mark] == !seen, "%s: the kernel sees %lu pages", names[mark],
		    counts[mark]);
}

/* Whether the kernel sees the file that is kept, and the @nr - 1 others. */
static void assert_marks(int nr, bool alive, bool others)
{
	unsigned long counts[NR_MARKS];
	int i;

	gmem_kcore_count(first_mark, counts, NR_MARKS);
	assert_mark(counts, MARK_ALIVE, alive);
	for (i = MARK_ALIVE + 1; i < nr; i++)
		assert_mark(counts, i, others);
}

static const char *give_up(uint64_t kind)
{
	int alive, punched, removed, closed, nr = NR_MARKS;
	uint8_t *maps[NR_MARKS];
	pid_t killed, guest;

	new_marks();
	vm = vm_create_barebones();
	killed = gmem_start_child(child_has_file, &kind);
	if (gmem_have_protected_vms())
		guest = gmem_start_child(child_has_guest, &kind);
	else
		nr = MARK_GUEST;
	alive = marked_file(kind, MARK_ALIVE, &maps[MARK_ALIVE]);
	punched = marked_file(kind, MARK_PUNCH, &maps[MARK_PUNCH]);
	removed = marked_file(kind, MARK_REMOVE, &maps[MARK_REMOVE]);
	closed = marked_file(kind, MARK_CLOSE, &maps[MARK_CLOSE]);
	assert_marks(nr, !kind, !kind);

	gmem_punch(punched, 0, FILE_SIZE);
	ASSERT_OK(madvise(maps[MARK_REMOVE], FILE_SIZE, MADV_REMOVE));
	close(closed);
	ASSERT_OK(munmap(maps[MARK_CLOSE], FILE_SIZE));
	gmem_kill_child(killed);
	if (nr == NR_MARKS)
		gmem_kill_child(guest);
	if (kind)
		gmem_wait_for_leaving();
	assert_marks(nr, !kind, false);

	close(alive);
	close(punched);
	close(removed);
	ASSERT_OK(munmap(maps[MARK_ALIVE], FILE_SIZE));
	ASSERT_OK(munmap(maps[MARK_PUNCH], FILE_SIZE));
	ASSERT_OK(munmap(maps[MARK_REMOVE], FILE_SIZE));
	kvm_vm_free(vm);
	return NULL;
}

static const char *test_give_up(void)
{
	return gmem_kcore_missing() ?: give_up(0);
}

static const char *test_give_up_hidden(void)
{
	return gmem_kcore_missing() ?: gmem_no_direct_map_missing() ?: give_up(NDM);
}

/* Check only the words that gmem_mark() writes. */
static void assert_unmarked(const uint8_t *map, size_t len)
{
	size_t off;

	for (off = 0; off < len; off += page_size)
		TEST_ASSERT(!*(uint64_t *)(map + off) &&
			    !*(uint64_t *)(map + off + page_size / 2) &&
			    !*(uint64_t *)(map + off + page_size - 8),
			    "New memory has 0x%lx", *(uint64_t *)(map + off));
}

/* Check most of the free memory, in files and in anonymous memory. */
static void look_at_new_memory(void *arg)
{
	size_t len = gmem_meminfo("MemFree") * SZ_1K / 2 & -SZ_2M;
	uint64_t kind;
	uint8_t *map;

	vm = vm_create_barebones();
	for (kind = 0; kind <= gmem_last_kind(); kind += NDM) {
		map = gmem_mmap(vm_create_guest_memfd(vm, len / 4, GMEM_SHARED | kind), 0,
				len / 4);
		assert_unmarked(map, len / 4);
	}
	map = ASSERT_OK(mmap(NULL, len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
	assert_unmarked(map, len);
}

/* Mark and free a large part of memory, in parts and as a whole. */
static void mark_much_memory(void *arg)
{
	size_t len = gmem_meminfo("MemFree") * SZ_1K / 4 & -SZ_2M, off;
	uint64_t kind;
	uint8_t *map;
	int fd;

	vm = vm_create_barebones();
	for (kind = 0; kind <= gmem_last_kind(); kind += NDM) {
		fd = vm_create_guest_memfd(vm, len, GMEM_SHARED | kind);
		map = gmem_mmap(fd, 0, len);
		gmem_mark(map, len, first_mark);
		for (off = 0; off < len / 2; off += SZ_2M)
			gmem_punch(fd, off, SZ_1M);
	}
}

/* While there is a hidden file, hidden memory can be reused for other files. */
static const char *test_reuse(void)
{
	int fd;

	vm = vm_create_barebones();
	fd = vm_create_guest_memfd(vm, page_size, GMEM_SHARED | gmem_last_kind());
	new_marks();
	gmem_in_child(mark_much_memory, NULL);
	gmem_in_child(look_at_new_memory, NULL);
	close(fd);
	kvm_vm_free(vm);
	return NULL;
}

/* Check which operations preserve the contents of a file. */
static void assert_content_stays(bool protected, uint64_t kind)
{
	int fd = start_vm_with_slot(protected, GMEM_SHARED | kind);

	gmem_guest_fill(vcpu, GPA, size, 1);
	delete_slot();
	assert_host_sees(mem, size, 1);
	set_slot(SLOT, GPA, fd, 0, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	ASSERT_OK(munmap(mem, size));
	mem = gmem_mmap(fd, 0, size);
	assert_host_sees(mem, size, 1);
	if (protected) {
		/* A conversion to shared gives the host the guest's data. */
		gmem_make_private(fd, 0, size);
		gmem_guest_fill(vcpu, GPA, size, 2);
		gmem_make_shared(fd, 0, size);
		assert_host_sees(mem, size, 2);
		/* Punching a hole discards the data, whatever its state. */
		gmem_make_private(fd, 0, size);
		gmem_guest_fill(vcpu, GPA, size, 3);
		gmem_punch(fd, 0, size / 2);
		gmem_make_shared(fd, 0, size);
		TEST_ASSERT(gmem_is_zero(mem, size / 2), "The hole is not zero");
		gmem_punch(fd, size / 2, size / 2);
	} else {
		gmem_punch(fd, 0, size);
	}
	TEST_ASSERT(gmem_is_zero(mem, size), "The hole is not zero");
	assert_guest_sees_zero(vcpu, GPA, size);
	gmem_guest_fill(vcpu, GPA, size, 4);
	kvm_vm_free(vm);
	assert_host_sees(mem, size, 4);
	free_memory(fd);
}

static const char *test_content_stays(void)
{
	uint64_t kind;

	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		assert_content_stays(false, kind);
	return NULL;
}

static const char *test_content_stays_protected(void)
{
	uint64_t kind;

	for (kind = 0; kind <= gmem_last_kind(); kind += NDM)
		assert_content_stays(true, kind);
	return NULL;
}

/* The kernel copies through a bounce page, which must not keep the data. */
static const char *test_write_hidden(void)
{
	const char *skip = gmem_kcore_missing() ?: gmem_no_direct_map_missing();
	uint8_t *buf;
	size_t pos;
	int fd;

	if (skip)
		return skip;
	new_marks();
	vm = vm_create_barebones();
	buf = gmem_anonymous(size);
	gmem_mark(buf, size, first_mark);
	fd = new_memory(GMEM_ALL_FLAGS | NDM);
	for (pos = 0; pos < size; pos += page_size)
		ASSERT_EQ(pwrite(fd, buf + pos, page_size, pos), (ssize_t)page_size);
	memset(buf, 0, size);
	assert_marks(NR_MARKS, false, false);
	ASSERT_EQ(~*(uint64_t *)(mem + size - 8), first_mark);
	free_memory(fd);
	ASSERT_OK(munmap(buf, size));
	kvm_vm_free(vm);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_content_stays),
	GMEM_TEST_PROTECTED(test_content_stays_protected),
	GMEM_TEST(test_give_up),
	GMEM_TEST(test_give_up_hidden),
	GMEM_TEST(test_write_hidden),
	GMEM_TEST(test_reuse),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(!geteuid(), "not root");
	srand(getpid());
}

GMEM_TEST_MAIN(init)
