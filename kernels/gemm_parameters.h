/* SPDX-License-Identifier: Apache-2.0
 * How a micro-kernel hands its arguments to what it inlines. */
#ifndef EXN_KERNELS_GEMM_PARAMETERS_H
#define EXN_KERNELS_GEMM_PARAMETERS_H

#include "kernels/kernel_set.h"

/* The arguments of exn_f32_gemm_fn after m. They are passed on one by one: gathered into a struct, compilers copy the
 * pushed words by vector loads, which stall on store forwarding at every tile. */
#define EXN_TILE_PARAMETERS                                                                                            \
    size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, ptrdiff_t a_segment,        \
        const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const exn_epilogue *e
#define EXN_TILE_ARGUMENTS n, k, segments, a, a_row, a_col, a_segment, b, b_row, c, c_row, e

#endif
