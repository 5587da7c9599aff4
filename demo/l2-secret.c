// SPDX-License-Identifier: GPL-2.0
/*
 * l2-secret DISK ADDRESS PORT: in L2, keep a secret in memory while disk and network
 * are busy.
 *
 * One thread writes to the third MiB of DISK and reads it back, with O_DIRECT; another
 * one sends messages to ADDRESS, which echoes them. Both check the data and never stop.
 * Commands are read from stdin, one per line:
 *
 *  fill MIB MASK MASKED	fill MIB MiB of memory with the 32-byte secret, which
 *			is the XOR of the two strings of hex digits
 *  check		print how much of it is intact
 *  io			print the good and bad rounds of disk and network
 *  off			end
 *
 * Only that memory contains the secret, which is computed 4 bytes at a time, because
 * the host can see the registers of a vCPU.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB		0x100000UL
#define MESSAGE		1024
#define WORDS		8
#define SECRET		(WORDS * sizeof(__u32))

static __u32 mask[WORDS], masked[WORDS];
/* Atomic, so that the compiler does not combine words. */
static atomic_uint *memory;
static size_t memory_words;

static atomic_ulong disk_good, disk_bad, net_good, net_bad;
static const char *disk_path;
static struct sockaddr_in other;

/* Lower the priority of this thread: other work on the only vCPU goes first. */
static void be_nice(void)
{
	errno = 0;
	if (nice(19) == -1 && errno)
		disk_bad++;
}

static void *disk_thread(void *unused)
{
	int fd = open(disk_path, O_RDWR | O_DIRECT);
	unsigned int round = 0;
	char *out, *in;

	(void)unused;
	be_nice();
	if (fd < 0 || posix_memalign((void **)&out, 4096, 65536) ||
	    posix_memalign((void **)&in, 4096, 65536)) {
		disk_bad++;
		return NULL;
	}
	for (;; round++) {
		off_t at = (off_t)(2 * MIB + round % 16 * 65536);

		memset(out, (int)round, 65536);
		if (pwrite(fd, out, 65536, at) == 65536 &&
		    pread(fd, in, 65536, at) == 65536 &&
		    !memcmp(in, out, 65536))
			disk_good++;
		else
			disk_bad++;
	}
}

/* Reads the whole buffer, however many pieces it comes in. */
static bool receive(int fd, char *to, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, to + len, size - len)) > 0)
		len += (size_t)n;
	return len == size;
}

static void *net_thread(void *unused)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char out[MESSAGE], in[MESSAGE];
	unsigned long round;

	(void)unused;
	be_nice();
	if (connect(fd, (struct sockaddr *)&other, sizeof(other))) {
		net_bad++;
		return NULL;
	}
	for (round = 0;; round++) {
		memset(out, (int)round, sizeof(out));
		memcpy(out, &round, sizeof(round));
		if (write(fd, out, sizeof(out)) != sizeof(out) ||
		    !receive(fd, in, sizeof(in)) ||
		    memcmp(in, out, sizeof(in))) {
			net_bad++;
			return NULL;
		}
		net_good++;
	}
}

static bool parse(const char *text, __u32 *words)
{
	unsigned char bytes[SECRET];
	size_t i;

	if (strlen(text) != 2 * SECRET)
		return false;
	for (i = 0; i < SECRET; i++)
		if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
			return false;
	memcpy(words, bytes, SECRET);
	return true;
}

static void fill_memory(const char *line)
{
	char a[2 * SECRET + 1], b[2 * SECRET + 1];
	unsigned long mib;
	size_t i;

	if (memory || sscanf(line, "fill %lu %64s %64s", &mib, a, b) != 3 ||
	    !parse(a, mask) || !parse(b, masked)) {
		printf("L2: bad=%s\n", line);
		return;
	}
	memory = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		printf("L2: bad=no memory\n");
		return;
	}
	memory_words = mib * MIB / sizeof(*memory);
	for (i = 0; i < memory_words; i++)
		atomic_store_explicit(&memory[i],
				      mask[i % WORDS] ^ masked[i % WORDS],
				      memory_order_relaxed);
	printf("L2: filled_kib=%lu\n", mib * 1024);
}

static bool is_secret(size_t i)
{
	__u32 word = atomic_load_explicit(&memory[i], memory_order_relaxed);

	return (word ^ mask[i % WORDS]) == masked[i % WORDS];
}

static void check(void)
{
	size_t i = 0;

	while (i < memory_words && is_secret(i))
		i++;
	printf("L2: kept_kib=%zu\n", i * sizeof(*memory) / 1024);
}

static bool start(char **argv)
{
	pthread_t thread;

	disk_path = argv[1];
	other.sin_family = AF_INET;
	other.sin_port = htons((unsigned short)atoi(argv[3]));
	return inet_pton(AF_INET, argv[2], &other.sin_addr) == 1 &&
	       !pthread_create(&thread, NULL, disk_thread, NULL) &&
	       !pthread_create(&thread, NULL, net_thread, NULL);
}

int main(int argc, char **argv)
{
	char line[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4 || !start(argv)) {
		puts("L2: bad=usage: l2-secret DISK ADDRESS PORT");
		return 2;
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (!strcmp(line, "off"))
			break;
		if (!strncmp(line, "fill ", 5))
			fill_memory(line);
		else if (!strcmp(line, "check"))
			check();
		else if (!strcmp(line, "io"))
			printf("L2: io=%lu %lu %lu %lu\n", disk_good, net_good,
			       disk_bad, net_bad);
	}
	return 0;
}
