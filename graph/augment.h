/* SPDX-License-Identifier: Apache-2.0
 * A second look at a photo, for training on general data. */
#ifndef EXN_GRAPH_AUGMENT_H
#define EXN_GRAPH_AUGMENT_H

#include "core/rng.h"
#include "graph/preprocess.h"

/* As exn_preprocess_image, of a part of the image chosen at random: half of its area or more, sides up to a third longer or
 * shorter than each other's share, mirrored every second time, up to a fifth brighter or darker. The image is consistent
 * (exn_preprocess_image accepts it); the same numbers in *rng give the same floats on every machine. */
exn_status exn_augment_image(float *hwc, exn_resizer *resizer, const exn_image *image, const exn_preprocess *options,
                             size_t height, size_t width, size_t channels, exn_rng *rng);

#endif
