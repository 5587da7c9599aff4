// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher passes the options in the environment. They and LD_PRELOAD stay
 * there until a process creates a VM, so that a wrapper script can start the
 * VMM. Then they are removed, so that helpers of the VMM do not inherit them.
 */
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define PRELOAD		"LD_PRELOAD"
#define SEPARATORS	": "

struct gmem_options gmem_options;

static bool has_option(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *at;

	for (at = list; (at = strstr(at, name)); at += len) {
		bool starts = at == list || at[-1] == ',';
		bool ends = !at[len] || at[len] == ',';

		if (starts && ends)
			return true;
	}
	return false;
}

static bool read_answers(const char *text)
{
	static const char * const names[] = {
		[GMEM_ANSWERS_TRUE] = "true",
		[GMEM_ANSWERS_REFUSE] = "refuse",
		[GMEM_ANSWERS_AGAIN] = "again",
		[GMEM_ANSWERS_LATE] = "late",
		[GMEM_ANSWERS_LIE] = "lie",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			gmem_options.answers = (enum gmem_answers)i;
			return true;
		}
	return false;
}

/* Returns NULL, or a value that cannot be parsed. */
const char *gmem_options_read(void)
{
	const char *list = getenv(GMEM_ENV_OPTIONS);
	const char *report = getenv(GMEM_ENV_REPORT);
	const char *pid = getenv(GMEM_ENV_PID);
	const char *from = getenv(GMEM_ENV_PROTECTED);
	const char *answers = getenv(GMEM_ENV_ANSWERS);

	if (list) {
		gmem_options.list = has_option(list, "list");
		gmem_options.verbose = has_option(list, "verbose");
		gmem_options.require = has_option(list, "require");
		gmem_options.no_direct_map = has_option(list, "no-direct-map");
	}
	if (from) {
		gmem_options.protected = true;
		gmem_options.require = true;
		/* Not set by the launcher, which checks the value. */
		if (!gmem_private_from_parse(from, &gmem_options.from))
			return from;
	}
	if (answers && !read_answers(answers))
		return answers;
	if (report && *report)
		gmem_options.report = strdup(report);
	if (pid)
		gmem_options.pid = atoi(pid);
	return NULL;
}

/* The launcher put the library first; the rest is the user's LD_PRELOAD. */
void gmem_options_forget(void)
{
	const char *preload = getenv(PRELOAD);

	if (!getenv(GMEM_ENV_PID))
		return;
	unsetenv(GMEM_ENV_OPTIONS);
	unsetenv(GMEM_ENV_REPORT);
	unsetenv(GMEM_ENV_PID);
	unsetenv(GMEM_ENV_PROTECTED);
	unsetenv(GMEM_ENV_ANSWERS);
	if (!preload)
		return;
	preload += strcspn(preload, SEPARATORS);
	preload += strspn(preload, SEPARATORS);
	if (*preload)
		setenv(PRELOAD, preload, 1);
	else
		unsetenv(PRELOAD);
}
