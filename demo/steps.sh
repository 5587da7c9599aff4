# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# The steps that all modes of the demonstration share. A mode is a program in this
# folder: it sources this file and evidence.sh, calls
#	begin				check the kernel, build gmem-run
#	compile FILE SOURCE FLAGS...	build a program of this folder
#	make_initrd FILE PROGRAM...	make L2's initramfs, with these programs
#	boot_l1 OPTIONS -- CMD		run CMD in L1; its results go to /mnt/out
# in this order, prints its evidence and calls "finish", which reports whether any is
# missing. A mode does not redefine functions. Before it calls "begin", it may set:
#	vmm	the VMM and its options, unless $VMM sets them
#	out	what evidence.sh reads: $share (the results of L1) or a folder in it
#
# Environment: ARCH and PAGES as for pipeline/kernel; KERNEL, the build folder of the
# kernel; VMM, the VMM and its options, to which L2's kernel, initramfs, console, disk
# and network are appended.

. "$(dirname "${BASH_SOURCE[0]}")/../pipeline/lib.sh"

arch_facts "${ARCH:-x86_64}"
kernel=${KERNEL:-build/$arch${PAGES:+-$PAGES}}
gmem_run=build/gmem-run$suffix
initrd=build/l2/initrd$suffix.gz
share=build/run$suffix
out=$share
log=build/log/run$suffix
# An L1 of another architecture is always emulated, and L2 is slower in it.
limit=300
[ "$arch" = "$(arch_here)" ] || limit=600
began=${EPOCHREALTIME/./}
last=$began
times=()

# step TEXT: report the end of a step, and how long it took.
step()
{
	local now=${EPOCHREALTIME/./} line

	line=$(printf '%6.1f s  %s' "$(((now - last) / 100000))e-1" "$1")
	times+=("$line")
	say "$line"
	last=$now
}

print_times()
{
	echo "Time"
	printf '  %s\n' "${times[@]}"
	printf '  %6.1f s  in all\n' "$(((${EPOCHREALTIME/./} - began) / 100000))e-1"
	echo "Logs: $log"
}

# begin: also sets words (the VMM and its options) and page_size.
begin()
{
	read -ra words <<<"${VMM:-$vmm}"
	rm -rf "$share" "$log"
	mkdir -p "$share" "$log" build/l2
	[ -f "$kernel/$image" ] ||
		die "no kernel in $kernel; run 'make kernel ARCH=$arch${PAGES:+ PAGES=$PAGES}'"
	page_size=$(sed -n 's/^CONFIG_ARM64_\([0-9]*\)K_PAGES=y$/\1/p' "$kernel/.config")
	page_size=$((${page_size:-4} * 1024))
	make -s -C tools/kvm/gmem-run O="$top/$gmem_run" CC="${cross}gcc" all >"$log/gmem-run.log" 2>&1 || {
		cat "$log/gmem-run.log" >&2
		die "gmem-run does not build"
	}
	step "gmem-run is built"
}

make_initrd()
{
	demo/l2-initrd "$1" "$(l1_root)/bin/busybox" "${@:2}"
	step "L2's initramfs is made"
}

# compile FILE SOURCE FLAGS...: FILE keeps its mtime if its content does not change.
compile()
{
	local file=$1 source=$2

	shift 2
	mkdir -p "${file%/*}"
	"${CC:-${cross}gcc}" -O2 -Wall -Wextra -Werror -std=gnu11 "$@" -o "$file.new" "$source" ||
		die "$source does not compile"
	cmp -s "$file.new" "$file" || mv "$file.new" "$file"
	rm -f "$file.new"
}

# Print the lines of L2 with the seconds since the VMM's start, and without the
# hashes, which are for the report.
progress()
{
	local line seconds

	while read -r line; do
		printf '%s\n' "$line" >&3
		case $line in *" L2: "*) ;; *) continue ;; esac
		seconds=${line%% *}
		line=${line#* }
		case $line in *net_* | *disk_*) line="${line%%=*} done" ;; esac
		say "$(printf '   %6.1f s  %s' "$seconds" "$line")"
	done 3>"$log/l1.log"
}

keep_logs()
{
	mkdir -p "$log"
	cp -r "$share"/* "$log"/ 2>/dev/null || :
	rm -f "$log/answer"
}

# Print the end of the logs of L1, the VMM and L2 after a failure.
explain()
{
	local file

	for file in l1.log "${out#"$share"}"/{vmm.log,console}; do
		[ -s "$log/$file" ] || continue
		echo "--- the end of $log/$file"
		tail -n 8 "$log/$file" | tr -d '\r'
	done
}

# boot_l1 OPTIONS... -- CMD...: the options are those of qemu/l1.
boot_l1()
{
	local rc=0

	say "            L1 starts, and in it: ${words[*]}"
	qemu/l1 -k "$kernel" -l "$log/l1.console" -o "$share" "$@" 2>&1 | progress ||
		rc=${PIPESTATUS[0]}
	keep_logs
	if [ "$rc" -ne 0 ]; then
		explain >&2
		die "status $rc; logs are in $log"
	fi
	step "L1 ran the VMM, and L2 in it"
	echo
}

# Print the kernel image for L2, which is the same as that of L1.
l2_kernel()
{
	echo "$(realpath "$kernel")/$image"
}
