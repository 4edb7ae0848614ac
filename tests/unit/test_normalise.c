/* SPDX-License-Identifier: Apache-2.0
 * Cameras: what is measured of pixels, what undoes a shift, when that is used, and a whole run by a person whose camera is dim. */
#include "core/rng.h"
#include "tests/unit/small.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

enum { SIDE = 12, PHOTOS = 24 };

/* A photo of a class: a pattern under noise, with light as a factor on all channels. */
static void photo(uint8_t pixels[SIDE * SIDE * 3], size_t label, size_t index, float light) {
    exn_rng pattern = exn_rng_seed(40 + label, 1), noise = exn_rng_seed(900 + index, label);
    for (size_t i = 0; i < SIDE * SIDE * 3; i++) {
        const float v = 128 + 50 * exn_rng_normal(&pattern) + 15 * exn_rng_normal(&noise);
        const float seen = light * (v < 0 ? 0 : v > 255 ? 255 : v);
        pixels[i] = (uint8_t)(seen + 0.5f);
    }
}

static exn_image image_of(const uint8_t *pixels) {
    return (exn_image){.pixels = pixels, .width = SIDE, .height = SIDE, .channels = 3};
}

/* The profile knows bright photos. */
static void teach_pixels(exn_profile *profile) {
    float input[SIDE * SIDE * 3];
    uint8_t pixels[SIDE * SIDE * 3];
    for (size_t i = 0; i < 40; i++) {
        photo(pixels, i % SMALL_CLASSES, 500 + i, 1.0f);
        exn_preprocess_scale(input, pixels, &profile->preprocess, SIDE * SIDE, 3);
        exn_pixels_add(&profile->pixels, input, SIDE * SIDE, 3);
    }
}

START_TEST(statistics) {
    exn_pixels a = {0}, b = {0};
    const float x[] = {1, 2, 3, 3, 4, 5}, y[] = {5, 6, 7, 7, 8, 9};
    exn_pixels_add(&a, x, 2, 3);
    exn_pixels_add(&b, y, 2, 3);
    exn_pixels_merge(&a, &b);
    ck_assert_uint_eq(a.photos, 2);
    ck_assert_double_eq_tol(exn_pixels_mean(&a, 0), 4, 1e-12);
    ck_assert_double_eq_tol(exn_pixels_deviation(&a, 2), sqrt(5), 1e-12);
}
END_TEST

START_TEST(folding_is_the_same_arithmetic) {
    const exn_preprocess plain = {.size = 4, .mean = {120, 110, 100}, .deviation = {60, 55, 50}};
    const exn_normalisation n = {.used = true, .gain = {2.5f, 0.5f, 1}, .offset = {0.3f, -1, 0}};
    const exn_preprocess folded = exn_normalisation_fold(&plain, &n);
    for (size_t c = 0; c < 3; c++)
        for (float v = 0; v < 256; v += 51) {
            const float x = (v - plain.mean[c]) / plain.deviation[c];
            ck_assert_float_eq_tol((v - folded.mean[c]) / folded.deviation[c], x * n.gain[c] + n.offset[c], 1e-4f);
        }
    const exn_normalisation unused = {.gain = {9, 9, 9}};
    const exn_preprocess same = exn_normalisation_fold(&plain, &unused);
    ck_assert_mem_eq(&plain.mean, &same.mean, sizeof plain.mean);
}
END_TEST

START_TEST(labels_may_speak_against_it) {
    double plain[20], seen[20];
    for (size_t i = 0; i < 20; i++) {
        plain[i] = 1 + 0.1 * (double)(i % 3);
        seen[i] = plain[i] + 0.2;
    }
    exn_normalisation n = {.shift = 1.5};
    exn_normalisation_judge(&n, NULL, NULL, 0);
    ck_assert(n.used);
    exn_normalisation_judge(&n, plain, seen, 20);
    ck_assert(!n.used && n.judged == 20);
    n.shift = 0.6;
    exn_normalisation_judge(&n, NULL, NULL, 0);
    ck_assert(!n.used);
    exn_normalisation_judge(&n, seen, plain, 20);
    ck_assert(n.used);
}
END_TEST

/* A camera that is plainly another one is not believed to be none because five labels came out a little worse. */
START_TEST(bad_luck_does_not_speak) {
    const double plain[5] = {1, 1, 1, 1, 1}, seen[5] = {0.4, 0.5, 1.9, 1.8, 0.6}, worse[5] = {2.4, 2.5, 2.6, 2.5, 2.7};
    exn_normalisation n = {.shift = 1.5};
    exn_normalisation_judge(&n, plain, seen, 5);
    ck_assert(n.used && n.after > n.before);
    exn_normalisation_judge(&n, plain, worse, 5);
    ck_assert(!n.used);
    exn_normalisation_judge(&n, plain, worse, 1);
    ck_assert(n.used);
}
END_TEST

static void add_photos(exn_trainer *trainer, size_t from, size_t to, float light, size_t labelled) {
    uint8_t pixels[SIDE * SIDE * 3];
    for (size_t i = from; i < to; i++) {
        photo(pixels, i % SMALL_CLASSES, i, light);
        const exn_image image = image_of(pixels);
        unit_assert_ok(trainer->ctx,
                       exn_trainer_add(trainer, &image, i < labelled ? (int64_t)(i % SMALL_CLASSES) : EXN_UNLABELLED));
    }
}

static exn_profile *person(exn_context *ctx, const exn_model *model, float light, size_t labelled) {
    const exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
    exn_profile *profile;
    exn_trainer *trainer;
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    teach_pixels(profile);
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    add_photos(trainer, 0, PHOTOS, light, labelled);
    unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
    exn_trainer_destroy(trainer);
    return profile;
}

/* Without a label, a dim camera is undone: the runner then answers as it would in good light. */
START_TEST(a_dim_camera_is_undone) {
    exn_context *ctx;
    exn_model *model;
    char *folder, *path;
    small_set_up(&ctx, &model, &folder, &path, "p");
    exn_profile *profile = person(ctx, model, 0.4f, 0), *again;
    ck_assert(profile->normal.used && profile->normal.photos == PHOTOS);
    for (size_t c = 0; c < 3; c++) ck_assert_float_eq_tol(profile->normal.gain[c], 2.5f, 0.2f);
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
    ck_assert_mem_eq(&profile->normal, &again->normal, sizeof profile->normal);
    ck_assert_mem_eq(&profile->pixels, &again->pixels, sizeof profile->pixels);
    exn_runner *dim, *bright;
    unit_assert_ok(ctx, exn_runner_create(&dim, again, NULL));
    again->normal.used = false; /* before the second runner is made: as if the camera were the general one */
    unit_assert_ok(ctx, exn_runner_create(&bright, again, NULL));
    size_t same = 0;
    for (size_t i = 0; i < 50; i++) {
        uint8_t pixels[2][SIDE * SIDE * 3];
        exn_answer answer[2] = {{.struct_size = sizeof *answer}, {.struct_size = sizeof *answer}};
        photo(pixels[0], i % SMALL_CLASSES, 300 + i, 0.4f);
        photo(pixels[1], i % SMALL_CLASSES, 300 + i, 1.0f);
        const exn_image a = image_of(pixels[0]), b = image_of(pixels[1]);
        unit_assert_ok(ctx, exn_runner_classify(dim, &a, &answer[0]));
        unit_assert_ok(ctx, exn_runner_classify(bright, &b, &answer[1]));
        same += answer[0].label == answer[1].label;
    }
    ck_assert_uint_ge(same, 45);
    exn_runner_destroy(dim);
    exn_runner_destroy(bright);
    exn_profile_destroy(again);
    exn_profile_destroy(profile);
    small_tear_down(ctx, model, folder, path);
}
END_TEST

/* Under a cache limit, what one run saw normalised makes room for the next: with more photos, all look a little different. */
START_TEST(runs_do_not_fill_the_cache) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_profile *profile;
    exn_trainer *trainer;
    exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    teach_pixels(profile);
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    o.cache_limit_bytes = 2 * PHOTOS * exn_cache_record_bytes(trainer->record_count, false);
    exn_trainer_destroy(trainer);
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    for (size_t runs = 0; runs < 3; runs++) {
        add_photos(trainer, PHOTOS / 3 * runs, PHOTOS / 3 * (runs + 1), 0.4f, 0);
        unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
        ck_assert(profile->normal.used && profile->normal.photos == PHOTOS / 3 * (runs + 1));
    }
    ck_assert(trainer->left_out == 0 && exn_cache_count(trainer->cache) == 2 * PHOTOS);
    exn_trainer_destroy(trainer);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(the_general_camera_is_left_alone) {
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    exn_profile *profile = person(ctx, model, 1.0f, PHOTOS);
    ck_assert(!profile->normal.used && profile->normal.shift < 0.5);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("normalise",
                    (const TTest *const[]){statistics, folding_is_the_same_arithmetic, labels_may_speak_against_it,
                                           bad_luck_does_not_speak, a_dim_camera_is_undone, runs_do_not_fill_the_cache,
                                           the_general_camera_is_left_alone, NULL});
}
