/* SPDX-License-Identifier: Apache-2.0
 * Gradients that heads need, and losses; the rules that register them with autograd are in train/. All accumulate
 * into their outputs and are deterministic for any number of parts. */
#ifndef EXN_KERNELS_BACKWARD_H
#define EXN_KERNELS_BACKWARD_H

#include "core/threads.h"
#include "kernels/conv.h"
#include "kernels/kernel_set.h"

/* Y[m x n] = X[m x k] * W[n x k]^T + b. W is row-major [n][k], as ONNX Gemm with transB and PyTorch keep it. */
/* dX[m x k] += dY[m x n] * W;  dW[n x k] += dY^T * X;  db[n] += column sums of dY. Any of dx, dw, db may be NULL. */
void exn_linear_forward(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *x, const float *w,
                        const float *b, float *y, void *workspace, exn_part part);
size_t exn_linear_workspace_bytes(const exn_kernel_set *set, size_t n, size_t k); /* shared by all parts */
void exn_linear_backward(const exn_kernel_set *set, size_t m, size_t n, size_t k, const float *x, const float *w,
                         const float *dy, float *dx, float *dw, float *db, void *workspace, exn_part part);

/* Depthwise 3x3-like convolution with unfolded weights w[kh*kw][c] (channels last) and bias-free. */
void exn_dwconv_forward(const exn_kernel_set *set, const exn_conv_shape *shape, const float *x, const float *w,
                        float *y, void *workspace, exn_part part);
void exn_dwconv_backward(const exn_kernel_set *set, const exn_conv_shape *shape, const float *x, const float *w,
                         const float *dy, float *dx, float *dw, void *workspace, exn_part part);
size_t exn_dwconv_workspace_bytes(const exn_kernel_set *set, const exn_conv_shape *shape, size_t parts); /* shared */

/* Over rows of c channels. Training: batch mean and biased variance, saved for backward; running statistics move by
 * `momentum` (PyTorch's convention, unbiased variance); frozen: running statistics are used and not moved.
 * scale and shift may be NULL: no affine part. inv_std = 1/sqrt(var + epsilon). */
typedef struct exn_batchnorm {
    size_t rows, c;
    float epsilon, momentum;
    bool frozen;
    const float *scale, *shift;
    float *running_mean, *running_var;
    float *mean, *inv_std; /* [c] each: saved */
} exn_batchnorm;
void exn_batchnorm_forward(const exn_batchnorm *bn, const exn_f32_vector *vector, const float *x, float *y,
                           exn_part part);
/* dx, dscale, dshift accumulate; may be NULL. */
void exn_batchnorm_backward(const exn_batchnorm *bn, const exn_f32_vector *vector, const float *x, const float *dy,
                            float *dx, float *dscale, float *dshift, exn_part part);

/* Softmax with cross-entropy to a target distribution, both at one temperature:
 * *loss += sum over rows weight[r] * T^2 * (-sum_j target[r][j] * log softmax(z[r] / T)[j]); *dz likewise accumulates
 * its gradient. weight NULL: 1; dz may be NULL. Hinton, Vinyals, Dean 2015: T^2 keeps the gradient's size. For one
 * thread: rows are few. */
void exn_soft_cross_entropy(const exn_f32_vector *vector, size_t rows, size_t classes, const float *z,
                            const float *target, const float *weight, float temperature, double *loss, float *dz);

#endif
