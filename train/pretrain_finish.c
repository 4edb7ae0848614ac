/* SPDX-License-Identifier: Apache-2.0
 * The end of pretraining: temperatures and figures of what was held out, and everything into the profile. */
#include "train/pretrain.h"

#include "train/fresh.h"
#include "train/quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DECISION_BYTES 200u
#define TEMPERATURE_LEAST 0.3f
#define TEMPERATURE_STEP 1.05f
#define TEMPERATURE_STEPS 48u /* up to 3.1 */

/* Photos are many: nothing is drawn to a prior. */
static float fit_temperature(const exn_judged *judged, const exn_f32_vector *vector, float *scratch) {
    float best = 1.0f, temperature = TEMPERATURE_LEAST;
    double least = INFINITY;
    for (size_t i = 0; i < TEMPERATURE_STEPS; i++, temperature *= TEMPERATURE_STEP) {
        const double nll = exn_mean_nll(judged, vector, temperature, scratch);
        if (!(nll < least)) continue;
        least = nll;
        best = temperature;
    }
    return best;
}

/* Figures of an exit whose every fold is done; NaN otherwise. */
static void judge(exn_exit *e, const exn_pretrainer *p, size_t exit, const int64_t *label, float *scratch) {
    const exn_f32_vector *vector = &p->trainer->kernels->f32_vector;
    const exn_judged judged = {.logits = p->held_out + exit * p->photo_count * p->classes,
                               .label = label,
                               .rows = p->photo_count,
                               .classes = p->classes};
    bool whole = p->folds > 0;
    for (size_t f = 0; f < p->folds; f++) whole = whole && p->fold_head[f * p->exits + exit].kind != EXN_HEAD_AUTO;
    e->general_temperature = whole ? fit_temperature(&judged, vector, scratch) : NAN;
    e->general_nll = whole ? exn_mean_nll(&judged, vector, e->general_temperature, scratch) : (double)NAN;
    e->general_accuracy = whole ? (double)exn_count_right(&judged) / (double)p->photo_count : (double)NAN;
}

static exn_status describe(char **out, const exn_pretrainer *p, const exn_exit *e, const exn_head *general, bool last) {
    char text[DECISION_BYTES];
    const char *what = last ? (p->refit ? "the network's own classifier, fitted anew to general data"
                                        : "the network's own last layer, untouched")
                            : "pretrained on general data, not used before a person's photos judge it";
    if (general->kind == EXN_HEAD_AUTO)
        snprintf(text, sizeof text, "not pretrained: the budget ended before, or training diverged");
    else if (isnan(e->general_accuracy))
        snprintf(text, sizeof text, "%s; %zu photos, not cross-fitted", what, p->photo_count);
    else
        snprintf(text, sizeof text, "%s; %.1f %% of %zu photos right, cross-fitted", what, 100.0 * e->general_accuracy,
                 p->photo_count);
    *out = exn_strdup(p->ctx, text);
    return *out ? EXN_OK : EXN_E_NOMEM;
}

/* One exit as it shall be: made beside the profile, so that a failure leaves that as it was. */
static exn_status make_exit(exn_exit *out, const exn_pretrainer *p, size_t exit, const int64_t *label, float *scratch) {
    const exn_head *general = &p->general[exit];
    const bool last = exit + 1 == p->exits, done = general->kind != EXN_HEAD_AUTO;
    judge(out, p, exit, label, scratch);
    EXN_TRY(describe(&out->decision, p, out, general, last));
    if (!done) return EXN_OK;
    EXN_TRY(exn_head_copy(&out->general, p->ctx, general));
    if (last && !p->refit) return EXN_OK;
    EXN_TRY(exn_head_copy(&out->head, p->ctx, general));
    if (last) exn_head_set_norm(&out->head, NULL, NULL, true);
    out->trained = true;
    out->rule.temperature = isnan(out->general_temperature) ? 1.0f : out->general_temperature;
    return EXN_OK;
}

static void take_head(exn_head *to, exn_head *from, exn_context *ctx) {
    if (from->kind == EXN_HEAD_AUTO) return;
    exn_head_free(to, ctx);
    *to = *from;
    *from = (exn_head){0};
}

static void take_exit(exn_exit *to, exn_exit *from, exn_context *ctx, bool last) {
    take_head(&to->head, &from->head, ctx);
    take_head(&to->general, &from->general, ctx);
    exn_free(ctx, to->decision);
    to->decision = from->decision;
    from->decision = NULL;
    to->general_temperature = from->general_temperature;
    to->general_accuracy = from->general_accuracy;
    to->general_nll = from->general_nll;
    to->trained = from->trained;
    to->rule = (exn_exit_rule){
        .enabled = last, .temperature = from->trained ? from->rule.temperature : 1.0f, .threshold = 1.0f};
    to->accuracy = to->nll = to->agreement = to->share = NAN;
}

static void free_exits(exn_exit *exits, size_t count, exn_context *ctx) {
    for (size_t e = 0; exits && e < count; e++) {
        exn_head_free(&exits[e].head, ctx);
        exn_head_free(&exits[e].general, ctx);
        exn_free(ctx, exits[e].decision);
    }
    exn_free(ctx, exits);
}

/* An exit that is no better than an earlier one costs time for nothing. */
static bool is_dominated(const exn_profile *profile, size_t exit) {
    bool dominated = false;
    for (size_t e = 0; e < exit; e++)
        dominated = dominated || profile->exits[e].general_accuracy >= profile->exits[exit].general_accuracy;
    return dominated;
}

/* From the deepest up, so that an exit is compared with all that stay before it; the last one always stays. */
static void prune(exn_profile *profile) {
    for (size_t e = profile->exit_count - 1; e-- > 0;) {
        exn_exit *exit = &profile->exits[e];
        if (!is_dominated(profile, e)) continue;
        exn_head_free(&exit->head, profile->ctx);
        exn_head_free(&exit->general, profile->ctx);
        exn_free(profile->ctx, exit->tap);
        exn_free(profile->ctx, exit->decision);
        memmove(exit, exit + 1, (profile->exit_count - e - 1) * sizeof *exit);
        profile->exit_count--;
    }
}

/* What a person's photos decided was decided for other heads. */
static void forget_person(exn_profile *profile) {
    for (size_t e = 0; e < profile->exit_count; e++) {
        profile->exits[e].gate = (exn_gate){0};
        profile->exits[e].cost_ms = 0;
    }
    exn_profile_forget_points(profile);
    profile->normal = (exn_normalisation){0};
    profile->prior = (exn_prior){0};
    profile->history = (exn_history){0};
    profile->labelled = profile->unlabelled = 0;
}

exn_status exn_pretrain_finish(exn_pretrainer *p) {
    exn_context *ctx = p->ctx;
    exn_exit *made = exn_calloc(ctx, p->exits, sizeof *made);
    int64_t *label = exn_calloc(ctx, p->photo_count, sizeof *label);
    float *scratch = exn_calloc(ctx, p->classes, sizeof *scratch);
    exn_status status = made && label && scratch ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < p->photo_count; i++) label[i] = p->photo[i].label;
    for (size_t e = 0; status == EXN_OK && e < p->exits; e++) status = make_exit(&made[e], p, e, label, scratch);
    for (size_t e = 0; status == EXN_OK && e < p->exits; e++)
        take_exit(&p->profile->exits[e], &made[e], ctx, e + 1 == p->exits);
    if (status == EXN_OK) p->profile->pixels = (exn_pixels){0};
    for (size_t i = 0; status == EXN_OK && i < p->photo_count; i++)
        exn_pixels_merge(&p->profile->pixels, &p->photo[i].pixels);
    free_exits(made, p->exits, ctx);
    exn_free(ctx, label);
    exn_free(ctx, scratch);
    if (status != EXN_OK) return status;
    if (p->prune) prune(p->profile);
    forget_person(p->profile);
    p->spent = true;
    exn_pretrain_end_training(p);
    return EXN_OK;
}
