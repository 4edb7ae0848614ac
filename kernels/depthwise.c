/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution: from an image to the row pointers of exn_f32_dwconv_fn.
 *
 * Wide maps are read where they are: rows outside the image become a row of zeros, and the few pixels whose taps hang
 * over the left or right edge come from copied edge strips. On narrow maps such edges would be most of the work, so a
 * slab of channels is copied whole, padding included, into a dense strip that fits the nearest cache. */
#include "kernels/block.h"
#include "kernels/conv_parts.h"
#include "kernels/strip.h"
#include <string.h>

#define SLAB_BYTES (48u * 1024u)
#define ROWS_MAX 64u
#define NARROW_PIXELS 16u
/* Copying pays where each input serves so many outputs: 3x3 with stride 1, not with stride 2. */
#define REUSES_MIN 8u
/* Channels of a cache line: slabs are whole lines. */
#define LINE_CHANNELS 16u

typedef struct layout {
    const exn_conv_shape *s;
    size_t inner0, inner1; /* output pixels [inner0, inner1) have all their taps inside the row */
    bool narrow;           /* copy slabs */
    size_t rows_at_once;   /* output rows of one kernel call */
    size_t slab;           /* channels at once; all of them unless narrow */
} layout;

static size_t strip_rows(const exn_conv_shape *s, size_t rows) {
    return exn_strip_span(rows, s->kh, s->stride_h, s->dilation_h);
}

static size_t pixel_span(const exn_conv_shape *s, size_t pixels) {
    return exn_strip_span(pixels, s->kw, s->stride_w, s->dilation_w);
}

static void find_inner(layout *l) {
    const exn_conv_shape *s = l->s;
    const size_t reach = (s->kw - 1) * s->dilation_w, last = s->w - 1 + s->pad_left;
    l->inner0 = exn_min(exn_ceil_div(s->pad_left, s->stride_w), s->ow);
    l->inner1 = s->w > 0 && last >= reach ? exn_min((last - reach) / s->stride_w + 1, s->ow) : 0;
    if (l->inner1 < l->inner0) l->inner1 = l->inner0;
}

/* Most output rows, at most `limit`, whose strip of `width` floats a row stays within `bytes`; a multiple of `grain`
 * where that is possible, at least one. */
static size_t rows_within(const exn_conv_shape *s, size_t width, size_t bytes, size_t limit, size_t grain) {
    size_t rows = 1;
    while (rows < limit && strip_rows(s, rows + 1) * width * sizeof(float) <= bytes) rows++;
    return rows > grain ? rows / grain * grain : rows;
}

static layout layout_of(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    const size_t grain = exn_max(conv->depthwise->rows, 1), limit = exn_max(exn_min(s->oh, ROWS_MAX), 1);
    layout l = {.s = s, .slab = s->c};
    find_inner(&l);
    const bool borders = l.inner0 > 0 || l.inner1 < s->ow;
    const bool reused = s->kh * s->kw >= REUSES_MIN * s->stride_h * s->stride_w;
    l.narrow = borders && ((s->ow <= NARROW_PIXELS && reused) || l.inner0 == l.inner1);
    if (!l.narrow) {
        const size_t rows = rows_within(s, s->w * s->c, EXN_BLOCK_L2_BYTES / 2, limit, grain);
        l.rows_at_once = exn_min(exn_max(rows, grain), limit);
        return l;
    }
    const size_t panel = conv->depthwise->panel, unit = exn_ceil_div(LINE_CHANNELS, panel) * panel;
    const size_t width = pixel_span(s, s->ow);
    l.rows_at_once = rows_within(s, width * unit, EXN_BLOCK_L2_BYTES, limit, grain);
    const size_t unit_bytes = strip_rows(s, l.rows_at_once) * width * unit * sizeof(float);
    l.slab = exn_min(exn_max(SLAB_BYTES / exn_max(unit_bytes, 1), 1) * unit, s->c);
    return l;
}

/* The workspace: row pointers, a row of zeros (wide maps), strip. */
typedef struct places {
    size_t zeros, strip, bytes; /* offsets in bytes */
} places;

static size_t aligned(size_t bytes) {
    return exn_ceil_div(bytes, EXN_ALIGNMENT) * EXN_ALIGNMENT;
}

static places places_of(const layout *l) {
    const exn_conv_shape *s = l->s;
    const size_t edge = exn_max(pixel_span(s, l->inner0), pixel_span(s, s->ow - l->inner1));
    const size_t pixels = l->narrow ? pixel_span(s, s->ow) : edge;
    places at = {.zeros = aligned(l->rows_at_once * s->kh * sizeof(float *))};
    at.strip = at.zeros + (l->narrow ? 0 : aligned(s->w * s->c * sizeof(float)));
    at.bytes = at.strip + aligned(strip_rows(s, l->rows_at_once) * pixels * l->slab * sizeof(float));
    return at;
}

size_t exn_conv_depthwise_packed_count(const exn_f32_dwconv *kernel, const exn_conv_shape *shape) {
    return exn_ceil_div(shape->c, kernel->panel) * kernel->panel * (1 + shape->kh * shape->kw);
}

size_t exn_conv_depthwise_workspace_bytes(const exn_conv *conv) {
    const layout l = layout_of(conv);
    return places_of(&l).bytes;
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

/* One kernel call's surroundings. */
typedef struct job {
    const exn_conv *conv;
    const exn_conv_operands *operands;
    layout l;
    const float **pointers;
    float *zeros, *strip;
    size_t channel0, channel1; /* this part's */
} job;

/* Runs output pixels [p0, p1) of `rows` rows from (n, y), `channels` from `channel`, reading through job->pointers. */
static void call_kernel(const job *j, size_t n, size_t y, size_t rows, size_t p0, size_t p1, size_t channel,
                        size_t channels, size_t in_channels) {
    const exn_conv_shape *s = j->l.s;
    const exn_f32_dwconv *kernel = j->conv->depthwise;
    const size_t at = ((n * s->oh + y) * s->ow + p0) * s->c + channel;
    exn_epilogue e = {.residual = j->operands->residual ? j->operands->residual + at : NULL,
                      .activation = j->conv->activation == EXN_ACT_CLAMP ? EXN_ACT_CLAMP : EXN_ACT_NONE,
                      .lo = j->conv->lo,
                      .hi = j->conv->hi};
    const exn_dwconv_rows work = {.rows = rows,
                                  .pixels = p1 - p0,
                                  .channels = channels,
                                  .kh = s->kh,
                                  .kw = s->kw,
                                  .in = j->pointers,
                                  .row_step = s->kh,
                                  .in_pixel = (ptrdiff_t)(s->stride_w * in_channels),
                                  .in_tap = (ptrdiff_t)(s->dilation_w * in_channels),
                                  .w = j->operands->packed + channel * (1 + s->kh * s->kw),
                                  .out = j->operands->out + at,
                                  .out_row = (ptrdiff_t)(s->ow * s->c),
                                  .out_pixel = (ptrdiff_t)s->c,
                                  .e = &e};
    kernel->run(&work);
}

/* Copies what pixels [p0, p1) read into the strip and runs them from there. */
static void run_copied(const job *j, size_t n, size_t y, size_t rows, size_t p0, size_t p1, size_t channel,
                       size_t channels) {
    const exn_conv_shape *s = j->l.s;
    const exn_strip window = {.first_row = (ptrdiff_t)(y * s->stride_h) - (ptrdiff_t)s->pad_top,
                              .first_pixel = (ptrdiff_t)(p0 * s->stride_w) - (ptrdiff_t)s->pad_left,
                              .rows = strip_rows(s, rows),
                              .pixels = pixel_span(s, p1 - p0),
                              .channel = channel,
                              .channels = channels};
    exn_strip_copy(j->strip, &window, j->operands->in + n * s->h * s->w * s->c, s->h, s->w, s->c);
    const size_t pitch = window.pixels * channels;
    for (size_t r = 0; r < rows; r++)
        for (size_t ky = 0; ky < s->kh; ky++)
            j->pointers[r * s->kh + ky] = j->strip + (r * s->stride_h + ky * s->dilation_h) * pitch;
    call_kernel(j, n, y, rows, p0, p1, channel, channels, channels);
}

/* Runs the pixels that need no copy, in place. */
static void run_inner(const job *j, size_t n, size_t y, size_t rows) {
    const exn_conv_shape *s = j->l.s;
    const float *const image = j->operands->in + n * s->h * s->w * s->c;
    const size_t first = (j->l.inner0 * s->stride_w - s->pad_left) * s->c + j->channel0;
    for (size_t r = 0; r < rows; r++)
        for (size_t ky = 0; ky < s->kh; ky++) {
            const ptrdiff_t row = (ptrdiff_t)((y + r) * s->stride_h + ky * s->dilation_h) - (ptrdiff_t)s->pad_top;
            const bool inside = row >= 0 && (size_t)row < s->h;
            j->pointers[r * s->kh + ky] = inside ? image + (size_t)row * s->w * s->c + first : j->zeros;
        }
    call_kernel(j, n, y, rows, j->l.inner0, j->l.inner1, j->channel0, j->channel1 - j->channel0, s->c);
}

static void run_rows(const job *j, size_t n, size_t y, size_t rows) {
    const exn_conv_shape *s = j->l.s;
    if (j->l.narrow) {
        for (size_t c = j->channel0; c < j->channel1; c += j->l.slab)
            run_copied(j, n, y, rows, 0, s->ow, c, exn_min(j->l.slab, j->channel1 - c));
    } else {
        const size_t channels = j->channel1 - j->channel0;
        if (j->l.inner0 > 0) run_copied(j, n, y, rows, 0, j->l.inner0, j->channel0, channels);
        run_inner(j, n, y, rows);
        if (j->l.inner1 < s->ow) run_copied(j, n, y, rows, j->l.inner1, s->ow, j->channel0, channels);
    }
    const exn_epilogue e = {.activation = j->conv->activation, .lo = j->conv->lo, .hi = j->conv->hi};
    exn_activate_late(j->conv->vector, &e, rows * s->ow, j->channel1 - j->channel0,
                      j->operands->out + (n * s->oh + y) * s->ow * s->c + j->channel0, (ptrdiff_t)s->c);
}

void exn_conv_depthwise_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part) {
    const exn_conv_shape *s = &conv->shape;
    job j = {.conv = conv, .operands = operands, .l = layout_of(conv), .channel1 = s->c};
    const places at = places_of(&j.l);
    char *const base = operands->workspace;
    j.pointers = (const float **)(void *)base;
    j.zeros = (float *)(void *)(base + at.zeros);
    j.strip = (float *)(void *)(base + at.strip);
    const size_t panel = conv->depthwise->panel, unit = exn_ceil_div(LINE_CHANNELS, panel) * panel;
    size_t row0 = 0, row1 = s->n * s->oh;
    if (row1 >= 8 * part.count || exn_split_major(row1, exn_ceil_div(s->c, unit), part.count))
        exn_part_range(&row0, &row1, part, row1, 1);
    else
        exn_part_range(&j.channel0, &j.channel1, part, s->c, unit);
    if (row0 >= row1 || j.channel0 >= j.channel1 || s->ow == 0) return;
    if (!j.l.narrow) memset(j.zeros, 0, s->w * s->c * sizeof(float));
    while (row0 < row1) {
        const size_t n = row0 / s->oh, y = row0 % s->oh;
        const size_t rows = exn_min(exn_min(j.l.rows_at_once, s->oh - y), row1 - row0);
        run_rows(&j, n, y, rows);
        row0 += rows;
    }
}
