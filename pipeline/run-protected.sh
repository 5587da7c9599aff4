# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# make run MODE=protected: L2 is a software-protected VM. All of its RAM is
# private before its first instruction, firmware included, and it runs up to a
# shell on the serial console. The host tries to read its memory.
#
# An ordinary VM comes first, with the same VMM and the same attempts: what they
# find there is what they have to miss in the protected VM.
#
# pipeline/run sources this. QEMU's devices cannot reach private memory, so there
# are none that use DMA. On x86, three parts of QEMU touch guest memory although
# no device was asked for; the options say it: the firmware configuration by DMA
# instead of port I/O, the AHCI controller of q35, and a helper for the task
# priority of 32-bit guests. On arm64 there are none, and no firmware.

if [ "$arch" = x86_64 ]; then
	vmm="$qemu -accel kvm -nodefaults -m 256M -M q35,memory-backend=ram,sata=off"
	vmm+=" -object memory-backend-memfd,id=ram,size=256M,share=on"
	vmm+=" -global kvm-apic.vapic=off -global fw_cfg_io.dma_enabled=off"
fi
out=$share/protected
l1_limit=1200

prepare()
{
	local cc=${CC:-${cross}gcc}

	"$cc" -O2 -Wall -Wextra -Werror -std=gnu11 -o "build/l2/peek$suffix" qemu/peek.c ||
		die "qemu/peek.c does not compile"
}

# The ordinary VM may read its kernel by DMA, which is much faster.
l1_command()
{
	local ordinary=("${vmm[@]/fw_cfg_io.dma_enabled=off/fw_cfg_io.dma_enabled=on}")

	l1=(qemu/l2-pair -o /mnt/out -k "$1" -t 560 "${#ordinary[@]}" "${ordinary[@]}" "${vmm[@]}")
}

# peeked KIND KEY: of build/run/KIND/peek.
peeked()
{
	sed -n "s/^$2=//p" "$share/$1/peek" 2>/dev/null | tail -n 1
}

# The slots that the VM had in the end: bound, readonly and so on, one a line.
slot_kinds()
{
	awk '{ sub("event=", "", $1) }
		$1 == "deleted" { delete kind[$2] }
		$1 ~ /^(bound|alias|readonly|device|left|own)$/ { kind[$2] = $1 }
		END { for (s in kind) print kind[s] }' "$out/report"
}

all_slots_bound()
{
	[ "$(slot_kinds | sort -u | xargs)" = "bound readonly" ]
}

fdinfo_sum()
{
	awk -v key="gmem-$1:" '$1 == key { sum += $2 } END { printf "%d\n", sum }' "$out/fdinfo"
}

report_type()
{
	echo "The VM"
	evidence "gmem-run made it of type $vm_type" \
		"$(holds grep -q "^event=protected .* type=$vm_type_number from=run\$" "$out/report")"
	evidence "KVM knows it as protected: its files can be private, those of the ordinary VM cannot" \
		"$(holds [ "$(peeked protected files_of_protected_vm):$(peeked ordinary files_of_protected_vm)" = \
			"$(peeked protected files):0" ])"
	evidence "RAM became private before the first vCPU ran, and nothing was converted later" \
		"$(holds [ "$(grep -c '^event=private ' "$out/report"):$(grep -c '^event=convert ' "$out/report")" = \
			"$(peeked protected files):0" ])"
}

report_private()
{
	local private size

	report_memory
	private=$(fdinfo_sum private) size=$(fdinfo_sum size)
	evidence "$((private / 1048576)) of $((size / 1048576)) MiB are private" \
		"$(holds all_of "$private" "$size")"
	evidence "gmem-run and the kernel name the same bound slots" "$(holds same_slots)"
	evidence "all other slots are read-only: $(slot_kinds | grep -c readonly) of firmware" \
		"$(holds all_slots_bound)"
}

report_guest()
{
	local name

	echo "L2, in the protected VM"
	name=$(l2_says uname)
	evidence "uname: ${name:-unknown}" "$(holds [ -n "$name" ])"
	name=$(l2_says memory_kib)
	evidence "memory: $((${name:-0} / 1024)) MiB" "$(holds positive "$name")"
	evidence "memory written and read back: $(l2_says mem_checked_mib) MiB" \
		"$(holds positive "$(l2_says mem_checked_mib)")"
	evidence "its shell, asked for $(peeked protected shell_asked), says \"$(peeked protected shell_answered)\"" \
		"$(holds [ -n "$(peeked protected shell_answered)" ])"
	evidence "it was up after $(value boot_seconds) s" "$(holds [ -n "$(value boot_seconds)" ])"
	evidence "it still has its secret after all that the host tried" \
		"$(holds [ "$(peeked protected secret_kept)" = yes ])"
}

# all_of PART WHOLE
all_of()
{
	positive "${1:-0}" && [ "$1" = "$2" ]
}

found_all()
{
	all_of "$(peeked ordinary "$1_read")" "$(peeked ordinary "$1_pages")" &&
		positive "$(peeked ordinary "$1_found")"
}

# attempt WAY TEXT: the ordinary VM gives all pages and the secret, the protected
# one not a single page.
attempt()
{
	local way=$1 text=$2 pages

	pages=$(peeked protected "${way}_pages")
	evidence "$text: $(peeked protected "${way}_read") of $pages pages, $(peeked protected "${way}_error")" \
		"$(holds [ "$(peeked protected "${way}_read"):${pages:-0}" = "0:$(($(fdinfo_sum size) / 4096))" ])"
	evidence "  in the ordinary VM: $(peeked ordinary "${way}_read") pages, $(peeked ordinary "${way}_found") with the secret" \
		"$(holds found_all "$way")"
}

report_attempts()
{
	echo "The host reads L2's memory, which has a secret"
	attempt proc_mem "/proc/PID/mem of the VMM"
	attempt process_vm "process_vm_readv"
	attempt own_mapping "a mapping in another process"
	evidence "QEMU through its own mapping: SIGBUS ended it, status $(value vmm_status)" \
		"$(holds [ "$(peeked protected memsave):$(value vmm_status)" = failed:135 ])"
	evidence "  in the ordinary VM: saved, $(peeked ordinary memsave_found) lines with the secret" \
		"$(holds positive "$(peeked ordinary memsave_found)")"
	evidence "L1 runs on, its kernel has no complaint" ok
}

report_all()
{
	report_type
	report_private
	report_guest
	report_attempts
}
