/* SPDX-License-Identifier: Apache-2.0
 * The layers that heads are made of, as steps of a tape.
 *
 * Images are N,H,W,C. Every function pushes one step; `layer` holds its state, belongs to the caller and outlives the
 * tape. Shapes are checked: EXN_E_SHAPE. */
#ifndef EXN_TRAIN_LAYERS_H
#define EXN_TRAIN_LAYERS_H

#include "core/autograd.h"
#include "kernels/backward.h"
#include "kernels/window.h"

typedef struct exn_layer {
    exn_context *ctx;
    const exn_kernel_set *set;
    size_t parts; /* threads that will replay the tape */
    union {
        exn_conv_shape conv;
        exn_batchnorm batchnorm;
        exn_window window;
        struct {
            float lo, hi;
        } clamp;
        struct {
            float temperature;
            double loss; /* of the last forward, before rounding to the tape's float */
        } entropy;
    } as;
} exn_layer;

/* y (rows, n) = x (rows, k) * w (n, k)^T + b (n). x of any rank: its last dimension is k, the others are rows and stay,
 * so that a 1x1 convolution is this layer over pixels. b may be EXN_VAR_NONE. */
exn_status exn_layer_linear(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                            exn_var w, exn_var b, size_t n);
/* y (n, oh, ow, c) = depthwise 3x3 with weights (9, c), padding 1. */
exn_status exn_layer_depthwise(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                               exn_var w, size_t stride);
/* Over all rows of the last dimension. The layer's `as.batchnorm` is filled in by the caller but for rows, c, scale and
 * shift; the flag `frozen` may change between replays. scale and shift: both variables, or both EXN_VAR_NONE. */
exn_status exn_layer_batchnorm(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                               exn_var scale, exn_var shift);
/* y = x clamped to as.clamp.lo .. as.clamp.hi; the gradient passes strictly between. */
exn_status exn_layer_clamp(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x);
/* y (n, min(h, grid), min(w, grid), c): adaptive averages. */
exn_status exn_layer_adaptive_pool(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                                   size_t grid);
/* y = (x - mean) * inv_std per feature of the last dimension; mean and inv_std are inputs (features). */
exn_status exn_layer_standardise(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                                 exn_var mean, exn_var inv_std);
/* y = x * mask, element by element; mask is an input of x's shape. */
exn_status exn_layer_mask(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                          exn_var mask);
/* y = a + b, of one shape. */
exn_status exn_layer_add(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *shape, exn_var a, exn_var b);
/* Scalar: see exn_soft_cross_entropy. z, target (rows, classes), weight (rows); target and weight are inputs. */
exn_status exn_layer_soft_cross_entropy(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *z_shape,
                                        exn_var z, exn_var target, exn_var weight);

#endif
