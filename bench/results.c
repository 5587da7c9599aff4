// SPDX-License-Identifier: GPL-2.0
/*
 * The rows: their samples and median, or why there are none.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gmem-bench.h"

static struct row rows[64];
static unsigned int nr_rows;

struct row *get_row(const char *name, const char *suffix)
{
	struct row *row;
	unsigned int i;

	for (i = 0; i < nr_rows; i++)
		if (!strcmp(rows[i].name, name) && !strcmp(rows[i].suffix, suffix))
			return &rows[i];
	if (nr_rows == ARRAY_SIZE(rows))
		errx(1, "too many rows");
	row = &rows[nr_rows++];
	row->name = name;
	row->suffix = suffix;
	row->note = "";
	return row;
}

void record(const char *name, const char *suffix, double value)
{
	struct row *row = get_row(name, suffix);

	if (row->nr_samples == MAX_SAMPLES)
		errx(1, "too many samples");
	row->samples[row->nr_samples++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The median ignores outliers, which timers and rare states of the page allocator
 * cause.
 */
static double median(struct row *row)
{
	qsort(row->samples, row->nr_samples, sizeof(double), compare);
	return row->samples[row->nr_samples / 2];
}

/* Record why this kernel does not have these rows. */
void cannot(const char *const *names, const char *suffix, const char *why)
{
	for (; *names; names++)
		get_row(*names, suffix)->note = why;
}

void print_rows(void)
{
	unsigned int i;

	for (i = 0; i < nr_rows; i++) {
		printf("%s%s\t", rows[i].name, rows[i].suffix);
		if (rows[i].nr_samples)
			printf("%.1f", median(&rows[i]));
		else
			printf("-");
		printf("\t%s\n", rows[i].note);
	}
}
