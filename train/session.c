/* SPDX-License-Identifier: Apache-2.0
 * The order of work of one run: settle the samples, fit every exit fold by fold, keep what was held out. */
#include "train/session.h"

#include "train/fresh.h"
#include "train/quality.h"

#include <string.h>

static const size_t *records_of(const exn_session *s, size_t *records) {
    for (size_t i = 0; i < s->count; i++) records[i] = s->samples[i].record;
    return records;
}

/* ---- creation ---- */

static exn_status allocate(exn_session *s) {
    exn_context *ctx = s->ctx;
    const size_t table = s->count * s->classes;
    s->fold = exn_calloc(ctx, s->count, sizeof *s->fold);
    s->record = exn_calloc(ctx, s->count, sizeof *s->record);
    s->own = exn_calloc(ctx, table, sizeof(float));
    s->start = exn_calloc(ctx, table, sizeof(float));
    s->own_share = exn_calloc(ctx, table, sizeof(float));
    s->target = exn_calloc(ctx, table, sizeof(float));
    s->teacher = exn_calloc(ctx, table, (s->folds + 1) * sizeof(float));
    s->held_out = exn_calloc(ctx, table, s->exits * sizeof(float));
    s->head = exn_calloc(ctx, s->exits, sizeof *s->head);
    s->done = exn_calloc(ctx, s->exits, sizeof *s->done);
    const bool all = s->fold && s->record && s->own && s->start && s->own_share && s->target && s->teacher &&
                     s->held_out && s->head && s->done;
    return all ? EXN_OK : EXN_E_NOMEM;
}

/* Near twins are found by what the last layer sees. */
static exn_status divide(exn_session *s) {
    const exn_trainer *t = s->trainer;
    const size_t features = t->profile->exits[s->exits - 1].head.c;
    size_t *group = exn_calloc(s->ctx, s->count, sizeof *group);
    float *rows = exn_calloc(s->ctx, s->count * features, sizeof *rows);
    exn_status status = group && rows ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < s->count; i++)
        status = exn_cache_read(rows + i * features, t->cache, s->samples[i].record, t->first[s->exits - 1], features);
    if (status == EXN_OK) status = exn_samples_group(group, s->ctx, &t->kernels->f32_vector, rows, s->count, features);
    if (status == EXN_OK) status = exn_folds_assign(s->fold, s->ctx, s->samples, group, s->count, s->folds, s->classes);
    exn_free(s->ctx, group);
    exn_free(s->ctx, rows);
    return status;
}

/* Every exit starts from what general data taught it: what it learned from photos that are judged again now would make
 * those look better than they are. Never pretrained, the last one starts from the network's own layer, the others fresh. */
static exn_status start_head(exn_head *out, const exn_session *s, size_t exit) {
    const exn_profile *profile = s->trainer->profile;
    const exn_head *old = &profile->exits[exit].head, *general = &profile->exits[exit].general;
    if (general->kind != EXN_HEAD_AUTO) return exn_head_copy(out, s->ctx, general);
    if (old->kind == EXN_HEAD_CLASSIFIER) {
        EXN_TRY(exn_head_from_classifier(out, s->ctx, profile->model->graph));
        out->h = old->h;
        out->w = old->w;
        return EXN_OK;
    }
    EXN_TRY(exn_head_copy(out, s->ctx, old));
    exn_head_reset(out, s->trainer->seed, exit);
    return EXN_OK;
}

static exn_status read_own(exn_session *s) {
    const exn_trainer *t = s->trainer;
    for (size_t i = 0; i < s->count; i++)
        EXN_TRY(exn_cache_read(s->own + i * s->classes, t->cache, s->samples[i].record, 0, s->classes));
    exn_probabilities(s->own_share, &t->kernels->f32_vector, s->own, s->count, s->classes, 1.0f);
    memcpy(exn_session_row(s->held_out, s, s->exits - 1, 0), s->own, s->count * s->classes * sizeof(float));
    exn_head head = {0};
    EXN_TRY(start_head(&head, s, s->exits - 1));
    const exn_status status = exn_predict(s->start, s->ctx, t->kernels, &head, t->cache, t->first[s->exits - 1],
                                          records_of(s, s->record), s->count);
    exn_head_free(&head, s->ctx);
    return status;
}

static size_t job_steps(const exn_head *head, size_t count) {
    return exn_fit_defaults(head, count).steps;
}

static exn_status begin(exn_session *s) {
    const exn_trainer *t = s->trainer;
    s->samples = exn_calloc(s->ctx, t->sample_count, sizeof *s->samples);
    if (!s->samples) return EXN_E_NOMEM;
    memcpy(s->samples, t->samples, t->sample_count * sizeof *s->samples);
    s->count = exn_samples_settle(s->samples, t->sample_count);
    for (size_t i = 0; i < s->count; i++) s->labelled += s->samples[i].label != EXN_UNLABELLED;
    s->folds = exn_fold_count(s->count);
    s->finished = s->folds == 0;
    EXN_TRY(allocate(s));
    EXN_TRY(divide(s));
    EXN_TRY(read_own(s));
    s->exit = s->exits - 1;
    for (size_t e = 0; e < s->exits && !s->finished; e++)
        s->steps_total += (s->folds + 1) * job_steps(&t->profile->exits[e].head, s->count);
    if (s->labelled || s->finished) return EXN_OK;
    s->steps_total -= (s->folds + 1) * job_steps(&t->profile->exits[s->exit].head, s->count);
    exn_session_teach_alone(s);
    s->finished = s->exit == 0;
    s->exit -= !s->finished;
    return EXN_OK;
}

exn_status exn_session_create(exn_session **out, exn_trainer *trainer) {
    if (!trainer->sample_count) return exn_fail(trainer->ctx, EXN_E_INVALID, "nothing to learn from: no samples");
    exn_session *s = exn_calloc(trainer->ctx, 1, sizeof *s);
    if (!s) return EXN_E_NOMEM;
    s->trainer = trainer;
    s->ctx = trainer->ctx;
    s->exits = trainer->profile->exit_count;
    s->classes = trainer->profile->class_count;
    const exn_status status = begin(s);
    if (status == EXN_OK)
        *out = s;
    else
        exn_session_destroy(s);
    return status;
}

void exn_session_destroy(exn_session *s) {
    if (!s) return;
    exn_context *ctx = s->ctx;
    exn_fit_destroy(s->fit);
    exn_head_free(&s->work, ctx);
    for (size_t e = 0; s->head && e < s->exits; e++) exn_head_free(&s->head[e], ctx);
    exn_free(ctx, s->head);
    exn_free(ctx, s->done);
    exn_free(ctx, s->samples);
    exn_free(ctx, s->fold);
    exn_free(ctx, s->record);
    exn_free(ctx, s->own);
    exn_free(ctx, s->start);
    exn_free(ctx, s->own_share);
    exn_free(ctx, s->target);
    exn_free(ctx, s->teacher);
    exn_free(ctx, s->held_out);
    exn_free(ctx, s);
}

/* ---- jobs ---- */

/* One-hot and teacher for a labelled sample, the teacher alone for the others. */
static void write_target(float *out, const exn_session *s, const float *teacher, int64_t label) {
    const float share = label == EXN_UNLABELLED ? 0.0f : EXN_LABEL_SHARE;
    for (size_t j = 0; j < s->classes; j++) out[j] = (1.0f - share) * teacher[j] + ((int64_t)j == label ? share : 0.0f);
}

/* The last exit learns from labels alone; its teacher is what it was. */
static size_t gather(exn_session *s) {
    const bool last = s->exit + 1 == s->exits;
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const int64_t label = s->samples[i].label;
        if (s->fold[i] == s->job_fold || (last && label == EXN_UNLABELLED)) continue;
        const float *teacher = last ? s->own_share + i * s->classes : exn_session_row(s->teacher, s, s->job_fold, i);
        write_target(s->target + count * s->classes, s, teacher, label);
        s->record[count++] = s->samples[i].record;
    }
    return count;
}

static exn_status begin_job(exn_session *s) {
    exn_trainer *t = s->trainer;
    EXN_TRY(start_head(&s->work, s, s->exit));
    const size_t count = gather(s);
    if (!count) return EXN_OK;
    exn_fit_options options = exn_fit_defaults(&s->work, s->count);
    options.seed = t->seed;
    options.stream = s->exit * (EXN_FOLDS_MAX + 1) + s->job_fold;
    const exn_fit_samples samples = {
        .cache = t->cache, .record = s->record, .count = count, .first = t->first[s->exit], .target = s->target};
    return exn_fit_create(&s->fit, s->ctx, t->kernels, t->pool, &s->work, &samples, &options);
}

/* What this job's head says about the samples that it has not seen, or of the last exit: about all. */
static exn_status listen(exn_session *s) {
    const exn_trainer *t = s->trainer;
    const bool last = s->exit + 1 == s->exits;
    size_t *record = s->record, count = 0;
    for (size_t i = 0; i < s->count; i++)
        if (last || s->fold[i] == s->job_fold) record[count++] = s->samples[i].record;
    float *said = last ? exn_session_row(s->teacher, s, s->job_fold, 0) : s->target; /* targets are no longer needed */
    EXN_TRY(exn_predict(said, s->ctx, t->kernels, &s->work, t->cache, t->first[s->exit], record, count));
    for (size_t i = 0; i < s->count; i++) {
        if (!last && s->fold[i] != s->job_fold) continue;
        if (s->fold[i] == s->job_fold)
            memcpy(exn_session_row(s->held_out, s, s->exit, i), said, s->classes * sizeof *said);
        said += s->classes;
    }
    return EXN_OK;
}

static void next_exit(exn_session *s) {
    s->job_fold = 0;
    s->finished = s->exit == 0;
    s->exit -= !s->finished;
}

static exn_status end_job(exn_session *s) {
    if (s->fit) exn_fit_finish(s->fit);
    exn_fit_destroy(s->fit);
    s->fit = NULL;
    EXN_TRY(listen(s));
    if (s->job_fold < s->folds) {
        exn_head_free(&s->work, s->ctx);
        s->job_fold++;
        return EXN_OK;
    }
    s->head[s->exit] = s->work;
    s->work = (exn_head){0};
    s->done[s->exit] = true;
    if (s->exit + 1 == s->exits) EXN_TRY(exn_session_gate(s));
    next_exit(s);
    return EXN_OK;
}

/* An exit whose training diverges is left out; the last one then stays as it was, and so does the teacher. */
static void give_up_exit(exn_session *s) {
    exn_fit_destroy(s->fit);
    s->fit = NULL;
    exn_head_free(&s->work, s->ctx);
    if (s->exit + 1 == s->exits) {
        memcpy(exn_session_row(s->held_out, s, s->exit, 0), s->own, s->count * s->classes * sizeof(float));
        exn_session_teach_alone(s);
    }
    next_exit(s);
}

bool exn_session_trained(const exn_session *s) {
    return s->finished;
}

void exn_session_progress(size_t *done, size_t *total, const exn_session *s) {
    *done = s->steps_done < s->steps_total ? s->steps_done : s->steps_total;
    *total = s->steps_total;
}

exn_status exn_session_step(exn_session *s) {
    if (!s->fit) EXN_TRY(begin_job(s));
    if (!s->fit) return end_job(s); /* every sample is in this fold */
    const exn_status status = exn_fit_step(s->fit);
    s->steps_done++;
    if (status == EXN_E_INVALID) {
        give_up_exit(s);
        return EXN_OK;
    }
    if (status != EXN_OK) return status;
    return exn_fit_done(s->fit) ? end_job(s) : EXN_OK;
}

/* ---- estimate ---- */

exn_status exn_session_estimate(uint64_t *macs, size_t *bytes, const exn_trainer *trainer, size_t labelled,
                                size_t unlabelled) {
    const exn_profile *profile = trainer->profile;
    const size_t count = labelled + unlabelled, folds = exn_fold_count(count);
    const exn_head *last = &profile->exits[profile->exit_count - 1].head;
    size_t largest = 0;
    *macs = 0;
    for (size_t e = 0; e < profile->exit_count && count; e++) {
        const exn_head *head = &profile->exits[e].head;
        const exn_fit_options options = exn_fit_defaults(head, count);
        const size_t batch = count < options.batch ? count : options.batch;
        size_t fit;
        EXN_TRY(exn_fit_bytes(&fit, trainer->ctx, trainer->kernels, head, count, &options));
        if (fit > largest) largest = fit;
        /* Forward, and twice as much backward. */
        *macs += 3 * exn_head_macs(head) * batch * options.steps * (folds + 1);
    }
    const size_t tables = 4 + (folds + 1) + profile->exit_count;
    const size_t grouping = count * last->c * sizeof(float);
    *bytes = count * (profile->class_count * tables * sizeof(float) + sizeof(exn_sample) + 2 * sizeof(size_t)) +
             (largest > grouping ? largest : grouping);
    return EXN_OK;
}
