/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmem-run's preload library: shared declarations.
 *
 * Model: the VMM is not changed and does not know. It maps memory, creates a
 * VM and registers ranges of its memory as memslots. The library looks at the
 * last step only. When a writable range is registered, the *block* it lies in
 * (what the VMM mapped in one go, or a whole memfd) is moved into a
 * guest_memfd: same addresses, same contents, other file. Then the slot is
 * registered with that file. From there on the VMM's own accesses and the
 * guest's go to the same pages of the same file.
 *
 * Invariants:
 * - Whatever fails before the block's address range has been remapped leaves
 *   the VMM's memory and file descriptors as they were, and the VMM's own
 *   call goes to the kernel unchanged.
 * - Where memory lies is never remembered, it is looked up in /proc/self/maps
 *   at each registration. Only files, slots and the extents of the VMM's own
 *   anonymous mappings are remembered.
 * - A page of a file has one binding. A slot that shows it a second time stays
 *   an ordinary slot, on the file's mapping: an alias.
 * - With --protected, memory that cannot be private ends the VMM, and with
 *   --no-direct-map what cannot be out of the direct map does: no VM runs with
 *   less protection than was asked for.
 *
 * Vocabulary: "end" is exclusive. "taken over" means that the block's pages
 * are in a guest_memfd; "bound" means that a slot is registered with it.
 *
 * Locking: gmem_lock() serialises everything. It is held across fork(), and a
 * thread that holds it passes straight through the interposed functions. It is
 * not held while a vCPU runs.
 *
 * Functions return 0 or a positive value, or a negative errno.
 */
#ifndef GMEM_RUN_PRELOAD_H
#define GMEM_RUN_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uapi.h"

#if __SIZEOF_POINTER__ != 8
#error "gmem-run supports 64-bit programs only"
#endif

typedef uint32_t u32;
typedef uint64_t u64;

#define GMEM_EXIT_REQUIRE	3

/* One name, so that the library and the launcher cannot disagree. */
#define GMEM_ENV_OPTIONS	"GMEM_RUN_OPTIONS"
#define GMEM_ENV_REPORT		"GMEM_RUN_REPORT"
#define GMEM_ENV_PID		"GMEM_RUN_PID"
#define GMEM_ENV_PROTECTED	"GMEM_RUN_PROTECTED"

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define gmem_attribute(a)	__attribute__((a))
#define __printf(a, b)		gmem_attribute(__format__(printf, a, b))
#define __noreturn		gmem_attribute(__noreturn__)

/* vec.c: a growing array that does not use the VMM's allocator */
struct gmem_vec {
	void *data;
	size_t nr;
	size_t capacity;
	size_t size;
};

#define GMEM_VEC(type)		{ .size = sizeof(type) }

void *gmem_vec_add(struct gmem_vec *vec);
void *gmem_vec_at(const struct gmem_vec *vec, size_t i);
void gmem_vec_remove(struct gmem_vec *vec, size_t i);
void gmem_vec_free(struct gmem_vec *vec);

/* sys.c: the kernel, without passing through the interposed functions */
extern size_t gmem_page_size;

int gmem_sys_ioctl(int fd, unsigned long request, void *arg);
void *gmem_sys_mmap(void *addr, size_t len, int prot, int flags, int fd,
		    off_t offset);
int gmem_sys_munmap(void *addr, size_t len);
void *gmem_sys_mremap(void *old, size_t old_len, size_t new_len, int flags,
		      void *new);
int gmem_sys_madvise(void *addr, size_t len, int advice);
int gmem_sys_ftruncate(int fd, off_t size);
int gmem_sys_fcntl(int fd, int cmd, long arg);
int gmem_sys_mbind(void *addr, size_t len, int mode, const unsigned long *mask,
		   unsigned long bits);
int gmem_sys_get_mempolicy(int *mode, unsigned long *mask, unsigned long bits,
			   const void *addr);

/* private_from.c: when the memory of a protected VM becomes private */
enum gmem_when {
	GMEM_WHEN_RUN,		/* before a vCPU runs */
	GMEM_WHEN_IO,		/* when the guest writes to an I/O port */
	GMEM_WHEN_GUEST,	/* as the guest asks for it, page by page */
};

struct gmem_private_from {
	enum gmem_when when;
	unsigned int port;
};

bool gmem_private_from_parse(const char *text, struct gmem_private_from *from);

/* lock.c */
bool gmem_lock(void);
void gmem_unlock(void);

/* options.c */
struct gmem_options {
	bool list;
	bool verbose;
	bool require;
	bool no_direct_map;
	bool protected;
	struct gmem_private_from from;
	const char *report;
	pid_t pid;
};

extern struct gmem_options gmem_options;

const char *gmem_options_read(void);
void gmem_options_forget(void);

/* report.c */
void gmem_say(const char *fmt, ...) __printf(1, 2);
void gmem_verbose(const char *fmt, ...) __printf(1, 2);
void gmem_event(const char *fmt, ...) __printf(1, 2);
void gmem_refuse(const char *fmt, ...) __printf(1, 2);
void __noreturn gmem_stop(const char *fmt, ...) __printf(1, 2);
void gmem_report_init(void);
void gmem_report_bound(void);
bool gmem_report_any_bound(void);

/* summary.c */
void gmem_summary_at_exit(int status, void *unused);

/* extent.c: the extents of the VMM's anonymous mappings */
void gmem_extent_mapped(uintptr_t start, uintptr_t end);
void gmem_extent_unmapped(uintptr_t start, uintptr_t end);
bool gmem_extent_find(uintptr_t addr, uintptr_t *start, uintptr_t *end);

/* maps.c: a reading of /proc/self/maps or smaps */
#define GMEM_VMA_SHARED		0x01
#define GMEM_VMA_DONTDUMP	0x02
#define GMEM_VMA_DONTFORK	0x04
#define GMEM_VMA_HUGE		0x08
#define GMEM_VMA_NOHUGE		0x10
#define GMEM_VMA_LOCKED		0x20
#define GMEM_VMA_DEVICE		0x40
#define GMEM_VMA_HUGETLB	0x80

struct gmem_vma {
	uintptr_t start;
	uintptr_t end;
	int prot;
	unsigned int flags;
	u64 offset;
	dev_t dev;
	ino_t ino;
	const char *name;
};

struct gmem_maps {
	struct gmem_vec text;
	struct gmem_vec vmas;
};

int gmem_maps_read(struct gmem_maps *maps, bool details);
void gmem_maps_free(struct gmem_maps *maps);
struct gmem_vma *gmem_maps_at(const struct gmem_maps *maps, size_t i);
struct gmem_vma *gmem_maps_find(const struct gmem_maps *maps, uintptr_t addr);
bool gmem_vma_same_file(const struct gmem_vma *a, const struct gmem_vma *b);
bool gmem_vma_anonymous(const struct gmem_vma *vma);
bool gmem_vma_memfd(const struct gmem_vma *vma);

/* fds.c: this process's file descriptors */
int gmem_fds_find(dev_t dev, ino_t ino, struct gmem_vec *fds);
bool gmem_fd_is(int fd, dev_t dev, ino_t ino);

/*
 * file.c: the guest_memfds made here. An owned one replaced anonymous memory:
 * its fd is ours, and is closed when the VMM has unmapped [addr, addr + size).
 * The others replaced a memfd and live under the VMM's own fd numbers.
 *
 * In a protected VM, private is the state of all pages but those set in the
 * bitmap of converted ones, which is there once there are any.
 */
struct gmem_file {
	dev_t dev;
	ino_t ino;
	u64 size;
	uintptr_t addr;
	u64 unmapped;
	int fd;
	int vm_fd;
	bool owned;
	bool private;
	unsigned char *converted;
	unsigned int seals;
};

int gmem_file_create(int vm_fd, u64 size);
struct gmem_file *gmem_file_add(int fd, int vm_fd, bool owned);
struct gmem_file *gmem_file_at(size_t i);
void gmem_file_forget(struct gmem_file *file);
struct gmem_file *gmem_file_of_vma(const struct gmem_vma *vma);
struct gmem_file *gmem_file_of_fd(int fd);
struct gmem_file *gmem_file_find(dev_t dev, ino_t ino);
int gmem_file_fd(struct gmem_file *file);
void gmem_file_unmapped(uintptr_t start, uintptr_t end);
bool gmem_file_discard(uintptr_t start, uintptr_t end);
void *gmem_file_renew(uintptr_t start, uintptr_t end, int prot);
bool gmem_file_any(void);
u64 gmem_file_flags(void);

/* state.c: which pages of a file are private, as far as it was told */
int gmem_state_prepare(struct gmem_file *file);
void gmem_state_set(struct gmem_file *file, u64 page, bool private);
void gmem_state_set_all(struct gmem_file *file, bool private);
bool gmem_state_private(const struct gmem_file *file, u64 page);

/* seals.c: what a VMM does to its memfd, answered for the replacement */
int gmem_seals_get(const struct gmem_file *file);
int gmem_seals_add(struct gmem_file *file, unsigned int seals);

/* pause.c: keep other threads from writing to memory that is being moved */
int gmem_pause_begin(void);
int gmem_pause_range(uintptr_t start, uintptr_t end);
void gmem_pause_moved(uintptr_t start, uintptr_t end);
void gmem_pause_end(void);

/* copy.c */
extern u64 gmem_copied;	/* bytes, in all */

int gmem_copy_pages(uintptr_t start, uintptr_t end, char *to, int to_fd);
int gmem_copy_file(int from_fd, u64 size, char *to, int to_fd);

/* remap.c: put a file in the place of a VMA, with the VMA's properties */
int gmem_remap_policy(const struct gmem_vma *vma, char *to);
int gmem_remap(const struct gmem_vma *vma, int fd, u64 offset);

/* take_anon.c, take_memfd.c: return NULL or why the block was left */
const char *gmem_take_anon(int vm_fd, const struct gmem_maps *maps,
			   uintptr_t start, uintptr_t end);
const char *gmem_take_memfd(int vm_fd, const struct gmem_maps *maps,
			    const struct gmem_vma *vma);

/* backing.c: the file that lies under a range of the VMM's memory */
struct gmem_backing {
	struct gmem_file *file;
	u64 offset;
	bool device;
};

const char *gmem_backing_get(int vm_fd, uintptr_t start, uintptr_t end,
			     struct gmem_backing *backing);
bool gmem_backing_find(uintptr_t start, uintptr_t end,
		       struct gmem_backing *backing);
void gmem_backing_unmapped(uintptr_t start, uintptr_t end);

/* slot.c */
enum gmem_slot_kind {
	GMEM_SLOT_BOUND,	/* registered with one of our files */
	GMEM_SLOT_ALIAS,	/* ordinary slot on the mapping of such a file */
	GMEM_SLOT_READONLY,	/* ROM: left alone */
	GMEM_SLOT_DEVICE,	/* a device's memory, not RAM: left alone */
	GMEM_SLOT_LEFT,		/* writable RAM that could not be taken over */
	GMEM_SLOT_OWN,		/* the VMM's own guest_memfd */
};

struct gmem_slot {
	enum gmem_slot_kind kind;
	struct kvm_userspace_memory_region2 region;
	dev_t dev;
	ino_t ino;
	const char *why;
};

#define GMEM_AS_ID(slot)	((slot) >> 16)
#define GMEM_SLOT_ID(slot)	((slot) & 0xffff)

struct gmem_vm {
	int fd;
	pid_t pid;
	bool usable;
	bool ran;		/* a vCPU was about to run */
	bool private;		/* the memory was made private */
	struct gmem_vec slots;
};

struct gmem_slot *gmem_slot_find(const struct gmem_vm *vm, u32 id);
void gmem_slot_record(struct gmem_vm *vm, const struct gmem_slot *slot);
void gmem_slot_forget(struct gmem_vm *vm, struct gmem_slot *slot);
bool gmem_slot_binds(uintptr_t start, uintptr_t end);
const struct gmem_slot *gmem_slot_alias(const struct gmem_vm *vm);
const struct gmem_slot *gmem_slot_bound_at(const struct gmem_vm *vm, u64 gpa);
const char *gmem_slot_kind_name(enum gmem_slot_kind kind);

/* vm.c */
void gmem_vm_created(int fd);
struct gmem_vm *gmem_vm_find(int fd);
struct gmem_vm *gmem_vm_at(size_t i);

/* convert.c: pages become private or shared */
int gmem_convert_file(struct gmem_file *file);
int gmem_convert_gpa(struct gmem_vm *vm, u64 gpa, u64 size, bool private);
bool gmem_convert_differs(struct gmem_vm *vm, u64 gpa, u64 size, bool private);

/* protect.c: a protected VM in the place of an ordinary one */
int gmem_protect_create_vm(int fd, unsigned long request, void *arg);
int gmem_protect_capability(int fd, unsigned long request, void *arg);
void gmem_protect_created(int fd);

/* private.c: the moment the memory of a protected VM becomes private */
void gmem_private_vm(struct gmem_vm *vm);
void gmem_private_file(const struct gmem_vm *vm, struct gmem_file *file);
void gmem_private_at_exit(const struct gmem_vm *vm, int status);

/* region.c: memslots as the VMM sets them */
extern unsigned int gmem_regions_left;

int gmem_region_set(struct gmem_vm *vm, unsigned long request, void *arg);

/* vcpu.c: the vCPUs of protected VMs */
struct kvm_run;

struct gmem_vcpu {
	int fd;
	int vm_fd;
	struct kvm_run *run;
};

void gmem_vcpu_created(int fd, int vm_fd);
void gmem_vcpu_mapped(int fd, void *addr);
void gmem_vcpu_unmapped(uintptr_t start, uintptr_t end);
const struct gmem_vcpu *gmem_vcpu_find(int fd);

/* run.c, hypercall.c: KVM_RUN, and the exits that concern us */
int gmem_run(int fd, unsigned long request, void *arg);
bool gmem_hypercall(struct gmem_vm *vm, struct kvm_run *run);

/* cpuid.c: what the guest is told */
int gmem_cpuid_set(int fd, unsigned long request, void *arg);

#endif /* GMEM_RUN_PRELOAD_H */
