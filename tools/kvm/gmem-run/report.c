// SPDX-License-Identifier: GPL-2.0
/*
 * What is told, and where: messages to stderr, events to the report file, one
 * line each, key=value separated by blanks. A key "why" comes last and its
 * value goes to the end of the line.
 *
 * The report is opened for each line: a descriptor that stays open would be
 * one that a VMM closes with all it does not know, and whose number then
 * belongs to another file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload.h"

#define PREFIX		"gmem-run: "

struct summary {
	unsigned int slots[GMEM_SLOT_OWN + 1];
	u64 bytes[GMEM_SLOT_OWN + 1];
};

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
	/* There is nobody to tell when this fails. */
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

/* Says what could not be done; under --require that is the end. */
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

/* What may not go on, whatever the options say. */
void gmem_stop(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(STDERR_FILENO, PREFIX, fmt, ap);
	va_end(ap);
	stop();
}

static void list_slot(const struct gmem_slot *slot)
{
	const struct kvm_userspace_memory_region2 *r = &slot->region;

	if (slot->kind == GMEM_SLOT_BOUND)
		gmem_say("%3u:%-3u %#14llx %#12llx  fd %u offset %#llx",
			 GMEM_AS_ID(r->slot), GMEM_SLOT_ID(r->slot),
			 r->guest_phys_addr, r->memory_size, r->guest_memfd,
			 r->guest_memfd_offset);
	else
		gmem_say("%3u:%-3u %#14llx %#12llx  %s: %s",
			 GMEM_AS_ID(r->slot), GMEM_SLOT_ID(r->slot),
			 r->guest_phys_addr, r->memory_size,
			 gmem_slot_kind_name(slot->kind), slot->why);
}

/* By address space and address, which no two slots share. */
static bool is_before(const struct gmem_slot *a, const struct gmem_slot *b)
{
	u32 as_a = GMEM_AS_ID(a->region.slot), as_b = GMEM_AS_ID(b->region.slot);

	if (as_a != as_b)
		return as_a < as_b;
	return a->region.guest_phys_addr < b->region.guest_phys_addr;
}

static const struct gmem_slot *next_slot(const struct gmem_vm *vm,
					 const struct gmem_slot *last)
{
	const struct gmem_slot *next = NULL;
	size_t i;

	for (i = 0; i < vm->slots.nr; i++) {
		const struct gmem_slot *slot = gmem_vec_at(&vm->slots, i);

		if ((!last || is_before(last, slot)) &&
		    (!next || is_before(slot, next)))
			next = slot;
	}
	return next;
}

static void sum_up(const struct gmem_vm *vm, struct summary *summary)
{
	const struct gmem_slot *slot = NULL;

	if (gmem_options.list)
		gmem_say("%7s %14s %12s  %s", "slot", "gpa", "size", "memory");
	while ((slot = next_slot(vm, slot))) {
		summary->slots[slot->kind]++;
		summary->bytes[slot->kind] += slot->region.memory_size;
		if (gmem_options.list)
			list_slot(slot);
	}
}

static void report_vm(const struct gmem_vm *vm)
{
	struct summary sum = { 0 };

	sum_up(vm, &sum);
	if (gmem_options.list || gmem_options.verbose)
		gmem_say("%u slots bound (%lu KiB), %u aliases, %u read-only, %u left (%lu KiB)",
			 sum.slots[GMEM_SLOT_BOUND],
			 sum.bytes[GMEM_SLOT_BOUND] / 1024,
			 sum.slots[GMEM_SLOT_ALIAS],
			 sum.slots[GMEM_SLOT_READONLY],
			 sum.slots[GMEM_SLOT_LEFT],
			 sum.bytes[GMEM_SLOT_LEFT] / 1024);
	gmem_event("event=exit fd=%d bound=%u bytes=%#lx alias=%u readonly=%u left=%u",
		   vm->fd, sum.slots[GMEM_SLOT_BOUND],
		   sum.bytes[GMEM_SLOT_BOUND], sum.slots[GMEM_SLOT_ALIAS],
		   sum.slots[GMEM_SLOT_READONLY], sum.slots[GMEM_SLOT_LEFT]);
}

/*
 * One flag for this process and all it forks: a daemon binds its memory in a
 * child, and it is the parent's exit status that says how it went.
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

/* Children that were forked by the VMM, and end by exit(), have no say. */
void gmem_report_at_exit(int status, void *unused)
{
	const struct gmem_vm *vm;
	size_t i;

	(void)unused;
	if (!gmem_lock())
		return;
	for (i = 0; (vm = gmem_vm_at(i)); i++)
		if (vm->pid == getpid())
			report_vm(vm);
	for (i = 0; (vm = gmem_vm_at(i)); i++)
		if (vm->pid == getpid() && gmem_options.protected)
			gmem_protect_at_exit(vm, status);
	if (!status && gmem_options.require && bound_here && !*bound_here &&
	    gmem_options.pid == getpid()) {
		fflush(NULL);
		gmem_refuse("no memory was registered with KVM");
	}
	gmem_unlock();
}
