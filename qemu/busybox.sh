# shellcheck shell=sh
# Install busybox in an initramfs. Sourced.

# install_busybox PROGRAM DIR: install a static busybox of any architecture, and links
# for its tools. This machine's busybox lists them, because it is the same version.
install_busybox()
{
	program=$(command -v "$1") || {
		echo "$1 is missing; install busybox-static" >&2
		return 1
	}
	mkdir -p "$2"
	cp "$program" "$2/busybox"
	if LC_ALL=C grep -qaE '/lib(64)?/ld-linux' "$2/busybox"; then
		echo "$program is not static; install busybox-static" >&2
		return 1
	fi
	for tool in $(busybox --list); do
		[ "$tool" = busybox ] || ln -s busybox "$2/$tool"
	done
}
