/* SPDX-License-Identifier: Apache-2.0
 * From 8-bit pixels to the network's input. */
#ifndef EXN_GRAPH_PREPROCESS_H
#define EXN_GRAPH_PREPROCESS_H

#include "core/context.h"

/* Scratch for resizing that grows as needed and is kept between calls. */
typedef struct exn_resizer exn_resizer;
exn_status exn_resizer_create(exn_resizer **out, exn_context *ctx);
void exn_resizer_destroy(exn_resizer *resizer);

/* Resizes the shorter side to options->size with the antialiasing triangle filter that Pillow calls bilinear (support
 * scales with the reduction; 8-bit result as Pillow rounds it), crops the centre height x width, orders channels, and
 * writes (v - mean) / deviation as height x width x channels floats. Channels: 3, or 1 for ORDER_GRAY (ITU-R 601
 * luma). EXN_E_INVALID for an empty or inconsistent image. May allocate. */
exn_status exn_preprocess_image(float *hwc, exn_resizer *resizer, const exn_image *image, const exn_preprocess *options,
                                size_t height, size_t width, size_t channels);
/* The same in two steps, for whoever wants to normalise again: pixels as height x width x channels bytes in the network's order,
 * then (v - mean) / deviation of each. Together they give the bits of exn_preprocess_image. options of the second: complete. */
exn_status exn_preprocess_bytes(uint8_t *hwc, exn_resizer *resizer, const exn_image *image,
                                const exn_preprocess *options, size_t height, size_t width, size_t channels);
void exn_preprocess_scale(float *hwc, const uint8_t *bytes, const exn_preprocess *options, size_t pixels,
                          size_t channels);
/* deviation 0 replaced by the defaults, size 0 by the larger side of the input; EXN_E_INVALID for NaN or negative values. */
exn_status exn_preprocess_complete(exn_preprocess *options, exn_context *ctx, size_t height, size_t width);

#endif
