/* SPDX-License-Identifier: Apache-2.0
 * Heads that something else trained: taken whole and checked, with nothing changed on failure and no evidence made up. */
#include "tests/unit/small.h"
#include "train/fresh.h"
#include "train/head_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static exn_context *ctx;
static exn_model *model;
static exn_profile *profile, *other; /* other: where heads come from */
static char *folder, *path, *again;

static void set_up(void) {
    ctx = unit_context();
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, small_profile(&other, model, EXN_HEAD_POOLED));
    folder = unit_temp_create();
    path = unit_path(folder, "heads.safetensors");
    again = unit_path(folder, "again.safetensors");
    for (size_t e = 0; e < 3; e++)
        for (size_t i = 0; i < SMALL_CLASSES; i++)
            other->exits[e].head.tensor[EXN_HEAD_FC_BIAS][i] = (float)(10 * e + i) + 0.5f;
}

static void tear_down(void) {
    exn_profile_destroy(profile);
    exn_profile_destroy(other);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    free(path);
    free(again);
    unit_temp_remove(folder);
}

/* Puts metadata into a tensor file. */
static void annotate(const char *notes) {
    size_t size, length = 0;
    uint8_t *bytes = small_read(&size, path);
    for (size_t i = 0; i < 8; i++) length |= (size_t)bytes[i] << (8 * i);
    char *header = malloc(length + strlen(notes) + 32);
    const bool more = length > 2 && bytes[9] != '}';
    const int written =
        sprintf(header, "{\"__metadata__\":%s%s%.*s", notes, more ? "," : "", (int)length - 1, (const char *)bytes + 9);
    uint8_t *whole = malloc(8 + (size_t)written + size);
    for (size_t i = 0; i < 8; i++) whole[i] = (uint8_t)((size_t)written >> (8 * i));
    memcpy(whole + 8, header, (size_t)written);
    memcpy(whole + 8 + written, bytes + 8 + length, size - 8 - length);
    unit_write_file(path, whole, (size_t)written + size - length);
    free(whole);
    free(header);
    free(bytes);
}

/* A tensor file with heads of `other`; notes: JSON for its metadata, or NULL. */
static void write_heads(const char *role, size_t first, size_t count, const char *notes) {
    exn_tensor_list list = {0};
    exn_writer *writer;
    for (size_t e = first; e < first + count; e++)
        unit_assert_ok(ctx, exn_head_file_list(&list, ctx, &other->exits[e].head, role, e));
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_safetensors_write(writer, ctx, &list));
    unit_assert_ok(ctx, exn_writer_commit(writer));
    exn_tensor_list_free(&list, ctx);
    if (notes) annotate(notes);
}

static void pretend_decided(void) {
    for (size_t e = 0; e < 3; e++) {
        exn_exit *exit = &profile->exits[e];
        exit->trained = exit->rule.enabled = true;
        exit->accuracy = 0.75;
        exit->share = 0.25;
        exit->rule.threshold = e < 2 ? 0.8f : 1.0f;
        exit->gate = (exn_gate){.tried = 1, .judged = 20, .kept = 0.5f};
    }
    profile->accuracy = 0.8;
    profile->point[0].judged = profile->point[0].samples = 20;
}

START_TEST(head_in_use_has_no_evidence) {
    pretend_decided();
    write_heads(EXN_HEAD_OWN, 1, 1, NULL);
    unit_assert_ok(ctx, exn_profile_import(profile, path, NULL));
    const exn_exit *kept = &profile->exits[0], *taken = &profile->exits[1], *last = &profile->exits[2];
    unit_assert_same_bits(taken->head.tensor[EXN_HEAD_FC_BIAS], other->exits[1].head.tensor[EXN_HEAD_FC_BIAS],
                          SMALL_CLASSES);
    ck_assert(taken->trained && !taken->rule.enabled && isnan(taken->accuracy) && taken->gate.tried == 0);
    ck_assert(!kept->rule.enabled && kept->accuracy == 0.75 && kept->gate.tried == 1 && isnan(kept->share));
    ck_assert(last->rule.enabled && last->accuracy == 0.75);
    ck_assert(profile->point[0].judged == 0 && isnan(profile->accuracy));
    ck_assert_ptr_nonnull(strstr(taken->decision, "imported"));
    ck_assert_ptr_nonnull(strstr(kept->decision, "personalise again"));
    exn_profile *opened;
    unit_assert_ok(ctx, exn_profile_save(profile, again));
    unit_assert_ok(ctx, exn_profile_open(&opened, model, again, NULL));
    ck_assert(opened->exits[1].head.tensor[EXN_HEAD_FC_BIAS][2] == 12.5f);
    exn_profile_destroy(opened);
}
END_TEST

START_TEST(stated_threshold_is_used) {
    write_heads(EXN_HEAD_OWN, 0, 1,
                "{\"exits.0.threshold\":\"0.9\",\"exits.0.temperature\":\"1.5\",\"by\":\"a test\"}");
    unit_assert_ok(ctx, exn_profile_import(profile, path, NULL));
    const exn_exit_rule rule = profile->exits[0].rule;
    ck_assert(rule.enabled && rule.threshold == 0.9f && rule.temperature == 1.5f);
    ck_assert_ptr_nonnull(strstr(profile->exits[0].decision, "without evidence"));
}
END_TEST

/* Personalising starts from them; what is in use, and what was decided, stays where it was personalised. */
START_TEST(general_heads) {
    write_heads(EXN_HEAD_GENERAL, 0, 1, "{\"general.0.temperature\":\"0.7\"}");
    unit_assert_ok(ctx, exn_profile_import(profile, path, NULL));
    ck_assert(profile->exits[0].general.tensor[EXN_HEAD_FC_BIAS][1] == 1.5f);
    ck_assert(profile->exits[0].head.tensor[EXN_HEAD_FC_BIAS][1] == 1.5f); /* nothing was there */
    ck_assert(profile->exits[0].trained && !profile->exits[0].rule.enabled);
    ck_assert(profile->exits[0].general_temperature == 0.7f && isnan(profile->exits[0].general_accuracy));
    pretend_decided();
    write_heads(EXN_HEAD_GENERAL, 1, 1, NULL);
    unit_assert_ok(ctx, exn_profile_import(profile, path, NULL));
    ck_assert(profile->exits[1].general.tensor[EXN_HEAD_FC_BIAS][1] == 11.5f);
    ck_assert(profile->exits[1].head.tensor[EXN_HEAD_FC_BIAS][1] != 11.5f);
    ck_assert(profile->exits[1].rule.enabled && profile->point[0].judged == 20);
}
END_TEST

START_TEST(whole_profile_with_one_head_changed) {
    pretend_decided();
    unit_assert_ok(ctx, exn_profile_save(profile, again));
    unit_assert_ok(ctx, exn_profile_import(profile, again, NULL));
    ck_assert(profile->exits[0].rule.enabled && profile->point[0].judged == 20);
    other->exits[1].head.tensor[EXN_HEAD_FC_WEIGHT][3] = -7.0f;
    unit_assert_ok(ctx, exn_profile_save(other, again));
    unit_assert_ok(ctx, exn_profile_import(profile, again, NULL));
    ck_assert(profile->exits[1].head.tensor[EXN_HEAD_FC_WEIGHT][3] == -7.0f);
    ck_assert(!profile->exits[0].rule.enabled);
}
END_TEST

START_TEST(another_kind_of_head) {
    exn_profile_destroy(other);
    unit_assert_ok(ctx, small_profile(&other, model, EXN_HEAD_CONV));
    write_heads(EXN_HEAD_OWN, 0, 1, "{\"exits.0.kind\":\"conv\"}");
    unit_assert_ok(ctx, exn_profile_import(profile, path, NULL));
    ck_assert_int_eq(profile->exits[0].head.kind, EXN_HEAD_CONV);
    unit_assert_ok(ctx, exn_head_copy(&profile->exits[1].general, ctx, &profile->exits[1].head));
    write_heads(EXN_HEAD_OWN, 1, 1, "{\"exits.1.kind\":\"conv\"}");
    unit_assert_fails(ctx, exn_profile_import(profile, path, NULL), EXN_E_INVALID, "import general.1 too");
    write_heads(EXN_HEAD_OWN, 1, 1, "{\"exits.1.kind\":\"classifier\"}");
    unit_assert_fails(ctx, exn_profile_import(profile, path, NULL), EXN_E_INVALID, "exits.1.kind");
}
END_TEST

START_TEST(mistakes_change_nothing) {
    float *bias = other->exits[1].head.tensor[EXN_HEAD_FC_BIAS];
    pretend_decided();
    unit_assert_ok(ctx, exn_profile_save(profile, again));
    bias[1] = INFINITY;
    write_heads(EXN_HEAD_OWN, 0, 2, NULL);
    unit_assert_fails(ctx, exn_profile_import(profile, path, NULL), EXN_E_FORMAT, "exits.1.fc.bias");
    bias[1] = 1;
    static const char *const notes[][2] = {
        {"{\"exits.0.tap\":\"elsewhere\"}", "was trained at elsewhere"},
        {"{\"exits.0.threshold\":\"2\"}", "exits.0.threshold"},
        {"{\"exits.0.temperature\":\"warm\"}", "exits.0.temperature"},
        {"{\"exits.0.kind\":\"conv\"}", "exits.0.dw.weight is missing"},
        {"{\"exits.0.kind\":\"linear\"}", "float32 of shape"},
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        write_heads(EXN_HEAD_OWN, 0, 1, notes[i][0]);
        ck_assert_int_lt(exn_profile_import(profile, path, NULL), 0);
        ck_assert_msg(strstr(exn_context_error(ctx), notes[i][1]) != NULL, "%s", exn_context_error(ctx));
    }
    write_heads("exists", 0, 1, NULL);
    unit_assert_fails(ctx, exn_profile_import(profile, path, NULL), EXN_E_INVALID, "belongs to no head");
    write_heads(EXN_HEAD_OWN, 0, 0, NULL);
    unit_assert_fails(ctx, exn_profile_import(profile, path, NULL), EXN_E_INVALID, "no head");
    unit_assert_fails(ctx, exn_profile_import(profile, "/nowhere", NULL), EXN_E_IO, "/nowhere");
    unit_assert_fails(ctx, exn_profile_import(profile, NULL, NULL), EXN_E_INVALID, "path");
    ck_assert_int_eq(exn_profile_import(NULL, path, NULL), EXN_E_INVALID);
    ck_assert(profile->exits[0].rule.enabled && profile->exits[0].head.tensor[EXN_HEAD_FC_BIAS][1] != 1.5f);
    ck_assert(profile->point[0].judged == 20);
}
END_TEST

static exn_status import_once(exn_context *context, void *heads) {
    exn_model *net;
    exn_profile *me = NULL;
    EXN_TRY(small_model(&net, context));
    exn_status status = small_profile(&me, net, EXN_HEAD_POOLED);
    if (status == EXN_OK) status = exn_profile_import(me, heads, NULL);
    exn_profile_destroy(me);
    exn_model_destroy(net);
    return status;
}

START_TEST(memory_may_fail) {
    write_heads(EXN_HEAD_GENERAL, 0, 1, NULL);
    unit_sweep_failures(import_once, path);
}
END_TEST

int main(void) {
    return unit_run_with("import_heads", set_up, tear_down,
                         (const TTest *const[]){head_in_use_has_no_evidence, stated_threshold_is_used, general_heads,
                                                whole_profile_with_one_head_changed, another_kind_of_head,
                                                mistakes_change_nothing, memory_may_fail, NULL});
}
