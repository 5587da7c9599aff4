# shellcheck shell=bash disable=SC2086,SC2154
# Wrappers for quilt. Requires lib.sh.
#
# $tree/patches is a link to patches/. While patches are popped, it points to
# $state/applied, the copies of the applied patches, so that quilt can verify that no
# other edits are lost (pop -R). $state/series lists the patches that edit files:
# quilt refuses those that only bring in overlay files.

q()
{
	local known=$tree/.pc/.quilt_series

	export QUILT_SERIES=../state/series
	[ ! -f $known ] || echo $QUILT_SERIES >$known
	[ -f $state/series ] || edit_series >$state/series
	(cd $tree && QUILT_DIFF_OPTS=-p quilt --quiltrc /dev/null "$@")
}

applied()
{
	cat $tree/.pc/applied-patches 2>/dev/null || :
}

# Print how many applied patches are unchanged and in the order of patches/series.
patches_in_place()
{
	local n=0 want have

	while read -r want have; do
		[ "$want" = "$have" ] || break
		cmp -s "patches/$want" "$state/applied/$want" || break
		n=$((n + 1))
	done < <(paste -d ' ' <(edit_series) <(applied))
	echo $n
}

# pop_to N: pop all applied patches except the first N.
pop_to()
{
	local drop rc=0

	drop=$(($(applied | wc -l) - $1))
	[ $drop -gt 0 ] || return 0
	ln -sfn ../state/applied $tree/patches
	applied >$state/series
	q pop -q -R $drop >build/state/quilt.log 2>&1 || rc=$?
	ln -sfn ../../patches $tree/patches
	edit_series >$state/series
	[ $rc -eq 0 ] || grep -v '^Removing patch' build/state/quilt.log >&2
	return $rc
}

# Copy the applied patches and their order to $state/applied.
remember_applied()
{
	local patch

	rm -rf $state/applied
	mkdir -p $state/applied
	applied >$state/applied/series
	while read -r patch; do
		mkdir -p "$state/applied/${patch%/*}"
		cp "patches/$patch" "$state/applied/$patch"
	done < <(applied)
}

push_rest()
{
	local rc=0

	edit_series >$state/series
	if [ "$(wc -l <$state/series)" -gt "$(applied | wc -l)" ]; then
		q push -q -a --fuzz=0 >build/state/quilt.log 2>&1 || rc=$?
	fi
	remember_applied
	[ $rc -eq 0 ] || grep -v '^Applying patch .*[^!]$' build/state/quilt.log | tail -n 20 >&2
	return $rc
}

# Save the files that patches touch now or will touch, to keep their mtime if their
# content does not change.
save_mtimes()
{
	local patch patches=()

	while read -r patch; do
		[ ! -f "$patch" ] || patches+=("$patch")
	done < <(series | sed 's,^,patches/,'; applied | sed "s,^,$state/applied/,")
	rm -rf $state/saved
	mkdir -p $state/saved
	patched_files "${patches[@]}" | while read -r path; do
		[ ! -f "$tree/$path" ] || (cd $tree && cp -p --parents "$path" ../state/saved)
	done
}

restore_mtimes()
{
	(cd $state/saved && find . -type f) | while read -r path; do
		! cmp -s "$state/saved/$path" "$tree/$path" ||
			touch -r "$state/saved/$path" "$tree/$path"
	done
	rm -rf $state/saved
}
