/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For aarch64/vgic_init.c of the base, which includes a header that the tools of
 * the base lack. It needs no more than this.
 */
#ifndef COMPAT_BITFIELD_H
#define COMPAT_BITFIELD_H

/* The value of a field, moved to where the mask is. */
#define FIELD_PREP(mask, value) \
	(((uint64_t)(value) << __builtin_ctzll(mask)) & (mask))

#endif
