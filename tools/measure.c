/* SPDX-License-Identifier: Apache-2.0
 * Measuring a profile on samples, the untouched network and the policy side by side. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/figures.h"
#include "tools/meter.h"

/* Exits are timed on the first samples only: their accuracy needs all samples, their median does not. */
enum { TIMED_SAMPLES = 64, WARM_UPS = 3 };

typedef struct measuring {
    exn_tool *tool;
    const exn_profile *profile;
    exn_dataset *data;
    exn_figures *figures;
    exn_engine full;   /* the untouched network */
    exn_engine all;    /* every exit: their answers */
    exn_engine policy; /* as a runner has it */
    exn_feeder feeder;
    exn_exit_rule *rules;        /* of the policy's exits */
    exn_exit_rule *forced;       /* scratch: leave at one exit */
    float *full_logits;          /* [classes] */
    float *logits;               /* [exits][classes] */
    float **sinks;               /* [exits], into logits */
    bool *present;               /* [classes]: occurs in the data */
    double *full_ms, *policy_ms; /* [samples] */
    double *exit_ms;             /* [exits][TIMED_SAMPLES] */
    size_t samples, labelled, timed;
    size_t full_right, masked_right, policy_right, policy_agrees;
    size_t *exit_right, *exit_agrees, *leaves; /* [exits of the profile] */
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

static exn_status allocate(measuring *m, size_t samples) {
    exn_context *ctx = m->tool->ctx;
    const size_t exits = m->profile->exit_count, classes = m->profile->class_count;
    m->rules = exn_calloc(ctx, exits, sizeof *m->rules);
    m->forced = exn_calloc(ctx, exits, sizeof *m->forced);
    m->full_logits = exn_calloc(ctx, classes, sizeof *m->full_logits);
    m->logits = exn_calloc(ctx, exits * classes, sizeof *m->logits);
    m->sinks = exn_calloc(ctx, exits, sizeof *m->sinks);
    m->present = exn_calloc(ctx, classes, sizeof *m->present);
    m->full_ms = exn_calloc(ctx, samples, sizeof *m->full_ms);
    m->policy_ms = exn_calloc(ctx, samples, sizeof *m->policy_ms);
    m->exit_ms = exn_calloc(ctx, exits * TIMED_SAMPLES, sizeof *m->exit_ms);
    m->exit_right = exn_calloc(ctx, exits, sizeof *m->exit_right);
    m->exit_agrees = exn_calloc(ctx, exits, sizeof *m->exit_agrees);
    m->leaves = exn_calloc(ctx, exits, sizeof *m->leaves);
    m->figures->exits = exn_calloc(ctx, exits, sizeof *m->figures->exits);
    m->figures->confusion = exn_calloc(ctx, classes * classes, sizeof *m->figures->confusion);
    if (!m->rules || !m->forced || !m->full_logits || !m->logits || !m->sinks || !m->present || !m->full_ms ||
        !m->policy_ms || !m->exit_ms || !m->exit_right || !m->exit_agrees || !m->leaves || !m->figures->exits ||
        !m->figures->confusion)
        return EXN_E_NOMEM;
    m->figures->exit_count = exits;
    m->figures->class_count = classes;
    for (size_t i = 0; i < exits; i++) m->sinks[i] = m->logits + i * classes;
    return EXN_OK;
}

static void release(measuring *m) {
    exn_context *ctx = m->tool->ctx;
    void *const blocks[] = {m->rules,   m->forced,    m->full_logits, m->logits,     m->sinks,       m->present,
                            m->full_ms, m->policy_ms, m->exit_ms,     m->exit_right, m->exit_agrees, m->leaves};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) exn_free(ctx, blocks[i]);
    exn_feeder_close(&m->feeder);
    exn_engine_close(&m->policy);
    exn_engine_close(&m->all);
    exn_engine_close(&m->full);
}

static exn_status open_engines(measuring *m) {
    EXN_TRY(exn_feeder_open(&m->feeder, m->profile));
    EXN_TRY(exn_engine_open(&m->full, m->tool, m->profile, EXN_NETWORK_UNTOUCHED));
    EXN_TRY(exn_engine_open(&m->all, m->tool, m->profile, EXN_NETWORK_ALL));
    EXN_TRY(exn_engine_open(&m->policy, m->tool, m->profile, EXN_NETWORK_NEEDED));
    for (size_t i = 0; i < m->policy.network.exit_count; i++)
        m->rules[i] = m->profile->exits[m->policy.network.exit[i]].rule;
    return EXN_OK;
}

static double run_full(measuring *m) {
    float *sinks[1] = {m->full_logits};
    exn_exec_set_nchw(m->full.exec, m->feeder.chw);
    const double begin = exn_now();
    exn_exec_run(m->full.exec, sinks);
    return (exn_now() - begin) * 1e3;
}

static double run_policy(measuring *m, const exn_exit_rule *rules, exn_leave *leave) {
    exn_exec_set_nchw(m->policy.exec, m->feeder.chw);
    const double begin = exn_now();
    exn_exec_run_exits(m->policy.exec, rules, NULL, leave);
    return (exn_now() - begin) * 1e3;
}

/* What leaving at each of the policy's exits takes: earlier exits look and let pass, this one takes whatever comes. */
static void time_exits(measuring *m) {
    const float never = 2.0f;
    for (size_t i = 0; i < m->policy.network.exit_count; i++) {
        for (size_t j = 0; j < m->policy.network.exit_count; j++)
            m->forced[j] = (exn_exit_rule){true, m->rules[j].temperature, j == i ? 0.0f : never};
        exn_leave leave;
        const double ms = run_policy(m, m->forced, &leave);
        m->exit_ms[m->policy.network.exit[i] * TIMED_SAMPLES + m->timed] = ms;
    }
    m->timed++;
}

static void count_answers(measuring *m, int64_t label, const exn_leave *leave) {
    const size_t classes = m->profile->class_count;
    const size_t teacher = largest(m->full_logits, classes, NULL);
    const bool labelled = label != EXN_UNLABELLED;
    const size_t truth = labelled ? (size_t)label : SIZE_MAX;
    m->labelled += labelled;
    m->full_right += teacher == truth;
    m->masked_right += largest(m->full_logits, classes, m->present) == truth;
    m->policy_right += leave->label == truth;
    m->policy_agrees += leave->label == teacher;
    m->leaves[m->policy.network.exit[leave->exit]]++;
    if (labelled) m->figures->confusion[truth * classes + leave->label]++;
    for (size_t i = 0; i < m->all.network.exit_count; i++) {
        const size_t answer = largest(m->sinks[i], classes, NULL), exit = m->all.network.exit[i];
        m->exit_right[exit] += answer == truth;
        m->exit_agrees[exit] += answer == teacher;
    }
}

static exn_status measure_sample(measuring *m, size_t index) {
    EXN_TRY(exn_feeder_prepare(&m->feeder, m->data, index));
    exn_leave leave = {0};
    const size_t warm_ups = m->samples == 0 ? WARM_UPS : 0;
    for (size_t i = 0; i < warm_ups; i++) {
        run_full(m);
        run_policy(m, m->rules, &leave);
    }
    m->full_ms[m->samples] = run_full(m);
    m->policy_ms[m->samples] = run_policy(m, m->rules, &leave);
    if (m->timed < TIMED_SAMPLES) time_exits(m);
    exn_exec_set_nchw(m->all.exec, m->feeder.chw);
    exn_exec_run(m->all.exec, m->sinks);
    count_answers(m, exn_dataset_label(m->data, index), &leave);
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
        status = measure_sample(m, i);
        if (skip_bad && (status == EXN_E_FORMAT || status == EXN_E_UNSUPPORTED)) {
            exn_log(m->tool->ctx, EXN_LOG_WARNING, "skipped: %s", exn_context_error(m->tool->ctx));
            status = EXN_OK;
        }
        exn_meter_show(&meter, m->samples, wanted);
    }
    exn_meter_end(&meter);
    if (status == EXN_OK && m->samples == 0) status = exn_fail(m->tool->ctx, EXN_E_INVALID, "no readable samples");
    return status;
}

/* An exit that the policy does without is timed as the network cut there. */
static exn_status time_disabled(measuring *m, size_t exit) {
    exn_engine single = {0};
    EXN_TRY(exn_engine_open_single(&single, m->tool, m->profile, exit));
    const size_t repeats = m->timed < 16 ? m->timed : 16;
    double *ms = m->exit_ms + exit * TIMED_SAMPLES;
    for (size_t i = 0; i < repeats + WARM_UPS; i++) {
        exn_exec_set_nchw(single.exec, m->feeder.chw);
        const double begin = exn_now();
        exn_exec_run(single.exec, NULL);
        ms[i < WARM_UPS ? 0 : i - WARM_UPS] = (exn_now() - begin) * 1e3;
    }
    m->figures->exits[exit].median_ms = median(ms, repeats);
    m->figures->exits[exit].macs_fraction =
        (double)exn_plan_output_macs(single.plan, 0) / (double)m->profile->model->macs;
    exn_engine_close(&single);
    return EXN_OK;
}

static exn_status summarise_exits(measuring *m) {
    exn_figures *f = m->figures;
    const size_t taken = m->policy.network.exit_count;
    for (size_t i = 0; i < f->exit_count; i++) f->exits[i].median_ms = (double)NAN;
    for (size_t i = 0; i < taken; i++) {
        exn_exit_figures *exit = &f->exits[m->policy.network.exit[i]];
        exit->median_ms = median(m->exit_ms + m->policy.network.exit[i] * TIMED_SAMPLES, m->timed);
        exit->macs_fraction = (double)exn_plan_output_macs(m->policy.plan, i) / (double)m->profile->model->macs;
    }
    for (size_t i = 0; i < f->exit_count; i++) {
        if (isnan(f->exits[i].median_ms)) EXN_TRY(time_disabled(m, i));
        f->exits[i].accuracy = ratio(m->exit_right[i], m->labelled);
        f->exits[i].agreement = ratio(m->exit_agrees[i], m->samples);
        f->exits[i].share = ratio(m->leaves[i], m->samples);
        f->policy_macs_fraction += f->exits[i].share > 0.0 ? f->exits[i].share * f->exits[i].macs_fraction : 0.0;
    }
    return EXN_OK;
}

static exn_status summarise(measuring *m) {
    exn_figures *f = m->figures;
    f->samples = m->samples;
    f->full_accuracy = ratio(m->full_right, m->labelled);
    f->full_accuracy_masked = ratio(m->masked_right, m->labelled);
    f->full_mean_ms = mean(m->full_ms, m->samples);
    f->full_median_ms = median(m->full_ms, m->samples);
    f->policy_accuracy = ratio(m->policy_right, m->labelled);
    f->policy_agreement = ratio(m->policy_agrees, m->samples);
    f->policy_mean_ms = mean(m->policy_ms, m->samples);
    f->deepest_exit = exn_profile_deepest_exit(m->profile);
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
