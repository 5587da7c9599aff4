#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Our selftests: every test program of the overlay, on both kernels. The header
# comment of a program (its first 40 lines) says how else it is to be run:
#	Parameters: kvm.tdp_mmu=0	one more run, with these KVM parameters
#	Timeout: 300			seconds without output on the normal kernel (120)
#	Machine: -n -m 6G		options of qemu/l1
#	Kernel: debug			only there
#	Append: kvm-arm.mode=nvhe	one more run, with this kernel command line
#	Append: debug: init_on_free=1	the same, on the debug kernel of x86 only
#	Environment: A=1		one more run, with these variables set
# A program of an architecture is in the folder x86_64 or aarch64. Kernels with
# other page sizes get one run of each and those with variables, with the normal
# kernel's time. So does the debug kernel, unless everything is run, but with the
# first parameters and the first variables in the same run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

dir=tools/testing/selftests/kvm
# What the debug kernel with its checkers is slower.
slowdown=3

header()
{
	sed -n -e "1,40s/^[ *\/]*$2: *//p" "$1"
}

list_programs()
{
	overlay_files | sed -n "s,^$dir/\(.*\)\.c\$,\1,p" | grep -E "^([^/]*|$tests/.*)\$" |
		while read -r program; do
			! in_makefile "$program" || echo "$program"
		done
}

# The Makefile says on which architectures a program is built. One that it does
# not name at all is run, and fails.
in_makefile()
{
	local makefile=$tree/$dir/Makefile

	! grep -q "^TEST_GEN_PROGS.* $1\$" "$makefile" ||
		grep -q "^TEST_GEN_PROGS_$tests .* $1\$" "$makefile"
}

parameters()
{
	[ "$arch" != x86_64 ] || header "$dir/$1.c" Parameters
}

command_lines()
{
	local append

	header "$dir/$1.c" Append | while read -r append; do
		case $arch,$2,$append in
		x86_64,*,kvm-arm.*)	;;
		x86_64,debug,debug:*)	echo "|${append#debug: }|" ;;
		*,debug:*)		;;
		x86_64,*)		echo "|$append|" ;;
		*)			[ "$2" = debug ] && [ "$3" = few ] || echo "|$append|" ;;
		esac
	done
}

# all_sets PROGRAM FLAVOUR: the ways to run it, "parameters|command line|variables".
all_sets()
{
	echo '||'
	header "$dir/$1.c" Environment | sed 's/^/||/'
	case $2 in *k) return ;; esac
	parameters "$1" | sed 's/$/||/'
	command_lines "$1" "$2" all
}

# Two at a time instead of one after the other. Most parameters leave no protected
# VMs, so that a program about those needs the variables without them.
few_sets()
{
	local first variables

	echo '||'
	variables=$(header "$dir/$1.c" Environment | head -n 1)
	first=$(parameters "$1" | head -n 1)
	! grep -q GMEM_TEST_PROTECTED "$dir/$1.c" || [ -z "$variables" ] || first=
	[ -z "$first$variables" ] || echo "$first||$variables"
	command_lines "$1" "$2" few
}

sets()
{
	case $2,$all in
	debug,)	few_sets "$1" "$2" ;;
	*)	all_sets "$1" "$2" ;;
	esac
}

# name_of PROGRAM FLAVOUR SET
name_of()
{
	local name=${prefix}selftest/$1/$2

	[ "$3" = '||' ] || name+=,$(tr ' |' ',' <<<"$3" | sed 's/^,*//; s/,*$//; s/,,*/,/g')
	echo "$name"
}

# add_jobs FLAVOUR: a line "options|parameters|command line|job" per run.
add_jobs()
{
	local flavour=$1 program set kernel limit name variables

	for program in $(list_programs); do
		kernel=$(header "$dir/$program.c" Kernel)
		[ -z "$kernel" ] || [ "$kernel" = "${flavour/[0-9]*k/normal}" ] || continue
		limit=$(header "$dir/$program.c" Timeout)
		limit=${limit:-120}
		[ "$flavour" != debug ] || limit=$((limit * slowdown))
		while read -r set; do
			left_out "$(name_of "$program" "$flavour" "$set")"
		done < <(all_sets "$program" "$flavour" | grep -vxFf <(sets "$program" "$flavour"))
		while read -r set; do
			name=$(name_of "$program" "$flavour" "$set")
			wanted "$name" || continue
			variables=${set##*|}
			printf '%s|%s|%s\t%s\t%s\n' "$(header "$dir/$program.c" Machine)" \
				"${set%|*}" "$name" "$limit" \
				"${variables:+$variables }$selftests/$program"
		done < <(sets "$program" "$flavour")
	done
}

# One L1 for all that need the same machine, parameters and command line.
run_kernel()
{
	local flavour=$1 all=$logs/jobs-$arch-$1 machine params append options

	add_jobs "$flavour" | sort -s -t '|' -k 1,3 >"$all"
	[ -s "$all" ] || return 0
	need_kernel "$flavour"
	need_selftests
	cut -d '|' -f 1-3 "$all" | sort -u >"$all.boots"
	while IFS='|' read -r machine params append <&3; do
		awk -F '|' -v OFS='|' -v m="$machine" -v p="$params" -v a="$append" \
			'$1 == m && $2 == p && $3 == a { sub(/^[^|]*\|[^|]*\|[^|]*\|/, ""); print }' \
			"$all" >"$all.now"
		read -ra options <<<"$machine"
		[ "$flavour" != debug ] || append+=" panic_on_warn=1"
		options+=(-k "$(kernel_dir "$flavour")" -p "$params" -a "$append")
		checks/l1-batch "$all.now" "${options[@]}"
	done 3<"$all.boots"
}

