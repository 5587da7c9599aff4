// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest_memfd tests' view of x86, see guest_memfd_util.h.
 */
#include <linux/stddef.h>
#include <asm/kvm_para.h>

#include "guest_memfd_util.h"
#include "processor.h"

/* Protected VMs require the TDP MMU. */
const char *const gmem_no_protected_vms =
	"KVM has no software-protected VMs, is kvm.tdp_mmu off?";

unsigned long gmem_protected_vm_type(void)
{
	return KVM_X86_SW_PROTECTED_VM;
}

bool gmem_have_protected_vms(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM);
}

/* The guest itself sets the address of its clock. */
void gmem_clock_init(struct kvm_vcpu *vcpu, uint64_t gpa)
{
}

void gmem_guest_clock(uint64_t gpa)
{
	wrmsr(MSR_KVM_WALL_CLOCK_NEW, gpa);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, gpa | KVM_MSR_ENABLED);
}

uint64_t gmem_faults_taken(struct kvm_vcpu *vcpu)
{
	return gmem_vcpu_stat(vcpu, "pf_taken");
}

static uint64_t read_cr2(void)
{
	uint64_t val;

	asm volatile("mov %%cr2, %0" : "=r" (val));
	return val;
}

static void report_exception(struct ex_regs *regs)
{
	__GUEST_ASSERT(false, "exception, error code, RIP, CR2", 4, regs->vector,
		       regs->error_code, regs->rip, read_cr2());
}

void gmem_catch_exceptions(struct kvm_vm *vm, struct kvm_vcpu **vcpus, int nr_vcpus)
{
	int i;

	vm_init_descriptor_tables(vm);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_init_descriptor_tables(vcpus[i]);
	for (i = 0; i < 32; i++)
		vm_install_exception_handler(vm, i, report_exception);
}

/*
 * QEMU without hardware virtualization may lose a guest: the vCPU then has the
 * state of the processor after VMRUN, and its RIP is an address in the kernel
 * that runs this test.  Only a bug in the emulator can cause that.
 */
static void print_kernel_symbol(uint64_t addr)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], name[128], best[128] = "";
	uint64_t val, best_val = 0;
	char type;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %127s", &val, &type, name) == 3 && val <= addr &&
		    val > best_val && strchr("tT", type)) {
			best_val = val;
			strcpy(best, name);
		}
	}
	if (f)
		fclose(f);
	if (best_val && addr - best_val < 0x10000)
		ksft_print_msg("emulator: RIP is %s+0x%lx of the host's kernel\n", best,
			       addr - best_val);
}

void gmem_dump_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_translation rip;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	vcpu_sregs_get(vcpu, &sregs);
	rip.linear_address = regs.rip;
	vcpu_ioctl(vcpu, KVM_TRANSLATE, &rip);
	ksft_print_msg("vCPU %u: RIP 0x%llx RFLAGS 0x%llx IDT 0x%llx\n", vcpu->id, regs.rip,
		       regs.rflags, sregs.idt.base);
	ksft_print_msg("vCPU %u: CR0 0x%llx CR2 0x%llx CR3 0x%llx\n", vcpu->id, sregs.cr0,
		       sregs.cr2, sregs.cr3);
	if (rip.valid)
		ksft_print_msg("vCPU %u: RIP is at 0x%llx\n", vcpu->id, rip.physical_address);
	else
		ksft_print_msg("vCPU %u: RIP is not mapped\n", vcpu->id);
	ksft_print_msg("vCPU %u: %lu exits, %lu page faults, %lu of them fixed\n", vcpu->id,
		       gmem_vcpu_stat(vcpu, "exits"), gmem_vcpu_stat(vcpu, "pf_taken"),
		       gmem_vcpu_stat(vcpu, "pf_fixed"));
	print_kernel_symbol(regs.rip);
}

/* mov $val, %eax; ret */
void gmem_put_code(void *where, uint32_t val)
{
	uint8_t *code = where;
	int i;

	WRITE_ONCE(code[0], 0xb8);
	for (i = 0; i < 4; i++)
		WRITE_ONCE(code[1 + i], val >> 8 * i);
	WRITE_ONCE(code[5], 0xc3);
}

uint64_t gmem_guest_call(void *code)
{
	return ((uint64_t (*)(void))code)();
}

/*
 * Without nested paging, the host's huge pages reach the guest only where the guest
 * uses huge pages as well.
 */
void gmem_guest_map(struct kvm_vm *vm, uint64_t gpa, size_t len)
{
	uint64_t off;

	if (gpa % PG_SIZE_2M || len % PG_SIZE_2M) {
		virt_map(vm, gpa, gpa, DIV_ROUND_UP(len, vm->page_size));
		return;
	}
	for (off = 0; off < len; off += PG_SIZE_2M)
		__virt_pg_map(vm, gpa + off, gpa + off, PG_LEVEL_2M);
}
