// SPDX-License-Identifier: GPL-2.0
/*
 * KVM software-protected guests on x86
 *
 * The model is that of drivers/virt/coco/kvm_sw_protected.c.  The guest converts memory
 * with the hypercall KVM_HC_MAP_GPA_RANGE.  Beside the buffers of DMA, which are shared
 * with set_memory_decrypted(), it shares what KVM writes for it: the PV clock, stolen
 * time, PV EOI and the reason of an async page fault, in sections of their own.
 *
 * Invariants:
 *
 * - All RAM is private when the kernel starts, whatever was shared before: by the
 *   firmware, or by a kernel that crashed.
 * - The host may say that it tried but that the page is in use (EAGAIN).  Such a
 *   request is made again a bounded number of times.
 */
#define pr_fmt(fmt) "kvm-sw-protected: " fmt

#include <linux/cc_platform.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kvm_para.h>
#include <linux/kvm_sw_protected.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <linux/reboot.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>

#include <asm/coco.h>
#include <asm/e820/api.h>
#include <asm/iommu.h>
#include <asm/kvm_para.h>
#include <asm/kvm_sw_protected.h>
#include <asm/reboot.h>
#include <asm/sections.h>
#include <asm/x86_init.h>

/*
 * How often a request is made that the host could not fulfil.  The host waits for tens
 * of milliseconds each time, and the VMM for a second, perhaps.
 */
#define KVM_SWP_TRIES		20
/* The bounce buffers: a part of the memory between these sizes. */
#define KVM_SWP_BOUNCE_PERCENT	6
#define KVM_SWP_BOUNCE_MIN	SZ_16M
#define KVM_SWP_BOUNCE_MAX	SZ_1G

/* kvm_sw_protected=1: the host does not tell, but it is so; =0: it is not. */
static int kvm_swp_option __initdata = -1;

static void (*kvm_swp_next_shutdown)(void);

static int __init kvm_swp_parse(char *arg)
{
	bool on;

	if (!arg || kstrtobool(arg, &on))
		return -EINVAL;

	kvm_swp_option = on;
	return 0;
}
early_param("kvm_sw_protected", kvm_swp_parse);

/*
 * Before alternatives are patched, kvm_hypercall3() is VMCALL, which KVM on AMD would
 * have to rewrite in the guest's memory.
 */
static long kvm_swp_call(phys_addr_t pa, unsigned long nr, bool private)
{
	unsigned long attrs = KVM_MAP_GPA_RANGE_ENC_STAT(private) |
			      KVM_MAP_GPA_RANGE_PAGE_SZ_4K;
	int tries;
	long r;

	for (tries = 0; tries < KVM_SWP_TRIES; tries++) {
		if (boot_cpu_has(X86_FEATURE_VMMCALL))
			r = kvm_sev_hypercall3(KVM_HC_MAP_GPA_RANGE, pa, nr,
					       attrs);
		else
			r = kvm_hypercall3(KVM_HC_MAP_GPA_RANGE, pa, nr, attrs);
		if (r != -EAGAIN)
			break;

		cpu_relax();
	}
	if (r)
		pr_warn_ratelimited("the host refuses to make %lu pages at %pa %s: %ld\n",
				    nr, &pa, private ? "private" : "shared", r);

	return r;
}

/*
 * Ask the host to make @nr pages from @pa on private or shared.  The host may do so in
 * parts, but answers for all of it.
 */
int kvm_sw_protected_map(phys_addr_t pa, unsigned long nr, bool private)
{
	if (!kvm_swp_call(pa, nr, private))
		return 0;

	/* It may have shared some or all of it. */
	if (!private && kvm_swp_call(pa, nr, true))
		panic("memory that is shared with the host cannot be told from other memory");
	return -EIO;
}

/* For set_memory_encrypted() and set_memory_decrypted(). */
static bool kvm_swp_status_change(unsigned long vaddr, int npages, bool enc)
{
	return !kvm_sw_protected_set(vaddr, npages, enc);
}

/*
 * Share what KVM writes, before it is told where that is.  @ptr is in a section for
 * such data, so that nothing else is shared.  Returns false if this is not a protected
 * guest.
 */
bool __init kvm_sw_protected_share(void *ptr, size_t size)
{
	static phys_addr_t last_start, last_end;
	phys_addr_t start, end;
	int r;

	if (cc_vendor != CC_VENDOR_KVM)
		return false;

	start = round_down(slow_virt_to_phys(ptr), PAGE_SIZE);
	end = round_up(slow_virt_to_phys(ptr) + size, PAGE_SIZE);
	/* Usually the data of a CPU is on one page. */
	if (start >= last_start && end <= last_end)
		return true;

	r = kvm_sw_protected_map(start, PHYS_PFN(end - start), false);
	/* The clock cannot do without; the other data is only missed. */
	if (r && ptr == __start_bss_decrypted)
		panic("the host does not share the page of the clock");
	if (!r) {
		last_start = start;
		last_end = end;
	}

	return true;
}

static bool kvm_swp_entry_is_ram(const struct e820_entry *entry)
{
	return entry->type == E820_TYPE_RAM ||
	       entry->type == E820_TYPE_RESERVED_KERN;
}

/*
 * Nothing of the RAM is to be shared any more.  Returns in how many requests, and adds
 * to @failed how many of them the host refused.
 */
static unsigned int kvm_swp_make_all_private(unsigned int *failed)
{
	unsigned int i, nr = 0;
	u64 start, end;

	for (i = 0; i < e820_table->nr_entries; i++) {
		const struct e820_entry *entry = &e820_table->entries[i];

		if (!kvm_swp_entry_is_ram(entry))
			continue;

		start = entry->addr;
		end = entry->addr + entry->size;
		/* What the boot loader left may have split a page. */
		while (i + 1 < e820_table->nr_entries &&
		       kvm_swp_entry_is_ram(++entry) && entry->addr == end) {
			end += entry->size;
			i++;
		}

		start = round_up(start, PAGE_SIZE);
		end = round_down(end, PAGE_SIZE);
		if (start >= end)
			continue;

		nr++;
		*failed += !!kvm_sw_protected_map(start, PHYS_PFN(end - start), true);
	}

	return nr;
}

/*
 * For reboot and kexec: devices and other CPUs are stopped, and KVM was told to write
 * nothing any more.  When the machine is switched off or halted, it was not.
 */
static void kvm_swp_shutdown(void)
{
	unsigned int failed = 0;

	kvm_swp_next_shutdown();
	if (system_state == SYSTEM_RESTART)
		kvm_swp_make_all_private(&failed);
}

static void __init kvm_swp_size_bounce_buffers(void)
{
	u64 ram = 0;
	int i;

	for (i = 0; i < e820_table->nr_entries; i++)
		if (e820_table->entries[i].type == E820_TYPE_RAM)
			ram += e820_table->entries[i].size;

	swiotlb_adjust_size(clamp_val(ram / 100 * KVM_SWP_BOUNCE_PERCENT,
				      KVM_SWP_BOUNCE_MIN, KVM_SWP_BOUNCE_MAX));
}

/*
 * The hint alone could be another hypervisor's.  One that answers the hypercall is
 * meant.  If the processor encrypts the memory, the host must not talk the guest out of
 * that.
 */
static bool __init kvm_swp_detect(void)
{
	bool hint = kvm_para_has_hint(KVM_HINTS_SW_PROTECTED);
	unsigned int nr = 0, failed = 0;

	if (cc_vendor != CC_VENDOR_NONE || kvm_swp_option == 0 ||
	    (kvm_swp_option < 0 && !hint))
		return false;

	if (kvm_para_has_feature(KVM_FEATURE_HC_MAP_GPA_RANGE))
		nr = kvm_swp_make_all_private(&failed);
	if (nr && !failed)
		return true;

	/* No secret yet, but there would be. */
	if (kvm_swp_option > 0 || failed < nr)
		panic("the host does not make the memory private");

	pr_err("the host does not convert memory: no device will work\n");
	return false;
}

#ifndef CONFIG_AMD_MEM_ENCRYPT
/* The rest of the huge page that the linker script gives to this section. */
void __init mem_encrypt_free_decrypted_mem(void)
{
	free_init_pages("unused decrypted",
			(unsigned long)__start_bss_decrypted_unused,
			(unsigned long)__end_bss_decrypted);
}
#endif

/* Called when the CPU and the e820 map are known, and before the PV clock is set up. */
void __init kvm_sw_protected_init(void)
{
	if (!kvm_swp_detect())
		return;

	cc_vendor = CC_VENDOR_KVM;
	x86_platform.guest.enc_status_change_finish = kvm_swp_status_change;
	kvm_swp_next_shutdown = machine_ops.shutdown;
	machine_ops.shutdown = kvm_swp_shutdown;
	kvm_sw_protected_guest_init();
	/* Its tables and what it translates would be private. */
	no_iommu = 1;
	kvm_swp_size_bounce_buffers();
	kvm_sw_protected_share(__start_bss_decrypted,
			       __start_bss_decrypted_unused -
			       __start_bss_decrypted);
	pr_info("the memory is private\n");
}
