/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution: from an image to the row pointers of exn_f32_dwconv_fn. Everything is read where it is: rows
 * outside the image are pointers to nothing, and the kernel knows where a row ends. */
#include "kernels/block.h"
#include "kernels/conv_parts.h"
#include "kernels/strip.h"

#define ROWS_MAX 64u
/* Channels of a cache line: parts are whole lines. */
#define LINE_CHANNELS 16u

/* Output rows of one kernel call: it goes through them panel by panel, and comes back to their first lines for the next
 * panel, so their input stays within the second-level cache. */
static size_t rows_at_once(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    const size_t grain = exn_max(conv->depthwise->rows, 1), limit = exn_max(exn_min(s->oh, ROWS_MAX), 1);
    size_t rows = 1;
    while (rows < limit && exn_strip_span(rows + 1, s->kh, s->stride_h, s->dilation_h) * s->w * s->c * sizeof(float) <=
                               EXN_BLOCK_L2_BYTES / 2)
        rows++;
    if (rows > grain) rows = rows / grain * grain;
    return exn_min(exn_max(rows, grain), limit);
}

size_t exn_conv_depthwise_packed_count(const exn_f32_dwconv *kernel, const exn_conv_shape *shape) {
    return exn_ceil_div(shape->c, kernel->panel) * kernel->panel * (1 + shape->kh * shape->kw);
}

size_t exn_conv_depthwise_workspace_bytes(const exn_conv *conv) {
    return rows_at_once(conv) * conv->shape.kh * sizeof(float *);
}

void exn_conv_depthwise_pack(float *packed, const exn_f32_dwconv *kernel, const exn_conv_shape *shape,
                             const float *weight, size_t tap_step, size_t channel_step, const float *scale,
                             const float *bias, size_t first, size_t last) {
    const size_t taps = shape->kh * shape->kw, panel = kernel->panel;
    packed += first * panel * (1 + taps);
    for (size_t c = first * panel; c < last * panel; c++) {
        const bool real = c < shape->c;
        const float factor = real && scale ? scale[c] : 1.0f;
        float *const to = packed + (c / panel - first) * panel * (1 + taps) + c % panel;
        to[0] = real && bias ? bias[c] : 0.0f;
        for (size_t tap = 0; tap < taps; tap++)
            to[(1 + tap) * panel] = real ? weight[tap * tap_step + c * channel_step] * factor : 0.0f;
    }
}

/* Where row y of an image of whole pixels lies. */
static size_t row_at(const exn_conv *conv, size_t y) {
    return (conv->ring ? (conv->first + y) % conv->ring : y) * conv->shape.w * conv->shape.c;
}

/* `rows` output rows from row y of image n, channels c0 .. c1-1. */
static void run_rows(const exn_conv *conv, const exn_conv_operands *operands, size_t n, size_t y, size_t rows,
                     size_t c0, size_t c1) {
    const exn_conv_shape *s = &conv->shape;
    const float **const pointers = operands->workspace;
    const float *const image = operands->in + n * s->h * s->w * s->c + c0;
    for (size_t r = 0; r < rows; r++)
        for (size_t ky = 0; ky < s->kh; ky++) {
            const size_t row = (y + r) * s->stride_h + ky * s->dilation_h;
            const bool inside = row >= s->pad_top && row - s->pad_top < s->h;
            pointers[r * s->kh + ky] = inside ? image + row_at(conv, row - s->pad_top) : NULL;
        }
    const size_t at = (n * s->oh + y) * s->ow * s->c + c0;
    exn_epilogue e = {.residual = operands->residual ? operands->residual + at : NULL,
                      .activation = conv->activation == EXN_ACT_CLAMP ? EXN_ACT_CLAMP : EXN_ACT_NONE,
                      .lo = conv->lo,
                      .hi = conv->hi};
    const exn_dwconv_rows work = {.rows = rows,
                                  .pixels = s->ow,
                                  .channels = c1 - c0,
                                  .kh = s->kh,
                                  .kw = s->kw,
                                  .stride = s->stride_w,
                                  .dilation = s->dilation_w,
                                  .pad_left = s->pad_left,
                                  .width = s->w,
                                  .in = pointers,
                                  .row_step = s->kh,
                                  .in_pixel = (ptrdiff_t)s->c,
                                  .w = operands->packed + c0 * (1 + s->kh * s->kw),
                                  .out = operands->out + at,
                                  .out_row = (ptrdiff_t)(s->ow * s->c),
                                  .out_pixel = (ptrdiff_t)s->c,
                                  .e = &e};
    conv->depthwise->run(&work);
    e.activation = conv->activation;
    exn_activate_late(conv->vector, &e, rows * s->ow, c1 - c0, operands->out + at, (ptrdiff_t)s->c);
}

void exn_conv_depthwise_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part) {
    const exn_conv_shape *s = &conv->shape;
    const size_t panel = conv->depthwise->panel, unit = exn_ceil_div(LINE_CHANNELS, panel) * panel;
    size_t row0 = 0, row1 = s->n * s->oh, c0 = 0, c1 = s->c;
    if (row1 >= 8 * part.count || exn_split_major(row1, exn_ceil_div(s->c, unit), part.count))
        exn_part_range(&row0, &row1, part, row1, 1);
    else
        exn_part_range(&c0, &c1, part, s->c, unit);
    if (c0 >= c1 || s->ow == 0) return;
    const size_t most = rows_at_once(conv);
    while (row0 < row1) {
        const size_t n = row0 / s->oh, y = row0 % s->oh;
        const size_t rows = exn_min(exn_min(most, s->oh - y), row1 - row0);
        run_rows(conv, operands, n, y, rows, c0, c1);
        row0 += rows;
    }
}
