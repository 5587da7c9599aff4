/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmem-run's preload library: the design, and what all its files use.
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
 *
 * Layers, from the bottom up; a file calls those of its own layer that come
 * before it in the Makefile's list, and of the layers below:
 * - sys.h, vec.h, lock.h, options.h, report.h: the kernel, memory, the lock,
 *   what the user wants and is told;
 * - process.h, move.h: the VMM's address space and descriptors, and how to put
 *   a file in the place of memory;
 * - file.h: the guest_memfds made here and the state of their pages;
 * - protect.h, vm.h: the VMs and their slots;
 * - private.h: what makes memory private or shared;
 * - backing.h, region.h: from a range of memory to a bound slot;
 * - vcpu.h: what happens around KVM_RUN;
 * - summary.h and hooks.c, the interposed functions.
 */
#ifndef GMEM_RUN_H
#define GMEM_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if __SIZEOF_POINTER__ != 8
#error "gmem-run supports 64-bit programs only"
#endif

typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define gmem_attribute(a)	__attribute__((a))
#define __printf(a, b)		gmem_attribute(__format__(printf, a, b))
#define __noreturn		gmem_attribute(__noreturn__)

#endif /* GMEM_RUN_H */
