// SPDX-License-Identifier: GPL-2.0
/*
 * Make the memory of a protected VM private.
 *
 * The VMM must load firmware and kernel first, so files start out shared. At
 * the moment that --private-from selects, all files of the VM are made private
 * as a whole, under gmem_lock(): one vCPU thread converts them and the others
 * wait. A file created later becomes private before it is bound.
 *
 * If that fails, the VMM is stopped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "options.h"
#include "private.h"
#include "report.h"
#include "vm.h"

/* How long to retry -EAGAIN, and the pause between two attempts. */
#define PATIENCE_MS	5000
#define PAUSE_US	10000

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void make_private(struct gmem_file *file)
{
	long until = now_ms() + PATIENCE_MS;
	int ret;

	if (file->private)
		return;
	while ((ret = gmem_convert_file(file)) == -EAGAIN && now_ms() < until)
		usleep(PAUSE_US);
	if (ret == -EAGAIN)
		gmem_stop("fd %d: cannot make the memory private: %s",
			  file->fd, "the host holds on to a page for I/O");
	if (ret)
		gmem_stop("fd %d: cannot make the memory private: %s", file->fd,
			  strerrordesc_np(-ret));
	gmem_verbose("fd %d: %lu KiB are private", file->fd, file->size / 1024);
	gmem_event("event=private fd=%d size=%#lx", file->fd, file->size);
}

/* Makes all files of the VM private. Called under gmem_lock(). */
void gmem_private_vm(struct gmem_vm *vm)
{
	const struct gmem_slot *alias;
	struct gmem_file *file;
	size_t i;

	if (vm->private)
		return;
	alias = gmem_slot_alias(vm);
	if (alias)
		gmem_stop("slot %u:%u, gpa %#llx size %#llx, shows private memory again",
			  GMEM_AS_ID(alias->region.slot),
			  GMEM_SLOT_ID(alias->region.slot),
			  alias->region.guest_phys_addr,
			  alias->region.memory_size);
	for (i = 0; (file = gmem_file_at(i)); i++)
		if (file->vm_fd == vm->fd)
			make_private(file);
	vm->private = true;
}

/* Called before the file is bound. */
void gmem_private_file(const struct gmem_vm *vm, struct gmem_file *file)
{
	if (vm->private)
		make_private(file);
}

void gmem_private_at_exit(const struct gmem_vm *vm, int status)
{
	if (!vm->ran || vm->private || gmem_options.from.when != GMEM_WHEN_IO)
		return;
	gmem_say("the guest's memory was shared all the time: it has not written to port %#x",
		 gmem_options.from.port);
	if (!status)
		gmem_stop("so the VM was not protected");
}
