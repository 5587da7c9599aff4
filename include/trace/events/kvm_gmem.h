/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

#if !defined(_TRACE_KVM_GMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_GMEM_H

#include <linux/tracepoint.h>

TRACE_EVENT(kvm_gmem_create,
	TP_PROTO(unsigned long ino, u64 size, u64 flags),
	TP_ARGS(ino, size, flags),

	TP_STRUCT__entry(
		__field(unsigned long,	ino)
		__field(u64,		size)
		__field(u64,		flags)
	),

	TP_fast_assign(
		__entry->ino	= ino;
		__entry->size	= size;
		__entry->flags	= flags;
	),

	TP_printk("ino %lu size 0x%llx flags 0x%llx",
		  __entry->ino, __entry->size, __entry->flags)
);

TRACE_EVENT(kvm_gmem_bind,
	TP_PROTO(const struct kvm_gmem_binding *bind),
	TP_ARGS(bind),

	TP_STRUCT__entry(
		__field(u16,		as_id)
		__field(short,		id)
		__field(u64,		gfn)
		__field(unsigned long,	ino)
		__field(unsigned long,	start)
		__field(unsigned long,	last)
	),

	TP_fast_assign(
		__entry->as_id	= bind->as_id;
		__entry->id	= bind->id;
		__entry->gfn	= bind->base_gfn;
		__entry->ino	= bind->inode->i_ino;
		__entry->start	= bind->node.start;
		__entry->last	= bind->node.last;
	),

	TP_printk("slot %u:%d gfn 0x%llx ino %lu pages 0x%lx-0x%lx",
		  __entry->as_id, __entry->id, __entry->gfn, __entry->ino,
		  __entry->start, __entry->last)
);

TRACE_EVENT(kvm_gmem_invalidate,
	TP_PROTO(u16 as_id, short id, u64 start, u64 end),
	TP_ARGS(as_id, id, start, end),

	TP_STRUCT__entry(
		__field(u16,	as_id)
		__field(short,	id)
		__field(u64,	start)
		__field(u64,	end)
	),

	TP_fast_assign(
		__entry->as_id	= as_id;
		__entry->id	= id;
		__entry->start	= start;
		__entry->end	= end;
	),

	TP_printk("slot %u:%d gfns [0x%llx, 0x%llx)",
		  __entry->as_id, __entry->id, __entry->start, __entry->end)
);

TRACE_EVENT(kvm_gmem_fault,
	TP_PROTO(u64 gfn, u64 pfn, unsigned int order, int ret),
	TP_ARGS(gfn, pfn, order, ret),

	TP_STRUCT__entry(
		__field(u64,		gfn)
		__field(u64,		pfn)
		__field(unsigned int,	order)
		__field(int,		ret)
	),

	TP_fast_assign(
		__entry->gfn	= gfn;
		__entry->pfn	= ret ? 0 : pfn;
		__entry->order	= ret ? 0 : order;
		__entry->ret	= ret;
	),

	TP_printk("gfn 0x%llx pfn 0x%llx order %u ret %d",
		  __entry->gfn, __entry->pfn, __entry->order, __entry->ret)
);

#endif /* _TRACE_KVM_GMEM_H */

#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE kvm_gmem

/* This part must be outside protection */
#include <trace/define_trace.h>
