// SPDX-License-Identifier: GPL-2.0
/*
 * scan kcore MASK MASKED: search all RAM for a secret, through /proc/kcore.
 * scan file PID MASK MASKED: search the guest_memfds of a VMM for it, through
 *	our own mappings.
 *
 * The secret has 32 bytes and is passed as two strings of hex digits, a mask and the
 * secret XORed with it. They are combined only in a register, eight bytes at a time, so
 * that the search does not find itself.
 *
 * Reading /proc/kcore makes copies, however, in a page of the kernel and in buffers
 * here, which are also RAM. So when a page contains the secret, the buffers are zeroed,
 * the page of the kernel is overwritten by reading another page, and the page is read
 * again: a copy made by the search is gone then.
 *
 * /proc/kcore returns zeroes for memory that the kernel cannot read.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/elf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME		"kvm-gmem"
#define WORDS		4
#define SECRET		(WORDS * sizeof(__u64))
#define CHUNK_PAGES	64UL
#define MAX_SEGMENTS	256
#define NO_ADDRESS	(~0ULL)

static __u64 mask[WORDS], masked[WORDS];
static bool is_first[256];
static unsigned long page_size;

/* Pages, nonzero pages, pages with the secret, occurrences of the secret. */
static unsigned long pages, not_zero, found, occurrences;

static void die(const char *what)
{
	fprintf(stderr, "scan: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool parse(const char *text, __u64 *words)
{
	unsigned char bytes[SECRET];
	size_t i;

	if (strlen(text) != 2 * SECRET ||
	    strspn(text, "0123456789abcdef") != 2 * SECRET)
		return false;
	for (i = 0; i < SECRET; i++)
		if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
			return false;
	memcpy(words, bytes, SECRET);
	return true;
}

static __u64 load(const char *at)
{
	__u64 word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* Keep the compiler from precomputing the unmasked secret. */
static bool is_word(unsigned int i, __u64 word)
{
	word ^= mask[i];
	__asm__("" : "+r" (word));
	return word == masked[i];
}

static bool is_secret(const char *at)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if (!is_word(i, load(at + i * sizeof(__u64))))
			return false;
	return true;
}

/*
 * Count the secrets that begin in a page; end is the end of the data, which may follow
 * the page. Wherever a secret begins, one of its first eight bytes is the first byte of
 * an aligned word, so only words with such a first byte are examined.
 */
static unsigned long count(const char *page, const char *end)
{
	const char *stop = page + page_size + sizeof(__u64);
	const char *at;
	unsigned long n = 0;
	unsigned int i;

	for (at = page; at < stop && at + sizeof(__u64) <= end;
	     at += sizeof(__u64)) {
		if (!is_first[(unsigned char)*at])
			continue;
		for (i = 0; i < sizeof(__u64) && at - i >= page; i++)
			n += at - i < page + page_size && at - i + SECRET <= end &&
			     is_secret(at - i);
	}
	return n;
}

static void set_first(void)
{
	const unsigned char *a = (unsigned char *)mask, *b = (unsigned char *)masked;
	size_t i;

	for (i = 0; i < sizeof(__u64); i++)
		is_first[a[i] ^ b[i]] = true;
}

static bool is_zero(const char *page)
{
	return !load(page) &&
	       !memcmp(page, page + sizeof(__u64),
		       page_size - sizeof(__u64));
}

struct kcore {
	int fd;
	char *chunk;
	char *again;
	off_t other;		/* offset of a page without the secret */
	off_t end;		/* of the segment */
};

/*
 * Read pages, and the next one if there is one: a secret counts for the page in which
 * it begins. Returns the end of the data.
 */
static const char *kcore_read(const struct kcore *kcore, char *to, off_t at,
			      size_t nr)
{
	size_t len = (nr + 1) * page_size;

	if (len > (size_t)(kcore->end - at))
		len = (size_t)(kcore->end - at);
	if (pread(kcore->fd, to, len, at) != (ssize_t)len)
		die("/proc/kcore");
	return to + len;
}

/* Read the page again; the chunk has been zeroed. */
static void kcore_confirm(const struct kcore *kcore, off_t at)
{
	const char *end;
	unsigned long n;

	if (pread(kcore->fd, kcore->again, page_size, kcore->other) < 0)
		die("/proc/kcore");
	end = kcore_read(kcore, kcore->again, at, 1);
	n = count(kcore->again, end);
	memset(kcore->again, 0, 2 * page_size);
	found += !!n;
	occurrences += n;
}

static void kcore_chunk(struct kcore *kcore, off_t at, size_t nr)
{
	const char *end = kcore_read(kcore, kcore->chunk, at, nr);
	bool suspect[CHUNK_PAGES], any = false;
	size_t i;

	for (i = 0; i < nr; i++) {
		const char *page = kcore->chunk + i * page_size;

		not_zero += !is_zero(page);
		suspect[i] = count(page, end);
		any |= suspect[i];
		if (!suspect[i])
			kcore->other = at + (off_t)(i * page_size);
	}
	pages += nr;
	if (!any)
		return;
	memset(kcore->chunk, 0, (nr + 1) * page_size);
	for (i = 0; i < nr; i++)
		if (suspect[i])
			kcore_confirm(kcore, at + (off_t)(i * page_size));
}

static void kcore_segment(struct kcore *kcore, const struct elf64_phdr *segment)
{
	off_t at = (off_t)segment->p_offset;

	kcore->end = at + (off_t)segment->p_filesz;
	while (at < kcore->end) {
		size_t nr = (size_t)(kcore->end - at) / page_size;

		if (nr > CHUNK_PAGES)
			nr = CHUNK_PAGES;
		if (!nr)
			break;
		kcore_chunk(kcore, at, nr);
		at += (off_t)(nr * page_size);
	}
}

/*
 * Segments of RAM and of the kernel image have a physical address. The others, such as
 * vmalloc, are further mappings of the same RAM.
 */
static void scan_kcore(void)
{
	static struct elf64_phdr segments[MAX_SEGMENTS];
	struct kcore kcore = { .fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC) };
	struct elf64_hdr header;
	unsigned int i, used = 0;
	char *mem;

	if (kcore.fd < 0 ||
	    pread(kcore.fd, &header, sizeof(header), 0) != sizeof(header))
		die("/proc/kcore");
	if (header.e_phnum > MAX_SEGMENTS ||
	    pread(kcore.fd, segments, header.e_phnum * sizeof(*segments),
		  (off_t)header.e_phoff) < 0)
		die("/proc/kcore: its header");
	mem = mmap(NULL, (CHUNK_PAGES + 3) * page_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	kcore.again = mem;
	kcore.chunk = mem + 2 * page_size;
	for (i = 0; i < header.e_phnum; i++) {
		if (segments[i].p_type != PT_LOAD ||
		    segments[i].p_paddr == NO_ADDRESS)
			continue;
		if (!used++)
			kcore.other = (off_t)segments[i].p_offset;
		kcore_segment(&kcore, &segments[i]);
	}
	printf("segments=%u\n", used);
}

static void scan_mapping(int fd)
{
	struct stat st;
	size_t at, size;
	char *mem;

	if (fstat(fd, &st))
		die("fstat");
	size = (size_t)st.st_size;
	mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	for (at = 0; at < size; at += page_size) {
		unsigned long n = count(mem + at, mem + size);

		pages++;
		not_zero += !is_zero(mem + at);
		found += !!n;
		occurrences += n;
	}
	munmap(mem, size);
}

/* Searches all guest_memfds that the VMM has open. */
static void scan_files(int pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	unsigned int files = 0;
	struct dirent *entry;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (pidfd < 0 || !dir)
		die(path);
	while ((entry = readdir(dir))) {
		char link[64] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid,
			 entry->d_name);
		if (readlink(path, link, sizeof(link) - 1) < 0 ||
		    !strstr(link, NAME))
			continue;
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
		if (fd < 0)
			die("pidfd_getfd");
		scan_mapping(fd);
		close(fd);
		files++;
	}
	closedir(dir);
	printf("files=%u\n", files);
}

int main(int argc, char **argv)
{
	bool kcore = argc == 4 && !strcmp(argv[1], "kcore");

	page_size = (unsigned long)sysconf(_SC_PAGESIZE);
	if ((!kcore && (argc != 5 || strcmp(argv[1], "file"))) ||
	    !parse(argv[argc - 2], mask) || !parse(argv[argc - 1], masked)) {
		fputs("usage: scan kcore MASK MASKED\n"
		      "       scan file PID MASK MASKED\n", stderr);
		return 2;
	}
	set_first();
	if (kcore)
		scan_kcore();
	else
		scan_files(atoi(argv[2]));
	printf("pages=%lu\nnot_zero=%lu\nfound=%lu\noccurrences=%lu\n",
	       pages, not_zero, found, occurrences);
	return 0;
}
