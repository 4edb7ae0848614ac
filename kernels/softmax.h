/* SPDX-License-Identifier: Apache-2.0
 * Pieces of softmax that losses share. Private to kernels/. */
#ifndef EXN_KERNELS_SOFTMAX_H
#define EXN_KERNELS_SOFTMAX_H

#include "kernels/kernel_set.h"

/* Row reductions without memory of their own work in pieces of this many elements: part of the arithmetic, since each
 * piece is one 16-lane tree and the pieces' sums ascend. */
#define EXN_SOFTMAX_PIECE 256u

/* Sum of exp((x[i] - shift) * scale). */
float exn_row_sum_exp(const exn_f32_vector *vector, size_t n, const float *x, float shift, float scale);
/* Natural logarithm, by the set's vector slot. */
float exn_log_of(const exn_f32_vector *vector, float x);

#endif
