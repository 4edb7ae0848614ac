/* SPDX-License-Identifier: Apache-2.0
 * Pooling over windows, NHWC. */
#ifndef EXN_KERNELS_WINDOW_H
#define EXN_KERNELS_WINDOW_H

#include "core/threads.h"
#include "kernels/kernel_set.h"

typedef enum exn_window_kind { EXN_WINDOW_MAX, EXN_WINDOW_AVERAGE } exn_window_kind;

typedef struct exn_window {
    exn_window_kind kind;
    bool count_padding; /* averages divide by kh*kw even where the window hangs over; ONNX count_include_pad */
    bool
        adaptive; /* output cell i covers rows floor(i*h/oh) .. ceil((i+1)*h/oh)-1, as PyTorch's adaptive pooling; kernel, stride, padding unused */
    size_t n, h, w, c, oh, ow;
    size_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    size_t pad_bottom, pad_right; /* of the operator, for count_padding with ceil_mode: cells beyond them never count */
    size_t ring, first;           /* input row y lies in row (first + y) % ring; ring 0: in row y */
} exn_window;

void exn_window_run(const exn_window *window, const exn_f32_vector *vector, const float *in, float *out, exn_part part);
/* dx += the gradient of an average; in deterministic ascending order. dy: n*oh*ow*c. */
void exn_window_average_backward(const exn_window *window, const exn_f32_vector *vector, const float *dy, float *dx,
                                 exn_part part);
/* Global: mean or maximum over h*w of each channel; out[n][c]. */
void exn_global_pool(exn_window_kind kind, size_t n, size_t hw, size_t c, const exn_f32_vector *vector, const float *in,
                     float *out, exn_part part);

#endif
