/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AArch64 Advanced SIMD. */
#include "arch/neon/gemm.h"
#include "arch/neon/vec.h"
#include "kernels/gemm_tile_body.h"

#define LANES EXN_VEC_LANES

/* For tiles by lanes, whose four rows of B are in flight at once: GCC's scheduler, run before registers are given out, mixes
 * them until sums have to be copied about. The other tiles want it: their loads must not stand before their uses. */
#ifdef __clang__
#define AS_WRITTEN
#else
#define AS_WRITTEN __attribute__((optimize("no-schedule-insns")))
#endif

/* acc += column `lane` of the rows in x times row `lane` of B; lane must be a literal. */
#define LANE_STEP(lane)                                                                                                \
    do {                                                                                                               \
        exn_vec row[8];                                                                                                \
        EXN_UNROLL for (size_t j = 0; j < v; j++) row[j] = exn_vec_load(b + (lane)*b_row + j * LANES);                 \
        EXN_UNROLL for (size_t i = 0; i < m; i++) {                                                                    \
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = vfmaq_laneq_f32(acc[i][j], row[j], x[i], lane);      \
        }                                                                                                              \
    } while (0)

/* Four k over contiguous A: one load of each row of A, then its lanes. */
EXN_INLINE void step_by_lanes(exn_tile acc, const float *a, ptrdiff_t a_row, const float *b, ptrdiff_t b_row,
                              const size_t m, const size_t v) {
    exn_vec x[8];
    EXN_UNROLL for (size_t i = 0; i < m; i++) x[i] = exn_vec_load(a + (ptrdiff_t)i * a_row);
    LANE_STEP(0);
    LANE_STEP(1);
    LANE_STEP(2);
    LANE_STEP(3);
}

/* exn_tile_run for whole tiles whose accumulators leave registers for a vector of each row of A. */
EXN_INLINE void run_by_lanes(EXN_TILE_PARAMETERS, const size_t m, const size_t v) {
    const exn_tile_edge edge = {true, n};
    exn_tile acc;
    exn_tile_start(acc, c, c_row, e, m, v, edge);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        size_t p = k;
        for (; a_col == 1 && p >= LANES; p -= LANES) {
            step_by_lanes(acc, x, a_row, b, b_row, m, v);
            x += LANES;
            b += (ptrdiff_t)LANES * b_row;
        }
        for (; p > 0; p--) {
            exn_tile_step(acc, x, a_row, b, m, v, edge);
            x += a_col;
            b += b_row;
        }
    }
    exn_tile_finish(acc, c, c_row, e, m, v, edge);
}

#define LANE_ROWS(m, v)                                                                                                \
    case m:                                                                                                            \
        run_by_lanes(EXN_TILE_ARGUMENTS, m, v);                                                                        \
        break;

EXN_INLINE void run_8(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        LANE_ROWS(1, 2)
        LANE_ROWS(2, 2)
        LANE_ROWS(3, 2)
        LANE_ROWS(4, 2)
        LANE_ROWS(5, 2)
        LANE_ROWS(6, 2)
        LANE_ROWS(7, 2)
        LANE_ROWS(8, 2)
    }
}

EXN_INLINE void run_above_4(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, false)
        EXN_TILE_ROWS(2, 2, false)
        EXN_TILE_ROWS(3, 2, false)
        EXN_TILE_ROWS(4, 2, false)
        EXN_TILE_ROWS(5, 2, false)
        EXN_TILE_ROWS(6, 2, false)
        EXN_TILE_ROWS(7, 2, false)
        EXN_TILE_ROWS(8, 2, false)
    }
}

EXN_INLINE void run_to_4(size_t m, EXN_TILE_PARAMETERS) {
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

EXN_INLINE void run_12(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 3, true)
        EXN_TILE_ROWS(2, 3, true)
        EXN_TILE_ROWS(3, 3, true)
        EXN_TILE_ROWS(4, 3, true)
        EXN_TILE_ROWS(5, 3, true)
        EXN_TILE_ROWS(6, 3, true)
        EXN_TILE_ROWS(7, 3, true)
        EXN_TILE_ROWS(8, 3, true)
    }
}

EXN_INLINE void run_above_8(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 3, false)
        EXN_TILE_ROWS(2, 3, false)
        EXN_TILE_ROWS(3, 3, false)
        EXN_TILE_ROWS(4, 3, false)
        EXN_TILE_ROWS(5, 3, false)
        EXN_TILE_ROWS(6, 3, false)
        EXN_TILE_ROWS(7, 3, false)
        EXN_TILE_ROWS(8, 3, false)
    }
}

AS_WRITTEN void exn_f32_gemm_8x8_neon(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 2 * LANES)
        run_8(m, EXN_TILE_ARGUMENTS);
    else if (n > LANES)
        run_above_4(m, EXN_TILE_ARGUMENTS);
    else if (n > 0)
        run_to_4(m, EXN_TILE_ARGUMENTS);
}

void exn_f32_gemm_8x12_neon(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 3 * LANES)
        run_12(m, EXN_TILE_ARGUMENTS);
    else if (n > 2 * LANES)
        run_above_8(m, EXN_TILE_ARGUMENTS);
    else
        exn_f32_gemm_8x8_neon(m, EXN_TILE_ARGUMENTS);
}

/* Fewer columns than a whole row go 8 at a time. */
static void run_part_of_row(EXN_TILE_PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_8x8_neon(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment, b + j,
                              b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

AS_WRITTEN void exn_f32_gemm_1x32_neon(size_t m, EXN_TILE_PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        run_by_lanes(EXN_TILE_ARGUMENTS, 1, 8);
    else
        run_part_of_row(EXN_TILE_ARGUMENTS);
}
