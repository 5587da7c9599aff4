// SPDX-License-Identifier: GPL-2.0
/*
 * KVM software-protected guests on arm64
 *
 * The model is that of drivers/virt/coco/kvm_sw_protected.c.  The guest converts memory
 * with the hypercalls that Linux 6.12 uses as a guest of pKVM, and which tell that it is
 * one: HYP_MEMINFO, MEM_SHARE and MEM_UNSHARE.  Each request is for one unit of the
 * host, usually a page.
 *
 * Invariants:
 *
 * - kvm_swp_shared has all pages that may be shared.
 * - The host starts the guest with all memory private: to ask for that page by page
 *   would take too long.
 *
 * kvm_swp_lock is taken with interrupts off, so that no CPU can be stopped while it
 * holds it.
 */
#define pr_fmt(fmt) "kvm-sw-protected: " fmt

#include <linux/arm-smccc.h>
#include <linux/cc_platform.h>
#include <linux/dma-direct.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kexec.h>
#include <linux/kvm_sw_protected.h>
#include <linux/list.h>
#include <linux/mem_encrypt.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/swiotlb.h>

#include <asm/hypervisor.h>
#include <asm/kvm_sw_protected.h>

/*
 * The bounce buffers: a part of the memory between these sizes.  Every page of them is
 * a request.
 */
#define KVM_SWP_BOUNCE_PERCENT	6
#define KVM_SWP_BOUNCE_MIN	SZ_16M
#define KVM_SWP_BOUNCE_MAX	SZ_64M

/* The unit of the requests, in bytes; 0 if this is no protected guest. */
static unsigned long kvm_swp_unit __ro_after_init;

/* How often the guest tries to take back what it shared, when it ends. */
#define KVM_SWP_TRIES		100

/* Pages that may be shared.  Ranges overlap if there was no memory to split one. */
struct kvm_swp_range {
	struct list_head list;
	unsigned long first;
	unsigned long end;
};

static DEFINE_SPINLOCK(kvm_swp_lock);
/* Guarded by kvm_swp_lock; kvm_swp_ending is also read without it. */
static LIST_HEAD(kvm_swp_shared);
static bool kvm_swp_ending;

static bool kvm_swp_call(u32 func, phys_addr_t pa)
{
	struct arm_smccc_res res;

	arm_smccc_1_1_hvc(func, pa, 0, 0, &res);
	return res.a0 == SMCCC_RET_SUCCESS;
}

/* Returns how many of the @nr pages from @pfn on the host converted before it refused. */
static unsigned long kvm_swp_convert(unsigned long pfn, unsigned long nr,
				     bool private)
{
	phys_addr_t start = PFN_PHYS(pfn), end = start + PFN_PHYS(nr), pa;
	u32 func = private ? ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID :
			     ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;

	for (pa = start; pa < end; pa += kvm_swp_unit)
		if ((!private && READ_ONCE(kvm_swp_ending)) ||
		    !kvm_swp_call(func, pa)) {
			pr_warn_ratelimited("the host refuses to make %pa %s\n",
					    &pa, private ? "private" : "shared");
			break;
		}

	return PHYS_PFN(pa - start);
}

/* Take [@first, @end) out of the list, with @spare for what remains of a range. */
static void kvm_swp_forget(unsigned long first, unsigned long end,
			   struct kvm_swp_range *spare)
{
	struct kvm_swp_range *range, *next;
	LIST_HEAD(unused);
	unsigned long flags;

	if (spare)
		list_add(&spare->list, &unused);

	spin_lock_irqsave(&kvm_swp_lock, flags);
	list_for_each_entry_safe(range, next, &kvm_swp_shared, list) {
		if (range->end <= first || range->first >= end)
			continue;

		if (range->first >= first && range->end <= end) {
			list_move(&range->list, &unused);
		} else if (range->first >= first) {
			range->first = end;
		} else if (range->end <= end) {
			range->end = first;
		} else if (spare) {
			spare->first = end;
			spare->end = range->end;
			range->end = first;
			list_move(&spare->list, &kvm_swp_shared);
			spare = NULL;
		}
	}
	spin_unlock_irqrestore(&kvm_swp_lock, flags);

	list_for_each_entry_safe(range, next, &unused, list)
		kfree(range);
}

static int kvm_swp_share(unsigned long first, unsigned long nr)
{
	struct kvm_swp_range *range = kmalloc(sizeof(*range), GFP_KERNEL);
	unsigned long flags, done;

	if (!range)
		return -ENOMEM;

	range->first = first;
	range->end = first + nr;
	spin_lock_irqsave(&kvm_swp_lock, flags);
	list_add(&range->list, &kvm_swp_shared);
	spin_unlock_irqrestore(&kvm_swp_lock, flags);

	done = kvm_swp_convert(first, nr, false);
	if (done == nr)
		return 0;

	/* A part of a page may be shared. */
	if (kvm_swp_unit < PAGE_SIZE)
		done++;
	if (kvm_swp_convert(first, done, true) < done)
		panic("memory that is shared with the host cannot be told from other memory");
	kvm_swp_forget(first, first + nr, NULL);
	return -EIO;
}

static int kvm_swp_unshare(unsigned long first, unsigned long nr)
{
	unsigned long done = kvm_swp_convert(first, nr, true);

	kvm_swp_forget(first, first + done,
		       kmalloc(sizeof(struct kvm_swp_range), GFP_ATOMIC));
	return done == nr ? 0 : -EIO;
}

/*
 * Ask the host to make @nr pages from @pa on private or shared.  Sharing may sleep.
 * Returns 0 or a negative errno; pages that could not be shared are private then.
 */
int kvm_sw_protected_map(phys_addr_t pa, unsigned long nr, bool private)
{
	return private ? kvm_swp_unshare(PHYS_PFN(pa), nr) :
			 kvm_swp_share(PHYS_PFN(pa), nr);
}

int set_memory_encrypted(unsigned long addr, int numpages)
{
	return kvm_swp_unit ? kvm_sw_protected_set(addr, numpages, true) : 0;
}
EXPORT_SYMBOL_GPL(set_memory_encrypted);

int set_memory_decrypted(unsigned long addr, int numpages)
{
	return kvm_swp_unit ? kvm_sw_protected_set(addr, numpages, false) : 0;
}
EXPORT_SYMBOL_GPL(set_memory_decrypted);

bool force_dma_unencrypted(struct device *dev)
{
	return kvm_swp_unit;
}

bool cc_platform_has(enum cc_attr attr)
{
	return kvm_swp_unit && (attr == CC_ATTR_GUEST_MEM_ENCRYPT ||
				attr == CC_ATTR_MEM_ENCRYPT);
}
EXPORT_SYMBOL_GPL(cc_platform_has);

/* Returns whether nothing is shared any more. */
static bool kvm_swp_unshare_all(void)
{
	struct kvm_swp_range *range;
	bool all = true;
	unsigned long flags;

	spin_lock_irqsave(&kvm_swp_lock, flags);
	WRITE_ONCE(kvm_swp_ending, true);
	list_for_each_entry(range, &kvm_swp_shared, list) {
		range->first += kvm_swp_convert(range->first,
						range->end - range->first, true);
		all &= range->first == range->end;
	}
	spin_unlock_irqrestore(&kvm_swp_lock, flags);

	return all;
}

/*
 * For reboot and kexec: other CPUs are stopped, and nothing is shared from now on.  The
 * next kernel takes all of its memory for private.
 *
 * Devices still use what is shared unless they were shut down, which they are not after a
 * panic.
 */
void kvm_sw_protected_unshare_all(void)
{
	static bool gave_up;
	int tries;

	if (!kvm_swp_unit || system_state != SYSTEM_RESTART || gave_up)
		return;

	for (tries = 0; tries < KVM_SWP_TRIES; tries++)
		if (kvm_swp_unshare_all())
			return;

	gave_up = true;
	pr_emerg("the host does not take back all memory that is shared\n");
	if (kexec_in_progress)
		panic("the next kernel would take it for private");
}

static bool __init kvm_swp_detect(void)
{
	struct arm_smccc_res res;

	if (!kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_HYP_MEMINFO) ||
	    !kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_MEM_SHARE) ||
	    !kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_MEM_UNSHARE))
		return false;

	arm_smccc_1_1_hvc(ARM_SMCCC_VENDOR_HYP_KVM_HYP_MEMINFO_FUNC_ID, 0, 0, 0,
			  &res);
	if ((long)res.a0 <= 0 || PAGE_SIZE % res.a0) {
		pr_err("the host shares units of %ld bytes: no device will work\n",
		       (long)res.a0);
		return false;
	}

	kvm_swp_unit = res.a0;
	return true;
}

/*
 * Called when the size of the memory and the services of the host are known.  Returns
 * SWIOTLB_FORCE in a protected guest, else 0.
 */
unsigned int __init kvm_sw_protected_swiotlb(void)
{
	phys_addr_t ram = memblock_phys_mem_size();

	if (!kvm_swp_detect())
		return 0;

	kvm_sw_protected_guest_init();
	swiotlb_adjust_size(clamp_t(u64, ram / 100 * KVM_SWP_BOUNCE_PERCENT,
				    KVM_SWP_BOUNCE_MIN, KVM_SWP_BOUNCE_MAX));
	return SWIOTLB_FORCE;
}

/* Before there are devices and pools of coherent memory, and when there is a slab. */
static int __init kvm_swp_early_init(void)
{
	if (!kvm_swp_unit)
		return 0;

	swiotlb_update_mem_attributes();
	pr_info("the memory is private\n");
	return 0;
}
early_initcall(kvm_swp_early_init);
