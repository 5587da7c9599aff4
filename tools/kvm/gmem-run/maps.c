// SPDX-License-Identifier: GPL-2.0
/*
 * Parse /proc/self/maps, or smaps if the flags of the VMAs are needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process.h"
#include "vec.h"

static const struct {
	const char name[3];
	unsigned int flag;
} vm_flags[] = {
	{ "dd", GMEM_VMA_DONTDUMP },
	{ "dc", GMEM_VMA_DONTFORK },
	{ "hg", GMEM_VMA_HUGE },
	{ "nh", GMEM_VMA_NOHUGE },
	{ "lo", GMEM_VMA_LOCKED },
	{ "pf", GMEM_VMA_DEVICE },
	{ "io", GMEM_VMA_DEVICE },
	{ "ht", GMEM_VMA_HUGETLB },
};

static int read_text(const char *path, struct gmem_vec *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	for (;;) {
		char *byte = gmem_vec_add(text);

		if (!byte) {
			len = -ENOMEM;
			break;
		}
		text->nr--;
		len = read(fd, byte, text->capacity - text->nr - 1);
		if (len <= 0)
			break;
		text->nr += (size_t)len;
	}
	if (len < 0 && len != -ENOMEM)
		len = -errno;
	close(fd);
	/* One byte was kept free for the terminator. */
	if (!len)
		*(char *)gmem_vec_at(text, text->nr) = '\0';
	return (int)len;
}

/* In KiB.  Only of memory of hugetlbfs; other huge pages come and go. */
static void parse_page_size(struct gmem_vma *vma, const char *line)
{
	unsigned long kib;

	if (sscanf(line, "KernelPageSize: %lu", &kib) == 1)
		vma->page_size = kib * 1024;
}

static void parse_flags(struct gmem_vma *vma, const char *line)
{
	size_t i;

	for (line += strcspn(line, " "); *line == ' '; line += 3) {
		while (line[1] == ' ')
			line++;
		if (!line[1] || !line[2])
			break;
		for (i = 0; i < ARRAY_SIZE(vm_flags); i++)
			if (!strncmp(line + 1, vm_flags[i].name, 2))
				vma->flags |= vm_flags[i].flag;
	}
}

static int parse_vma(struct gmem_vec *vmas, const char *line)
{
	unsigned int major, minor;
	unsigned long start, end;
	struct gmem_vma *vma;
	unsigned long long offset, ino;
	char perms[5];
	int name = 0;

	if (sscanf(line, "%lx-%lx %4s %llx %x:%x %llu %n", &start, &end, perms,
		   &offset, &major, &minor, &ino, &name) < 7)
		return 0;
	vma = gmem_vec_add(vmas);
	if (!vma)
		return -ENOMEM;
	vma->start = start;
	vma->end = end;
	vma->prot = (perms[0] == 'r' ? PROT_READ : 0) |
		    (perms[1] == 'w' ? PROT_WRITE : 0) |
		    (perms[2] == 'x' ? PROT_EXEC : 0);
	vma->flags = perms[3] == 's' ? GMEM_VMA_SHARED : 0;
	vma->offset = offset;
	vma->dev = makedev(major, minor);
	vma->ino = ino;
	vma->name = line + name;
	return 0;
}

/* In smaps, only the first line of a VMA does not start with a capital. */
static int parse_text(struct gmem_maps *maps)
{
	char *line = maps->text.data;
	int ret = 0;

	while (*line && !ret) {
		char *next = strchr(line, '\n');

		if (next)
			*next++ = '\0';
		else
			next = line + strlen(line);
		if (*line < 'A' || *line > 'Z')
			ret = parse_vma(&maps->vmas, line);
		else if (maps->vmas.nr && !strncmp(line, "VmFlags:", 8))
			parse_flags(gmem_maps_at(maps, maps->vmas.nr - 1), line);
		else if (maps->vmas.nr && !strncmp(line, "KernelPageSize:", 15))
			parse_page_size(gmem_maps_at(maps, maps->vmas.nr - 1),
					line);
		line = next;
	}
	return ret;
}

int gmem_maps_read(struct gmem_maps *maps, bool details)
{
	int ret;

	maps->text = (struct gmem_vec)GMEM_VEC(char);
	maps->vmas = (struct gmem_vec)GMEM_VEC(struct gmem_vma);
	ret = read_text(details ? "/proc/self/smaps" : "/proc/self/maps",
			&maps->text);
	if (!ret)
		ret = parse_text(maps);
	if (ret)
		gmem_maps_free(maps);
	return ret;
}

void gmem_maps_free(struct gmem_maps *maps)
{
	gmem_vec_free(&maps->vmas);
	gmem_vec_free(&maps->text);
}

struct gmem_vma *gmem_maps_at(const struct gmem_maps *maps, size_t i)
{
	return gmem_vec_at(&maps->vmas, i);
}

struct gmem_vma *gmem_maps_find(const struct gmem_maps *maps, uintptr_t addr)
{
	size_t i;

	for (i = 0; i < maps->vmas.nr; i++) {
		struct gmem_vma *vma = gmem_maps_at(maps, i);

		if (addr >= vma->start && addr < vma->end)
			return vma;
	}
	return NULL;
}

bool gmem_vma_same_file(const struct gmem_vma *a, const struct gmem_vma *b)
{
	return a->ino && a->ino == b->ino && a->dev == b->dev;
}

/* Excludes the heap and stacks, which have more than one user. */
bool gmem_vma_anonymous(const struct gmem_vma *vma)
{
	return !vma->ino && !(vma->flags & GMEM_VMA_SHARED) &&
	       (!*vma->name || !strncmp(vma->name, "[anon:", 6));
}

/* Shared anonymous memory is a memfd with neither a name nor an fd. */
bool gmem_vma_memfd(const struct gmem_vma *vma)
{
	return vma->ino && (vma->flags & GMEM_VMA_SHARED) &&
	       (!strncmp(vma->name, "/memfd:", 7) ||
		!strcmp(vma->name, "/dev/zero (deleted)"));
}

/* Memory of hugetlbfs: a memfd, anonymous memory, or a file that has no name any more. */
bool gmem_vma_hugetlb(const struct gmem_vma *vma, bool shared)
{
	const char *end = strrchr(vma->name, '(');

	return vma->flags & GMEM_VMA_HUGETLB && end &&
	       !strcmp(end, "(deleted)") &&
	       !(vma->flags & GMEM_VMA_SHARED) == !shared;
}
