/* SPDX-License-Identifier: Apache-2.0
 * Progress on a terminal: share, rate and time left in one line that is rewritten; nothing when standard error is not a
 * terminal. Uses no colours, so NO_COLOR holds by itself. */
#ifndef EXN_TOOLS_METER_H
#define EXN_TOOLS_METER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct exn_meter {
    bool visible;
    const char *what, *unit;
    double begin, shown; /* seconds */
    size_t width;        /* of the line on the screen */
} exn_meter;

/* what: "extracting"; unit: "photos". Both must outlive the meter. */
exn_meter exn_meter_begin(const char *what, const char *unit);
void exn_meter_show(exn_meter *meter, size_t done, size_t total);
/* Clears the line. */
void exn_meter_end(exn_meter *meter);

#endif
