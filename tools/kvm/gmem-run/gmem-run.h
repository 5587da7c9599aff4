/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The design of gmem-run's preload library, and common definitions.
 *
 * Model: the VMM is unmodified and unaware of the library. It maps memory,
 * creates a VM and registers ranges of its memory as memslots. The library acts
 * on the last step: when the VMM registers a writable range, the library moves
 * the *block* that contains it (what the VMM mapped with one call, or a whole
 * memfd) into a guest_memfd, at the same addresses and with the same contents,
 * and registers the slot with that file. From then on, accesses of the VMM and
 * of the guest go to the same pages of the same file.
 *
 * Invariants:
 * - A failure before the block's address range has been remapped leaves the
 *   VMM's memory and file descriptors unchanged, and the VMM's own call is
 *   passed to the kernel unmodified.
 * - The location of memory is not cached: /proc/self/maps is read at each
 *   registration. Only files, slots, ranges that could not be taken over and
 *   the extents of the VMM's own anonymous mappings are recorded.
 * - Each page of a file is bound at most once. Another slot with the same page
 *   stays an ordinary slot on the mapping of the file: an alias.
 * - With --protected, memory that cannot be made private ends the VMM, and so
 *   does, with --no-direct-map, memory that cannot be hidden: no VM runs with
 *   less protection than requested.
 *
 * Terms: "end" is exclusive. "taken over" means that the block's pages are in a
 * guest_memfd; "bound" means that a slot is registered with it.
 *
 * Locking: gmem_lock() serialises everything and is held across fork(). In a
 * thread that holds it, the interposed functions call the kernel directly. It
 * is not held while a vCPU runs.
 *
 * Functions return 0 or a positive value, or a negative errno.
 *
 * Layers, bottom-up; a file calls only into lower layers, and into files of its
 * own layer that precede it in the Makefile's list:
 * - sys.h, vec.h, lock.h, options.h, report.h: system calls, memory, the lock,
 *   the user's options and messages to the user;
 * - process.h, move.h: the VMM's address space and descriptors, and replacing
 *   memory with a file;
 * - file.h: the guest_memfds created by gmem-run and the state of their pages;
 * - protect.h, vm.h: the VMs and their slots;
 * - private.h: making memory private or shared;
 * - backing.h, region.h: from a range of memory to a bound slot;
 * - vcpu.h: KVM_RUN, the exits that gmem-run handles, and CPUID;
 * - summary.h: the summary at exit; hooks.c: the interposed functions.
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
