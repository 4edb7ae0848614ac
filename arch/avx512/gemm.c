/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AVX-512. */
#include "arch/avx512/gemm.h"
#include "arch/avx512/vec.h"
#include "kernels/gemm_tile_body.h"

#define LANES EXN_VEC_LANES

/* 24 columns as a whole and a half vector: a quarter less work than two whole ones. */
typedef struct pair {
    __m512 low;
    __m256 high;
} pair;

/* exn_vec_fma_memory of half a vector. */
EXN_INLINE __m256 fma_half(const float *x, __m256 b, __m256 c) {
    __asm__("vfmadd231ps %2%{1to8%}, %1, %0" : "+v"(c) : "v"(b), "m"(*x));
    return c;
}

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

EXN_INLINE void run_pair(EXN_TILE_PARAMETERS, const size_t m) {
    (void)n; /* 24 */
    pair acc[7];
    EXN_UNROLL for (size_t i = 0; i < m; i++) acc[i] = start_pair(c + (ptrdiff_t)i * c_row, e);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--) {
            const pair row = load_pair(b);
            EXN_UNROLL for (size_t i = 0; i < m; i++) {
                const float *const value = x + (ptrdiff_t)i * a_row;
                acc[i].low = exn_vec_fma_memory(value, row.low, acc[i].low);
                acc[i].high = fma_half(value, row.high, acc[i].high);
            }
            x += a_col;
            b += b_row;
            EXN_FORGET(b);
        }
    }
    EXN_FORGET(c_row);
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        finish_pair(acc[i], c + (ptrdiff_t)i * c_row, e->residual ? e->residual + (ptrdiff_t)i * e->residual_row : NULL,
                    e);
    }
}

/* The last rows of a matrix, though their columns may be whole, take the way of partial columns: a mask costs nothing. */
EXN_INLINE void run_to_16(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 1, false)
        EXN_TILE_ROWS(2, 1, false)
        EXN_TILE_ROWS(3, 1, false)
        EXN_TILE_ROWS(4, 1, false)
        EXN_TILE_ROWS(5, 1, false)
        EXN_TILE_ROWS(6, 1, false)
        EXN_TILE_ROWS(7, 1, false)
        EXN_TILE_ROWS(8, 1, false)
    }
}

EXN_INLINE void run_above_16(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, false)
        EXN_TILE_ROWS(2, 2, false)
        EXN_TILE_ROWS(3, 2, false)
        EXN_TILE_ROWS(4, 2, false)
        EXN_TILE_ROWS(5, 2, false)
        EXN_TILE_ROWS(6, 2, false)
        EXN_TILE_ROWS(7, 2, false)
    }
}

void exn_f32_gemm_8x16_avx512(size_t m, EXN_TILE_PARAMETERS) {
    if (n == LANES && m == 8)
        exn_tile_run(EXN_TILE_ARGUMENTS, 8, 1, true);
    else if (n > 0)
        run_to_16(m, EXN_TILE_ARGUMENTS);
}

void exn_f32_gemm_7x32_avx512(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 2 * LANES && m == 7)
        exn_tile_run(EXN_TILE_ARGUMENTS, 7, 2, true);
    else if (n > LANES)
        run_above_16(m, EXN_TILE_ARGUMENTS);
    else
        exn_f32_gemm_8x16_avx512(m, EXN_TILE_ARGUMENTS);
}

void exn_f32_gemm_7x24_avx512(size_t m, EXN_TILE_PARAMETERS) {
    if (n == LANES + LANES / 2 && m == 7)
        run_pair(EXN_TILE_ARGUMENTS, 7);
    else
        exn_f32_gemm_7x32_avx512(m, EXN_TILE_ARGUMENTS);
}

/* Fewer columns than a whole row go 32 at a time. */
static void run_part_of_row(EXN_TILE_PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_7x32_avx512(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment,
                                 b + j, b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

void exn_f32_gemm_1x128_avx512(size_t m, EXN_TILE_PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        exn_tile_run(EXN_TILE_ARGUMENTS, 1, 8, true);
    else
        run_part_of_row(EXN_TILE_ARGUMENTS);
}
