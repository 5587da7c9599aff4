/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest_memfds created by gmem-run, and the state of their pages.
 */
#ifndef GMEM_RUN_FILE_H
#define GMEM_RUN_FILE_H

#include <sys/types.h>

#include "gmem-run.h"
#include "process.h"
#include "vec.h"

/*
 * file.c: the guest_memfds created by gmem-run. An owned file replaced
 * anonymous memory: gmem-run holds its fd and closes it when the VMM has
 * unmapped [addr, addr + size). Other files replaced a memfd and use the VMM's
 * own fds.
 *
 * In a protected VM, private is the state of the whole file except for the
 * ranges of bytes in converted.
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
	struct gmem_vec converted;
	unsigned int seals;
};

int gmem_file_create(int vm_fd, u64 size, unsigned long huge);
const char *gmem_file_why_not(int err, unsigned long huge);
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

/* state.c: which pages of a file are private, as recorded by convert.c */
int gmem_state_prepare(struct gmem_file *file);
void gmem_state_set(struct gmem_file *file, u64 start, u64 end, bool private);
void gmem_state_set_all(struct gmem_file *file, bool private);
bool gmem_state_differs(const struct gmem_file *file, u64 start, u64 end,
			bool private);

/* seals.c: emulates the seals of a memfd that was replaced */
int gmem_seals_get(const struct gmem_file *file);
int gmem_seals_add(struct gmem_file *file, unsigned int seals);

#endif /* GMEM_RUN_FILE_H */
