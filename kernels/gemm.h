/* SPDX-License-Identifier: Apache-2.0
 * Matrix product over any set's micro-kernel. */
#ifndef EXN_KERNELS_GEMM_H
#define EXN_KERNELS_GEMM_H

#include "core/threads.h"
#include "kernels/kernel_set.h"

/* Weights of a later layer that memory should start to bring: a hint, count 0 for none. */
typedef struct exn_ahead {
    const float *at;
    size_t count; /* floats */
} exn_ahead;

/* C[m x n] = epilogue(A[m x k] * B[k x n]) with any strides on A; B packed (exn_gemm_pack) or a plain row-major matrix. */
typedef struct exn_gemm {
    const exn_f32_gemm *tile;
    const exn_f32_vector *vector;
    size_t m, n, k;
    ptrdiff_t a_row, a_col, b_row, c_row; /* b_row is used for a plain B only */
    bool packed;
    exn_ahead ahead;
    exn_epilogue e; /* bias: plain B only, [n]; a packed B carries its own. residual_row is set by the caller */
} exn_gemm;

/* Tile of `set` with the least estimated time for this shape. */
const exn_f32_gemm *exn_gemm_choose(const exn_kernel_set *set, size_t m, size_t n, size_t k);
/* Estimated time of m x n outputs for each of the k, in multiply-adds of a core at its peak. */
double exn_gemm_cost(const exn_f32_gemm *tile, size_t m, size_t n, size_t k);
/* Floats of the packed form: ceil(n/nr) panels of [bias nr][k rows of nr], columns beyond n zero. */
size_t exn_gemm_packed_count(const exn_f32_gemm *tile, size_t n, size_t k);
/* B(p, j) = b[p*b_row + j*b_col] * (scale ? scale[j] : 1); bias may be NULL: zero. */
void exn_gemm_pack(float *packed, const exn_f32_gemm *tile, size_t n, size_t k, const float *b, ptrdiff_t b_row,
                   ptrdiff_t b_col, const float *scale, const float *bias);
/* This part's share. a, b, c, residual are the matrices' first elements; residual may be NULL or equal c. */
void exn_gemm_run(const exn_gemm *g, const float *a, const float *b, float *c, const float *residual, exn_part part);

#endif
