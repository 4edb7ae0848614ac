/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernel in RISC-V Vector: seven rows of four registers each, and four more for B, fill the register file at any
 * vector length. The tile is 32 columns wide for everyone, so that packed weights do not depend on the machine: vectors of
 * 128 bits take them in two goes, longer ones in one, which need not be full. */
#include "arch/rvv/gemm.h"
#include "kernels/gemm_parameters.h"
#include "kernels/unroll.h"

#include <riscv_vector.h>

typedef vfloat32m4_t row;

EXN_INLINE row row_load(const float *p, size_t n) {
    return __riscv_vle32_v_f32m4(p, n);
}

/* The first value of the chains of row i (K6). */
EXN_INLINE row row_start(size_t i, size_t n, const float *c, ptrdiff_t c_row, const exn_epilogue *e) {
    if (e->accumulate) return row_load(c + (ptrdiff_t)i * c_row, n);
    return e->bias ? row_load(e->bias, n) : __riscv_vfmv_v_f_f32m4(0.0f, n);
}

/* vfmin and vfmax would drop NaN and -0. */
EXN_INLINE row row_clamp(row x, float lo, float hi, size_t n) {
    x = __riscv_vfmerge_vfm_f32m4(x, lo, __riscv_vmflt_vf_f32m4_b8(x, lo, n), n);
    return __riscv_vfmerge_vfm_f32m4(x, hi, __riscv_vmfgt_vf_f32m4_b8(x, hi, n), n);
}

EXN_INLINE void row_finish(row x, size_t i, size_t n, float *c, ptrdiff_t c_row, const exn_epilogue *e) {
    if (e->residual) x = __riscv_vfadd_vv_f32m4(x, row_load(e->residual + (ptrdiff_t)i * e->residual_row, n), n);
    if (e->activation == EXN_ACT_CLAMP) x = row_clamp(x, e->lo, e->hi, n);
    __riscv_vse32_v_f32m4(c + (ptrdiff_t)i * c_row, x, n);
}

/* m rows, a constant, of n columns, at most a row's registers. Vectors without a length known to the compiler cannot be put in
 * arrays, hence a variable each. */
EXN_INLINE void run_rows(const size_t m, EXN_TILE_PARAMETERS) {
    row s0 = row_start(0, n, c, c_row, e), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0;
    if (m > 1) s1 = row_start(1, n, c, c_row, e);
    if (m > 2) s2 = row_start(2, n, c, c_row, e);
    if (m > 3) s3 = row_start(3, n, c, c_row, e);
    if (m > 4) s4 = row_start(4, n, c, c_row, e);
    if (m > 5) s5 = row_start(5, n, c, c_row, e);
    if (m > 6) s6 = row_start(6, n, c, c_row, e);
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--, x += a_col, b += b_row) {
            const row y = row_load(b, n);
            s0 = __riscv_vfmacc_vf_f32m4(s0, x[0], y, n);
            if (m > 1) s1 = __riscv_vfmacc_vf_f32m4(s1, x[a_row], y, n);
            if (m > 2) s2 = __riscv_vfmacc_vf_f32m4(s2, x[2 * a_row], y, n);
            if (m > 3) s3 = __riscv_vfmacc_vf_f32m4(s3, x[3 * a_row], y, n);
            if (m > 4) s4 = __riscv_vfmacc_vf_f32m4(s4, x[4 * a_row], y, n);
            if (m > 5) s5 = __riscv_vfmacc_vf_f32m4(s5, x[5 * a_row], y, n);
            if (m > 6) s6 = __riscv_vfmacc_vf_f32m4(s6, x[6 * a_row], y, n);
        }
    }
    row_finish(s0, 0, n, c, c_row, e);
    if (m > 1) row_finish(s1, 1, n, c, c_row, e);
    if (m > 2) row_finish(s2, 2, n, c, c_row, e);
    if (m > 3) row_finish(s3, 3, n, c, c_row, e);
    if (m > 4) row_finish(s4, 4, n, c, c_row, e);
    if (m > 5) row_finish(s5, 5, n, c, c_row, e);
    if (m > 6) row_finish(s6, 6, n, c, c_row, e);
}

#define ROWS(m)                                                                                                        \
    case m:                                                                                                            \
        run_rows(m, EXN_TILE_ARGUMENTS);                                                                               \
        break;

static void run_columns(size_t m, EXN_TILE_PARAMETERS) {
    switch (m) {
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
        ROWS(5)
        ROWS(6)
        ROWS(7)
    }
}

void exn_f32_gemm_7x32_rvv(size_t m, EXN_TILE_PARAMETERS) {
    const size_t most = __riscv_vsetvlmax_e32m4();
    if (n <= most) {
        if (n > 0) run_columns(m, EXN_TILE_ARGUMENTS);
        return;
    }
    exn_epilogue at = *e;
    for (size_t j = 0; j < n; j += most) {
        run_columns(m, n - j < most ? n - j : most, k, segments, a, a_row, a_col, a_segment, b + j, b_row, c + j, c_row,
                    &at);
        if (at.bias) at.bias += most;
        if (at.residual) at.residual += most;
    }
}
