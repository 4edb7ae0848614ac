/* SPDX-License-Identifier: Apache-2.0
 * The fully connected layer of a head, and its gradients: three matrix products over one micro-kernel. */
#include "kernels/backward.h"
#include "kernels/block.h"
#include "kernels/gemm.h"

/* Columns of one share of db: whole cache lines. */
#define GRAIN_COLUMNS 16u

size_t exn_linear_workspace_bytes(const exn_kernel_set *set, size_t n, size_t k) {
    size_t most = 0;
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++)
        most = exn_max(most, exn_gemm_packed_count(&set->f32_gemm[i], n, k));
    return most * sizeof(float);
}

void exn_linear_forward(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *x, const float *w,
                        const float *b, float *y, void *workspace, exn_part part) {
    const exn_f32_gemm *tile = exn_gemm_choose(set, m, n, k);
    float *const packed = workspace;
    size_t first, last;
    exn_part_range(&first, &last, part, exn_panels(tile, n), 1);
    exn_gemm_pack_panels(packed, tile, n, k, w, 1, (ptrdiff_t)k, NULL, b, first, last);
    exn_barrier(part);
    const exn_gemm product = {.tile = tile,
                              .vector = &set->f32_vector,
                              .m = m,
                              .n = n,
                              .k = k,
                              .a_row = (ptrdiff_t)k,
                              .a_col = 1,
                              .c_row = (ptrdiff_t)n,
                              .packed = true};
    exn_gemm_run(&product, x, packed, y, NULL, part);
}

/* dX[m x k] += dY[m x n] * W[n x k]. */
static void input_gradient(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *w, const float *dy,
                           float *dx, exn_part part) {
    const exn_gemm product = {.tile = exn_gemm_choose(set, m, k, n),
                              .vector = &set->f32_vector,
                              .m = m,
                              .n = k,
                              .k = n,
                              .a_row = (ptrdiff_t)n,
                              .a_col = 1,
                              .b_row = (ptrdiff_t)k,
                              .c_row = (ptrdiff_t)k,
                              .e = {.accumulate = true}};
    exn_gemm_run(&product, dy, w, dx, NULL, part);
}

/* dW[n x k] += dY^T[n x m] * X[m x k]. */
static void weight_gradient(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *x, const float *dy,
                            float *dw, exn_part part) {
    const exn_gemm product = {.tile = exn_gemm_choose(set, n, k, m),
                              .vector = &set->f32_vector,
                              .m = n,
                              .n = k,
                              .k = m,
                              .a_row = 1,
                              .a_col = (ptrdiff_t)n,
                              .b_row = (ptrdiff_t)k,
                              .c_row = (ptrdiff_t)k,
                              .e = {.accumulate = true}};
    exn_gemm_run(&product, dy, x, dw, NULL, part);
}

void exn_linear_backward(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *x, const float *w,
                         const float *dy, float *dx, float *dw, float *db, void *workspace, exn_part part) {
    (void)workspace; /* every product reads its operands where they are */
    if (dx) input_gradient(set, m, n, k, w, dy, dx, part);
    if (dw) weight_gradient(set, m, n, k, x, dy, dw, part);
    if (db) {
        size_t first, last;
        exn_part_range(&first, &last, part, n, GRAIN_COLUMNS);
        if (first < last)
            set->f32_vector.reduce_columns(EXN_REDUCE_SUM, m, last - first, dy + first, (ptrdiff_t)n, true, db + first);
    }
}
