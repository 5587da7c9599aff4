#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# gmem-run: the library's self-test and the launcher on this machine, then QEMU
# with its machines, memory backends, hotplug and migration in L1.
#
# KERNEL: the kernel's build folder (build/x86_64). PLAIN: one of a kernel
# without guest_memfd (build/x86_64-plain). CASES: a pattern that selects cases
# of L1 by their names. CPUS: those of L1 (2).
#
# What is in single quotes is for another shell, options of QEMU have commas in
# them, CASES is meant as a pattern, and hooks are called by name.
# shellcheck disable=SC2016,SC2053,SC2054,SC2317
set -euo pipefail
cd "$(dirname "$0")/.."

kernel=${KERNEL:-build/x86_64}
plain=${PLAIN:-build/x86_64-plain}
out=build/log/gmem-run
gmem_run=build/gmem-run/gmem-run
passed=0 failed=0 skipped=0

pass()
{
	passed=$((passed + 1))
	printf 'ok   gmem-run: %s\n' "$1"
}

fail()
{
	failed=$((failed + 1))
	printf 'FAIL gmem-run: %s: %s\n' "$1" "$2"
}

skip()
{
	skipped=$((skipped + 1))
	printf 'skip gmem-run: %s: %s\n' "$1" "$2"
}

# Adds the counts of another run's last line to ours.
add_counts()
{
	local p f s

	read -r p f s < <(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$1") ||
		return 1
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

run_part()
{
	local name=$1 log=$2

	shift 2
	"$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|skip|  line) ' || :
	add_counts "$log" || fail "$name" "did not end, see $log"
}

# launcher NAME STATUS PATTERN ARGS: the status and a line of the output.
launcher()
{
	local name=$1 want=$2 pattern=$3 rc=0

	shift 3
	"$gmem_run" "$@" >"$out/launcher.log" 2>&1 </dev/null || rc=$?
	if [ $rc -ne "$want" ]; then
		fail "$name" "status $rc instead of $want"
	elif ! grep -q -- "$pattern" "$out/launcher.log"; then
		fail "$name" "no line with '$pattern'"
	else
		pass "$name"
	fi
}

check_launcher()
{
	local dir

	dir=$(mktemp -d)
	printf '#!/bin/sh\necho "status $1"; exit "$1"\n' >"$dir/script"
	chmod +x "$dir/script"
	cp "$dir/script" "$dir/a b"
	touch "$dir/plain"
	printf '\177ELF\1\1\1%57s' '' >"$dir/elf32"
	chmod +x "$dir/elf32"
	cp "$(command -v busybox)" "$dir/busybox"

	launcher "help" 0 '^Usage: gmem-run' --help
	launcher "no VMM" 2 'no VMM given' --list
	launcher "unknown option" 2 'gmem-run --help' --nonsense -- true
	launcher "option without its value" 2 'gmem-run --help' --report
	launcher "report in no folder" 2 'No such file' -R "$dir/none/x" -- true
	launcher "report is a folder" 2 'Is a directory' -R "$dir" -- true
	launcher "VMM not found in PATH" 127 'command not found' -- no-such-vmm
	launcher "VMM not found by path" 127 'No such file' -- "$dir/none"
	launcher "VMM without permission" 126 'Permission denied' -- "$dir/plain"
	launcher "VMM is a folder" 126 'Is a directory' -- "$dir"
	launcher "VMM of 32 bits" 126 '32-bit' -- "$dir/elf32"
	launcher "static VMM" 0 'linked statically' -- "$dir/busybox" true
	launcher "static VMM, --require" 3 'linked statically' -r -- "$dir/busybox" true
	launcher "VMM that uses no KVM, --require" 3 'no memory was registered' -r -- true
	launcher "VMM's status" 7 'status 7' -r -l -- "$dir/script" 7
	launcher "VMM's name with a blank" 5 'status 5' -- "$dir/a b" 5
	launcher "library stays in a script's environment" 0 'gmem-run.so:/x' \
		-- env LD_PRELOAD=/x "$PWD/$gmem_run" -- sh -c 'echo $LD_PRELOAD'
	rm -rf "$dir"
}

# In L1 from here on. -----------------------------------------------------

qemu="qemu-system-x86_64 -accel kvm -m 192M"

value()
{
	sed -n "s/^$2=//p" "$1/result" | tail -n 1
}

# The slots that gmem-run says are bound now, and those of the kernel.
bound_slots()
{
	awk '$1 == "event=bound" { bound[$2] = 1 }
		$1 == "event=deleted" { delete bound[$2] }
		END { for (s in bound) { sub("slot=", "", s); print s } }' "$1/report" | sort
}

kernel_slots()
{
	sed -n 's/^gmem-binding:.*slot=\([0-9]*:[0-9]*\) .*/\1/p' "$1/fdinfo" | sort
}

# kib DIR KEY: the sum over the files of fdinfo.
kib()
{
	awk -v key="gmem-$2:" '$1 == key { sum += $2 } END { print sum / 1024 }' "$1/fdinfo"
}

# Everything a boot must show; prints what it does not.
judge()
{
	local dir=$1 left=${2:-0} key

	for key in disk_read disk_written disk_reread net_sent net_received; do
		[ "$(value "$dir" $key)" != failed ] || echo "$key"
	done
	[ "$(kib "$dir" allocated)" -gt 16384 ] || echo "only $(kib "$dir" allocated) KiB allocated"
	[ -n "$(kernel_slots "$dir")" ] || echo "no slot bound"
	[ "$(bound_slots "$dir")" = "$(kernel_slots "$dir")" ] ||
		echo "bound: $(bound_slots "$dir" | xargs), kernel: $(kernel_slots "$dir" | xargs)"
	grep -q "^event=exit .* left=$left\$" "$dir/report" || echo "not $left slots left"
	case $(value "$dir" command_status) in
	'' | 0) ;;
	*) echo "command: $(tail -n 1 "$dir/command.log")" ;;
	esac
}

selected()
{
	[[ $1 == ${CASES:-*} ]]
}

finish_case()
{
	local name=$1 problems=$2

	if [ -z "$problems" ]; then
		pass "$name ($(value "$dir" seconds) s)"
	else
		fail "$name" "$(tr '\n' ';' <<<"$problems")"
	fi
}

# boot NAME L2-OPTIONS -- VMM: a boot in which all RAM must be taken over.
boot()
{
	local name=$1 rc=0 dir

	shift
	selected "$name" || return 0
	dir=$results/${name// /-}
	qemu/l2 -k "$image" -o "$dir" -g "--list --require" "$@" >/dev/null 2>"$dir.log" || rc=$?
	if [ $rc -ne 0 ]; then
		fail "$name" "status $rc: $(cat "$dir.log" "$dir/vmm.log" | tail -n 2 | tr '\n' ';')"
		return 0
	fi
	finish_case "$name" "$(judge "$dir")"
}

# left NAME REASON VMM: the VMM works, and RAM that is not ours is reported.
left()
{
	local name=$1 reason=$2 rc=0 dir problems=''

	shift 2
	selected "$name" || return 0
	dir=$results/${name// /-}
	qemu/l2 -k "$image" -o "$dir" -d disk,net,wait -- "$@" >/dev/null 2>"$dir.log" || rc=$?
	[ $rc -eq 0 ] || problems="status $rc"
	grep -q "not in a guest_memfd: .*$reason" "$dir/vmm.log" || problems+=" not reported"
	grep -q "^event=left .*why=.*$reason" "$dir/report" || problems+=" not in the report"
	[ "$(value "$dir" disk_read)$(value "$dir" net_received)" = okok ] || problems+=" I/O"
	finish_case "$name" "$problems"

	rc=0
	qemu/l2 -k "$image" -o "$dir" -g --require -- "$@" >/dev/null 2>"$dir.log" || rc=$?
	if [ $rc -eq 3 ] && grep -q 'because of --require' "$dir/vmm.log"; then
		pass "$name, --require"
	else
		fail "$name, --require" "status $rc"
	fi
}

check_machines()
{
	local machine

	for machine in q35 pc microvm; do
		# shellcheck disable=SC2086
		boot "$machine memfd" -- $qemu -nodefaults -M "$machine,memory-backend=ram" \
			-object memory-backend-memfd,id=ram,size=192M,share=on
		# shellcheck disable=SC2086
		boot "$machine default RAM" -- $qemu -nodefaults -M "$machine"
	done
	# VGA: its memory is RAM with a dirty log, at an address that the guest moves.
	# shellcheck disable=SC2086
	boot "pc default devices" -- $qemu -M pc
	# shellcheck disable=SC2086
	boot "q35 default devices" -- $qemu -M q35
}

check_blocks()
{
	local kind

	for kind in memfd ram; do
		# shellcheck disable=SC2086
		boot "two blocks $kind" -d mem,wait -a l2.mem=32 -n -- $qemu -nodefaults -M q35 \
			-object memory-backend-$kind,id=a,size=128M -numa node,memdev=a \
			-object memory-backend-$kind,id=b,size=64M -numa node,memdev=b
	done
	# shellcheck disable=SC2086
	boot "anonymous shared" -- $qemu -nodefaults -M q35,memory-backend=ram \
		-object memory-backend-ram,id=ram,size=192M,share=on
	# shellcheck disable=SC2086
	boot "preallocated memfd without seals" -- $qemu -nodefaults -M pc,memory-backend=ram \
		-object memory-backend-memfd,id=ram,size=192M,seal=off,prealloc=on
	boot "above 4G" -- qemu-system-x86_64 -accel kvm -nodefaults -M q35 -m 3G
	# shellcheck disable=SC2086
	boot "sandbox" -- $qemu -nodefaults -M q35 \
		-sandbox on,obsolete=deny,resourcecontrol=deny
	# shellcheck disable=SC2086
	boot "hotplug" -n -q -d wait -x "checks/gmem-run.sh --hook hotplug" -- $qemu -nodefaults \
		-M q35 -m 192M,slots=4,maxmem=1G
}

# The VMM goes on in a child of a child; no guest.
check_daemon()
{
	local dir=$results/daemon name="daemon" problems='' pid i

	selected "$name" || return 0
	mkdir -p "$dir"
	# shellcheck disable=SC2086
	"$gmem_run" -R "$dir/report" -r -- $qemu -nodefaults -display none -S -daemonize \
		-pidfile /tmp/daemon.pid >"$dir/vmm.log" 2>&1 || problems="status $?"
	pid=$(cat /tmp/daemon.pid)
	grep -hs '^gmem-binding:' "/proc/$pid/fdinfo/"* >"$dir/fdinfo" || :
	[ "$(bound_slots "$dir")" = "$(kernel_slots "$dir")" ] || problems+=" slots"
	[ -s "$dir/fdinfo" ] || problems+=" nothing bound"
	kill "$pid"
	for ((i = 0; i < 100; i++)); do
		! grep -q '^event=exit' "$dir/report" || break
		sleep 0.1
	done
	grep -q '^event=exit .* left=0$' "$dir/report" || problems+=" no report at exit"
	echo "seconds=0" >"$dir/result"
	finish_case "$name" "$problems"
}

check_left()
{
	# shellcheck disable=SC2086
	left "private memfd" "private mapping" $qemu -nodefaults -M q35,memory-backend=ram \
		-object memory-backend-memfd,id=ram,size=192M,share=off
	# shellcheck disable=SC2086
	left "file in shared memory" "others may share" $qemu -nodefaults -M pc,memory-backend=ram \
		-object memory-backend-file,id=ram,size=192M,share=on,mem-path=/dev/shm
}

check_logging()
{
	local kind ram

	for kind in memfd ram; do
		ram=(-object "memory-backend-$kind,id=ram,size=192M" -M q35,memory-backend=ram)
		# shellcheck disable=SC2086
		boot "dirty rate $kind" -n -q -d count -x "checks/gmem-run.sh --hook dirty_rate" \
			-- $qemu -nodefaults "${ram[@]}"
		rm -f /tmp/stream
		# shellcheck disable=SC2086
		boot "migration out $kind" -n -q -d count -x "checks/gmem-run.sh --hook migrate" \
			-- $qemu -nodefaults "${ram[@]}"
		# shellcheck disable=SC2086
		boot "migration in $kind" -n -q -r -d count -x "checks/gmem-run.sh --hook resumed" \
			-- $qemu -nodefaults "${ram[@]}" -incoming "exec:cat /tmp/stream"
	done
}

check_plain()
{
	local dir=$results/plain rc=0

	# shellcheck disable=SC2086
	qemu/l2 -k "$image" -o "$dir" -- $qemu -nodefaults -M q35 >/dev/null 2>&1 || rc=$?
	if [ $rc -eq 0 ] && grep -q 'KVM has no guest_memfd' "$dir/vmm.log" &&
	   [ "$(value "$dir" net_received)" = ok ]; then
		pass "kernel without guest_memfd"
	else
		fail "kernel without guest_memfd" "status $rc"
	fi
	rc=0
	# shellcheck disable=SC2086
	qemu/l2 -k "$image" -o "$dir" -g --require -- $qemu -nodefaults -M q35 >/dev/null 2>&1 || rc=$?
	if [ $rc -eq 3 ]; then
		pass "kernel without guest_memfd, --require"
	else
		fail "kernel without guest_memfd, --require" "status $rc"
	fi
}

# Hooks: run by qemu/l2 while L2 is up. -----------------------------------

qmp()
{
	local before

	before=$(grep -c '"return"\|"error"' "$DIR/qmp.log" || :)
	echo "$1" >"$QMP"
	qmp_wait "[ \$(grep -c '\"return\"\\|\"error\"' \"$DIR/qmp.log\") -gt $before ]"
	# The answer; an event may follow it.
	grep '"return"\|"error"' "$DIR/qmp.log" | tail -n 1 | tee "$DIR/qmp.last"
	! grep -q '"error"' "$DIR/qmp.last"
}

qmp_wait()
{
	local i

	for ((i = 0; i < 300; i++)); do
		! eval "$1" || return 0
		sleep 0.1
	done
	echo "timeout: $1"
	return 1
}

# L2 answers, so it runs.
count()
{
	echo "$1" >"$CON"
	qmp_wait "grep -q '^L2: count=$1' \"$DIR/console\"" ||
		{ echo "L2 does not count to $1"; return 1; }
}

# The log of every bound slot was on, and is off again.
logged()
{
	local on off

	on=$(grep -c '^event=log .* on=1' "$DIR/report" || :)
	off=$(grep -c '^event=log .* on=0' "$DIR/report" || :)
	[ "$on" -ge "$(bound_slots "$DIR" | wc -l)" ] || { echo "log on $on times"; return 1; }
	[ "$on" -eq "$off" ] || { echo "log on $on times, off $off times"; return 1; }
}

hook_hotplug()
{
	local before

	before=$(bound_slots "$DIR" | wc -l)
	qmp '{"execute":"qmp_capabilities"}'
	qmp '{"execute":"object-add","arguments":{"qom-type":"memory-backend-memfd","id":"h0","size":67108864}}'
	qmp '{"execute":"device_add","arguments":{"driver":"pc-dimm","id":"d0","memdev":"h0"}}'
	qmp '{"execute":"object-add","arguments":{"qom-type":"memory-backend-ram","id":"h1","size":67108864}}'
	qmp '{"execute":"device_add","arguments":{"driver":"pc-dimm","id":"d1","memdev":"h1"}}'
	[ "$(bound_slots "$DIR" | wc -l)" -eq $((before + 2)) ] || { echo "not two slots more"; return 1; }
}

hook_dirty_rate()
{
	qmp '{"execute":"qmp_capabilities"}'
	qmp '{"execute":"calc-dirty-rate","arguments":{"calc-time":2,"mode":"dirty-bitmap"}}'
	count 1
	count 2
	qmp_wait "qmp '{\"execute\":\"query-dirty-rate\"}' | grep -q '\"measured\"'"
	cat "$DIR/qmp.last"
	logged
	count 3
}

hook_migrate()
{
	qmp '{"execute":"qmp_capabilities"}'
	qmp '{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]}}'
	count 1
	# Slow enough that L2 changes memory behind it.
	qmp '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":16777216}}'
	qmp '{"execute":"migrate","arguments":{"uri":"exec:cat >/tmp/stream"}}'
	count 2
	count 3
	qmp '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":1073741824}}'
	qmp_wait "grep -q '\"status\": \"completed\"' \"$DIR/qmp.log\""
	# The stream is complete; this side can go on as well.
	qmp '{"execute":"cont"}'
	count 4
	logged
}

# L2 goes on where it was: it is not booted.
hook_resumed()
{
	qmp '{"execute":"qmp_capabilities"}'
	qmp_wait "qmp '{\"execute\":\"query-status\"}' | grep -q '\"running\": true'"
	count 7
	count 8
	! grep -q '^L2: uname' "$DIR/console"
}

# -------------------------------------------------------------------------

last_line()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed -eq 0 ]
	exit
}

case ${1:-} in
--hook)
	"hook_$2"
	exit ;;
--in-l1 | --in-plain-l1)
	results=/mnt/out image=$2
	if [ "$1" = --in-plain-l1 ]; then
		check_plain
	else
		check_machines
		check_blocks
		check_daemon
		check_left
		check_logging
	fi
	last_line ;;
'') ;;
*)
	echo "usage: checks/gmem-run.sh" >&2
	exit 2 ;;
esac

rm -rf $out
mkdir -p $out/l1 $out/plain build/l2
make -s -C tools/kvm/gmem-run O="$PWD/build/gmem-run" all
qemu/l2-initrd build/l2/initrd.gz
if [ -z "${CASES:-}" ]; then
	run_part "self-test" $out/selftest.log \
		make -s -C tools/kvm/gmem-run O="$PWD/build/gmem-run" check
	check_launcher
fi
run_part "L1" $out/l1.log qemu/l1 -k "$kernel" -t 900 -s "${CPUS:-2}" -l $out/l1.console -o $out/l1 \
	-- env CASES="${CASES:-}" checks/gmem-run.sh --in-l1 "$(realpath "$kernel")/arch/x86/boot/bzImage"
if [ -f "$plain/arch/x86/boot/bzImage" ]; then
	run_part "plain L1" $out/plain.log qemu/l1 -k "$plain" -t 200 -l $out/plain.console -o $out/plain \
		-- checks/gmem-run.sh --in-plain-l1 "$(realpath "$plain")/arch/x86/boot/bzImage"
else
	skip "kernel without guest_memfd" "$plain has no kernel; the self-test covers it"
fi
last_line
