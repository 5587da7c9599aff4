# shellcheck shell=bash
# Reporting for the checks: one line and one log per test, and a results file from
# which checks/all counts. Sources pipeline/lib.sh.
#
# A test's name is a path, e.g. selftest/guest_memfd_test/debug. $T selects tests by
# globs, which match the whole name or consecutive components of it. $KCONFIG
# restricts the tests that need a kernel to one kernel: normal or debug, for arm64
# also 16k or 64k. A check is for one architecture, $ARCH; unless it is x86, test
# names begin with it. $ALL: leave nothing out. $DEADLINE: when the run must end, in
# seconds since 1970.

. "$(dirname "${BASH_SOURCE[0]}")/../pipeline/lib.sh"

arch_facts "${ARCH:-x86_64}"
export ARCH="$arch"
prefix=
[ "$arch" = x86_64 ] || prefix=$arch/
# shellcheck disable=SC2034
selftests=build/selftests$suffix
# Two kernel configurations, and the normal one with other page sizes.
flavours=(normal debug)
[ "$arch" != arm64 ] || flavours+=(64k 16k)

# make test leaves some tests to make test-all, which sets this.
# shellcheck disable=SC2034
all=${ALL:-}

logs=build/log/test
results=${RESULTS:-$logs/results}
mkdir -p $logs

# wanted NAME
wanted()
{
	local glob globs

	# read does not expand the globs, which might match files.
	read -ra globs <<<"${T:-*}"
	for glob in "${globs[@]}"; do
		# shellcheck disable=SC2254
		case /$1/ in */$glob/*) return 0 ;; esac
	done
	return 1
}

# wanted_kernel FLAVOUR: other page sizes are only tested on request, to save time.
wanted_kernel()
{
	case ${KCONFIG:-},$1 in
	,*k)	return 1 ;;
	,*)	return 0 ;;
	*)	[ "$KCONFIG" = "$1" ] ;;
	esac
}

# seconds_left: print the seconds until the run must end, a day without a deadline.
seconds_left()
{
	local left=$((${DEADLINE:-EPOCHSECONDS + 86400} - EPOCHSECONDS))

	echo $((left > 0 ? left : 0))
}

out_of_time()
{
	[ "$(seconds_left)" -eq 0 ]
}

# left_out NAME: record that only make test-all runs this test.
left_out()
{
	! wanted "$1" || echo "$1" >>"$logs/left-out"
}

kernel_dir()
{
	case $1 in
	normal)	echo "build/$arch" ;;
	*)	echo "build/$arch-$1" ;;
	esac
}

log_of()
{
	printf '%s/%s.log\n' "$logs" "$(tr '/ ' '__' <<<"$1")"
}

# begin NAME
begin()
{
	printf '%-62s ' "$1"
}

# end NAME VERDICT SECONDS [DETAIL]: VERDICT is ok, FAIL or skip.
end()
{
	printf '%-4s %4d s%s\n' "$2" "$3" "${4:+  $4}"
	printf '%s\t%s\t%s\n' "$2" "$1" "${4:-}" >>"$results"
	[ "$2" != FAIL ] || [ ! -s "$(log_of "$1")" ] || {
		tail -n "${TAIL:-25}" "$(log_of "$1")" | cut -c1-200 | sed 's/^/    | /'
		printf '    | (whole log: %s)\n' "$(log_of "$1")"
	}
}

# verdict NAME STATUS SECONDS: report by exit status; 4 is a skip, as in kselftest.
verdict()
{
	local name=$1 log detail='' count

	log=$(log_of "$name")
	case $2 in
	0)
		count=$(grep -c '^ok .*# SKIP' "$log" 2>/dev/null) || :
		[ "${count:-0}" -eq 0 ] || detail="($count subtests skipped)"
		end "$name" ok "$3" "$detail" ;;
	4)
		detail=$(grep -i 'skip' "$log" | tail -n 1 | sed 's/.*# SKIP[a-z:]*[ :-]*//') || :
		end "$name" skip "$3" "${detail:-$(tail -n 1 "$log")}" ;;
	124 | 137)
		if out_of_time; then
			end "$name" skip "$3" "no time left"
		else
			end "$name" FAIL "$3" "time limit"
		fi ;;
	125)		end "$name" FAIL "$3" "the kernel died" ;;
	126)		end "$name" FAIL "$3" "the kernel complained" ;;
	*)		end "$name" FAIL "$3" "status $2: $(tail -n 1 "$log" | cut -c1-100)" ;;
	esac
}

# check NAME SECONDS CMD...: run CMD as a test on this machine. The time limit is
# three times SECONDS, because the machine may be busy.
check()
{
	local name=$1 limit=$((3 * $2)) rc=0 left started=$SECONDS

	wanted "$name" || return 0
	shift 2
	left=$(seconds_left)
	[ "$left" -gt 0 ] || { skip "$name" "no time left"; return; }
	begin "$name"
	timeout -k 10 $((limit < left ? limit : left)) "$@" >"$(log_of "$name")" 2>&1 </dev/null ||
		rc=$?
	verdict "$name" $rc $((SECONDS - started))
}

# skip NAME REASON
skip()
{
	wanted "$1" || return 0
	begin "$1"
	end "$1" skip 0 "$2"
}

# need NAME CMD...: make what a check builds on, unless this run has made it already.
# A failure is reported as the test NAME and ends the check. If there is no time left,
# nothing is done, and the tests that need it are skipped.
need()
{
	local name=$1 log left

	shift
	left=$(seconds_left)
	[ "$left" -gt 0 ] || return 0
	! grep -q "^ok	$name	" "$results" 2>/dev/null || return 0
	! grep -q "^FAIL	$name	" "$results" 2>/dev/null || exit 0
	log=$(log_of "$name")
	printf '(%s)\n' "$name"
	timeout -k 10 "$left" "$@" >"$log" 2>&1 </dev/null || out_of_time ||
		{ begin "$name"; end "$name" FAIL 0; exit 0; }
}

need_kernel()
{
	case $1 in
	normal | debug)	need "${prefix}build/$1" pipeline/kernel "$1" ;;
	*)		PAGES=$1 need "${prefix}build/$1" pipeline/kernel normal ;;
	esac
	[ -z "$(l1_root)" ] || need "${prefix}build/userland" pipeline/userland
}

need_selftests()
{
	need "${prefix}build/selftests" pipeline/build-selftests
}

# wanted_any JOBS: is there a line for a wanted test?
wanted_any()
{
	local name rest

	while IFS=$'\t' read -r name rest; do
		! wanted "$name" || return 0
	done <"$1"
	return 1
}
