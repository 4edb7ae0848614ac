/* SPDX-License-Identifier: Apache-2.0
 * Preprocessing: grey levels that Pillow gives for the same pictures, channel orders, crops, bad arguments. */
#include "graph/preprocess.h"
#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>

/* A picture with edges in both directions, the same on every machine. */
static uint8_t *make_picture(exn_image *image, size_t width, size_t height, size_t channels, size_t row_bytes) {
    uint8_t *pixels = malloc(row_bytes * height);
    ck_assert_ptr_nonnull(pixels);
    memset(pixels, 0xEE, row_bytes * height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < channels; c++)
                pixels[y * row_bytes + x * channels + c] = (uint8_t)(x * 7 + y * 13 + c * 29 + (x * y) % 31 * 5);
    *image = (exn_image){pixels, width, height, channels, row_bytes};
    return pixels;
}

static const exn_preprocess plain = {.deviation = {1, 1, 1}};

typedef struct expected {
    size_t width, height, size, channels;
    exn_channel_order order;
    float first[3], middle[3], last[3]; /* at (0,0), (size/2 - 1, size/2), (size-1, size-1) of the crop */
    float sum;
} expected;

/* Grey levels computed with Pillow's Image.resize(BILINEAR) after Image.convert("L") where grey. */
static const expected pillow[] = {
    {37, 23, 8, 3, EXN_ORDER_RGB, {102, 129, 153}, {79, 101, 130}, {114, 92, 84}, 24522},
    {37, 23, 8, 3, EXN_ORDER_BGR, {153, 129, 102}, {130, 101, 79}, {84, 92, 114}, 24522},
    {37, 23, 8, 1, EXN_ORDER_GRAY, {124}, {98}, {98}, 8177},
};

static float sum_of(const float *values, size_t count) {
    float sum = 0.0f;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

START_TEST(levels_of_pillow) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    for (size_t t = 0; t < sizeof pillow / sizeof *pillow; t++) {
        const expected *e = &pillow[t];
        exn_image image;
        uint8_t *pixels = make_picture(&image, e->width, e->height, 3, e->width * 3 + 5);
        exn_preprocess how = plain;
        how.order = e->order;
        float out[8 * 8 * 3];
        unit_assert_ok(ctx, exn_preprocess_image(out, resizer, &image, &how, e->size, e->size, e->channels));
        const size_t row = e->size * e->channels;
        unit_assert_near(out, e->first, e->channels, 1, 0);
        unit_assert_near(out + (e->size / 2 - 1) * row + e->size / 2 * e->channels, e->middle, e->channels, 1, 0);
        unit_assert_near(out + e->size * row - e->channels, e->last, e->channels, 1, 0);
        ck_assert_float_eq_tol(sum_of(out, e->size * row), e->sum, 30);
        free(pixels);
    }
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(enlarging_like_pillow) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    exn_image image;
    float out[9 * 9 * 3];
    uint8_t *pixels = make_picture(&image, 5, 4, 3, 15);
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    image.row_bytes = 0; /* means: no gap */
    unit_assert_ok(ctx, exn_preprocess_image(out, resizer, &image, &plain, 9, 9, 3));
    unit_assert_near(out, ((const float[]){1, 30, 59}), 3, 1, 0);
    unit_assert_near(out + 4 * 27 + 15, ((const float[]){55, 84, 113}), 3, 1, 0);
    unit_assert_near(out + 9 * 27 - 3, ((const float[]){123, 152, 181}), 3, 1, 0);
    ck_assert_float_eq_tol(sum_of(out, 243), 18837, 30);
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
    free(pixels);
}
END_TEST

START_TEST(same_size_keeps_the_pixels_and_crops_the_centre) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    exn_image image;
    float out[4 * 4 * 3];
    uint8_t *pixels = make_picture(&image, 9, 6, 3, 27);
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    exn_preprocess how = {.size = 6, .mean = {1, 2, 3}, .deviation = {2, 4, 8}};
    unit_assert_ok(ctx, exn_preprocess_image(out, resizer, &image, &how, 4, 4, 3));
    for (size_t y = 0; y < 4; y++)
        for (size_t x = 0; x < 4; x++)
            for (size_t c = 0; c < 3; c++) /* left is floor(5 / 2) */
                ck_assert_float_eq(out[(y * 4 + x) * 3 + c],
                                   ((float)pixels[(y + 1) * 27 + (x + 2) * 3 + c] - how.mean[c]) / how.deviation[c]);
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
    free(pixels);
}
END_TEST

START_TEST(grey_pictures_feed_every_channel) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    exn_image image;
    float out[5 * 5 * 3];
    uint8_t *pixels = make_picture(&image, 20, 20, 1, 20);
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    unit_assert_ok(ctx, exn_preprocess_image(out, resizer, &image, &plain, 5, 5, 3));
    for (size_t p = 0; p < 25; p++) {
        ck_assert_float_eq(out[3 * p], out[3 * p + 1]);
        ck_assert_float_eq(out[3 * p], out[3 * p + 2]);
    }
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
    free(pixels);
}
END_TEST

START_TEST(longer_side_rounds_halves_to_even) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    exn_image image;
    float out[2 * 2];
    /* 2 * 5 / 4 = 2.5 becomes 2: a crop 2 wide starts at column 0, so the result is the whole picture. */
    uint8_t *pixels = make_picture(&image, 5, 4, 1, 5);
    exn_preprocess how = plain;
    how.order = EXN_ORDER_GRAY;
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    unit_assert_ok(ctx, exn_preprocess_image(out, resizer, &image, &how, 2, 2, 1));
    unit_assert_fails(
        ctx, exn_preprocess_image(out, resizer, &image, &(exn_preprocess){.size = 2, .order = EXN_ORDER_GRAY}, 2, 3, 1),
        EXN_E_INVALID, "wants 3x2");
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
    free(pixels);
}
END_TEST

START_TEST(bad_arguments) {
    exn_context *ctx = unit_context();
    exn_resizer *resizer;
    exn_image image;
    float out[4 * 4 * 3];
    uint8_t *pixels = make_picture(&image, 8, 8, 3, 24);
    unit_assert_ok(ctx, exn_resizer_create(&resizer, ctx));
    exn_image bad = image;
    bad.width = 0;
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &bad, &plain, 4, 4, 3), EXN_E_INVALID, "empty");
    bad = image;
    bad.channels = 4;
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &bad, &plain, 4, 4, 3), EXN_E_INVALID, "4 channels");
    bad = image;
    bad.row_bytes = 23;
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &bad, &plain, 4, 4, 3), EXN_E_INVALID, "23 bytes");
    bad = image;
    bad.width = SIZE_MAX / 2;
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &bad, &plain, 4, 4, 3), EXN_E_INVALID, "too large");
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &image, &plain, 4, 4, 1), EXN_E_INVALID, "1 channels");
    exn_preprocess how = plain;
    how.mean[1] = NAN;
    unit_assert_fails(ctx, exn_preprocess_image(out, resizer, &image, &how, 4, 4, 3), EXN_E_INVALID, "finite");
    how = plain;
    how.deviation[2] = -1;
    unit_assert_fails(ctx, exn_preprocess_complete(&how, ctx, 4, 4), EXN_E_INVALID, "negative");
    exn_resizer_destroy(resizer);
    exn_context_destroy(ctx);
    free(pixels);
}
END_TEST

START_TEST(defaults) {
    exn_context *ctx = unit_context();
    exn_preprocess how = {.mean = {7, 7, 7}, .deviation = {0, 2, 0}};
    unit_assert_ok(ctx, exn_preprocess_complete(&how, ctx, 30, 20));
    ck_assert_uint_eq(how.size, 30);
    ck_assert_float_eq(how.mean[0], 0);
    ck_assert_float_eq(how.deviation[0], 255);
    ck_assert_float_eq(how.mean[1], 7);
    ck_assert_float_eq(how.deviation[1], 2);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status resize_once(exn_context *ctx, void *user) {
    float out[4 * 4];
    exn_resizer *resizer;
    EXN_TRY(exn_resizer_create(&resizer, ctx));
    const exn_preprocess how = {.order = EXN_ORDER_GRAY};
    const exn_status status = exn_preprocess_image(out, resizer, user, &how, 4, 4, 1);
    exn_resizer_destroy(resizer);
    return status;
}

START_TEST(short_of_memory) {
    exn_image image;
    uint8_t *pixels = make_picture(&image, 30, 40, 3, 90);
    unit_sweep_failures(resize_once, &image);
    free(pixels);
}
END_TEST

int main(void) {
    return unit_run("preprocess", (const TTest *[]){levels_of_pillow, enlarging_like_pillow,
                                                    same_size_keeps_the_pixels_and_crops_the_centre,
                                                    grey_pictures_feed_every_channel, longer_side_rounds_halves_to_even,
                                                    bad_arguments, defaults, short_of_memory, NULL});
}
