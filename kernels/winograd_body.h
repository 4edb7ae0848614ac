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

/* Whether pixel i from `from` lies below `size`. */
EXN_INLINE bool exn_winograd_inside(ptrdiff_t from, size_t i, size_t size) {
    const ptrdiff_t at = from + (ptrdiff_t)i;
    return at >= 0 && at < (ptrdiff_t)size;
}

/* Distances in floats between the elements of a window or tile. */
typedef struct exn_winograd_steps {
    ptrdiff_t row, pixel;
} exn_winograd_steps;

/* A vector of channels of one window: p x p of them from `d`, transformed to `to`, `position` apart. m is a constant. */
EXN_INLINE void exn_winograd_in_window(const float *d, exn_winograd_steps from, float *to, ptrdiff_t position,
                                       const size_t m) {
    exn_vec column[6][6]; /* transformed columns, [i][j] */
    const size_t p = m + 2;
    EXN_UNROLL for (size_t j = 0; j < p; j++) {
        exn_vec in[6], v[6];
        EXN_UNROLL for (size_t i = 0; i < p; i++) in[i] =
            exn_vec_load(d + (ptrdiff_t)i * from.row + (ptrdiff_t)j * from.pixel);
        if (m == 2)
            exn_winograd_b2(v, in);
        else
            exn_winograd_b4(v, in);
        EXN_UNROLL for (size_t i = 0; i < p; i++) column[i][j] = v[i];
    }
    EXN_UNROLL for (size_t i = 0; i < p; i++) {
        exn_vec v[6];
        if (m == 2)
            exn_winograd_b2(v, column[i]);
        else
            exn_winograd_b4(v, column[i]);
        EXN_UNROLL for (size_t j = 0; j < p; j++) exn_vec_store(to + (ptrdiff_t)(i * p + j) * position, v[j]);
    }
}

/* A vector of channels of one tile: p x p of them from `v`, `position` apart, become m x m outputs with bias, residual (of the
 * outputs' steps; may be NULL) and activation. m is a constant. */
EXN_INLINE void exn_winograd_out_window(const float *v, ptrdiff_t position, const float *bias, float *to,
                                        exn_winograd_steps out, const float *residual, const exn_epilogue *e,
                                        const size_t m) {
    exn_vec column[4][6]; /* transformed columns, [i][j] */
    const size_t p = m + 2;
    EXN_UNROLL for (size_t j = 0; j < p; j++) {
        exn_vec in[6], y[4];
        EXN_UNROLL for (size_t i = 0; i < p; i++) in[i] = exn_vec_load(v + (ptrdiff_t)(i * p + j) * position);
        if (m == 2)
            exn_winograd_a2(y, in);
        else
            exn_winograd_a4(y, in);
        EXN_UNROLL for (size_t i = 0; i < m; i++) column[i][j] = y[i];
    }
    const exn_vec add = exn_vec_load(bias);
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        exn_vec y[4];
        if (m == 2)
            exn_winograd_a2(y, column[i]);
        else
            exn_winograd_a4(y, column[i]);
        EXN_UNROLL for (size_t j = 0; j < m; j++) y[j] = exn_vec_add(y[j], add);
        const ptrdiff_t row = (ptrdiff_t)i * out.row;
        if (residual) {
            EXN_UNROLL for (size_t j = 0; j < m; j++) y[j] =
                exn_vec_add(y[j], exn_vec_load(residual + row + (ptrdiff_t)j * out.pixel));
        }
        if (e->activation == EXN_ACT_CLAMP) {
            EXN_UNROLL for (size_t j = 0; j < m; j++) y[j] =
                exn_vec_clamp(y[j], exn_vec_set1(e->lo), exn_vec_set1(e->hi));
        }
        EXN_UNROLL for (size_t j = 0; j < m; j++) exn_vec_store(to + row + (ptrdiff_t)j * out.pixel, y[j]);
    }
}

/* Both for each m, as functions of their own: windows at an image's edge and partial vectors call them, too, on a copy. */
#define EXN_WINOGRAD_WINDOWS(m)                                                                                        \
    static __attribute__((noinline)) void exn_winograd_in_##m(const float *d, exn_winograd_steps from, float *to,      \
                                                              ptrdiff_t position) {                                    \
        exn_winograd_in_window(d, from, to, position, m);                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void exn_winograd_out_##m(const float *v, ptrdiff_t position, const float *bias,  \
                                                               float *to, exn_winograd_steps out,                      \
                                                               const float *residual, const exn_epilogue *e) {         \
        exn_winograd_out_window(v, position, bias, to, out, residual, e, m);                                           \
    }
EXN_WINOGRAD_WINDOWS(2)
EXN_WINOGRAD_WINDOWS(4)
#undef EXN_WINOGRAD_WINDOWS

typedef void exn_winograd_in_fn(const float *, exn_winograd_steps, float *, ptrdiff_t);
typedef void exn_winograd_out_fn(const float *, ptrdiff_t, const float *, float *, exn_winograd_steps, const float *,
                                 const exn_epilogue *);

/* The same for a window whose corner (y, x) may lie outside, or whose last channels do not fill a vector. */
static void exn_winograd_in_careful(const exn_winograd_tiles *t, ptrdiff_t x, size_t c, const float *image, float *to,
                                    size_t p, exn_winograd_in_fn *window) {
    float copy[36 * EXN_VEC_LANES], result[36 * EXN_VEC_LANES];
    const size_t left = t->channels - c, count = left < EXN_VEC_LANES ? left : EXN_VEC_LANES;
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < p; j++) {
            const bool there = exn_winograd_inside(t->y, i, t->h) && exn_winograd_inside(x, j, t->w);
            const ptrdiff_t at = (t->y + (ptrdiff_t)i) * t->row + (x + (ptrdiff_t)j) * t->pixel + (ptrdiff_t)c;
            exn_vec_store(copy + (i * p + j) * EXN_VEC_LANES,
                          there ? exn_vec_load_n(image + at, count) : exn_vec_set1(0.0f));
        }
    const exn_winograd_steps steps = {(ptrdiff_t)(p * EXN_VEC_LANES), (ptrdiff_t)EXN_VEC_LANES};
    if (count == EXN_VEC_LANES) {
        window(copy, steps, to + c, t->position);
        return;
    }
    window(copy, steps, result, (ptrdiff_t)EXN_VEC_LANES);
    for (size_t i = 0; i < p * p; i++)
        exn_vec_store_n(to + (ptrdiff_t)c + (ptrdiff_t)i * t->position, exn_vec_load(result + i * EXN_VEC_LANES),
                        count);
}

static __attribute__((noinline)) void exn_winograd_in(const exn_winograd_tiles *t, const float *image, float *to,
                                                      size_t m, exn_winograd_in_fn *window) {
    const size_t p = m + 2;
    const bool rows_inside = t->y >= 0 && t->y + (ptrdiff_t)p <= (ptrdiff_t)t->h;
    const exn_winograd_steps steps = {t->row, t->pixel};
    ptrdiff_t x = t->x;
    for (size_t i = 0; i < t->tiles; i++, x += (ptrdiff_t)m, to += t->tile) {
        const bool inside = rows_inside && x >= 0 && x + (ptrdiff_t)p <= (ptrdiff_t)t->w;
        for (size_t c = 0; c < t->channels; c += EXN_VEC_LANES)
            if (inside && c + EXN_VEC_LANES <= t->channels)
                window(image + t->y * t->row + x * t->pixel + (ptrdiff_t)c, steps, to + c, t->position);
            else
                exn_winograd_in_careful(t, x, c, image, to, p, window);
    }
}

/* A tile of which some outputs may lie outside, or whose last channels do not fill a vector. */
static void exn_winograd_out_careful(const exn_winograd_tiles *t, ptrdiff_t x, size_t c, const float *from,
                                     const float *bias, float *image, const exn_epilogue *e, size_t m,
                                     exn_winograd_out_fn *window) {
    float copy[36 * EXN_VEC_LANES], add[EXN_VEC_LANES], residual[16 * EXN_VEC_LANES], result[16 * EXN_VEC_LANES];
    const size_t left = t->channels - c, count = left < EXN_VEC_LANES ? left : EXN_VEC_LANES, p = m + 2;
    const exn_winograd_steps steps = {(ptrdiff_t)(m * EXN_VEC_LANES), (ptrdiff_t)EXN_VEC_LANES};
    const ptrdiff_t corner = t->y * t->row + x * t->pixel + (ptrdiff_t)c;
    const bool whole = count == EXN_VEC_LANES;
    exn_vec_store(add, exn_vec_load_n(bias + c, count));
    for (size_t i = 0; i < p * p && !whole; i++)
        exn_vec_store(copy + i * EXN_VEC_LANES,
                      exn_vec_load_n(from + (ptrdiff_t)c + (ptrdiff_t)i * t->position, count));
    for (size_t i = 0; i < m * m && e->residual; i++) {
        const ptrdiff_t at = corner + (ptrdiff_t)(i / m) * t->row + (ptrdiff_t)(i % m) * t->pixel;
        const bool there = exn_winograd_inside(t->y, i / m, t->h) && exn_winograd_inside(x, i % m, t->w);
        exn_vec_store(residual + i * EXN_VEC_LANES,
                      there ? exn_vec_load_n(e->residual + at, count) : exn_vec_set1(0.0f));
    }
    window(whole ? from + c : copy, whole ? t->position : (ptrdiff_t)EXN_VEC_LANES, add, result, steps,
           e->residual ? residual : NULL, e);
    for (size_t i = 0; i < m * m; i++)
        if (exn_winograd_inside(t->y, i / m, t->h) && exn_winograd_inside(x, i % m, t->w))
            exn_vec_store_n(image + corner + (ptrdiff_t)(i / m) * t->row + (ptrdiff_t)(i % m) * t->pixel,
                            exn_vec_load(result + i * EXN_VEC_LANES), count);
}

static __attribute__((noinline)) void exn_winograd_out(const exn_winograd_tiles *t, const float *from,
                                                       const float *bias, float *image, const exn_epilogue *e, size_t m,
                                                       exn_winograd_out_fn *window) {
    const bool rows_inside = t->y + (ptrdiff_t)m <= (ptrdiff_t)t->h;
    const exn_winograd_steps steps = {t->row, t->pixel};
    ptrdiff_t x = t->x;
    for (size_t i = 0; i < t->tiles; i++, x += (ptrdiff_t)m, from += t->tile) {
        const bool inside = rows_inside && x + (ptrdiff_t)m <= (ptrdiff_t)t->w;
        for (size_t c = 0; c < t->channels; c += EXN_VEC_LANES) {
            const ptrdiff_t at = t->y * t->row + x * t->pixel + (ptrdiff_t)c;
            if (inside && c + EXN_VEC_LANES <= t->channels)
                window(from + c, t->position, bias + c, image + at, steps, e->residual ? e->residual + at : NULL, e);
            else
                exn_winograd_out_careful(t, x, c, from, bias, image, e, m, window);
        }
    }
}

static void EXN_OF_SET(winograd_2x2_in)(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_winograd_in(t, image, transformed, 2, exn_winograd_in_2);
}
static void EXN_OF_SET(winograd_4x4_in)(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_winograd_in(t, image, transformed, 4, exn_winograd_in_4);
}
static void EXN_OF_SET(winograd_2x2_out)(const exn_winograd_tiles *t, const float *transformed, const float *bias,
                                         float *image, const exn_epilogue *e) {
    exn_winograd_out(t, transformed, bias, image, e, 2, exn_winograd_out_2);
}
static void EXN_OF_SET(winograd_4x4_out)(const exn_winograd_tiles *t, const float *transformed, const float *bias,
                                         float *image, const exn_epilogue *e) {
    exn_winograd_out(t, transformed, bias, image, e, 4, exn_winograd_out_4);
}

#define EXN_F32_WINOGRAD_INIT                                                                                          \
    {                                                                                                                  \
        {EXN_OF_SET(winograd_2x2_in), EXN_OF_SET(winograd_2x2_out), 2, "f32_winograd_2x2_" EXN_TEXT(EXN_SET)},         \
            {EXN_OF_SET(winograd_4x4_in), EXN_OF_SET(winograd_4x4_out), 4, "f32_winograd_4x4_" EXN_TEXT(EXN_SET)},     \
    }
