// SPDX-License-Identifier: GPL-2.0
/*
 * Handle KVM_SET_USER_MEMORY_REGION.
 *
 * A bound slot can be deleted, and its dirty log can be switched with the same
 * file and offset, but KVM does not move it. To move it, it is deleted and
 * recreated, which is how KVM moves an ordinary slot internally.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "backing.h"
#include "file.h"
#include "options.h"
#include "private.h"
#include "region.h"
#include "report.h"
#include "sys.h"
#include "uapi.h"
#include "vm.h"

/* Number of refused slots in all VMs, for the self-test. */
unsigned int gmem_regions_left;

/* The VMM's own call; request and arg are passed to the kernel unmodified. */
struct call {
	struct gmem_vm *vm;
	unsigned long request;
	void *arg;
	struct kvm_userspace_memory_region2 want;
};

static int forward(const struct call *call)
{
	return gmem_sys_ioctl(call->vm->fd, call->request, call->arg);
}

static int set_region2(const struct gmem_vm *vm,
		       struct kvm_userspace_memory_region2 *region)
{
	return gmem_sys_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, region);
}

static void say_bound(const struct kvm_userspace_memory_region2 *r)
{
	unsigned int as = GMEM_AS_ID(r->slot), id = GMEM_SLOT_ID(r->slot);

	gmem_verbose("slot %u:%u gpa %#llx size %#llx: bound to fd %u offset %#llx",
		     as, id, r->guest_phys_addr, r->memory_size,
		     r->guest_memfd, r->guest_memfd_offset);
	gmem_event("event=bound slot=%u:%u gpa=%#llx size=%#llx uaddr=%#llx fd=%u offset=%#llx",
		   as, id, r->guest_phys_addr, r->memory_size,
		   r->userspace_addr, r->guest_memfd, r->guest_memfd_offset);
}

static void say_slot(const struct gmem_slot *slot)
{
	const struct kvm_userspace_memory_region2 *r = &slot->region;
	const char *kind = gmem_slot_kind_name(slot->kind);
	unsigned int as = GMEM_AS_ID(r->slot), id = GMEM_SLOT_ID(r->slot);

	if (slot->kind == GMEM_SLOT_BOUND) {
		say_bound(r);
		return;
	}
	gmem_verbose("slot %u:%u gpa %#llx size %#llx: %s: %s", as, id,
		     r->guest_phys_addr, r->memory_size, kind, slot->why);
	gmem_event("event=%s slot=%u:%u gpa=%#llx size=%#llx uaddr=%#llx why=%s",
		   kind, as, id, r->guest_phys_addr, r->memory_size,
		   r->userspace_addr, slot->why);
}

/*
 * Private memory cannot have aliases. Until memory becomes private, they are
 * allowed: VMMs create and delete some while they build the machine.
 */
static bool is_refused(const struct gmem_vm *vm, enum gmem_slot_kind kind)
{
	switch (kind) {
	case GMEM_SLOT_LEFT:
		return true;
	case GMEM_SLOT_OWN:
		return gmem_options.protected || gmem_options.no_direct_map;
	case GMEM_SLOT_ALIAS:
		return vm->private;
	default:
		return false;
	}
}

/* Creates the slot as the VMM requested it, without binding it. */
static int slot_leave(const struct call *call, enum gmem_slot_kind kind,
		      const char *why)
{
	struct gmem_slot slot = {
		.kind = kind,
		.region = call->want,
		.why = why,
	};
	int ret = forward(call);

	if (ret)
		return ret;
	gmem_slot_record(call->vm, &slot);
	say_slot(&slot);
	if (is_refused(call->vm, kind)) {
		gmem_regions_left++;
		gmem_refuse("slot %u:%u, gpa %#llx size %#llx, is not in a guest_memfd: %s",
			    GMEM_AS_ID(slot.region.slot),
			    GMEM_SLOT_ID(slot.region.slot),
			    slot.region.guest_phys_addr,
			    slot.region.memory_size, why);
	}
	return 0;
}

static int slot_bind(const struct call *call,
		     const struct gmem_backing *backing)
{
	struct gmem_slot slot = {
		.kind = GMEM_SLOT_BOUND,
		.region = call->want,
		.dev = backing->file->dev,
		.ino = backing->file->ino,
	};
	int fd = gmem_file_fd(backing->file);
	int ret;

	if (fd < 0)
		return slot_leave(call, GMEM_SLOT_LEFT,
				  "its guest_memfd is closed");
	slot.region.flags &= ~(u32)KVM_MEM_READONLY;
	slot.region.flags |= KVM_MEM_GUEST_MEMFD;
	slot.region.guest_memfd = (u32)fd;
	slot.region.guest_memfd_offset = backing->offset;
	gmem_private_file(call->vm, backing->file);
	ret = set_region2(call->vm, &slot.region);
	/* Also returned for overlapping slots; forward() fails then, too. */
	if (ret == -EEXIST)
		return slot_leave(call, GMEM_SLOT_ALIAS,
				  "another slot has bound these pages");
	if (ret)
		return slot_leave(call, GMEM_SLOT_LEFT, strerrordesc_np(-ret));
	gmem_report_bound();
	gmem_slot_record(call->vm, &slot);
	say_slot(&slot);
	return 0;
}

/*
 * Read-only slots are ROM and are not bound. The exception is shadow RAM that
 * the guest has locked: it may be private, and only bound slots can access
 * private memory. Bound slots cannot be read-only, so it is bound writable.
 */
static int slot_readonly(const struct call *call)
{
	const struct kvm_userspace_memory_region2 *want = &call->want;
	struct gmem_backing backing;

	if (gmem_options.protected &&
	    gmem_backing_find(want->userspace_addr,
			      want->userspace_addr + want->memory_size,
			      &backing))
		return slot_bind(call, &backing);
	return slot_leave(call, GMEM_SLOT_READONLY, "read-only");
}

static int slot_create(const struct call *call)
{
	const struct kvm_userspace_memory_region2 *want = &call->want;
	struct gmem_backing backing;
	const char *why;

	if (want->flags & KVM_MEM_GUEST_MEMFD)
		return slot_leave(call, GMEM_SLOT_OWN,
				  "the VMM's own guest_memfd");
	/* Leave it to KVM to reject these. */
	if ((want->userspace_addr | want->memory_size) & (gmem_page_size - 1) ||
	    want->userspace_addr + want->memory_size < want->userspace_addr)
		return forward(call);
	if (want->flags & KVM_MEM_READONLY)
		return slot_readonly(call);
	why = gmem_backing_get(call->vm->fd, want->userspace_addr,
			       want->userspace_addr + want->memory_size,
			       &backing);
	if (why)
		return slot_leave(call, backing.device ? GMEM_SLOT_DEVICE :
				  GMEM_SLOT_LEFT, why);
	/* x86: the address space of SMM shows the same RAM again. */
	if (GMEM_AS_ID(want->slot))
		return slot_leave(call, GMEM_SLOT_ALIAS,
				  "of another address space");
	return slot_bind(call, &backing);
}

static int slot_delete(const struct call *call, struct gmem_slot *slot)
{
	int ret = forward(call);

	if (ret || !slot)
		return ret;
	gmem_verbose("slot %u:%u: deleted, was %s",
		     GMEM_AS_ID(slot->region.slot),
		     GMEM_SLOT_ID(slot->region.slot),
		     gmem_slot_kind_name(slot->kind));
	gmem_event("event=deleted slot=%u:%u was=%s",
		   GMEM_AS_ID(slot->region.slot),
		   GMEM_SLOT_ID(slot->region.slot),
		   gmem_slot_kind_name(slot->kind));
	gmem_slot_forget(call->vm, slot);
	return 0;
}

static int slot_log(const struct call *call, struct gmem_slot *slot)
{
	struct gmem_file *file = gmem_file_find(slot->dev, slot->ino);
	struct kvm_userspace_memory_region2 region = slot->region;
	bool on = call->want.flags & KVM_MEM_LOG_DIRTY_PAGES;
	int fd = file ? gmem_file_fd(file) : -1;
	int ret;

	if (fd < 0)
		return -EBADF;
	region.flags = call->want.flags | KVM_MEM_GUEST_MEMFD;
	region.guest_memfd = (u32)fd;
	ret = set_region2(call->vm, &region);
	if (ret) {
		gmem_say("slot %u:%u: cannot switch the dirty log: %s",
			 GMEM_AS_ID(region.slot), GMEM_SLOT_ID(region.slot),
			 strerrordesc_np(-ret));
		return ret;
	}
	slot->region = region;
	gmem_verbose("slot %u:%u: dirty log %s", GMEM_AS_ID(region.slot),
		     GMEM_SLOT_ID(region.slot), on ? "on" : "off");
	gmem_event("event=log slot=%u:%u on=%d", GMEM_AS_ID(region.slot),
		   GMEM_SLOT_ID(region.slot), on);
	return 0;
}

static int slot_move(const struct call *call, struct gmem_slot *slot)
{
	struct kvm_userspace_memory_region2 new = slot->region;
	struct kvm_userspace_memory_region2 old = slot->region;
	int ret;

	new.guest_phys_addr = call->want.guest_phys_addr;
	old.memory_size = 0;
	ret = set_region2(call->vm, &old);
	if (ret)
		return ret;
	ret = set_region2(call->vm, &new);
	if (!ret) {
		slot->region = new;
		say_slot(slot);
		return 0;
	}
	if (set_region2(call->vm, &slot->region)) {
		gmem_say("slot %#x: lost while it was moved", new.slot);
		gmem_slot_forget(call->vm, slot);
	}
	return ret;
}

/* KVM rejects any other change, with the proper error. */
static int slot_change(const struct call *call, struct gmem_slot *slot)
{
	const struct kvm_userspace_memory_region2 *want = &call->want;
	const struct kvm_userspace_memory_region2 *have = &slot->region;
	u32 change = want->flags ^ (have->flags &
					 ~(u32)KVM_MEM_GUEST_MEMFD);
	int ret;

	if (slot->kind != GMEM_SLOT_BOUND) {
		ret = forward(call);
		if (!ret)
			slot->region = *want;
		return ret;
	}
	if (want->memory_size != have->memory_size ||
	    want->userspace_addr != have->userspace_addr ||
	    change & ~(u32)KVM_MEM_LOG_DIRTY_PAGES)
		return forward(call);
	if (want->guest_phys_addr != have->guest_phys_addr)
		return change ? -EINVAL : slot_move(call, slot);
	/* As with ordinary slots, setting the same values is a no-op. */
	return change ? slot_log(call, slot) : 0;
}

int gmem_region_set(struct gmem_vm *vm, unsigned long request, void *arg)
{
	struct call call = { .vm = vm, .request = request, .arg = arg };
	struct gmem_slot *slot;

	if (request == KVM_SET_USER_MEMORY_REGION2)
		memcpy(&call.want, arg, sizeof(call.want));
	else
		memcpy(&call.want, arg,
		       sizeof(struct kvm_userspace_memory_region));
	slot = gmem_slot_find(vm, call.want.slot);
	if (!call.want.memory_size)
		return slot_delete(&call, slot);
	if (slot)
		return slot_change(&call, slot);
	return slot_create(&call);
}
