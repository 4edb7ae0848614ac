/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels in AVX2. */
#include "arch/avx2/gemm.h"
#include "arch/avx2/vec.h"
#include "kernels/gemm_tile_body.h"

#define LANES EXN_VEC_LANES

EXN_INLINE void run_16(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, true)
        EXN_TILE_ROWS(2, 2, true)
        EXN_TILE_ROWS(3, 2, true)
        EXN_TILE_ROWS(4, 2, true)
        EXN_TILE_ROWS(5, 2, true)
        EXN_TILE_ROWS(6, 2, true)
    }
}

EXN_INLINE void run_above_8(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 2, false)
        EXN_TILE_ROWS(2, 2, false)
        EXN_TILE_ROWS(3, 2, false)
        EXN_TILE_ROWS(4, 2, false)
        EXN_TILE_ROWS(5, 2, false)
        EXN_TILE_ROWS(6, 2, false)
    }
}

EXN_INLINE void run_to_8(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 1, false)
        EXN_TILE_ROWS(2, 1, false)
        EXN_TILE_ROWS(3, 1, false)
        EXN_TILE_ROWS(4, 1, false)
        EXN_TILE_ROWS(5, 1, false)
        EXN_TILE_ROWS(6, 1, false)
    }
}

EXN_INLINE void run_24(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 3, true)
        EXN_TILE_ROWS(2, 3, true)
        EXN_TILE_ROWS(3, 3, true)
        EXN_TILE_ROWS(4, 3, true)
    }
}

EXN_INLINE void run_above_16(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        EXN_TILE_ROWS(1, 3, false)
        EXN_TILE_ROWS(2, 3, false)
        EXN_TILE_ROWS(3, 3, false)
        EXN_TILE_ROWS(4, 3, false)
    }
}

void exn_f32_gemm_6x16_avx2(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 2 * LANES)
        run_16(m, EXN_TILE_ARGUMENTS);
    else if (n > LANES)
        run_above_8(m, EXN_TILE_ARGUMENTS);
    else if (n > 0)
        run_to_8(m, EXN_TILE_ARGUMENTS);
}

void exn_f32_gemm_4x24_avx2(size_t m, EXN_TILE_PARAMETERS) {
    if (n == 3 * LANES)
        run_24(m, EXN_TILE_ARGUMENTS);
    else if (n > 2 * LANES)
        run_above_16(m, EXN_TILE_ARGUMENTS);
    else
        exn_f32_gemm_6x16_avx2(m, EXN_TILE_ARGUMENTS);
}

/* Fewer columns than a whole row go 16 at a time. */
static void run_part_of_row(EXN_TILE_PARAMETERS) {
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += 2 * LANES) {
        exn_f32_gemm_6x16_avx2(1, n - j < 2 * LANES ? n - j : 2 * LANES, k, segments, a, a_row, a_col, a_segment, b + j,
                               b_row, c + j, c_row, &at);
        if (at.bias) at.bias += 2 * LANES;
        if (at.residual) at.residual += 2 * LANES;
    }
}

void exn_f32_gemm_1x64_avx2(size_t m, EXN_TILE_PARAMETERS) {
    if (m == 0) return;
    if (n == 8 * LANES)
        exn_tile_run(EXN_TILE_ARGUMENTS, 1, 8, true);
    else
        run_part_of_row(EXN_TILE_ARGUMENTS);
}
