// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_its_test: GIC tables in a guest_memfd
 *
 * KVM reads the command queue, the configuration table and the pending table of
 * LPIs, and saves and restores the tables of the ITS: in memory that guest and
 * host share, and in private memory, where only the guest can see the result.
 *
 * The host does what a guest's driver would, through the device's attributes.
 * The interrupt stays pending: the guest takes none.
 *
 * Append: kvm-arm.mode=nvhe
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sizes.h>

#define NR_PAGES	112
#include "guest_memfd_fixture.h"
#include "guest_memfd_private.h"
#include "vgic.h"

#define GICD_GPA	0x08000000ul
#define GICR_GPA	0x080a0000ul
#define ITS_GPA		0x08080000ul
#define TRANSLATER	(ITS_GPA + 0x10040)

/* From Arm IHI0069, the specification of the GIC. */
#define GITS_CTLR	0x0
#define GITS_CBASER	0x80
#define GITS_CWRITER	0x88
#define GITS_CREADR	0x90
#define GITS_BASER0	0x100
#define GITS_BASER1	0x108
#define GICR_CTLR	0x0
#define GICR_PROPBASER	0x70
#define GICR_PENDBASER	0x78
#define BASER_VALID	BIT(63)
#define LPI_ID_BITS	16
#define LPI_ENABLED	0xa1	/* and a priority */

#define CMD_INT		0x03
#define CMD_SYNC	0x05
#define CMD_MAPD	0x08
#define CMD_MAPC	0x09
#define CMD_MAPTI	0x0a
#define CMD_INV		0x0c

#define DEVICE		2ul
#define EVENT		1ul
#define LPI		8195ul
#define COLLECTION	3ul

/* The layout of the file: each table has 64 KiB. */
enum { DEVICES, COLLECTIONS, QUEUE, ITT, PROPERTIES, PENDING, NR_AREAS };

static int gic_fd, its_fd;

static size_t area(int nr)
{
	return nr * SZ_64K;
}

static void its_set(uint64_t reg, uint64_t val)
{
	kvm_device_attr_set(its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, reg, &val);
}

static uint64_t its_get(uint64_t reg)
{
	uint64_t val;

	kvm_device_attr_get(its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, reg, &val);
	return val;
}

static void gicr_set(uint64_t reg, uint32_t val)
{
	kvm_device_attr_set(gic_fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, reg, &val);
}

static void gicr_set64(uint64_t reg, uint64_t val)
{
	gicr_set(reg, val);
	gicr_set(reg + 4, val >> 32);
}

static void its_control(uint64_t what)
{
	kvm_device_attr_set(its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, what, NULL);
}

static void create_gic(void)
{
	uint64_t gpa = ITS_GPA;

	gic_fd = vgic_v3_setup(vm, 1, 64, GICD_GPA, GICR_GPA);
	TEST_ASSERT(gic_fd >= 0, "No GICv3, errno %d", errno);
	its_fd = kvm_create_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	kvm_device_attr_set(its_fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE,
			    &gpa);
	its_control(KVM_DEV_ARM_VGIC_CTRL_INIT);
}

static bool have_its(void)
{
	struct kvm_vm *probe = vm_create_barebones();
	bool have = !__kvm_test_create_device(probe, KVM_DEV_TYPE_ARM_VGIC_V3) &&
		    !__kvm_test_create_device(probe, KVM_DEV_TYPE_ARM_VGIC_ITS);

	kvm_vm_free(probe);
	errno = 0;
	return have;
}

static int start(bool protected)
{
	int fd;

	create_vm(protected);
	TEST_ASSERT(area(NR_AREAS) <= size, "The tables do not fit");
	create_gic();
	fd = new_slot(GMEM_SHARED);
	gmem_guest_start(vcpu);
	return fd;
}

static void stop(int fd)
{
	close(its_fd);
	close(gic_fd);
	stop_vm(fd);
}

/* Write commands that map LPI, and its configuration; returns the length. */
static size_t write_commands(void)
{
	const uint64_t cmds[][4] = {
		{ CMD_MAPD | DEVICE << 32, 4, BASER_VALID | (GPA + area(ITT)) },
		{ CMD_MAPC, 0, BASER_VALID | COLLECTION },
		{ CMD_MAPTI | DEVICE << 32, EVENT | LPI << 32, COLLECTION },
		{ CMD_INV | DEVICE << 32, EVENT },
		{ CMD_SYNC },
	};

	memcpy(mem + area(QUEUE), cmds, sizeof(cmds));
	mem[area(PROPERTIES) + LPI - 8192] = LPI_ENABLED;
	return sizeof(cmds);
}

static void set_tables(void)
{
	its_set(GITS_BASER0, BASER_VALID | (GPA + area(DEVICES)));
	its_set(GITS_BASER1, BASER_VALID | (GPA + area(COLLECTIONS)));
}

static void enable(size_t queue_len)
{
	gicr_set64(GICR_PROPBASER, (GPA + area(PROPERTIES)) | (LPI_ID_BITS - 1));
	gicr_set64(GICR_PENDBASER, GPA + area(PENDING));
	gicr_set(GICR_CTLR, 1);
	set_tables();
	its_set(GITS_CBASER, BASER_VALID | (GPA + area(QUEUE)));
	its_set(GITS_CTLR, 1);
	its_set(GITS_CWRITER, queue_len);
	ASSERT_EQ(its_get(GITS_CREADR), queue_len);
}

static int signal_msi(void)
{
	struct kvm_msi msi = {
		.address_lo = TRANSLATER,
		.data = EVENT,
		.flags = KVM_MSI_VALID_DEVID,
		.devid = DEVICE,
	};

	return __vm_ioctl(vm, KVM_SIGNAL_MSI, &msi);
}

static uint64_t guest_sees(size_t offset)
{
	return gmem_guest_read(vcpu, GPA + offset);
}

/* Save everything to guest memory, and restore it from there. */
static void check_save_and_restore(void)
{
	uint64_t word = area(PENDING) + LPI / 64 * 8, bit = 1ul << LPI % 64;

	ASSERT_EQ(guest_sees(word), 0ul);
	ASSERT_EQ(signal_msi(), 1);
	kvm_device_attr_set(gic_fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
			    KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, NULL);
	ASSERT_EQ(guest_sees(word), bit);

	its_control(KVM_DEV_ARM_ITS_SAVE_TABLES);
	TEST_ASSERT(guest_sees(area(DEVICES) + DEVICE * 8) >> 63, "No device is saved");
	TEST_ASSERT(guest_sees(area(COLLECTIONS)) >> 63, "No collection is saved");
	ASSERT_EQ(guest_sees(area(ITT) + EVENT * 8) & 0xffff, COLLECTION);

	/* Restoring clears the pending bit in the guest's table. */
	its_control(KVM_DEV_ARM_ITS_CTRL_RESET);
	set_tables();
	its_set(GITS_CBASER, BASER_VALID | (GPA + area(QUEUE)));
	its_control(KVM_DEV_ARM_ITS_RESTORE_TABLES);
	its_set(GITS_CTLR, 1);
	ASSERT_EQ(guest_sees(word), 0ul);
	ASSERT_EQ(signal_msi(), 1);
}

static const char *test_shared(void)
{
	int fd = start(false);

	enable(write_commands());
	check_save_and_restore();
	TEST_ASSERT(*(uint64_t *)(mem + area(DEVICES) + DEVICE * 8),
		    "The host does not see the device table");
	stop(fd);
	return NULL;
}

static const char *test_private(void)
{
	int fd = start(true);
	size_t len = write_commands();

	gmem_make_private(fd, 0, size);
	enable(len);
	check_save_and_restore();
	gmem_assert_no_access(mem, page_size);

	/* KVM must not need the mapping, either. */
	ASSERT_OK(mprotect(mem, size, PROT_NONE));
	its_control(KVM_DEV_ARM_ITS_SAVE_TABLES);
	ASSERT_OK(mprotect(mem, size, PROT_READ | PROT_WRITE));
	gmem_make_shared(fd, 0, size);
	TEST_ASSERT(*(uint64_t *)(mem + area(DEVICES) + DEVICE * 8),
		    "The host does not see the device table");
	stop(fd);
	return NULL;
}

/* Pages that KVM writes must be in the dirty log, or migration loses them. */
static const char *test_dirty_log(void)
{
	unsigned long bitmap[(NR_PAGES + 63) / 64] = { };
	int fd = start(false), i;

	enable(write_commands());
	check_save_and_restore();
	ASSERT_OK(__set_slot(fd, KVM_MEM_LOG_DIRTY_PAGES, size));
	kvm_vm_get_dirty_log(vm, SLOT, bitmap);
	for (i = 0; i < ARRAY_SIZE(bitmap); i++)
		ASSERT_EQ(bitmap[i], 0ul);

	its_control(KVM_DEV_ARM_ITS_SAVE_TABLES);
	kvm_vm_get_dirty_log(vm, SLOT, bitmap);
	for (i = 0; i < NR_AREAS; i++)
		ASSERT_EQ(!!(bitmap[area(i) / page_size / 64] &
			     1ul << area(i) / page_size % 64),
			  i == DEVICES || i == COLLECTIONS || i == ITT);
	stop(fd);
	return NULL;
}

/* Saving tables to missing memory must fail, without other consequences. */
static const char *test_no_memory(void)
{
	int fd = start(true);
	size_t len = write_commands();

	vm_make_private(vm, GPA, size);
	enable(len);
	ASSERT_EQ(signal_msi(), 1);
	delete_slot();
	ASSERT_ERRNO(__kvm_device_attr_set(its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
					   KVM_DEV_ARM_ITS_SAVE_TABLES, NULL), EINVAL);
	set_slot(SLOT, GPA, fd, 0, size);
	its_control(KVM_DEV_ARM_ITS_SAVE_TABLES);
	TEST_ASSERT(guest_sees(area(DEVICES) + DEVICE * 8) >> 63, "No device is saved");

	free_memory(fd);
	ASSERT_ERRNO(__kvm_device_attr_set(its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
					   KVM_DEV_ARM_ITS_SAVE_TABLES, NULL), EFAULT);
	stop(-1);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_shared),
	GMEM_TEST_PROTECTED(test_private),
	GMEM_TEST(test_dirty_log),
	GMEM_TEST_PROTECTED(test_no_memory),
};

static void init(void)
{
	gmem_require_mmap();
	__TEST_REQUIRE(have_its(), "KVM has no GICv3 with ITS");
}

GMEM_TEST_MAIN(init)
