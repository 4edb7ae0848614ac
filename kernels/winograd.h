/* SPDX-License-Identifier: Apache-2.0
 * How a Winograd convolution is cut into blocks, as its driver and its packer both see it. Private to kernels/. */
#ifndef EXN_KERNELS_WINOGRAD_H
#define EXN_KERNELS_WINOGRAD_H

#include "kernels/conv.h"

/* Packed weights: the bias, then group by group of output channels, position by position, the group's GEMM panels. */
typedef struct exn_winograd_layout {
    size_t outputs, positions;  /* a tile makes outputs^2 from (outputs + 2)^2 = positions */
    size_t down, across, tiles; /* tiles of an image's column and row; of all images */
    size_t group;               /* output channels whose products exist at a time: whole panels */
    size_t block;               /* tiles whose transformed inputs exist at a time */
    size_t bias_count;          /* floats before the panels */
    size_t in_pitch, out_pitch; /* floats between positions, inputs and products */
} exn_winograd_layout;

exn_winograd_layout exn_winograd_layout_of(const exn_conv *conv);
/* Columns of the group that starts at `column`. */
size_t exn_winograd_columns(const exn_winograd_layout *l, const exn_conv *conv, size_t column);
/* Floats before the panels of (group that starts at `column`, position). */
size_t exn_winograd_panels_at(const exn_winograd_layout *l, const exn_conv *conv, size_t column, size_t position);

#endif
