/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AVX-512: one template over constant rows and vectors, and a jump over the rows asked for. */
#include "arch/avx512/gemm.h"
#include "arch/avx512/vec.h"
#include "kernels/unroll.h"

#define LANES EXN_VEC_LANES

/* What every stage reads. Arguments stay arguments: gathering them into a struct makes the compiler copy the pushed words
 * by vector loads, which stall on store forwarding at every tile. */
#define PARAMETERS                                                                                                     \
    size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, ptrdiff_t a_segment,        \
        const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const exn_epilogue *e
#define ARGUMENTS n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e

/* Vector j of v at p; the last one is cut by `mask` unless `whole`, a constant. */
EXN_INLINE exn_vec load(const float *p, size_t j, size_t v, const bool whole, __mmask16 mask) {
    return whole || j + 1 < v ? exn_vec_load(p + j * LANES) : _mm512_maskz_loadu_ps(mask, p + j * LANES);
}

EXN_INLINE void store(float *p, exn_vec value, size_t j, size_t v, const bool whole, __mmask16 mask) {
    if (whole || j + 1 < v)
        exn_vec_store(p + j * LANES, value);
    else
        _mm512_mask_storeu_ps(p + j * LANES, mask, value);
}

/* The first value of the chain (K6), for m rows of v vectors. */
EXN_INLINE void start(exn_vec acc[][8], const float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                      const size_t v, const bool whole, __mmask16 mask) {
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
                       const size_t v, const bool whole, __mmask16 mask) {
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
    const __mmask16 mask = exn_vec_mask(n - (v - 1) * LANES);
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

/* 24 columns as a whole and a half vector: a quarter less work than two whole ones. */
typedef struct pair {
    __m512 low;
    __m256 high;
} pair;

EXN_INLINE pair load_pair(const float *p) {
    return (pair){_mm512_loadu_ps(p), _mm256_loadu_ps(p + LANES)};
}

EXN_INLINE pair start_pair(const float *c, const exn_epilogue *e) {
    if (e->accumulate) return load_pair(c);
    if (e->bias) return load_pair(e->bias);
    return (pair){_mm512_setzero_ps(), _mm256_setzero_ps()};
}

EXN_INLINE void finish_pair(pair acc, float *c, const float *residual, const exn_epilogue *e) {
    if (residual) {
        const pair add = load_pair(residual);
        acc = (pair){_mm512_add_ps(acc.low, add.low), _mm256_add_ps(acc.high, add.high)};
    }
    if (e->activation == EXN_ACT_CLAMP) {
        acc.low = exn_vec_clamp(acc.low, _mm512_set1_ps(e->lo), _mm512_set1_ps(e->hi));
        acc.high = _mm256_min_ps(_mm256_set1_ps(e->hi), _mm256_max_ps(_mm256_set1_ps(e->lo), acc.high));
    }
    _mm512_storeu_ps(c, acc.low);
    _mm256_storeu_ps(c + LANES, acc.high);
}

EXN_INLINE void compute_pair(PARAMETERS, const size_t m) {
    (void)n; /* 24 */
    pair acc[7];
    EXN_UNROLL for (size_t i = 0; i < m; i++) acc[i] = start_pair(c + (ptrdiff_t)i * c_row, e);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--) {
            const pair row = load_pair(b);
            EXN_UNROLL for (size_t i = 0; i < m; i++) {
                const __m512 value = _mm512_set1_ps(x[(ptrdiff_t)i * a_row]);
                acc[i].low = _mm512_fmadd_ps(value, row.low, acc[i].low);
                acc[i].high = _mm256_fmadd_ps(_mm512_castps512_ps256(value), row.high, acc[i].high);
            }
            x += a_col;
            b += b_row;
        }
    }
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        finish_pair(acc[i], c + (ptrdiff_t)i * c_row, e->residual ? e->residual + (ptrdiff_t)i * e->residual_row : NULL,
                    e);
    }
}

#define ROWS(rows, vectors, whole)                                                                                     \
    case rows:                                                                                                         \
        compute(ARGUMENTS, rows, vectors, whole);                                                                      \
        break;

EXN_INLINE void run_16(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 1, true)
        ROWS(2, 1, true)
        ROWS(3, 1, true)
        ROWS(4, 1, true)
        ROWS(5, 1, true)
        ROWS(6, 1, true)
        ROWS(7, 1, true)
        ROWS(8, 1, true)
        ROWS(9, 1, true)
        ROWS(10, 1, true)
        ROWS(11, 1, true)
        ROWS(12, 1, true)
        ROWS(13, 1, true)
        ROWS(14, 1, true)
    }
}

EXN_INLINE void run_to_16(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 1, false)
        ROWS(2, 1, false)
        ROWS(3, 1, false)
        ROWS(4, 1, false)
        ROWS(5, 1, false)
        ROWS(6, 1, false)
        ROWS(7, 1, false)
        ROWS(8, 1, false)
        ROWS(9, 1, false)
        ROWS(10, 1, false)
        ROWS(11, 1, false)
        ROWS(12, 1, false)
        ROWS(13, 1, false)
        ROWS(14, 1, false)
    }
}

EXN_INLINE void run_32(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, true)
        ROWS(2, 2, true)
        ROWS(3, 2, true)
        ROWS(4, 2, true)
        ROWS(5, 2, true)
        ROWS(6, 2, true)
        ROWS(7, 2, true)
    }
}

EXN_INLINE void run_above_16(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, false)
        ROWS(2, 2, false)
        ROWS(3, 2, false)
        ROWS(4, 2, false)
        ROWS(5, 2, false)
        ROWS(6, 2, false)
        ROWS(7, 2, false)
    }
}

#define PAIR_ROWS(rows)                                                                                                \
    case rows:                                                                                                         \
        compute_pair(ARGUMENTS, rows);                                                                                 \
        break;

EXN_INLINE void run_24(size_t m, PARAMETERS) {
    switch (m) {
        PAIR_ROWS(1)
        PAIR_ROWS(2)
        PAIR_ROWS(3)
        PAIR_ROWS(4)
        PAIR_ROWS(5)
        PAIR_ROWS(6)
        PAIR_ROWS(7)
    }
}

void exn_f32_gemm_14x16_avx512(size_t m, PARAMETERS) {
    if (n == LANES)
        run_16(m, ARGUMENTS);
    else if (n > 0)
        run_to_16(m, ARGUMENTS);
}

void exn_f32_gemm_7x32_avx512(size_t m, PARAMETERS) {
    if (n == 2 * LANES)
        run_32(m, ARGUMENTS);
    else if (n > LANES)
        run_above_16(m, ARGUMENTS);
    else
        exn_f32_gemm_14x16_avx512(m, ARGUMENTS);
}

void exn_f32_gemm_7x24_avx512(size_t m, PARAMETERS) {
    if (n == LANES + LANES / 2)
        run_24(m, ARGUMENTS);
    else
        exn_f32_gemm_7x32_avx512(m, ARGUMENTS);
}

void exn_f32_gemm_1x128_avx512(size_t m, PARAMETERS) {
    const size_t vectors = (n + LANES - 1) / LANES;
    if (m == 0 || n == 0) return;
    switch (vectors) {
    case 1:
        compute(ARGUMENTS, 1, 1, false);
        break;
    case 2:
        compute(ARGUMENTS, 1, 2, false);
        break;
    case 3:
        compute(ARGUMENTS, 1, 3, false);
        break;
    case 4:
        compute(ARGUMENTS, 1, 4, false);
        break;
    case 5:
        compute(ARGUMENTS, 1, 5, false);
        break;
    case 6:
        compute(ARGUMENTS, 1, 6, false);
        break;
    case 7:
        compute(ARGUMENTS, 1, 7, false);
        break;
    case 8:
        compute(ARGUMENTS, 1, 8, false);
        break;
    }
}
