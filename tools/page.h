/* SPDX-License-Identifier: Apache-2.0
 * A page of HTML with charts in SVG: self-contained, light and dark, nothing fetched from anywhere. */
#ifndef EXN_TOOLS_PAGE_H
#define EXN_TOOLS_PAGE_H

#include "graph/text.h"

/* Style sheet, heading; everything that follows goes into the body. */
void exn_page_begin(exn_text *page, const char *title);
void exn_page_end(exn_text *page);
/* Text that came from elsewhere: class names, file names. */
void exn_page_escape(exn_text *page, const char *text);
/* A heading with a sentence under it that says what is to be seen; the sentence is HTML. */
void exn_page_section(exn_text *page, const char *heading, const char *sentence);

/* A plot: data coordinates, lower left to upper right. */
typedef struct exn_chart {
    double x0, x1, y0, y1;
    const char *x_label, *y_label;
    unsigned width, height; /* pixels at full size */
} exn_chart;

/* Frame, grid at round numbers, labels. */
void exn_chart_begin(exn_text *page, const exn_chart *chart);
void exn_chart_end(exn_text *page);
/* Points joined by a line of colour `hue` (0 to 5; from there on it starts over); NaN breaks it. */
void exn_chart_line(exn_text *page, const exn_chart *chart, const double x[], const double y[], size_t count,
                    size_t hue);
/* One point with a word below it, or beside a large one. */
void exn_chart_dot(exn_text *page, const exn_chart *chart, double x, double y, size_t hue, bool large,
                   const char *word);
/* A word to the right of each point, none over another; NaN has none. */
#define EXN_CHART_WORDS 64u /* at most */
void exn_chart_words(exn_text *page, const exn_chart *chart, const double x[], const double y[],
                     const char *const words[], size_t count);
/* A box from (x0, y0) to (x1, y1) that says `title` when pointed at. */
void exn_chart_box(exn_text *page, const exn_chart *chart, double x0, double y0, double x1, double y1, size_t hue,
                   const char *title);
/* A dashed level with a word at its end. */
void exn_chart_level(exn_text *page, const exn_chart *chart, double y, const char *word);

#endif
