// SPDX-License-Identifier: GPL-2.0
/*
 * Output: messages go to stderr, events to the report file, one per line, as
 * key=value separated by blanks. The key "why" comes last, and its value
 * extends to the end of the line.
 *
 * The report file is opened for each line: a VMM that closes all descriptors it
 * does not know would close a permanent one, too, and its number could then
 * refer to another file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "options.h"
#include "report.h"
#include "sys.h"

#define PREFIX		"gmem-run: "

__printf(3, 0)
static void write_line(int fd, const char *prefix, const char *fmt, va_list ap)
{
	char line[512];
	size_t len = strlen(prefix);
	int n;

	memcpy(line, prefix, len);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	if (n < 0)
		return;
	len += (size_t)n;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	/* There is no way to report a failure. */
	if (write(fd, line, len) < 0)
		return;
}

void gmem_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(STDERR_FILENO, PREFIX, fmt, ap);
	va_end(ap);
}

void gmem_verbose(const char *fmt, ...)
{
	va_list ap;

	if (!gmem_options.verbose)
		return;
	va_start(ap, fmt);
	write_line(STDERR_FILENO, PREFIX, fmt, ap);
	va_end(ap);
}

void gmem_event(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	int fd;

	if (!gmem_options.report)
		return;
	fd = open(gmem_options.report, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd >= 0) {
		va_start(ap, fmt);
		write_line(fd, "", fmt, ap);
		va_end(ap);
		close(fd);
	}
	errno = saved;
}

static void __noreturn stop(void)
{
	gmem_say("stopping, because of --%s",
		 gmem_options.protected ? "protected" :
		 gmem_options.no_direct_map ? "no-direct-map" : "require");
	gmem_event("event=required");
	_exit(GMEM_EXIT_REQUIRE);
}

/* Says what could not be done; with --require, exits. */
void gmem_refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(STDERR_FILENO, PREFIX, fmt, ap);
	va_end(ap);
	if (!gmem_options.require)
		return;
	stop();
}

/* Exits, whether or not --require is given. */
void gmem_stop(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(STDERR_FILENO, PREFIX, fmt, ap);
	va_end(ap);
	stop();
}

/*
 * A flag shared with all forked children: a daemon binds its memory in a child
 * but reports success in the parent's exit status.
 */
static bool *bound_here;

void gmem_report_init(void)
{
	void *page = gmem_sys_mmap(NULL, gmem_page_size, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	bound_here = page == MAP_FAILED ? NULL : page;
}

void gmem_report_bound(void)
{
	if (bound_here)
		*bound_here = true;
}

/* Has this process or a child bound memory? True if unknown. */
bool gmem_report_any_bound(void)
{
	return !bound_here || *bound_here;
}
