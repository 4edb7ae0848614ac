/* SPDX-License-Identifier: Apache-2.0
 * The public API called wrongly: every mistake is a status, none is a crash. Meant for sanitizers. */
#include "tests/unit/small.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static exn_context *ctx;
static exn_model *model;
static exn_profile *profile;

static void set_up(void) {
    ctx = unit_context();
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
}

static void tear_down(void) {
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}

START_TEST(destroying_nothing) {
    exn_context_destroy(NULL);
    exn_model_destroy(NULL);
    exn_profile_destroy(NULL);
    exn_trainer_destroy(NULL);
    exn_runner_destroy(NULL);
    ck_assert_str_eq(exn_context_error(NULL), "");
    ck_assert_str_eq(exn_runner_error(NULL), "");
}
END_TEST

START_TEST(null_objects) {
    exn_model *other = NULL;
    exn_profile *fresh = NULL;
    exn_trainer *trainer = NULL;
    exn_runner *runner = NULL;
    exn_model_info about = {.struct_size = sizeof about};
    exn_exit_info exit = {.struct_size = sizeof exit};
    exn_trainer_estimate estimate = {.struct_size = sizeof estimate};
    exn_answer answer = {.struct_size = sizeof answer};
    char path[8];
    ck_assert_int_eq(exn_context_create(NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_model_open(&other, NULL, "x", NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_model_open(&other, ctx, NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_model_get_info(&about, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_profile_create(&fresh, NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_profile_open(&fresh, NULL, "x", NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_profile_model_path(path, sizeof path, NULL, "x"), EXN_E_INVALID);
    ck_assert_int_eq(exn_profile_save(NULL, "x"), EXN_E_INVALID);
    ck_assert_int_eq(exn_profile_get_exit(&exit, NULL, 0), EXN_E_INVALID);
    ck_assert_uint_eq(exn_profile_exit_count(NULL) + exn_profile_class_count(NULL) + exn_profile_deepest_exit(NULL), 0);
    ck_assert_ptr_null(exn_profile_class_name(NULL, 0));
    ck_assert_int_eq(exn_trainer_create(&trainer, NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_trainer_add(NULL, NULL, 0), EXN_E_INVALID);
    ck_assert_int_eq(exn_trainer_add_tensor(NULL, NULL, 0), EXN_E_INVALID);
    ck_assert_int_eq(exn_trainer_get_estimate(&estimate, NULL, 1, 1), EXN_E_INVALID);
    ck_assert_int_eq(exn_trainer_run(NULL, NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_create(&runner, NULL, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify(NULL, NULL, &answer), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_tensor(NULL, NULL, &answer), EXN_E_INVALID);
    ck_assert(!other && !fresh && !trainer && !runner);
}
END_TEST

START_TEST(null_results_and_paths) {
    exn_profile *fresh = NULL;
    unit_assert_fails(ctx, exn_profile_create(NULL, model, NULL), EXN_E_INVALID, "out");
    unit_assert_fails(ctx, exn_profile_open(NULL, model, "x", NULL), EXN_E_INVALID, "out");
    unit_assert_fails(ctx, exn_profile_open(&fresh, model, NULL, NULL), EXN_E_INVALID, "path");
    unit_assert_fails(ctx, exn_profile_open(&fresh, model, "x", &fresh), EXN_E_INVALID, "options");
    unit_assert_fails(ctx, exn_profile_model_path(NULL, 9, ctx, "x"), EXN_E_INVALID, "out");
    unit_assert_fails(ctx, exn_profile_save(profile, NULL), EXN_E_INVALID, "path");
    unit_assert_fails(ctx, exn_trainer_create(NULL, profile, NULL), EXN_E_INVALID, "out");
    unit_assert_fails(ctx, exn_runner_create(NULL, profile, NULL), EXN_E_INVALID, "out");
    unit_assert_fails(ctx, exn_model_get_info(NULL, model), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, exn_profile_get_exit(NULL, profile, 0), EXN_E_INVALID, "struct_size");
}
END_TEST

/* Options of a caller who forgot struct_size: said, not taken for defaults. */
START_TEST(options_without_their_size) {
    exn_profile *fresh = NULL;
    exn_trainer *trainer = NULL;
    exn_runner *runner = NULL;
    const exn_profile_options profile_options = {.exits = 1};
    const exn_trainer_options trainer_options = {.costs = "macs"};
    const exn_runner_options runner_options = {.struct_size = SIZE_MAX};
    unit_assert_fails(ctx, exn_profile_create(&fresh, model, &profile_options), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, exn_trainer_create(&trainer, profile, &trainer_options), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, exn_runner_create(&runner, profile, &runner_options), EXN_E_INVALID, "struct_size");
    exn_exit_info exit = {0};
    unit_assert_fails(ctx, exn_profile_get_exit(&exit, profile, 0), EXN_E_INVALID, "struct_size");
}
END_TEST

/* A block of exactly the bytes that an old caller's options have. */
START_TEST(options_of_an_old_caller) {
    const size_t old = offsetof(exn_model_options, height);
    void *options = malloc(old);
    memcpy(options, &old, old);
    char *path = unit_source_path("tests/golden/data/inverted_fixed_batch.onnx");
    exn_model *other;
    unit_assert_ok(ctx, exn_model_open(&other, ctx, path, options));
    exn_model_destroy(other);
    free(path);
    free(options);
}
END_TEST

START_TEST(options_of_a_newer_caller) {
    struct {
        exn_runner_options known;
        size_t future;
    } options = {.known = {.struct_size = sizeof options}, .future = 1};
    exn_runner *runner = NULL;
    unit_assert_fails(ctx, exn_runner_create(&runner, profile, &options.known), EXN_E_UNSUPPORTED, "newer");
    options.future = 0;
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options.known));
    struct {
        exn_answer known;
        size_t future;
    } answer = {.known = {.struct_size = sizeof answer}, .future = 77};
    const float input[SMALL_INPUT] = {0};
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &answer.known), EXN_OK);
    ck_assert_uint_eq(answer.known.struct_size, sizeof answer);
    ck_assert_uint_eq(answer.future, 0);
    exn_runner_destroy(runner);
}
END_TEST

START_TEST(runner_of_a_fresh_profile) {
    exn_runner *runner;
    float input[SMALL_INPUT] = {0};
    exn_answer answer = {.struct_size = sizeof answer}, empty = {0};
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, NULL));
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &answer), EXN_OK);
    ck_assert_uint_eq(answer.exit, exn_profile_exit_count(profile) - 1);
    ck_assert_int_eq(exn_runner_classify_tensor(runner, NULL, &answer), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, NULL), EXN_E_INVALID);
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &empty), EXN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(exn_runner_error(runner), "struct_size"));
    input[3] = NAN;
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &answer), EXN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(exn_runner_error(runner), "not finite"));
    const uint8_t pixel[3] = {0};
    const exn_image images[] = {{0},
                                {pixel, 0, 1, 3, 0},
                                {pixel, 1, 0, 3, 0},
                                {pixel, 1, 1, 2, 0},
                                {pixel, 1, 1, 3, 2},
                                {NULL, 1, 1, 3, 0},
                                {pixel, SIZE_MAX, SIZE_MAX, 3, 0}};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        ck_assert_int_eq(exn_runner_classify(runner, &images[i], &answer), EXN_E_INVALID);
        ck_assert_ptr_nonnull(strstr(exn_runner_error(runner), "image"));
    }
    ck_assert_int_eq(exn_runner_classify(runner, NULL, &answer), EXN_E_INVALID);
    exn_runner_destroy(runner);
    const exn_runner_options crowd = {.struct_size = sizeof crowd, .threads = SIZE_MAX};
    ck_assert_int_lt(exn_runner_create(&runner, profile, &crowd), EXN_OK);
}
END_TEST

START_TEST(trainer_of_nothing) {
    exn_trainer *trainer;
    const exn_trainer_options options = {.struct_size = sizeof options, .costs = "macs"};
    const float input[SMALL_INPUT] = {0};
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &options));
    unit_assert_fails(ctx, exn_trainer_run(trainer, NULL, NULL), EXN_E_INVALID, "sample");
    unit_assert_fails(ctx, exn_trainer_add_tensor(trainer, NULL, 0), EXN_E_INVALID, "NULL");
    unit_assert_fails(ctx, exn_trainer_add_tensor(trainer, input, SMALL_CLASSES), EXN_E_INVALID, "label");
    unit_assert_fails(ctx, exn_trainer_add_tensor(trainer, input, -2), EXN_E_INVALID, "label");
    unit_assert_fails(ctx, exn_trainer_add_tensor(trainer, input, INT64_MIN), EXN_E_INVALID, "label");
    unit_assert_fails(ctx, exn_trainer_add(trainer, NULL, 0), EXN_E_INVALID, "image");
    exn_trainer_estimate estimate = {.struct_size = sizeof estimate};
    unit_assert_fails(ctx, exn_trainer_get_estimate(&estimate, trainer, SIZE_MAX, 2), EXN_E_INVALID, "samples");
    unit_assert_fails(ctx, exn_trainer_get_estimate(NULL, trainer, 1, 2), EXN_E_INVALID, "struct_size");
    exn_trainer_destroy(trainer);
}
END_TEST

/* 131072 logits: more than anybody names. */
START_TEST(network_of_too_many_classes) {
    const exn_model_options options = {.struct_size = sizeof options, .height = 256, .width = 256};
    char *path = unit_source_path("tests/unit/data/every_pixel.onnx");
    exn_model *other;
    exn_profile *fresh = NULL;
    unit_assert_ok(ctx, exn_model_open(&other, ctx, path, &options));
    unit_assert_fails(ctx, exn_profile_create(&fresh, other, NULL), EXN_E_UNSUPPORTED, "131072 logits");
    ck_assert_ptr_nonnull(strstr(exn_context_error(ctx), path));
    exn_model_destroy(other);
    free(path);
}
END_TEST

int main(void) {
    return unit_run_with("misuse", set_up, tear_down,
                         (const TTest *[]){destroying_nothing, null_objects, null_results_and_paths,
                                           options_without_their_size, options_of_an_old_caller,
                                           options_of_a_newer_caller, runner_of_a_fresh_profile, trainer_of_nothing,
                                           network_of_too_many_classes, NULL});
}
