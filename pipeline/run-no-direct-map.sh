# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# make run MODE=no-direct-map: what of a guest's memory does a wild read in the host
# kernel find? Two VMs, one after the other: the memory of the first one is
# ordinary, that of the second one is out of the direct map. Each L2 fills memory
# with a random secret while its disk and network are at work, and all memory of
# L1 is searched for it. See qemu/l2-scan.
#
# pipeline/run sources this. L1 is small, since each of its pages is read byte by
# byte. L2's disk is in the page cache: O_DIRECT pins pages, which cannot be done
# with those that are out of the direct map.

secret_mib=64
if [ "$arch" = x86_64 ]; then
	vmm="$qemu -accel kvm -nodefaults -m 256M -M q35,memory-backend=ram"
	vmm+=" -object memory-backend-memfd,id=ram,size=256M,share=on"
fi
kinds=(ordinary no-direct-map)
out=$share/no-direct-map
l1_options=(-m 1G)
limit=800
l1_limit=1800
module=$kernel/mm/guest_memory/tests/guest_memory_scan.ko
programs=build/l2/secret$suffix

# compile NAME FLAGS...
compile()
{
	local name=$1 cc=${CC:-${cross}gcc}

	shift
	"$cc" -O2 -Wall -Wextra -Werror -std=gnu11 "$@" -o "$programs/$name.new" "qemu/$name.c" ||
		die "qemu/$name.c does not compile"
	cmp -s "$programs/$name.new" "$programs/$name" || mv "$programs/$name.new" "$programs/$name"
	rm -f "$programs/$name.new"
}

prepare()
{
	search_pages=$((secret_mib * 1048576 / page_size))
	[ -f "$module" ] || die "$module is missing; CONFIG_GUEST_MEMORY_SCAN=m builds it"
	mkdir -p "$programs"
	compile scan -static
	compile l2-secret -static -pthread
	initrd=$programs/initrd.gz
	qemu/l2-initrd "$initrd" "$(l1_root)/bin/busybox" "$programs/l2-secret"
}

l1_command()
{
	l1=(env "MIB=$secret_mib" "SCAN=$programs/scan" qemu/l2-scan -o /mnt/out -k "$1"
		-i "$initrd" -m "$(realpath "$module")" -t "$limit" "${vmm[@]}")
}

# scanned KIND KEY: of build/run/KIND/scan.
scanned()
{
	sed -n "s/^$2=//p" "$share/$1/scan" 2>/dev/null | tail -n 1
}

# changed KIND KEY FROM TO: how much KEY with the prefix TO is more than with FROM.
changed()
{
	local from to

	from=$(scanned "$1" "$3_$2") to=$(scanned "$1" "$4_$2")
	[ -z "$from$to" ] || echo $((${to:-0} - ${from:-0}))
}

# kib_moved KIND KEY FROM TO: the same in KiB, of bytes.
kib_moved()
{
	local bytes

	bytes=$(changed "$@")
	echo $((${bytes:-0} / 1024))
}

# row TEXT CMD [ARGS...]: a line of the table, CMD KIND ARGS for each column.
row()
{
	local text=$1 cmd=$2 columns=() kind

	shift 2
	for kind in "${kinds[@]}"; do
		columns+=("$("$cmd" "$kind" "$@")")
	done
	printf '  %-52s %12s %14s\n' "$text" "${columns[0]:--}" "${columns[1]:--}"
}

# pages KIND KEY: what is noted in KiB.
pages()
{
	local kib

	kib=$(scanned "$1" "$2_kib")
	echo $((${kib:-0} * 1024 / page_size))
}

seconds()
{
	local ms

	ms=$(scanned "$1" "$2_ms")
	printf '%d.%d s\n' $((${ms:-0} / 1000)) $((${ms:-0} % 1000 / 100))
}

flags()
{
	sed -n 's/^gmem-flags:[[:space:]]*//p' "$share/$1/fdinfo" | sort -u | xargs
}

# Pages of the files when the searches ended, by the kernel's own account.
pages_allocated()
{
	awk '$1 == "gmem-allocated:" { sum += $2 } END { printf "%d\n", sum / size }' \
		size="$page_size" "$share/$1/fdinfo.scan"
}

table()
{
	printf '  %-52s %12s %14s\n' "" "${kinds[@]}"
	row "flags of the guest_memfd" flags
	row "pages allocated from it" pages_allocated
	row "pages that L2 filled with its secret" pages filled
	row "/proc/kcore: pages searched" scanned kcore_pages
	row "  pages with the secret" scanned kcore_found
	row "  occurrences" scanned kcore_occurrences
	row "direct map: pages read" scanned module_pages_read
	row "  pages that cannot be read" scanned module_pages_not_readable
	row "  pages with the secret" scanned module_pages_found
	row "  occurrences" scanned module_occurrences
	row "pages with the secret as L2 sees them" pages kept
	row "pages with the secret as the VMM sees them" scanned file_found
	row "after the VM's end: direct map, pages with the secret" scanned gone_pages_found
	row "  pages that cannot be read" scanned gone_pages_not_readable
	row "disk, KiB while /proc/kcore was searched" kib_moved disk io_0 io_1
	row "  while the direct map was" kib_moved disk io_1 io_2
	row "network, KiB while /proc/kcore was searched" kib_moved net io_0 io_1
	row "  while the direct map was" kib_moved net io_1 io_2
	row "time to search /proc/kcore" seconds kcore
	row "  the direct map" seconds module
	row "direct map split, 2M to 4K" changed direct_map_level2_splits before after
	row "DirectMap4k before, KiB" scanned before_DirectMap4k
	row "DirectMap4k after, KiB" scanned after_DirectMap4k
}

# each CMD ARGS...: for both kinds.
each()
{
	local kind

	for kind in "${kinds[@]}"; do
		"$1" "$kind" "${@:2}" || return 1
	done
}

has_secret()
{
	[ "$(pages "$1" filled):$(pages "$1" kept)" = "$search_pages:$search_pages" ] &&
		[ "$(scanned "$1" file_found)" -ge "$search_pages" ]
}

worked()
{
	local key step

	for key in disk net; do
		for step in 0 1; do
			positive "$(changed "$1" $key io_$step io_$((step + 1)))" || return 1
		done
	done
}

io_was_good()
{
	local out=$share/$1 key

	[ "$(scanned "$1" io_2_bad)" = 0 ] || return 1
	for key in disk_read disk_written disk_reread net_sent net_received; do
		[ "$(value $key)" = ok ] || return 1
	done
}

nothing_found()
{
	[ "$(scanned "$1" "$2_found"):$(scanned "$1" "$3")" = 0:0 ]
}

found_all()
{
	[ "$(scanned ordinary "$1")" -ge "$search_pages" ]
}

searched_all()
{
	local kind all

	for kind in "${kinds[@]}"; do
		all=$(($(scanned "$kind" module_pages_read) + $(scanned "$kind" module_pages_not_readable)))
		[ "$(scanned "$kind" kcore_pages)" -ge "$all" ] && positive "$all" || return 1
	done
	# What cannot be read is at least what the files have.
	[ "$(scanned no-direct-map module_pages_not_readable)" -ge "$(pages_allocated no-direct-map)" ]
}

is_bound()
{
	grep -q '^event=exit .* left=0$' "$share/$1/report" && grep -q '^gmem-binding:' "$share/$1/fdinfo"
}

# no_split: none of the VMs had the direct map split to 4K.
no_split()
{
	[ "$(changed "$1" direct_map_level2_splits before after)" = 0 ] &&
		[ "$(changed "$1" DirectMap4k before after)" -le 0 ]
}

gone()
{
	nothing_found "$1" gone_pages gone_occurrences
}

report_all()
{
	echo "All memory of the host, searched for the secret of a running guest"
	table
	echo "Evidence"
	evidence "both VMs had all their RAM in guest_memfds, the second one with NO_DIRECT_MAP" \
		"$(holds two_kinds)"
	evidence "L2 and its VMM have the secret in $search_pages pages, before and after" \
		"$(holds each has_secret)"
	evidence "ordinary memory: both searches found it in each of them" \
		"$(holds found_both)"
	evidence "no direct map: /proc/kcore does not show it once" \
		"$(holds nothing_found no-direct-map kcore kcore_occurrences)"
	evidence "no direct map: no address of the direct map shows it" \
		"$(holds nothing_found no-direct-map module_pages module_occurrences)"
	evidence "all RAM was searched, and the direct map lacks the pages of the files" \
		"$(holds searched_all)"
	evidence "disk and network were at work during each search" "$(holds each worked)"
	evidence "what they carried was right, in each of $(io_checked) checks" "$(holds each io_was_good)"
	evidence "when a VM was gone, its secret was nowhere" "$(holds each gone)"
	if [ -n "$(scanned ordinary before_direct_map_level2_splits)" ]; then
		evidence "the direct map was not split to 4K" "$(holds each no_split)"
	else
		echo "  (the direct map of $arch is made of pages, no split to count)"
	fi
}

two_kinds()
{
	each is_bound && [ "$(flags ordinary):$(flags no-direct-map)" = 0x3:0x7 ]
}

found_both()
{
	found_all kcore_found && found_all module_pages_found
}

# Rounds of L2's threads, both VMs together.
io_checked()
{
	local kind sum=0 checked

	for kind in "${kinds[@]}"; do
		checked=$(scanned "$kind" io_2_checked)
		sum=$((sum + ${checked/,/ + }))
	done
	echo $sum
}
