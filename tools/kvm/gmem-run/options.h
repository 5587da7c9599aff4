/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The user's options, which the launcher passes in the environment.
 */
#ifndef GMEM_RUN_OPTIONS_H
#define GMEM_RUN_OPTIONS_H

#include <sys/types.h>

#include "gmem-run.h"

#define GMEM_EXIT_REQUIRE	3

/* Shared by the launcher and the library. */
#define GMEM_ENV_OPTIONS	"GMEM_RUN_OPTIONS"
#define GMEM_ENV_REPORT		"GMEM_RUN_REPORT"
#define GMEM_ENV_PID		"GMEM_RUN_PID"
#define GMEM_ENV_PROTECTED	"GMEM_RUN_PROTECTED"
/* Not set by the launcher. */
#define GMEM_ENV_ANSWERS	"GMEM_RUN_ANSWERS"

/* private_from.c: when the memory of a protected VM becomes private */
enum gmem_when {
	GMEM_WHEN_RUN,		/* before a vCPU runs */
	GMEM_WHEN_IO,		/* when the guest writes to an I/O port */
	GMEM_WHEN_GUEST,	/* when the guest requests it, range by range */
};

struct gmem_private_from {
	enum gmem_when when;
	unsigned int port;
};

bool gmem_private_from_parse(const char *text, struct gmem_private_from *from);

/* For tests of guests: how a VMM may answer what the guest asks for. */
enum gmem_answers {
	GMEM_ANSWERS_TRUE,
	GMEM_ANSWERS_REFUSE,	/* nothing becomes shared */
	GMEM_ANSWERS_AGAIN,	/* only every fourth request is tried */
	GMEM_ANSWERS_LATE,	/* the first ones take a second */
	GMEM_ANSWERS_LIE,	/* nothing is done, and success reported */
};

/* options.c */
struct gmem_options {
	bool list;
	bool verbose;
	bool require;
	bool no_direct_map;
	bool protected;
	struct gmem_private_from from;
	enum gmem_answers answers;
	const char *report;
	pid_t pid;
};

extern struct gmem_options gmem_options;

const char *gmem_options_read(void);
void gmem_options_forget(void);

#endif /* GMEM_RUN_OPTIONS_H */
