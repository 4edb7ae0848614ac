/* SPDX-License-Identifier: Apache-2.0
 * Heads that something else trained, put into a profile: checked, made beside it, exchanged when all is well. */
#include "train/fresh.h"
#include "train/grow.h"
#include "train/head_file.h"
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECISION_IMPORTED                                                                                              \
    "imported: nothing shows yet how good it is, so it is not used; personalise, or state its threshold"
#define DECISION_STATED "imported: used from the confidence on that its file states, without evidence"
#define DECISION_LAST "imported: what other exits leave to it"
#define DECISION_OUT "not used: a head was imported since this was decided; personalise again"
#define LINE_BYTES 64u

/* One exit as it shall be. */
typedef struct graft {
    exn_head head, general; /* AUTO: stays as it is */
    float temperature, general_temperature;
    float threshold; /* NaN: not stated */
    char *decision;
} graft;

typedef struct importing {
    exn_profile *profile;
    const exn_tensor_list *list;
    const json_t *notes;
    graft *graft; /* [exits] */
    bool *used;   /* [tensors of the list]: belongs to a head */
    bool any;
} importing;

/* ---- what the file says beside its tensors ---- */

static const char *note(const importing *in, const char *role, size_t exit, const char *what) {
    char name[LINE_BYTES];
    snprintf(name, sizeof name, "%s.%zu.%s", role, exit, what);
    return json_string_value(json_object_get(in->notes, name));
}

/* *out stays where the file says nothing. */
static exn_status number_note(float *out, const importing *in, const char *role, size_t exit, const char *what,
                              double most) {
    const char *text = note(in, role, exit, what);
    if (!text) return EXN_OK;
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value > most || !((float)value > 0))
        return exn_fail(in->profile->ctx, EXN_E_FORMAT, "%s.%zu.%s: %.40s is not above 0 and at most %g", role, exit,
                        what, text, most);
    *out = (float)value;
    return EXN_OK;
}

static exn_status check_tap(const importing *in, const char *role, size_t exit) {
    const char *tap = note(in, role, exit, "tap");
    if (!tap || !strcmp(tap, in->profile->exits[exit].tap)) return EXN_OK;
    return exn_fail(in->profile->ctx, EXN_E_INVALID, "%s.%zu was trained at %.100s, exit %zu reads %.100s", role, exit,
                    tap, exit, in->profile->exits[exit].tap);
}

static exn_status read_kind(exn_head_kind *out, const importing *in, const char *role, size_t exit) {
    const exn_head *head = &in->profile->exits[exit].head;
    const char *kind = note(in, role, exit, "kind");
    *out = head->kind;
    if (!kind) return EXN_OK;
    for (size_t k = EXN_HEAD_AUTO + 1; k < EXN_HEAD_KINDS; k++) {
        if (strcmp(kind, exn_head_kind_names[k]) != 0) continue;
        if ((k == EXN_HEAD_CLASSIFIER) != (head->kind == EXN_HEAD_CLASSIFIER)) break;
        *out = (exn_head_kind)k;
        return EXN_OK;
    }
    return exn_fail(in->profile->ctx, EXN_E_INVALID, "%s.%zu.kind: exit %zu cannot have a head of kind %.40s", role,
                    exit, exit, kind);
}

/* ---- heads ---- */

static bool has_tensors(const importing *in, const char *role, size_t exit) {
    char start[LINE_BYTES];
    const int length = snprintf(start, sizeof start, "%s.%zu.", role, exit);
    bool has = false;
    for (size_t i = 0; i < in->list->count; i++) has |= !strncmp(in->list->tensors[i].name, start, (size_t)length);
    return has;
}

/* A head whose file leaves standardise out does without it. */
static bool may_lack(exn_head_tensor which) {
    return which == EXN_HEAD_MEAN || which == EXN_HEAD_INV_STD;
}

static exn_status read_tensors(exn_head *head, importing *in, const char *role, size_t exit) {
    for (int i = 0; i < EXN_HEAD_TENSORS; i++) {
        const exn_head_tensor which = (exn_head_tensor)i;
        char name[EXN_HEAD_NAME_BYTES];
        exn_shape shape;
        if (!exn_head_tensor_shape(&shape, head, which)) continue;
        exn_head_file_name(name, role, exit, which);
        const exn_named_tensor *tensor = exn_tensor_list_find(in->list, name);
        if (!tensor && may_lack(which)) continue;
        EXN_TRY(exn_head_file_load(head, in->profile->ctx, in->list, role, exit, which));
        in->used[tensor - in->list->tensors] = in->any = true;
    }
    return EXN_OK;
}

static bool same_head(const exn_head *a, const exn_head *b) {
    bool same = a->kind == b->kind && a->classes == b->classes;
    for (int i = 0; i < EXN_HEAD_TENSORS && same; i++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, a, (exn_head_tensor)i);
        same = !count || !memcmp(a->tensor[i], b->tensor[i], count * sizeof(float));
    }
    return same;
}

/* Nothing, where the file has no head for this exit, or the one that is there: a whole profile may come back with one changed. */
static exn_status read_head(exn_head *out, importing *in, const char *role, size_t exit, const exn_head *now,
                            size_t classes) {
    exn_context *ctx = in->profile->ctx;
    const exn_head *place = &in->profile->exits[exit].head;
    if (!has_tensors(in, role, exit)) return EXN_OK;
    exn_head head = {.c = place->c, .h = place->h, .w = place->w, .classes = classes};
    EXN_TRY(check_tap(in, role, exit));
    EXN_TRY(read_kind(&head.kind, in, role, exit));
    EXN_TRY(exn_head_allocate(&head, ctx));
    const exn_status status = read_tensors(&head, in, role, exit);
    if (status == EXN_OK && !same_head(&head, now))
        *out = head;
    else
        exn_head_free(&head, ctx);
    return status;
}

/* Where no head was trained yet, a general one is what is there to be used. */
static exn_status start_from_general(graft *g, const exn_profile *profile, size_t exit) {
    const exn_exit *e = &profile->exits[exit];
    if (g->general.kind == EXN_HEAD_AUTO || g->head.kind != EXN_HEAD_AUTO) return EXN_OK;
    if (e->trained && e->head.kind == g->general.kind && e->gate.tried) return EXN_OK;
    EXN_TRY(exn_head_copy(&g->head, profile->ctx, &g->general));
    g->temperature = isfinite(g->general_temperature) ? g->general_temperature : 1.0f;
    return exn_head_grow(&g->head, profile->ctx, profile->class_count, EXN_UNKNOWN_LOGIT);
}

static exn_status check_kinds(const graft *g, const exn_profile *profile, size_t exit) {
    const exn_exit *e = &profile->exits[exit];
    const exn_head_kind head = g->head.kind ? g->head.kind : e->head.kind;
    const exn_head_kind general = g->general.kind ? g->general.kind : e->general.kind;
    if (general == EXN_HEAD_AUTO || general == head) return EXN_OK;
    return exn_fail(profile->ctx, EXN_E_INVALID,
                    "exits.%zu is a %s head, and personal training starts from a %s one: import general.%zu too", exit,
                    exn_head_kind_names[head], exn_head_kind_names[general], exit);
}

static exn_status read_exit(importing *in, size_t exit) {
    const exn_profile *profile = in->profile;
    const exn_exit *e = &profile->exits[exit];
    graft *g = &in->graft[exit];
    g->temperature = 1.0f;
    g->general_temperature = g->threshold = NAN;
    EXN_TRY(read_head(&g->head, in, EXN_HEAD_OWN, exit, &e->head, profile->class_count));
    EXN_TRY(number_note(&g->temperature, in, EXN_HEAD_OWN, exit, "temperature", 1e3));
    EXN_TRY(number_note(&g->threshold, in, EXN_HEAD_OWN, exit, "threshold", 1.0));
    EXN_TRY(read_head(&g->general, in, EXN_HEAD_GENERAL, exit, &e->general, profile->model->classes));
    EXN_TRY(number_note(&g->general_temperature, in, EXN_HEAD_GENERAL, exit, "temperature", 1e3));
    EXN_TRY(start_from_general(g, profile, exit));
    EXN_TRY(check_kinds(g, profile, exit));
    const char *why = exit + 1 == profile->exit_count ? DECISION_LAST
                      : isnan(g->threshold)           ? DECISION_IMPORTED
                                                      : DECISION_STATED;
    if (g->head.kind == EXN_HEAD_AUTO) why = DECISION_OUT;
    g->decision = exn_strdup(profile->ctx, why);
    return g->decision ? EXN_OK : EXN_E_NOMEM;
}

/* Tensors that belong to no exit are a mistake, but for what every profile has. */
static exn_status check_rest(const importing *in) {
    exn_context *ctx = in->profile->ctx;
    for (size_t i = 0; i < in->list->count; i++) {
        const char *name = in->list->tensors[i].name;
        if (in->used[i] || !strcmp(name, EXN_STATE_TENSOR) || !strcmp(name, EXN_STATE_HASH_TENSOR)) continue;
        return exn_fail(ctx, EXN_E_INVALID, "tensor %.64s belongs to no head of this profile's exits", name);
    }
    return in->any ? EXN_OK : exn_fail(ctx, EXN_E_INVALID, "no head: tensors are named exits.0.fc.weight and so on");
}

/* ---- the exchange ---- */

static void exchange(exn_head *to, exn_head *from) {
    if (from->kind == EXN_HEAD_AUTO) return;
    const exn_head old = *to;
    *to = *from;
    *from = old;
}

static void take_exit(exn_exit *e, graft *g, bool last, bool again) {
    const bool imported = g->head.kind != EXN_HEAD_AUTO;
    if (g->general.kind != EXN_HEAD_AUTO) {
        e->general_temperature = g->general_temperature;
        e->general_accuracy = e->general_nll = NAN;
    }
    exchange(&e->head, &g->head);
    exchange(&e->general, &g->general);
    if (!again) return;
    if (imported || (e->rule.enabled && !last)) {
        char *old = e->decision;
        e->decision = g->decision;
        g->decision = old;
    }
    if (imported) {
        e->trained = true;
        e->gate = (exn_gate){0};
        e->accuracy = e->nll = e->agreement = NAN;
        e->rule.temperature = g->temperature;
    }
    e->rule.enabled = last || (imported && !isnan(g->threshold));
    e->rule.threshold = e->rule.enabled && !last ? g->threshold : 1.0f;
    e->share = NAN;
    e->cost_ms = 0;
}

/* Without a head that is used, general heads change nothing. */
static void take(importing *in) {
    exn_profile *profile = in->profile;
    bool again = false;
    for (size_t e = 0; e < profile->exit_count; e++) again |= in->graft[e].head.kind != EXN_HEAD_AUTO;
    for (size_t e = 0; e < profile->exit_count; e++)
        take_exit(&profile->exits[e], &in->graft[e], e + 1 == profile->exit_count, again);
    if (again) exn_profile_forget_points(profile);
}

static exn_status import_list(exn_profile *profile, const exn_tensor_list *list, const json_t *notes) {
    importing in = {.profile = profile, .list = list, .notes = notes};
    in.graft = exn_calloc(profile->ctx, profile->exit_count, sizeof *in.graft);
    in.used = exn_calloc(profile->ctx, list->count + 1, sizeof *in.used);
    exn_status status = in.graft && in.used ? EXN_OK : EXN_E_NOMEM;
    for (size_t e = 0; e < profile->exit_count && status == EXN_OK; e++) status = read_exit(&in, e);
    if (status == EXN_OK) status = check_rest(&in);
    if (status == EXN_OK) take(&in);
    for (size_t e = 0; in.graft && e < profile->exit_count; e++) {
        exn_head_free(&in.graft[e].head, profile->ctx);
        exn_head_free(&in.graft[e].general, profile->ctx);
        exn_free(profile->ctx, in.graft[e].decision);
    }
    exn_free(profile->ctx, in.graft);
    exn_free(profile->ctx, in.used);
    return status;
}

exn_status exn_profile_import(exn_profile *profile, const char *path, const void *options) {
    if (!profile) return EXN_E_INVALID;
    exn_context *ctx = profile->ctx;
    exn_mapping file;
    exn_tensor_list list = {0};
    json_t *notes = NULL;
    if (!path || options)
        return exn_fail(ctx, EXN_E_INVALID, "exn_profile_import: path must not be NULL, and options must be");
    EXN_TRY(exn_mapping_open(&file, ctx, path));
    exn_status status = exn_safetensors_read(&list, ctx, file.bytes, file.size);
    if (status == EXN_OK) status = exn_safetensors_notes(&notes, ctx, file.bytes, file.size);
    if (status == EXN_OK) status = import_list(profile, &list, notes);
    if (status != EXN_OK) exn_fail_in(ctx, status, "%s", path);
    json_decref(notes);
    exn_tensor_list_free(&list, ctx);
    exn_mapping_close(&file);
    return status;
}
