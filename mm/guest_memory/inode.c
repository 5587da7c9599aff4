// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: inodes and files
 *
 * An inode is the memory.  It has a fixed size, pages come when they are first
 * needed and go when a hole is punched or the last user leaves.  A user is one
 * virtual machine's view of the inode and comes with a file; see users.c.
 *
 * Invariants:
 *
 * - A page is in the page cache of the inode if and only if it holds memory of
 *   the file.
 * - The inode is off the superblock's inode list and has no backing device,
 *   its folios are unevictable, always dirty and refuse migration: nothing but
 *   this code adds, removes, moves or replaces a page.
 * - Nothing here depends on the module that uses it: an inode may outlive it.
 */
#include <linux/guest_memory.h>
#include <linux/init.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/uaccess.h>

#include "internal.h"

static struct kmem_cache *guest_memory_inode_cache __ro_after_init;
static struct vfsmount *guest_memory_mnt __ro_after_init;

unsigned long guest_memory_flags(const struct inode *inode)
{
	return GUEST_MEMORY_I(inode)->flags;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_flags, GUEST_MEMORY);

int guest_memory_check_range(loff_t size, u64 offset, u64 len)
{
	if (!len || !PAGE_ALIGNED(offset) || !PAGE_ALIGNED(len))
		return -EINVAL;

	if (offset + len < offset || offset + len > size)
		return -EINVAL;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_check_range, GUEST_MEMORY);

/* By ranges, not by pages.  Conversions meanwhile may be counted or not. */
static pgoff_t guest_memory_nr_private(struct inode *inode)
{
	pgoff_t end = guest_memory_nr_pages(inode);
	pgoff_t index = 0, nr = 0, last;

	while (index < end) {
		bool private = guest_memory_find_state(inode, index, &last);

		last = min(last, end - 1);
		if (private)
			nr += last - index + 1;
		index = last + 1;
		cond_resched();
	}

	return nr;
}

/* In pages, with those that no hole can free because they are bound to the file. */
static pgoff_t guest_memory_nr_allocated(struct inode *inode)
{
	if (GUEST_MEMORY_I(inode)->pool)
		return guest_memory_pool_allocated(inode);

	return READ_ONCE(inode->i_mapping->nrpages);
}

void guest_memory_show_fdinfo(struct seq_file *m, struct inode *inode)
{
	const struct guest_memory_source_ops *source = guest_memory_source(inode);

	seq_printf(m, "gmem-size:\t%lld\n", i_size_read(inode));
	seq_printf(m, "gmem-allocated:\t%llu\n",
		   (u64)guest_memory_nr_allocated(inode) << PAGE_SHIFT);
	seq_printf(m, "gmem-private:\t%llu\n",
		   (u64)guest_memory_nr_private(inode) << PAGE_SHIFT);
	seq_printf(m, "gmem-2m:\t%llu\n",
		   (u64)guest_memory_nr_whole(inode) << PAGE_SHIFT);
	seq_printf(m, "gmem-2m-fallback:\t%lu\n",
		   atomic_long_read(&GUEST_MEMORY_I(inode)->fallbacks));
	seq_printf(m, "gmem-flags:\t0x%lx\n",
		   guest_memory_flags(inode) & GUEST_MEMORY_ABI_FLAGS);
	seq_printf(m, "gmem-views:\t%u\n", guest_memory_nr_users(inode));
	if (source->show_fdinfo)
		source->show_fdinfo(m, inode);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_show_fdinfo, GUEST_MEMORY);

bool guest_memory_is_page(struct page *page)
{
	const struct address_space_operations *aops;
	/* Of the folio; the other pages of a large one have no mapping. */
	struct address_space *mapping = READ_ONCE(compound_head(page)->mapping);

	/* Anonymous pages and the like have something else there. */
	if (!mapping || (unsigned long)mapping & PAGE_MAPPING_FLAGS)
		return false;

	/* Without a reference it may be anything by now. */
	return !get_kernel_nofault(aops, &mapping->a_ops) &&
	       aops == &guest_memory_aops;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_is_page, GUEST_MEMORY);

/* Pages never move: guests map them without holding references. */
static int guest_memory_migrate_folio(struct address_space *mapping,
				      struct folio *dst, struct folio *src,
				      enum migrate_mode mode)
{
	return -EBUSY;
}

/*
 * A memory error hit a page.  Take it from the guests but leave it in the file:
 * its content is lost, and neither guest nor host may mistake a zeroed page for
 * it.  Later faults find PageHWPoison; punching a hole makes the range usable
 * again.
 *
 * The folio lock is held, hence no invalidate_lock: begin and end happen in one
 * section of the bindings_lock instead.
 */
static int guest_memory_error_page(struct address_space *mapping,
				   struct page *page)
{
	struct inode *inode = mapping->host;
	pgoff_t index = page_index(page);

	/* Pairs with guest_memory_punch_batch(), by the folio lock. */
	WRITE_ONCE(GUEST_MEMORY_I(inode)->poisoned, true);

	guest_memory_lock_bindings_shared(inode);
	guest_memory_clear_whole(inode, index, index + 1);
	guest_memory_invalidate_begin(inode, index, index + 1);
	guest_memory_invalidate_end(inode, index, index + 1);
	guest_memory_unlock_bindings_shared(inode);

	/* Memory failure finds other mappings by itself. */
	if (guest_memory_source(inode)->vm_flags & VM_PFNMAP)
		unmap_mapping_pages(mapping, index, 1, true);

	return 0;
}

const struct address_space_operations guest_memory_aops = {
	.dirty_folio		= noop_dirty_folio,
	.migrate_folio		= guest_memory_migrate_folio,
	.release_folio		= guest_memory_release_folio,
	.error_remove_page	= guest_memory_error_page,
};

/* i_blocks is not maintained; report the allocated pages. */
static int guest_memory_getattr(struct user_namespace *mnt_userns,
				const struct path *path, struct kstat *stat,
				u32 request_mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	generic_fillattr(mnt_userns, inode, stat);
	/* In units of 512 bytes, whatever the block size. */
	stat->blocks = (u64)guest_memory_nr_allocated(inode)
			<< (PAGE_SHIFT - 9);

	return 0;
}

static int guest_memory_setattr(struct user_namespace *mnt_userns,
				struct dentry *dentry, struct iattr *attr)
{
	return -EINVAL;
}

static const struct inode_operations guest_memory_iops = {
	.getattr	= guest_memory_getattr,
	.setattr	= guest_memory_setattr,
};

static struct inode *guest_memory_alloc_inode(struct super_block *sb)
{
	struct guest_memory_inode *gi;

	gi = alloc_inode_sb(sb, guest_memory_inode_cache, GFP_KERNEL);
	if (!gi)
		return NULL;

	gi->flags = 0;
	gi->source = NULL;
	gi->pool = NULL;
	gi->closed = false;
	gi->poisoned = false;
	init_rwsem(&gi->bindings_lock);
	INIT_LIST_HEAD(&gi->users);
	guest_memory_ranges_init(&gi->converted);
	gi->changing_start = 0;
	gi->changing_end = 0;
	atomic_long_set(&gi->fallbacks, 0);
	mpol_shared_policy_init(&gi->policy, NULL);

	return &gi->vfs_inode;
}

static void guest_memory_destroy_inode(struct inode *inode)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);

	if (gi->source && gi->source->put)
		gi->source->put(inode);
	guest_memory_ranges_destroy(&gi->converted);
	if (!xa_empty(&gi->whole))
		xa_destroy(&gi->whole);
	mpol_free_shared_policy(&gi->policy);
}

static void guest_memory_free_inode(struct inode *inode)
{
	kmem_cache_free(guest_memory_inode_cache, GUEST_MEMORY_I(inode));
}

static const struct super_operations guest_memory_sops = {
	.alloc_inode	= guest_memory_alloc_inode,
	.destroy_inode	= guest_memory_destroy_inode,
	.free_inode	= guest_memory_free_inode,
	.statfs		= simple_statfs,
};

static struct inode *guest_memory_make_inode(const char *name, loff_t size,
					     unsigned long flags)
{
	const struct guest_memory_source_ops *source;
	struct inode *inode;
	int r = 0;

	source = guest_memory_find_source(flags);
	if (!source)
		return ERR_PTR(-EINVAL);

	inode = anon_inode_make_secure_inode(guest_memory_mnt->mnt_sb, name,
					     NULL);
	if (IS_ERR(inode))
		return inode;

	if (!guest_memory_has_blocks() || !source->alloc_huge)
		flags &= ~GUEST_MEMORY_HUGE;

	GUEST_MEMORY_I(inode)->source = source;
	GUEST_MEMORY_I(inode)->flags = flags;
	inode->i_size = size;
	if (source->get)
		r = source->get(inode);
	if (r) {
		/* There is nothing to put. */
		GUEST_MEMORY_I(inode)->source = NULL;
		iput(inode);
		return ERR_PTR(r);
	}

	inode->i_mode |= S_IFREG;
	inode->i_op = &guest_memory_iops;
	inode->i_mapping->a_ops = &guest_memory_aops;
	mapping_set_gfp_mask(inode->i_mapping, GFP_HIGHUSER);
	mapping_set_unevictable(inode->i_mapping);
	if (guest_memory_may_be_huge(inode)) {
		mapping_set_large_folios(inode->i_mapping);
		mapping_set_release_always(inode->i_mapping);
	}

	return inode;
}

struct file *guest_memory_create_file(const char *name, loff_t size,
				      unsigned long flags,
				      const struct file_operations *fops,
				      struct guest_memory_user *user)
{
	struct inode *inode;
	struct file *file;

	/* alloc_file_pseudo() takes no reference, __fput() drops one. */
	if (!fops_get(fops))
		return ERR_PTR(-ENOENT);

	inode = guest_memory_make_inode(name, size, flags);
	if (IS_ERR(inode)) {
		file = ERR_CAST(inode);
		goto err_fops;
	}

	file = alloc_file_pseudo(inode, guest_memory_mnt, name,
				 O_RDWR | O_LARGEFILE, fops);
	if (IS_ERR(file))
		goto err_inode;
	if (flags & GUEST_MEMORY_WRITE)
		file->f_mode |= FMODE_PWRITE;

	/* No locks: the inode is not reachable yet. */
	list_add(&user->node, &GUEST_MEMORY_I(inode)->users);

	return file;

err_inode:
	iput(inode);
err_fops:
	fops_put(fops);
	return file;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_create_file, GUEST_MEMORY);

static int guest_memory_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx;

	ctx = init_pseudo(fc, GUEST_MEMFD_MAGIC);
	if (!ctx)
		return -ENOMEM;

	ctx->ops = &guest_memory_sops;
	return 0;
}

static struct file_system_type guest_memory_fs = {
	.name			= "guest_memory",
	.init_fs_context	= guest_memory_init_fs_context,
	.kill_sb		= kill_anon_super,
};

/* What an inode leaves behind as it found it. */
static void guest_memory_init_once(void *object)
{
	struct guest_memory_inode *gi = object;

	inode_init_once(&gi->vfs_inode);
	xa_init(&gi->whole);
}

static int __init guest_memory_init(void)
{
	guest_memory_inode_cache =
		kmem_cache_create("guest_memory_inode",
				  sizeof(struct guest_memory_inode), 0,
				  SLAB_ACCOUNT | SLAB_PANIC,
				  guest_memory_init_once);

	guest_memory_mnt = kern_mount(&guest_memory_fs);
	if (IS_ERR(guest_memory_mnt))
		panic("guest_memory: cannot mount: %ld\n",
		      PTR_ERR(guest_memory_mnt));
	guest_memory_mnt->mnt_flags |= MNT_NOEXEC;
	guest_memory_init_alloc();

	return 0;
}
fs_initcall(guest_memory_init);
