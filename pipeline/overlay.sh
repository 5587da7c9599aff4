# shellcheck shell=bash
# Which patch brings in which overlay file. Requires lib.sh.
#
# A patch's header has "Overlay: path" lines, one per file or folder. A file's
# owner is the patch with the longest path that covers it, so that a folder can
# be claimed by one patch and a file inside by another.

patch_header()
{
	sed -e '/^--- /,$d' -e '/^---$/,$d' -e '/^diff /,$d' "$1"
}

# Lines "path<TAB>patch", one per Overlay: line of the series.
overlay_claims()
{
	local patch

	while read -r patch; do
		[ -f "patches/$patch" ] || continue
		patch_header "patches/$patch" | sed -n "s,^Overlay: *\(.*[^/]\)/*\$,\1\t$patch,p"
	done < <(series)
}

# Lines "file<TAB>patch"; the patch is empty if no patch claims the file.
overlay_owners()
{
	overlay_files | awk -F '\t' -v OFS='\t' '
		NR == FNR { owner[$1] = $2; next }
		{
			for (path = $0; path != ""; ) {
				if (path in owner)
					break
				if (!sub("/[^/]*$", "", path))
					path = ""
			}
			print $0, path == "" ? "" : owner[path]
		}' <(overlay_claims) -
}

overlay_claim_errors()
{
	local path patch files

	files=$(overlay_files)
	overlay_claims | cut -f 1 | sort | uniq -d | sed 's/.*/two patches claim &/'
	overlay_claims | while IFS=$'\t' read -r path patch; do
		grep -q "^$path\(/\|\$\)" <<<"$files" ||
			printf '%s claims %s, which does not exist\n' "$patch" "$path"
	done
	overlay_owners | awk -F '\t' '$2 == "" {
		print "overlay file " $1 " is claimed by no patch" }'
}
