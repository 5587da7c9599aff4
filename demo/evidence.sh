# shellcheck shell=bash
# shellcheck disable=SC2154
#
# Print lines of evidence from $out, the results of demo/l2. Requires steps.sh.

failed=0

# evidence TEXT STATUS: print a line of the report.
evidence()
{
	if [ "$2" = ok ]; then
		printf '  ok      %s\n' "$1"
	else
		printf '  MISSING %s\n' "$1"
		failed=1
	fi
}

# holds CMD...: run CMD and print the status for evidence.
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

# flags KIND: print the flags of the guest_memfds of $share/KIND.
flags()
{
	sed -n 's/^gmem-flags:[[:space:]]*//p' "$share/$1/fdinfo" | sort -u | xargs
}

# value KEY: print the value of KEY in the result of demo/l2.
value()
{
	sed -n "s/^$1=//p" "$out/result" | tail -n 1
}

# l2_says KEY: print the value of KEY from the console of L2.
l2_says()
{
	tr -d '\r' <"$out/console" | sed -n "s/^L2: $1=//p" | tail -n 1
}

# Report the VMM's guest_memfds and their slots, as listed by the kernel. The slots
# may be bound to several files.
report_memory()
{
	local key rest fd='' size=0 pages=0 slots=0 bytes=0 whole=0 mapped='' n

	echo "Memory, from /proc/PID/fdinfo of the VMM while L2 was up"
	while read -r key rest; do
		case $key in
		fd) fd=$rest ;;
		gmem-size:) size=$rest ;;
		gmem-allocated:)
			pages=$((pages + rest / page_size))
			printf '  fd %s: guest_memfd of %d KiB, %d KiB allocated\n' \
				"$fd" $((size / 1024)) $((rest / 1024)) ;;
		gmem-2m:) whole=$((whole + rest)) ;;
		mapped-2m:) mapped=", and L2 has mapped $((rest * 2)) MiB by them" ;;
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
	echo "    $((whole / 1048576)) MiB are in blocks of 2 MiB$mapped"
}

# Do the kernel and gmem-run list the same bound slots?
same_slots()
{
	cmp -s <(sed -n 's/^gmem-binding:.*slot=\([0-9]*\):\([0-9]*\) .*/\1:\2/p' "$out/fdinfo" | sort) \
		<(awk '$1 == "event=bound" { bound[$2] = 1 }
			$1 == "event=deleted" { delete bound[$2] }
			END { for (s in bound) { sub("slot=", "", s); print s } }' "$out/report" | sort)
}

# Report what L2 says about itself, in every mode that has its console.
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

# Report what L2's disk and network carried, as both sides saw it.
report_devices()
{
	evidence "virtio-blk: L2 read the MiB that we wrote" "$(value disk_read)"
	evidence "virtio-blk: we read the MiB that L2 wrote, and so did L2" \
		"$(holds [ "$(value disk_written) $(value disk_reread)" = "ok ok" ])"
	evidence "virtio-net: we received what L2 sent" "$(value net_sent)"
	evidence "virtio-net: L2 received what we sent" "$(value net_received)"
}

# finish: end a mode, and fail if evidence is missing.
finish()
{
	print_times
	[ $failed -eq 0 ] || die "evidence is missing"
}
