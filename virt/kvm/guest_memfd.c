// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: files
 *
 * The memory itself is an inode of mm/guest_memory and independent of VMs.  A
 * file is one VM's view of it: it pins the VM, and its bindings (gmem_bind.c)
 * map the memory into the guest.
 *
 * Lifetimes:
 *
 * - The file pins the VM; mappings in host page tables pin the file.  Memslots
 *   pin neither, otherwise closing the last descriptor would not free the
 *   memory.
 * - A binding pins the inode: a guest fault may still use the binding of a
 *   closed file and must find an inode, even though it has no pages.
 * - The last close takes the memory from the guest and frees it.  The memslot
 *   remains until it is deleted; accesses to it exit with
 *   KVM_EXIT_MEMORY_FAULT.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "gmem.h"

#define CREATE_TRACE_POINTS
#include <trace/events/kvm_gmem.h>

MODULE_IMPORT_NS(GUEST_MEMORY);

/* Whether files made from now on may have blocks of 2 MiB, and when. */
enum kvm_gmem_huge {
	KVM_GMEM_HUGE_NEVER,
	/* By fallocate(), KVM_PRE_FAULT_MEMORY and write(). */
	KVM_GMEM_HUGE_POPULATE,
	/* Also when guest or host touch the memory. */
	KVM_GMEM_HUGE_ALWAYS,
};

static const char * const kvm_gmem_huge_names[] = {
	[KVM_GMEM_HUGE_NEVER]		= "never",
	[KVM_GMEM_HUGE_POPULATE]	= "populate",
	[KVM_GMEM_HUGE_ALWAYS]		= "always",
};

static enum kvm_gmem_huge kvm_gmem_huge = KVM_GMEM_HUGE_ALWAYS;

static int kvm_gmem_set_huge(const char *val, const struct kernel_param *kp)
{
	int huge = sysfs_match_string(kvm_gmem_huge_names, val);

	if (huge < 0)
		return huge;

	WRITE_ONCE(kvm_gmem_huge, huge);
	return 0;
}

static int kvm_gmem_get_huge(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n",
			  kvm_gmem_huge_names[READ_ONCE(kvm_gmem_huge)]);
}

static const struct kernel_param_ops kvm_gmem_huge_ops = {
	.set	= kvm_gmem_set_huge,
	.get	= kvm_gmem_get_huge,
};
module_param_cb(gmem_huge, &kvm_gmem_huge_ops, NULL, 0644);

static_assert(GUEST_MEMFD_FLAG_MMAP == GUEST_MEMORY_MAPPABLE);
static_assert(GUEST_MEMFD_FLAG_INIT_SHARED == GUEST_MEMORY_INIT_SHARED);
static_assert(GUEST_MEMFD_FLAG_NO_DIRECT_MAP == GUEST_MEMORY_NO_DIRECT_MAP);
static_assert(GUEST_MEMFD_FLAG_WRITE == GUEST_MEMORY_WRITE);
static_assert(GUEST_MEMFD_FLAG_HUGETLB == GUEST_MEMORY_HUGETLB);

static int kvm_gmem_release(struct inode *inode, struct file *file)
{
	struct kvm_gmem_view *view = file->private_data;
	struct kvm *kvm = view->kvm;

	guest_memory_release(inode, &view->user);
	kfree(view);
	/* Last, because it may destroy the VM. */
	kvm_put_kvm(kvm);

	return 0;
}

#ifdef CONFIG_PROC_FS
static void kvm_gmem_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct kvm_gmem_bind_iter iter = {
		.view	= file->private_data,
		.end	= ULONG_MAX,
	};
	struct inode *inode = file_inode(file);
	struct kvm_gmem_binding *bind;

	guest_memory_show_fdinfo(m, inode);

	guest_memory_lock_bindings_shared(inode);
	while (kvm_gmem_next_bind(&iter)) {
		bind = iter.bind;
		seq_printf(m,
			   "gmem-binding:\tslot=%u:%d gfn=0x%llx pgoff=0x%lx npages=0x%lx uaddr=0x%lx\n",
			   bind->as_id, bind->id, bind->base_gfn,
			   bind->node.start,
			   bind->node.last - bind->node.start + 1, bind->uaddr);
	}
	guest_memory_unlock_bindings_shared(inode);
}
#endif

static long kvm_gmem_ioctl(struct file *file, unsigned int ioctl,
			   unsigned long arg)
{
	struct kvm_gmem_view *view = file->private_data;

	switch (ioctl) {
	case KVM_SET_MEMORY_ATTRIBUTES2:
		return kvm_gmem_ioctl_set_attributes2(view->kvm,
						      file_inode(file),
						      (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

/* The file pins kvm.ko as the owner, and the vendor module through its VM. */
static const struct file_operations kvm_gmem_fops = {
	.owner		= THIS_MODULE,
	.release	= kvm_gmem_release,
	.unlocked_ioctl	= kvm_gmem_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.write_iter	= guest_memory_write_iter,
	.fallocate	= guest_memory_fallocate,
	.get_unmapped_area = thp_get_unmapped_area,
	.mmap		= guest_memory_mmap,
#ifdef CONFIG_PROC_FS
	.show_fdinfo	= kvm_gmem_show_fdinfo,
#endif
};

/*
 * Look up the guest_memfd @fd of @kvm.  Returns the file, with a reference, or
 * ERR_PTR: -EBADF, or -EINVAL if @fd is another file or belongs to another VM.
 */
struct file *kvm_gmem_get_file(struct kvm *kvm, unsigned int fd)
{
	struct kvm_gmem_view *view;
	struct file *file;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);

	if (file->f_op != &kvm_gmem_fops)
		goto err;

	view = file->private_data;
	if (view->kvm != kvm)
		goto err;

	return file;

err:
	fput(file);
	return ERR_PTR(-EINVAL);
}

/* The properties of the memory half for a new file of the current process. */
static unsigned long kvm_gmem_properties(struct kvm *kvm, u64 flags)
{
	enum kvm_gmem_huge huge = READ_ONCE(kvm_gmem_huge);
	unsigned long properties = flags & GUEST_MEMORY_ABI_FLAGS;
	unsigned long hugetlb = 0;

	if (kvm_has_private_mem(kvm) && flags & GUEST_MEMFD_FLAG_MMAP)
		properties |= GUEST_MEMORY_CONVERTIBLE;

	/* Whatever the default is for other files. */
	if (flags & GUEST_MEMFD_FLAG_HUGETLB) {
		guest_memory_find_hugetlb(flags >> GUEST_MEMFD_HUGE_SHIFT,
					  &hugetlb);
		return properties | hugetlb;
	}

	/* Of the page size, which was checked. */
	if (flags >> GUEST_MEMFD_HUGE_SHIFT)
		return properties;

	/* prctl(PR_SET_THP_DISABLE) */
	if (test_bit(MMF_DISABLE_THP, &current->mm->flags))
		return properties;

	if (huge >= KVM_GMEM_HUGE_POPULATE)
		properties |= GUEST_MEMORY_HUGE_POPULATE;
	if (huge >= KVM_GMEM_HUGE_ALWAYS)
		properties |= GUEST_MEMORY_HUGE_FAULT;

	return properties;
}

/* Create a guest_memfd.  Returns its file descriptor or -errno. */
int kvm_gmem_create(struct kvm *kvm, u64 size, u64 flags)
{
	unsigned long properties = kvm_gmem_properties(kvm, flags);
	struct kvm_gmem_view *view;
	struct file *file;
	int fd, r;

	/* The ABI has no flag for close-on-exec; it is never set. */
	fd = get_unused_fd_flags(0);
	if (fd < 0)
		return fd;

	view = kzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view) {
		r = -ENOMEM;
		goto err_fd;
	}
	view->user.ops = &kvm_gmem_user_ops;
	view->bindings = RB_ROOT_CACHED;
	view->kvm = kvm;

	file = guest_memory_create_file("[kvm-gmem]", size, properties,
					&kvm_gmem_fops, &view->user);
	if (IS_ERR(file)) {
		r = PTR_ERR(file);
		goto err_view;
	}

	/* kvm_gmem_release() drops it. */
	kvm_get_kvm(kvm);
	/* As far as the memory half agreed. */
	view->huge = guest_memory_flags(file_inode(file)) & GUEST_MEMORY_HUGE;
	file->private_data = view;

	trace_kvm_gmem_create(file_inode(file)->i_ino, size, flags);
	fd_install(fd, file);

	return fd;

err_view:
	kfree(view);
err_fd:
	put_unused_fd(fd);
	return r;
}
