/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The summary at exit (summary.c).
 */
#ifndef GMEM_RUN_SUMMARY_H
#define GMEM_RUN_SUMMARY_H

#include "gmem-run.h"

void gmem_summary_at_exit(int status, void *unused);

#endif /* GMEM_RUN_SUMMARY_H */
