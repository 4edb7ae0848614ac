/* SPDX-License-Identifier: Apache-2.0
 * Antialiasing resize of 8-bit images in integers: the triangle filter, widened by the reduction. */
#ifndef EXN_GRAPH_RESIZE_H
#define EXN_GRAPH_RESIZE_H

#include "graph/preprocess.h"

typedef struct exn_resize {
    size_t width, height;                      /* of the whole result, >= 1 */
    size_t left, top, crop_width, crop_height; /* the part of it that is wanted, inside the whole */
} exn_resize;

/* *out: crop_height x crop_width x channels bytes, owned by the resizer, valid until its next use. The image must be
 * consistent. Columns first, then rows; each pass rounds to 8 bits, weights have 22 fractional bits. */
exn_status exn_resizer_run(const uint8_t **out, exn_resizer *resizer, const exn_image *image, const exn_resize *resize);
/* The image in ITU-R 601 luma, (19595 R + 38470 G + 7471 B + 32768) / 65536, owned by the resizer like above. */
exn_status exn_resizer_gray(exn_image *out, exn_resizer *resizer, const exn_image *image);

exn_context *exn_resizer_context(const exn_resizer *resizer);

#endif
