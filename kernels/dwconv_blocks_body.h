/* SPDX-License-Identifier: Apache-2.0
 * Depthwise rows kernel in register blocks of one or two rows by EXN_BLOCKS_PIXELS pixels, over an ISA's vec.h: 3x3 and
 * 5x5 kernels at pixel strides 1 and 2, everything else by dwconv_body.h. Define EXN_BLOCKS_NAME, EXN_BLOCKS_PIXELS
 * (1..7) and include it: it defines a static exn_f32_dwconv_fn of that name whose panel is EXN_VEC_LANES channels and
 * that likes two rows at once.
 *
 * Each input is loaded once per block and feeds every output that it reaches. Walking the inputs in (y, x) order keeps
 * every output's chain in (ky, kx) order, as K6 wants. */
#include "kernels/kernel_set.h"
#include "kernels/unroll.h"

#define EXN_BLOCKS_GLUE_NOW(name, part) name##_##part
#define EXN_BLOCKS_GLUE(name, part) EXN_BLOCKS_GLUE_NOW(name, part)
#define EXN_BLOCKS_PART(part) EXN_BLOCKS_GLUE(EXN_BLOCKS_NAME, part)

/* Any kernel, and the channels of a last partial panel. */
#define EXN_DWCONV_NAME exn_dwconv_any
#define EXN_DWCONV_PANEL EXN_VEC_LANES
#include "kernels/dwconv_body.h"

enum { EXN_DWCONV_IN_ROWS = 5 + 2 }; /* two rows of a 5x5 kernel at stride 2 */

/* One channel panel of one or two output rows; pointers are those of pixel 0. */
typedef struct exn_dwconv_lines {
    const float *in[EXN_DWCONV_IN_ROWS]; /* distinct input rows, from the top; NULL: zeros */
    bool gaps;                           /* some of them are NULL */
    ptrdiff_t in_pixel;
    size_t pad_left, width;
    const float *w;
    float *out;
    const float *residual;
    ptrdiff_t out_row, out_pixel;
    const exn_epilogue *e;
} exn_dwconv_lines;

typedef exn_vec exn_dwconv_sums[2][7];

/* Each input once, for every output that it reaches; inputs that do not exist are zeros. */
EXN_INLINE void exn_dwconv_add(exn_dwconv_sums sum, const exn_dwconv_lines *l, size_t first, const int rows,
                               const int pixels, const int size, const int step, const bool edge) {
    const size_t column = first * (size_t)step - l->pad_left; /* wraps left of the row */
    EXN_UNROLL for (int y = 0; y < size + (rows - 1) * step; y++) {
        const float *const x = l->in[y];
        const size_t width = x ? l->width : 0;
        EXN_UNROLL for (int i = 0; i < (pixels - 1) * step + size; i++) {
            const size_t at = column + (size_t)i;
            const exn_vec value =
                !edge || at < width ? exn_vec_load(x + (ptrdiff_t)at * l->in_pixel) : exn_vec_set1(0.0f);
            EXN_UNROLL for (int r = 0; r < rows; r++) {
                EXN_UNROLL for (int p = 0; p < pixels; p++) {
                    const int ky = y - r * step, kx = i - p * step;
                    if (ky >= 0 && ky < size && kx >= 0 && kx < size)
                        sum[r][p] = exn_vec_fma(value, exn_vec_load(l->w + (1 + ky * size + kx) * (int)EXN_VEC_LANES),
                                                sum[r][p]);
                }
            }
        }
    }
}

/* Pixels [first, first + pixels). All integers but `first` are constants wherever this is inlined; step: input pixels
 * between output pixels, and input rows between output rows; edge: some inputs may not exist. */
EXN_INLINE void exn_dwconv_block(const exn_dwconv_lines *l, size_t first, const int rows, const int pixels,
                                 const int size, const int step, const bool edge) {
    exn_dwconv_sums sum;
    float *const out = l->out + (ptrdiff_t)first * l->out_pixel;
    EXN_UNROLL for (int r = 0; r < rows; r++) {
        EXN_UNROLL for (int p = 0; p < pixels; p++) sum[r][p] = exn_vec_load(l->w);
    }
    exn_dwconv_add(sum, l, first, rows, pixels, size, step, edge);
    EXN_UNROLL for (int r = 0; r < rows; r++) {
        EXN_UNROLL for (int p = 0; p < pixels; p++) {
            const ptrdiff_t to = r * l->out_row + p * l->out_pixel;
            if (l->residual)
                sum[r][p] = exn_vec_add(sum[r][p], exn_vec_load(l->residual + (ptrdiff_t)first * l->out_pixel + to));
            if (l->e->activation == EXN_ACT_CLAMP)
                sum[r][p] = exn_vec_clamp(sum[r][p], exn_vec_set1(l->e->lo), exn_vec_set1(l->e->hi));
            exn_vec_store(out + to, sum[r][p]);
        }
    }
}

/* True when every tap of EXN_BLOCKS_PIXELS pixels from `first` exists. */
EXN_INLINE bool exn_dwconv_inside(const exn_dwconv_lines *l, size_t first, const int size, const int step) {
    const size_t begin = first * (size_t)step, span = (size_t)((EXN_BLOCKS_PIXELS - 1) * step + size);
    return !l->gaps && begin >= l->pad_left && begin + span <= l->width + l->pad_left;
}

/* A single row, an image's last, always takes the careful way: it is not worth its own code. */
EXN_INLINE void exn_dwconv_line(const exn_dwconv_lines *l, size_t pixels, const int rows, const int size,
                                const int step) {
    size_t p = 0;
    for (; p + EXN_BLOCKS_PIXELS <= pixels; p += EXN_BLOCKS_PIXELS) {
        if (rows == 2 && exn_dwconv_inside(l, p, size, step))
            exn_dwconv_block(l, p, rows, EXN_BLOCKS_PIXELS, size, step, false);
        else
            exn_dwconv_block(l, p, rows, EXN_BLOCKS_PIXELS, size, step, true);
    }
    if ((pixels - p) & 4) {
        exn_dwconv_block(l, p, rows, 4, size, step, true);
        p += 4;
    }
    if ((pixels - p) & 2) {
        exn_dwconv_block(l, p, rows, 2, size, step, true);
        p += 2;
    }
    if ((pixels - p) & 1) exn_dwconv_block(l, p, rows, 1, size, step, true);
}

/* Rows r and r + 1 read the same input rows, `step` apart. */
static inline bool exn_dwconv_rows_overlap(const exn_dwconv_rows *work, size_t r, size_t step) {
    const float *const *upper = work->in + r * work->row_step, *const *lower = upper + work->row_step;
    for (size_t ky = 0; ky + step < work->kh; ky++)
        if (lower[ky] != upper[ky + step]) return false;
    return true;
}

/* Input row at `channel`; notes where there is none. */
EXN_INLINE const float *exn_dwconv_in(exn_dwconv_lines *l, const float *row, size_t channel) {
    l->gaps |= !row;
    return row ? row + channel : NULL;
}

/* Output row r, and the next when `two`, of the whole panel that starts at `channel`. */
EXN_INLINE void exn_dwconv_panel(const exn_dwconv_rows *work, size_t r, const bool two, size_t channel, const int size,
                                 const int step) {
    const size_t taps = (size_t)size, apart = (size_t)step;
    const ptrdiff_t at = (ptrdiff_t)r * work->out_row + (ptrdiff_t)channel;
    exn_dwconv_lines l = {.in_pixel = work->in_pixel,
                          .pad_left = work->pad_left,
                          .width = work->width,
                          .w = work->w + channel * (1 + taps * taps),
                          .out = work->out + at,
                          .residual = work->e->residual ? work->e->residual + at : NULL,
                          .out_row = work->out_row,
                          .out_pixel = work->out_pixel,
                          .e = work->e};
    const float *const *upper = work->in + r * work->row_step, *const *lower = upper + work->row_step;
    for (size_t y = 0; y < taps; y++) l.in[y] = exn_dwconv_in(&l, upper[y], channel);
    if (!two) {
        exn_dwconv_line(&l, work->pixels, 1, size, step);
        return;
    }
    for (size_t y = 0; y < apart; y++) l.in[taps + y] = exn_dwconv_in(&l, lower[taps - apart + y], channel);
    exn_dwconv_line(&l, work->pixels, 2, size, step);
}

/* Channels of a usual cache line: their panels go together through a row, so that its lines come once. */
#define EXN_DWCONV_LINE 16u

EXN_INLINE void exn_dwconv_panels(const exn_dwconv_rows *work, size_t channels, const int size, const int step) {
    for (size_t c0 = 0; c0 < channels; c0 += EXN_DWCONV_LINE) {
        const size_t c1 = channels - c0 < EXN_DWCONV_LINE ? channels : c0 + EXN_DWCONV_LINE;
        for (size_t r = 0; r < work->rows; r++) {
            const bool two = r + 1 < work->rows && exn_dwconv_rows_overlap(work, r, (size_t)step);
            for (size_t c = c0; c < c1; c += EXN_VEC_LANES) exn_dwconv_panel(work, r, two, c, size, step);
            r += two;
        }
    }
}

#define EXN_DWCONV_PANELS(stem, size, step)                                                                            \
    static void EXN_BLOCKS_PART(stem)(const exn_dwconv_rows *work, size_t channels) {                                  \
        exn_dwconv_panels(work, channels, size, step);                                                                 \
    }
EXN_DWCONV_PANELS(3x3s1, 3, 1)
EXN_DWCONV_PANELS(3x3s2, 3, 2)
EXN_DWCONV_PANELS(5x5s1, 5, 1)
EXN_DWCONV_PANELS(5x5s2, 5, 2)
#undef EXN_DWCONV_PANELS

/* The blocked function for this kernel and stride, or NULL. */
static void (*exn_dwconv_blocked(const exn_dwconv_rows *work))(const exn_dwconv_rows *, size_t) {
    if (work->kh != work->kw || work->dilation != 1) return NULL;
    if (work->kw == 3 && work->stride == 1) return EXN_BLOCKS_PART(3x3s1);
    if (work->kw == 3 && work->stride == 2) return EXN_BLOCKS_PART(3x3s2);
    if (work->kw == 5 && work->stride == 1) return EXN_BLOCKS_PART(5x5s1);
    if (work->kw == 5 && work->stride == 2) return EXN_BLOCKS_PART(5x5s2);
    return NULL;
}

static void EXN_BLOCKS_NAME(const exn_dwconv_rows *work) {
    void (*const blocked)(const exn_dwconv_rows *, size_t) = exn_dwconv_blocked(work);
    if (!blocked) {
        exn_dwconv_any(work);
        return;
    }
    const size_t whole = work->channels / EXN_VEC_LANES * EXN_VEC_LANES;
    blocked(work, whole);
    if (whole == work->channels) return;
    const float *const w = work->w + whole * (1 + work->kh * work->kw);
    for (size_t r = 0; r < work->rows; r++) exn_dwconv_any_row(work, r, whole, work->channels - whole, false, w);
}

#undef EXN_BLOCKS_PART
#undef EXN_BLOCKS_GLUE
#undef EXN_BLOCKS_GLUE_NOW
#undef EXN_BLOCKS_NAME
#undef EXN_BLOCKS_PIXELS
