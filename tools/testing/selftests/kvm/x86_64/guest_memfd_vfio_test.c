// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd_vfio_test: devices behind an IOMMU
 *
 * VFIO pins memory that user space maps for a device.  Memory of an ordinary
 * file can be pinned, and cannot be converted to private while it is.  Private
 * memory and files with GUEST_MEMFD_FLAG_NO_DIRECT_MAP are refused with EFAULT,
 * and no page of the range stays pinned.
 *
 * The device is QEMU's "edu", which has some memory and copies it to or from any
 * address.
 *
 * Machine: -V
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "guest_memfd_hidden.h"

#define NR_PAGES	8
#include "guest_memfd_fixture.h"

#define DEVICES		"/sys/bus/pci/devices"
#define EDU_ID		"0x1234 0x11e8"
#define IOVA		0x100000ul
#define NDM_SHARED	(GMEM_SHARED | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

#define READ		VFIO_DMA_MAP_FLAG_READ
#define WRITE		VFIO_DMA_MAP_FLAG_WRITE

/* The memory of the device, and its registers for copying. */
#define EDU_MEMORY	0x40000
#define EDU_SIZE	0x800
#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_COPY	1
#define EDU_FROM_MEMORY	2

static char address[32];
static int container = -1, group = -1, device = -1;
static uint8_t *registers;

static bool read_line(const char *dir, const char *name, char *line, int len)
{
	char path[320];
	bool found;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	found = f && fgets(line, len, f);
	if (f)
		fclose(f);
	errno = 0;
	if (found)
		line[strcspn(line, "\n")] = 0;
	return found;
}

/* Find the device and set address. */
static bool find_device(void)
{
	char dir[288], vendor[16], model[16], id[40];
	DIR *devices = opendir(DEVICES);
	struct dirent *entry;

	while (devices && !address[0] && (entry = readdir(devices))) {
		snprintf(dir, sizeof(dir), DEVICES "/%s", entry->d_name);
		if (!read_line(dir, "vendor", vendor, sizeof(vendor)) ||
		    !read_line(dir, "device", model, sizeof(model)))
			continue;
		snprintf(id, sizeof(id), "%s %s", vendor, model);
		if (!strcmp(id, EDU_ID))
			snprintf(address, sizeof(address), "%.31s", entry->d_name);
	}
	if (devices)
		closedir(devices);
	errno = 0;
	return address[0];
}

/* Bind the device to vfio-pci; returns the number of its group, or -1. */
static int bind_device(void)
{
	char path[128], target[128] = "";

	snprintf(path, sizeof(path), DEVICES "/%s/driver_override", address);
	gmem_write_file(path, "vfio-pci");
	gmem_write_file("/sys/bus/pci/drivers_probe", address);
	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", address);
	if (readlink(path, target, sizeof(target) - 1) < 0) {
		errno = 0;
		return -1;
	}
	return atoi(strrchr(target, '/') + 1);
}

static void open_container(int nr)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[32];

	snprintf(path, sizeof(path), "/dev/vfio/%d", nr);
	container = ASSERT_OK(open("/dev/vfio/vfio", O_RDWR));
	group = ASSERT_OK(open(path, O_RDWR));
	ASSERT_OK(ioctl(group, VFIO_GROUP_GET_STATUS, &status));
	TEST_ASSERT(status.flags & VFIO_GROUP_FLAGS_VIABLE, "The group has other devices");
	ASSERT_OK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_OK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
}

/* Map the registers and let the device access memory. */
static void open_device(void)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	}, config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	device = ASSERT_OK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address));
	ASSERT_OK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar));
	ASSERT_OK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config));
	registers = ASSERT_OK(mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED,
				   device, bar.offset));
	ASSERT_EQ(pwrite(device, &command, sizeof(command), config.offset + PCI_COMMAND),
		  (ssize_t)sizeof(command));
}

static void set_register(int reg, uint64_t val)
{
	WRITE_ONCE(*(uint64_t *)(registers + reg), val);
}

static void edu_copy(uint64_t source, uint64_t target, uint64_t command)
{
	int i;

	set_register(EDU_SOURCE, source);
	set_register(EDU_TARGET, target);
	set_register(EDU_COUNT, EDU_SIZE);
	set_register(EDU_COMMAND, EDU_COPY | command);
	for (i = 0; i < 1000; i++) {
		if (!(READ_ONCE(*(uint64_t *)(registers + EDU_COMMAND)) & EDU_COPY))
			return;
		usleep(10000);
	}
	TEST_FAIL("The device is stuck");
}

/* Let the device copy one page of the mapping at IOVA to another. */
static void device_copies(int from, int to)
{
	uint64_t source = IOVA + from * page_size, target = IOVA + to * page_size;
	size_t off;

	for (off = 0; off < page_size; off += EDU_SIZE) {
		edu_copy(source + off, EDU_MEMORY, 0);
		edu_copy(EDU_MEMORY, target + off, EDU_FROM_MEMORY);
	}
}

static int map_dma(void *addr, size_t len, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)addr,
		.iova = IOVA,
		.size = len,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static void unmap_dma(size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = IOVA,
		.size = len,
	};

	ASSERT_OK(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	ASSERT_EQ(unmap.size, len);
}

/* Number of pages that are pinned in the whole machine. */
static uint64_t pinned(void)
{
	char line[64];

	/* Add up the counters of all CPUs. */
	read_line("/proc/sys/vm", "stat_refresh", line, sizeof(line));
	return gmem_vmstat("nr_foll_pin_acquired") - gmem_vmstat("nr_foll_pin_released");
}

/* A mapping must fail, and must not leave pages pinned. */
static void assert_refused(void *addr, size_t len)
{
	static const uint32_t flags[] = { READ, WRITE, READ | WRITE };
	uint64_t before = pinned();
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ASSERT_ERRNO(map_dma(addr, len, flags[i]), EFAULT);
		ASSERT_EQ(pinned(), before);
	}
}

/* A refused mapping must not prevent a valid one at the same IOVA. */
static void assert_anonymous_works(void)
{
	uint8_t *buf = gmem_anonymous(size);
	uint64_t before = pinned();

	gmem_fill(buf, page_size, 5);
	ASSERT_OK(map_dma(buf, size, READ | WRITE));
	ASSERT_EQ(pinned(), before + NR_PAGES);
	device_copies(0, NR_PAGES - 1);
	assert_host_sees(buf + size - page_size, page_size, 5);
	unmap_dma(size);
	ASSERT_EQ(pinned(), before);
	ASSERT_OK(munmap(buf, size));
}

static const char *test_anonymous(void)
{
	assert_anonymous_works();
	return NULL;
}

static const char *test_ordinary(void)
{
	uint64_t before = pinned();
	int fd = start_vm_with_slot(false, GMEM_SHARED);

	gmem_guest_fill(vcpu, GPA, page_size, 1);
	ASSERT_OK(map_dma(mem, size, READ | WRITE));
	ASSERT_EQ(pinned(), before + NR_PAGES);
	device_copies(0, 1);
	assert_guest_sees(vcpu, GPA + page_size, page_size, 1);

	/* The device keeps its pinned page, the guest gets a new one. */
	gmem_punch(fd, page_size, page_size);
	gmem_guest_fill(vcpu, GPA + page_size, page_size, 2);
	device_copies(0, 1);
	assert_guest_sees(vcpu, GPA + page_size, page_size, 2);
	unmap_dma(size);
	ASSERT_EQ(pinned(), before);
	stop_vm(fd);
	return NULL;
}

static const char *test_convert(void)
{
	int fd = start_vm_with_slot(true, GMEM_SHARED);

	gmem_guest_fill(vcpu, GPA, size, 1);
	ASSERT_OK(map_dma(mem, size, READ | WRITE));
	ASSERT_ERRNO(__gmem_make_private(fd, 0, size), EAGAIN);
	assert_guest_sees(vcpu, GPA, size, 1);
	unmap_dma(size);
	gmem_make_private(fd, 0, size);
	assert_refused(mem, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	gmem_make_shared(fd, 0, size);
	ASSERT_OK(map_dma(mem, size, READ | WRITE));
	unmap_dma(size);
	stop_vm(fd);
	return NULL;
}

static const char *test_hidden(void)
{
	int fd = start_vm_with_slot(false, NDM_SHARED);

	assert_refused(mem, size);
	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_refused(mem, size);
	assert_refused(mem, page_size);
	assert_anonymous_works();
	assert_guest_sees(vcpu, GPA, size, 1);
	assert_host_sees(mem, size, 1);

	/* No reference to the pages may remain after they leave the file. */
	gmem_punch(fd, 0, size);
	ASSERT_EQ(gmem_allocated(fd), 0ul);
	gmem_wait_for_leaving();
	stop_vm(fd);
	return NULL;
}

static const char *test_hidden_convert(void)
{
	int fd = start_vm_with_slot(true, NDM_SHARED);

	gmem_guest_fill(vcpu, GPA, size, 1);
	assert_refused(mem, size);
	gmem_make_private(fd, 0, size);
	assert_refused(mem, size);
	assert_guest_sees(vcpu, GPA, size, 1);
	stop_vm(fd);
	return NULL;
}

/* Memory before the hidden part of the range is pinned first. */
static const char *test_hidden_part(void)
{
	uint8_t *both = gmem_anonymous(2 * size);
	int fd;

	vm = vm_create_barebones();
	fd = vm_create_guest_memfd(vm, size, NDM_SHARED);
	ASSERT_OK(mmap(both + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       fd, 0));
	gmem_fill(both, size, 1);
	gmem_fill(both + size, size, 2);
	assert_refused(both, 2 * size);
	assert_host_sees(both, size, 1);
	assert_host_sees(both + size, size, 2);
	assert_anonymous_works();
	ASSERT_OK(munmap(both, 2 * size));
	close(fd);
	kvm_vm_free(vm);
	return NULL;
}

static const struct gmem_test tests[] = {
	GMEM_TEST(test_anonymous),
	GMEM_TEST(test_ordinary),
	GMEM_TEST_PROTECTED(test_convert),
	GMEM_TEST(test_hidden),
	GMEM_TEST_PROTECTED(test_hidden_convert),
	GMEM_TEST(test_hidden_part),
};

static void init(void)
{
	int nr;

	gmem_require_no_direct_map();
	__TEST_REQUIRE(!geteuid(), "not root");
	__TEST_REQUIRE(find_device(), "the machine has no device %s (QEMU's edu)", EDU_ID);
	nr = bind_device();
	__TEST_REQUIRE(nr >= 0, "the device is not behind an IOMMU");
	open_container(nr);
	open_device();
}

GMEM_TEST_MAIN(init)
