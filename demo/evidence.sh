# shellcheck shell=bash
# shellcheck disable=SC2154
#
# Lines of evidence, and where the facts come from: $out, the results of demo/l2.
# Expects steps.sh.

failed=0

# evidence TEXT STATUS: a line of the report.
evidence()
{
	if [ "$2" = ok ]; then
		printf '  ok      %s\n' "$1"
	else
		printf '  MISSING %s\n' "$1"
		failed=1
	fi
}

# holds CMD...: the status for evidence.
holds()
{
	if "$@"; then
		echo ok
	else
		echo missing
	fi
}

positive()
{
	[ "${1:-0}" -gt 0 ]
}

# value KEY: of demo/l2's result.
value()
{
	sed -n "s/^$1=//p" "$out/result" | tail -n 1
}

# l2_says KEY: on its console.
l2_says()
{
	tr -d '\r' <"$out/console" | sed -n "s/^L2: $1=//p" | tail -n 1
}

# The kernel's account of the VMM's guest_memfds. Slots of several files.
report_memory()
{
	local key rest fd='' size=0 pages=0 slots=0 bytes=0 n

	echo "Memory, from /proc/PID/fdinfo of the VMM while L2 was up"
	while read -r key rest; do
		case $key in
		fd) fd=$rest ;;
		gmem-size:) size=$rest ;;
		gmem-allocated:)
			pages=$((pages + rest / page_size))
			printf '  fd %s: guest_memfd of %d KiB, %d KiB allocated\n' \
				"$fd" $((size / 1024)) $((rest / 1024)) ;;
		gmem-binding:)
			slots=$((slots + 1))
			n=${rest#*npages=}
			bytes=$((bytes + ${n%% *} * page_size))
			printf '    %s\n' "$rest" ;;
		esac
	done <"$out/fdinfo"
	evidence "$slots memslots with $((bytes / 1048576)) MiB are bound to a guest_memfd" \
		"$(holds positive $slots)"
	evidence "$pages pages are allocated from it" "$(holds positive $pages)"
}

# Those of the kernel and those of gmem-run.
same_slots()
{
	cmp -s <(sed -n 's/^gmem-binding:.*slot=\([0-9]*\):\([0-9]*\) .*/\1:\2/p' "$out/fdinfo" | sort) \
		<(awk '$1 == "event=bound" { bound[$2] = 1 }
			$1 == "event=deleted" { delete bound[$2] }
			END { for (s in bound) { sub("slot=", "", s); print s } }' "$out/report" | sort)
}

# What L2 says of itself, in every mode that has its console.
report_system()
{
	local name

	name=$(l2_says uname)
	evidence "uname: ${name:-unknown}" "$(holds [ -n "$name" ])"
	name=$(l2_says memory_kib)
	evidence "memory: $((${name:-0} / 1024)) MiB" "$(holds positive "$name")"
	evidence "memory written and read back: $(l2_says mem_checked_mib) MiB" \
		"$(holds positive "$(l2_says mem_checked_mib)")"
}

# finish: the last step of a mode.
finish()
{
	print_times
	[ $failed -eq 0 ] || die "evidence is missing"
}
