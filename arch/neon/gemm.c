/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in Advanced SIMD: one template over constant rows and vectors, a jump over the rows asked for. */
#include "arch/neon/gemm.h"
#include "arch/neon/vec.h"
#include "kernels/unroll.h"

#define LANES EXN_VEC_LANES

/* What every stage reads. Arguments stay arguments: gathering them into a struct makes the compiler copy the pushed words
 * by vector loads, which stall on store forwarding at every tile. */
#define PARAMETERS                                                                                                     \
    size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, ptrdiff_t a_segment,        \
        const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const exn_epilogue *e
#define ARGUMENTS n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e

/* Vector j of v at p; the last one is cut by `rest` lanes unless `whole`, a constant. */
EXN_INLINE exn_vec load(const float *p, size_t j, size_t v, const bool whole, size_t rest) {
    return whole || j + 1 < v ? exn_vec_load(p + j * LANES) : exn_vec_load_n(p + j * LANES, rest);
}

EXN_INLINE void store(float *p, exn_vec value, size_t j, size_t v, const bool whole, size_t rest) {
    if (whole || j + 1 < v)
        exn_vec_store(p + j * LANES, value);
    else
        exn_vec_store_n(p + j * LANES, value, rest);
}

/* The first value of the chain (K6), for m rows of v vectors. */
EXN_INLINE void start(exn_vec acc[][8], const float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                      const size_t v, const bool whole, size_t rest) {
    if (e->accumulate) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = load(c + (ptrdiff_t)i * c_row, j, v, whole, rest);
        }
        return;
    }
    EXN_UNROLL for (size_t j = 0; j < v; j++) {
        const exn_vec bias = e->bias ? load(e->bias, j, v, whole, rest) : exn_vec_set1(0.0f);
        EXN_UNROLL for (size_t i = 0; i < m; i++) acc[i][j] = bias;
    }
}

EXN_INLINE void finish(exn_vec acc[][8], float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                       const size_t v, const bool whole, size_t rest) {
    if (e->residual) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] =
                exn_vec_add(acc[i][j], load(e->residual + (ptrdiff_t)i * e->residual_row, j, v, whole, rest));
        }
    }
    if (e->activation == EXN_ACT_CLAMP) {
        const exn_vec lo = exn_vec_set1(e->lo), hi = exn_vec_set1(e->hi);
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_clamp(acc[i][j], lo, hi);
        }
    }
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        EXN_UNROLL for (size_t j = 0; j < v; j++) store(c + (ptrdiff_t)i * c_row, acc[i][j], j, v, whole, rest);
    }
}

/* acc += x * row, for k values of A. */
EXN_INLINE void step(exn_vec acc[][8], const float *x, ptrdiff_t a_row, const float *b, const size_t m, const size_t v,
                     const bool whole, size_t rest) {
    exn_vec row[8];
    EXN_UNROLL for (size_t j = 0; j < v; j++) row[j] = load(b, j, v, whole, rest);
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        const exn_vec value = exn_vec_set1(x[(ptrdiff_t)i * a_row]);
        EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_fma(value, row[j], acc[i][j]);
    }
}

#define LANE_STEP(lane)                                                                                                \
    do {                                                                                                               \
        exn_vec row[8];                                                                                                \
        EXN_UNROLL for (size_t j = 0; j < v; j++) row[j] = exn_vec_load(b + (lane)*b_row + j * LANES);                 \
        EXN_UNROLL for (size_t i = 0; i < m; i++) {                                                                    \
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = vfmaq_laneq_f32(acc[i][j], row[j], x4[i], lane);     \
        }                                                                                                              \
    } while (0)

/* Four steps over contiguous A: a vector of each row of A, then its lanes. */
EXN_INLINE void step4(exn_vec acc[][8], const float *x, ptrdiff_t a_row, const float *b, ptrdiff_t b_row,
                      const size_t m, const size_t v) {
    exn_vec x4[8];
    EXN_UNROLL for (size_t i = 0; i < m; i++) x4[i] = exn_vec_load(x + (ptrdiff_t)i * a_row);
    LANE_STEP(0);
    LANE_STEP(1);
    LANE_STEP(2);
    LANE_STEP(3);
}

/* m rows of v vectors; m, v and whole are constants where this is inlined. by_lanes: A's rows fit in registers too. */
EXN_INLINE void compute(PARAMETERS, const size_t m, const size_t v, const bool whole, const bool by_lanes) {
    const size_t rest = n - (v - 1) * LANES;
    exn_vec acc[8][8];
    start(acc, c, c_row, e, m, v, whole, rest);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        size_t p = 0;
        if (by_lanes && a_col == 1) {
            for (; p + LANES <= k; p += LANES, x += LANES, b += LANES * (ptrdiff_t)b_row)
                step4(acc, x, a_row, b, b_row, m, v);
        }
        for (; p < k; p++, x += a_col, b += b_row) step(acc, x, a_row, b, m, v, whole, rest);
    }
    finish(acc, c, c_row, e, m, v, whole, rest);
}

#define ROWS(rows, vectors, whole, by_lanes)                                                                           \
    case rows:                                                                                                         \
        compute(ARGUMENTS, rows, vectors, whole, by_lanes);                                                            \
        break;

EXN_INLINE void run_8(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, true, true)
        ROWS(2, 2, true, true)
        ROWS(3, 2, true, true)
        ROWS(4, 2, true, true)
        ROWS(5, 2, true, true)
        ROWS(6, 2, true, true)
        ROWS(7, 2, true, true)
        ROWS(8, 2, true, true)
    }
}

EXN_INLINE void run_above_4(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 2, false, false)
        ROWS(2, 2, false, false)
        ROWS(3, 2, false, false)
        ROWS(4, 2, false, false)
        ROWS(5, 2, false, false)
        ROWS(6, 2, false, false)
        ROWS(7, 2, false, false)
        ROWS(8, 2, false, false)
    }
}

EXN_INLINE void run_to_4(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 1, false, false)
        ROWS(2, 1, false, false)
        ROWS(3, 1, false, false)
        ROWS(4, 1, false, false)
        ROWS(5, 1, false, false)
        ROWS(6, 1, false, false)
        ROWS(7, 1, false, false)
        ROWS(8, 1, false, false)
    }
}

EXN_INLINE void run_12(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 3, true, false)
        ROWS(2, 3, true, false)
        ROWS(3, 3, true, false)
        ROWS(4, 3, true, false)
        ROWS(5, 3, true, false)
        ROWS(6, 3, true, false)
        ROWS(7, 3, true, false)
        ROWS(8, 3, true, false)
    }
}

EXN_INLINE void run_above_8(size_t m, PARAMETERS) {
    switch (m) {
        ROWS(1, 3, false, false)
        ROWS(2, 3, false, false)
        ROWS(3, 3, false, false)
        ROWS(4, 3, false, false)
        ROWS(5, 3, false, false)
        ROWS(6, 3, false, false)
        ROWS(7, 3, false, false)
        ROWS(8, 3, false, false)
    }
}

void exn_f32_gemm_8x8_neon(size_t m, PARAMETERS) {
    if (n == 2 * LANES)
        run_8(m, ARGUMENTS);
    else if (n > LANES)
        run_above_4(m, ARGUMENTS);
    else if (n > 0)
        run_to_4(m, ARGUMENTS);
}

void exn_f32_gemm_8x12_neon(size_t m, PARAMETERS) {
    if (n == 3 * LANES)
        run_12(m, ARGUMENTS);
    else if (n > 2 * LANES)
        run_above_8(m, ARGUMENTS);
    else
        exn_f32_gemm_8x8_neon(m, ARGUMENTS);
}

/* Fewer columns than a whole row go 8 at a time. */
static void run_part_of_row(PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_8x8_neon(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment, b + j,
                              b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

void exn_f32_gemm_1x32_neon(size_t m, PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        compute(ARGUMENTS, 1, 8, true, true);
    else
        run_part_of_row(ARGUMENTS);
}
