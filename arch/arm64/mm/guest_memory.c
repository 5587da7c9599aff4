// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: windows
 *
 * Each CPU has a few pages of kernel addresses for its window, in an area of the
 * vmalloc space.  To open the window is to fill in their page table entries.
 *
 * Invariants:
 *
 * - Only the CPU it belongs to changes the entries of a window, with interrupts
 *   off.  The page tables are there from the beginning: no allocation, no lock.
 * - An entry is empty, or valid while the window is open.  It never goes from one
 *   page to another without being empty in between, and out of all TLBs, as the
 *   architecture wants it (break-before-make).
 * - The kernel's page tables are those of all CPUs, so any of them may have got
 *   hold of an entry by speculation.  Closing broadcasts the invalidation, for
 *   which no CPU is interrupted, and waits for its end.
 * - A window maps memory with the attributes of the direct map.  To map memory
 *   with and without allocation tags at a time is to lose coherency of the tags.
 * - What reads the vmalloc space page by page (/proc/kcore) leaves out VM_IOREMAP
 *   areas.  It would look the page up and then take it in the direct map.
 */
#include <linux/cpufeature.h>
#include <linux/guest_memory_arch.h>
#include <linux/irqflags.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/vmalloc.h>

#include <asm/barrier.h>
#include <asm/set_memory.h>
#include <asm/tlbflush.h>
#include <asm/virt.h>

/*
 * From one CPU's window to the next.  The second half is never mapped.  Areas are
 * aligned to their size, within bounds, so that a window is in one page table.
 */
#define GUEST_MEMORY_WINDOW_STRIDE	(2 * GUEST_MEMORY_WINDOW_PAGES * PAGE_SIZE)

static DEFINE_PER_CPU(unsigned long, guest_memory_addr);
static DEFINE_PER_CPU(pte_t *, guest_memory_ptes);

/*
 * Without can_set_direct_map() the direct map consists of blocks, and changing
 * it does nothing and reports success.
 *
 * Without FWB, a guest may use memory uncached, for which KVM cleans the data
 * cache by addresses of the direct map.  With it, there is no such maintenance;
 * it also makes instruction fetches see what is in the data cache.
 *
 * Where the kernel is not itself at EL2 (nVHE), KVM maps memory of the kernel there
 * and leaves it mapped when it is freed.  It could become guest memory later.
 */
bool arch_guest_memory_can_hide(void)
{
	return can_set_direct_map() &&
	       cpus_have_const_cap(ARM64_HAS_STAGE2_FWB) &&
	       (!is_hyp_mode_available() || is_kernel_in_hyp_mode());
}

int arch_guest_memory_init_windows(void)
{
	unsigned long size = nr_cpu_ids * GUEST_MEMORY_WINDOW_STRIDE;
	struct vm_struct *area;
	unsigned long addr;
	int cpu;

	BUILD_BUG_ON(!is_power_of_2(GUEST_MEMORY_WINDOW_STRIDE));
	BUILD_BUG_ON(BIT(IOREMAP_MAX_ORDER) < GUEST_MEMORY_WINDOW_STRIDE);

	area = get_vm_area(size, VM_IOREMAP);
	if (!area)
		return -ENOMEM;

	addr = (unsigned long)kasan_reset_tag(area->addr);
	if (apply_to_page_range(&init_mm, addr, size, NULL, NULL)) {
		free_vm_area(area);
		return -ENOMEM;
	}

	for_each_possible_cpu(cpu) {
		per_cpu(guest_memory_addr, cpu) =
			addr + cpu * GUEST_MEMORY_WINDOW_STRIDE;
		per_cpu(guest_memory_ptes, cpu) =
			virt_to_kpte(per_cpu(guest_memory_addr, cpu));
	}

	return 0;
}

void *arch_guest_memory_open_window(struct guest_memory_window *window,
				    struct page **pages, unsigned int nr)
{
	unsigned long addr = __this_cpu_read(guest_memory_addr);
	pte_t *ptep = __this_cpu_read(guest_memory_ptes);
	unsigned int i;

	lockdep_assert_irqs_disabled();

	/* As set_pte() does it, but with one barrier for all. */
	for (i = 0; i < nr; i++)
		WRITE_ONCE(ptep[i],
			   mk_pte(pages[i], pgprot_tagged(PAGE_KERNEL)));
	dsb(ishst);
	isb();

	window->nr = nr;

	return (void *)addr;
}

void arch_guest_memory_close_window(struct guest_memory_window *window)
{
	unsigned long addr = __this_cpu_read(guest_memory_addr);
	pte_t *ptep = __this_cpu_read(guest_memory_ptes);
	unsigned int i;

	lockdep_assert_irqs_disabled();

	/* All accesses before this, where their mapping goes. */
	barrier();

	for (i = 0; i < window->nr; i++)
		pte_clear(&init_mm, addr + i * PAGE_SIZE, ptep + i);

	flush_tlb_kernel_range(addr, addr + window->nr * PAGE_SIZE);
}
