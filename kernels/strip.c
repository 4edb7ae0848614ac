/* SPDX-License-Identifier: Apache-2.0
 * Padded copies of input rows. */
#include "kernels/strip.h"
#include <string.h>

/* One row of the image, or NULL outside it. */
static const float *row_of(const float *image, ptrdiff_t y, size_t h, size_t w, size_t c) {
    return y >= 0 && (size_t)y < h ? image + (size_t)y * w * c : NULL;
}

/* Pixels x .. x+pixels-1 of a row, zero where they or the row do not exist. */
static void copy_pixels(float *to, const exn_strip *strip, const float *row, ptrdiff_t x, size_t pixels, size_t w,
                        size_t c) {
    const size_t bytes = strip->channels * sizeof *to;
    const size_t before = x < 0 ? (size_t)-x : 0, left = before < pixels ? before : pixels;
    size_t inside = 0;
    if (row && left < pixels && (size_t)(x + (ptrdiff_t)left) < w) {
        const size_t first = (size_t)(x + (ptrdiff_t)left);
        inside = pixels - left < w - first ? pixels - left : w - first;
        const float *from = row + first * c + strip->channel;
        float *const middle = to + left * strip->channels;
        if (strip->channels == c)
            memcpy(middle, from, inside * bytes);
        else
            for (size_t p = 0; p < inside; p++, from += c) memcpy(middle + p * strip->channels, from, bytes);
    }
    memset(to, 0, left * bytes);
    memset(to + (left + inside) * strip->channels, 0, (pixels - left - inside) * bytes);
}

void exn_strip_copy(float *to, const exn_strip *strip, const float *image, size_t h, size_t w, size_t c) {
    for (size_t r = 0; r < strip->rows; r++, to += strip->pixels * strip->channels)
        copy_pixels(to, strip, row_of(image, strip->first_row + (ptrdiff_t)r, h, w, c), strip->first_pixel,
                    strip->pixels, w, c);
}

void exn_strip_expand(float *to, const exn_strip *strip, const float *image, size_t h, size_t w, size_t c, size_t kw,
                      size_t stride, size_t dilation) {
    for (size_t r = 0; r < strip->rows; r++) {
        const float *const row = row_of(image, strip->first_row + (ptrdiff_t)r, h, w, c);
        for (size_t p = 0; p < strip->pixels; p++)
            for (size_t kx = 0; kx < kw; kx++, to += strip->channels)
                copy_pixels(to, strip, row, strip->first_pixel + (ptrdiff_t)(p * stride + kx * dilation), 1, w, c);
    }
}
