/* SPDX-License-Identifier: Apache-2.0
 * What the GEMM-shaped drivers share: one cache block of micro-kernel calls, panels of packed weights, late
 * activations. Private to kernels/. */
#ifndef EXN_KERNELS_BLOCK_H
#define EXN_KERNELS_BLOCK_H

#include "core/threads.h"
#include "kernels/kernel_set.h"

/* Block sizes in bytes. They steer time only: results never depend on them (K6). */
#define EXN_BLOCK_L1_BYTES (16u * 1024u)
#define EXN_BLOCK_L2_BYTES (256u * 1024u)

/* What some later product will read from afar, asked for while this one multiplies: `count` floats from `at`, handed out
 * evenly over `calls` micro-kernel calls. */
typedef struct exn_asking {
    const float *at;
    size_t count, asked;
    size_t calls, call;
} exn_asking;

/* C[lines x m x n] = epilogue(sum over segments of A * B): `lines` matrices of m rows, all against the same B. */
typedef struct exn_gemm_block {
    const exn_f32_gemm *tile;
    const exn_f32_vector *vector;
    size_t lines, m, n, k, segments;
    ptrdiff_t a_line, a_row, a_col, a_segment;
    bool packed;     /* b points at a packed panel; else at B(0,0), rows b_row apart */
    ptrdiff_t b_row; /* plain B only */
    ptrdiff_t c_line, c_row, residual_line;
    exn_epilogue e;     /* bias (plain B) and residual are those of the block's element (0,0) */
    exn_asking *asking; /* or NULL */
    const float *after; /* packed: what will be read after the last panel, asked for meanwhile; or NULL */
} exn_gemm_block;

/* Panel by panel, so that a panel stays in the nearest cache while all rows pass it. */
void exn_gemm_block_run(const exn_gemm_block *block, const float *a, const float *b, float *c);
/* Activations that micro-kernels leave to drivers; does nothing for NONE and CLAMP. rows x n at c, c_row apart. */
void exn_activate_late(const exn_f32_vector *vector, const exn_epilogue *e, size_t rows, size_t n, float *c,
                       ptrdiff_t c_row);

/* Floats of one packed panel: its bias and k rows. */
static inline size_t exn_panel_count(const exn_f32_gemm *tile, size_t k) {
    return (k + 1) * tile->nr;
}
/* Panels that n columns need. */
static inline size_t exn_panels(const exn_f32_gemm *tile, size_t n) {
    return n / tile->nr + (n % tile->nr != 0);
}
/* Packs panels first .. last-1 of exn_gemm_pack's whole, each to its final place. */
void exn_gemm_pack_panels(float *packed, const exn_f32_gemm *tile, size_t n, size_t k, const float *b, ptrdiff_t b_row,
                          ptrdiff_t b_col, const float *scale, const float *bias, size_t first, size_t last);
/* True where splitting `major` items over the parts leaves no part with more than its share by more than splitting
 * `minor` items would. */
bool exn_split_major(size_t major, size_t minor, size_t parts);

static inline size_t exn_min(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t exn_max(size_t a, size_t b) {
    return a > b ? a : b;
}
static inline size_t exn_ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

#endif
