// SPDX-License-Identifier: GPL-2.0
/*
 * Memory attributes of a large range: the time to set them, and the kernel memory that
 * they use.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem-bench.h"

#define ATTR_GPA	(64 * GIB)
#define ATTR_SIZE	(64 * GIB)
#define ATTR_VMS	64

static const char *const attribute_rows[] = {
	"attr-64g", "attr-64g-slot", "attr-64g-memory", NULL };

/*
 * Time to set the attributes of a range, warm. A kernel whose cost grows with the size
 * gets a smaller range and the result is scaled, as the note of the row says.
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

/* Shrink the slab caches, so that only objects in use are counted. */
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

/* Kernel memory outside of the slab caches, in bytes. */
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
 * The memory that attributes use, per virtual machine. Caches that grew by less than
 * one object per VM are ignored: others allocated those objects.
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

	/* The note of the other row tells whether the cost depends on the size. */
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

void bench_attributes(void)
{
	struct vm vm;
	void *mem;
	int gmem;

	if (!has_protected()) {
		cannot(attribute_rows, "", NO_PROTECTED);
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
