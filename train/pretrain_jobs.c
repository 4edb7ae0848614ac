/* SPDX-License-Identifier: Apache-2.0
 * The order of work of pretraining: settle, divide, fit, listen to what was held out, and fill in the profile. */
#include "train/pretrain.h"

#include "train/fresh.h"
#include "train/quality.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64u
#define SMOOTHING 0.1f
#define SOFT_SHARE 0.7
#define SOFT_TEMPERATURE 2.0f
#define REFIT_EPOCHS 20u
#define DECISION_BYTES 200u
#define TEMPERATURE_LEAST 0.3f
#define TEMPERATURE_STEP 1.05f
#define TEMPERATURE_STEPS 48u /* up to 3.1 */

/* ---- settling ---- */

static int by_content(const void *a, const void *b) {
    const exn_general_photo *x = a, *y = b;
    const int order = exn_content_compare(&x->content, &y->content);
    if (order) return order;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return x->group < y->group ? -1 : x->group > y->group;
}

/* The same photo twice stays once: under the lower label, in the lower group. */
static void settle(exn_pretrainer *p) {
    size_t kept = 0;
    qsort(p->photo, p->photo_count, sizeof *p->photo, by_content);
    for (size_t i = 0; i < p->photo_count; i++)
        if (!kept || exn_content_compare(&p->photo[i].content, &p->photo[kept - 1].content))
            p->photo[kept++] = p->photo[i];
    p->photo_count = kept;
}

/* group[i]: least index of the photos with i's group. Quadratic in the number of groups at most. */
static void link_groups(size_t *group, const exn_pretrainer *p) {
    for (size_t i = 0; i < p->photo_count; i++) {
        size_t j = 0;
        while (j < i && (group[j] != j || p->photo[j].group != p->photo[i].group)) j++;
        group[i] = j;
    }
}

static exn_status find_twins(size_t *group, const exn_pretrainer *p) {
    const exn_trainer *t = p->trainer;
    const size_t last = p->exits - 1, features = p->profile->exits[last].head.c, n = p->photo_count;
    float *rows = exn_calloc(p->ctx, n, features * sizeof *rows);
    exn_status status = rows ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < n; i++)
        status = exn_cache_read(rows + i * features, t->cache, p->photo[i].record, t->first[last], features);
    if (status == EXN_OK) status = exn_samples_group(group, p->ctx, &t->kernels->f32_vector, NULL, rows, n, features);
    exn_free(p->ctx, rows);
    return status;
}

static exn_status divide(exn_pretrainer *p) {
    const size_t n = p->photo_count;
    size_t *group = exn_calloc(p->ctx, n, sizeof *group), *fold = exn_calloc(p->ctx, n, sizeof *fold);
    exn_sample *samples = exn_calloc(p->ctx, n, sizeof *samples);
    exn_status status = group && fold && samples ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK && p->photo[0].group == EXN_UNGROUPED) status = find_twins(group, p);
    if (status == EXN_OK && p->photo[0].group != EXN_UNGROUPED) link_groups(group, p);
    for (size_t i = 0; status == EXN_OK && i < n; i++) samples[i].label = p->photo[i].label;
    if (status == EXN_OK) status = exn_folds_assign(fold, p->ctx, samples, group, n, p->folds, p->classes);
    for (size_t i = 0; status == EXN_OK && i < n; i++) {
        p->photo[i].fold = fold[i];
        p->photo[i].group = group[i];
    }
    exn_free(p->ctx, group);
    exn_free(p->ctx, fold);
    exn_free(p->ctx, samples);
    return status;
}

/* ---- jobs ---- */

static size_t exit_of(const exn_pretrainer *p) {
    return p->exits - 1 - p->job % p->exits;
}

/* The fold left out; p->folds: none. */
static size_t fold_of(const exn_pretrainer *p) {
    const size_t round = p->job / p->exits;
    return round == 0 ? p->folds : round - 1;
}

static size_t count_samples(const exn_pretrainer *p, size_t fold) {
    size_t count = 0;
    for (size_t i = 0; i < p->photo_count; i++)
        if (p->photo[i].fold != fold) count += p->photo[i].second == EXN_CACHE_MISSING ? 1 : 2;
    return count;
}

/* A classifier that is not refitted only takes on the general statistics. */
static bool is_trained(const exn_pretrainer *p, size_t exit, size_t fold) {
    return exit + 1 < p->exits || fold < p->folds || p->refit;
}

static size_t job_steps(const exn_pretrainer *p, size_t exit, size_t fold) {
    const size_t samples = count_samples(p, fold), epochs = exit + 1 == p->exits ? REFIT_EPOCHS : p->epochs;
    if (!is_trained(p, exit, fold) || samples == 0) return 0;
    return epochs * ((samples + BATCH - 1) / BATCH);
}

static exn_status allocate(exn_pretrainer *p) {
    exn_context *ctx = p->ctx;
    const size_t samples = count_samples(p, p->folds);
    p->general = exn_calloc(ctx, p->exits, sizeof *p->general);
    p->fold_head = exn_calloc(ctx, p->folds * p->exits, sizeof *p->fold_head);
    p->held_out = exn_calloc(ctx, p->photo_count * p->classes, p->exits * sizeof *p->held_out);
    p->record = exn_calloc(ctx, samples, sizeof *p->record);
    p->target = exn_calloc(ctx, samples, p->classes * sizeof *p->target);
    p->soft = exn_calloc(ctx, samples, p->classes * sizeof *p->soft);
    return p->general && p->fold_head && p->held_out && p->record && p->target && p->soft ? EXN_OK : EXN_E_NOMEM;
}

exn_status exn_pretrain_begin(exn_pretrainer *p) {
    if (!p->photo_count) return exn_fail(p->ctx, EXN_E_INVALID, "nothing to learn from: no samples");
    settle(p);
    p->folds = exn_fold_count(p->photo_count);
    EXN_TRY(divide(p));
    EXN_TRY(allocate(p));
    p->jobs = (p->folds + 1) * p->exits;
    for (size_t f = 0; f <= p->folds; f++)
        for (size_t e = 0; e < p->exits; e++) p->steps_total += job_steps(p, e, f);
    p->begun = true;
    return EXN_OK;
}

static void free_heads(exn_context *ctx, exn_head *heads, size_t count) {
    for (size_t i = 0; heads && i < count; i++) exn_head_free(&heads[i], ctx);
    exn_free(ctx, heads);
}

static void end_training(exn_pretrainer *p) {
    exn_fit_destroy(p->fit);
    exn_head_free(&p->work, p->ctx);
    exn_free(p->ctx, p->record);
    exn_free(p->ctx, p->target);
    exn_free(p->ctx, p->soft);
    p->fit = NULL;
    p->record = NULL;
    p->target = p->soft = NULL;
    p->begun = false;
}

void exn_pretrain_end(exn_pretrainer *p) {
    end_training(p);
    free_heads(p->ctx, p->general, p->exits);
    free_heads(p->ctx, p->fold_head, p->folds * p->exits);
    exn_free(p->ctx, p->held_out);
    p->general = p->fold_head = NULL;
    p->held_out = NULL;
    p->job = p->jobs = p->steps_done = p->steps_total = 0;
}

/* ---- one fit ---- */

/* The truth, smoothed, and what the network's own classifier says about this very view. */
static exn_status write_sample(const exn_pretrainer *p, size_t at, const exn_general_photo *photo, size_t record) {
    const exn_trainer *t = p->trainer;
    float *target = p->target + at * p->classes, *soft = p->soft + at * p->classes;
    p->record[at] = record;
    for (size_t j = 0; j < p->classes; j++)
        target[j] = SMOOTHING / (float)p->classes + ((int64_t)j == photo->label ? 1.0f - SMOOTHING : 0.0f);
    EXN_TRY(exn_cache_read(soft, t->cache, record, 0, p->classes));
    exn_probabilities(soft, &t->kernels->f32_vector, soft, 1, p->classes, SOFT_TEMPERATURE);
    return EXN_OK;
}

static exn_status gather(size_t *count, const exn_pretrainer *p, size_t fold) {
    *count = 0;
    for (size_t i = 0; i < p->photo_count; i++) {
        const exn_general_photo *photo = &p->photo[i];
        if (photo->fold == fold) continue;
        EXN_TRY(write_sample(p, (*count)++, photo, photo->record));
        if (photo->second != EXN_CACHE_MISSING) EXN_TRY(write_sample(p, (*count)++, photo, photo->second));
    }
    return EXN_OK;
}

static exn_fit_options fit_options(const exn_pretrainer *p, size_t exit, size_t fold) {
    const bool last = exit + 1 == p->exits;
    exn_fit_options options = {.schedule = EXN_SCHEDULE_ONE_CYCLE,
                               .rate = 3e-3,
                               .decay = 0.02,
                               .steps = job_steps(p, exit, fold),
                               .batch = BATCH,
                               .temperature = 1.0f,
                               .soft_share = SOFT_SHARE,
                               .soft_temperature = SOFT_TEMPERATURE,
                               .dropout = 0.2f,
                               .flip = true,
                               .seed = p->seed,
                               .stream = p->job};
    if (last) { /* from labels alone: it is what the others learn from */
        options.rate = 1e-3;
        options.decay = 0.1;
        options.soft_share = 0;
        options.dropout = 0;
    }
    if (!is_trained(p, exit, fold)) options.steps = 1; /* that is not taken */
    return options;
}

/* A classifier starts as the network's own only where it stays that. */
static exn_status start_head(exn_head *out, const exn_pretrainer *p, size_t exit, size_t fold) {
    const exn_head *like = &p->profile->exits[exit].head;
    if (!is_trained(p, exit, fold)) {
        EXN_TRY(exn_head_from_classifier(out, p->ctx, p->profile->model->graph));
        out->h = like->h;
        out->w = like->w;
        return EXN_OK;
    }
    exn_head head = {.kind = like->kind, .c = like->c, .h = like->h, .w = like->w, .classes = like->classes};
    EXN_TRY(exn_head_allocate(&head, p->ctx));
    if (like->kind != EXN_HEAD_CLASSIFIER) exn_head_reset(&head, p->seed, exit);
    *out = head;
    return EXN_OK;
}

static exn_status begin_job(exn_pretrainer *p, size_t exit, size_t fold) {
    const exn_trainer *t = p->trainer;
    size_t count;
    EXN_TRY(gather(&count, p, fold));
    EXN_TRY(start_head(&p->work, p, exit, fold));
    if (!count) return EXN_OK;
    const exn_fit_options options = fit_options(p, exit, fold);
    const exn_fit_samples samples = {.cache = t->cache,
                                     .record = p->record,
                                     .count = count,
                                     .first = t->first[exit],
                                     .target = p->target,
                                     .soft = p->soft};
    return exn_fit_create(&p->fit, p->ctx, t->kernels, t->pool, &p->work, &samples, &options);
}

/* What this job's head says about the photos that it has not seen. */
static exn_status listen(exn_pretrainer *p, size_t exit, size_t fold) {
    const exn_trainer *t = p->trainer;
    size_t count = 0;
    for (size_t i = 0; i < p->photo_count; i++)
        if (p->photo[i].fold == fold) p->record[count++] = p->photo[i].record;
    float *said = p->target; /* no longer needed */
    EXN_TRY(exn_predict(said, p->ctx, t->kernels, &p->work, t->cache, t->first[exit], p->record, count));
    for (size_t i = 0; i < p->photo_count; i++) {
        if (p->photo[i].fold != fold) continue;
        memcpy(p->held_out + (exit * p->photo_count + i) * p->classes, said, p->classes * sizeof *said);
        said += p->classes;
    }
    return EXN_OK;
}

static void close_fit(exn_pretrainer *p) {
    exn_fit_destroy(p->fit);
    p->fit = NULL;
}

/* The last exit's general head keeps the general statistics: personal training works on features standardised by them. */
static exn_status keep_head(exn_pretrainer *p, size_t exit, size_t fold) {
    exn_head *kept = fold < p->folds ? &p->fold_head[fold * p->exits + exit] : &p->general[exit];
    if (exit + 1 == p->exits) EXN_TRY(exn_head_copy(kept, p->ctx, &p->work));
    exn_fit_finish(p->fit);
    close_fit(p);
    if (fold < p->folds) EXN_TRY(listen(p, exit, fold));
    if (exit + 1 == p->exits) {
        exn_head_free(&p->work, p->ctx);
    } else {
        *kept = p->work;
        p->work = (exn_head){0};
    }
    p->job++;
    return EXN_OK;
}

/* Without samples there is nothing to train; a fit that diverged leaves its exit as it was. */
static void skip_job(exn_pretrainer *p) {
    close_fit(p);
    exn_head_free(&p->work, p->ctx);
    p->work = (exn_head){0};
    p->job++;
}

exn_status exn_pretrain_step(bool *finished, exn_pretrainer *p) {
    const size_t exit = exit_of(p), fold = fold_of(p);
    *finished = p->job == p->jobs;
    if (*finished) return EXN_OK;
    if (!p->fit) EXN_TRY(begin_job(p, exit, fold));
    if (!p->fit) {
        skip_job(p);
        return EXN_OK;
    }
    if (!is_trained(p, exit, fold)) return keep_head(p, exit, fold);
    const exn_status status = exn_fit_step(p->fit);
    p->steps_done++;
    if (status == EXN_E_INVALID) {
        skip_job(p);
        return EXN_OK;
    }
    if (status != EXN_OK) return status;
    return exn_fit_done(p->fit) ? keep_head(p, exit, fold) : EXN_OK;
}

/* ---- the profile ---- */

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
    if (status == EXN_OK) end_training(p);
    return status;
}
