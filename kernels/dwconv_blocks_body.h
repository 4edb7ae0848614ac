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
    ptrdiff_t in_pixel;
    size_t pad_left, width;
    const float *w;
    float *out;
    const float *residual;
    ptrdiff_t out_row, out_pixel;
    const exn_epilogue *e;
} exn_dwconv_lines;

typedef exn_vec exn_dwconv_sums[2][7];

/* What is read where there is no input: one way for the middle and the edges of an image, and so one copy of long code. */
static const float exn_dwconv_nothing[EXN_VEC_LANES];

/* Input row y, each input once, for every output that it reaches: of the upper row, of the lower one, or of both. Inputs that
 * do not exist are zeros. */
EXN_INLINE void exn_dwconv_add_row(exn_dwconv_sums sum, const exn_dwconv_lines *l, int y, size_t first,
                                   const bool upper, const bool lower, const int pixels, const int size,
                                   const int step) {
    size_t column = first * (size_t)step - l->pad_left; /* wraps left of the row */
    const float *const x = l->in[y], *const w = l->w + (1 + y * size) * (int)EXN_VEC_LANES;
    const float *const w_lower = lower ? w - step * size * (int)EXN_VEC_LANES : w;
    const size_t width = x ? l->width : 0, apart = (size_t)l->in_pixel * sizeof *x;
    uintptr_t at = (uintptr_t)x + column * apart; /* a number: there may be nothing to point at */
    EXN_UNROLL for (int i = 0; i < (pixels - 1) * step + size; i++) {
        const exn_vec value = exn_vec_load(column < width ? (const float *)at : exn_dwconv_nothing);
        column++;
        at += apart;
        EXN_FORGET(column); /* else all of them are computed early, and kept */
        EXN_FORGET(at);
        EXN_UNROLL for (int p = 0; p < pixels; p++) {
            const int kx = i - p * step;
            if (kx < 0 || kx >= size) continue;
            if (upper) sum[0][p] = exn_vec_fma(value, exn_vec_load(w + kx * (int)EXN_VEC_LANES), sum[0][p]);
            if (lower) sum[1][p] = exn_vec_fma(value, exn_vec_load(w_lower + kx * (int)EXN_VEC_LANES), sum[1][p]);
        }
    }
}

/* All input rows. They are walked in loops, for their code is long: those that only the upper output row reads, both, the lower. */
EXN_INLINE void exn_dwconv_add(exn_dwconv_sums sum, const exn_dwconv_lines *l, size_t first, const int rows,
                               const int pixels, const int size, const int step) {
    const int shared = rows == 2 ? step : size;
    EXN_ROLL for (int y = 0; y < shared; y++) exn_dwconv_add_row(sum, l, y, first, true, false, pixels, size, step);
    if (rows == 1) return;
    EXN_ROLL for (int y = shared; y < size; y++) exn_dwconv_add_row(sum, l, y, first, true, true, pixels, size, step);
    EXN_ROLL for (int y = size; y < size + step; y++)
        exn_dwconv_add_row(sum, l, y, first, false, true, pixels, size, step);
}

/* Residual, activation and stores, each over the whole block: asked for once, it is less code. */
EXN_INLINE void exn_dwconv_finish(exn_dwconv_sums sum, const exn_dwconv_lines *l, size_t first, const int rows,
                                  const int pixels) {
    const ptrdiff_t begin = (ptrdiff_t)first * l->out_pixel;
    if (l->residual) {
        EXN_UNROLL for (int r = 0; r < rows; r++) {
            const float *residual = l->residual + begin + r * l->out_row;
            EXN_UNROLL for (int p = 0; p < pixels; p++) {
                sum[r][p] = exn_vec_add(sum[r][p], exn_vec_load(residual));
                residual += l->out_pixel;
                EXN_FORGET(residual);
            }
        }
    }
    if (l->e->activation == EXN_ACT_CLAMP) {
        const exn_vec lo = exn_vec_set1(l->e->lo), hi = exn_vec_set1(l->e->hi);
        EXN_UNROLL for (int r = 0; r < rows; r++) {
            EXN_UNROLL for (int p = 0; p < pixels; p++) sum[r][p] = exn_vec_clamp(sum[r][p], lo, hi);
        }
    }
    EXN_UNROLL for (int r = 0; r < rows; r++) {
        float *out = l->out + begin + r * l->out_row;
        EXN_UNROLL for (int p = 0; p < pixels; p++) {
            exn_vec_store(out, sum[r][p]);
            out += l->out_pixel;
            EXN_FORGET(out);
        }
    }
}

/* Pixels [first, first + pixels). All integers but `first` are constants wherever this is inlined; step: input pixels
 * between output pixels, and input rows between output rows. */
EXN_INLINE void exn_dwconv_block(const exn_dwconv_lines *l, size_t first, const int rows, const int pixels,
                                 const int size, const int step) {
    exn_dwconv_sums sum;
    EXN_UNROLL for (int r = 0; r < rows; r++) {
        EXN_UNROLL for (int p = 0; p < pixels; p++) sum[r][p] = exn_vec_load(l->w);
    }
    exn_dwconv_add(sum, l, first, rows, pixels, size, step);
    exn_dwconv_finish(sum, l, first, rows, pixels);
}

/* Input pixel `column` of row y: zeros where there is none. */
static inline exn_vec exn_dwconv_input(const exn_dwconv_lines *l, int y, size_t column) {
    const bool there = l->in[y] && column < l->width;
    return exn_vec_load(there ? l->in[y] + (ptrdiff_t)column * l->in_pixel : exn_dwconv_nothing);
}

/* A row's last pixel where their number is odd, for every size and step. */
static __attribute__((noinline)) void exn_dwconv_pixel(const exn_dwconv_lines *l, size_t p, int rows, int size,
                                                       int step) {
    const float *w = l->w;
    const size_t column = p * (size_t)step - l->pad_left;
    exn_dwconv_sums sum;
    sum[0][0] = sum[1][0] = exn_vec_load(w);
    for (int ky = 0; ky < size; ky++)
        for (int kx = 0; kx < size; kx++) {
            w += EXN_VEC_LANES;
            const exn_vec tap = exn_vec_load(w);
            sum[0][0] = exn_vec_fma(exn_dwconv_input(l, ky, column + (size_t)kx), tap, sum[0][0]);
            if (rows == 2) sum[1][0] = exn_vec_fma(exn_dwconv_input(l, ky + step, column + (size_t)kx), tap, sum[1][0]);
        }
    if (rows == 2)
        exn_dwconv_finish(sum, l, p, 2, 1);
    else
        exn_dwconv_finish(sum, l, p, 1, 1);
}

/* What is left of a row goes in pairs: few images are that wide, and every further size is much code. */
EXN_INLINE void exn_dwconv_line(const exn_dwconv_lines *l, size_t pixels, const int rows, const int size,
                                const int step) {
    size_t p = 0;
    for (; p + EXN_BLOCKS_PIXELS <= pixels; p += EXN_BLOCKS_PIXELS)
        exn_dwconv_block(l, p, rows, EXN_BLOCKS_PIXELS, size, step);
    EXN_ROLL for (; p + 2 <= pixels; p += 2) exn_dwconv_block(l, p, rows, 2, size, step);
    if (p == pixels) return;
    if (EXN_BLOCKS_PIXELS < 7 && rows == 2) /* 7 pixels, a usual size, leave one */
        exn_dwconv_block(l, p, rows, 1, size, step);
    else
        exn_dwconv_pixel(l, p, rows, size, step);
}

/* Rows r and r + 1 read the same input rows, `step` apart. */
static inline bool exn_dwconv_rows_overlap(const exn_dwconv_rows *work, size_t r, size_t step) {
    const float *const *upper = work->in + r * work->row_step, *const *lower = upper + work->row_step;
    for (size_t ky = 0; ky + step < work->kh; ky++)
        if (lower[ky] != upper[ky + step]) return false;
    return true;
}

/* Input row at `channel`. */
EXN_INLINE const float *exn_dwconv_in(const float *row, size_t channel) {
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
    for (size_t y = 0; y < taps; y++) l.in[y] = exn_dwconv_in(upper[y], channel);
    if (!two) {
        exn_dwconv_line(&l, work->pixels, 1, size, step);
        return;
    }
    for (size_t y = 0; y < apart; y++) l.in[taps + y] = exn_dwconv_in(lower[taps - apart + y], channel);
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
    for (size_t r = 0; r < work->rows; r++) exn_dwconv_any_row_part(work, r, whole, work->channels - whole, w);
}

#undef EXN_BLOCKS_PART
#undef EXN_BLOCKS_GLUE
#undef EXN_BLOCKS_GLUE_NOW
#undef EXN_BLOCKS_NAME
#undef EXN_BLOCKS_PIXELS
