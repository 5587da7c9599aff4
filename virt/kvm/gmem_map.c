// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: pages that KVM works on and that it cannot map
 *
 * kvm_vcpu_map() maps a page of the guest for KVM, which then uses it like
 * memory of its own.  A page that is outside the direct map is not mapped, but
 * copied: KVM works on the copy, and what it changed there goes back to the page
 * when the map ends.  That is no matter to KVM as long as nobody else works on
 * the page meanwhile.  As somebody might:
 *
 * - Only bits that KVM has changed go back, with one atomic access for each
 *   eight bytes.  The page may also hold what has nothing to do with KVM, and
 *   another vCPU may write that at any time.  Even a second map of the same page
 *   may begin and end meanwhile; nested SVM has that.
 * - Where KVM reads what the guest or the processor writes while the map exists,
 *   it calls kvm_gmem_sync_map() before, and where they read what KVM writes,
 *   after.  There are such places for VMX, whose maps live as long as the nested
 *   guest runs.
 * - A map whose users cannot do that must not be a copy: kvm_gmem_map_is_copy()
 *   tells, and they do without.
 *
 * A copy is followed by the page as it was when KVM last looked.  Both are in
 * the direct map, and do not stay there: they are cleared when the map ends.
 *
 * The map has a reference to the page, so whether the page is in the direct map
 * does not change while the map exists.  A memory error may hit the page, though:
 * then KVM goes on with the copy, and the guest meets the error by itself.
 */
#include <linux/gfp.h>
#include <linux/kvm_gmem.h>
#include <linux/kvm_host.h>
#include <linux/page-flags.h>
#include <linux/string.h>

#define GMEM_COPY_ORDER	1

static void kvm_gmem_read_copy(struct page *page, void *copy)
{
	guest_memory_read_page(page, 0, copy, PAGE_SIZE);
	memcpy(copy + PAGE_SIZE, copy, PAGE_SIZE);
}

static void kvm_gmem_write_copy(struct page *page, void *copy)
{
	guest_memory_merge_page(page, copy + PAGE_SIZE, copy);
}

/*
 * Returns what kvm_vcpu_map() maps instead of a hidden page.  May sleep.  The
 * map holds a reference to @page as long as it exists.
 */
void *kvm_gmem_make_copy(struct page *page)
{
	void *copy;

	/* Users take a failure for an error of the guest, or lose an exit. */
	copy = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_NOFAIL,
					GMEM_COPY_ORDER);
	kvm_gmem_read_copy(page, copy);

	return copy;
}

/* Free the copy; if @dirty, write KVM's changes back to the page first. */
void kvm_gmem_drop_copy(struct kvm_host_map *map, bool dirty)
{
	if (dirty && !PageHWPoison(map->page))
		kvm_gmem_write_copy(map->page, map->hva);

	memzero_explicit(map->hva, PAGE_SIZE << GMEM_COPY_ORDER);
	free_pages((unsigned long)map->hva, GMEM_COPY_ORDER);
}

/* True if @map is a copy, i.e. does not follow what others write to the page. */
bool kvm_gmem_map_is_copy(const struct kvm_host_map *map)
{
	return map->hva && map->page != KVM_UNMAPPED_PAGE &&
	       guest_memory_page_hidden(map->page);
}
EXPORT_SYMBOL_GPL(kvm_gmem_map_is_copy);

/*
 * If @map is a copy, write KVM's changes back to the page, then copy the page
 * again.  Any context but NMI; the caller serialises all uses of @map, which may
 * be unmapped.
 */
void kvm_gmem_sync_map(struct kvm_host_map *map)
{
	if (!kvm_gmem_map_is_copy(map) || PageHWPoison(map->page))
		return;

	kvm_gmem_write_copy(map->page, map->hva);
	kvm_gmem_read_copy(map->page, map->hva);
}
EXPORT_SYMBOL_GPL(kvm_gmem_sync_map);
