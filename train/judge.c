/* SPDX-License-Identifier: Apache-2.0
 * The end of a run: figures out of fold, temperatures, the policy, and the profile that follows from them. */
#include "train/session.h"

#include "graph/run.h"
#include "train/quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DECISION_BYTES 400u
/* Fresh heads are surer on new photos than a few held-out ones show; what general people showed is better than either. */
#define PRIOR_EARLY 1.25f
#define PRIOR_LAST 1.0f

/* One exit's figures before they go into the profile. */
typedef struct verdict {
    float temperature;
    double accuracy, nll, agreement;
    char *decision;
} verdict;

typedef struct judgement {
    verdict *exit;          /* [exits] */
    int64_t *label, *proxy; /* [count]: true ones; and what temperatures are fitted to */
    size_t *choice, *untouched;
    float *temperature, *scratch;
    exn_costs costs;
    exn_policy point[EXN_POINTS];
    exn_policy policy; /* of the target asked for */
    char *source;
} judgement;

static void free_judgement(judgement *j, const exn_session *s) {
    exn_context *ctx = s->ctx;
    for (size_t e = 0; j->exit && e < s->exits; e++) exn_free(ctx, j->exit[e].decision);
    exn_free(ctx, j->exit);
    exn_free(ctx, j->label);
    exn_free(ctx, j->proxy);
    exn_free(ctx, j->choice);
    exn_free(ctx, j->untouched);
    exn_free(ctx, j->temperature);
    exn_free(ctx, j->scratch);
    exn_free(ctx, j->source);
    exn_costs_free(&j->costs, ctx);
}

static exn_status allocate(judgement *j, const exn_session *s) {
    exn_context *ctx = s->ctx;
    j->exit = exn_calloc(ctx, s->exits, sizeof *j->exit);
    j->label = exn_calloc(ctx, s->count, sizeof *j->label);
    j->proxy = exn_calloc(ctx, s->count, sizeof *j->proxy);
    j->choice = exn_calloc(ctx, s->exits * s->count, sizeof *j->choice);
    j->untouched = exn_calloc(ctx, s->count, sizeof *j->untouched);
    j->temperature = exn_calloc(ctx, s->exits, sizeof *j->temperature);
    j->scratch = exn_calloc(ctx, s->classes, sizeof *j->scratch);
    const bool all = j->exit && j->label && j->proxy && j->choice && j->untouched && j->temperature && j->scratch;
    return all ? EXN_OK : EXN_E_NOMEM;
}

/* Where labels are too few to fit a temperature, the teacher's choice stands in for the missing ones. */
static void find_labels(judgement *j, const exn_session *s) {
    const bool few = s->labelled < EXN_POLICY_SURE;
    for (size_t i = 0; i < s->count; i++) {
        const float *teacher = exn_session_row(s->teacher, s, s->fold[i], i);
        j->label[i] = j->proxy[i] = s->label[i];
        if (few && j->label[i] == EXN_UNLABELLED) j->proxy[i] = (int64_t)exn_best_class(teacher, s->classes);
        j->untouched[i] = exn_best_class(s->own + i * s->classes, s->classes);
    }
}

static double agreement(const exn_session *s, const size_t *choice) {
    size_t same = 0, unlabelled = s->count - s->labelled;
    for (size_t i = 0; i < s->count; i++)
        if (s->label[i] == EXN_UNLABELLED)
            same += choice[i] == exn_best_class(exn_session_row(s->teacher, s, s->fold[i], i), s->classes);
    return unlabelled ? (double)same / (double)unlabelled : (double)NAN;
}

static float prior_of(const exn_session *s, size_t e) {
    const float general = s->trainer->profile->exits[e].general_temperature;
    if (isfinite(general)) return general;
    return e + 1 == s->exits ? PRIOR_LAST : PRIOR_EARLY;
}

static void judge_exit(judgement *j, const exn_session *s, size_t e) {
    const exn_kernel_set *kernels = s->trainer->kernels;
    const float *logits = exn_session_row(s->held_out, s, e, 0);
    verdict *v = &j->exit[e];
    const exn_judged proxy = {.logits = logits, .label = j->proxy, .rows = s->count, .classes = s->classes};
    const exn_judged truth = {.logits = logits, .label = j->label, .rows = s->count, .classes = s->classes};
    const bool last = e + 1 == s->exits; /* its teacher is itself: only labels say how sure it may be */
    v->temperature = j->temperature[e] =
        exn_fit_temperature(last ? &truth : &proxy, &kernels->f32_vector, prior_of(s, e), j->scratch);
    v->nll = exn_mean_nll(&truth, &kernels->f32_vector, v->temperature, j->scratch);
    v->accuracy = s->labelled ? (double)exn_count_right(&truth) / (double)s->labelled : (double)NAN;
    for (size_t i = 0; i < s->count; i++)
        j->choice[e * s->count + i] = exn_best_class(logits + i * s->classes, s->classes);
    v->agreement = agreement(s, j->choice + e * s->count);
}

/* ---- sentences ---- */

static const char *judged_by(const exn_policy *policy) {
    return policy->labelled ? "labelled samples right" : "samples answered as by the last exit alone";
}

static void describe_last(char text[DECISION_BYTES], const exn_session *s) {
    const exn_gate *gate = &s->gate[s->exits - 1];
    if (s->done[s->exits - 1] && !gate->judged)
        snprintf(text, DECISION_BYTES,
                 "personal last layer, %.0f %% of the network's own kept: no labels to judge it by",
                 100.0 * (double)gate->kept);
    else if (s->done[s->exits - 1])
        snprintf(text, DECISION_BYTES,
                 "personal last layer, %.0f %% of the network's own kept: log-loss out of fold on %zu labelled samples "
                 "fell from %.3f to %.3f",
                 100.0 * (double)gate->kept, gate->judged, gate->before, gate->after);
    else if (gate->judged)
        snprintf(text, DECISION_BYTES,
                 "the network's own last layer: training it did not lower the log-loss of %.3f out of fold on %zu "
                 "labelled samples",
                 gate->before, gate->judged);
    else
        snprintf(text, DECISION_BYTES, "the network's own last layer: too few labels to train and judge it by");
}

/* The share that an exit would have of what the policy counts. */
static double alone(const judgement *j, const exn_session *s, size_t e) {
    size_t same = 0;
    if (j->policy.labelled) return j->exit[e].accuracy;
    for (size_t i = 0; i < s->count; i++)
        same += j->choice[e * s->count + i] == j->choice[(s->exits - 1) * s->count + i];
    return (double)same / (double)s->count;
}

static bool is_first_used(const exn_policy *p, size_t e) {
    for (size_t i = 0; i < e; i++)
        if (p->enabled[i]) return false;
    return true;
}

/* What holds for all exits together is said once, of the first that is used. */
static void describe_used(char text[DECISION_BYTES], const judgement *j, const exn_session *s, size_t e) {
    const exn_policy *p = &j->policy;
    char from[48] = "the end: takes whatever comes,";
    if (p->threshold[e] > 0)
        snprintf(from, sizeof from, "enabled from confidence %.3f on: takes", (double)p->threshold[e]);
    const int length = snprintf(text, DECISION_BYTES, "%s %.0f %% of the samples out of fold", from,
                                100.0 * (double)p->taken[e] / (double)s->count);
    if (is_first_used(p, e) && length > 0 && length < (int)DECISION_BYTES)
        snprintf(text + length, DECISION_BYTES - (size_t)length,
                 "; with the exits in use %zu of %zu %s, and leaving early is believed to cost %.1f points of accuracy "
                 "where %.1f are allowed",
                 p->right, p->judged, judged_by(p), 100 * p->loss, 100 * p->allowed);
}

static void describe_early(char text[DECISION_BYTES], const judgement *j, const exn_session *s, size_t e) {
    const exn_policy *p = &j->policy;
    if (!s->folds)
        snprintf(text, DECISION_BYTES, "not trained: one sample cannot be learned from and judged");
    else if (!s->done[e])
        snprintf(text, DECISION_BYTES, "not trained: the budget ended before, or training diverged");
    else if (p->enabled[e])
        describe_used(text, j, s, e);
    else
        snprintf(text, DECISION_BYTES,
                 "disabled: saves no time within the %.1f points of accuracy that leaving early may cost; alone it has "
                 "%.0f %% of the %s",
                 100 * p->allowed, 100.0 * alone(j, s, e), judged_by(p));
}

static exn_status describe(judgement *j, const exn_session *s) {
    for (size_t e = 0; e < s->exits; e++) {
        char text[DECISION_BYTES];
        if (e + 1 == s->exits)
            describe_last(text, s);
        else
            describe_early(text, j, s, e);
        j->exit[e].decision = exn_strdup(s->ctx, text);
        if (!j->exit[e].decision) return EXN_E_NOMEM;
    }
    j->source = exn_strdup(s->ctx, j->costs.source);
    return j->source ? EXN_OK : EXN_E_NOMEM;
}

/* ---- the profile ---- */

static void swap_text(char **a, char **b) {
    char *text = *a;
    *a = *b;
    *b = text;
}

/* An exit that this run did not train keeps its tensors and is not used; a last layer that did not gain is the network's
 * own again. */
static void apply_exit(judgement *j, exn_session *s, size_t e) {
    exn_exit *exit = &s->trainer->profile->exits[e];
    const verdict *v = &j->exit[e];
    const bool last = e + 1 == s->exits, early = s->done[e] && !last;
    if (s->head[e].kind != EXN_HEAD_AUTO) {
        const exn_head old = exit->head;
        exit->head = s->head[e];
        s->head[e] = old;
    }
    exit->trained = s->done[e];
    exit->gate = s->gate[e];
    exit->rule = (exn_exit_rule){.enabled = last || j->policy.enabled[e],
                                 .temperature = s->done[e] || (last && s->folds) ? v->temperature : 1.0f,
                                 .threshold = j->policy.enabled[e] && !last ? j->policy.threshold[e] : 1.0f};
    exit->accuracy = early || last ? v->accuracy : (double)NAN;
    exit->nll = early || last ? v->nll : (double)NAN;
    exit->agreement = early || last ? v->agreement : (double)NAN;
    exit->share = s->folds ? (double)j->policy.taken[e] / (double)s->count : (double)NAN;
    exit->cost_ms = j->costs.in_ms ? exn_costs_until(&j->costs, j->policy.enabled, e) : 0;
    swap_text(&exit->decision, &j->exit[e].decision);
}

static void remember_lesson(exn_profile *profile) {
    exn_lesson lesson = {
        .labelled = profile->labelled, .unlabelled = profile->unlabelled, .accuracy = profile->accuracy};
    for (size_t e = 0; e < profile->exit_count; e++) lesson.exit[e] = profile->exits[e].accuracy;
    exn_history_append(&profile->history, &lesson);
}

static void apply(judgement *j, exn_session *s) {
    exn_profile *profile = s->trainer->profile;
    for (size_t e = 0; e < s->exits; e++) apply_exit(j, s, e);
    memcpy(profile->point, j->point, sizeof profile->point);
    profile->target = s->trainer->target;
    profile->normal = s->normal;
    profile->prior = s->prior;
    profile->labelled = s->labelled;
    profile->unlabelled = s->count - s->labelled;
    profile->accuracy =
        j->policy.labelled && s->folds ? (double)j->policy.right / (double)j->policy.judged : (double)NAN;
    swap_text(&profile->costs, &j->source);
    remember_lesson(profile);
}

/* Those that extraction measured are used up: a later run measures its own. */
static exn_status get_costs(judgement *j, exn_trainer *trainer) {
    if (!trainer->measured.exits) return exn_costs_get(&j->costs, trainer->profile, trainer->costs);
    j->costs = trainer->measured;
    trainer->measured = (exn_costs){0};
    return EXN_OK;
}

/* Whoever was taught from general heads has what these gain, without a label. The last exit may have seen the general photos, which
 * makes it look better than it is: the true gain is, if anything, larger. Of classes added since, general photos say nothing. */
static double general_gain(const exn_session *s) {
    const exn_exit *exits = s->trainer->profile->exits;
    const double last = exits[s->exits - 1].general_accuracy;
    double gain = 0;
    for (size_t e = 0; e + 1 < s->exits; e++)
        if (s->done[e] && exits[e].general.classes == s->classes && exits[e].general_accuracy - last > gain)
            gain = exits[e].general_accuracy - last;
    return gain;
}

static exn_status judge(judgement *j, exn_session *s) {
    EXN_TRY(allocate(j, s));
    EXN_TRY(get_costs(j, s->trainer));
    find_labels(j, s);
    for (size_t e = 0; e < s->exits; e++) judge_exit(j, s, e);
    const exn_evidence evidence = {.exits = s->exits,
                                   .samples = s->count,
                                   .label = j->label,
                                   .classes = s->classes,
                                   .logits = s->held_out,
                                   .temperature = j->temperature,
                                   .kernels = s->trainer->kernels,
                                   .untouched = j->untouched,
                                   .usable = s->done,
                                   .normalised = s->normal.used,
                                   .general_gain = general_gain(s)};
    for (size_t t = 0; t < EXN_POINTS; t++)
        EXN_TRY(exn_policy_decide(&j->point[t], s->ctx, (exn_target)(t + 1), &evidence, &j->costs));
    j->policy = j->point[s->trainer->target - 1];
    return describe(j, s);
}

exn_status exn_session_finish(exn_session *s) {
    judgement j = {0};
    exn_trainer *trainer = s->trainer;
    exn_status status = exn_session_restore_last(s);
    if (status == EXN_OK) status = judge(&j, s);
    if (status == EXN_OK && trainer->keep_held_out) {
        exn_held_out_free(&trainer->held_out, s->ctx);
        status = exn_held_out_copy(&trainer->held_out, s);
    }
    if (status == EXN_OK) apply(&j, s);
    free_judgement(&j, s);
    return status;
}
