/* SPDX-License-Identifier: Apache-2.0
 * Measuring a profile on samples, the untouched network and the policy side by side. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/figures.h"
#include "tools/meter.h"
#include "train/grow.h"

/* Exits are timed on the first samples only: their accuracy needs all samples, their median does not. */
enum { TIMED_SAMPLES = 64, WARM_UPS = 3 };

/* One operating point, running. */
typedef struct lane {
    exn_engine engine;
    exn_exit_rule *rules; /* of the engine's exits */
    double *ms;           /* [samples] */
    size_t right, agrees;
    size_t *leaves; /* [exits of the profile] */
} lane;

typedef struct measuring {
    exn_tool *tool;
    const exn_profile *profile;
    exn_dataset *data;
    exn_figures *figures;
    exn_engine full; /* the untouched network */
    exn_engine all;  /* every exit: their answers; lends its weights to the others */
    lane lane[EXN_POINTS];
    lane *policy; /* the profile's own target */
    exn_feeder feeder;
    exn_exit_rule *forced; /* scratch: leave at one exit */
    float *full_logits;    /* [classes] */
    float *logits;         /* [exits][classes] */
    float **sinks;         /* [exits], into logits */
    bool *present;         /* [classes]: occurs in the data */
    double *full_ms;       /* [samples] */
    double *exit_ms;       /* [exits][TIMED_SAMPLES] */
    size_t samples, labelled, timed;
    size_t full_right, masked_right;
    size_t *exit_right, *exit_agrees; /* [exits of the profile] */
} measuring;

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count) {
    if (count == 0) return (double)NAN;
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 == 1 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

static double mean(const double *values, size_t count) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return count > 0 ? sum / (double)count : (double)NAN;
}

static double ratio(size_t part, size_t whole) {
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

static size_t largest(const float *values, size_t count, const bool *allowed) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        if ((allowed == NULL || allowed[i]) && (best == SIZE_MAX || values[i] > values[best])) best = i;
    return best;
}

static exn_status allocate_lane(lane *l, exn_context *ctx, size_t samples, size_t exits) {
    l->rules = exn_calloc(ctx, exits, sizeof *l->rules);
    l->ms = exn_calloc(ctx, samples, sizeof *l->ms);
    l->leaves = exn_calloc(ctx, exits, sizeof *l->leaves);
    return l->rules != NULL && l->ms != NULL && l->leaves != NULL ? EXN_OK : EXN_E_NOMEM;
}

static exn_status allocate(measuring *m, size_t samples) {
    exn_context *ctx = m->tool->ctx;
    const size_t exits = m->profile->exit_count, classes = m->profile->class_count;
    m->forced = exn_calloc(ctx, exits, sizeof *m->forced);
    m->full_logits = exn_calloc(ctx, classes, sizeof *m->full_logits);
    m->logits = exn_calloc(ctx, exits * classes, sizeof *m->logits);
    m->sinks = exn_calloc(ctx, exits, sizeof *m->sinks);
    m->present = exn_calloc(ctx, classes, sizeof *m->present);
    m->full_ms = exn_calloc(ctx, samples, sizeof *m->full_ms);
    m->exit_ms = exn_calloc(ctx, exits * TIMED_SAMPLES, sizeof *m->exit_ms);
    m->exit_right = exn_calloc(ctx, exits, sizeof *m->exit_right);
    m->exit_agrees = exn_calloc(ctx, exits, sizeof *m->exit_agrees);
    m->figures->exits = exn_calloc(ctx, exits, sizeof *m->figures->exits);
    m->figures->confusion = exn_calloc(ctx, classes * classes, sizeof *m->figures->confusion);
    if (!m->forced || !m->full_logits || !m->logits || !m->sinks || !m->present || !m->full_ms || !m->exit_ms ||
        !m->exit_right || !m->exit_agrees || !m->figures->exits || !m->figures->confusion)
        return EXN_E_NOMEM;
    for (size_t t = 0; t < EXN_POINTS; t++) EXN_TRY(allocate_lane(&m->lane[t], ctx, samples, exits));
    for (size_t i = m->profile->model->classes; i < classes; i++) m->full_logits[i] = EXN_UNKNOWN_LOGIT;
    m->figures->exit_count = exits;
    m->figures->class_count = classes;
    for (size_t i = 0; i < exits; i++) m->sinks[i] = m->logits + i * classes;
    return EXN_OK;
}

static void release(measuring *m) {
    exn_context *ctx = m->tool->ctx;
    void *const blocks[] = {m->forced,  m->full_logits, m->logits,     m->sinks,      m->present,
                            m->full_ms, m->exit_ms,     m->exit_right, m->exit_agrees};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) exn_free(ctx, blocks[i]);
    for (size_t t = 0; t < EXN_POINTS; t++) {
        exn_engine_close(&m->lane[t].engine);
        exn_free(ctx, m->lane[t].rules);
        exn_free(ctx, m->lane[t].ms);
        exn_free(ctx, m->lane[t].leaves);
    }
    exn_feeder_close(&m->feeder);
    exn_engine_close(&m->all);
    exn_engine_close(&m->full);
}

/* A profile that was never personalised has one point only. */
static bool decided(const measuring *m, size_t t) {
    return m->profile->point[t].judged > 0 || m->profile->target == (exn_target)(t + 1);
}

static exn_status open_engines(measuring *m) {
    EXN_TRY(exn_feeder_open(&m->feeder, m->profile));
    EXN_TRY(exn_engine_open(&m->all, m->tool, m->profile, EXN_NETWORK_ALL, NULL));
    EXN_TRY(exn_engine_open(&m->full, m->tool, m->profile, EXN_NETWORK_UNTOUCHED, &m->all));
    for (size_t t = 0; t < EXN_POINTS; t++) {
        lane *l = &m->lane[t];
        if (!decided(m, t)) continue;
        EXN_TRY(exn_profile_rules(l->rules, m->profile, (exn_target)(t + 1)));
        EXN_TRY(exn_engine_open_ruled(&l->engine, m->tool, m->profile, l->rules, &m->all));
        for (size_t i = 0; i < l->engine.network.exit_count; i++) l->rules[i] = l->rules[l->engine.network.exit[i]];
    }
    m->policy = &m->lane[m->profile->target - 1];
    return EXN_OK;
}

static double run_full(measuring *m) {
    float *sinks[1] = {m->full_logits};
    exn_exec_set_nchw(m->full.exec, m->feeder.plain);
    const double begin = exn_now();
    exn_exec_run(m->full.exec, sinks);
    return (exn_now() - begin) * 1e3;
}

static double run_lane(measuring *m, lane *l, const exn_exit_rule *rules, exn_leave *leave) {
    exn_exec_set_nchw(l->engine.exec, m->feeder.chw);
    const double begin = exn_now();
    exn_exec_run_exits(l->engine.exec, rules, NULL, leave);
    return (exn_now() - begin) * 1e3;
}

/* What leaving at each of the policy's exits takes: earlier exits look and let pass, this one takes whatever comes. */
static void time_exits(measuring *m) {
    const float never = 2.0f;
    const exn_network *network = &m->policy->engine.network;
    for (size_t i = 0; i < network->exit_count; i++) {
        for (size_t j = 0; j < network->exit_count; j++)
            m->forced[j] = (exn_exit_rule){true, m->policy->rules[j].temperature, j == i ? 0.0f : never,
                                           m->policy->rules[j].carry};
        exn_leave leave;
        const double ms = run_lane(m, m->policy, m->forced, &leave);
        m->exit_ms[network->exit[i] * TIMED_SAMPLES + m->timed] = ms;
    }
    m->timed++;
}

static void count_leave(measuring *m, lane *l, size_t truth, size_t teacher, const exn_leave *leave) {
    l->right += leave->label == truth;
    l->agrees += leave->label == teacher;
    l->leaves[l->engine.network.exit[leave->exit]]++;
    if (l == m->policy && truth != SIZE_MAX) m->figures->confusion[truth * m->profile->class_count + leave->label]++;
}

static void count_answers(measuring *m, int64_t label, const exn_leave leaves[EXN_POINTS]) {
    const size_t classes = m->profile->class_count;
    const size_t teacher = largest(m->full_logits, classes, NULL);
    const bool labelled = label != EXN_UNLABELLED;
    const size_t truth = labelled ? (size_t)label : SIZE_MAX;
    m->labelled += labelled;
    m->full_right += teacher == truth;
    m->masked_right += largest(m->full_logits, classes, m->present) == truth;
    for (size_t t = 0; t < EXN_POINTS; t++)
        if (m->lane[t].engine.exec != NULL) count_leave(m, &m->lane[t], truth, teacher, &leaves[t]);
    for (size_t i = 0; i < m->all.network.exit_count; i++) {
        const size_t answer = largest(m->sinks[i], classes, NULL), exit = m->all.network.exit[i];
        m->exit_right[exit] += answer == truth;
        m->exit_agrees[exit] += answer == teacher;
    }
}

static void run_lanes(measuring *m, exn_leave leaves[EXN_POINTS]) {
    m->full_ms[m->samples] = run_full(m);
    for (size_t t = 0; t < EXN_POINTS; t++) {
        lane *l = &m->lane[t];
        if (l->engine.exec != NULL) l->ms[m->samples] = run_lane(m, l, l->rules, &leaves[t]);
    }
}

static exn_status measure_sample(measuring *m, size_t index) {
    EXN_TRY(exn_feeder_prepare(&m->feeder, m->data, index));
    exn_leave leaves[EXN_POINTS] = {{0}};
    const size_t warm_ups = m->samples == 0 ? WARM_UPS : 0;
    for (size_t i = 0; i < warm_ups + 1; i++) run_lanes(m, leaves);
    if (m->timed < TIMED_SAMPLES) time_exits(m);
    exn_exec_set_nchw(m->all.exec, m->feeder.chw);
    exn_exec_run(m->all.exec, m->sinks);
    count_answers(m, exn_dataset_label(m->data, index), leaves);
    m->samples++;
    return EXN_OK;
}

static exn_status measure_all(measuring *m, const bool *pick, size_t wanted, bool skip_bad) {
    const size_t count = exn_dataset_count(m->data);
    for (size_t i = 0; i < count; i++)
        if (exn_dataset_label(m->data, i) != EXN_UNLABELLED) m->present[exn_dataset_label(m->data, i)] = true;
    exn_meter meter = exn_meter_begin("evaluating", "samples");
    exn_status status = EXN_OK;
    for (size_t i = 0; i < count && status == EXN_OK; i++) {
        if (pick != NULL && !pick[i]) continue;
        if (m->tool->stop != NULL && *m->tool->stop) {
            status = EXN_PAUSED;
            break;
        }
        status = exn_dataset_excuse(m->data, measure_sample(m, i), skip_bad);
        exn_meter_show(&meter, m->samples, wanted);
    }
    exn_meter_end(&meter);
    if (status == EXN_OK && m->samples == 0) status = exn_fail(m->tool->ctx, EXN_E_INVALID, "no readable samples");
    return status;
}

/* The network cut at one exit, without the heads before it. */
static exn_status time_cut(measuring *m, size_t exit) {
    exn_engine single = {0};
    double ms[16 + WARM_UPS];
    EXN_TRY(exn_engine_open_single(&single, m->tool, m->profile, exit, &m->all));
    const size_t repeats = m->timed < 16 ? m->timed : 16;
    for (size_t i = 0; i < repeats + WARM_UPS; i++) {
        exn_exec_set_nchw(single.exec, m->feeder.chw);
        const double begin = exn_now();
        exn_exec_run(single.exec, NULL);
        ms[i] = (exn_now() - begin) * 1e3;
    }
    m->figures->exits[exit].cut_ms = median(ms + WARM_UPS, repeats);
    m->figures->exits[exit].cut_macs_fraction =
        (double)exn_plan_output_macs(single.plan, 0) / (double)m->profile->model->macs;
    exn_engine_close(&single);
    return EXN_OK;
}

/* An exit that the policy does without costs what the network cut there does. */
static exn_status summarise_exits(measuring *m) {
    exn_figures *f = m->figures;
    const exn_engine *policy = &m->policy->engine;
    for (size_t i = 0; i < f->exit_count; i++) {
        EXN_TRY(time_cut(m, i));
        f->exits[i].median_ms = f->exits[i].cut_ms;
        f->exits[i].macs_fraction = f->exits[i].cut_macs_fraction;
        f->exits[i].accuracy = ratio(m->exit_right[i], m->labelled);
        f->exits[i].agreement = ratio(m->exit_agrees[i], m->samples);
        f->exits[i].share = ratio(m->policy->leaves[i], m->samples);
    }
    for (size_t i = 0; i < policy->network.exit_count; i++) {
        exn_exit_figures *exit = &f->exits[policy->network.exit[i]];
        exit->median_ms = median(m->exit_ms + policy->network.exit[i] * TIMED_SAMPLES, m->timed);
        exit->macs_fraction = (double)exn_plan_output_macs(policy->plan, i) / (double)m->profile->model->macs;
    }
    return EXN_OK;
}

static exn_point_figures summarise_lane(const measuring *m, const lane *l) {
    exn_point_figures p = {.known = l->engine.exec != NULL};
    if (!p.known) return p;
    const exn_network *network = &l->engine.network;
    p.accuracy = ratio(l->right, m->labelled);
    p.agreement = ratio(l->agrees, m->samples);
    p.mean_ms = mean(l->ms, m->samples);
    p.deepest_exit = network->exit[network->exit_count - 1];
    for (size_t i = 0; i < network->exit_count; i++)
        p.macs_fraction += ratio(l->leaves[network->exit[i]], m->samples) *
                           (double)exn_plan_output_macs(l->engine.plan, i) / (double)m->profile->model->macs;
    return p;
}

static exn_status summarise(measuring *m) {
    exn_figures *f = m->figures;
    f->samples = m->samples;
    f->full_accuracy = ratio(m->full_right, m->labelled);
    f->full_accuracy_masked = ratio(m->masked_right, m->labelled);
    f->full_mean_ms = mean(m->full_ms, m->samples);
    f->full_median_ms = median(m->full_ms, m->samples);
    for (size_t t = 0; t < EXN_POINTS; t++) f->points[t] = summarise_lane(m, &m->lane[t]);
    const exn_point_figures *own = &f->points[m->profile->target - 1];
    f->policy_accuracy = own->accuracy;
    f->policy_agreement = own->agreement;
    f->policy_mean_ms = own->mean_ms;
    f->policy_macs_fraction = own->macs_fraction;
    f->deepest_exit = own->deepest_exit;
    return summarise_exits(m);
}

exn_status exn_figures_measure(exn_figures *out, exn_tool *tool, const exn_profile *profile, exn_dataset *data,
                               const bool *pick, bool skip_bad) {
    exn_figures figures = {0};
    measuring m = {.tool = tool, .profile = profile, .data = data, .figures = &figures};
    const size_t count = exn_dataset_count(data);
    size_t wanted = count;
    if (pick != NULL) {
        wanted = 0;
        for (size_t i = 0; i < count; i++) wanted += pick[i];
    }
    exn_status status = allocate(&m, wanted);
    if (status == EXN_OK) status = open_engines(&m);
    if (status == EXN_OK) status = measure_all(&m, pick, wanted, skip_bad);
    if (status == EXN_OK) status = summarise(&m);
    release(&m);
    if (status != EXN_OK) {
        exn_figures_free(&figures, tool->ctx);
        return status;
    }
    *out = figures;
    return EXN_OK;
}

void exn_figures_free(exn_figures *figures, exn_context *ctx) {
    exn_free(ctx, figures->exits);
    exn_free(ctx, figures->confusion);
    *figures = (exn_figures){0};
}
