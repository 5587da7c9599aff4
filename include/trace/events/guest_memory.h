/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM guest_memory

#if !defined(_TRACE_GUEST_MEMORY_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_GUEST_MEMORY_H

#include <linux/tracepoint.h>

/* A folio of 2 MiB was to be split for the sake of the page at @index. */
TRACE_EVENT(guest_memory_split,
	TP_PROTO(unsigned long ino, unsigned long index, int ret),
	TP_ARGS(ino, index, ret),

	TP_STRUCT__entry(
		__field(unsigned long,	ino)
		__field(unsigned long,	index)
		__field(int,		ret)
	),

	TP_fast_assign(
		__entry->ino	= ino;
		__entry->index	= index;
		__entry->ret	= ret;
	),

	TP_printk("ino %lu page 0x%lx ret %d",
		  __entry->ino, __entry->index, __entry->ret)
);

#endif /* _TRACE_GUEST_MEMORY_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
