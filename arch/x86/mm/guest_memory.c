// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: windows
 *
 * Each CPU has an address space of its own for its window.  Opening the window
 * switches to it, as text_poke() does, so that no other CPU can see, or have
 * cached, what the window shows.
 *
 * Invariants:
 *
 * - Only the CPU it belongs to loads an address space, with interrupts off.
 *   It has no user mappings; copies from user space that an NMI attempts
 *   meanwhile are refused by nmi_uaccess_okay().
 * - The page table is there from the beginning, opening allocates nothing.
 * - The entries are not global, and are gone from page table and TLB before the
 *   CPU leaves the address space.
 */
#include <linux/guest_memory_arch.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include <asm/tlbflush.h>

/* Any user address will do, as long as the window lies in one page table. */
#define GUEST_MEMORY_WINDOW_ADDR	((DEFAULT_MAP_WINDOW / 3) & PMD_MASK)

static DEFINE_PER_CPU(struct mm_struct *, guest_memory_mm);
static DEFINE_PER_CPU(pte_t *, guest_memory_ptes);

bool arch_guest_memory_can_hide(void)
{
	/* The hypervisor has a say in the page tables of Xen PV. */
	return !cpu_feature_enabled(X86_FEATURE_XENPV);
}

static int guest_memory_init_window(int cpu)
{
	struct mm_struct *mm;
	spinlock_t *ptl;	/* nobody else looks, but it comes along */
	pte_t *ptep;

	if (per_cpu(guest_memory_ptes, cpu))
		return 0;

	/* Kept if the page table cannot be had: there will be another try. */
	mm = per_cpu(guest_memory_mm, cpu) ?: mm_alloc();
	if (!mm)
		return -ENOMEM;
	per_cpu(guest_memory_mm, cpu) = mm;
#ifdef CONFIG_MEMCG
	/* It outlives whoever happens to make it. */
	rcu_assign_pointer(mm->owner, &init_task);
#endif

	ptep = get_locked_pte(mm, GUEST_MEMORY_WINDOW_ADDR, &ptl);
	if (!ptep)
		return -ENOMEM;
	pte_unmap_unlock(ptep, ptl);
	per_cpu(guest_memory_ptes, cpu) = ptep;

	return 0;
}

int arch_guest_memory_init_windows(void)
{
	int cpu, r;

	for_each_possible_cpu(cpu) {
		r = guest_memory_init_window(cpu);
		if (r)
			return r;
	}

	return 0;
}

void *arch_guest_memory_open_window(struct guest_memory_window *window,
				    struct page **pages, unsigned int nr)
{
	const pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL) & ~_PAGE_GLOBAL);
	struct mm_struct *mm = this_cpu_read(guest_memory_mm);
	pte_t *ptep = this_cpu_read(guest_memory_ptes);
	unsigned long addr = GUEST_MEMORY_WINDOW_ADDR;
	unsigned int i;

	lockdep_assert_irqs_disabled();

	for (i = 0; i < nr; i++)
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep + i,
			   mk_pte(pages[i], prot));

	window->nr = nr;
	window->mm = use_temporary_mm(mm);

	return (void *)addr;
}

void arch_guest_memory_close_window(struct guest_memory_window *window)
{
	struct mm_struct *mm = this_cpu_read(guest_memory_mm);
	pte_t *ptep = this_cpu_read(guest_memory_ptes);
	unsigned long addr = GUEST_MEMORY_WINDOW_ADDR;
	unsigned int i;

	lockdep_assert_irqs_disabled();

	/* All accesses before this, where their mapping goes. */
	barrier();

	for (i = 0; i < window->nr; i++, addr += PAGE_SIZE) {
		pte_clear(mm, addr, ptep + i);
		flush_tlb_one_user(addr);
	}

	unuse_temporary_mm(window->mm);
}
