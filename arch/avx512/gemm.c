/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AVX-512: one template over constant rows and vectors, and a jump over the rows asked for. */
#include "arch/avx512/gemm.h"

#include <immintrin.h>

#define LANES 16u
#define UNROLL _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))

/* What every stage reads. Arguments stay arguments: gathering them into a struct makes the compiler copy the pushed words
 * by vector loads, which stall on store forwarding at every tile. */
#define PARAMETERS                                                                                                     \
    size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, ptrdiff_t a_segment,        \
        const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const exn_epilogue *e
#define ARGUMENTS n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e

INLINE __mmask16 lanes_below(size_t count) {
    return (ptrdiff_t)count <= 0 ? 0 : count >= LANES ? 0xffff : (__mmask16)((1u << count) - 1u);
}

/* max and min return their second operand where an operand is NaN or both are zeros: NaN and -0 pass. */
INLINE __m512 clamp(__m512 x, __m512 lo, __m512 hi) {
    return _mm512_min_ps(hi, _mm512_max_ps(lo, x));
}

/* The first value of the chain (K6), for `m` rows of `v` vectors. */
INLINE void start(__m512 acc[][8], const float *c, ptrdiff_t c_row, const exn_epilogue *e, const __mmask16 mask[],
                  const size_t m, const size_t v) {
    if (e->accumulate) {
        UNROLL for (size_t i = 0; i < m; i++) {
            UNROLL for (size_t j = 0; j < v; j++) acc[i][j] =
                _mm512_maskz_loadu_ps(mask[j], c + (ptrdiff_t)i * c_row + j * LANES);
        }
        return;
    }
    UNROLL for (size_t j = 0; j < v; j++) {
        const __m512 bias = e->bias ? _mm512_maskz_loadu_ps(mask[j], e->bias + j * LANES) : _mm512_setzero_ps();
        UNROLL for (size_t i = 0; i < m; i++) acc[i][j] = bias;
    }
}

INLINE void finish(__m512 acc[][8], float *c, ptrdiff_t c_row, const exn_epilogue *e, const __mmask16 mask[],
                   const size_t m, const size_t v) {
    if (e->residual) {
        UNROLL for (size_t i = 0; i < m; i++) {
            UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = _mm512_add_ps(
                acc[i][j], _mm512_maskz_loadu_ps(mask[j], e->residual + (ptrdiff_t)i * e->residual_row + j * LANES));
        }
    }
    if (e->activation == EXN_ACT_CLAMP) {
        const __m512 lo = _mm512_set1_ps(e->lo), hi = _mm512_set1_ps(e->hi);
        UNROLL for (size_t i = 0; i < m; i++) {
            UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = clamp(acc[i][j], lo, hi);
        }
    }
    UNROLL for (size_t i = 0; i < m; i++) {
        UNROLL for (size_t j = 0; j < v; j++)
            _mm512_mask_storeu_ps(c + (ptrdiff_t)i * c_row + j * LANES, mask[j], acc[i][j]);
    }
}

/* m rows of v vectors; both are constants where this is inlined. */
INLINE void compute(PARAMETERS, const size_t m, const size_t v) {
    __mmask16 mask[8];
    __m512 acc[EXN_MR_MAX][8];
    UNROLL for (size_t j = 0; j < v; j++) mask[j] = lanes_below(n - j * LANES);
    start(acc, c, c_row, e, mask, m, v);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--) {
            __m512 row[8];
            UNROLL for (size_t j = 0; j < v; j++) row[j] = _mm512_maskz_loadu_ps(mask[j], b + j * LANES);
            UNROLL for (size_t i = 0; i < m; i++) {
                const __m512 value = _mm512_set1_ps(x[(ptrdiff_t)i * a_row]);
                UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = _mm512_fmadd_ps(value, row[j], acc[i][j]);
            }
            x += a_col;
            b += b_row;
        }
    }
    finish(acc, c, c_row, e, mask, m, v);
}

#define ROWS(rows, vectors)                                                                                            \
    case rows:                                                                                                         \
        compute(ARGUMENTS, rows, vectors);                                                                             \
        break;

INLINE void run_narrow(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 1)
        ROWS(2, 1)
        ROWS(3, 1)
        ROWS(4, 1)
        ROWS(5, 1)
        ROWS(6, 1)
        ROWS(7, 1)
        ROWS(8, 1)
        ROWS(9, 1)
        ROWS(10, 1)
        ROWS(11, 1)
        ROWS(12, 1)
        ROWS(13, 1)
        ROWS(14, 1)
    }
}

INLINE void run_wide(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2)
        ROWS(2, 2)
        ROWS(3, 2)
        ROWS(4, 2)
        ROWS(5, 2)
        ROWS(6, 2)
        ROWS(7, 2)
    }
}

void exn_f32_gemm_14x16_avx512(size_t m, PARAMETERS) {
    if (n > 0) run_narrow(m, ARGUMENTS);
}

void exn_f32_gemm_7x32_avx512(size_t m, PARAMETERS) {
    if (n > LANES)
        run_wide(m, ARGUMENTS);
    else
        exn_f32_gemm_14x16_avx512(m, ARGUMENTS);
}

void exn_f32_gemm_1x128_avx512(size_t m, PARAMETERS) {
    const size_t vectors = (n + LANES - 1) / LANES;
    if (m == 0 || n == 0) return;
    if (vectors > 4)
        compute(ARGUMENTS, 1, 8);
    else if (vectors > 2)
        compute(ARGUMENTS, 1, 4);
    else
        compute(ARGUMENTS, 1, 2);
}
