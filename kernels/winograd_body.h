/* SPDX-License-Identifier: Apache-2.0
 * Portable body of the Winograd slots over an ISA's vec.h (kernels/vec.md), whose lanes must be known at compile time.
 * Include it once, after vector_body.h: it defines static functions and EXN_F32_WINOGRAD_INIT.
 *
 * Interpolation points: 0, 1, -1, infinity for m 2; 0, +-a, +-b, infinity with a = sqrt(1/2), b = sqrt(2) for m 4. These
 * keep the error of m 4 within a few times that of a plain sum; the usual +-1, +-2 lose ten times more. */
#include "kernels/kernel_set.h"
#include "kernels/unroll.h"

/* sqrt(1/2), and its cube. */
#define EXN_WINOGRAD_A 0.70710678118654752f
#define EXN_WINOGRAD_AAA 0.35355339059327376f

/* One row or column: v = B^T d, p = m + 2 of each. */
EXN_INLINE void exn_winograd_b2(exn_vec *v, const exn_vec *d) {
    v[0] = exn_vec_sub(d[0], d[2]);
    v[1] = exn_vec_add(d[1], d[2]);
    v[2] = exn_vec_sub(d[2], d[1]);
    v[3] = exn_vec_sub(d[3], d[1]);
}

EXN_INLINE void exn_winograd_b4(exn_vec *v, const exn_vec *d) {
    const exn_vec a = exn_vec_set1(EXN_WINOGRAD_A), b = exn_vec_set1(2.0f * EXN_WINOGRAD_A);
    const exn_vec minus_a = exn_vec_set1(-EXN_WINOGRAD_A), minus_b = exn_vec_set1(-2.0f * EXN_WINOGRAD_A);
    const exn_vec two = exn_vec_set1(-2.0f), half = exn_vec_set1(-0.5f), sum = exn_vec_set1(-2.5f);
    const exn_vec even_a = exn_vec_fma(two, d[2], d[4]), odd_a = exn_vec_fma(two, d[1], d[3]);
    const exn_vec even_b = exn_vec_fma(half, d[2], d[4]), odd_b = exn_vec_fma(half, d[1], d[3]);
    v[0] = exn_vec_fma(sum, d[2], exn_vec_add(d[0], d[4]));
    v[1] = exn_vec_fma(a, odd_a, even_a);
    v[2] = exn_vec_fma(minus_a, odd_a, even_a);
    v[3] = exn_vec_fma(b, odd_b, even_b);
    v[4] = exn_vec_fma(minus_b, odd_b, even_b);
    v[5] = exn_vec_fma(sum, d[3], exn_vec_add(d[1], d[5]));
}

/* One row or column: y = A^T v, m of y. */
EXN_INLINE void exn_winograd_a2(exn_vec *y, const exn_vec *v) {
    y[0] = exn_vec_add(v[0], exn_vec_add(v[1], v[2]));
    y[1] = exn_vec_add(v[3], exn_vec_sub(v[1], v[2]));
}

EXN_INLINE void exn_winograd_a4(exn_vec *y, const exn_vec *v) {
    const exn_vec even_a = exn_vec_add(v[1], v[2]), odd_a = exn_vec_sub(v[1], v[2]);
    const exn_vec even_b = exn_vec_add(v[3], v[4]), odd_b = exn_vec_sub(v[3], v[4]);
    y[0] = exn_vec_add(v[0], exn_vec_add(even_a, even_b));
    y[1] = exn_vec_mul(exn_vec_set1(EXN_WINOGRAD_A), exn_vec_fma(exn_vec_set1(2.0f), odd_b, odd_a));
    y[2] = exn_vec_mul(exn_vec_set1(0.5f), exn_vec_fma(exn_vec_set1(4.0f), even_b, even_a));
    y[3] = exn_vec_fma(exn_vec_set1(EXN_WINOGRAD_AAA), exn_vec_fma(exn_vec_set1(8.0f), odd_b, odd_a), v[5]);
}

/* Whether pixel i from `from` lies below `size`; all of this folds away where nothing lies outside. */
EXN_INLINE bool exn_winograd_inside(ptrdiff_t from, size_t i, size_t size) {
    const ptrdiff_t at = from + (ptrdiff_t)i;
    return at >= 0 && at < (ptrdiff_t)size;
}

/* Channels `c` .. of one window whose corner is pixel (y, x). m, whole (all lanes) and inside (all pixels) are constants. */
EXN_INLINE void exn_winograd_in_tile(const exn_winograd_tiles *t, ptrdiff_t x, size_t c, const float *image, float *to,
                                     const size_t m, const bool whole, const bool inside) {
    exn_vec column[6][6]; /* transformed columns, [i][j] */
    const size_t p = m + 2;
    const ptrdiff_t corner = t->y * t->row + x * t->pixel + (ptrdiff_t)c;
    EXN_UNROLL for (size_t j = 0; j < p; j++) {
        exn_vec d[6], v[6];
        const bool there = inside || exn_winograd_inside(x, j, t->w);
        EXN_UNROLL for (size_t i = 0; i < p; i++) {
            const ptrdiff_t at = corner + (ptrdiff_t)i * t->row + (ptrdiff_t)j * t->pixel;
            if (!inside && !(there && exn_winograd_inside(t->y, i, t->h)))
                d[i] = exn_vec_set1(0.0f);
            else
                d[i] = whole ? exn_vec_load(image + at) : exn_vec_load_n(image + at, t->channels - c);
        }
        if (m == 2)
            exn_winograd_b2(v, d);
        else
            exn_winograd_b4(v, d);
        EXN_UNROLL for (size_t i = 0; i < p; i++) column[i][j] = v[i];
    }
    to += c;
    EXN_UNROLL for (size_t i = 0; i < p; i++) {
        exn_vec v[6];
        if (m == 2)
            exn_winograd_b2(v, column[i]);
        else
            exn_winograd_b4(v, column[i]);
        EXN_UNROLL for (size_t j = 0; j < p; j++) {
            float *const at = to + (ptrdiff_t)(i * p + j) * t->position;
            if (whole)
                exn_vec_store(at, v[j]);
            else
                exn_vec_store_n(at, v[j], t->channels - c);
        }
    }
}

EXN_INLINE void exn_winograd_in(const exn_winograd_tiles *t, const float *image, float *to, const size_t m) {
    const ptrdiff_t p = (ptrdiff_t)m + 2;
    const bool rows_inside = t->y >= 0 && t->y + p <= (ptrdiff_t)t->h;
    ptrdiff_t x = t->x;
    for (size_t i = 0; i < t->tiles; i++, x += (ptrdiff_t)m, to += t->tile) {
        const bool inside = rows_inside && x >= 0 && x + p <= (ptrdiff_t)t->w;
        size_t c = 0;
        if (inside)
            for (; c + EXN_VEC_LANES <= t->channels; c += EXN_VEC_LANES)
                exn_winograd_in_tile(t, x, c, image, to, m, true, true);
        else
            for (; c + EXN_VEC_LANES <= t->channels; c += EXN_VEC_LANES)
                exn_winograd_in_tile(t, x, c, image, to, m, true, false);
        if (c < t->channels) exn_winograd_in_tile(t, x, c, image, to, m, false, false);
    }
}

/* Bias, residual, clamp and store of one output pixel. */
EXN_INLINE void exn_winograd_finish(exn_vec value, exn_vec bias, float *to, const float *residual, size_t count,
                                    const exn_epilogue *e, const bool whole) {
    value = exn_vec_add(value, bias);
    if (residual) value = exn_vec_add(value, whole ? exn_vec_load(residual) : exn_vec_load_n(residual, count));
    if (e->activation == EXN_ACT_CLAMP) value = exn_vec_clamp(value, exn_vec_set1(e->lo), exn_vec_set1(e->hi));
    if (whole)
        exn_vec_store(to, value);
    else
        exn_vec_store_n(to, value, count);
}

/* Channels `c` .. of one tile whose first output is pixel (y, x). */
EXN_INLINE void exn_winograd_out_tile(const exn_winograd_tiles *t, ptrdiff_t x, size_t c, const float *from,
                                      const float *bias, float *image, const exn_epilogue *e, const size_t m,
                                      const bool whole, const bool inside) {
    exn_vec column[4][6]; /* transformed columns, [i][j] */
    const size_t p = m + 2, count = t->channels - c;
    from += c;
    EXN_UNROLL for (size_t j = 0; j < p; j++) {
        exn_vec v[6], y[4];
        EXN_UNROLL for (size_t i = 0; i < p; i++) {
            const float *const at = from + (ptrdiff_t)(i * p + j) * t->position;
            v[i] = whole ? exn_vec_load(at) : exn_vec_load_n(at, count);
        }
        if (m == 2)
            exn_winograd_a2(y, v);
        else
            exn_winograd_a4(y, v);
        EXN_UNROLL for (size_t i = 0; i < m; i++) column[i][j] = y[i];
    }
    const exn_vec add = whole ? exn_vec_load(bias + c) : exn_vec_load_n(bias + c, count);
    const ptrdiff_t corner = t->y * t->row + x * t->pixel + (ptrdiff_t)c;
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        exn_vec y[4];
        if (m == 2)
            exn_winograd_a2(y, column[i]);
        else
            exn_winograd_a4(y, column[i]);
        EXN_UNROLL for (size_t j = 0; j < m; j++) {
            const ptrdiff_t at = corner + (ptrdiff_t)i * t->row + (ptrdiff_t)j * t->pixel;
            if (inside || (exn_winograd_inside(t->y, i, t->h) && exn_winograd_inside(x, j, t->w)))
                exn_winograd_finish(y[j], add, image + at, e->residual ? e->residual + at : NULL, count, e, whole);
        }
    }
}

EXN_INLINE void exn_winograd_out(const exn_winograd_tiles *t, const float *from, const float *bias, float *image,
                                 const exn_epilogue *e, const size_t m) {
    const bool rows_inside = t->y >= 0 && t->y + (ptrdiff_t)m <= (ptrdiff_t)t->h;
    ptrdiff_t x = t->x;
    for (size_t i = 0; i < t->tiles; i++, x += (ptrdiff_t)m, from += t->tile) {
        const bool inside = rows_inside && x >= 0 && x + (ptrdiff_t)m <= (ptrdiff_t)t->w;
        size_t c = 0;
        if (inside)
            for (; c + EXN_VEC_LANES <= t->channels; c += EXN_VEC_LANES)
                exn_winograd_out_tile(t, x, c, from, bias, image, e, m, true, true);
        else
            for (; c + EXN_VEC_LANES <= t->channels; c += EXN_VEC_LANES)
                exn_winograd_out_tile(t, x, c, from, bias, image, e, m, true, false);
        if (c < t->channels) exn_winograd_out_tile(t, x, c, from, bias, image, e, m, false, false);
    }
}

static void EXN_OF_SET(winograd_2x2_in)(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_winograd_in(t, image, transformed, 2);
}
static void EXN_OF_SET(winograd_4x4_in)(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_winograd_in(t, image, transformed, 4);
}
static void EXN_OF_SET(winograd_2x2_out)(const exn_winograd_tiles *t, const float *transformed, const float *bias,
                                         float *image, const exn_epilogue *e) {
    exn_winograd_out(t, transformed, bias, image, e, 2);
}
static void EXN_OF_SET(winograd_4x4_out)(const exn_winograd_tiles *t, const float *transformed, const float *bias,
                                         float *image, const exn_epilogue *e) {
    exn_winograd_out(t, transformed, bias, image, e, 4);
}

#define EXN_F32_WINOGRAD_INIT                                                                                          \
    {                                                                                                                  \
        {EXN_OF_SET(winograd_2x2_in), EXN_OF_SET(winograd_2x2_out), 2, "f32_winograd_2x2_" EXN_TEXT(EXN_SET)},         \
            {EXN_OF_SET(winograd_4x4_in), EXN_OF_SET(winograd_4x4_out), 4, "f32_winograd_4x4_" EXN_TEXT(EXN_SET)},     \
    }
