/* SPDX-License-Identifier: Apache-2.0
 * Preprocessing: resize, crop, order channels, normalise. */
#include "graph/preprocess.h"

#include "graph/resize.h"

#include <math.h>

exn_status exn_preprocess_complete(exn_preprocess *options, exn_context *ctx, size_t height, size_t width) {
    for (size_t c = 0; c < 3; c++) {
        const float mean = options->mean[c], deviation = options->deviation[c];
        if (!isfinite(mean) || !isfinite(deviation) || deviation < 0.0f)
            return exn_fail(ctx, EXN_E_INVALID,
                            "preprocessing: mean and deviation must be finite, deviation not negative");
        if (deviation == 0.0f) {
            options->mean[c] = 0.0f;
            options->deviation[c] = 255.0f;
        }
    }
    if ((unsigned)options->order > EXN_ORDER_GRAY)
        return exn_fail(ctx, EXN_E_INVALID, "preprocessing: unknown channel order %d", (int)options->order);
    if (options->size == 0)
        options->size = height > width ? height : width; /* whatever a photo's shape, it covers the input */
    return EXN_OK;
}

static exn_status check_image(exn_context *ctx, const exn_image *image) {
    size_t row, bytes;
    if (!image || !image->pixels || image->width == 0 || image->height == 0)
        return exn_fail(ctx, EXN_E_INVALID, "image: empty");
    if (image->channels != 1 && image->channels != 3)
        return exn_fail(ctx, EXN_E_INVALID, "image: %zu channels, 1 or 3 are possible", image->channels);
    if (!exn_size_mul(&row, image->width, image->channels) || !exn_size_mul(&bytes, row, image->height))
        return exn_fail(ctx, EXN_E_INVALID, "image: too large");
    if (image->row_bytes != 0 && (image->row_bytes < row || !exn_size_mul(&bytes, image->row_bytes, image->height)))
        return exn_fail(ctx, EXN_E_INVALID, "image: rows of %zu pixels do not fit into %zu bytes", image->width,
                        image->row_bytes);
    return EXN_OK;
}

/* The longer side keeps the aspect, rounded to nearest, halves to even. */
static exn_status place_crop(exn_resize *out, exn_context *ctx, const exn_image *image, size_t size, size_t height,
                             size_t width) {
    const bool wide = image->width >= image->height;
    const size_t shorter = wide ? image->height : image->width, longer = wide ? image->width : image->height;
    const double scaled = rint((double)size * (double)longer / (double)shorter);
    if (!(scaled < 2147483648.0)) return exn_fail(ctx, EXN_E_INVALID, "image: too long for its other side");
    const size_t other = (size_t)scaled;
    exn_resize resize = {
        .width = wide ? other : size, .height = wide ? size : other, .crop_width = width, .crop_height = height};
    if (resize.width < width || resize.height < height)
        return exn_fail(ctx, EXN_E_INVALID, "preprocessing: size %zu gives %zux%zu pixels, the network wants %zux%zu",
                        size, resize.width, resize.height, width, height);
    resize.left = (resize.width - width) / 2;
    resize.top = (resize.height - height) / 2;
    *out = resize;
    return EXN_OK;
}

/* An image's crop as the resizer leaves it, with all that its options leave open filled in. */
typedef struct crop {
    exn_preprocess how;
    exn_image source; /* says how many channels `pixels` have */
    const uint8_t *pixels;
} crop;

static exn_status take_crop(crop *out, exn_resizer *resizer, const exn_image *image, const exn_preprocess *options,
                            size_t height, size_t width, size_t channels) {
    exn_context *ctx = exn_resizer_context(resizer);
    exn_resize resize;
    out->how = *options;
    EXN_TRY(exn_preprocess_complete(&out->how, ctx, height, width));
    if (height == 0 || width == 0 || channels != (out->how.order == EXN_ORDER_GRAY ? 1u : 3u))
        return exn_fail(ctx, EXN_E_INVALID, "preprocessing: channel order does not fit a network of %zu channels",
                        channels);
    EXN_TRY(check_image(ctx, image));
    EXN_TRY(place_crop(&resize, ctx, image, out->how.size, height, width));
    out->source = *image;
    if (channels == 1 && image->channels == 3) EXN_TRY(exn_resizer_gray(&out->source, resizer, image));
    return exn_resizer_run(&out->pixels, resizer, &out->source, &resize);
}

/* The network's channel c of pixel p. */
static uint8_t value_of(const crop *from, size_t p, size_t c) {
    const size_t channel = from->source.channels == 1 ? 0 : from->how.order == EXN_ORDER_BGR ? 2 - c : c;
    return from->pixels[p * from->source.channels + channel];
}

static float scale(uint8_t value, const exn_preprocess *how, size_t c) {
    return ((float)value - how->mean[c]) / how->deviation[c];
}

exn_status exn_preprocess_image(float *hwc, exn_resizer *resizer, const exn_image *image, const exn_preprocess *options,
                                size_t height, size_t width, size_t channels) {
    crop from;
    EXN_TRY(take_crop(&from, resizer, image, options, height, width, channels));
    for (size_t p = 0; p < height * width; p++)
        for (size_t c = 0; c < channels; c++) hwc[p * channels + c] = scale(value_of(&from, p, c), &from.how, c);
    return EXN_OK;
}

exn_status exn_preprocess_bytes(uint8_t *hwc, exn_resizer *resizer, const exn_image *image,
                                const exn_preprocess *options, size_t height, size_t width, size_t channels) {
    crop from;
    EXN_TRY(take_crop(&from, resizer, image, options, height, width, channels));
    for (size_t p = 0; p < height * width; p++)
        for (size_t c = 0; c < channels; c++) hwc[p * channels + c] = value_of(&from, p, c);
    return EXN_OK;
}

void exn_preprocess_scale(float *hwc, const uint8_t *bytes, const exn_preprocess *options, size_t pixels,
                          size_t channels) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) hwc[p * channels + c] = scale(bytes[p * channels + c], options, c);
}
