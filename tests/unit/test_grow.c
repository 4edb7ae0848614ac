/* SPDX-License-Identifier: Apache-2.0
 * Classes added on the device: learned by every exit, kept in the file, unknown to the untouched network. */
#include "tests/unit/small.h"
#include "train/grow.h"
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

static const char *const added[] = {"sombrero"};

static exn_profile *learn(exn_context *ctx, const exn_model *model, exn_head_kind kind) {
    const exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
    exn_profile *profile;
    exn_trainer *trainer;
    float input[SMALL_INPUT];
    unit_assert_ok(ctx, small_profile(&profile, model, kind));
    unit_assert_ok(ctx, exn_profile_add_classes(profile, added, 1));
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    for (size_t i = 0; i < 60; i++) {
        small_input(input, i % (SMALL_CLASSES + 1), i);
        unit_assert_ok(ctx, exn_trainer_add_tensor(trainer, input, (int64_t)(i % (SMALL_CLASSES + 1))));
    }
    unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
    exn_trainer_destroy(trainer);
    return profile;
}

/* How many of 30 samples of the new class, and of 30 others, are answered with it. */
static void count_new(size_t *of_new, size_t *of_old, exn_context *ctx, const exn_profile *profile, bool whole) {
    const exn_runner_options o = {.struct_size = sizeof o, .whole_network = whole};
    exn_runner *runner;
    float input[SMALL_INPUT];
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &o));
    *of_new = *of_old = 0;
    for (size_t i = 0; i < 60; i++) {
        exn_answer answer = {.struct_size = sizeof answer};
        const size_t label = i < 30 ? SMALL_CLASSES : i % SMALL_CLASSES;
        small_input(input, label, 70000 + i);
        unit_assert_ok(ctx, exn_runner_classify_tensor(runner, input, &answer));
        *(i < 30 ? of_new : of_old) += answer.label == SMALL_CLASSES;
    }
    exn_runner_destroy(runner);
}

START_TEST(a_new_class_is_learned) {
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    for (exn_head_kind kind = EXN_HEAD_LINEAR; kind <= (unit_emulated() ? EXN_HEAD_LINEAR : EXN_HEAD_CONV); kind++) {
        exn_profile *profile = learn(ctx, model, kind), *again;
        char *folder = unit_temp_create(), *path = unit_path(folder, "p");
        size_t of_new, of_old;
        unit_assert_ok(ctx, exn_profile_save(profile, path));
        unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
        ck_assert_uint_eq(exn_profile_class_count(again), SMALL_CLASSES + 1);
        ck_assert_str_eq(exn_profile_class_name(again, SMALL_CLASSES), added[0]);
        ck_assert(again->exits[0].trained);
        again->exits[0].rule.enabled = true; /* what an exit learned, not how often the policy asks it */
        again->exits[0].rule.threshold = 0;
        count_new(&of_new, &of_old, ctx, again, false);
        ck_assert_msg(of_new >= 18 && of_old <= 8, "kind %d: %zu of 30, %zu others", (int)kind, of_new, of_old);
        count_new(&of_new, &of_old, ctx, again, true);
        ck_assert_uint_eq(of_new + of_old, 0);
        exn_profile_destroy(again);
        exn_profile_destroy(profile);
        free(path);
        unit_temp_remove(folder);
    }
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

/* Photos of one thing: no label is needed to say how frequent it is. */
static void same_thing(float input[SMALL_INPUT], size_t index) {
    small_input(input, 0, 0);
    input[index] += 0.5f;
}

/* What the last exit says of samples now is what it was judged by. */
static void check_last(exn_context *ctx, const exn_profile *profile, const exn_held_out *held_out) {
    exn_network network;
    exn_plan *plan;
    exn_exec *exec;
    float input[SMALL_INPUT], hwc[SMALL_INPUT], logits[SMALL_CLASSES + 1], *sink = logits;
    unit_assert_ok(ctx, exn_network_build_single(&network, profile, 1, 2));
    const exn_plan_options options = {
        .kernels = &profile->model->kernels, .threads = 1, .outputs = network.logits, .output_count = 1};
    unit_assert_ok(ctx, exn_plan_create(&plan, network.graph, &options));
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    for (size_t i = 0; i < held_out->count; i++) {
        same_thing(input, i);
        for (size_t p = 0; p < SMALL_INPUT; p++) hwc[p] = input[p % 3 * SMALL_INPUT / 3 + p / 3];
        const exn_content content = exn_content_of(hwc, SMALL_INPUT);
        const size_t at = exn_held_out_find(held_out, &content);
        ck_assert_uint_lt(at, held_out->count);
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &sink);
        unit_assert_near(logits, held_out->logits + (2 * held_out->count + at) * held_out->classes, held_out->classes,
                         1e-3, 1e-5);
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    exn_network_destroy(&network, ctx);
}

/* Whoever personalises again without a label, or without the time to train: the last layer of before is not what is judged. */
START_TEST(an_earlier_last_layer_does_not_stay) {
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    for (size_t k = 0; k < 3; k++) { /* nothing to train; frequencies; no time to train them */
        const exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs", .time_budget_s = k == 2 ? 1e-9 : 0};
        exn_profile *profile = learn(ctx, model, EXN_HEAD_LINEAR);
        exn_trainer *trainer;
        float input[SMALL_INPUT];
        ck_assert(profile->exits[2].trained);
        profile->exits[2].general_temperature = 0.1f;
        unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
        trainer->keep_held_out = true;
        for (size_t i = 0; i < (k ? 60u : 10u); i++) {
            same_thing(input, i);
            unit_assert_ok(ctx, exn_trainer_add_tensor(trainer, input, EXN_UNLABELLED));
        }
        unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
        ck_assert(profile->prior.used == (k > 0) && profile->exits[2].trained == (k == 1));
        if (!profile->exits[2].trained) check_last(ctx, profile, &trainer->held_out);
        exn_trainer_destroy(trainer);
        exn_profile_destroy(profile);
    }
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(nobody_answers_with_it_untrained) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_profile *profile;
    size_t of_new, of_old;
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, exn_profile_add_classes(profile, added, 1));
    count_new(&of_new, &of_old, ctx, profile, false);
    ck_assert_uint_eq(of_new + of_old, 0);
    const char *const bad[] = {"sombrero", "a\nb", "", NULL};
    for (size_t i = 0; i < 4; i++)
        unit_assert_fails(ctx, exn_profile_add_classes(profile, &bad[i], 1), EXN_E_INVALID, i ? "no name" : "already");
    unit_assert_fails(ctx, exn_profile_add_classes(profile, NULL, 1), EXN_E_INVALID, "NULL");
    unit_assert_ok(ctx, exn_profile_add_classes(profile, NULL, 0));
    ck_assert_int_eq(exn_profile_add_classes(NULL, added, 1), EXN_E_INVALID);
    ck_assert_uint_eq(exn_profile_class_count(profile), SMALL_CLASSES + 1);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status add_one(exn_context *ctx, void *user) {
    exn_model *model = NULL;
    exn_profile *profile = NULL;
    (void)user;
    exn_status status = small_model(&model, ctx);
    if (status == EXN_OK) status = small_profile(&profile, model, EXN_HEAD_LINEAR);
    if (status == EXN_OK) status = exn_profile_add_classes(profile, added, 1);
    if (status != EXN_OK && profile) ck_assert_uint_eq(exn_profile_class_count(profile), SMALL_CLASSES);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(add_one, NULL);
}
END_TEST

int main(void) {
    return unit_run("grow", (const TTest *const[]){a_new_class_is_learned, an_earlier_last_layer_does_not_stay,
                                                   nobody_answers_with_it_untrained, memory_may_fail, NULL});
}
