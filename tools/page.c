/* SPDX-License-Identifier: Apache-2.0
 * HTML and SVG, piece by piece. */
#include "tools/page.h"

#include <math.h>

enum { LEFT = 52, RIGHT = 16, TOP = 10, BOTTOM = 38, HUES = 6, TICKS = 6 };

static const char style[] =
    ":root{--back:#fff;--ink:#1b1f24;--mute:#68707a;--rule:#e2e5e9;--h0:#2563c9;--h1:#c2571a;--h2:#23804a;--h3:#8a3fb0;"
    "--h4:#b0862a;--h5:#b32651}"
    "@media(prefers-color-scheme:dark){:root{--back:#15181c;--ink:#e8eaed;--mute:#9aa2ac;--rule:#31363d;--h0:#7aa9ff;"
    "--h1:#f0a070;--h2:#6fcf97;--h3:#cf9cf0;--h4:#e0c070;--h5:#f58aa8}}"
    "body{background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.5rem}p{max-width:46rem}"
    ".mute{color:var(--mute)}svg{max-width:100%;height:auto;display:block}svg text{fill:var(--ink);font-size:12px}"
    "svg .mute{fill:var(--mute)}td,th{white-space:nowrap}.long{white-space:normal;text-align:left}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid var(--rule)}td:first-child,th:first-child"
    "{text-align:left}.tiles{display:flex;flex-wrap:wrap;gap:1rem}.tile{border:1px solid var(--rule);border-radius:8px;"
    "padding:.6rem 1rem}.tile b{display:block;font-size:1.5rem}.row{display:flex;flex-wrap:wrap;gap:1rem}"
    ".scroll{overflow-x:auto}";

void exn_page_escape(exn_text *page, const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        const char *entity = *c == '&'    ? "&amp;"
                             : *c == '<'  ? "&lt;"
                             : *c == '>'  ? "&gt;"
                             : *c == '"'  ? "&quot;"
                             : *c == '\'' ? "&#39;"
                                          : NULL;
        if (entity != NULL)
            exn_text_put(page, "%s", entity);
        else
            exn_text_put(page, "%c", *c);
    }
}

void exn_page_begin(exn_text *page, const char *title) {
    exn_text_put(page, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    exn_page_escape(page, title);
    exn_text_put(page, "</title>\n<style>%s", style);
    for (int h = 0; h < HUES; h++)
        exn_text_put(page, ".l%d{fill:none;stroke:var(--h%d);stroke-width:2}.f%d{fill:var(--h%d)}", h, h, h, h);
    exn_text_put(page, "</style>\n<h1>");
    exn_page_escape(page, title);
    exn_text_put(page, "</h1>\n");
}

void exn_page_end(exn_text *page) {
    exn_text_put(page, "</html>\n");
}

void exn_page_section(exn_text *page, const char *heading, const char *sentence) {
    exn_text_put(page, "<h2>%s</h2>\n<p class=\"mute\">%s</p>\n", heading, sentence);
}

/* ---- charts ---- */

static double at_x(const exn_chart *c, double x) {
    return LEFT + (x - c->x0) / (c->x1 - c->x0) * (c->width - LEFT - RIGHT);
}

static double at_y(const exn_chart *c, double y) {
    return c->height - BOTTOM - (y - c->y0) / (c->y1 - c->y0) * (c->height - TOP - BOTTOM);
}

/* The smallest of 1, 2, 5 times a power of ten that makes at most TICKS steps of the range. */
static double round_step(double range) {
    const double least = range / TICKS, power = pow(10, floor(log10(least)));
    return (least <= power ? 1 : least <= 2 * power ? 2 : least <= 5 * power ? 5 : 10) * power;
}

static void put_grid(exn_text *page, const exn_chart *c) {
    const double dx = round_step(c->x1 - c->x0), dy = round_step(c->y1 - c->y0);
    const int right = (int)c->width - RIGHT, bottom = (int)c->height - BOTTOM;
    for (double i = ceil(c->y0 / dy - 1e-9) + 0.0; i * dy <= c->y1 + 1e-9 * dy; i++)
        exn_text_put(page,
                     "<path d=\"M%d %.1fH%d\" stroke=\"var(--rule)\"/><text class=\"mute\" x=\"%d\" y=\"%.1f\" "
                     "text-anchor=\"end\">%.6g</text>\n",
                     LEFT, at_y(c, i * dy), right, LEFT - 6, at_y(c, i * dy) + 4, i * dy);
    for (double i = ceil(c->x0 / dx - 1e-9) + 0.0; i * dx <= c->x1 + 1e-9 * dx; i++)
        exn_text_put(page,
                     "<path d=\"M%.1f %dV%d\" stroke=\"var(--rule)\"/><text class=\"mute\" x=\"%.1f\" y=\"%d\" "
                     "text-anchor=\"middle\">%.6g</text>\n",
                     at_x(c, i * dx), TOP, bottom, at_x(c, i * dx), bottom + 15, i * dx);
}

void exn_chart_begin(exn_text *page, const exn_chart *c) {
    exn_text_put(page, "<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" role=\"img\">\n", c->width, c->height,
                 c->width, c->height);
    put_grid(page, c);
    exn_text_put(page, "<text class=\"mute\" x=\"%u\" y=\"%u\" text-anchor=\"end\">%s</text>\n", c->width - RIGHT,
                 c->height - 6, c->x_label);
    exn_text_put(page,
                 "<text class=\"mute\" transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"end\">%s</text>\n", TOP,
                 c->y_label);
}

void exn_chart_end(exn_text *page) {
    exn_text_put(page, "</svg>\n");
}

void exn_chart_line(exn_text *page, const exn_chart *c, const double x[], const double y[], size_t count, size_t hue) {
    bool on = false;
    exn_text_put(page, "<path class=\"l%zu\" d=\"", hue % HUES);
    for (size_t i = 0; i < count; i++) {
        if (isfinite(x[i]) && isfinite(y[i]))
            exn_text_put(page, "%c%.1f %.1f", on ? 'L' : 'M', at_x(c, x[i]), at_y(c, y[i]));
        on = isfinite(x[i]) && isfinite(y[i]);
    }
    exn_text_put(page, "\"/>\n");
}

void exn_chart_dot(exn_text *page, const exn_chart *c, double x, double y, size_t hue, bool large, const char *word) {
    if (!isfinite(x) || !isfinite(y)) return;
    const double px = at_x(c, x), py = at_y(c, y);
    const bool left = px > 0.8 * c->width, low = py + 20 > at_y(c, c->y0); /* there the ticks have their numbers */
    exn_text_put(page, "<circle class=\"f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>", hue % HUES, px, py, large ? 7 : 4);
    if (large) /* lines rise to the right */
        exn_text_put(page, "<text x=\"%.1f\" y=\"%.1f\"%s>", left ? px - 11 : px + 11, left || low ? py - 6 : py + 15,
                     left ? " text-anchor=\"end\"" : "");
    else
        exn_text_put(page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", px, low ? py - 9 : py + 17);
    exn_page_escape(page, word);
    exn_text_put(page, "</text>\n");
}

void exn_chart_words(exn_text *page, const exn_chart *c, const double x[], const double y[], const char *const words[],
                     size_t count) {
    enum { APART = 14 };
    bool done[EXN_CHART_WORDS] = {false};
    double above = -APART; /* where the last word stands */
    for (size_t n = 0; n < count && n < EXN_CHART_WORDS; n++) {
        size_t top = count;
        for (size_t i = 0; i < count && i < EXN_CHART_WORDS; i++)
            if (!done[i] && isfinite(y[i]) && (top == count || y[i] > y[top])) top = i;
        if (top == count) return;
        done[top] = true;
        const double at = at_y(c, y[top]) + 4;
        above = at < above + APART ? above + APART : at;
        exn_text_put(page, "<text x=\"%.1f\" y=\"%.1f\">", at_x(c, x[top]) + 10, above);
        exn_page_escape(page, words[top]);
        exn_text_put(page, "</text>\n");
    }
}

void exn_chart_box(exn_text *page, const exn_chart *c, double x0, double y0, double x1, double y1, size_t hue,
                   const char *title) {
    exn_text_put(page,
                 "<rect class=\"f%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" stroke=\"var(--back)\" "
                 "stroke-width=\".5\"><title>",
                 hue % HUES, at_x(c, x0), at_y(c, y1), at_x(c, x1) - at_x(c, x0), at_y(c, y0) - at_y(c, y1));
    exn_page_escape(page, title);
    exn_text_put(page, "</title></rect>\n");
}

void exn_chart_level(exn_text *page, const exn_chart *c, double y, const char *word) {
    exn_text_put(
        page,
        "<path d=\"M%d %.1fH%u\" stroke=\"var(--mute)\" stroke-dasharray=\"4 3\"/><text class=\"mute\" x=\"%d\" "
        "y=\"%.1f\">%s</text>\n",
        LEFT, at_y(c, y), c->width - RIGHT, LEFT + 4, at_y(c, y) - 4, word);
}
