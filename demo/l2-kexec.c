// SPDX-License-Identifier: GPL-2.0
/*
 * l2-kexec KERNEL INITRD CMDLINE: in L2, start another kernel without a reset.
 * l2-kexec -p KERNEL INITRD CMDLINE: start it when this one crashes.
 * l2-kexec -f PATTERN: print how many pages of the crashed kernel have PATTERN in them.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void load(char **argv, unsigned long flags)
{
	if (syscall(SYS_kexec_file_load, open_file(argv[0]), open_file(argv[1]),
		    strlen(argv[2]) + 1, argv[2], flags))
		err(1, "kexec_file_load");
}

static int find(const char *pattern)
{
	int fd = open_file("/proc/vmcore");
	unsigned long found = 0;
	char page[4096];
	ssize_t n;

	while ((n = read(fd, page, sizeof(page))) > 0)
		found += !!memmem(page, (size_t)n, pattern, strlen(pattern));
	if (n < 0)
		err(1, "/proc/vmcore");
	printf("%lu\n", found);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "-f"))
		return find(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "-p")) {
		load(argv + 2, KEXEC_FILE_ON_CRASH);
		return 0;
	}
	if (argc != 4)
		errx(2, "usage: l2-kexec [-p] KERNEL INITRD CMDLINE | -f PATTERN");
	load(argv + 1, 0);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	err(1, "reboot");
}
