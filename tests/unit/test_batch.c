/* SPDX-License-Identifier: Apache-2.0
 * The public API with 8-bit pixels, in batches, at other sizes than the exported one: what is answered does not depend on how many
 * are asked about at once. */
#include "core/rng.h"
#include "tests/unit/small.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

enum { PHOTOS = 11, SIDE = 20 };

/* Grey levels that differ from photo to photo, on pictures of several shapes. */
static exn_image photo(uint8_t pixels[SIDE * SIDE * 3], size_t i) {
    const exn_image image = {
        .pixels = pixels, .width = SIDE - i % 4, .height = SIDE - i % 3, .channels = i % 5 ? 3 : 1};
    for (size_t p = 0; p < SIDE * SIDE * 3; p++) pixels[p] = (uint8_t)((p * (7 + i) + i * i * 13) % 251);
    return image;
}

/* What every test stands on; blocks.onnx leaves batch, height and width open. */
typedef struct subject {
    exn_context *ctx;
    exn_model *model;
    exn_profile *profile;
} subject;

static exn_model *open_blocks(exn_context *ctx, size_t height, size_t width) {
    exn_model *model;
    char *path = unit_source_path("tests/golden/data/blocks.onnx");
    const exn_model_options size = {.struct_size = sizeof size, .height = height, .width = width};
    unit_assert_ok(ctx, exn_model_open(&model, ctx, path, &size));
    free(path);
    return model;
}

static subject begin(size_t height, size_t width, const exn_profile_options *options) {
    subject s = {.ctx = unit_context()};
    s.model = open_blocks(s.ctx, height, width);
    unit_assert_ok(s.ctx, exn_profile_create(&s.profile, s.model, options));
    return s;
}

static void end(subject *s) {
    exn_profile_destroy(s->profile);
    exn_model_destroy(s->model);
    exn_context_destroy(s->ctx);
}

static exn_runner *create(exn_context *ctx, const exn_profile *profile, size_t batch) {
    exn_runner *runner;
    const exn_runner_options options = {.struct_size = sizeof options, .batch = batch};
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    return runner;
}

/* A caller whose answers are larger than this header's. */
typedef struct later_answer {
    exn_answer known;
    size_t more;
} later_answer;

/* `one`: the answers one by one, which are not all the same. */
static void check_batches(exn_answer one[PHOTOS], exn_context *ctx, const exn_profile *profile) {
    static uint8_t pixels[PHOTOS][SIDE * SIDE * 3];
    exn_image images[PHOTOS];
    exn_runner *runner = create(ctx, profile, 0);
    for (size_t i = 0; i < PHOTOS; i++) {
        images[i] = photo(pixels[i], i);
        one[i] = (exn_answer){.struct_size = sizeof one[i]};
        ck_assert_int_eq(exn_runner_classify(runner, &images[i], &one[i]), EXN_OK);
        for (size_t j = 0; j < i; j++) ck_assert(one[i].confidence != one[j].confidence);
    }
    exn_runner_destroy(runner);
    for (size_t batch = 1; batch <= 4; batch++) {
        later_answer many[PHOTOS];
        for (size_t i = 0; i < PHOTOS; i++) many[i].known.struct_size = sizeof many[i];
        runner = create(ctx, profile, batch);
        ck_assert_int_eq(exn_runner_classify_batch(runner, images, PHOTOS, &many[0].known), EXN_OK);
        for (size_t i = 0; i < PHOTOS; i++) {
            ck_assert_uint_eq(many[i].known.label, one[i].label);
            ck_assert_uint_eq(many[i].known.exit, one[i].exit);
            ck_assert_mem_eq(&many[i].known.confidence, &one[i].confidence, sizeof one[i].confidence);
            ck_assert(many[i].known.infer_ms > 0 && many[i].more == 0);
        }
        exn_answer single = {.struct_size = sizeof single};
        ck_assert_int_eq(exn_runner_classify(runner, &images[5], &single), EXN_OK);
        ck_assert_mem_eq(&single.confidence, &one[5].confidence, sizeof single.confidence);
        exn_runner_destroy(runner);
    }
}

/* The network's own logits are so far apart that it is sure of everything. */
static void temper_the_last_exit(exn_profile *profile) {
    profile->exits[profile->exit_count - 1].rule.temperature = 50.0f;
}

/* A fresh exit says the same of everything. */
static void make_the_first_exit_speak(exn_profile *profile) {
    exn_exit *exit = &profile->exits[0];
    exn_shape shape;
    exn_rng rng = exn_rng_seed(5, 1);
    const size_t weights = exn_head_tensor_shape(&shape, &exit->head, EXN_HEAD_FC_WEIGHT);
    for (size_t i = 0; i < weights; i++) exit->head.tensor[EXN_HEAD_FC_WEIGHT][i] = exn_rng_normal(&rng);
    exit->rule = (exn_exit_rule){.enabled = true, .temperature = 20.0f};
}

static int by_confidence(const void *a, const void *b) {
    const float x = ((const exn_answer *)a)->confidence, y = ((const exn_answer *)b)->confidence;
    return (x > y) - (x < y);
}

START_TEST(batches_answer_as_one_by_one) {
    const exn_profile_options options = {.struct_size = sizeof options, .exits = 2};
    subject s = begin(16, 16, &options);
    exn_answer one[PHOTOS];
    temper_the_last_exit(s.profile);
    check_batches(one, s.ctx, s.profile);
    make_the_first_exit_speak(s.profile);
    check_batches(one, s.ctx, s.profile);
    for (size_t i = 0; i < PHOTOS; i++) ck_assert_uint_eq(one[i].exit, 0);
    /* Samples of a batch leave singly: about half of them here. */
    qsort(one, PHOTOS, sizeof *one, by_confidence);
    s.profile->exits[0].rule.threshold = one[PHOTOS / 2].confidence;
    check_batches(one, s.ctx, s.profile);
    size_t early = 0, mixed = 0;
    for (size_t i = 0; i < PHOTOS; i++) {
        early += one[i].exit == 0;
        mixed += i % 2 == 1 && one[i].exit != one[i - 1].exit; /* in batches of two */
    }
    ck_assert_uint_eq(early, PHOTOS - PHOTOS / 2);
    ck_assert_uint_gt(mixed, 0);
    end(&s);
}
END_TEST

/* A file may say that its batch is one. */
START_TEST(batch_of_the_file_does_not_matter) {
    subject s = {.ctx = unit_context()};
    exn_answer one[PHOTOS];
    unit_assert_ok(s.ctx, small_model(&s.model, s.ctx));
    unit_assert_ok(s.ctx, small_profile(&s.profile, s.model, EXN_HEAD_LINEAR));
    temper_the_last_exit(s.profile);
    check_batches(one, s.ctx, s.profile);
    end(&s);
}
END_TEST

START_TEST(sizes_other_than_the_exported_one) {
    static const size_t sizes[][2] = {{16, 16}, {24, 16}, {9, 31}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        subject s = begin(sizes[i][0], sizes[i][1], NULL);
        exn_model_info info = {.struct_size = sizeof info};
        exn_answer one[PHOTOS];
        unit_assert_ok(s.ctx, exn_model_get_info(&info, s.model));
        ck_assert_uint_eq(info.height, sizes[i][0]);
        ck_assert_uint_eq(info.width, sizes[i][1]);
        temper_the_last_exit(s.profile);
        check_batches(one, s.ctx, s.profile);
        end(&s);
    }
}
END_TEST

/* Pixels count as the floats that preprocessing makes of them. */
START_TEST(pixels_are_as_good_as_floats) {
    const exn_profile_options options = {.struct_size = sizeof options,
                                         .preprocess = {.mean = {10, 20, 30}, .deviation = {100, 50, 200}}};
    subject s = begin(16, 16, &options);
    exn_runner *runner = create(s.ctx, s.profile, 2);
    uint8_t pixels[16 * 16 * 3];
    float chw[3 * 16 * 16];
    for (size_t p = 0; p < 16 * 16; p++)
        for (size_t c = 0; c < 3; c++) {
            pixels[3 * p + c] = (uint8_t)((p * 31 + c * 77) % 256);
            chw[c * 256 + p] =
                ((float)pixels[3 * p + c] - options.preprocess.mean[c]) / options.preprocess.deviation[c];
        }
    const exn_image image = {.pixels = pixels, .width = 16, .height = 16, .channels = 3};
    exn_answer a = {.struct_size = sizeof a}, b = a;
    ck_assert_int_eq(exn_runner_classify(runner, &image, &a), EXN_OK);
    ck_assert_int_eq(exn_runner_classify_tensor(runner, chw, &b), EXN_OK);
    ck_assert_uint_eq(a.label, b.label);
    ck_assert_float_eq_tol(a.confidence, b.confidence, 1e-5f);
    exn_runner_destroy(runner);
    end(&s);
}
END_TEST

START_TEST(what_batches_refuse) {
    subject s = begin(16, 16, NULL);
    exn_runner *runner = create(s.ctx, s.profile, 3), *none;
    uint8_t pixels[SIDE * SIDE * 3];
    const exn_image good = photo(pixels, 1), images[5] = {good, good, good, good, {0}};
    exn_answer answers[5], empty[2] = {{0}};
    for (size_t i = 0; i < 5; i++) answers[i] = (exn_answer){.struct_size = sizeof *answers};
    ck_assert_int_eq(exn_runner_classify_batch(NULL, images, 1, answers), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_batch(runner, NULL, 0, NULL), EXN_OK);
    ck_assert_int_eq(exn_runner_classify_batch(runner, NULL, 1, answers), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_batch(runner, images, 1, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_batch(runner, images, 5, answers), EXN_E_INVALID);
    for (size_t i = 0; i < 5; i++) ck_assert((answers[i].infer_ms > 0) == (i < 3)); /* the first batch stands */
    ck_assert_ptr_nonnull(strstr(exn_runner_error(runner), "image"));
    ck_assert_int_eq(exn_runner_classify_batch(runner, images, 1, empty), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_batch(runner, images, 1, answers), EXN_OK);
    exn_runner_options audits = {.struct_size = sizeof audits, .batch = 2, .audit_share = 0.5};
    unit_assert_fails(s.ctx, exn_runner_create(&none, s.profile, &audits), EXN_E_UNSUPPORTED, "batch");
    audits.whole_network = true;
    unit_assert_fails(s.ctx, exn_runner_create(&none, s.profile, &audits), EXN_E_UNSUPPORTED, "batch");
    const exn_runner_options huge = {.struct_size = sizeof huge, .batch = SIZE_MAX};
    ck_assert_int_lt(exn_runner_create(&none, s.profile, &huge), EXN_OK);
    exn_runner_destroy(runner);
    end(&s);
}
END_TEST

int main(void) {
    return unit_run("batch", (const TTest *[]){batches_answer_as_one_by_one, batch_of_the_file_does_not_matter,
                                               sizes_other_than_the_exported_one, pixels_are_as_good_as_floats,
                                               what_batches_refuse, NULL});
}
