/* SPDX-License-Identifier: Apache-2.0
 * Progress on a terminal. */
#include "tools/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/context.h"

static bool silent;

void exn_meter_silence(void) {
    silent = true;
}

static bool is_terminal(void) {
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

/* https://no-color.org: set, and not empty. */
bool exn_terminal_colours(void) {
    const char *no = getenv("NO_COLOR");
    return is_terminal() && (no == NULL || no[0] == '\0');
}

exn_meter exn_meter_begin(const char *what, const char *unit) {
    return (exn_meter){.visible = is_terminal() && !silent, .what = what, .unit = unit, .begin = exn_now()};
}

void exn_meter_show(exn_meter *meter, size_t done, size_t total) {
    if (!meter->visible || total == 0) return;
    const double now = exn_now();
    if (now - meter->shown < 0.1 && done < total) return;
    meter->shown = now;
    const double elapsed = now - meter->begin;
    const double rate = elapsed > 0.0 ? (double)done / elapsed : 0.0;
    const double left = rate > 0.0 ? (double)(total - done) / rate : 0.0;
    const int written = fprintf(stderr, "\r%s %zu/%zu (%.0f %%), %.1f %s/s, %.0f s left", meter->what, done, total,
                                100.0 * (double)done / (double)total, rate, meter->unit, left);
    const size_t width = written > 1 ? (size_t)written - 1 : 0;
    if (width < meter->width) fprintf(stderr, "%*s", (int)(meter->width - width), "");
    meter->width = width;
}

void exn_meter_end(exn_meter *meter) {
    if (meter->visible && meter->width > 0) fprintf(stderr, "\r%*s\r", (int)meter->width, "");
    meter->width = 0;
}
