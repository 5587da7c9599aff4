# shellcheck shell=bash disable=SC2034
# Differences between architectures. Sourced; "arch_facts ARCH" sets the variables.
#
# Output folders are build/ARCH for the kernel. For everything else that is built for
# an architecture, they are build/NAME for x86 and build/NAME-arm64 for arm64.

# arch_facts x86_64|arm64
arch_facts()
{
	case $1 in
	x86_64)
		karch=x86			# folder below arch/ in the kernel
		cross=''			# prefix of the compiler
		target=bzImage			# of the kernel's Makefile
		image=arch/x86/boot/bzImage	# in the output folder
		suffix=''			# of the other output folders
		tests=x86_64			# folder of the selftests
		qemu="qemu-system-x86_64"
		qemu_package="qemu-system-x86"
		tty=ttyS0
		ram=0				# address of RAM in QEMU's machine
		vm_type=KVM_X86_SW_PROTECTED_VM
		vm_type_number=1
		vmm="$qemu -accel kvm -nodefaults -m 512M -M q35,memory-backend=ram"
		vmm+=" -object memory-backend-memfd,id=ram,size=512M,share=on" ;;
	arm64)
		karch=arm64
		cross=aarch64-linux-gnu-
		target=Image
		image=arch/arm64/boot/Image
		suffix=-arm64
		tests=aarch64
		qemu="qemu-system-aarch64"
		qemu_package="qemu-system-arm"
		tty=ttyAMA0
		ram=0x40000000
		vm_type=KVM_ARM_SW_PROTECTED_VM
		vm_type_number=15
		vmm="$qemu -accel kvm -cpu host -nodefaults -m 256M"
		vmm+=" -M virt,gic-version=3,memory-backend=ram"
		vmm+=" -object memory-backend-memfd,id=ram,size=256M,share=on" ;;
	*)
		printf '%s: no architecture "%s"; there are x86_64 and arm64\n' "${0##*/}" "$1" >&2
		return 1 ;;
	esac
	arch=$1
}

# arch_here: print the architecture that this script runs on.
arch_here()
{
	case $(uname -m) in
	aarch64)	echo arm64 ;;
	*)		uname -m ;;
	esac
}

# l1_root: print the folder of L1's root, or nothing if it is this machine's.
l1_root()
{
	[ "$arch" = "$(arch_here)" ] || echo "build/userland-$arch"
}

# arch_of_kernel DIR: print the architecture of the kernel in this output folder.
arch_of_kernel()
{
	if grep -qs '^CONFIG_ARM64=y' "$1/.config"; then
		echo arm64
	else
		echo x86_64
	fi
}
