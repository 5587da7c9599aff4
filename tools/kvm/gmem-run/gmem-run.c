// SPDX-License-Identifier: GPL-2.0
/*
 * gmem-run: run a VMM with its guest RAM in guest_memfd.
 *
 * The launcher checks what can be checked before the VMM runs, passes the
 * options to the preload library in the environment and executes the VMM, which
 * thus keeps the pid, signals and terminal of gmem-run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/elf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"

#define EXIT_USAGE	2
#define EXIT_CANNOT	126
#define EXIT_NOT_FOUND	127

#define LIBRARY		"gmem-run.so"
/* Where to look for the library if it is not next to the program. */
#ifndef LIBDIR
#define LIBDIR		"/usr/lib/gmem-run"
#endif

struct run {
	bool list;
	bool verbose;
	bool require;
	bool no_direct_map;
	bool protected;
	const char *from;
	const char *report;
	char **argv;
};

static const char usage[] =
"Usage: gmem-run [options] [--] VMM [args...]\n"
"Run a virtual machine monitor with its guest RAM in guest_memfd.\n"
"\n"
"  -l, --list         at exit, list the memslots and where their memory was\n"
"  -v, --verbose      say what is done while it is done\n"
"  -r, --require      stop when writable RAM cannot be taken over\n"
"  -R, --report FILE  write one line per event to FILE\n"
"  -n, --no-direct-map\n"
"                     keep guest RAM out of the kernel's direct map; implies\n"
"                     --require\n"
"  -p, --protected    make the VM a software-protected one, whose memory no\n"
"                     process of the host can reach; implies --require\n"
"  -P, --private-from WHEN\n"
"                     with --protected: when memory becomes private; run:\n"
"                     before a vCPU runs (default), io:PORT: when the guest\n"
"                     writes to the I/O port, guest: when the guest asks\n"
"  -h, --help         show this text\n"
"\n"
"The VMM must be a 64-bit program that is linked dynamically.\n"
"Exit status: the VMM's, or 2 wrong usage, 3 --require is not met,\n"
"126 the VMM cannot be run, 127 the VMM is not found.\n";

__printf(2, 3)
static void __noreturn die(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("gmem-run: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

static void check_protected(struct run *run)
{
	struct gmem_private_from from;

	if (run->from && !run->protected)
		die(EXIT_USAGE, "--private-from needs --protected");
	if (!run->from)
		run->from = "run";
	if (!gmem_private_from_parse(run->from, &from))
		die(EXIT_USAGE, "--private-from: '%s' is none of run, io:PORT and guest",
		    run->from);
}

static void parse(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "require", no_argument, NULL, 'r' },
		{ "report", required_argument, NULL, 'R' },
		{ "no-direct-map", no_argument, NULL, 'n' },
		{ "protected", no_argument, NULL, 'p' },
		{ "private-from", required_argument, NULL, 'P' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "+lvrR:npP:h", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			run->list = true;
			break;
		case 'v':
			run->verbose = true;
			break;
		case 'r':
			run->require = true;
			break;
		case 'R':
			run->report = optarg;
			break;
		case 'n':
			run->no_direct_map = true;
			run->require = true;
			break;
		case 'p':
			run->protected = true;
			run->require = true;
			break;
		case 'P':
			run->from = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		default:
			fputs("Try 'gmem-run --help'.\n", stderr);
			exit(EXIT_USAGE);
		}
	}
	check_protected(run);
	run->argv = argv + optind;
	if (!*run->argv)
		die(EXIT_USAGE, "no VMM given, see 'gmem-run --help'");
}

/* Searches PATH like execvp(). */
static void find_vmm(const char *name, char *path)
{
	const char *dirs = getenv("PATH");
	int err = ENOENT;

	if (strchr(name, '/')) {
		if (strlen(name) >= PATH_MAX)
			die(EXIT_CANNOT, "%s", strerror(ENAMETOOLONG));
		strcpy(path, name);
		if (access(path, F_OK))
			die(EXIT_NOT_FOUND, "%s: %s", name, strerror(errno));
		if (access(path, X_OK))
			die(EXIT_CANNOT, "%s: %s", name, strerror(errno));
		return;
	}
	if (!dirs)
		dirs = "/usr/bin:/bin";
	while (*dirs) {
		int len = (int)strcspn(dirs, ":");

		if (snprintf(path, PATH_MAX, "%.*s%s%s", len, dirs,
			     len ? "/" : "./", name) < PATH_MAX) {
			if (!access(path, X_OK))
				return;
			if (errno != ENOENT && errno != ENOTDIR)
				err = errno;
		}
		dirs += len + (dirs[len] == ':');
	}
	die(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s", name,
	    err == ENOENT ? "command not found" : strerror(err));
}

/* Scripts count as dynamic: their interpreter inherits LD_PRELOAD. */
static bool is_dynamic(const char *path, FILE *file, const struct elf64_hdr *ehdr)
{
	struct elf64_phdr phdr;
	int i;

	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG))
		return true;
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		die(EXIT_CANNOT, "%s: 32-bit programs are not supported", path);
	for (i = 0; i < ehdr->e_phnum; i++) {
		long at = (long)(ehdr->e_phoff + (size_t)i * ehdr->e_phentsize);

		if (fseek(file, at, SEEK_SET) ||
		    fread(&phdr, sizeof(phdr), 1, file) != 1)
			break;
		if (phdr.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* LD_PRELOAD has no effect on static, set-user-ID or set-group-ID programs. */
static void check_vmm(const struct run *run, const char *path)
{
	FILE *file = fopen(path, "re");
	const char *why = NULL;
	struct elf64_hdr ehdr = { 0 };
	struct stat st;

	/* Executable but not readable: leave it to execv(). */
	if (!file)
		return;
	if (!fstat(fileno(file), &st) && S_ISDIR(st.st_mode))
		die(EXIT_CANNOT, "%s: %s", path, strerror(EISDIR));
	if (fread(&ehdr, sizeof(ehdr), 1, file) == 1 &&
	    !is_dynamic(path, file, &ehdr))
		why = "is linked statically";
	else if (st.st_mode & (S_ISUID | S_ISGID) && geteuid())
		why = "runs with another user's rights";
	fclose(file);
	if (!why)
		return;
	fprintf(stderr, "gmem-run: %s %s, its memory is left as it is\n", path,
		why);
	if (run->require)
		exit(GMEM_EXIT_REQUIRE);
}

static void find_library(char *path)
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (len > 0) {
		char *slash;

		path[len] = '\0';
		slash = strrchr(path, '/');
		if (slash && (size_t)(slash + 1 - path) + sizeof(LIBRARY) <=
			     PATH_MAX) {
			strcpy(slash + 1, LIBRARY);
			if (!access(path, R_OK))
				return;
		}
	}
	strcpy(path, LIBDIR "/" LIBRARY);
	if (access(path, R_OK))
		die(EXIT_CANNOT, "%s is neither beside gmem-run nor in %s",
		    LIBRARY, LIBDIR);
}

static void set_report(const char *report)
{
	char path[PATH_MAX];
	int fd = open(report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		die(EXIT_USAGE, "%s: %s", report, strerror(errno));
	close(fd);
	/* The VMM may change its working directory. */
	if (!realpath(report, path))
		die(EXIT_USAGE, "%s: %s", report, strerror(errno));
	setenv(GMEM_ENV_REPORT, path, 1);
}

static void set_environment(const struct run *run)
{
	const char *old = getenv("LD_PRELOAD");
	char library[PATH_MAX];
	char options[64];
	char pid[16];
	char *preload;

	snprintf(options, sizeof(options), "%s,%s,%s,%s",
		 run->list ? "list" : "", run->verbose ? "verbose" : "",
		 run->require ? "require" : "",
		 run->no_direct_map ? "no-direct-map" : "");
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv(GMEM_ENV_OPTIONS, options, 1);
	setenv(GMEM_ENV_PID, pid, 1);
	unsetenv(GMEM_ENV_REPORT);
	unsetenv(GMEM_ENV_PROTECTED);
	if (run->protected)
		setenv(GMEM_ENV_PROTECTED, run->from, 1);
	if (run->report)
		set_report(run->report);

	find_library(library);
	if (strpbrk(library, ": "))
		die(EXIT_CANNOT, "%s: LD_PRELOAD cannot express this path",
		    library);
	if (asprintf(&preload, "%s%s%s", library, old && *old ? ":" : "",
		     old ? old : "") < 0)
		die(EXIT_CANNOT, "%s", strerror(ENOMEM));
	setenv("LD_PRELOAD", preload, 1);
	free(preload);
}

int main(int argc, char **argv)
{
	struct run run = { 0 };
	char path[PATH_MAX];

	parse(&run, argc, argv);
	find_vmm(run.argv[0], path);
	check_vmm(&run, path);
	set_environment(&run);
	execv(path, run.argv);
	die(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s", path,
	    strerror(errno));
}
