// SPDX-License-Identifier: GPL-2.0
/*
 * Parse the argument of --private-from, both in the launcher, which checks it
 * and passes it on, and in the library.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define MAX_PORT	0xffff

static bool parse_port(const char *text, unsigned int *port)
{
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	number = strtoul(text, &end, 0);
	if (*end || number > MAX_PORT)
		return false;
	*port = (unsigned int)number;
	return true;
}

bool gmem_private_from_parse(const char *text, struct gmem_private_from *from)
{
	if (!strncmp(text, "io:", 3)) {
		from->when = GMEM_WHEN_IO;
		return parse_port(text + 3, &from->port);
	}
	if (!strcmp(text, "guest"))
		from->when = GMEM_WHEN_GUEST;
	else if (!strcmp(text, "run"))
		from->when = GMEM_WHEN_RUN;
	else
		return false;
	return true;
}
