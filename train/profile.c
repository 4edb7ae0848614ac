/* SPDX-License-Identifier: Apache-2.0
 * Making profiles and asking them questions. */
#include "train/profile.h"

#include "train/fresh.h"
#include "train/place.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_EXITS 4u
#define DECISION_FRESH "not trained yet"
#define DECISION_LAST "the network's own last layer, untouched"
#define NUMBER_BYTES 24u

void exn_profile_destroy(exn_profile *profile) {
    if (!profile) return;
    exn_context *ctx = profile->ctx;
    for (size_t i = 0; profile->exits && i < profile->exit_count; i++) {
        exn_head_free(&profile->exits[i].head, ctx);
        exn_head_free(&profile->exits[i].general, ctx);
        exn_free(ctx, profile->exits[i].tap);
        exn_free(ctx, profile->exits[i].decision);
    }
    for (size_t i = 0; profile->classes && i < profile->class_count; i++) exn_free(ctx, profile->classes[i]);
    exn_free(ctx, profile->exits);
    exn_free(ctx, profile->classes);
    exn_free(ctx, profile->costs);
    exn_free(ctx, profile);
}

bool exn_name_is_clean(const char *text) {
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    json_t *value = json_string(text); /* NULL: not UTF-8 */
    json_decref(value);
    return value && text[0];
}

static exn_status name_classes(exn_profile *profile, const exn_profile_options *options) {
    exn_context *ctx = profile->ctx;
    const size_t count = profile->model->classes;
    if (options->classes && options->class_count != count)
        return exn_fail(ctx, EXN_E_INVALID, "%zu class names for a network with %zu logits", options->class_count,
                        count);
    if (count > EXN_CLASSES_MAX)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "%s: %zu logits, at most %u are read as classes", profile->model->path,
                        count, EXN_CLASSES_MAX);
    profile->classes = exn_calloc(ctx, count, sizeof *profile->classes);
    if (!profile->classes) return EXN_E_NOMEM;
    profile->class_count = count;
    for (size_t i = 0; i < count; i++) {
        char number[NUMBER_BYTES];
        snprintf(number, sizeof number, "%zu", i);
        const char *name = options->classes ? options->classes[i] : number;
        if (!name || !exn_name_is_clean(name))
            return exn_fail(ctx, EXN_E_INVALID, "class %zu has no name in UTF-8 without control characters", i);
        profile->classes[i] = exn_strdup(ctx, name);
        if (!profile->classes[i]) return EXN_E_NOMEM;
    }
    return EXN_OK;
}

/* The last tap is the classifier's input, which only the last exit reads. */
static exn_status find_named_taps(size_t *picked, exn_profile *profile, const exn_profile_options *options) {
    const exn_model *model = profile->model;
    for (size_t i = 0; i < options->tap_count; i++) {
        size_t tap = 0;
        const char *name = options->taps[i];
        while (name && tap + 1 < model->tap_count && strcmp(model->taps[tap].name, name) != 0) tap++;
        if (!name || tap + 1 >= model->tap_count)
            return exn_fail(profile->ctx, EXN_E_INVALID, "no exit can be attached at %.100s: not a tap of this network",
                            name ? name : "(no name)");
        if (i && tap <= picked[i - 1])
            return exn_fail(profile->ctx, EXN_E_INVALID, "exit at %.100s: taps must be named once, in order of depth",
                            name);
        picked[i] = tap;
    }
    return EXN_OK;
}

static exn_status pick_taps(size_t *picked, size_t *count, exn_profile *profile, const exn_profile_options *options) {
    const exn_model *model = profile->model;
    if (options->taps) {
        *count = options->tap_count;
        return find_named_taps(picked, profile, options);
    }
    size_t wanted = options->exits ? options->exits : DEFAULT_EXITS;
    if (wanted > model->tap_count) wanted = model->tap_count;
    double *cost = NULL;
    exn_status status = EXN_OK;
    if (options->measured) {
        cost = exn_calloc(profile->ctx, model->tap_count, sizeof *cost);
        status = cost ? exn_place_measure(cost, model) : EXN_E_NOMEM;
    }
    if (status == EXN_OK)
        status = exn_taps_place(picked, count, wanted, model->taps, model->tap_count, cost, profile->ctx);
    exn_free(profile->ctx, cost);
    return status;
}

static exn_status describe_exit(exn_exit *e, exn_context *ctx, const char *tap, const char *decision) {
    e->rule.temperature = 1.0f;
    e->rule.threshold = 1.0f;
    e->accuracy = e->nll = e->agreement = e->share = NAN;
    e->general_temperature = NAN;
    e->general_accuracy = e->general_nll = NAN;
    e->tap = exn_strdup(ctx, tap);
    e->decision = exn_strdup(ctx, decision);
    return e->tap && e->decision ? EXN_OK : EXN_E_NOMEM;
}

static exn_status attach_exits(exn_profile *profile, const size_t *picked, size_t count, exn_head_kind kind) {
    exn_context *ctx = profile->ctx;
    const exn_model *model = profile->model;
    if (model->tap_count == 0)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "%s: no final classifier, so exits have nothing to start from",
                        model->path);
    profile->exits = exn_calloc(ctx, count + 1, sizeof *profile->exits);
    if (!profile->exits) return EXN_E_NOMEM;
    profile->exit_count = count + 1;
    for (size_t i = 0; i < count; i++) {
        const exn_tap *tap = &model->taps[picked[i]];
        exn_exit *e = &profile->exits[i];
        EXN_TRY(describe_exit(e, ctx, tap->name, DECISION_FRESH));
        exn_head head = {.kind = kind, .c = tap->c, .h = tap->h, .w = tap->w, .classes = model->classes};
        EXN_TRY(exn_head_allocate(&head, ctx));
        e->head = head;
        exn_head_reset(&e->head, profile->seed, i);
    }
    exn_exit *last = &profile->exits[count];
    const exn_tap *tap = &model->taps[model->tap_count - 1];
    EXN_TRY(describe_exit(last, ctx, tap->name, DECISION_LAST));
    last->rule.enabled = true;
    EXN_TRY(exn_head_from_classifier(&last->head, ctx, model->graph));
    last->head.h = tap->h; /* more than one where the classifier is a convolution whose result is averaged */
    last->head.w = tap->w;
    return EXN_OK;
}

/* Pooled features and one matrix learn more from a handful of photos than anything deeper: see README. */
static exn_head_kind decide_kind(exn_head_kind wanted) {
    return wanted == EXN_HEAD_AUTO ? EXN_HEAD_POOLED : wanted;
}

static exn_status fill_in(exn_profile *profile, const exn_profile_options *options) {
    exn_context *ctx = profile->ctx;
    const exn_model *model = profile->model;
    if ((size_t)options->head >= EXN_HEAD_KINDS || options->head == EXN_HEAD_CLASSIFIER)
        return exn_fail(ctx, EXN_E_INVALID, "heads of early exits are linear, pooled, conv, wide or conv2");
    if (options->exits >= EXN_EXITS_MAX || options->tap_count >= EXN_EXITS_MAX)
        return exn_fail(ctx, EXN_E_INVALID, "at most %u early exits", EXN_EXITS_MAX - 1);
    profile->seed = options->seed ? options->seed : 1;
    profile->accuracy = NAN;
    profile->target = EXN_TARGET_KEEP;
    profile->preprocess = options->preprocess;
    EXN_TRY(exn_preprocess_complete(&profile->preprocess, ctx, model->height, model->width));
    EXN_TRY(name_classes(profile, options));
    profile->costs = exn_strdup(ctx, "");
    const size_t named = options->taps ? options->tap_count : 0;
    size_t count = 0, *picked = exn_calloc(ctx, model->tap_count + named, sizeof *picked);
    if (!picked || !profile->costs) {
        exn_free(ctx, picked);
        return EXN_E_NOMEM;
    }
    exn_status status = pick_taps(picked, &count, profile, options);
    if (status == EXN_OK) status = attach_exits(profile, picked, count, decide_kind(options->head));
    exn_free(ctx, picked);
    return status;
}

exn_status exn_profile_create(exn_profile **out, const exn_model *model, const exn_profile_options *options) {
    exn_profile_options filled;
    if (!model) return EXN_E_INVALID;
    if (!out) return exn_fail(model->ctx, EXN_E_INVALID, "exn_profile_create: out is NULL");
    EXN_TRY(exn_options_read(&filled, sizeof filled, model->ctx, options));
    exn_profile *profile = exn_calloc(model->ctx, 1, sizeof *profile);
    if (!profile) return EXN_E_NOMEM;
    profile->ctx = model->ctx;
    profile->model = model;
    exn_model_hash(profile->network_hash, model);
    const exn_status status = fill_in(profile, &filled);
    if (status != EXN_OK) {
        exn_profile_destroy(profile);
        return status;
    }
    *out = profile;
    return EXN_OK;
}

/* ---- questions ---- */

size_t exn_profile_exit_count(const exn_profile *profile) {
    return profile ? profile->exit_count : 0;
}

size_t exn_profile_class_count(const exn_profile *profile) {
    return profile ? profile->class_count : 0;
}

const char *exn_profile_class_name(const exn_profile *profile, size_t label) {
    return profile && label < profile->class_count ? profile->classes[label] : NULL;
}

/* An enabled exit that accepts any confidence lets nothing pass. */
size_t exn_profile_deepest_exit(const exn_profile *profile) {
    size_t deepest = 0;
    if (!profile) return 0;
    while (deepest + 1 < profile->exit_count &&
           !(profile->exits[deepest].rule.enabled && profile->exits[deepest].rule.threshold <= 0))
        deepest++;
    return deepest;
}

/* Every head before it is attached and counted, trained or not, but for the last exit, which has no head of its own. */
static double macs_fraction(const exn_profile *profile, size_t exit) {
    const exn_model *model = profile->model;
    uint64_t macs = 0;
    for (size_t i = 0; i <= exit && i + 1 < profile->exit_count; i++) macs += exn_head_macs(&profile->exits[i].head);
    if (exit + 1 == profile->exit_count) return (double)(model->macs + macs) / (double)model->macs;
    for (size_t i = 0; i < model->tap_count; i++)
        if (!strcmp(model->taps[i].name, profile->exits[exit].tap))
            return (double)(model->taps[i].macs + macs) / (double)model->macs;
    return NAN;
}

exn_status exn_profile_get_exit(exn_exit_info *out, const exn_profile *profile, size_t exit) {
    if (!profile) return EXN_E_INVALID;
    if (exit >= profile->exit_count)
        return exn_fail(profile->ctx, EXN_E_INVALID, "exit %zu of %zu", exit, profile->exit_count);
    const exn_exit *e = &profile->exits[exit];
    const bool known = isfinite(e->accuracy);
    const exn_exit_info info = {.tap = e->tap,
                                .kind = e->head.kind,
                                .macs_fraction = macs_fraction(profile, exit),
                                .cost_ms = isfinite(e->cost_ms) ? e->cost_ms : 0,
                                .temperature = e->rule.temperature,
                                .threshold = e->rule.threshold,
                                .enabled = e->rule.enabled,
                                .trained = e->trained,
                                .accuracy = known ? e->accuracy : e->agreement};
    return exn_result_write(out, profile->ctx, &info, sizeof info);
}
