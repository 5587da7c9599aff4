// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd: copies for kvm_vcpu_map() of pages that cannot be mapped
 *
 * kvm_vcpu_map() maps a page of the guest for KVM, which then uses it like its
 * own memory.  A page outside the direct map is copied instead: KVM works on
 * the copy, and its changes are written back to the page on unmap.  The
 * difference only matters if the page is written concurrently.  Therefore:
 *
 * - Only bits that KVM changed are written back, with one atomic access for
 *   each eight bytes.  The page may also hold data unrelated to KVM, which
 *   another vCPU may write at any time.  With nested SVM, even a second map of
 *   the same page may begin and end in the meantime.
 * - KVM calls kvm_gmem_sync_map() before it reads what the guest or the
 *   processor writes while the map exists, and after it writes what they read.
 *   VMX does, because its maps exist as long as the nested guest runs.
 * - Users that cannot synchronise must not work on a copy; they check
 *   kvm_gmem_map_is_copy() and do without the map.
 *
 * The copy is followed by a snapshot of the page as of the last
 * synchronisation.  Both are in the direct map only until the map ends, when
 * they are cleared.
 *
 * The map holds a reference to the page, so the page does not enter or leave
 * the direct map while the map exists.  If a memory error hits the page, KVM
 * continues with the copy, and the guest runs into the error itself.
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
 * Returns the copy that kvm_vcpu_map() uses for a hidden page.  May sleep.  The
 * map holds a reference to @page as long as it exists.
 */
void *kvm_gmem_make_copy(struct page *page)
{
	void *copy;

	/* Callers would blame the guest for a failure, or lose an exit. */
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

/* True if @map is a copy, which does not follow writes to the page. */
bool kvm_gmem_map_is_copy(const struct kvm_host_map *map)
{
	return map->hva && map->page != KVM_UNMAPPED_PAGE &&
	       guest_memory_page_hidden(map->page);
}
EXPORT_SYMBOL_GPL(kvm_gmem_map_is_copy);

/*
 * If @map is a copy, write KVM's changes back to the page, then copy the page
 * again.  Any context but NMI; the caller serialises all uses of @map, which
 * may be unmapped.
 */
void kvm_gmem_sync_map(struct kvm_host_map *map)
{
	if (!kvm_gmem_map_is_copy(map) || PageHWPoison(map->page))
		return;

	kvm_gmem_write_copy(map->page, map->hva);
	kvm_gmem_read_copy(map->page, map->hva);
}
EXPORT_SYMBOL_GPL(kvm_gmem_sync_map);
