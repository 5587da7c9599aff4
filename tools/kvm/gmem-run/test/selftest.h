/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the self-test cases: calls of a VMM, and checks.
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stdio.h>
#include <unistd.h>

#include "../gmem-run.h"
#include "fake_kvm.h"

#define PAGE		4096UL
#define MIB		0x100000UL

#define check(cond)							\
	do {								\
		if (!(cond)) {						\
			printf("  %s:%d: %s is not so\n", __FILE__,	\
			       __LINE__, #cond);			\
			fflush(stdout);					\
			_exit(1);					\
		}							\
	} while (0)

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(name) { #name, test_##name }

extern const struct test protected_tests[];
extern const size_t nr_protected_tests;

extern int vm;

void create_vm(void);
int set_flags(unsigned int id, unsigned long gpa, void *mem,
	      unsigned long size, unsigned int flags);
int set(unsigned int id, unsigned long gpa, void *mem, unsigned long size);
int run_vcpu(int fd);
bool is_bound(unsigned int id);
bool stops(void (*what)(void));
char *map_anon(size_t size);

#endif /* SELFTEST_H */
