/* SPDX-License-Identifier: Apache-2.0
 * Convolutions pooled in strips of rows. */
#include "graph/pooled.h"

#include <string.h>

/* Rows of the convolution's result that stay within a quarter of a usual second-level cache. */
#define STRIP_BYTES ((size_t)256 * 1024)
/* A smaller result is in that cache anyway. */
#define WORTH_BYTES ((size_t)1024 * 1024)
#define STRIPS_MIN 4u

/* The window's rows, as strips see kernels. */
static exn_conv_shape vertical(const exn_window *window) {
    return (exn_conv_shape){.kh = window->kh, .stride_h = window->stride_h, .dilation_h = window->dilation_h};
}

static size_t rows_between(const exn_window *window, size_t rows) {
    return (rows - 1) * window->stride_h + (window->kh - 1) * window->dilation_h + 1;
}

bool exn_pooled_prepare(exn_pooled *out, const exn_kernel_set *set, const exn_strip_stage *conv,
                        const exn_window *window) {
    const size_t row_bytes = window->w * window->c * sizeof(float);
    if (window->kind != EXN_WINDOW_MAX || window->adaptive || window->n == 0 || window->oh == 0) return false;
    if (window->h * row_bytes <= WORTH_BYTES || rows_between(window, 1) * row_bytes > STRIP_BYTES) return false;
    exn_pooled p = {.h = conv->shape.h, .pad_top = conv->shape.pad_top, .window = *window, .rows = 1};
    while (STRIPS_MIN * (p.rows + 1) <= window->oh && rows_between(window, p.rows + 1) * row_bytes <= STRIP_BYTES)
        p.rows++;
    if (STRIPS_MIN * p.rows > window->oh) return false;
    size_t workspace = 0;
    exn_strip_stage_prepare(&p.conv, &workspace, set, conv, rows_between(window, p.rows));
    p.wide_at = exn_round_up(workspace);
    p.workspace_bytes = p.wide_at + exn_round_up(rows_between(window, p.rows) * row_bytes);
    *out = p;
    return true;
}

/* Brings the convolution's rows `wanted` of one image into `wide`, where rows `held` lie from its start. */
static void fill_wide(const exn_pooled *p, exn_rows *held, exn_rows wanted, const float *image, float *wide,
                      void *workspace) {
    const size_t row = p->window.w * p->window.c;
    size_t kept = 0;
    if (wanted.begin >= held->begin && wanted.begin < held->end) {
        kept = held->end - wanted.begin;
        memmove(wide, wide + (wanted.begin - held->begin) * row, kept * row * sizeof(float));
    }
    const exn_rows missing = {wanted.begin + kept, wanted.end};
    if (missing.begin < missing.end)
        exn_strip_stage_run(&p->conv, p->weights, p->h, p->pad_top, missing, image, 0, wide + kept * row, NULL,
                            workspace);
    *held = wanted;
}

void exn_pooled_run(const exn_pooled *p, const exn_f32_vector *vector, const float *in, float *out, void *workspace,
                    exn_part part) {
    const exn_window *window = &p->window;
    const exn_conv_shape kernel = vertical(window);
    const size_t strips = (window->oh + p->rows - 1) / p->rows, image = p->h * p->conv.shape.w * p->conv.shape.c;
    float *wide = (float *)(void *)((unsigned char *)workspace + p->wide_at);
    exn_rows held = {0, 0};
    size_t begin, end;
    exn_part_range(&begin, &end, part, window->n * strips, 1);
    for (size_t i = begin; i < end; i++) {
        const size_t n = i / strips, y = i % strips * p->rows;
        const exn_rows wanted = {y, y + p->rows < window->oh ? y + p->rows : window->oh};
        exn_window strip = *window;
        const exn_rows rows = exn_strip_rows_read(&strip.pad_top, &kernel, window->h, window->pad_top, wanted);
        if (y == 0) held = (exn_rows){0, 0}; /* another image */
        fill_wide(p, &held, rows, in + n * image, wide, workspace);
        strip.n = 1;
        strip.h = rows.end - rows.begin;
        strip.oh = wanted.end - wanted.begin;
        exn_window_run(&strip, vector, wide, out + (n * window->oh + y) * window->ow * window->c, exn_part_whole());
    }
}
