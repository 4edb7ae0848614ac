/* SPDX-License-Identifier: Apache-2.0
 * Evaluating a profile from a feature cache and a cost table. */
#include "tools/recall.h"

#include <math.h>

#include "tools/meter.h"
#include "train/grow.h"
#include "train/quality.h"
#include "train/trainer.h"

typedef struct exn_leaving { /* where a sample leaves, and with which answer */
    size_t exit, answer;
    size_t last; /* the last exit's answer, had the sample stayed */
} exn_leaving;

typedef struct recalling {
    exn_tool *tool;
    exn_profile *profile;
    exn_dataset *data;
    exn_trainer *trainer; /* gathers the records; is never run */
    exn_costs costs, macs;
    size_t samples, exits, classes;
    size_t *record, *plain;         /* [samples]: as the exits see a photo, and as the untouched network does */
    float *logits;                  /* [exits + 1][samples][classes]; the last table is the untouched network's */
    const float **table;            /* [exits + 1], into logits */
    bool *attached;                 /* [exits]: enabled */
    float *score;                   /* [classes]: scratch */
    bool *present;                  /* [classes]: occurs in the data */
    exn_leaving *policy;            /* [samples] */
    exn_leaving *point[EXN_POINTS]; /* [samples] of every operating point that the profile has; else NULL */
} recalling;

static void release(recalling *r) {
    exn_context *ctx = r->tool->ctx;
    void *const blocks[] = {r->record, r->plain, r->logits, r->table, r->attached, r->present, r->policy, r->score};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) exn_free(ctx, blocks[i]);
    for (size_t t = 0; t < EXN_POINTS; t++) exn_free(ctx, r->point[t]);
    exn_costs_free(&r->costs, ctx);
    exn_costs_free(&r->macs, ctx);
    exn_trainer_destroy(r->trainer);
}

static exn_status allocate(recalling *r) {
    exn_context *ctx = r->tool->ctx;
    size_t table;
    r->samples = exn_dataset_count(r->data);
    r->exits = r->profile->exit_count;
    r->classes = r->profile->class_count;
    if (!exn_size_mul(&table, r->samples, r->classes)) return EXN_E_NOMEM;
    r->record = exn_calloc(ctx, r->samples, sizeof *r->record);
    r->plain = exn_calloc(ctx, r->samples, sizeof *r->plain);
    r->logits = exn_calloc(ctx, table, (r->exits + 1) * sizeof *r->logits);
    r->table = exn_calloc(ctx, r->exits + 1, sizeof *r->table);
    r->attached = exn_calloc(ctx, r->exits, sizeof *r->attached);
    r->present = exn_calloc(ctx, r->classes, sizeof *r->present);
    r->policy = exn_calloc(ctx, r->samples, sizeof *r->policy);
    r->score = exn_calloc(ctx, r->classes, sizeof *r->score);
    if (!r->record || !r->plain || !r->logits || !r->table || !r->attached || !r->present || !r->policy || !r->score)
        return EXN_E_NOMEM;
    for (size_t e = 0; e <= r->exits; e++) r->table[e] = r->logits + e * table;
    return EXN_OK;
}

static exn_status look_up(size_t *record, recalling *r, const float *chw) {
    EXN_TRY(exn_trainer_add_tensor(r->trainer, chw, EXN_UNLABELLED));
    *record = r->trainer->samples[r->trainer->sample_count - 1].record;
    return EXN_OK;
}

static exn_status gather(recalling *r) {
    exn_feeder feeder = {0};
    exn_meter meter = exn_meter_begin("evaluating", "samples");
    exn_status status = exn_feeder_open(&feeder, r->profile);
    for (size_t i = 0; status == EXN_OK && i < r->samples; i++) {
        status = exn_feeder_prepare(&feeder, r->data, i);
        if (status == EXN_OK) status = look_up(&r->record[i], r, feeder.chw);
        r->plain[i] = r->record[i];
        if (status == EXN_OK && feeder.plain != feeder.chw) status = look_up(&r->plain[i], r, feeder.plain);
        exn_meter_show(&meter, i + 1, r->samples);
    }
    exn_meter_end(&meter);
    exn_feeder_close(&feeder);
    return status;
}

/* A last exit that nobody trained is the network's own output, as in a run. */
static exn_status predict(recalling *r) {
    const exn_trainer *t = r->trainer;
    for (size_t e = 0; e <= r->exits; e++) {
        float *out = r->logits + e * r->samples * r->classes;
        const exn_exit *exit = e < r->exits ? &r->profile->exits[e] : NULL;
        if (exit != NULL && !exn_exit_is_own(exit, r->profile->model)) {
            EXN_TRY(
                exn_predict(out, r->tool->ctx, t->kernels, &exit->head, t->cache, t->cached[e], r->record, r->samples));
            continue;
        }
        const size_t known = r->profile->model->classes;
        for (size_t i = 0; i < r->samples; i++) {
            float *row = out + i * r->classes;
            EXN_TRY(exn_cache_read(row, t->cache, exit ? r->record[i] : r->plain[i], 0, known));
            for (size_t c = known; c < r->classes; c++) row[c] = EXN_UNKNOWN_LOGIT;
        }
    }
    return EXN_OK;
}

/* The rule of graph/run.c, on logits that are there already; with `stay`, the last exit answers whatever the others think. */
static exn_leaving leave(const recalling *r, const exn_exit_rule *rules, size_t sample, bool stay) {
    exn_leaving out = {0};
    for (size_t e = 0;; e++) {
        const bool last = e + 1 == r->exits;
        if (!rules[e].enabled && !last) continue;
        exn_exit_score(r->score, r->table[e] + sample * r->classes, r->classes, &rules[e]);
        const float confidence = exn_confidence(&out.answer, r->trainer->kernels, r->score, r->classes, 1.0f);
        out.exit = e;
        if (last || (!stay && exn_exit_takes(&rules[e], confidence))) return out;
    }
}

static double ratio(size_t part, size_t whole) {
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

static size_t untouched_answer(const recalling *r, size_t sample, bool masked) {
    const float *row = r->table[r->exits] + sample * r->classes;
    size_t best = SIZE_MAX;
    for (size_t c = 0; c < r->classes; c++)
        if ((!masked || r->present[c]) && (best == SIZE_MAX || row[c] > row[best])) best = c;
    return best;
}

static void count_exit(exn_exit_figures *out, const recalling *r, size_t e, size_t labelled) {
    size_t right = 0, agrees = 0, leaves = 0;
    for (size_t i = 0; i < r->samples; i++) {
        const size_t answer = exn_best_class(r->table[e] + i * r->classes, r->classes);
        right += (int64_t)answer == exn_dataset_label(r->data, i);
        agrees += answer == untouched_answer(r, i, false);
        leaves += r->policy[i].exit == e;
    }
    *out = (exn_exit_figures){
        .accuracy = ratio(right, labelled), .agreement = ratio(agrees, r->samples), .share = ratio(leaves, r->samples)};
}

/* An exit that the policy does without costs what the network cut there costs, as in exn_figures_measure. */
static double cost_of(const exn_costs *costs, const recalling *r, size_t e) {
    return r->attached[e] ? exn_costs_until(costs, r->attached, e) : costs->reach[e] + costs->head[e];
}

static void count_policy(exn_figures *f, const recalling *r, size_t labelled) {
    size_t full = 0, masked = 0, right = 0, agrees = 0;
    for (size_t i = 0; i < r->samples; i++) {
        const int64_t label = exn_dataset_label(r->data, i);
        const size_t own = untouched_answer(r, i, false);
        full += (int64_t)own == label;
        masked += (int64_t)untouched_answer(r, i, true) == label;
        right += (int64_t)r->policy[i].answer == label;
        agrees += r->policy[i].answer == own;
        if (label != EXN_UNLABELLED) f->confusion[(size_t)label * r->classes + r->policy[i].answer]++;
    }
    f->full_accuracy = ratio(full, labelled);
    f->full_accuracy_masked = ratio(masked, labelled);
    f->policy_accuracy = ratio(right, labelled);
    f->policy_agreement = ratio(agrees, r->samples);
}

/* One operating point, whether the profile has turned to it or not. */
static exn_status count_point(exn_point_figures *p, recalling *r, size_t t, size_t labelled) {
    exn_exit_rule rules[EXN_EXITS_MAX];
    bool attached[EXN_EXITS_MAX];
    size_t right = 0, agrees = 0;
    if (r->profile->point[t].judged == 0 && r->profile->target != (exn_target)(t + 1)) return EXN_OK;
    EXN_TRY(exn_profile_rules(rules, r->profile, (exn_target)(t + 1)));
    r->point[t] = exn_calloc(r->tool->ctx, r->samples, sizeof *r->point[t]);
    if (!r->point[t]) return EXN_E_NOMEM;
    *p = (exn_point_figures){.known = true, .deepest_exit = r->exits - 1};
    for (size_t e = r->exits; e-- > 0;) {
        attached[e] = rules[e].enabled;
        if (rules[e].enabled && rules[e].threshold <= 0) p->deepest_exit = e;
    }
    for (size_t i = 0; i < r->samples; i++) {
        const exn_leaving out = r->point[t][i] = leave(r, rules, i, false);
        r->point[t][i].last = leave(r, rules, i, true).answer;
        right += (int64_t)out.answer == exn_dataset_label(r->data, i);
        agrees += out.answer == untouched_answer(r, i, false);
        if (r->costs.in_ms) p->mean_ms += exn_costs_until(&r->costs, attached, out.exit) / (double)r->samples;
        p->macs_fraction += exn_costs_until(&r->macs, attached, out.exit) / (double)r->samples;
    }
    p->accuracy = ratio(right, labelled);
    p->agreement = ratio(agrees, r->samples);
    return EXN_OK;
}

static exn_status summarise(exn_figures *f, recalling *r) {
    const size_t labelled = exn_dataset_labelled(r->data);
    f->exits = exn_calloc(r->tool->ctx, r->exits, sizeof *f->exits);
    f->confusion = exn_calloc(r->tool->ctx, r->classes * r->classes, sizeof *f->confusion);
    if (!f->exits || !f->confusion) return EXN_E_NOMEM;
    f->samples = r->samples;
    f->exit_count = r->exits;
    f->class_count = r->classes;
    f->deepest_exit = exn_profile_deepest_exit(r->profile);
    f->full_mean_ms = f->full_median_ms = r->costs.in_ms ? r->costs.reach[r->exits - 1] : 0.0;
    for (size_t i = 0; i < r->samples; i++)
        if (exn_dataset_label(r->data, i) != EXN_UNLABELLED) r->present[exn_dataset_label(r->data, i)] = true;
    count_policy(f, r, labelled);
    for (size_t e = 0; e < r->exits; e++) {
        count_exit(&f->exits[e], r, e, labelled);
        f->exits[e].median_ms = r->costs.in_ms ? cost_of(&r->costs, r, e) : 0.0;
        f->exits[e].macs_fraction = cost_of(&r->macs, r, e);
        f->exits[e].cut_ms = r->costs.in_ms ? r->costs.reach[e] + r->costs.head[e] : 0.0;
        f->exits[e].cut_macs_fraction = r->macs.reach[e] + r->macs.head[e];
        f->policy_mean_ms += f->exits[e].share * f->exits[e].median_ms;
        f->policy_macs_fraction += f->exits[e].share * f->exits[e].macs_fraction;
    }
    for (size_t t = 0; t < EXN_POINTS; t++) EXN_TRY(count_point(&f->points[t], r, t, labelled));
    return EXN_OK;
}

static void describe_leaving(json_t *object, exn_leaving leaving) {
    exn_report_count(object, "exit", leaving.exit);
    exn_report_count(object, "answer", leaving.answer);
}

static json_t *describe_photos(recalling *r) {
    json_t *photos = json_array();
    for (size_t i = 0; i < r->samples; i++) {
        json_t *photo = json_object();
        exn_report_text(photo, "file", exn_dataset_name(r->data, i));
        json_object_set_new(photo, "label", json_integer((json_int_t)exn_dataset_label(r->data, i)));
        describe_leaving(photo, r->policy[i]);
        json_t *targets = json_object();
        for (size_t t = 0; t < EXN_POINTS; t++) {
            if (r->point[t] == NULL) continue;
            json_t *target = json_object();
            describe_leaving(target, r->point[t][i]);
            exn_report_count(target, "last", r->point[t][i].last);
            json_object_set_new(targets, exn_target_names[t + 1], target);
        }
        json_object_set_new(photo, "targets", targets);
        json_array_append_new(photos, photo);
    }
    return photos;
}

exn_status exn_logits_write(exn_context *ctx, const char *path, const float *const *tables, size_t count,
                            const size_t *order, size_t samples, size_t classes) {
    const exn_shape shape = {.rank = 3, .dim = {samples, count, classes}};
    exn_npy_writer *writer = NULL;
    EXN_TRY(exn_npy_writer_open(&writer, ctx, path, EXN_F32, &shape));
    exn_status status = EXN_OK;
    for (size_t i = 0; i < samples; i++) {
        const size_t sample = order != NULL ? order[i] : i;
        for (size_t t = 0; status == EXN_OK && t < count; t++)
            status = exn_npy_writer_append(writer, tables[t] + sample * classes, classes);
    }
    if (status == EXN_OK) return exn_npy_writer_commit(writer);
    exn_npy_writer_discard(writer);
    return status;
}

static exn_status recall(exn_figures *out, recalling *r, const exn_recall *options) {
    const exn_trainer_options gathering = {
        .struct_size = sizeof gathering, .cache_path = options->cache, .costs = options->costs};
    EXN_TRY(allocate(r));
    EXN_TRY(exn_trainer_create(&r->trainer, r->profile, &gathering));
    EXN_TRY(exn_costs_get(&r->costs, r->profile, options->costs));
    EXN_TRY(exn_costs_get(&r->macs, r->profile, "macs"));
    EXN_TRY(gather(r));
    EXN_TRY(predict(r));
    exn_exit_rule rules[EXN_EXITS_MAX];
    EXN_TRY(exn_profile_rules(rules, r->profile, EXN_TARGET_PROFILE));
    for (size_t e = 0; e < r->exits; e++) r->attached[e] = rules[e].enabled;
    for (size_t i = 0; i < r->samples; i++) r->policy[i] = leave(r, rules, i, false);
    if (options->dump != NULL)
        EXN_TRY(exn_logits_write(r->tool->ctx, options->dump, r->table, r->exits + 1, NULL, r->samples, r->classes));
    return summarise(out, r);
}

/* `release` finds nothing of it afterwards. */
static void hand_over(exn_recalled *out, recalling *r) {
    *out = (exn_recalled){.samples = r->samples,
                          .exits = r->exits,
                          .classes = r->classes,
                          .logits = r->logits,
                          .costs = r->costs,
                          .macs = r->macs};
    r->logits = NULL;
    r->costs = r->macs = (exn_costs){0};
}

void exn_recalled_free(exn_recalled *recalled, exn_context *ctx) {
    exn_free(ctx, recalled->logits);
    exn_costs_free(&recalled->costs, ctx);
    exn_costs_free(&recalled->macs, ctx);
    *recalled = (exn_recalled){0};
}

exn_status exn_figures_recall(exn_figures *out, json_t **photos, exn_tool *tool, exn_profile *profile,
                              exn_dataset *data, const exn_recall *options) {
    exn_figures figures = {0};
    recalling r = {.tool = tool, .profile = profile, .data = data};
    const exn_status status = recall(&figures, &r, options);
    if (status == EXN_OK) {
        *photos = describe_photos(&r);
        *out = figures;
        if (options->keep != NULL) hand_over(options->keep, &r);
    } else {
        exn_figures_free(&figures, tool->ctx);
    }
    release(&r);
    return status;
}
