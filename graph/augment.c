/* SPDX-License-Identifier: Apache-2.0
 * Random crop, mirror and brightness, by plain arithmetic alone. */
#include "graph/augment.h"

#include "graph/resize.h"

#include <math.h>

#define LEAST_AREA 0.5
#define MOST_ASPECT (4.0 / 3.0)
#define MOST_BRIGHTENING 0.2f

static double between(exn_rng *rng, double least, double most) {
    return least + (most - least) * (double)exn_rng_uniform(rng);
}

static size_t side(double wanted, size_t most) {
    const size_t whole = wanted < 1.0 ? 1 : (size_t)wanted;
    return whole < most ? whole : most;
}

/* A part of the image, as a view of it. */
static exn_image choose_part(const exn_image *image, exn_rng *rng) {
    const double area = between(rng, LEAST_AREA, 1.0) * (double)image->width * (double)image->height;
    const double stretch = between(rng, 1.0, MOST_ASPECT);
    const double aspect = exn_rng_below(rng, 2) ? stretch : 1.0 / stretch;
    exn_image part = *image;
    part.row_bytes = image->row_bytes ? image->row_bytes : image->width * image->channels;
    part.width = side(sqrt(area * aspect), image->width);
    part.height = side(sqrt(area / aspect), image->height);
    const size_t left = exn_rng_below(rng, (uint32_t)(image->width - part.width + 1));
    const size_t top = exn_rng_below(rng, (uint32_t)(image->height - part.height + 1));
    part.pixels += top * part.row_bytes + left * image->channels;
    return part;
}

exn_status exn_augment_image(float *hwc, exn_resizer *resizer, const exn_image *image, const exn_preprocess *options,
                             size_t height, size_t width, size_t channels, exn_rng *rng) {
    exn_preprocess how = *options;
    const exn_resize resize = {.width = width, .height = height, .crop_width = width, .crop_height = height};
    const uint8_t *pixels;
    exn_image gray, source = *image;
    EXN_TRY(exn_preprocess_complete(&how, exn_resizer_context(resizer), height, width));
    if (channels == 1 && image->channels == 3) {
        EXN_TRY(exn_resizer_gray(&gray, resizer, image));
        source = gray;
    }
    source = choose_part(&source, rng);
    const bool mirrored = exn_rng_below(rng, 2);
    const float light = (float)between(rng, 1.0 - (double)MOST_BRIGHTENING, 1.0 + (double)MOST_BRIGHTENING);
    EXN_TRY(exn_resizer_run(&pixels, resizer, &source, &resize));
    for (size_t p = 0; p < height * width; p++) {
        const size_t x = p % width, from = mirrored ? p - x + (width - 1 - x) : p;
        for (size_t c = 0; c < channels; c++) {
            const size_t channel = source.channels == 1 ? 0 : how.order == EXN_ORDER_BGR ? 2 - c : c;
            const float lit = (float)pixels[from * source.channels + channel] * light;
            hwc[p * channels + c] = ((lit < 255.0f ? lit : 255.0f) - how.mean[c]) / how.deviation[c];
        }
    }
    return EXN_OK;
}
