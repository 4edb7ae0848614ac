/* SPDX-License-Identifier: Apache-2.0
 * General heads in a profile: kept beside the personal ones, saved, refused when damaged, absent from older files. */
#include "tests/unit/small.h"
#include "train/fresh.h"

#include <math.h>

static exn_context *ctx;
static exn_model *model;
static char *folder, *path;

static void set_up(void) {
    small_set_up(&ctx, &model, &folder, &path, "me.safetensors");
}

static void tear_down(void) {
    small_tear_down(ctx, model, folder, path);
}

/* As pretraining leaves an exit: the general head is a copy that later differs from the personal one. */
static void pretend_pretrained(exn_profile *profile, size_t exit) {
    exn_exit *e = &profile->exits[exit];
    unit_assert_ok(ctx, exn_head_copy(&e->general, ctx, &e->head));
    e->general.tensor[EXN_HEAD_FC_BIAS][1] = 0.25f + (float)exit;
    e->general_temperature = 0.8f;
    e->general_accuracy = 0.625;
    e->general_nll = 1.5;
}

START_TEST(general_heads_stay_beside_the_personal_ones) {
    set_up();
    for (exn_head_kind kind = EXN_HEAD_LINEAR; kind < EXN_HEAD_KINDS; kind++) {
        if (kind == EXN_HEAD_CLASSIFIER) continue;
        exn_profile *profile, *again;
        unit_assert_ok(ctx, small_profile(&profile, model, kind));
        pretend_pretrained(profile, 1);
        pretend_pretrained(profile, 2);
        unit_assert_ok(ctx, exn_profile_save(profile, path));
        unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
        ck_assert_int_eq(again->exits[0].general.kind, EXN_HEAD_AUTO);
        ck_assert(isnan(again->exits[0].general_temperature) && isnan(again->exits[0].general_accuracy));
        for (size_t e = 1; e < 3; e++) {
            const exn_exit *exit = &again->exits[e];
            ck_assert_int_eq(exit->general.kind, exit->head.kind);
            ck_assert(exit->general_temperature == 0.8f && exit->general_accuracy == 0.625);
            ck_assert(exit->general_nll == 1.5);
            ck_assert(exit->general.tensor[EXN_HEAD_FC_BIAS][1] == 0.25f + (float)e);
            ck_assert(exit->head.tensor[EXN_HEAD_FC_BIAS][1] != exit->general.tensor[EXN_HEAD_FC_BIAS][1]);
        }
        profile->exits[1].general.tensor[EXN_HEAD_FC_BIAS][0] = INFINITY;
        unit_assert_ok(ctx, exn_profile_save(profile, path));
        exn_profile *refused;
        unit_assert_fails(ctx, exn_profile_open(&refused, model, path, NULL), EXN_E_FORMAT, "general.1.fc.bias");
        exn_profile_destroy(profile);
        exn_profile_destroy(again);
    }
    tear_down();
}
END_TEST

/* Version 1.0 knew no general heads: here the fields go by names that nobody reads. */
START_TEST(older_files_have_no_general_heads) {
    set_up();
    exn_profile *profile, *opened;
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    small_forge(ctx, profile, path, "\"pretrained\":false,\"general\":{", "\"unknown_1_\":false,\"unknown\":{");
    unit_assert_ok(ctx, exn_profile_open(&opened, model, path, NULL));
    ck_assert_int_eq(opened->exits[0].general.kind, EXN_HEAD_AUTO);
    ck_assert(isnan(opened->exits[0].general_temperature) && isnan(opened->exits[0].general_nll));
    exn_profile_destroy(opened);
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

int main(void) {
    return unit_run("general", (const TTest *const[]){general_heads_stay_beside_the_personal_ones,
                                                      older_files_have_no_general_heads, NULL});
}
