/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operations with broadcasting, permutation, copies, reductions and softmax over any axis. */
#ifndef EXN_KERNELS_ELEMENTWISE_H
#define EXN_KERNELS_ELEMENTWISE_H

#include "core/tensor.h"
#include "core/threads.h"
#include "kernels/kernel_set.h"

/* y[i] = act(x[i]), any of exn_activation; y may be x. */
void exn_unary(const exn_f32_vector *vector, exn_activation act, size_t n, const float *x, float *y, float lo,
               float hi);
/* y[i] = a[i * a_step] op b[i * b_step], any of exn_binary, steps 0 or 1; y may be a or b where its step is 1. */
void exn_pair(const exn_f32_vector *vector, exn_binary op, size_t n, const float *a, size_t a_step, const float *b,
              size_t b_step, float *y);
/* A part's share of exn_unary. */
void exn_activate(const exn_f32_vector *vector, exn_activation act, size_t n, const float *x, float *y, float lo,
                  float hi, exn_part part);
/* y[i] = x[i] < 0 ? slope[i % channels] * x[i] : x[i]; channels last. slopes 1: one slope for all. */
void exn_prelu(const exn_f32_vector *vector, size_t n, size_t channels, const float *slope, const float *x, float *y,
               exn_part part);
/* NumPy broadcasting of a and b to the shape y; all row-major in memory order. */
void exn_binary_broadcast(const exn_f32_vector *vector, exn_binary op, const exn_shape *y_shape,
                          const exn_shape *a_shape, const float *a, const exn_shape *b_shape, const float *b, float *y,
                          exn_part part);
/* y dimension i is x dimension order[i]. */
void exn_permute(const exn_shape *x_shape, const size_t order[], const float *x, float *y, exn_part part);
/* Copies a box: for every index of `box`, y[sum i*y_stride] = x[sum i*x_stride]; strides in elements, may be negative. */
void exn_copy_box(const exn_shape *box, const float *x, const ptrdiff_t x_stride[], float *y,
                  const ptrdiff_t y_stride[], exn_part part);
void exn_fill(size_t n, float value, float *y, exn_part part);
/* Mean, sum or max over the axes whose bit is set; y row-major over the axes that remain. Sum order: K6. */
typedef enum exn_reduce_kind { EXN_REDUCE_MEAN_OF, EXN_REDUCE_SUM_OF, EXN_REDUCE_MAX_OF } exn_reduce_kind;
void exn_reduce_axes(const exn_f32_vector *vector, exn_reduce_kind kind, const exn_shape *x_shape, uint32_t axes,
                     const float *x, float *y, exn_part part);
/* Over an axis with `n` elements `inner` apart, for outer*inner lines. log: log-softmax. */
void exn_softmax(const exn_f32_vector *vector, bool log, size_t outer, size_t n, size_t inner, const float *x, float *y,
                 exn_part part);

#endif
