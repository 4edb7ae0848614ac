/* SPDX-License-Identifier: Apache-2.0
 * What goes to a person's terminal beside results: progress (share, rate and time left in one line that is rewritten) and colour.
 * Neither is there when standard error is no terminal; NO_COLOR ends colour, --quiet progress. */
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

/* From now on no meter shows anything. */
void exn_meter_silence(void);
/* Whether standard error takes colours. */
bool exn_terminal_colours(void);

/* what: "extracting"; unit: "photos". Both must outlive the meter. */
exn_meter exn_meter_begin(const char *what, const char *unit);
void exn_meter_show(exn_meter *meter, size_t done, size_t total);
/* Clears the line. */
void exn_meter_end(exn_meter *meter);

#endif
