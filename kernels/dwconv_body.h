/* SPDX-License-Identifier: Apache-2.0
 * Portable depthwise rows kernel over an ISA's vec.h (kernels/vec.md). Define EXN_DWCONV_NAME and EXN_DWCONV_PANEL
 * (channels a panel) and include it: it defines a static exn_f32_dwconv_fn of that name, which keeps four output pixels in
 * registers. */
#include "kernels/kernel_set.h"

#define EXN_DWCONV_GLUE_NOW(name, part) name##_##part
#define EXN_DWCONV_GLUE(name, part) EXN_DWCONV_GLUE_NOW(name, part)
#define EXN_DWCONV_PART(part) EXN_DWCONV_GLUE(EXN_DWCONV_NAME, part)

/* The first `count` lanes of what tap kx of pixel p reads of an input row; zeros outside it. */
static inline __attribute__((always_inline)) exn_vec EXN_DWCONV_PART(input)(const exn_dwconv_rows *work,
                                                                            const float *row, size_t p, size_t kx,
                                                                            size_t channel, size_t count,
                                                                            const bool whole) {
    const size_t column = p * work->stride + kx * work->dilation - work->pad_left; /* wraps left of the row */
    if (!row || column >= work->width) return exn_vec_set1(0.0f);
    const float *const x = row + (ptrdiff_t)column * work->in_pixel + (ptrdiff_t)channel;
    return whole ? exn_vec_load(x) : exn_vec_load_n(x, count);
}

/* The residual, the activation and the store of pixel p of row r. */
static inline __attribute__((always_inline)) void EXN_DWCONV_PART(finish)(const exn_dwconv_rows *work, size_t r,
                                                                          size_t p, size_t channel, size_t count,
                                                                          const bool whole, exn_vec value) {
    const exn_epilogue *e = work->e;
    const ptrdiff_t at = (ptrdiff_t)r * work->out_row + (ptrdiff_t)p * work->out_pixel + (ptrdiff_t)channel;
    if (e->residual) value = exn_vec_add(value, exn_vec_load_n(e->residual + at, count));
    if (e->activation == EXN_ACT_CLAMP) value = exn_vec_clamp(value, exn_vec_set1(e->lo), exn_vec_set1(e->hi));
    if (whole)
        exn_vec_store(work->out + at, value);
    else
        exn_vec_store_n(work->out + at, value, count);
}

/* One output from pixel `first` of row r, or `four`; `count` channels from `channel`; w: their bias, taps follow. four and
 * whole are constants at every call. A variable for each sum: vectors whose length the compiler does not know cannot be
 * put in arrays. */
static inline __attribute__((always_inline)) void EXN_DWCONV_PART(block)(const exn_dwconv_rows *work, size_t r,
                                                                         size_t first, const bool four, size_t channel,
                                                                         size_t count, const bool whole,
                                                                         const float *w) {
    const exn_vec bias = whole ? exn_vec_load(w) : exn_vec_load_n(w, count);
    exn_vec s0 = bias, s1 = bias, s2 = bias, s3 = bias;
#define EXN_DWCONV_INPUT(p) EXN_DWCONV_PART(input)(work, row, first + (p), kx, channel, count, whole)
    for (size_t ky = 0; ky < work->kh; ky++) {
        const float *const row = work->in[r * work->row_step + ky];
        for (size_t kx = 0; kx < work->kw; kx++) {
            w += EXN_DWCONV_PANEL;
            const exn_vec tap = whole ? exn_vec_load(w) : exn_vec_load_n(w, count);
            s0 = exn_vec_fma(EXN_DWCONV_INPUT(0), tap, s0);
            if (!four) continue;
            s1 = exn_vec_fma(EXN_DWCONV_INPUT(1), tap, s1);
            s2 = exn_vec_fma(EXN_DWCONV_INPUT(2), tap, s2);
            s3 = exn_vec_fma(EXN_DWCONV_INPUT(3), tap, s3);
        }
    }
#undef EXN_DWCONV_INPUT
    EXN_DWCONV_PART(finish)(work, r, first, channel, count, whole, s0);
    if (!four) return;
    EXN_DWCONV_PART(finish)(work, r, first + 1, channel, count, whole, s1);
    EXN_DWCONV_PART(finish)(work, r, first + 2, channel, count, whole, s2);
    EXN_DWCONV_PART(finish)(work, r, first + 3, channel, count, whole, s3);
}

/* All pixels of row r for `count` channels, at most a vector. */
static inline __attribute__((always_inline)) void EXN_DWCONV_PART(row)(const exn_dwconv_rows *work, size_t r,
                                                                       size_t channel, size_t count, const bool whole,
                                                                       const float *w) {
    size_t p = 0;
    for (; p + 4 <= work->pixels; p += 4) EXN_DWCONV_PART(block)(work, r, p, true, channel, count, whole, w);
    for (; p < work->pixels; p++) EXN_DWCONV_PART(block)(work, r, p, false, channel, count, whole, w);
}

/* The rare case, once, whoever calls it. */
static __attribute__((noinline)) void EXN_DWCONV_PART(row_part)(const exn_dwconv_rows *work, size_t r, size_t channel,
                                                                size_t count, const float *w) {
    EXN_DWCONV_PART(row)(work, r, channel, count, false, w);
}

static void EXN_DWCONV_NAME(const exn_dwconv_rows *work) {
    const size_t lanes = exn_vec_lanes() < EXN_DWCONV_PANEL ? exn_vec_lanes() : EXN_DWCONV_PANEL;
    const size_t panel_floats = (1 + work->kh * work->kw) * EXN_DWCONV_PANEL;
    for (size_t channel = 0; channel < work->channels; channel += lanes) {
        const size_t left = work->channels - channel;
        const float *const w = work->w + channel / EXN_DWCONV_PANEL * panel_floats + channel % EXN_DWCONV_PANEL;
        for (size_t r = 0; r < work->rows; r++) {
            if (left >= lanes && lanes == exn_vec_lanes())
                EXN_DWCONV_PART(row)(work, r, channel, lanes, true, w);
            else
                EXN_DWCONV_PART(row_part)(work, r, channel, left < lanes ? left : lanes, w);
        }
    }
}

#undef EXN_DWCONV_PART
#undef EXN_DWCONV_GLUE
#undef EXN_DWCONV_GLUE_NOW
#undef EXN_DWCONV_NAME
#undef EXN_DWCONV_PANEL
