// SPDX-License-Identifier: GPL-2.0
/*
 * Make pages private or shared, in place.
 *
 * Files are converted by offset, not by guest address: VMMs delete and recreate
 * slots while the guest runs (for the shadow RAM of a PC), and the state must
 * stay with the pages. KVM has no call to query the state, so state.c tracks
 * it; nothing else converts our files.
 */
#include <errno.h>

#include "file.h"
#include "private.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vm.h"

/* The part of a file that backs a range of guest addresses. */
struct piece {
	struct gmem_file *file;
	u64 offset;
	u64 size;
};

static int set_attributes(struct gmem_file *file, u64 offset, u64 size,
			  bool private, u64 *error_offset)
{
	struct kvm_memory_attributes2 attributes = {
		.offset = offset,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};
	int fd = gmem_file_fd(file);
	int ret;

	if (fd < 0)
		return -EBADF;
	ret = gmem_sys_ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attributes);
	*error_offset = attributes.error_offset;
	return ret;
}

/* Makes the whole file private. Returns -EAGAIN while a page is in use. */
int gmem_convert_file(struct gmem_file *file)
{
	u64 error_offset = 0;
	int ret;

	ret = set_attributes(file, 0, file->size, true, &error_offset);
	if (ret == -EAGAIN)
		gmem_verbose("fd %d: the page at %#lx is in use", file->fd,
			     error_offset);
	if (ret)
		return ret;
	gmem_state_set_all(file, true);
	return 0;
}

static int convert_piece(const struct piece *piece, bool private)
{
	struct gmem_file *file = piece->file;
	u64 unused;
	int ret = gmem_state_prepare(file);

	if (!ret)
		ret = set_attributes(file, piece->offset, piece->size, private,
				     &unused);
	if (!ret)
		gmem_state_set(file, piece->offset,
			       piece->offset + piece->size, private);
	return ret;
}

/* The part of [gpa, gpa + size) that lies in the slot of its first page. */
static bool find_piece(const struct gmem_vm *vm, u64 gpa, u64 size,
		       struct piece *piece)
{
	const struct gmem_slot *slot = gmem_slot_bound_at(vm, gpa);
	u64 into;

	if (!slot)
		return false;
	piece->file = gmem_file_find(slot->dev, slot->ino);
	if (!piece->file)
		return false;
	into = gpa - slot->region.guest_phys_addr;
	piece->offset = slot->region.guest_memfd_offset + into;
	piece->size = slot->region.memory_size - into;
	if (piece->size > size)
		piece->size = size;
	return true;
}

static bool is_aligned(u64 gpa, u64 size)
{
	return size && !((gpa | size) & (gmem_page_size - 1)) &&
	       gpa + size > gpa;
}

/*
 * Converts a range of guest addresses. Returns -EINVAL and converts nothing
 * unless all of the range is in bound slots. If a later slot fails, earlier
 * ones stay converted; the guest can repeat the call to make progress.
 */
int gmem_convert_gpa(struct gmem_vm *vm, u64 gpa, u64 size, bool private)
{
	struct piece piece;
	u64 at;
	int ret = 0;

	if (!is_aligned(gpa, size))
		return -EINVAL;
	for (at = gpa; at < gpa + size; at += piece.size)
		if (!find_piece(vm, at, gpa + size - at, &piece))
			return -EINVAL;
	for (at = gpa; !ret && at < gpa + size; at += piece.size) {
		if (!find_piece(vm, at, gpa + size - at, &piece))
			return -EINVAL;
		ret = convert_piece(&piece, private);
	}
	gmem_event("event=convert gpa=%#lx size=%#lx private=%d result=%d",
		   gpa, size, private, ret);
	return ret;
}

/* Is the whole range in bound slots, and some of it not in this state? */
bool gmem_convert_differs(struct gmem_vm *vm, u64 gpa, u64 size, bool private)
{
	bool differs = false;
	struct piece piece;
	u64 at;

	if (!is_aligned(gpa, size))
		return false;
	for (at = gpa; at < gpa + size; at += piece.size) {
		if (!find_piece(vm, at, gpa + size - at, &piece))
			return false;
		differs |= gmem_state_differs(piece.file, piece.offset,
					      piece.offset + piece.size,
					      private);
	}
	return differs;
}
