/* SPDX-License-Identifier: Apache-2.0
 * The order of work of pretraining: settle, divide, try kinds of heads, fit, listen to what was held out. */
#include "train/pretrain.h"

#include "train/fresh.h"
#include "train/quality.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 64u
#define SMOOTHING 0.1f
#define SOFT_SHARE 0.7
#define SOFT_TEMPERATURE 2.0f
#define REFIT_EPOCHS 40u
/* Heads of two thirds of the photos tell how sure heads are of photos that they have not seen; more folds cost more than all else. */
#define FOLDS_MOST 3u

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
        status = exn_cache_read(rows + i * features, t->cache, p->photo[i].record, t->cached[last].first, features);
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
    for (size_t i = 0; status == EXN_OK && i < n; i++) p->photo[i].fold = fold[i];
    exn_free(p->ctx, group);
    exn_free(p->ctx, fold);
    exn_free(p->ctx, samples);
    return status;
}

/* ---- jobs ---- */

typedef exn_pretrain_job job;

job exn_pretrain_current(const exn_pretrainer *p) {
    if (p->job < p->trials)
        return (job){.exit = p->exits - 2 - p->job / EXN_TRIALS, .fold = 0, .trial = p->job % EXN_TRIALS};
    const size_t at = p->job - p->trials, round = at / p->exits;
    return (job){.exit = p->exits - 1 - at % p->exits, .fold = round == 0 ? p->folds : round - 1, .trial = EXN_TRIALS};
}

static size_t count_photos(const exn_pretrainer *p, size_t fold) {
    size_t count = 0;
    for (size_t i = 0; i < p->photo_count; i++) count += p->photo[i].fold != fold;
    return count;
}

/* All views of all photos. */
static size_t count_samples(const exn_pretrainer *p) {
    size_t count = p->photo_count;
    for (size_t i = 0; i < p->photo_count; i++) count += p->photo[i].extras;
    return count;
}

/* A classifier that is not refitted only takes on the general statistics. */
static bool is_trained(const exn_pretrainer *p, const job *j) {
    return j->exit + 1 < p->exits || j->fold < p->folds || p->refit;
}

/* However many views there are: more of them are more to learn from, not more work. */
size_t exn_pretrain_job_steps(const exn_pretrainer *p, const job *j) {
    const bool last = j->exit + 1 == p->exits, trial = j->trial < EXN_TRIALS;
    const size_t photos = count_photos(p, j->fold), epochs = last ? REFIT_EPOCHS : p->epochs;
    if (!is_trained(p, j) || photos == 0) return 0;
    return (trial ? (epochs + 1) / 2 : epochs) * ((photos + BATCH - 1) / BATCH);
}

static exn_status allocate(exn_pretrainer *p) {
    exn_context *ctx = p->ctx;
    const size_t samples = count_samples(p);
    p->general = exn_calloc(ctx, p->exits, sizeof *p->general);
    p->fold_head = exn_calloc(ctx, p->folds * p->exits, sizeof *p->fold_head);
    p->held_out = exn_calloc(ctx, p->photo_count * p->classes, p->exits * sizeof *p->held_out);
    p->kind = exn_calloc(ctx, p->exits, sizeof *p->kind);
    p->trial = exn_calloc(ctx, p->exits, EXN_TRIALS * sizeof *p->trial);
    p->record = exn_calloc(ctx, samples, sizeof *p->record);
    p->target = exn_calloc(ctx, samples, p->classes * sizeof *p->target);
    p->soft = exn_calloc(ctx, samples, p->classes * sizeof *p->soft);
    const bool heads = p->general && p->fold_head && p->held_out && p->kind && p->trial;
    return heads && p->record && p->target && p->soft ? EXN_OK : EXN_E_NOMEM;
}

exn_status exn_pretrain_begin(exn_pretrainer *p) {
    if (!p->photo_count) return exn_fail(p->ctx, EXN_E_INVALID, "nothing to learn from: no samples");
    settle(p);
    p->folds = exn_fold_count(p->photo_count);
    if (p->folds > FOLDS_MOST) p->folds = FOLDS_MOST;
    EXN_TRY(divide(p));
    EXN_TRY(allocate(p));
    for (size_t e = 0; e < p->exits; e++) p->kind[e] = p->profile->exits[e].head.kind;
    p->trials = p->choose_heads && p->folds ? (p->exits - 1) * EXN_TRIALS : 0;
    p->jobs = p->trials + (p->folds + 1) * p->exits;
    for (p->job = 0; p->job < p->jobs; p->job++) {
        const job j = exn_pretrain_current(p);
        p->steps_total += exn_pretrain_job_steps(p, &j);
    }
    p->job = 0;
    p->begun = true;
    return exn_pretrain_resume(p);
}

static void free_heads(exn_context *ctx, exn_head *heads, size_t count) {
    for (size_t i = 0; heads && i < count; i++) exn_head_free(&heads[i], ctx);
    exn_free(ctx, heads);
}

void exn_pretrain_end_training(exn_pretrainer *p) {
    exn_journal_close(p->journal);
    p->journal = NULL;
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
    exn_pretrain_end_training(p);
    free_heads(p->ctx, p->general, p->exits);
    free_heads(p->ctx, p->fold_head, p->folds * p->exits);
    exn_free(p->ctx, p->held_out);
    exn_free(p->ctx, p->kind);
    exn_free(p->ctx, p->trial);
    p->general = p->fold_head = NULL;
    p->held_out = NULL;
    p->kind = NULL;
    p->trial = NULL;
    p->job = p->jobs = p->trials = p->steps_done = p->steps_total = 0;
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
        for (size_t v = 0; v < photo->extras; v++) EXN_TRY(write_sample(p, (*count)++, photo, photo->extra[v]));
    }
    return EXN_OK;
}

static exn_fit_options fit_options(const exn_pretrainer *p, const job *j) {
    exn_fit_options options = {.schedule = EXN_SCHEDULE_ONE_CYCLE,
                               .rate = 3e-3,
                               .decay = 0.02,
                               .steps = exn_pretrain_job_steps(p, j),
                               .batch = BATCH,
                               .temperature = 1.0f,
                               .soft_share = SOFT_SHARE,
                               .soft_temperature = SOFT_TEMPERATURE,
                               .dropout = 0.2f,
                               .flip = true,
                               .seed = p->seed,
                               .stream = j->fold * p->exits + j->exit};
    if (j->exit + 1 == p->exits) { /* from labels alone: it is what the others learn from */
        options.rate = 1e-3;
        options.decay = 0.1;
        options.soft_share = 0;
        options.dropout = 0;
    }
    if (!is_trained(p, j)) options.steps = 1; /* that is not taken */
    return options;
}

/* A classifier starts as the network's own only where it stays that. */
static exn_status start_head(exn_head *out, const exn_pretrainer *p, const job *j) {
    const exn_head *like = &p->profile->exits[j->exit].head;
    if (!is_trained(p, j)) {
        EXN_TRY(exn_head_from_classifier(out, p->ctx, p->profile->model->graph));
        out->h = like->h;
        out->w = like->w;
        return EXN_OK;
    }
    exn_head head = {.kind = j->trial < EXN_TRIALS ? exn_trial_kinds[j->trial] : p->kind[j->exit],
                     .c = like->c,
                     .h = like->h,
                     .w = like->w,
                     .classes = like->classes};
    EXN_TRY(exn_head_allocate(&head, p->ctx));
    if (head.kind != EXN_HEAD_CLASSIFIER) exn_head_reset(&head, p->seed, j->exit);
    *out = head;
    return EXN_OK;
}

exn_status exn_pretrain_begin_job(exn_pretrainer *p, const job *j) {
    const exn_trainer *t = p->trainer;
    size_t count;
    EXN_TRY(gather(&count, p, j->fold));
    EXN_TRY(start_head(&p->work, p, j));
    if (!count) return EXN_OK;
    const exn_fit_options options = fit_options(p, j);
    const exn_fit_samples samples = {.cache = t->cache,
                                     .record = p->record,
                                     .count = count,
                                     .first = t->cached[j->exit].first,
                                     .target = p->target,
                                     .soft = p->soft};
    return exn_fit_create(&p->fit, p->ctx, t->kernels, t->pool, &p->work, &samples, &options);
}

/* What this job's head says about the photos that it has not seen. */
static exn_status listen(exn_pretrainer *p, const job *j) {
    const exn_trainer *t = p->trainer;
    size_t count = 0;
    for (size_t i = 0; i < p->photo_count; i++)
        if (p->photo[i].fold == j->fold) p->record[count++] = p->photo[i].record;
    float *said = p->target; /* no longer needed */
    EXN_TRY(exn_predict(said, p->ctx, t->kernels, &p->work, t->cache, t->cached[j->exit], p->record, count));
    for (size_t i = 0; i < p->photo_count; i++) {
        if (p->photo[i].fold != j->fold) continue;
        memcpy(p->held_out + (j->exit * p->photo_count + i) * p->classes, said, p->classes * sizeof *said);
        said += p->classes;
    }
    return EXN_OK;
}

static void close_fit(exn_pretrainer *p) {
    exn_fit_destroy(p->fit);
    p->fit = NULL;
}

static void free_work(exn_pretrainer *p) {
    exn_head_free(&p->work, p->ctx);
    p->work = (exn_head){0};
}

static double held_out_accuracy(const exn_pretrainer *p, const job *j) {
    size_t right = 0, count = 0;
    for (size_t i = 0; i < p->photo_count; i++) {
        if (p->photo[i].fold != j->fold) continue;
        const float *said = p->held_out + (j->exit * p->photo_count + i) * p->classes;
        right += (int64_t)exn_best_class(said, p->classes) == p->photo[i].label;
        count++;
    }
    return count ? (double)right / (double)count : 0.0;
}

/* What was made is safe before the next one begins. */
static exn_status next_job(exn_pretrainer *p) {
    EXN_TRY(exn_pretrain_keep_job(p));
    p->job++;
    if (p->job != p->trials || !p->trials) return EXN_OK;
    EXN_TRY(exn_pretrain_choose(p));
    return exn_pretrain_keep_kinds(p);
}

static exn_status end_trial(exn_pretrainer *p, const job *j) {
    exn_fit_finish(p->fit);
    close_fit(p);
    EXN_TRY(listen(p, j));
    p->trial[j->exit * EXN_TRIALS + j->trial] = held_out_accuracy(p, j);
    free_work(p);
    return next_job(p);
}

/* The last exit's general head keeps the general statistics: personal training works on features standardised by them. */
static exn_status keep_head(exn_pretrainer *p, const job *j) {
    const bool last = j->exit + 1 == p->exits, fold = j->fold < p->folds;
    exn_head *kept = fold ? &p->fold_head[j->fold * p->exits + j->exit] : &p->general[j->exit];
    if (last) EXN_TRY(exn_head_copy(kept, p->ctx, &p->work));
    exn_fit_finish(p->fit);
    close_fit(p);
    if (fold) EXN_TRY(listen(p, j));
    if (last) {
        free_work(p);
    } else {
        *kept = p->work;
        p->work = (exn_head){0};
    }
    return next_job(p);
}

/* Without samples there is nothing to train; a fit that diverged leaves its exit as it was. */
static exn_status skip_job(exn_pretrainer *p) {
    close_fit(p);
    free_work(p);
    return next_job(p);
}

exn_status exn_pretrain_step(bool *finished, exn_pretrainer *p) {
    *finished = p->job == p->jobs;
    if (*finished) return EXN_OK;
    const job j = exn_pretrain_current(p);
    if (!p->fit) EXN_TRY(exn_pretrain_begin_job(p, &j));
    if (!p->fit) return skip_job(p);
    if (!is_trained(p, &j)) return keep_head(p, &j);
    const exn_status status = exn_fit_step(p->fit);
    p->steps_done++;
    if (status == EXN_E_INVALID) return skip_job(p);
    if (status != EXN_OK || !exn_fit_done(p->fit)) return status;
    return j.trial < EXN_TRIALS ? end_trial(p, &j) : keep_head(p, &j);
}
