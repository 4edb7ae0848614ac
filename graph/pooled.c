/* SPDX-License-Identifier: Apache-2.0
 * Convolutions pooled in strips of rows. */
#include "graph/pooled.h"

/* Rows of the convolution's result that stay within a quarter of a usual second-level cache. */
#define STRIP_BYTES ((size_t)256 * 1024)
/* A smaller result is in that cache anyway. */
#define WORTH_BYTES ((size_t)1024 * 1024)
#define STRIPS_MIN 4u

/* The window's rows, as strips see kernels. */
static exn_conv_shape vertical(const exn_window *window) {
    return (exn_conv_shape){.kh = window->kh, .stride_h = window->stride_h, .dilation_h = window->dilation_h};
}

bool exn_pooled_prepare(exn_pooled *out, const exn_kernel_set *set, const exn_strip_stage *conv,
                        const exn_window *window) {
    const size_t row_bytes = window->w * window->c * sizeof(float);
    const exn_conv_shape kernel = vertical(window);
    if (window->kind != EXN_WINDOW_MAX || window->adaptive || window->n == 0 || window->oh == 0) return false;
    if (window->h * row_bytes <= WORTH_BYTES || exn_strip_input_rows(&kernel, 1) * row_bytes > STRIP_BYTES)
        return false;
    exn_pooled p = {.window = *window, .rows = 1};
    while (STRIPS_MIN * (p.rows + 1) <= window->oh &&
           exn_strip_input_rows(&kernel, p.rows + 1) * row_bytes <= STRIP_BYTES)
        p.rows++;
    if (STRIPS_MIN * p.rows > window->oh) return false;
    size_t workspace = 0;
    exn_strip_source_prepare(&p.source, &workspace, set, conv, exn_strip_input_rows(&kernel, p.rows));
    p.window.ring = p.source.ring;
    p.ring_at = exn_round_up(workspace);
    p.workspace_bytes = p.ring_at + exn_round_up(exn_strip_source_bytes(&p.source));
    *out = p;
    return true;
}

void exn_pooled_run(const exn_pooled *p, const exn_f32_vector *vector, const float *in, float *out, void *workspace,
                    exn_part part) {
    const exn_window *window = &p->window;
    const exn_conv_shape kernel = vertical(window), *source = &p->source.conv.shape;
    const size_t strips = (window->oh + p->rows - 1) / p->rows, image = p->source.h * source->w * source->c;
    float *ring = (float *)(void *)((unsigned char *)workspace + p->ring_at);
    exn_rows held = {0, 0};
    size_t begin, end;
    exn_part_range(&begin, &end, part, window->n * strips, 1);
    for (size_t i = begin; i < end; i++) {
        const size_t n = i / strips, y = i % strips * p->rows;
        const exn_rows wanted = {y, y + p->rows < window->oh ? y + p->rows : window->oh};
        exn_window strip = *window;
        const exn_rows rows = exn_strip_rows_read(&strip.pad_top, &kernel, window->h, window->pad_top, wanted);
        if (y == 0) held = (exn_rows){0, 0}; /* another image */
        exn_strip_source_fill(&p->source, &held, rows, in + n * image, ring, workspace);
        strip.n = 1;
        strip.h = rows.end - rows.begin;
        strip.oh = wanted.end - wanted.begin;
        strip.first = rows.begin % p->source.ring;
        exn_window_run(&strip, vector, ring, out + (n * window->oh + y) * window->ow * window->c, exn_part_whole());
    }
}
