/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages and events for the user (report.c).
 */
#ifndef GMEM_RUN_REPORT_H
#define GMEM_RUN_REPORT_H

#include "gmem-run.h"

void gmem_say(const char *fmt, ...) __printf(1, 2);
void gmem_verbose(const char *fmt, ...) __printf(1, 2);
void gmem_event(const char *fmt, ...) __printf(1, 2);
void gmem_refuse(const char *fmt, ...) __printf(1, 2);
void __noreturn gmem_stop(const char *fmt, ...) __printf(1, 2);
void gmem_report_init(void);
void gmem_report_bound(void);
bool gmem_report_any_bound(void);

#endif /* GMEM_RUN_REPORT_H */
