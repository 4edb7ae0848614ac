/* SPDX-License-Identifier: Apache-2.0
 * Whole heads from fresh weights. */
#include "train/whole.h"

#include "train/quality.h"

#include <math.h>
#include <string.h>

/* Share of truth in a labelled sample's target; the rest is the teacher's. */
#define TRUTH 0.5f

struct exn_whole {
    exn_session *session;
    size_t exit, fold; /* fold == folds: from all samples */
    exn_head head;
    exn_fit *fit;   /* NULL: yet to begin */
    size_t *record; /* of this fold's samples */
    float *target;
    bool done;
};

exn_status exn_whole_create(exn_whole **out, exn_session *s, size_t exit) {
    exn_whole *w = exn_calloc(s->ctx, 1, sizeof *w);
    if (!w) return EXN_E_NOMEM;
    w->session = s;
    w->exit = exit;
    w->record = exn_calloc(s->ctx, s->count, sizeof *w->record);
    w->target = exn_calloc(s->ctx, s->count * s->classes, sizeof *w->target);
    if (!w->record || !w->target) {
        exn_whole_destroy(w);
        return EXN_E_NOMEM;
    }
    *out = w;
    return EXN_OK;
}

void exn_whole_destroy(exn_whole *w) {
    if (!w) return;
    exn_context *ctx = w->session->ctx;
    exn_fit_destroy(w->fit);
    exn_head_free(&w->head, ctx);
    exn_free(ctx, w->record);
    exn_free(ctx, w->target);
    exn_free(ctx, w);
}

size_t exn_whole_steps(size_t folds) {
    return (folds + 1) * exn_fit_defaults().steps;
}

/* One-hot and teacher for a labelled sample, the teacher alone for the others. */
static size_t gather(exn_whole *w) {
    exn_session *s = w->session;
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->fold[i] == w->fold) continue;
        const float *teacher = exn_session_row(s->teacher, s, w->fold, i);
        float *target = w->target + count * s->classes;
        const bool added = s->label[i] >= (int64_t)s->trainer->profile->model->classes; /* the teacher knows it not */
        const float truth = s->label[i] == EXN_UNLABELLED ? 0.0f : added ? 1.0f : TRUTH;
        for (size_t j = 0; j < s->classes; j++)
            target[j] = (1.0f - truth) * teacher[j] + ((int64_t)j == s->label[i] ? truth : 0.0f);
        w->record[count++] = s->record[i];
    }
    return count;
}

static exn_status begin(exn_whole *w) {
    exn_session *s = w->session;
    exn_trainer *t = s->trainer;
    EXN_TRY(exn_session_start_head(&w->head, s, w->exit));
    const size_t count = gather(w);
    if (!count) return EXN_OK;
    exn_fit_options options = exn_fit_defaults();
    options.seed = t->seed;
    options.stream = w->exit * (EXN_FOLDS_MAX + 1) + w->fold;
    const exn_fit_samples samples = {
        .cache = t->cache, .record = w->record, .count = count, .first = t->cached[w->exit].first, .target = w->target};
    return exn_fit_create(&w->fit, s->ctx, t->kernels, t->pool, &w->head, &samples, &options);
}

/* What this fold's head says about the samples that it has not seen. */
static exn_status listen(exn_whole *w) {
    exn_session *s = w->session;
    const exn_trainer *t = s->trainer;
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->fold[i] == w->fold) w->record[count++] = s->record[i];
    float *said = w->target; /* targets are no longer needed */
    EXN_TRY(exn_predict(said, s->ctx, t->kernels, &w->head, t->cache, t->cached[w->exit], w->record, count));
    for (size_t i = 0; i < s->count; i++) {
        if (s->fold[i] != w->fold) continue;
        memcpy(exn_session_row(s->held_out, s, w->exit, i), said, s->classes * sizeof *said);
        said += s->classes;
    }
    return EXN_OK;
}

static exn_status end(exn_whole *w) {
    exn_session *s = w->session;
    if (w->fit) exn_fit_finish(w->fit);
    exn_fit_destroy(w->fit);
    w->fit = NULL;
    w->done = w->fold == s->folds;
    if (w->done) return EXN_OK;
    EXN_TRY(listen(w));
    exn_head_free(&w->head, s->ctx);
    w->head = (exn_head){0};
    w->fold++;
    return EXN_OK;
}

exn_status exn_whole_step(exn_whole *w) {
    if (!w->fit) EXN_TRY(begin(w));
    if (!w->fit) return end(w); /* every sample is in this fold */
    EXN_TRY(exn_fit_step(w->fit));
    return exn_fit_done(w->fit) ? end(w) : EXN_OK;
}

/* Of a fold that has not begun there is nothing to keep. */
void exn_whole_exchange(exn_whole *w, exn_archive *archive) {
    exn_session *s = w->session;
    bool fitting = w->fit != NULL;
    exn_archive_count(archive, &w->fold, s->folds);
    exn_archive_floats(archive, exn_session_row(s->held_out, s, w->exit, 0), s->count * s->classes);
    exn_archive_flag(archive, &fitting);
    if (!fitting || archive->status != EXN_OK) return;
    if (archive->reading) archive->status = begin(w);
    if (w->fit) exn_fit_exchange(w->fit, archive);
}

bool exn_whole_done(const exn_whole *w) {
    return w->done;
}

void exn_whole_finish(exn_whole *w) {
    exn_session *s = w->session;
    s->head[w->exit] = w->head;
    s->gate[w->exit] = (exn_gate){.before = (double)NAN, .after = (double)NAN, .error = (double)NAN, .tried = 1};
    w->head = (exn_head){0};
}

exn_status exn_whole_estimate(size_t *bytes, uint64_t *macs, const exn_trainer *trainer, const exn_head *head,
                              size_t count) {
    const exn_fit_options options = exn_fit_defaults();
    const size_t batch = count < options.batch ? count : options.batch;
    size_t fit;
    EXN_TRY(exn_fit_bytes(&fit, trainer->ctx, trainer->kernels, head, count, &options));
    *bytes = fit + count * (head->classes * sizeof(float) + sizeof(size_t));
    /* Forward, and twice as much backward. */
    *macs = 3 * exn_head_macs(head) * batch * options.steps * (exn_fold_count(count) + 1);
    return EXN_OK;
}
