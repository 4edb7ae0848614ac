/* SPDX-License-Identifier: Apache-2.0
 * Padded copies of some input rows, so that kernels never meet a border. Private to kernels/. */
#ifndef EXN_KERNELS_STRIP_H
#define EXN_KERNELS_STRIP_H

#include "kernels/conv.h"

/* The window of one NHWC image that a strip holds; what lies outside the image is zero. */
typedef struct exn_strip {
    ptrdiff_t first_row, first_pixel; /* in the image, may be negative */
    size_t rows, pixels;
    size_t channel, channels; /* slice of the image's channels */
} exn_strip;

/* Copies it densely, [rows][pixels][channels], from the image at `image` of h x w x c. */
void exn_strip_copy(float *to, const exn_strip *strip, const float *image, size_t h, size_t w, size_t c);
/* The same with every pixel replaced by the kw taps of an output pixel, [rows][outputs][kw][channels], where output p
 * reads pixels p*stride + kx*dilation from first_pixel on. strip->pixels counts outputs. */
void exn_strip_expand(float *to, const exn_strip *strip, const float *image, size_t h, size_t w, size_t c, size_t kw,
                      size_t stride, size_t dilation);

/* Pixels (or rows) that `outputs` outputs read: (outputs-1)*stride + (taps-1)*dilation + 1; 0 for no outputs. */
static inline size_t exn_strip_span(size_t outputs, size_t taps, size_t stride, size_t dilation) {
    return outputs == 0 ? 0 : (outputs - 1) * stride + (taps - 1) * dilation + 1;
}

#endif
