/* SPDX-License-Identifier: Apache-2.0
 * A trainer at its limit: who goes, goes for somebody who came. */
#include "tests/unit/small.h"
#include "train/trainer.h"

#include <stdlib.h>

static void check_ten(const exn_trainer *trainer, size_t unlabelled, size_t left_out) {
    ck_assert_uint_eq(trainer->sample_count, 10);
    ck_assert_uint_eq(exn_cache_count(trainer->cache), 10);
    ck_assert_uint_eq(trainer->of_class[0], unlabelled);
    ck_assert_uint_eq(trainer->left_out, left_out);
}

/* Who goes for somebody that never comes would be lost: not a number on the way, too large for half precision, no memory. */
START_TEST(newcomers_that_fail_replace_nobody) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    exn_model *model;
    exn_profile *profile;
    float input[SMALL_INPUT];
    char *path = unit_source_path("tests/golden/data/fire.onnx"); /* nothing in it keeps large numbers small */
    unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
    free(path);
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    for (int half = 0; half < 2; half++) {
        exn_trainer *trainer;
        exn_trainer_options o = {.struct_size = sizeof o, .costs = "macs"};
        o.cache_half = half;
        unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
        o.cache_limit_bytes = 10 * exn_cache_record_bytes(trainer->record_count, half);
        exn_trainer_destroy(trainer);
        unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &o));
        unit_assert_ok(ctx, small_add(trainer, 10, 96)); /* the ninth without a label: it is the one to go */
        for (size_t i = 0; i < SMALL_INPUT; i++) input[i] = half ? 1e9f : 3e38f;
        unit_assert_fails(ctx, exn_trainer_add_tensor(trainer, input, 0), EXN_E_INVALID, half ? "half" : "not finite");
        check_ten(trainer, 1, 0);
        exn_status status = EXN_E_NOMEM;
        size_t at = 0;
        small_input(input, 0, 78);
        while (status != EXN_OK) {
            at++;
            exn_trainer_end_extraction(trainer);
            counter.fail_at = counter.calls + at;
            status = exn_trainer_add_tensor(trainer, input, EXN_UNLABELLED);
            counter.fail_at = 0;
            ck_assert(status == EXN_OK || (status == EXN_E_NOMEM && at < 1000));
            check_ten(trainer, 1, status == EXN_OK);
        }
        ck_assert_uint_gt(at, 10);
        /* The same photo goes and comes: its features stay. */
        unit_assert_ok(ctx, exn_trainer_add_tensor(trainer, input, 3));
        check_ten(trainer, 0, 2);
        unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
        exn_trainer_destroy(trainer);
    }
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
}
END_TEST

int main(void) {
    return unit_run("limits", (const TTest *const[]){newcomers_that_fail_replace_nobody, NULL});
}
