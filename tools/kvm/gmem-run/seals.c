// SPDX-License-Identifier: GPL-2.0
/*
 * Emulate the seals of a memfd for the guest_memfd that replaced it. A
 * guest_memfd has no seals, but its size never changes, which is the purpose of
 * sealing guest memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

#include "file.h"

#define SIZE_SEALS	(F_SEAL_GROW | F_SEAL_SHRINK)

int gmem_seals_get(const struct gmem_file *file)
{
	return (int)(file->seals | SIZE_SEALS);
}

int gmem_seals_add(struct gmem_file *file, unsigned int seals)
{
	if (seals & ~(unsigned int)(SIZE_SEALS | F_SEAL_SEAL))
		return -EINVAL;
	if (file->seals & F_SEAL_SEAL)
		return -EPERM;
	file->seals |= seals;
	return 0;
}
