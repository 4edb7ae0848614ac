/* SPDX-License-Identifier: Apache-2.0
 * Before decisions, by hand: folds, duplicates, temperatures, costs. */
#include "arch/select.h"
#include "tests/unit/small.h"
#include "train/costs.h"
#include "train/optimiser.h"
#include "train/quality.h"
#include "train/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static exn_sample sample(uint8_t content, int64_t label) {
    return (exn_sample){.content = {{content}}, .label = label};
}

START_TEST(samples_settle_whatever_their_order) {
    const exn_sample all[] = {sample(3, 1),  sample(1, 0),  sample(3, 1), sample(2, -1),
                              sample(1, -1), sample(2, -1), sample(4, 1), sample(4, 0)};
    for (size_t shift = 0; shift < 8; shift++) {
        exn_sample s[8];
        for (size_t i = 0; i < 8; i++) s[i] = all[(i + shift) % 8];
        ck_assert_uint_eq(exn_samples_settle(s, 8), 5);
        static const uint8_t contents[] = {1, 2, 3, 4, 4};
        static const int64_t labels[] = {0, -1, 1, 0, 1};
        for (size_t i = 0; i < 5; i++) {
            ck_assert_uint_eq(s[i].content.bytes[0], contents[i]);
            ck_assert_int_eq(s[i].label, labels[i]);
        }
    }
    ck_assert_uint_eq(exn_samples_settle(NULL, 0), 0);
}
END_TEST

START_TEST(folds_are_even_and_keep_twins_together) {
    exn_context *ctx = unit_context();
    exn_sample s[40];
    size_t group[40], fold[40], total[5] = {0};
    for (size_t i = 0; i < 40; i++) {
        s[i] = sample((uint8_t)i, i == 39 ? 3 : (int64_t)(i % 3));
        group[i] = i == 20 ? 4 : i;
    }
    unit_assert_ok(ctx, exn_folds_assign(fold, ctx, s, group, 40, 5, 4));
    ck_assert_uint_eq(fold[20], fold[4]);
    for (size_t i = 0; i < 40; i++) total[fold[i]]++;
    for (size_t f = 0; f < 5; f++) ck_assert(total[f] >= 7 && total[f] <= 9);
    ck_assert_uint_eq(exn_fold_count(1), 0);
    ck_assert_uint_eq(exn_fold_count(2), 2);
    ck_assert_uint_eq(exn_fold_count(50), 5);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(twins_are_found) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    float rows[6 * 8];
    size_t group[6];
    for (size_t i = 0; i < 48; i++) rows[i] = i / 8 == i % 8 ? 1.0f : 0.0f;
    memcpy(rows + 5 * 8, rows + 2 * 8, 8 * sizeof(float));
    rows[5 * 8] = 0.01f;
    exn_sample s[6];
    float copy[6 * 8];
    for (int64_t label = EXN_UNLABELLED; label <= 2;
         label++) { /* 2 and 5 look alike; told apart by their labels, they are not twins */
        memcpy(copy, rows, sizeof copy);
        for (size_t i = 0; i < 6; i++) s[i] = sample((uint8_t)i, i == 5 ? label : 2);
        unit_assert_ok(ctx, exn_samples_group(group, ctx, &set.f32_vector, s, copy, 6, 8));
        const bool twins = label == EXN_UNLABELLED || label == 2;
        for (size_t i = 0; i < 6; i++) ck_assert_uint_eq(group[i], i == 5 && twins ? 2 : i);
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(temperature_follows_confidence) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    float logits[40 * 2], scratch[2];
    int64_t label[40];
    for (size_t i = 0; i < 40; i++) { /* always right, yet modest: sharpen; half wrong, yet sure: soften */
        logits[2 * i] = 1;
        logits[2 * i + 1] = 0;
        label[i] = 0;
    }
    exn_judged judged = {logits, label, 40, 2};
    ck_assert_float_eq_tol(exn_fit_temperature(&judged, &set.f32_vector, 0.4f, scratch), 0.4f, 1e-6f);
    ck_assert_uint_eq(exn_count_right(&judged), 40);
    for (size_t i = 0; i < 40; i++) {
        logits[2 * i] = 6;
        label[i] = i % 2;
    }
    ck_assert_float_eq_tol(exn_fit_temperature(&judged, &set.f32_vector, 2.5f, scratch), 2.5f, 1e-6f);
    ck_assert_double_eq_tol(exn_mean_nll(&judged, &set.f32_vector, 1.0f, scratch), 3 + log1p(exp(-6)), 1e-5);
    for (size_t i = 0; i < 40; i++) label[i] = EXN_UNLABELLED;
    ck_assert_float_eq(exn_fit_temperature(&judged, &set.f32_vector, 0.8f, scratch), 0.8f);
    ck_assert(isnan(exn_mean_nll(&judged, &set.f32_vector, 1.0f, scratch)));
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(half_cosine) {
    for (size_t i = 0; i <= 100; i++) {
        const double x = (double)i / 100;
        ck_assert_double_eq_tol(exn_half_cosine(x), 0.5 * (1 + cos(3.14159265358979323846 * x)), 1e-14);
    }
}
END_TEST

/* ---- cost tables ---- */

START_TEST(cost_tables) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_profile *profile;
    exn_costs costs;
    char *folder = unit_temp_create(), *path = unit_path(folder, "costs.json");
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    static const char good[] = "{\"schema\":\"exeunt.costs/1\",\"exits\":[3,5],\"full\":10,\"heads\":[1,1]}";
    unit_write_file(path, good, sizeof good - 1);
    unit_assert_ok(ctx, exn_costs_get(&costs, profile, path));
    const bool all[] = {true, true, true}, second[] = {false, true, true};
    ck_assert_double_eq(exn_costs_until(&costs, all, 0), 3);
    ck_assert_double_eq(exn_costs_until(&costs, second, 1), 5);
    ck_assert_double_eq(exn_costs_until(&costs, all, 2), 12);
    ck_assert_str_eq(costs.source, "costs.json");
    exn_costs_free(&costs, ctx);
    static const char *const bad[][2] = {
        {"{", "costs.json"},
        {"{}", "schema"},
        {"{\"schema\":\"exeunt.costs/1\",\"exits\":[3],\"full\":10}", "exits"},
        {"{\"schema\":\"exeunt.costs/1\",\"exits\":[3,-5],\"full\":10}", "element 1"},
        {"{\"schema\":\"exeunt.costs/1\",\"exits\":[3,5]}", "full"},
        {"{\"schema\":\"exeunt.costs/1\",\"exits\":[3,5],\"full\":10,\"heads\":[1,9]}", "heads"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unit_write_file(path, bad[i][0], strlen(bad[i][0]));
        unit_assert_fails(ctx, exn_costs_get(&costs, profile, path), EXN_E_FORMAT, bad[i][1]);
    }
    unit_assert_ok(ctx, exn_costs_get(&costs, profile, NULL));
    for (size_t e = 0; e < 3; e++) ck_assert(costs.reach[e] > 0 && (!e || costs.reach[e] > costs.reach[e - 1]));
    ck_assert(costs.head[0] > 0 && costs.head[1] > 0 && costs.head[2] == 0);
    exn_costs_free(&costs, ctx);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("policy", (const TTest *const[]){samples_settle_whatever_their_order,
                                                     folds_are_even_and_keep_twins_together, twins_are_found,
                                                     temperature_follows_confidence, half_cosine, cost_tables, NULL});
}
