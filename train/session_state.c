/* SPDX-License-Identifier: Apache-2.0
 * A session on disk: which run it is, which exits are finished, where the one under way stands. */
#include "train/adapt.h"
#include "train/session.h"
#include "train/whole.h"

#include <string.h>

/* ---- which run it is ---- */

static void add_text(exn_archive *a, const char *text) {
    uint64_t hash = exn_hash64(text, strlen(text), 0);
    exn_archive_u64(a, &hash);
}

static void add_exit(exn_archive *a, exn_exit *exit) {
    double temperature = (double)exit->general_temperature;
    size_t kind = exit->general.kind;
    exn_archive_reals(a, &temperature, 1);
    exn_archive_count(a, &kind, SIZE_MAX);
    if (exit->general.kind != EXN_HEAD_AUTO) exn_archive_head(a, &exit->general);
    kind = exit->head.kind; /* its weights are not what training starts from */
    exn_archive_count(a, &kind, SIZE_MAX);
}

/* Everything that training follows from; a later version of this library may train otherwise. */
static exn_status make_key(char key[EXN_HASH_TEXT_BYTES], exn_session *s) {
    const exn_trainer *t = s->trainer;
    exn_archive a = exn_archive_write(s->ctx);
    char records[EXN_HASH_TEXT_BYTES];
    bool half = t->cache_half;
    EXN_TRY(exn_trainer_key(records, t));
    add_text(&a, exn_version());
    add_text(&a, records);
    uint64_t seed = t->seed, without = t->without;
    exn_archive_u64(&a, &seed);
    exn_archive_u64(&a, &without);
    exn_archive_flag(&a, &half);
    exn_archive_count(&a, &s->classes, SIZE_MAX);
    exn_archive_flag(&a, &s->normal.used);
    exn_archive_flag(&a, &s->prior.used);
    for (size_t i = 0; i < s->count; i++) exn_archive_sample(&a, &s->samples[i].content, s->label[i]);
    for (size_t e = 0; e < s->exits; e++) add_exit(&a, &t->profile->exits[e]);
    if (a.status == EXN_OK) exn_hash_text(key, a.to, a.size);
    exn_archive_free(&a);
    return a.status;
}

/* ---- a finished exit ---- */

static void exchange_gate(exn_archive *a, exn_gate *g) {
    double *const reals[] = {&g->before, &g->after, &g->error, &g->pull, &g->unseen, &g->doubt};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) exn_archive_reals(a, reals[i], 1);
    exn_archive_count(a, &g->judged, SIZE_MAX);
    exn_archive_count(a, &g->tried, SIZE_MAX);
    exn_archive_floats(a, &g->kept, 1);
    exn_archive_floats(a, &g->truth, 1);
    exn_archive_flag(a, &g->prior);
    exn_archive_flag(a, &g->centred);
    exn_archive_flag(a, &g->open);
}

static exn_status make_room(exn_head *head, const exn_session *s, size_t exit) {
    const exn_exit *e = &s->trainer->profile->exits[exit];
    const exn_head *like = e->general.kind != EXN_HEAD_AUTO ? &e->general : &e->head;
    *head = (exn_head){.kind = like->kind, .c = like->c, .h = e->head.h, .w = e->head.w, .classes = s->classes};
    return exn_head_allocate(head, s->ctx);
}

static void exchange_exit(exn_archive *a, exn_session *s, size_t exit) {
    exn_head *head = &s->head[exit];
    bool trained = head->kind != EXN_HEAD_AUTO;
    exn_archive_flag(a, &s->done[exit]);
    exn_archive_flag(a, &trained);
    if (trained && a->reading && a->status == EXN_OK) a->status = make_room(head, s, exit);
    if (trained && a->status == EXN_OK) exn_archive_head(a, head);
    exchange_gate(a, &s->gate[exit]);
    exn_archive_floats(a, exn_session_row(s->held_out, s, exit, 0), s->count * s->classes);
    if (exit + 1 == s->exits) exn_archive_floats(a, s->teacher, (s->folds + 1) * s->count * s->classes);
}

exn_status exn_session_keep_exit(exn_session *s) {
    if (!s->journal) return EXN_OK;
    exn_archive a = exn_archive_write(s->ctx);
    exchange_exit(&a, s, s->exit);
    const exn_status status = a.status == EXN_OK ? exn_journal_finish(s->journal, s->exit, &a) : a.status;
    exn_archive_free(&a);
    return status;
}

/* ---- the exit under way ---- */

static void exchange_under_way(exn_archive *a, exn_session *s) {
    if (s->adapt) exn_adapt_exchange(s->adapt, a);
    if (s->whole) exn_whole_exchange(s->whole, a);
    exn_archive_count(a, &s->steps_done, SIZE_MAX);
}

exn_status exn_session_keep(exn_session *s, bool now) {
    if (!s->journal || !(s->adapt || s->whole) || !(now || exn_journal_due(s->journal))) return EXN_OK;
    exn_archive a = exn_archive_write(s->ctx);
    exchange_under_way(&a, s);
    const exn_status status = a.status == EXN_OK ? exn_journal_keep(s->journal, s->exit, &a) : a.status;
    exn_archive_free(&a);
    return status;
}

static exn_status restore_exit(bool *found, exn_session *s) {
    exn_archive a = {0};
    EXN_TRY(exn_journal_finished(found, &a, s->journal, s->exit));
    if (!*found) return EXN_OK;
    exchange_exit(&a, s, s->exit);
    const exn_status status = exn_archive_end(&a);
    exn_archive_free(&a);
    s->steps_done += exn_session_steps_of(s, s->exit);
    exn_session_go_to(s, s->exit);
    return status;
}

static exn_status restore_under_way(exn_session *s) {
    exn_archive a = {0};
    bool found;
    exn_status status = exn_journal_under_way(&found, &a, s->journal, s->exit);
    if (status != EXN_OK || !found) return status;
    status = exn_session_begin_exit(s);
    if (status == EXN_OK) exchange_under_way(&a, s);
    if (status == EXN_OK) status = exn_archive_end(&a);
    exn_archive_free(&a);
    return status;
}

exn_status exn_session_resume(exn_session *s) {
    char key[EXN_HASH_TEXT_BYTES];
    if (!s->trainer->progress || s->finished) return EXN_OK;
    EXN_TRY(make_key(key, s));
    EXN_TRY(exn_journal_open(&s->journal, s->ctx, s->trainer->progress, key));
    for (bool found = true; found && !s->finished;) EXN_TRY(restore_exit(&found, s));
    return s->finished ? EXN_OK : restore_under_way(s);
}
