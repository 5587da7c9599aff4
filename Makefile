# SPDX-License-Identifier: GPL-2.0
# Each target is a script of pipeline/, demo/, checks/, bench/ or qemu/, with its
# dependencies.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

##@ The tree
fetch: ## get the base package into build/base
	@pipeline/fetch

tree: fetch ## assemble build/linux: base, patches, overlay
	@pipeline/need tree
	@pipeline/tree

guard: fetch ## check the rules of patches and overlay
	@pipeline/need tree
	@pipeline/tree base
	@pipeline/guard

refresh: fetch ## write the patches back from build/linux
	@pipeline/refresh

##@ Kernels and the machine
# KCONFIG=normal (KVM built in) or debug (KVM modular, KASAN, lockdep, ...).
# ARCH=x86_64 or arm64, and for arm64 PAGES=16k or 64k instead of 4K pages.
kernel: tree ## build the kernel, ARCH=arm64 KCONFIG=normal|debug
	@pipeline/need kernel
	@pipeline/kernel $(or $(KCONFIG),normal)

# All packages at once, for those who have to install them by hand.
need-l1:
	@pipeline/need tree kernel l1

need-test:
	@pipeline/need tree kernel l1 test $(if $(ARCH),,kernel-arm64 l1-arm64)

##@ Running and testing
run: need-l1 kernel ## boot an L2 on guest_memfd, ARCH=arm64 MODE=protected|no-direct-map VMM="qemu-..."
	@pipeline/userland
	@VMM='$(VMM)' MODE='$(MODE)' demo/demo

test: need-test tree ## all checks, T='GLOB...' KCONFIG=normal|debug ARCH=x86_64|arm64 MINUTES=N
	@T='$(T)' KCONFIG='$(KCONFIG)' MINUTES='$(MINUTES)' checks/all

test-all: ## make test, and what it leaves out to save time
	@ALL=1 $(MAKE) test

bench: need-l1 kernel ## measure our kernel and a newer one, path by path
	@bench/measure
	@bench/virtio-blk

base-selftests: tree ## record what passes on the unmodified base
	@pipeline/need kernel l1
	@checks/base-selftests

shell: need-l1 kernel ## interactive L1 with /dev/kvm, ARCH=arm64 KCONFIG=normal|debug
	@pipeline/userland
	@qemu/l1 -i -k build/$(or $(ARCH),x86_64)$(PAGES:%=-%)$(patsubst %,-debug,$(filter debug,$(KCONFIG)))

##@ The mail series
series: tree ## write the series as mails and as a bundle, ONTO=REPO REV=COMMIT
	@ONTO='$(ONTO)' REV='$(REV)' pipeline/series

bisect-check: series ## git am it on the base, compile every step, ARCH=x86_64|arm64
	@pipeline/need kernel kernel-arm64 l1-arm64
	@pipeline/bisect-check

##@ Other
clean: ## remove build/
	rm -rf build

help: ## list the targets
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: need-l1 need-test fetch tree guard refresh kernel run test test-all bench \
	base-selftests shell series bisect-check clean help
