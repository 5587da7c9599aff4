# shellcheck shell=bash
# Shared by the scripts: messages, locks, and the two lists that define the tree
# (patches in order, overlay files).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1

export LC_ALL=C

. "$top/pipeline/arch.sh"

# Top-level folders of the kernel that may hold overlay files.
overlay_dirs=(Documentation arch drivers include mm tools virt)

tree=${TREE:-build/linux}
# shellcheck disable=SC2034
state=build/state

say()
{
	printf '%s: %s\n' "${0##*/}" "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# take_lock NAME: allow one writer at a time in a part of build/.
take_lock()
{
	mkdir -p build
	exec 9>"build/.lock-$1"
	flock 9
}

# Patches in order, as paths relative to patches/.
series()
{
	sed -e 's/[[:space:]]*#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' patches/series
}

# New kernel files: all files in the folders of overlay_dirs that git does not ignore.
overlay_files()
{
	local dir dirs=() path

	for dir in "${overlay_dirs[@]}"; do
		[ ! -d "$dir" ] || dirs+=("$dir")
	done
	[ ${#dirs[@]} -gt 0 ] || return 0
	git ls-files --cached --others --exclude-standard -- "${dirs[@]}" | sort -u |
	while read -r path; do
		[ ! -e "$path" ] || printf '%s\n' "$path"
	done
}

# How many patches come before the last chapter, which can be left out.
before_last_chapter()
{
	sed '/^# NO_DIRECT_MAP$/,$d' patches/series | grep -c '^[^#]'
}

# edits PATCH: does it edit files? Some patches only bring in overlay files.
edits()
{
	grep -q '^+++ ' "$1"
}

# The patches that edit files; quilt refuses the others.
edit_series()
{
	local patch

	series | while read -r patch; do
		! edits "patches/$patch" || echo "$patch"
	done
}

# patched_files PATCH...: print the kernel paths that the patches edit.
patched_files()
{
	[ $# -gt 0 ] || return 0
	sed -n -e 's,^+++ [^/]*/\([^[:space:]]*\).*,\1,p' "$@" | sort -u
}

base_commit()
{
	git -C "$tree" rev-list --max-parents=0 HEAD 2>/dev/null ||
		die "$tree has no base commit; run 'make clean tree'"
}

# touched_objects ARCH: print the objects, as kbuild names them, of the kernel sources
# in the patches and the overlay that ARCH may build. Files of virt/kvm/ are built
# from the folder of the architecture.
touched_objects()
{
	local arch=$1

	{
		series | sed 's,^,patches/,' | xargs -r sed -n 's,^+++ [^/]*/\([^[:space:]]*\).*,\1,p'
		overlay_files
	} | sort -u | sed -n \
		-e "s,^virt/kvm/\(.*\)\.c\$,arch/$arch/kvm/../../../virt/kvm/\1.o,p" \
		-e "s,^\(arch/$arch/.*\)\.c\$,\1.o,p" \
		-e 's,^\(\(block\|drivers\|fs\|init\|ipc\|kernel\|lib\|mm\|net\|security\)/.*\)\.c$,\1.o,p'
}

# kmake OUT ARCH ARGS...: make in the tree with the output folder OUT.
kmake()
{
	local out=$1 cross cc

	arch_facts "$2"
	shift 2
	cc=${cross}gcc
	! command -v ccache >/dev/null || cc="ccache $cc"
	make -s -C "$tree" O="$top/$out" ARCH="$arch" LOCALVERSION="" CC="$cc" \
		CROSS_COMPILE="$cross" "$@"
}
