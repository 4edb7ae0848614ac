/* SPDX-License-Identifier: Apache-2.0
 * Pretraining on disk: which run it is, which jobs are finished, where the current one stands. */
#include "train/pretrain.h"

#include <string.h>

/* ---- which run it is ---- */

/* Everything that training follows from; a later version of this library may train otherwise. */
static exn_status make_key(char key[EXN_HASH_TEXT_BYTES], exn_pretrainer *p) {
    exn_archive a = exn_archive_write(p->ctx);
    char records[EXN_HASH_TEXT_BYTES];
    EXN_TRY(exn_trainer_key(records, p->trainer));
    uint64_t version = exn_hash64(exn_version(), strlen(exn_version()), 0);
    uint64_t features = exn_hash64(records, strlen(records), 0);
    exn_archive_u64(&a, &version);
    exn_archive_u64(&a, &features);
    exn_archive_u64(&a, &p->seed);
    exn_archive_count(&a, &p->epochs, SIZE_MAX);
    exn_archive_flag(&a, &p->refit);
    exn_archive_count(&a, &p->views, EXN_VIEWS_MAX);
    exn_archive_flag(&a, &p->choose_heads);
    for (size_t e = 0; e < p->exits; e++) {
        size_t kind = p->kind[e];
        exn_archive_count(&a, &kind, SIZE_MAX);
    }
    for (size_t i = 0; i < p->photo_count; i++) {
        exn_archive_sample(&a, &p->photo[i].content, p->photo[i].label);
        exn_archive_count(&a, &p->photo[i].fold, SIZE_MAX);
    }
    if (a.status == EXN_OK) exn_hash_text(key, a.to, a.size);
    exn_archive_free(&a);
    return a.status;
}

/* ---- a finished job ---- */

static void exchange_head(exn_archive *a, exn_pretrainer *p, exn_head *head, size_t exit) {
    const exn_head *like = &p->profile->exits[exit].head;
    bool trained = head->kind != EXN_HEAD_AUTO;
    exn_archive_flag(a, &trained);
    if (!trained || a->status != EXN_OK) return;
    if (a->reading) {
        *head = (exn_head){.kind = p->kind[exit], .c = like->c, .h = like->h, .w = like->w, .classes = like->classes};
        a->status = exn_head_allocate(head, p->ctx);
    }
    if (a->status == EXN_OK) exn_archive_head(a, head);
}

static void exchange_job(exn_archive *a, exn_pretrainer *p) {
    const exn_pretrain_job j = exn_pretrain_current(p);
    if (j.trial < EXN_TRIALS) {
        exn_archive_reals(a, &p->trial[j.exit * EXN_TRIALS + j.trial], 1);
        return;
    }
    const bool fold = j.fold < p->folds;
    exchange_head(a, p, fold ? &p->fold_head[j.fold * p->exits + j.exit] : &p->general[j.exit], j.exit);
    for (size_t i = 0; fold && i < p->photo_count; i++)
        if (p->photo[i].fold == j.fold)
            exn_archive_floats(a, p->held_out + (j.exit * p->photo_count + i) * p->classes, p->classes);
}

/* Part `jobs` comes after them all in number, but after the trials in time. */
static void exchange_kinds(exn_archive *a, exn_pretrainer *p) {
    for (size_t e = 0; e + 1 < p->exits; e++) {
        size_t trial = 0;
        while (trial + 1 < EXN_TRIALS && exn_trial_kinds[trial] != p->kind[e]) trial++;
        exn_archive_count(a, &trial, EXN_TRIALS - 1);
        if (a->reading) p->kind[e] = exn_trial_kinds[trial];
    }
}

/* ---- keeping ---- */

static exn_status finish(exn_archive *a, exn_pretrainer *p, size_t part) {
    const exn_status status = a->status == EXN_OK ? exn_journal_finish(p->journal, part, a) : a->status;
    exn_archive_free(a);
    return status;
}

exn_status exn_pretrain_keep_job(exn_pretrainer *p) {
    if (!p->journal) return EXN_OK;
    exn_archive a = exn_archive_write(p->ctx);
    exchange_job(&a, p);
    return finish(&a, p, p->job);
}

exn_status exn_pretrain_keep_kinds(exn_pretrainer *p) {
    if (!p->journal) return EXN_OK;
    exn_archive a = exn_archive_write(p->ctx);
    exchange_kinds(&a, p);
    return finish(&a, p, p->jobs);
}

static void exchange_under_way(exn_archive *a, exn_pretrainer *p) {
    exn_archive_count(a, &p->steps_done, p->steps_total);
    exn_fit_exchange(p->fit, a);
}

exn_status exn_pretrain_keep(exn_pretrainer *p, bool now) {
    if (!p->journal || !p->fit || !(now || exn_journal_due(p->journal))) return EXN_OK;
    exn_archive a = exn_archive_write(p->ctx);
    exchange_under_way(&a, p);
    const exn_status status = a.status == EXN_OK ? exn_journal_keep(p->journal, p->job, &a) : a.status;
    exn_archive_free(&a);
    return status;
}

/* ---- going on ---- */

static exn_status restore_kinds(exn_pretrainer *p) {
    exn_archive a = {0};
    bool found;
    EXN_TRY(exn_journal_finished(&found, &a, p->journal, p->jobs));
    if (!found) {
        EXN_TRY(exn_pretrain_choose(p));
        return exn_pretrain_keep_kinds(p);
    }
    exchange_kinds(&a, p);
    const exn_status status = exn_archive_end(&a);
    exn_archive_free(&a);
    return status;
}

static exn_status restore_job(bool *found, exn_pretrainer *p) {
    exn_archive a = {0};
    EXN_TRY(exn_journal_finished(found, &a, p->journal, p->job));
    if (!*found) return EXN_OK;
    exchange_job(&a, p);
    exn_status status = exn_archive_end(&a);
    exn_archive_free(&a);
    const exn_pretrain_job j = exn_pretrain_current(p);
    p->steps_done += exn_pretrain_job_steps(p, &j);
    p->job++;
    if (status == EXN_OK && p->job == p->trials && p->trials) status = restore_kinds(p);
    return status;
}

static exn_status restore_under_way(exn_pretrainer *p) {
    exn_archive a = {0};
    bool found;
    const exn_pretrain_job j = exn_pretrain_current(p);
    exn_status status = exn_journal_under_way(&found, &a, p->journal, p->job);
    if (status != EXN_OK || !found) return status;
    status = exn_pretrain_begin_job(p, &j);
    if (status == EXN_OK && p->fit) exchange_under_way(&a, p);
    if (status == EXN_OK) status = exn_archive_end(&a);
    exn_archive_free(&a);
    return status;
}

exn_status exn_pretrain_resume(exn_pretrainer *p) {
    char key[EXN_HASH_TEXT_BYTES];
    if (!p->progress) return EXN_OK;
    EXN_TRY(make_key(key, p));
    EXN_TRY(exn_journal_open(&p->journal, p->ctx, p->progress, key));
    for (bool found = true; found && p->job < p->jobs;) EXN_TRY(restore_job(&found, p));
    return p->job < p->jobs ? restore_under_way(p) : EXN_OK;
}
