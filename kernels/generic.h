/* SPDX-License-Identifier: Apache-2.0
 * The executable specification of every slot in kernel_set.h: no tiles, no vectors, fmaf. The oracle that every fused
 * set must equal bit for bit, and `scalar` within its error bound. Not for speed: no driver calls it. */
#ifndef EXN_KERNELS_GENERIC_H
#define EXN_KERNELS_GENERIC_H

#include "kernels/kernel_set.h"

/* exn_f32_gemm_fn for any m and n: the largest of tiles. */
exn_f32_gemm_fn exn_generic_gemm;
/* exn_f32_dwconv_fn with panels of `panel` channels. */
void exn_generic_dwconv(const exn_dwconv_rows *work, size_t panel);

/* exn_f32_winograd_in_fn and exn_f32_winograd_out_fn for m outputs a side: generic_winograd.c. */
void exn_generic_winograd_in(size_t m, const exn_winograd_tiles *t, const float *image, float *transformed);
void exn_generic_winograd_out(size_t m, const exn_winograd_tiles *t, const float *transformed, const float *bias,
                              float *image, const exn_epilogue *e);

/* exp, log and tanh are the vector library's, which only arch/ knows. */
typedef struct exn_generic_math {
    float (*exp)(float);
    float (*log)(float);
    float (*tanh)(float);
} exn_generic_math;

/* The slots of exn_f32_vector, same names, same arguments. */
void exn_generic_activate(const exn_generic_math *math, exn_activation act, size_t n, const float *x, float *y,
                          float lo, float hi);
float exn_generic_sum_exp(const exn_generic_math *math, size_t n, const float *x, float shift, float *y);
void exn_generic_binary(exn_binary op, size_t n, const float *a, size_t a_step, const float *b, size_t b_step,
                        float *y);
void exn_generic_scale_shift(size_t n, const float *x, const float *scale, const float *shift, float *y);
void exn_generic_axpy(size_t n, float alpha, const float *x, float *y);
float exn_generic_reduce(exn_reduction op, size_t n, const float *x);
float exn_generic_dot(size_t n, const float *x, const float *y);
void exn_generic_reduce_columns(exn_reduction op, size_t rows, size_t n, const float *x, ptrdiff_t x_row,
                                bool accumulate, float *y);
void exn_generic_pool(exn_reduction op, size_t taps, const float *const *tap, size_t n, bool accumulate, float scale,
                      float *y);
void exn_generic_clamp_backward(size_t n, const float *y, const float *dy, float lo, float hi, float *dx);
void exn_generic_dwconv_weights(size_t pixels, size_t channels, size_t kw, const float *x, ptrdiff_t in_pixel,
                                ptrdiff_t in_tap, const float *dy, ptrdiff_t out_pixel, float *dw, ptrdiff_t dw_tap);
void exn_generic_sgd(size_t n, float *w, const float *g, float *v, float rate, float momentum, float decay);
void exn_generic_adamw(size_t n, float *w, const float *g, float *m, float *v, float rate, float beta1, float beta2,
                       float epsilon, float decay, float correction1, float correction2);

#endif
