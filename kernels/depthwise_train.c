/* SPDX-License-Identifier: Apache-2.0
 * The depthwise convolution of a head with weights that still change, and its gradients. */
#include "kernels/backward.h"
#include "kernels/block.h"
#include "kernels/conv_parts.h"
#include "kernels/strip.h"

/* Channels of one pass of the backward: whole cache lines. */
#define SLAB_CHANNELS 64u
#define GRAIN_CHANNELS 16u

static size_t aligned(size_t bytes) {
    return exn_ceil_div(bytes, EXN_ALIGNMENT) * EXN_ALIGNMENT;
}

static size_t packed_bytes(const exn_kernel_set *set, const exn_conv_shape *shape) {
    return aligned(exn_conv_depthwise_packed_count(&set->f32_dwconv, shape) * sizeof(float));
}

/* A backward strip: the kh input rows of one output row. */
static size_t strip_bytes(const exn_conv_shape *s) {
    const size_t rows = exn_strip_span(1, s->kh, 1, s->dilation_h);
    const size_t pixels = exn_strip_span(s->ow, s->kw, s->stride_w, s->dilation_w);
    return aligned(rows * pixels * exn_min(SLAB_CHANNELS, s->c) * sizeof(float));
}

static exn_conv forward_conv(const exn_kernel_set *set, const exn_conv_shape *shape) {
    exn_conv conv;
    exn_conv_prepare(&conv, set, shape, EXN_ACT_NONE, 0.0f, 0.0f);
    return conv;
}

size_t exn_dwconv_workspace_bytes(const exn_kernel_set *set, const exn_conv_shape *shape, size_t parts) {
    const exn_conv conv = forward_conv(set, shape);
    return packed_bytes(set, shape) + parts * exn_max(aligned(conv.workspace_bytes), strip_bytes(shape));
}

void exn_dwconv_forward(const exn_kernel_set *set, const exn_conv_shape *shape, const float *x, const float *w,
                        float *y, void *workspace, exn_part part) {
    const exn_conv conv = forward_conv(set, shape);
    float *const packed = workspace;
    char *const own = (char *)workspace + packed_bytes(set, shape) + part.index * aligned(conv.workspace_bytes);
    size_t first, last;
    exn_part_range(&first, &last, part, exn_ceil_div(shape->c, set->f32_dwconv.panel), 1);
    exn_conv_depthwise_pack(packed, &set->f32_dwconv, shape, w, shape->c, 1, NULL, NULL, first, last);
    exn_barrier(part);
    exn_conv_run(&conv, packed, x, y, NULL, own, part);
}

/* One part's channels of one pass. */
typedef struct slab {
    const exn_conv_shape *s;
    const exn_f32_vector *vector;
    size_t channel, channels;
} slab;

/* dw += the gradient of output row y of image n: its input rows, padded, against its dY. */
static void weight_gradient(const slab *b, size_t n, size_t y, const float *x, const float *dy, float *dw,
                            float *strip) {
    const exn_conv_shape *s = b->s;
    const exn_strip window = {.first_row = (ptrdiff_t)(y * s->stride_h) - (ptrdiff_t)s->pad_top,
                              .first_pixel = -(ptrdiff_t)s->pad_left,
                              .rows = exn_strip_span(1, s->kh, 1, s->dilation_h),
                              .pixels = exn_strip_span(s->ow, s->kw, s->stride_w, s->dilation_w),
                              .channel = b->channel,
                              .channels = b->channels};
    exn_strip_copy(strip, &window, x + n * s->h * s->w * s->c, s->h, s->w, s->c);
    const float *const from = dy + (n * s->oh + y) * s->ow * s->c + b->channel;
    for (size_t ky = 0; ky < s->kh; ky++)
        b->vector->dwconv_weights(s->ow, b->channels, s->kw, strip + ky * s->dilation_h * window.pixels * b->channels,
                                  (ptrdiff_t)(s->stride_w * b->channels), (ptrdiff_t)(s->dilation_w * b->channels),
                                  from, (ptrdiff_t)s->c, dw + ky * s->kw * s->c + b->channel, (ptrdiff_t)s->c);
}

/* Coordinate that a tap of an output reads, and whether it exists. */
static bool tap_at(size_t *at, size_t out, size_t tap, size_t stride, size_t dilation, size_t pad, size_t size) {
    const size_t shifted = out * stride + tap * dilation;
    *at = shifted - pad;
    return shifted >= pad && shifted - pad < size;
}

/* dx += w * dy of output pixel (y, ox) of image n, for each of its taps. */
static void input_gradient(const slab *b, size_t n, size_t y, size_t ox, const float *w, const float *dy, float *dx) {
    const exn_conv_shape *s = b->s;
    const float *const from = dy + ((n * s->oh + y) * s->ow + ox) * s->c + b->channel;
    for (size_t tap = 0; tap < s->kh * s->kw; tap++) {
        size_t row, column;
        if (!tap_at(&row, y, tap / s->kw, s->stride_h, s->dilation_h, s->pad_top, s->h)) continue;
        if (!tap_at(&column, ox, tap % s->kw, s->stride_w, s->dilation_w, s->pad_left, s->w)) continue;
        float *const to = dx + ((n * s->h + row) * s->w + column) * s->c + b->channel;
        b->vector->scale_shift(b->channels, from, w + tap * s->c + b->channel, to, to);
    }
}

void exn_dwconv_backward(const exn_kernel_set *set, const exn_conv_shape *shape, const float *x, const float *w,
                         const float *dy, float *dx, float *dw, void *workspace, exn_part part) {
    const exn_conv_shape *s = shape;
    float *const strip = (float *)(void *)((char *)workspace + packed_bytes(set, s) + part.index * strip_bytes(s));
    size_t first, last;
    exn_part_range(&first, &last, part, s->c, GRAIN_CHANNELS);
    for (size_t c = first; c < last; c += SLAB_CHANNELS) {
        const slab b = {s, &set->f32_vector, c, exn_min(SLAB_CHANNELS, last - c)};
        for (size_t row = 0; row < s->n * s->oh; row++) {
            const size_t n = row / s->oh, y = row % s->oh;
            if (dw) weight_gradient(&b, n, y, x, dy, dw, strip);
            for (size_t ox = 0; dx && ox < s->ow; ox++) input_gradient(&b, n, y, ox, w, dy, dx);
        }
    }
}
