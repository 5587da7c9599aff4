// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: mappings in the page tables of host processes
 *
 * Invariants:
 *
 * - Only pages that the host may touch are mapped: ->fault() checks under the
 *   invalidate_lock and returns the folio locked, and the removal of a page
 *   (exclusive invalidate_lock) unmaps it first.  No ->map_pages(), which would
 *   map neighbours without that check.
 * - Some sources have their pages mapped by pfn only (VM_PFNMAP): GUP is refused,
 *   so that mappings are no way to a reference.  Without a reverse mapping, all
 *   faults hold the invalidate_lock until they are done.  A folio of 2 MiB is mapped
 *   as one page if it can be, and loses that mapping before it is split.
 * - A folio of 2 MiB is mapped as one page, or by page table entries that are
 *   references to all of it, only if no page of it is private or can be made so
 *   without everybody's losing all of it.  Otherwise it is split before one of its
 *   pages is mapped.
 * - Memory is allocated before the invalidate_lock is taken.  If that may take
 *   long, the mmap_lock is dropped as well.
 * - All mappings are shared.  A private one would copy guest memory into
 *   anonymous memory of the host.
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/guest_memory.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>

#include "../internal.h"
#include "internal.h"

/*
 * Whether the host may map blocks by their pfn as one page.  Not on arm64, where
 * follow_pte() takes such an entry for a bug.
 */
#define GUEST_MEMORY_PFN_BLOCKS	\
	(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && IS_ENABLED(CONFIG_X86_64))

/*
 * True if one entry can map the locked @folio: it is the block around the address, all
 * of which is shared and without memory errors, and inside the VMA.
 */
static bool guest_memory_fits_pmd(struct vm_fault *vmf, struct folio *folio)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long start = vmf->address & PMD_MASK;
	bool private;

	return GUEST_MEMORY_PFN_BLOCKS && folio_test_large(folio) &&
	       !(vma->vm_flags & VM_NOHUGEPAGE) &&
	       start >= vma->vm_start && start + PMD_SIZE <= vma->vm_end &&
	       folio->index == linear_page_index(vma, start) &&
	       guest_memory_uniform(folio->mapping->host, vmf->pgoff, &private) &&
	       !private && !guest_memory_folio_has_poison(folio);
}

/*
 * Map all of @folio, which is locked and fits.  As memory of a device without a
 * struct dev_pagemap: so GUP finds nothing to take a reference to.  Under the folio lock
 * nobody else has a table in this place for the pages of the folio.
 */
static vm_fault_t guest_memory_insert_pmd(struct vm_fault *vmf,
					  struct folio *folio)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	pfn_t pfn = pfn_to_pfn_t(folio_pfn(folio));

	pfn.val |= PFN_DEV | PFN_MAP;

	/* The VMA may not be writable by default, with soft-dirty tracking. */
	return vmf_insert_pfn_pmd(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
#else
	return VM_FAULT_SIGBUS;
#endif
}

/*
 * Map a page of @folio by its pfn.  Memory failure marks the page before it takes
 * the folio lock, and removes mappings after that.
 */
static vm_fault_t guest_memory_insert_pfn(struct vm_fault *vmf,
					  struct folio *folio)
{
	struct page *page = folio_file_page(folio, vmf->pgoff);
	vm_fault_t r = VM_FAULT_HWPOISON;
	pmd_t pmd;

	folio_lock(folio);
	pmd = READ_ONCE(*vmf->pmd);
	if (pmd_devmap(pmd))
		r = VM_FAULT_NOPAGE;
	else if (pmd_none(pmd) && guest_memory_fits_pmd(vmf, folio))
		r = guest_memory_insert_pmd(vmf, folio);
	else if (!PageHWPoison(page))
		r = vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
	folio_unlock(folio);
	folio_put(folio);

	return r;
}

/*
 * VM_FAULT_OOM repeats the fault after the OOM killer had its chance.  If the
 * source has no memory, that may be for ever; if the memory cgroup has none, its
 * OOM killer does something about it.
 */
static vm_fault_t guest_memory_fault_error(struct inode *inode, int err)
{
	if (err == -ENOMEM && !task_in_memcg_oom(current))
		return guest_memory_source(inode)->nomem;

	return vmf_error(err);
}

/*
 * Allocate *@spare for the faulting page.  If that takes long, only see to it
 * that there is memory for the next try: without the mmap_lock, which the fault
 * gives up for it, the VMA may go away.
 */
static vm_fault_t guest_memory_fault_alloc(struct vm_fault *vmf,
					   struct folio **spare)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	pgoff_t index = vmf->pgoff;
	struct file *file;

	/* There is no spare, but the next try finds the page. */
	if (guest_memory_only_huge(inode))
		return guest_memory_add_huge(inode, index, GUEST_MEMORY_FAULT) ?
		       0 : guest_memory_fault_error(inode, -ENOMEM);

	/* An earlier try may have made memory of another node. */
	*spare = guest_memory_alloc_folio(inode, index,
					  vmf->flags & FAULT_FLAG_TRIED ?
					  GUEST_MEMORY_TAKE_ANY :
					  GUEST_MEMORY_TAKE);
	if (*spare)
		return 0;

	/*
	 * Not for fixup_user_fault(), whose faults are not interruptible: callers
	 * start over after a retry, with an error as well, and would loop.
	 */
	file = vmf->flags & FAULT_FLAG_INTERRUPTIBLE ?
	       maybe_unlock_mmap_for_io(vmf, NULL) : NULL;
	*spare = guest_memory_alloc_folio(inode, index, GUEST_MEMORY_MAKE);
	if (!file)
		return *spare ? 0 : guest_memory_fault_error(inode, -ENOMEM);

	if (*spare)
		guest_memory_discard_folio(inode, *spare);
	*spare = NULL;
	fput(file);

	return VM_FAULT_RETRY;
}

/*
 * Whether the host may have references to a large folio as a whole.  Each of them
 * prevents the conversion of any of its pages.  So, if pages can be converted, a
 * process has to ask for huge pages.
 */
static bool guest_memory_want_large(struct vm_area_struct *vma,
				    struct inode *inode)
{
	if (GUEST_MEMORY_I(inode)->flags & GUEST_MEMORY_CONVERTIBLE)
		return vma->vm_flags & VM_HUGEPAGE;

	return !(vma->vm_flags & VM_NOHUGEPAGE);
}

/*
 * Split the large folio of @page, which is locked, unless the host may map it.
 * Returns 0; VM_FAULT_NOPAGE if the fault should be repeated; VM_FAULT_OOM or
 * VM_FAULT_HWPOISON.
 */
static vm_fault_t guest_memory_fault_split(struct vm_fault *vmf,
					   struct page *page)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	bool private, uniform;
	int r;

	if (PageHWPoison(page))
		return VM_FAULT_HWPOISON;

	uniform = guest_memory_uniform(inode, vmf->pgoff, &private);
	if (uniform && guest_memory_want_large(vmf->vma, inode))
		return 0;

	r = guest_memory_split(page);
	if (!r)
		return 0;

	/*
	 * Other faults and KVM have a reference for a moment.  If it stays, somebody
	 * has the folio as a whole already, and it makes no difference.
	 */
	if (uniform && (r == -ENOMEM || vmf->flags & FAULT_FLAG_TRIED))
		return 0;

	return r == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

/*
 * Repeat the fault in a moment.  With VM_FAULT_RETRY, if possible: only then does a
 * fault of the kernel itself look for a fatal signal.
 */
static vm_fault_t guest_memory_fault_again(struct vm_fault *vmf)
{
	struct file *file = maybe_unlock_mmap_for_io(vmf, NULL);

	usleep_range_state(USEC_PER_MSEC, 2 * USEC_PER_MSEC, TASK_KILLABLE);
	/* Not all who cannot retry look for signals. */
	if (!file)
		return fatal_signal_pending(current) ? VM_FAULT_SIGBUS :
						       VM_FAULT_NOPAGE;

	fput(file);
	return VM_FAULT_RETRY;
}

/* Map @folio, to which the caller has a reference; drops the invalidate_lock. */
static vm_fault_t guest_memory_fault_map(struct vm_fault *vmf,
					 struct folio *folio)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t r = 0;
	struct page *page;

	if (vmf->vma->vm_flags & VM_PFNMAP) {
		r = guest_memory_insert_pfn(vmf, folio);
		filemap_invalidate_unlock_shared(inode->i_mapping);
		return r;
	}

	/* From here on the folio lock keeps the page in the file. */
	page = folio_file_page(folio, vmf->pgoff);
	folio_lock(folio);
	if (unlikely(folio_test_large(folio)))
		r = guest_memory_fault_split(vmf, page);
	filemap_invalidate_unlock_shared(inode->i_mapping);

	if (unlikely(r)) {
		unlock_page(page);
		put_page(page);
		return r;
	}

	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/*
 * Take the invalidate_lock.  Returns @found, or NULL if it was dropped because
 * the lock had to be waited for.
 */
static struct folio *guest_memory_fault_lock(struct address_space *mapping,
					     struct folio *found)
{
	if (filemap_invalidate_trylock_shared(mapping))
		return found;

	/* A conversion waits for references to go while it has the lock. */
	if (found)
		folio_put(found);
	filemap_invalidate_lock_shared(mapping);

	return NULL;
}

/*
 * One try with @found and *@spare, each of which may be NULL: -ENOENT if a spare
 * is needed, and otherwise 0 with the result of the fault in *@result.
 */
static int guest_memory_fault_try(struct vm_fault *vmf, struct folio *found,
				  struct folio **spare, vm_fault_t *result)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio = ERR_PTR(-EFAULT);

	found = guest_memory_fault_lock(mapping, found);
	if (!guest_memory_is_private(inode, vmf->pgoff))
		folio = guest_memory_get_folio(inode, vmf->pgoff, found, spare);
	else if (found)
		folio_put(found);
	if (!IS_ERR(folio)) {
		*result = guest_memory_fault_map(vmf, folio);
		return 0;
	}
	filemap_invalidate_unlock_shared(mapping);

	if (folio == ERR_PTR(-ENOENT))
		return -ENOENT;

	/* A private page is SIGBUS, as most errors are. */
	*result = guest_memory_fault_error(inode, PTR_ERR(folio));
	return 0;
}

/* Fill the block around a page that the host needs, if none of it is private. */
static noinline struct folio *guest_memory_fault_huge(struct inode *inode,
						      pgoff_t index)
{
	bool private;

	if (!guest_memory_uniform(inode, index, &private) || private ||
	    !guest_memory_add_huge(inode, index, GUEST_MEMORY_FAULT))
		return NULL;

	return filemap_get_folio(inode->i_mapping, index);
}

static vm_fault_t guest_memory_fault(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct folio *found, *spare = NULL;
	vm_fault_t r = 0;

	if (vmf->pgoff >= guest_memory_nr_pages(inode))
		return VM_FAULT_SIGBUS;

	/* Look first, so that there is one try as a rule. */
	found = filemap_get_folio(inode->i_mapping, vmf->pgoff);
	if (!found && !guest_memory_is_private(inode, vmf->pgoff)) {
		if (guest_memory_may_be_huge(inode))
			found = guest_memory_fault_huge(inode, vmf->pgoff);
		if (!found)
			r = guest_memory_fault_alloc(vmf, &spare);
	}

	while (!r && guest_memory_fault_try(vmf, found, &spare, &r)) {
		found = NULL;
		r = guest_memory_fault_alloc(vmf, &spare);
	}
	if (unlikely(spare))
		guest_memory_discard_folio(inode, spare);

	/* Last: without the mmap_lock the inode may go away. */
	if (r == VM_FAULT_NOPAGE && !(vmf->vma->vm_flags & VM_PFNMAP))
		return guest_memory_fault_again(vmf);

	return r;
}

#ifdef CONFIG_NUMA
static int guest_memory_set_policy(struct vm_area_struct *vma,
				   struct mempolicy *policy)
{
	struct inode *inode = file_inode(vma->vm_file);

	return mpol_set_shared_policy(&GUEST_MEMORY_I(inode)->policy, vma,
				      policy);
}

/* NULL, i.e. no policy for this page, is reported as MPOL_DEFAULT. */
static struct mempolicy *guest_memory_get_policy(struct vm_area_struct *vma,
						 unsigned long addr)
{
	struct inode *inode = file_inode(vma->vm_file);
	pgoff_t index = linear_page_index(vma, addr);

	return mpol_shared_policy_lookup(&GUEST_MEMORY_I(inode)->policy, index);
}
#endif

static const struct vm_operations_struct guest_memory_vm_ops = {
	.fault		= guest_memory_fault,
#ifdef CONFIG_NUMA
	.set_policy	= guest_memory_set_policy,
	.get_policy	= guest_memory_get_policy,
#endif
};

int guest_memory_vma_pfn(struct vm_area_struct *vma, unsigned long addr,
			 unsigned long *pfn)
{
	struct inode *inode = file_inode(vma->vm_file);
	struct address_space *mapping = inode->i_mapping;
	pgoff_t index = linear_page_index(vma, addr);
	int r = -ENOENT;

	filemap_invalidate_lock_shared(mapping);
	if (index < guest_memory_nr_pages(inode) &&
	    !guest_memory_is_private(inode, index))
		r = guest_memory_find_pfn(inode, index, pfn);
	filemap_invalidate_unlock_shared(mapping);

	return r;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_vma_pfn, GUEST_MEMORY);

bool guest_memory_vma_hidden(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &guest_memory_vm_ops && vma->vm_flags & VM_PFNMAP;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_vma_hidden, GUEST_MEMORY);

int guest_memory_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!(guest_memory_flags(file_inode(file)) & GUEST_MEMORY_MAPPABLE))
		return -ENODEV;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	/* Guest memory in a core dump is a surprise; MADV_DODUMP asks for it. */
	vma->vm_flags |= VM_DONTDUMP;
	vma->vm_flags |= guest_memory_source(file_inode(file))->vm_flags;
	vma->vm_ops = &guest_memory_vm_ops;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(guest_memory_mmap, GUEST_MEMORY);
