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
 */
#define pr_fmt(fmt) "kvm-sw-protected: " fmt

#include <linux/arm-smccc.h>
#include <linux/cc_platform.h>
#include <linux/dma-direct.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kvm_sw_protected.h>
#include <linux/maple_tree.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>
#include <linux/xarray.h>

#include <asm/hypervisor.h>
#include <asm/mem_encrypt.h>

/*
 * The bounce buffers: a part of the memory between these sizes.  Every page of them is
 * a request.
 */
#define KVM_SWP_BOUNCE_PERCENT	6
#define KVM_SWP_BOUNCE_MIN	SZ_16M
#define KVM_SWP_BOUNCE_MAX	SZ_64M

/* The unit of the requests, in bytes; 0 if this is no protected guest. */
static unsigned long kvm_swp_unit __ro_after_init;

/* By pfn.  With RCU, as kvm_sw_protected_unshare_all() cannot wait for its lock. */
static struct maple_tree kvm_swp_shared =
	MTREE_INIT(kvm_swp_shared, MT_FLAGS_USE_RCU);

static bool kvm_swp_call(u32 func, phys_addr_t pa)
{
	struct arm_smccc_res res;

	arm_smccc_1_1_hvc(func, pa, 0, 0, &res);
	return res.a0 == SMCCC_RET_SUCCESS;
}

static int kvm_swp_convert(phys_addr_t pa, unsigned long nr, bool private)
{
	phys_addr_t end = pa + PFN_PHYS(nr);
	u32 func = private ? ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID :
			     ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;

	for (; pa < end; pa += kvm_swp_unit)
		if (!kvm_swp_call(func, pa)) {
			pr_warn_ratelimited("the host refuses to make %pa %s\n",
					    &pa, private ? "private" : "shared");
			return -EIO;
		}

	return 0;
}

/* Ask the host to make @nr pages from @pa on private or shared.  May sleep. */
int kvm_sw_protected_map(phys_addr_t pa, unsigned long nr, bool private)
{
	unsigned long first = PHYS_PFN(pa), last = first + nr - 1;
	int r;

	if (!private) {
		r = mtree_store_range(&kvm_swp_shared, first, last,
				      xa_mk_value(1), GFP_KERNEL);
		if (r)
			return r;
	}

	r = kvm_swp_convert(pa, nr, private);
	/* If there is no memory for this, the pages are made private twice. */
	if (!r && private)
		mtree_store_range(&kvm_swp_shared, first, last, NULL,
				  GFP_KERNEL);

	return r;
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

/*
 * For reboot and kexec: devices are shut down, and the other CPUs are stopped, wherever
 * they were.
 */
void kvm_sw_protected_unshare_all(void)
{
	MA_STATE(mas, &kvm_swp_shared, 0, 0);
	void *entry;

	rcu_read_lock();
	mas_for_each(&mas, entry, ULONG_MAX)
		kvm_swp_convert(PFN_PHYS(mas.index), mas.last - mas.index + 1,
				true);
	rcu_read_unlock();
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
