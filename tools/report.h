/* SPDX-License-Identifier: Apache-2.0
 * What commands print: JSON with stable keys. jansson's setters accept NULL, so only the end is checked. */
#ifndef EXN_TOOLS_REPORT_H
#define EXN_TOOLS_REPORT_H

#include <jansson.h>

#include "tools/tool.h"

/* An object whose first key is schema: "exeunt.NAME.1". */
json_t *exn_report_create(const char *name);
/* Numbers that are not finite become null; milliseconds and fractions keep six significant digits. */
void exn_report_real(json_t *object, const char *key, double value);
void exn_report_count(json_t *object, const char *key, uint64_t value);
void exn_report_text(json_t *object, const char *key, const char *value); /* bytes that are not UTF-8 are replaced */
void exn_report_flag(json_t *object, const char *key, bool value);
/* Prints and releases; compact: on one line. EXN_E_NOMEM when something was missing. */
exn_status exn_report_print(json_t *report, exn_tool *tool, bool compact);
/* Resident memory of this process at its peak so far, and now (NaN where the system does not say). */
double exn_report_peak_rss_mb(void);
double exn_report_rss_mb(void);

#endif
