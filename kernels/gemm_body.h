/* SPDX-License-Identifier: Apache-2.0
 * Portable GEMM micro-kernel over an ISA's vec.h (kernels/vec.md). Define EXN_GEMM_NAME, EXN_GEMM_MR (1..8 rows) and
 * EXN_GEMM_NV (vectors a row) and include it: it defines a static exn_f32_gemm_fn of that name whose tile is
 * EXN_GEMM_MR x EXN_GEMM_NV * EXN_VEC_LANES, and undefines the three, so that it can be included for the next tile. */
#include "kernels/kernel_set.h"

#ifndef EXN_GEMM_SHARED
#define EXN_GEMM_SHARED
/* Operands of one call; b and c of the tile's own column 0. */
typedef struct exn_gemm_operands {
    size_t n, k, segments;
    const float *a;
    ptrdiff_t a_row, a_col, a_segment;
    const float *b;
    ptrdiff_t b_row;
    float *c;
    ptrdiff_t c_row;
    const exn_epilogue *e;
} exn_gemm_operands;

/* Lanes of vector v that lie within n columns. */
static inline size_t exn_gemm_lanes_within(size_t n, size_t v) {
    const size_t first = v * EXN_VEC_LANES;
    if (n <= first) return 0;
    return n - first < EXN_VEC_LANES ? n - first : EXN_VEC_LANES;
}

/* Whole tiles must not pay for partial ones: `whole` is a constant wherever this is inlined. */
static inline exn_vec exn_gemm_load(const float *p, size_t n, size_t v, bool whole) {
    return whole ? exn_vec_load(p + v * EXN_VEC_LANES)
                 : exn_vec_load_n(p + v * EXN_VEC_LANES, exn_gemm_lanes_within(n, v));
}
#endif

#define EXN_GEMM_GLUE_NOW(name, part) name##_##part
#define EXN_GEMM_GLUE(name, part) EXN_GEMM_GLUE_NOW(name, part)
#define EXN_GEMM_PART(part) EXN_GEMM_GLUE(EXN_GEMM_NAME, part)

static inline __attribute__((always_inline)) exn_vec EXN_GEMM_PART(start)(const exn_gemm_operands *o, size_t row,
                                                                          size_t v, bool whole) {
    const size_t n = o->n;
    if (!whole && exn_gemm_lanes_within(n, v) == 0) return exn_vec_set1(0.0f);
    if (o->e->accumulate) return exn_gemm_load(o->c + (ptrdiff_t)row * o->c_row, n, v, whole);
    return o->e->bias ? exn_gemm_load(o->e->bias, n, v, whole) : exn_vec_set1(0.0f);
}

static inline __attribute__((always_inline)) void EXN_GEMM_PART(finish)(const exn_gemm_operands *o, size_t row,
                                                                        size_t v, bool whole, exn_vec value) {
    const exn_epilogue *e = o->e;
    const size_t count = whole ? EXN_VEC_LANES : exn_gemm_lanes_within(o->n, v);
    if (count == 0) return;
    if (e->residual)
        value = exn_vec_add(value, exn_gemm_load(e->residual + (ptrdiff_t)row * e->residual_row, o->n, v, whole));
    if (e->activation == EXN_ACT_CLAMP) value = exn_vec_clamp(value, exn_vec_set1(e->lo), exn_vec_set1(e->hi));
    float *const to = o->c + (ptrdiff_t)row * o->c_row + v * EXN_VEC_LANES;
    if (whole)
        exn_vec_store(to, value);
    else
        exn_vec_store_n(to, value, count);
}

/* m and whole are constants at every call, so that the accumulators stay in registers. */
static inline __attribute__((always_inline)) void EXN_GEMM_PART(tile)(const size_t m, const bool whole,
                                                                      const exn_gemm_operands *o) {
    exn_vec sum[EXN_GEMM_MR][EXN_GEMM_NV], row[EXN_GEMM_NV];
    for (size_t i = 0; i < m; i++)
        for (size_t v = 0; v < EXN_GEMM_NV; v++) sum[i][v] = EXN_GEMM_PART(start)(o, i, v, whole);
    const float *b = o->b;
    for (size_t s = 0; s < o->segments; s++) {
        const float *a = o->a + (ptrdiff_t)s * o->a_segment;
        for (size_t p = 0; p < o->k; p++, a += o->a_col, b += o->b_row) {
            for (size_t v = 0; v < EXN_GEMM_NV; v++)
                row[v] = !whole && exn_gemm_lanes_within(o->n, v) == 0 ? exn_vec_set1(0.0f)
                                                                       : exn_gemm_load(b, o->n, v, whole);
            for (size_t i = 0; i < m; i++) {
                const exn_vec all = exn_vec_set1(a[(ptrdiff_t)i * o->a_row]);
                for (size_t v = 0; v < EXN_GEMM_NV; v++) sum[i][v] = exn_vec_fma(all, row[v], sum[i][v]);
            }
        }
    }
    for (size_t i = 0; i < m; i++)
        for (size_t v = 0; v < EXN_GEMM_NV; v++) EXN_GEMM_PART(finish)(o, i, v, whole, sum[i][v]);
}

static void EXN_GEMM_PART(whole)(size_t m, const exn_gemm_operands *o) {
    switch (m) {
    case 1:
        EXN_GEMM_PART(tile)(1, true, o);
        break;
#if EXN_GEMM_MR > 1
    case 2:
        EXN_GEMM_PART(tile)(2, true, o);
        break;
#endif
#if EXN_GEMM_MR > 2
    case 3:
        EXN_GEMM_PART(tile)(3, true, o);
        break;
#endif
#if EXN_GEMM_MR > 3
    case 4:
        EXN_GEMM_PART(tile)(4, true, o);
        break;
#endif
#if EXN_GEMM_MR > 4
    case 5:
        EXN_GEMM_PART(tile)(5, true, o);
        break;
#endif
#if EXN_GEMM_MR > 5
    case 6:
        EXN_GEMM_PART(tile)(6, true, o);
        break;
#endif
#if EXN_GEMM_MR > 6
    case 7:
        EXN_GEMM_PART(tile)(7, true, o);
        break;
#endif
#if EXN_GEMM_MR > 7
    case 8:
        EXN_GEMM_PART(tile)(8, true, o);
        break;
#endif
    default:
        break;
    }
}

static void EXN_GEMM_NAME(size_t m, size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row,
                          ptrdiff_t a_col, ptrdiff_t a_segment, const float *b, ptrdiff_t b_row, float *c,
                          ptrdiff_t c_row, const exn_epilogue *e) {
    exn_gemm_operands o = {n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e};
    if (n == 0) return;
    if (n == EXN_GEMM_NV * EXN_VEC_LANES) {
        EXN_GEMM_PART(whole)(m, &o);
        return;
    }
    /* Partial columns, the rare case, take a row at a time. */
    exn_epilogue shifted = *e;
    o.e = &shifted;
    for (size_t i = 0; i < m; i++, o.a += a_row, o.c += c_row) {
        EXN_GEMM_PART(tile)(1, false, &o);
        if (shifted.residual) shifted.residual += shifted.residual_row;
    }
}

#undef EXN_GEMM_PART
#undef EXN_GEMM_GLUE
#undef EXN_GEMM_GLUE_NOW
#undef EXN_GEMM_NAME
#undef EXN_GEMM_MR
#undef EXN_GEMM_NV
