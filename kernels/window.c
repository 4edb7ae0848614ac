/* SPDX-License-Identifier: Apache-2.0
 * Pooling: every output pixel is one or more calls with the pointers of its taps. */
#include "kernels/window.h"
#include "kernels/block.h"

/* Taps of one call; larger windows accumulate. */
#define TAPS_MAX 64u
/* Channels of one share when channels are split: whole cache lines. */
#define SLAB_CHANNELS 64u

/* Input coordinates of one output coordinate along one axis: first, first+step, ... count of them, all inside. */
typedef struct taps {
    size_t first, step, count;
    size_t divisor; /* this axis' factor of an average's divisor */
} taps;

static taps adaptive_taps(size_t out, size_t outputs, size_t inputs) {
    const size_t first = out * inputs / outputs, end = exn_ceil_div((out + 1) * inputs, outputs);
    return (taps){first, 1, end - first, end - first};
}

/* Taps of kernel cells out*stride - before + i*dilation, i < kernel, that exist; `after` is the padding behind. */
static taps window_taps(size_t out, size_t kernel, size_t stride, size_t dilation, size_t before, size_t after,
                        size_t inputs, bool count_padding) {
    const size_t start = out * stride; /* in coordinates shifted by `before` */
    taps t = {.step = dilation};
    size_t countable = 0;
    for (size_t i = 0; i < kernel; i++) {
        const size_t at = start + i * dilation;
        if (at < before + inputs + after) countable++;
        if (at < before || at >= before + inputs) continue;
        if (t.count++ == 0) t.first = at - before;
    }
    t.divisor = count_padding ? countable : t.count;
    return t;
}

static taps rows_of(const exn_window *o, size_t y) {
    if (o->adaptive) return adaptive_taps(y, o->oh, o->h);
    return window_taps(y, o->kh, o->stride_h, o->dilation_h, o->pad_top, o->pad_bottom, o->h, o->count_padding);
}

static taps columns_of(const exn_window *o, size_t x) {
    if (o->adaptive) return adaptive_taps(x, o->ow, o->w);
    return window_taps(x, o->kw, o->stride_w, o->dilation_w, o->pad_left, o->pad_right, o->w, o->count_padding);
}

static float average_factor(taps rows, taps columns) {
    const size_t cells = rows.divisor * columns.divisor;
    return cells > 0 ? 1.0f / (float)cells : 0.0f;
}

static size_t place_of_row(const exn_window *o, size_t y) {
    return o->ring ? (o->first + y) % o->ring : y;
}

/* One output pixel: `channels` of them from image (already at its first channel) to `out`. */
static void run_pixel(const exn_window *o, const exn_f32_vector *vector, const float *image, taps rows, taps columns,
                      size_t channels, float *out) {
    const bool average = o->kind == EXN_WINDOW_AVERAGE;
    const exn_reduction op = average ? EXN_REDUCE_SUM : EXN_REDUCE_MAX;
    const float *tap[TAPS_MAX];
    size_t pending = 0;
    bool accumulate = false;
    for (size_t i = 0; i < rows.count; i++) {
        const float *const row = image + place_of_row(o, rows.first + i * rows.step) * o->w * o->c;
        for (size_t k = 0; k < columns.count; k++) {
            if (pending == TAPS_MAX) {
                vector->pool(op, pending, tap, channels, accumulate, 1.0f, out);
                accumulate = true;
                pending = 0;
            }
            tap[pending++] = row + (columns.first + k * columns.step) * o->c;
        }
    }
    vector->pool(op, pending, tap, channels, accumulate, average ? average_factor(rows, columns) : 1.0f, out);
}

void exn_window_run(const exn_window *window, const exn_f32_vector *vector, const float *in, float *out,
                    exn_part part) {
    const exn_window *o = window;
    const size_t slabs = exn_ceil_div(o->c, SLAB_CHANNELS);
    size_t row0 = 0, row1 = o->n * o->oh, c0 = 0, c1 = o->c;
    if (row1 >= 8 * part.count || exn_split_major(row1, slabs, part.count))
        exn_part_range(&row0, &row1, part, row1, 1);
    else
        exn_part_range(&c0, &c1, part, o->c, SLAB_CHANNELS);
    if (c0 >= c1) return;
    for (size_t row = row0; row < row1; row++) {
        const float *const image = in + row / o->oh * o->h * o->w * o->c + c0;
        const taps rows = rows_of(o, row % o->oh);
        for (size_t x = 0; x < o->ow; x++)
            run_pixel(o, vector, image, rows, columns_of(o, x), c1 - c0, out + (row * o->ow + x) * o->c + c0);
    }
}

void exn_window_average_backward(const exn_window *window, const exn_f32_vector *vector, const float *dy, float *dx,
                                 exn_part part) {
    const exn_window *o = window;
    const size_t slabs = exn_ceil_div(o->c, SLAB_CHANNELS);
    size_t first, last;
    exn_part_range(&first, &last, part, o->n * slabs, 1);
    for (size_t unit = first; unit < last; unit++) {
        const size_t n = unit / slabs, c = unit % slabs * SLAB_CHANNELS, channels = exn_min(SLAB_CHANNELS, o->c - c);
        float *const image = dx + n * o->h * o->w * o->c + c;
        for (size_t cell = 0; cell < o->oh * o->ow; cell++) {
            const taps rows = rows_of(o, cell / o->ow), columns = columns_of(o, cell % o->ow);
            const float factor = average_factor(rows, columns);
            const float *const from = dy + (n * o->oh * o->ow + cell) * o->c + c;
            for (size_t i = 0; i < rows.count * columns.count; i++) {
                const size_t y = rows.first + i / columns.count * rows.step;
                const size_t x = columns.first + i % columns.count * columns.step;
                vector->axpy(channels, factor, from, image + (y * o->w + x) * o->c);
            }
        }
    }
}

void exn_global_pool(exn_window_kind kind, size_t n, size_t hw, size_t c, const exn_f32_vector *vector, const float *in,
                     float *out, exn_part part) {
    const bool average = kind == EXN_WINDOW_AVERAGE;
    const float factor = 1.0f / (float)hw;
    const size_t slabs = exn_ceil_div(c, SLAB_CHANNELS);
    size_t first, last;
    exn_part_range(&first, &last, part, n * slabs, 1);
    for (size_t unit = first; unit < last; unit++) {
        const size_t at = unit % slabs * SLAB_CHANNELS, channels = exn_min(SLAB_CHANNELS, c - at);
        float *const to = out + unit / slabs * c + at;
        vector->reduce_columns(average ? EXN_REDUCE_SUM : EXN_REDUCE_MAX, hw, channels, in + unit / slabs * hw * c + at,
                               (ptrdiff_t)c, false, to);
        if (average) vector->binary(EXN_MUL, channels, to, 1, &factor, 0, to);
    }
}
