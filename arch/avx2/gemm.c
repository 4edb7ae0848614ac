/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AVX2: one template over constant rows and vectors, and a jump over the rows asked for. */
#include "arch/avx2/gemm.h"
#include "arch/avx2/vec.h"
#include "kernels/unroll.h"

#define LANES EXN_VEC_LANES

/* What every stage reads. Arguments stay arguments: gathering them into a struct makes the compiler copy the pushed words
 * by vector loads, which stall on store forwarding at every tile. */
#define PARAMETERS                                                                                                     \
    size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, ptrdiff_t a_segment,        \
        const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const exn_epilogue *e
#define ARGUMENTS n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e

/* Vector j of v at p; the last one is cut by `mask` unless `whole`, a constant. */
EXN_INLINE exn_vec load(const float *p, size_t j, size_t v, const bool whole, __m256i mask) {
    return whole || j + 1 < v ? exn_vec_load(p + j * LANES) : _mm256_maskload_ps(p + j * LANES, mask);
}

EXN_INLINE void store(float *p, exn_vec value, size_t j, size_t v, const bool whole, __m256i mask) {
    if (whole || j + 1 < v)
        exn_vec_store(p + j * LANES, value);
    else
        _mm256_maskstore_ps(p + j * LANES, mask, value);
}

/* The first value of the chain (K6), for m rows of v vectors. */
EXN_INLINE void start(exn_vec acc[][8], const float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                      const size_t v, const bool whole, __m256i mask) {
    if (e->accumulate) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = load(c + (ptrdiff_t)i * c_row, j, v, whole, mask);
        }
        return;
    }
    EXN_UNROLL for (size_t j = 0; j < v; j++) {
        const exn_vec bias = e->bias ? load(e->bias, j, v, whole, mask) : exn_vec_set1(0.0f);
        EXN_UNROLL for (size_t i = 0; i < m; i++) acc[i][j] = bias;
    }
}

EXN_INLINE void finish(exn_vec acc[][8], float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                       const size_t v, const bool whole, __m256i mask) {
    if (e->residual) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] =
                exn_vec_add(acc[i][j], load(e->residual + (ptrdiff_t)i * e->residual_row, j, v, whole, mask));
        }
    }
    if (e->activation == EXN_ACT_CLAMP) {
        const exn_vec lo = exn_vec_set1(e->lo), hi = exn_vec_set1(e->hi);
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_clamp(acc[i][j], lo, hi);
        }
    }
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        EXN_UNROLL for (size_t j = 0; j < v; j++) store(c + (ptrdiff_t)i * c_row, acc[i][j], j, v, whole, mask);
    }
}

/* m rows of v vectors; m, v and whole are constants where this is inlined. */
EXN_INLINE void compute(PARAMETERS, const size_t m, const size_t v, const bool whole) {
    const __m256i mask = exn_vec_mask(n - (v - 1) * LANES);
    exn_vec acc[EXN_MR_MAX][8];
    start(acc, c, c_row, e, m, v, whole, mask);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--) {
            exn_vec row[8];
            EXN_UNROLL for (size_t j = 0; j < v; j++) row[j] = load(b, j, v, whole, mask);
            EXN_UNROLL for (size_t i = 0; i < m; i++) {
                const exn_vec value = exn_vec_set1(x[(ptrdiff_t)i * a_row]);
                EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_fma(value, row[j], acc[i][j]);
            }
            x += a_col;
            b += b_row;
        }
    }
    finish(acc, c, c_row, e, m, v, whole, mask);
}

#define ROWS(rows, vectors, whole)                                                                                     \
    case rows:                                                                                                         \
        compute(ARGUMENTS, rows, vectors, whole);                                                                      \
        break;

EXN_INLINE void run_16(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, true)
        ROWS(2, 2, true)
        ROWS(3, 2, true)
        ROWS(4, 2, true)
        ROWS(5, 2, true)
        ROWS(6, 2, true)
    }
}

EXN_INLINE void run_above_8(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, false)
        ROWS(2, 2, false)
        ROWS(3, 2, false)
        ROWS(4, 2, false)
        ROWS(5, 2, false)
        ROWS(6, 2, false)
    }
}

EXN_INLINE void run_to_8(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 1, false)
        ROWS(2, 1, false)
        ROWS(3, 1, false)
        ROWS(4, 1, false)
        ROWS(5, 1, false)
        ROWS(6, 1, false)
    }
}

EXN_INLINE void run_24(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 3, true)
        ROWS(2, 3, true)
        ROWS(3, 3, true)
        ROWS(4, 3, true)
    }
}

EXN_INLINE void run_above_16(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 3, false)
        ROWS(2, 3, false)
        ROWS(3, 3, false)
        ROWS(4, 3, false)
    }
}

void exn_f32_gemm_6x16_avx2(size_t m, PARAMETERS) {
    if (n == 2 * LANES)
        run_16(m, ARGUMENTS);
    else if (n > LANES)
        run_above_8(m, ARGUMENTS);
    else if (n > 0)
        run_to_8(m, ARGUMENTS);
}

void exn_f32_gemm_4x24_avx2(size_t m, PARAMETERS) {
    if (n == 3 * LANES)
        run_24(m, ARGUMENTS);
    else if (n > 2 * LANES)
        run_above_16(m, ARGUMENTS);
    else
        exn_f32_gemm_6x16_avx2(m, ARGUMENTS);
}

/* Fewer columns than a whole row go 16 at a time. */
static void run_part_of_row(PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_6x16_avx2(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment, b + j,
                               b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

void exn_f32_gemm_1x64_avx2(size_t m, PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        compute(ARGUMENTS, 1, 8, true);
    else
        run_part_of_row(ARGUMENTS);
}
