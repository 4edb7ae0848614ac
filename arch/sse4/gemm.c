/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in SSE4.1: eight sums, two vectors of B, an element of A and a product in 16 registers. */
#include "arch/sse4/gemm.h"
#include "arch/sse4/vec.h"
#include "kernels/gemm_tile_body.h"

#define LANES EXN_VEC_LANES

EXN_INLINE void run_8(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, true)
        EXN_TILE_ROWS(2, 2, true)
        EXN_TILE_ROWS(3, 2, true)
        EXN_TILE_ROWS(4, 2, true)
    }
}

EXN_INLINE void run_above_4(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, false)
        EXN_TILE_ROWS(2, 2, false)
        EXN_TILE_ROWS(3, 2, false)
        EXN_TILE_ROWS(4, 2, false)
    }
}

EXN_INLINE void run_to_4(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 1, false)
        EXN_TILE_ROWS(2, 1, false)
        EXN_TILE_ROWS(3, 1, false)
        EXN_TILE_ROWS(4, 1, false)
    }
}

void exn_f32_gemm_4x8_sse4(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 2 * LANES)
        run_8(m, EXN_TILE_ARGUMENTS);
    else if (n > LANES)
        run_above_4(m, EXN_TILE_ARGUMENTS);
    else if (n > 0)
        run_to_4(m, EXN_TILE_ARGUMENTS);
}

/* Fewer columns than a whole row go 8 at a time. */
static void run_part_of_row(EXN_TILE_PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_4x8_sse4(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment, b + j,
                              b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

void exn_f32_gemm_1x32_sse4(size_t m, EXN_TILE_PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        exn_tile_run(EXN_TILE_ARGUMENTS, 1, 8, true);
    else
        run_part_of_row(EXN_TILE_ARGUMENTS);
}
