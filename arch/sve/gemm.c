/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernel in SVE: eight rows of two vectors. The tile is 32 columns wide for everyone, so that packed weights do
 * not depend on the machine: vectors of 128 bits take them in four goes, of 256 in two, of 512 in one. Single rows, which
 * read B as fast as memory gives it, go once over all of it. */
#include "arch/sve/gemm.h"
#include "arch/sve/vec.h"
#include "kernels/gemm_parameters.h"
#include "kernels/unroll.h"

#include <stdbool.h>

/* Vectors whose length the compiler does not know cannot be put in arrays, hence a variable each: these do something for
 * each of eight, or of m. */
#define EIGHT(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define FOR_ROWS(m, DO)                                                                                                \
    DO(0)                                                                                                              \
    if (m > 1) DO(1)                                                                                                   \
    if (m > 2) DO(2)                                                                                                   \
    if (m > 3) DO(3)                                                                                                   \
    if (m > 4) DO(4)                                                                                                   \
    if (m > 5) DO(5)                                                                                                   \
    if (m > 6) DO(6)                                                                                                   \
    if (m > 7) DO(7)

/* The first value of a row's chains (K6), one vector of them. */
EXN_INLINE exn_vec start(svbool_t cut, const float *c, const float *bias, bool accumulate) {
    if (accumulate) return svld1_f32(cut, c);
    return bias ? svld1_f32(cut, bias) : svdup_n_f32(0.0f);
}

EXN_INLINE void finish(svbool_t cut, exn_vec x, float *c, const float *residual, const exn_epilogue *e) {
    if (residual) x = svadd_f32_x(svptrue_b32(), x, svld1_f32(cut, residual));
    if (e->activation == EXN_ACT_CLAMP) x = exn_vec_clamp(x, exn_vec_set1(e->lo), exn_vec_set1(e->hi));
    svst1_f32(cut, c, x);
}

/* One k: two vectors of a row of B, times lane `lane` of each quad of A. */
#define STEP_LANE(lane)                                                                                                \
    do {                                                                                                               \
        const exn_vec y0 = svld1_f32(low, b), y1 = svld1_f32(high, b + lanes);                                         \
        FOR_ROWS(m, LANE_##lane)                                                                                       \
        b += b_row;                                                                                                    \
    } while (0);
#define LANE_OF(i, lane)                                                                                               \
    {                                                                                                                  \
        l##i = svmla_lane_f32(l##i, y0, x##i, lane);                                                                   \
        h##i = svmla_lane_f32(h##i, y1, x##i, lane);                                                                   \
    }
#define LANE_0(i) LANE_OF(i, 0)
#define LANE_1(i) LANE_OF(i, 1)
#define LANE_2(i) LANE_OF(i, 2)
#define LANE_3(i) LANE_OF(i, 3)

/* m rows, a constant, of n columns, at most two vectors; whole, a constant: exactly two. */
EXN_INLINE void run_rows(const size_t m, const bool whole, EXN_TILE_PARAMETERS) {
    const size_t lanes = svcntw();
    const svbool_t low = whole ? svptrue_b32() : exn_vec_first(n);
    const svbool_t high = whole ? svptrue_b32() : svwhilelt_b32_u64(lanes, n);
    const float *const bias1 = e->bias ? e->bias + lanes : NULL;
#define DECLARE(i) exn_vec l##i = exn_vec_set1(0.0f), h##i = l##i, x##i = l##i;
    EIGHT(DECLARE)
#undef DECLARE
#define START(i)                                                                                                       \
    {                                                                                                                  \
        l##i = start(low, c + (i)*c_row, e->bias, e->accumulate);                                                      \
        h##i = start(high, c + (i)*c_row + lanes, bias1, e->accumulate);                                               \
    }
    FOR_ROWS(m, START)
#undef START
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        size_t p = k;
        for (; a_col == 1 && p >= 4; p -= 4, x += 4) { /* four k over contiguous A: a quad of each row, in every quad */
#define QUAD(i) x##i = svld1rq_f32(svptrue_b32(), x + (i)*a_row);
            FOR_ROWS(m, QUAD)
#undef QUAD
            STEP_LANE(0)
            STEP_LANE(1)
            STEP_LANE(2)
            STEP_LANE(3)
        }
        for (; p > 0; p--, x += a_col, b += b_row) {
            const exn_vec y0 = svld1_f32(low, b), y1 = svld1_f32(high, b + lanes);
#define ONE(i)                                                                                                         \
    {                                                                                                                  \
        x##i = exn_vec_set1(x[(i)*a_row]);                                                                             \
        l##i = exn_vec_fma(x##i, y0, l##i);                                                                            \
        h##i = exn_vec_fma(x##i, y1, h##i);                                                                            \
    }
            FOR_ROWS(m, ONE)
#undef ONE
        }
    }
#define FINISH(i)                                                                                                      \
    {                                                                                                                  \
        const float *const residual = e->residual ? e->residual + (i)*e->residual_row : NULL;                          \
        finish(low, l##i, c + (i)*c_row, residual, e);                                                                 \
        finish(high, h##i, c + (i)*c_row + lanes, residual ? residual + lanes : NULL, e);                              \
    }
    FOR_ROWS(m, FINISH)
#undef FINISH
}

#define ROWS(m, whole)                                                                                                 \
    case m:                                                                                                            \
        run_rows(m, whole, EXN_TILE_ARGUMENTS);                                                                        \
        break;

static void run_whole(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        ROWS(1, true)
        ROWS(2, true)
        ROWS(3, true)
        ROWS(4, true)
        ROWS(5, true)
        ROWS(6, true)
        ROWS(7, true)
        ROWS(8, true)
    }
}

static void run_partial(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        ROWS(1, false)
        ROWS(2, false)
        ROWS(3, false)
        ROWS(4, false)
        ROWS(5, false)
        ROWS(6, false)
        ROWS(7, false)
        ROWS(8, false)
    }
}

/* A single row of up to eight vectors; those beyond n have no lanes. */
static void run_row(EXN_TILE_PARAMETERS) {
    const size_t lanes = svcntw();
#define START(j)                                                                                                       \
    const svbool_t cut##j = svwhilelt_b32_u64((j)*lanes, n);                                                           \
    exn_vec s##j = start(cut##j, c + (j)*lanes, e->bias ? e->bias + (j)*lanes : NULL, e->accumulate);
    EIGHT(START)
#undef START
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--, x += a_col, b += b_row) {
            const exn_vec all = exn_vec_set1(*x);
#define STEP(j) s##j = exn_vec_fma(all, svld1_f32(cut##j, b + (j)*lanes), s##j);
            EIGHT(STEP)
#undef STEP
        }
    }
#define FINISH(j) finish(cut##j, s##j, c + (j)*lanes, e->residual ? e->residual + (j)*lanes : NULL, e);
    EIGHT(FINISH)
#undef FINISH
    (void)a_row, (void)c_row;
}

void exn_f32_gemm_8x32_sve(size_t m, EXN_TILE_PARAMETERS) {
    const size_t most = 2 * svcntw();
    if (m == 1 && n > most) {
        run_row(EXN_TILE_ARGUMENTS);
        return;
    }
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += most) {
        const size_t columns = n - j < most ? n - j : most;
        if (columns == most)
            run_whole(m, columns, k, segments, a, a_row, a_col, a_segment, b + j, b_row, c + j, c_row, &at);
        else
            run_partial(m, columns, k, segments, a, a_row, a_col, a_segment, b + j, b_row, c + j, c_row, &at);
        if (at.bias) at.bias += most;
        if (at.residual) at.residual += most;
    }
}
