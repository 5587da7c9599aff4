// SPDX-License-Identifier: GPL-2.0
/*
 * The interposed functions. They act on the calls that concern gmem-run and
 * pass all others to the kernel unmodified.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "file.h"
#include "lock.h"
#include "options.h"
#include "process.h"
#include "protect.h"
#include "region.h"
#include "report.h"
#include "sigbus.h"
#include "summary.h"
#include "sys.h"
#include "uapi.h"
#include "vcpu.h"
#include "vm.h"

#define EXPORT		__attribute__((visibility("default")))

__attribute__((constructor)) static void hooks_init(void)
{
	const char *bad = gmem_options_read();

	if (bad)
		gmem_stop("'%s' in the environment is not understood", bad);
	gmem_report_init();
	on_exit(gmem_summary_at_exit, NULL);
}

static int finish(int ret, int saved)
{
	errno = ret < 0 ? -ret : saved;
	return ret < 0 ? -1 : ret;
}

static int create_vm(int fd, unsigned long request, void *arg)
{
	int ret = gmem_protect_create_vm(fd, request, arg);

	if (ret >= 0 && gmem_lock()) {
		gmem_vm_created(ret);
		if (gmem_options.protected)
			gmem_sigbus_init();
		gmem_unlock();
	}
	return ret;
}

static int create_vcpu(int fd, unsigned long request, void *arg)
{
	int ret = gmem_sys_ioctl(fd, request, arg);

	if (ret >= 0 && gmem_options.protected && gmem_lock()) {
		gmem_vcpu_created(ret, fd);
		gmem_unlock();
	}
	return ret;
}

static int set_region(int fd, unsigned long request, void *arg)
{
	struct gmem_vm *vm;
	int ret;

	if (!arg || !gmem_lock())
		return gmem_sys_ioctl(fd, request, arg);
	vm = gmem_vm_find(fd);
	if (vm)
		ret = gmem_region_set(vm, request, arg);
	else
		ret = gmem_sys_ioctl(fd, request, arg);
	gmem_unlock();
	return ret;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	int saved = errno;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);

	/* The kernel looks at 32 bits only, and some callers sign-extend. */
	switch ((u32)request) {
	case KVM_CREATE_VM:
		return finish(create_vm(fd, request, arg), saved);
	case KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		return finish(set_region(fd, (u32)request, arg), saved);
	case KVM_RUN:
		return finish(gmem_run(fd, request, arg), saved);
	case KVM_CREATE_VCPU:
		return finish(create_vcpu(fd, request, arg), saved);
	case KVM_CHECK_EXTENSION:
		return finish(gmem_protect_capability(fd, request, arg), saved);
#ifdef __x86_64__
	case KVM_SET_CPUID2:
		return finish(gmem_cpuid_set(fd, request, arg), saved);
#endif
	default:
		return finish(gmem_sys_ioctl(fd, request, arg), saved);
	}
}

static uintptr_t end_of(const void *addr, size_t len)
{
	return (uintptr_t)addr + ((len + gmem_page_size - 1) &
				  ~(gmem_page_size - 1));
}

/* All previous mappings in the range are gone. */
static void forget_range(const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr, end = end_of(addr, len);

	gmem_extent_unmapped(start, end);
	gmem_backing_unmapped(start, end);
	gmem_file_unmapped(start, end);
	gmem_vcpu_unmapped(start, end);
}

/*
 * A VMM may map new memory over memory of a slot: over a page with a hardware
 * error, or over what the balloon returned. A bound slot stays bound to the
 * file, so map the file again, with new pages.
 */
static void *renew(void *addr, size_t len, int prot, int flags)
{
	uintptr_t start = (uintptr_t)addr, end = end_of(addr, len);

	if (!(flags & MAP_FIXED) || !(flags & MAP_ANONYMOUS) ||
	    flags & MAP_SHARED || !gmem_slot_binds(start, end))
		return NULL;
	return gmem_file_renew(start, end, prot);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t offset)
{
	bool locked = gmem_lock();
	void *at;

	if (locked) {
		at = renew(addr, len, prot, flags);
		if (at) {
			gmem_unlock();
			return at;
		}
	}
	at = gmem_sys_mmap(addr, len, prot, flags, fd, offset);
	if (!locked)
		return at;
	if (at != MAP_FAILED) {
		forget_range(at, len);
		if (flags & MAP_ANONYMOUS && !(flags & MAP_SHARED))
			gmem_extent_mapped((uintptr_t)at, end_of(at, len));
		else if (!offset)
			gmem_vcpu_mapped(fd, at);
	}
	gmem_unlock();
	return at;
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd,
		    off64_t offset)
{
	return mmap(addr, len, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t len)
{
	bool locked = gmem_lock();
	int saved = errno;
	int ret;

	ret = gmem_sys_munmap(addr, len);
	if (locked) {
		if (!ret)
			forget_range(addr, len);
		gmem_unlock();
	}
	return finish(ret, saved);
}

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	bool locked = gmem_lock();
	void *new = NULL, *at;
	va_list ap;

	if (flags & MREMAP_FIXED) {
		va_start(ap, flags);
		new = va_arg(ap, void *);
		va_end(ap);
	}
	at = gmem_sys_mremap(old, old_len, new_len, flags, new);
	if (!locked)
		return at;
	new_len = end_of(NULL, new_len);
	if (at == old && new_len < old_len) {
		forget_range((char *)old + new_len, old_len - new_len);
	} else if (at != old && at != MAP_FAILED) {
		forget_range(old, old_len);
		forget_range(at, new_len);
	}
	gmem_unlock();
	return at;
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	int saved = errno;

	/* MADV_FREE is a lazy MADV_DONTNEED for anonymous memory only. */
	if ((advice == MADV_DONTNEED || advice == MADV_FREE) &&
	    gmem_file_any() && gmem_lock()) {
		if (gmem_file_discard((uintptr_t)addr, end_of(addr, len)))
			advice = MADV_DONTNEED;
		gmem_unlock();
	}
	return finish(gmem_sys_madvise(addr, len, advice), saved);
}

static int truncate_file(int fd, off_t size)
{
	struct gmem_file *file;
	int ret;

	if (!gmem_file_any() || !gmem_lock())
		return gmem_sys_ftruncate(fd, size);
	file = gmem_file_of_fd(fd);
	if (!file)
		ret = gmem_sys_ftruncate(fd, size);
	else
		ret = (u64)size == file->size ? 0 : -EPERM;
	gmem_unlock();
	return ret;
}

EXPORT int ftruncate(int fd, off_t size)
{
	int saved = errno;

	return finish(truncate_file(fd, size), saved);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

static int seal_file(int fd, int cmd, long arg)
{
	struct gmem_file *file;
	int ret;

	if (!gmem_file_any() || !gmem_lock())
		return gmem_sys_fcntl(fd, cmd, arg);
	file = gmem_file_of_fd(fd);
	if (!file)
		ret = gmem_sys_fcntl(fd, cmd, arg);
	else if (cmd == F_GET_SEALS)
		ret = gmem_seals_get(file);
	else
		ret = gmem_seals_add(file, (unsigned int)arg);
	gmem_unlock();
	return ret;
}

/* For some commands, the C library does more than the system call. */
static int next_fcntl(int fd, int cmd, void *arg)
{
	static int (*next)(int fd, int cmd, ...);

	if (!next)
		next = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
	if (!next)
		return finish(gmem_sys_fcntl(fd, cmd, (long)arg), errno);
	return next(fd, cmd, arg);
}

static int do_fcntl(int fd, int cmd, void *arg)
{
	int saved = errno;

	if (cmd == F_ADD_SEALS || cmd == F_GET_SEALS)
		return finish(seal_file(fd, cmd, (long)arg), saved);
	return next_fcntl(fd, cmd, arg);
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

EXPORT int sigaction(int sig, const struct sigaction *new,
		     struct sigaction *old)
{
	return gmem_sigbus_action(sig, new, old);
}

EXPORT int pthread_sigmask(int how, const sigset_t *new, sigset_t *old)
{
	return gmem_sigbus_mask(how, new, old);
}

EXPORT int sigprocmask(int how, const sigset_t *new, sigset_t *old)
{
	return finish(-gmem_sigbus_mask(how, new, old), errno);
}
