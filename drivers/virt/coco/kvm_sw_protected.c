// SPDX-License-Identifier: GPL-2.0
/*
 * KVM software-protected guests
 *
 * The memory of such a guest is private: KVM maps it for the guest, and no process
 * of the host can access it unless the VMM makes it shared.  The guest asks for that
 * with a hypercall, for what devices and KVM need and for nothing else: the bounce
 * buffers (swiotlb), through which all streaming DMA goes, coherent DMA memory, and
 * what an architecture has KVM write for the guest.
 *
 * Invariants:
 *
 * - A page is shared with its content.  It is zeroed before, as whoever had it last may
 *   have left something there.
 * - An orderly reboot or kexec leaves nothing shared.
 * - Memory that could not be made private again is not used for anything else.  That
 *   is up to the callers of set_memory_encrypted().
 * - The host may refuse any request.  It cannot be made to comply.  What could not be
 *   shared is not used for DMA.
 *
 * The VMM can convert any page without being asked, and say that it did what it did
 * not: the guest cannot tell.  It can also stop the guest, or hold back answers.
 */
#define pr_fmt(fmt) "kvm-sw-protected: " fmt

#include <linux/init.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/kvm_sw_protected.h>
#include <linux/mm.h>
#include <linux/suspend.h>
#include <linux/virtio_anchor.h>
#include <linux/vmalloc.h>

/* The physically contiguous pages that begin at @vaddr, at most @nr. */
static unsigned long contiguous_pages(unsigned long vaddr, unsigned long nr,
				      phys_addr_t *pa)
{
	unsigned long i;

	if (!is_vmalloc_addr((void *)vaddr)) {
		*pa = __pa(vaddr);
		return nr;
	}

	*pa = PFN_PHYS(vmalloc_to_pfn((void *)vaddr));
	for (i = 1; i < nr; i++)
		if (vmalloc_to_pfn((void *)(vaddr + i * PAGE_SIZE)) !=
		    PHYS_PFN(*pa) + i)
			break;

	return i;
}

/* Returns how many of the pages were converted before the host refused. */
static unsigned long convert(unsigned long vaddr, unsigned long nr, bool private)
{
	unsigned long done, n;
	phys_addr_t pa;

	for (done = 0; done < nr; done += n) {
		n = contiguous_pages(vaddr + done * PAGE_SIZE, nr - done, &pa);
		/*
		 * Device memory, such as that of a VGA, is neither private nor
		 * shared.  Memory that was added later is RAM, but not in the
		 * firmware's map.
		 */
		if (!page_is_ram(PHYS_PFN(pa)))
			continue;

		if (!private)
			memset((void *)vaddr + done * PAGE_SIZE, 0,
			       n * PAGE_SIZE);
		if (kvm_sw_protected_map(pa, n, private))
			break;
	}

	return done;
}

/*
 * Make @nr pages from @vaddr on, which is in the direct map or in the vmalloc space,
 * private or shared.  What is shared is zeroed; sharing may sleep.  Returns 0 or -EIO:
 * pages that were to be shared are private then, as a caller that could not share memory
 * uses it as before; pages that were to be private may be shared.
 */
int kvm_sw_protected_set(unsigned long vaddr, unsigned long nr, bool private)
{
	unsigned long done = convert(vaddr, nr, private);

	if (done == nr)
		return 0;

	if (!private && convert(vaddr, done, true) < done)
		panic("memory that is shared with the host cannot be told from other memory");
	return -EIO;
}

/* The image would have the memory in clear, on a disk of the host. */
static int pm_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	if (event != PM_HIBERNATION_PREPARE && event != PM_RESTORE_PREPARE)
		return NOTIFY_DONE;

	pr_err("hibernation is not possible\n");
	return notifier_from_errno(-EPERM);
}

static struct notifier_block pm_notifier = {
	.notifier_call = pm_event,
};

/* Called once, early during boot, when it is clear that this is such a guest. */
void __init kvm_sw_protected_guest_init(void)
{
	/* Memory that an IOMMU translates to would be private. */
	iommu_set_default_passthrough(true);
	virtio_set_mem_acc_cb(virtio_require_restricted_mem_acc);
	register_pm_notifier(&pm_notifier);
}
