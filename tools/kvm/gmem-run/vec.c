// SPDX-License-Identifier: GPL-2.0
/*
 * A growing array that is allocated with mmap(). The interposed mmap() can be
 * called from inside the VMM's allocator, so malloc() must not be used here.
 */
#include <string.h>
#include <sys/mman.h>

#include "sys.h"
#include "vec.h"

static int vec_grow(struct gmem_vec *vec)
{
	size_t old = vec->capacity * vec->size;
	size_t new = old ? 2 * old : 16 * gmem_page_size;
	void *data;

	data = gmem_sys_mmap(NULL, new, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return -1;
	if (vec->data) {
		memcpy(data, vec->data, vec->nr * vec->size);
		gmem_sys_munmap(vec->data, old);
	}
	vec->data = data;
	vec->capacity = new / vec->size;
	return 0;
}

/* Makes room for @nr more elements. Returns 0, or -1 if there is no memory. */
int gmem_vec_reserve(struct gmem_vec *vec, size_t nr)
{
	while (vec->capacity - vec->nr < nr)
		if (vec_grow(vec))
			return -1;
	return 0;
}

/* Returns a zeroed element or NULL; adding elements may move the others. */
void *gmem_vec_add(struct gmem_vec *vec)
{
	void *item;

	if (gmem_vec_reserve(vec, 1))
		return NULL;
	item = gmem_vec_at(vec, vec->nr++);
	memset(item, 0, vec->size);
	return item;
}

void *gmem_vec_at(const struct gmem_vec *vec, size_t i)
{
	return (char *)vec->data + i * vec->size;
}

void gmem_vec_remove(struct gmem_vec *vec, size_t i)
{
	char *item = gmem_vec_at(vec, i);

	vec->nr--;
	memmove(item, item + vec->size, (vec->nr - i) * vec->size);
}

void gmem_vec_free(struct gmem_vec *vec)
{
	if (vec->data)
		gmem_sys_munmap(vec->data, vec->capacity * vec->size);
	vec->data = NULL;
	vec->nr = 0;
	vec->capacity = 0;
}
