/* SPDX-License-Identifier: Apache-2.0
 * Exporting a profile: its three forms, refusals, memory that runs out. What the files compute is asked in tests/golden. */
#include "tests/unit/small.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "train/profile.h"

typedef struct wish {
    const char *path;
    exn_export_options options;
} wish;

static exn_status export_small(exn_context *ctx, void *user) {
    const wish *w = user;
    exn_model *model = NULL;
    exn_profile *profile = NULL;
    exn_status status = small_model(&model, ctx);
    if (status == EXN_OK) status = small_profile(&profile, model, EXN_HEAD_CONV);
    if (status == EXN_OK) {
        profile->exits[0].rule = (exn_exit_rule){.enabled = true, .temperature = 1, .threshold = .7f};
        profile->normal = (exn_normalisation){.used = true, .gain = {2, 2, 2}, .offset = {1, 1, 1}};
        status = exn_profile_export(profile, w->path, &w->options);
    }
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return status;
}

START_TEST(every_form_survives_failing_memory) {
    char *folder = unit_temp_create(), *path = unit_path(folder, "out.onnx");
    for (int form = EXN_EXPORT_EXITS; form <= EXN_EXPORT_LEAVE; form++) {
        wish w = {path, {.struct_size = sizeof w.options, .form = (exn_export_form)form}};
        unit_sweep_failures_onward(export_small, &w);
        exn_context *ctx = unit_context();
        exn_model *model;
        const exn_status read = exn_model_open(&model, ctx, path, NULL);
        if (form == EXN_EXPORT_CUT) /* the others have several outputs, or choose between branches */
            unit_assert_ok(ctx, read);
        else
            ck_assert_int_eq(read, EXN_E_UNSUPPORTED);
        if (read == EXN_OK) exn_model_destroy(model);
        exn_context_destroy(ctx);
    }
    free(path);
    unit_temp_remove(folder);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "no/out.onnx");
    wish w = {path, {.struct_size = sizeof w.options, .form = EXN_EXPORT_LEAVE, .batch = 2}};
    unit_assert_fails(ctx, export_small(ctx, &w), EXN_E_INVALID, "batch 2");
    w.options = (exn_export_options){.struct_size = sizeof w.options, .form = EXN_EXPORT_CUT, .exit = 9};
    unit_assert_fails(ctx, export_small(ctx, &w), EXN_E_INVALID, "exit 9");
    w.options = (exn_export_options){.struct_size = sizeof w.options, .form = (exn_export_form)7};
    unit_assert_fails(ctx, export_small(ctx, &w), EXN_E_INVALID, "form");
    w.options = (exn_export_options){.struct_size = sizeof w.options};
    unit_assert_fails(ctx, export_small(ctx, &w), EXN_E_IO, "out.onnx");
    ck_assert_int_eq(exn_profile_export(NULL, path, NULL), EXN_E_INVALID);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("export",
                    (const TTest *const[]){every_form_survives_failing_memory, what_makes_no_sense_is_refused, NULL});
}
