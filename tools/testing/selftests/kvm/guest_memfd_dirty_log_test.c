// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_dirty_log_test: dirty logging of a slot that host and guest share
 *
 * The log contains the pages that the guest wrote, but none that it only read
 * or that the host wrote.  A page that is faulted in by a read may be logged
 * once, as with other memory.  Tests the plain log, manual clearing and the
 * ring, and turning logging on and off while the guest has the memory mapped.
 *
 * Parameters: kvm.tdp_mmu=0
 * Parameters: kvm_amd.npt=0
 * Append: kvm-arm.mode=nvhe
 * Environment: GMEM_FLAGS=no-direct-map
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>

#define NR_PAGES	24
#include "guest_memfd_fixture.h"

/* Whether a page faulted in by a read is logged: arm64 maps it read-only. */
#ifdef __aarch64__
#define READS_COUNT	0ul
#else
#define READS_COUNT	~0ul
#endif

#define RING_BYTES	(sizeof(struct kvm_dirty_gfn) * 1024)

/* A slot with many times more pages than the ring has entries. */
#define LARGE_SLOT	(SLOT + 1)
#define LARGE_GPA	0x40000000ul
#define LARGE_SIZE	SZ_32M

static int fd;

static void logging_on(void)
{
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
}

static void logging_off(void)
{
	ASSERT_OK(__set_slot(fd, 0, size));
}

static void start(uint32_t flags, bool ring)
{
	vm = vm_create(1);
	if (ring)
		vm_enable_dirty_ring(vm, RING_BYTES);
	vcpu = vm_vcpu_add(vm, 0, gmem_guest_code);
	ucall_init(vm, NULL);
	gmem_guest_map(vm, GPA, size);
	fd = new_memory(GMEM_SHARED);
	ASSERT_OK(__set_slot(fd, flags, size));
	gmem_guest_start(vcpu);
}

static const char *stop(void)
{
	stop_vm(fd);
	return NULL;
}

static void guest_write(int page, uint64_t val)
{
	gmem_guest_write(vcpu, GPA + page * page_size + 8 * (page + 1), val);
	ASSERT_EQ(*(uint64_t *)(mem + page * page_size + 8 * (page + 1)), val);
}

static void guest_read(int page)
{
	gmem_guest_read(vcpu, GPA + page * page_size);
}

static uint64_t get_log(void)
{
	uint64_t bitmap = -1ull;

	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	return bitmap;
}

static const char *test_no_log(void)
{
	struct kvm_dirty_log log = { .slot = SLOT };
	uint64_t bitmap;

	start(0, false);
	log.dirty_bitmap = &bitmap;
	guest_write(0, 1);
	ASSERT_ERRNO(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	logging_on();
	ASSERT_OK(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log));
	logging_off();
	ASSERT_ERRNO(__vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	return stop();
}

static const char *test_from_the_start(void)
{
	start(KVM_MEM_LOG_DIRTY_PAGES, false);
	ASSERT_EQ(get_log(), 0ul);
	guest_read(2);
	ASSERT_EQ(get_log() & ~(READS_COUNT & 1ul << 2), 0ul);
	guest_write(1, 1);
	guest_read(2);
	guest_write(NR_PAGES - 1, 1);
	ASSERT_EQ(get_log(), 1ul << 1 | 1ul << (NR_PAGES - 1));
	ASSERT_EQ(get_log(), 0ul);

	/* Writes to pages that were logged and collected are logged again. */
	guest_write(1, 2);
	guest_write(2, 2);
	ASSERT_EQ(get_log(), 1ul << 1 | 1ul << 2);
	return stop();
}

static const char *test_switched_on_later(void)
{
	int i;

	start(0, false);
	for (i = 0; i < NR_PAGES; i++)
		guest_write(i, 1);

	logging_on();
	ASSERT_EQ(get_log(), 0ul);
	for (i = 0; i < NR_PAGES; i += 3)
		guest_write(i, 2);
	ASSERT_EQ(get_log(), 0x249249ul);
	return stop();
}

static const char *test_off_and_on(void)
{
	int i;

	start(KVM_MEM_LOG_DIRTY_PAGES, false);
	for (i = 0; i < 4; i++) {
		guest_write(i, 1);
		logging_off();
		guest_write(i + 1, 1);
		logging_on();
		ASSERT_EQ(get_log(), 0ul);
		guest_write(i + 2, 1);
		ASSERT_EQ(get_log(), 4ul << i);
	}
	ASSERT_EQ(gmem_nr_bindings(fd), 1);
	return stop();
}

static const char *test_host_writes_are_not_logged(void)
{
	start(0, false);
	gmem_guest_fill(vcpu, GPA, size, 0);
	logging_on();
	gmem_fill(mem, size, 1);
	assert_guest_sees(vcpu, GPA, size, 1);
	ASSERT_EQ(get_log(), 0ul);
	return stop();
}

static const char *test_punched_pages(void)
{
	start(KVM_MEM_LOG_DIRTY_PAGES, false);
	guest_write(3, 1);
	gmem_punch(fd, 3 * page_size, page_size);
	ASSERT_EQ(get_log(), 1ul << 3);

	guest_read(3);
	ASSERT_EQ(get_log() & ~(READS_COUNT & 1ul << 3), 0ul);
	guest_read(3);
	ASSERT_EQ(get_log(), 0ul);
	guest_write(3, 2);
	gmem_punch(fd, 0, size);
	guest_write(3, 3);
	guest_write(4, 3);
	ASSERT_EQ(get_log(), 3ul << 3);
	return stop();
}

/* Executing code does not dirty its page. */
static const char *test_execution_is_not_logged(void)
{
	start(0, false);
	gmem_put_code(mem, 1);
	gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA + page_size, 0, 2);
	logging_on();
	assert_guest_calls(vcpu, GPA, 1);
	assert_guest_calls(vcpu, GPA + page_size, 2);
	ASSERT_EQ(get_log() & ~(READS_COUNT & 1ul), 0ul);
	assert_guest_calls(vcpu, GPA, 1);
	ASSERT_EQ(get_log(), 0ul);

	gmem_guest_do(vcpu, GMEM_GUEST_PUT_CODE, GPA, 0, 3);
	assert_guest_calls(vcpu, GPA, 3);
	ASSERT_EQ(get_log(), 1ul);
	return stop();
}

static const char *test_manual_clear(void)
{
	uint64_t bitmap;

	if (!(kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
	      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		return "no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2";

	start(0, false);
	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	guest_write(0, 1);
	logging_on();
	guest_write(1, 1);
	guest_write(2, 1);
	ASSERT_EQ(get_log(), 3ul << 1);
	ASSERT_EQ(get_log(), 3ul << 1);

	/* Ranges are multiples of 64 pages, or extend to the slot's end. */
	bitmap = 1ul << 1;
	kvm_vm_clear_dirty_log(vm, SLOT, &bitmap, 0, NR_PAGES);
	ASSERT_EQ(get_log(), 1ul << 2);
	guest_write(1, 2);
	ASSERT_EQ(get_log(), 3ul << 1);
	return stop();
}

static const char *test_initially_all_set(void)
{
	uint64_t bitmap = (1ul << NR_PAGES) - 1;

	if (!(kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
	      KVM_DIRTY_LOG_INITIALLY_SET))
		return "no KVM_DIRTY_LOG_INITIALLY_SET";

	start(0, false);
	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	guest_write(0, 1);
	logging_on();
	ASSERT_EQ(get_log() & bitmap, bitmap);
	kvm_vm_clear_dirty_log(vm, SLOT, &bitmap, 0, NR_PAGES);
	guest_write(0, 2);
	guest_write(7, 2);
	ASSERT_EQ(get_log(), 1ul << 0 | 1ul << 7);
	return stop();
}

/* Number of times that each page of LARGE_SLOT was in the ring. */
static uint8_t large_seen[LARGE_SIZE / MIN_PAGE_SIZE];

/* Empty the ring; returns the entries of SLOT as a bitmap. */
static uint64_t collect_ring(void)
{
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu), *gfn;
	uint64_t bitmap = 0;

	for (;;) {
		gfn = &ring[vcpu->fetch_index % vcpu->dirty_gfns_count];
		if (!(READ_ONCE(gfn->flags) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		if (gfn->slot == SLOT) {
			TEST_ASSERT(gfn->offset < NR_PAGES, "Offset %llu in the ring",
				    gfn->offset);
			bitmap |= 1ul << gfn->offset;
		} else if (gfn->slot == LARGE_SLOT) {
			TEST_ASSERT(gfn->offset < LARGE_SIZE / page_size,
				    "Offset %llu in the ring", gfn->offset);
			large_seen[gfn->offset]++;
		}
		WRITE_ONCE(gfn->flags, KVM_DIRTY_GFN_F_RESET);
		vcpu->fetch_index++;
	}
	kvm_vm_reset_dirty_ring(vm);
	return bitmap;
}

static const char *test_ring(void)
{
	if (!kvm_check_cap(KVM_CAP_DIRTY_LOG_RING) &&
	    !kvm_check_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
		return "no dirty ring";

	start(0, true);
	guest_write(0, 1);
	guest_read(10);
	logging_on();
	collect_ring();
	guest_write(0, 2);
	guest_write(9, 2);
	guest_read(10);
	ASSERT_EQ(collect_ring(), 1ul << 0 | 1ul << 9);
	ASSERT_EQ(collect_ring(), 0ul);
	guest_write(9, 3);
	gmem_punch(fd, 0, size);
	guest_write(11, 3);
	ASSERT_EQ(collect_ring(), 1ul << 9 | 1ul << 11);
	logging_off();
	guest_write(12, 4);
	ASSERT_EQ(collect_ring(), 0ul);
	return stop();
}

static int prefault(struct kvm_pre_fault_memory *range)
{
	uint64_t before = range->size;
	int ret = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, range);

	TEST_ASSERT(ret ? range->size == before : range->size < before,
		    "%d with 0x%llx left of 0x%lx", ret, range->size, before);
	return ret;
}

/* Prefaulting fills the ring, stops when it is full, and can be resumed. */
static const char *test_ring_and_prefault(void)
{
	struct kvm_pre_fault_memory range = { .gpa = LARGE_GPA, .size = LARGE_SIZE };
	unsigned long full = 0, i;
	int large;

	if (!kvm_check_cap(KVM_CAP_DIRTY_LOG_RING) &&
	    !kvm_check_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
		return "no dirty ring";
	if (!kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "KVM cannot prefault";

	start(0, true);
	large = vm_create_guest_memfd(vm, LARGE_SIZE, GMEM_SHARED);
	vm_set_user_memory_region2(vm, LARGE_SLOT,
				   KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES,
				   LARGE_GPA, LARGE_SIZE, NULL, large, 0);
	while (range.size) {
		if (!prefault(&range))
			continue;
		ASSERT_EQ(errno, ENOSPC);
		/* The ring stays full until user space empties it. */
		ASSERT_ERRNO(prefault(&range), ENOSPC);
		collect_ring();
		full++;
	}
	collect_ring();
	TEST_ASSERT(full >= LARGE_SIZE / page_size / 1024, "Full %lu times", full);
	for (i = 0; i < LARGE_SIZE / page_size; i++)
		ASSERT_EQ(large_seen[i], 1);

	guest_write(0, 1);
	set_slot(LARGE_SLOT, LARGE_GPA, -1, 0, 0);
	close(large);
	return stop();
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_no_log),
	GMEM_TEST(test_from_the_start),
	GMEM_TEST(test_switched_on_later),
	GMEM_TEST(test_off_and_on),
	GMEM_TEST(test_host_writes_are_not_logged),
	GMEM_TEST(test_punched_pages),
	GMEM_TEST(test_execution_is_not_logged),
	GMEM_TEST(test_manual_clear),
	GMEM_TEST(test_initially_all_set),
	GMEM_TEST(test_ring),
	GMEM_TEST(test_ring_and_prefault),
};

GMEM_TEST_MAIN(gmem_require_mmap)
