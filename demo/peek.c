// SPDX-License-Identifier: GPL-2.0
/*
 * peek [-r] PID PATTERN: find out what a process on the host can read of a VM's memory.
 *
 * PID is a VMM with guest_memfds; the program needs root. It reads each page of the
 * files in three ways: at the VMM's mappings, through /proc/PID/mem and with
 * process_vm_readv(), and through its own mapping of a descriptor that it got from the
 * VMM. For each way it prints the number of pages, of readable pages and of pages that
 * contain PATTERN, and the last error.
 *
 * It also tries to make the first page of each file private, which succeeds only in a
 * protected VM; there the page is private already. With -r it only reads.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../tools/kvm/gmem-run/uapi.h"

#define PAGE	4096UL	/* unit of reading, whatever the page size of the host is */
#define NAME	"kvm-gmem"

struct way {
	const char *name;
	unsigned long pages;
	unsigned long read;
	unsigned long found;
	const char *error;
};

static const char *pattern;
static pid_t pid;
static bool only_read;
static sigjmp_buf on_sigbus;

static void sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

static void die(const char *what)
{
	fprintf(stderr, "peek: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Counts an attempt to read a page: its bytes are in page, or error is set. */
static void count(struct way *way, const void *page, const char *error)
{
	way->pages++;
	if (error) {
		way->error = error;
		return;
	}
	way->read++;
	way->found += !!memmem(page, PAGE, pattern, strlen(pattern));
}

static void print(const struct way *way)
{
	printf("%s_pages=%lu\n%s_read=%lu\n%s_found=%lu\n%s_error=%s\n",
	       way->name, way->pages, way->name, way->read, way->name,
	       way->found, way->name, way->error ? way->error : "none");
}

static void read_proc_mem(struct way *way, int fd, unsigned long addr)
{
	static char page[PAGE];
	ssize_t n = pread(fd, page, PAGE, (off_t)addr);

	count(way, page, n == (ssize_t)PAGE ? NULL :
	      n < 0 ? strerrorname_np(errno) : "short");
}

static void read_process_vm(struct way *way, unsigned long addr)
{
	static char page[PAGE];
	struct iovec local = { .iov_base = page, .iov_len = PAGE };
	struct iovec remote = { .iov_base = (void *)addr, .iov_len = PAGE };
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	count(way, page, n == (ssize_t)PAGE ? NULL :
	      n < 0 ? strerrorname_np(errno) : "short");
}

/* Reads all of the VMM's mappings of guest_memfds. */
static void read_mappings(void)
{
	struct way proc_mem = { .name = "proc_mem" };
	struct way process_vm = { .name = "process_vm" };
	unsigned long start, end, addr;
	char path[64], line[512];
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (!maps || mem < 0)
		die(path);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, NAME) ||
		    sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		for (addr = start; addr < end; addr += PAGE) {
			read_proc_mem(&proc_mem, mem, addr);
			read_process_vm(&process_vm, addr);
		}
	}
	fclose(maps);
	close(mem);
	print(&proc_mem);
	print(&process_vm);
}

static void touch(struct way *way, const char *addr)
{
	static char page[PAGE];

	if (sigsetjmp(on_sigbus, 1)) {
		count(way, NULL, "SIGBUS");
		return;
	}
	memcpy(page, addr, PAGE);
	count(way, page, NULL);
}

static void read_own_mapping(struct way *way, int fd)
{
	struct stat st;
	unsigned long at, size;
	char *mem;

	if (fstat(fd, &st))
		die("fstat");
	size = (unsigned long)st.st_size;
	mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	for (at = 0; at < size; at += PAGE)
		touch(way, mem + at);
	munmap(mem, size);
}

static bool knows_private(int fd)
{
	struct kvm_memory_attributes2 attributes = {
		.size = (__u64)sysconf(_SC_PAGESIZE),
		.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE,
	};

	return !ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attributes);
}

/* Reads all guest_memfds that the VMM has open. */
static void read_files(void)
{
	struct way own = { .name = "own_mapping" };
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	unsigned int files = 0, private = 0;
	char path[300], link[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (pidfd < 0 || !dir)
		die(path);
	while ((entry = readdir(dir))) {
		ssize_t len;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid,
			 entry->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = '\0';
		if (!strstr(link, NAME))
			continue;
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
		if (fd < 0)
			die("pidfd_getfd");
		read_own_mapping(&own, fd);
		files++;
		private += !only_read && knows_private(fd);
		close(fd);
	}
	closedir(dir);
	print(&own);
	printf("files=%u\n", files);
	if (!only_read)
		printf("files_of_protected_vm=%u\n", private);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = sigbus };

	if (argc == 4 && !strcmp(argv[1], "-r")) {
		only_read = true;
		argc--;
		argv++;
	}
	if (argc != 3 || !*argv[2]) {
		fputs("usage: peek [-r] PID PATTERN\n", stderr);
		return 2;
	}
	pid = atoi(argv[1]);
	pattern = argv[2];
	sigaction(SIGBUS, &action, NULL);
	read_mappings();
	read_files();
	return 0;
}
