/* SPDX-License-Identifier: Apache-2.0
 * JSON output. */
#include "tools/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

json_t *exn_report_create(const char *name) {
    char schema[64];
    snprintf(schema, sizeof schema, "exeunt.%s.1", name);
    json_t *report = json_object();
    exn_report_text(report, "schema", schema);
    return report;
}

void exn_report_real(json_t *object, const char *key, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    json_object_set_new(object, key, isfinite(value) ? json_real(strtod(text, NULL)) : json_null());
}

void exn_report_count(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void exn_report_text(json_t *object, const char *key, const char *value) {
    json_t *text = json_string(value);
    if (text == NULL && value != NULL) { /* not UTF-8: file names may be anything */
        char safe[EXN_MESSAGE_BYTES];
        snprintf(safe, sizeof safe, "%s", value);
        for (char *c = safe; *c != '\0'; c++)
            if ((unsigned char)*c >= 0x80) *c = '?';
        text = json_string(safe);
    }
    json_object_set_new(object, key, text);
}

void exn_report_flag(json_t *object, const char *key, bool value) {
    json_object_set_new(object, key, json_boolean(value));
}

exn_status exn_report_print(json_t *report, exn_tool *tool, bool compact) {
    char *text =
        report == NULL ? NULL : json_dumps(report, JSON_REAL_PRECISION(9) | (compact ? JSON_COMPACT : JSON_INDENT(2)));
    json_decref(report);
    if (text == NULL) return exn_fail(tool->ctx, EXN_E_NOMEM, "no memory for the report");
    printf("%s\n", text);
    free(text);
    return EXN_OK;
}

/* A line of /proc/self/status in MB, NaN where there is none. */
static double status_mb(const char *key) {
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    double kilobytes = (double)NAN;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) kilobytes = strtod(line + strlen(key), NULL);
    if (file != NULL) fclose(file);
    return kilobytes / 1024.0;
}

double exn_report_rss_mb(void) {
    return status_mb("VmRSS:");
}

/* getrusage's peak begins with that of the program which started this one. */
double exn_report_peak_rss_mb(void) {
    struct rusage usage;
    const double peak = status_mb("VmHWM:");
    if (isfinite(peak)) return peak;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return (double)NAN;
    return (double)usage.ru_maxrss / 1024.0;
}
