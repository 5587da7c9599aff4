/* SPDX-License-Identifier: GPL-2.0 */
/* guest_memfd: declarations shared by its files in virt/kvm */
#ifndef __KVM_GMEM_INTERNAL_H
#define __KVM_GMEM_INTERNAL_H

#include <linux/guest_memory.h>
#include <linux/interval_tree.h>
#include <linux/kvm_gmem.h>
#include <linux/kvm_host.h>
#include <linux/minmax.h>
#include <linux/rbtree.h>

/* One VM's view of a guest_memfd inode, in private_data of the file. */
struct kvm_gmem_view {
	/* Registration with the inode. */
	struct guest_memory_user user;
	/* The file holds a reference. */
	struct kvm *kvm;
	/* By page of the file; guarded by the inode's bindings lock. */
	struct rb_root_cached bindings;
	/* The file may have blocks of 2 MiB; constant. */
	bool huge;
};

/*
 * Iterates over the bindings of @view that show any of the pages [start, end)
 * of its file, under the bindings lock.  The caller sets the first three
 * fields, kvm_gmem_next_bind() the others.
 */
struct kvm_gmem_bind_iter {
	struct kvm_gmem_view *view;
	pgoff_t start;
	pgoff_t end;

	struct kvm_gmem_binding *bind;
	/* The gfns [gfn_start, gfn_end) show the part of the range in @bind. */
	gfn_t gfn_start;
	gfn_t gfn_end;
};

/*
 * Advance @iter.  Returns false at the end.  Inline, because two calls are a
 * noticeable part of the conversion of a single page.
 */
static inline bool kvm_gmem_next_bind(struct kvm_gmem_bind_iter *iter)
{
	struct kvm_gmem_binding *bind = iter->bind;
	struct interval_tree_node *node;
	pgoff_t start, end;

	if (bind)
		node = interval_tree_iter_next(&bind->node, iter->start,
					       iter->end - 1);
	else
		node = interval_tree_iter_first(&iter->view->bindings,
						iter->start, iter->end - 1);
	if (!node)
		return false;

	bind = container_of(node, struct kvm_gmem_binding, node);
	guest_memory_assert_bindings(bind->inode);

	start = max(iter->start, node->start);
	end = min(iter->end, node->last + 1);
	iter->gfn_start = bind->base_gfn + (start - node->start);
	iter->gfn_end = bind->base_gfn + (end - node->start);
	iter->bind = bind;

	return true;
}

/* Clamp gfns [start, end) to @slot. */
static inline gfn_t kvm_gmem_clamp_slot(const struct kvm_memory_slot *slot,
					gfn_t start, gfn_t end,
					gfn_t *clamped_end)
{
	*clamped_end = min_t(gfn_t, end, slot->base_gfn + slot->npages);
	return max_t(gfn_t, start, slot->base_gfn);
}

/* gmem_invalidate.c */
extern const struct guest_memory_user_ops kvm_gmem_user_ops;
void kvm_gmem_bracket_begin(struct kvm *kvm, hva_t start, hva_t end);
void kvm_gmem_bracket_end(struct kvm *kvm, hva_t start, hva_t end);
bool kvm_gmem_zap(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t start,
		  gfn_t end, bool killable);

/* gmem_convert.c */
int kvm_gmem_convert_slot(const struct kvm_memory_slot *slot, gfn_t start,
			  gfn_t end, bool private, gfp_t gfp);
int kvm_gmem_remember_slot(const struct kvm_memory_slot *slot, gfn_t start,
			   gfn_t end, struct guest_memory_ranges *before);
void kvm_gmem_restore_slots(struct kvm *kvm, gfn_t start, gfn_t end,
			    struct guest_memory_ranges *before);

/* mem_attributes.c */
int kvm_ioctl_set_mem_attributes(struct kvm *kvm, void __user *argp);
long kvm_gmem_ioctl_set_attributes2(struct kvm *kvm, struct inode *inode,
				    void __user *argp);

/* guest_memfd.c */
int kvm_gmem_create(struct kvm *kvm, u64 size, u64 flags);
struct file *kvm_gmem_get_file(struct kvm *kvm, unsigned int fd);

#endif /* __KVM_GMEM_INTERNAL_H */
