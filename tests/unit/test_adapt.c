/* SPDX-License-Identifier: Apache-2.0
 * Exits that start from a general head: true labels move them, labels that are noise do not, and a second run starts from
 * the general head again. */
#include "core/rng.h"
#include "tests/unit/small.h"
#include "train/fresh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 60 };

/* Early exits whose general heads a first lesson of other photos taught. */
static exn_profile *pretrained(exn_context *ctx, const exn_model *model) {
    const exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
    exn_profile *profile;
    exn_trainer *trainer;
    float input[SMALL_INPUT];
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    for (size_t i = 0; i < SAMPLES; i++) {
        small_input(input, i % SMALL_CLASSES, 40000 + i);
        unit_assert_ok(ctx, exn_trainer_add_tensor(trainer, input, (int64_t)(i % SMALL_CLASSES)));
    }
    unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
    exn_trainer_destroy(trainer);
    for (size_t e = 0; e < 2; e++)
        unit_assert_ok(ctx, exn_head_copy(&profile->exits[e].general, ctx, &profile->exits[e].head));
    return profile;
}

/* noise: labels that have nothing to do with the samples. shift: the person calls every class by its neighbour's name. */
static void teach(exn_context *ctx, exn_profile *profile, bool noise, size_t shift) {
    const exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
    exn_trainer *trainer;
    exn_rng rng = exn_rng_seed(8, 8);
    float input[SMALL_INPUT];
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t label = noise ? exn_rng_below(&rng, SMALL_CLASSES) : (i + shift) % SMALL_CLASSES;
        small_input(input, i % SMALL_CLASSES, i);
        unit_assert_ok(ctx, exn_trainer_add_tensor(trainer, input, (int64_t)label));
    }
    unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
    exn_trainer_destroy(trainer);
}

START_TEST(noise_replaces_nothing) {
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    exn_profile *profile = pretrained(ctx, model);
    teach(ctx, profile, true, 0);
    for (size_t e = 0; e < 2; e++) {
        const exn_exit *exit = &profile->exits[e];
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, &exit->head, EXN_HEAD_FC_WEIGHT);
        ck_assert_msg(exit->gate.kept == 1.0f && exit->gate.judged == SAMPLES, "exit %zu: %g kept", e,
                      (double)exit->gate.kept);
        unit_assert_same_bits(exit->head.tensor[EXN_HEAD_FC_WEIGHT], exit->general.tensor[EXN_HEAD_FC_WEIGHT], count);
    }
    ck_assert(!profile->exits[2].trained);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(another_use_of_names_is_learned) {
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    exn_profile *profile = pretrained(ctx, model);
    teach(ctx, profile, false, 1);
    for (size_t e = 0; e < 2; e++) {
        const exn_gate *gate = &profile->exits[e].gate;
        ck_assert_msg(gate->kept < 1 && gate->after < gate->before - 0.3, "exit %zu: %g kept, %g to %g", e,
                      (double)gate->kept, gate->before, gate->after);
        ck_assert(profile->exits[e].accuracy > 0.5);
    }
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

/* What was learned before leaves no trace: otherwise photos would be judged by heads that know them. */
START_TEST(every_run_starts_from_the_general_head) {
    if (unit_emulated()) return;
    exn_context *ctx = unit_context();
    exn_model *model;
    unit_assert_ok(ctx, small_model(&model, ctx));
    exn_profile *once = pretrained(ctx, model), *twice = pretrained(ctx, model);
    teach(ctx, twice, false, 2);
    teach(ctx, once, false, 0);
    teach(ctx, twice, false, 0);
    for (size_t e = 0; e < 3; e++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, &once->exits[e].head, EXN_HEAD_FC_WEIGHT);
        unit_assert_same_bits(twice->exits[e].head.tensor[EXN_HEAD_FC_WEIGHT],
                              once->exits[e].head.tensor[EXN_HEAD_FC_WEIGHT], count);
        ck_assert_mem_eq(&twice->exits[e].gate.after, &once->exits[e].gate.after, sizeof(double));
    }
    exn_profile_destroy(once);
    exn_profile_destroy(twice);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("adapt", (const TTest *const[]){noise_replaces_nothing, another_use_of_names_is_learned,
                                                    every_run_starts_from_the_general_head, NULL});
}
