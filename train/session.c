/* SPDX-License-Identifier: Apache-2.0
 * The order of work of one run: settle the samples, train every exit, make the teacher, keep what was held out. */
#include "train/session.h"

#include "train/adapt.h"
#include "train/fresh.h"
#include "train/grow.h"
#include "train/quality.h"
#include "train/whole.h"

#include <math.h>
#include <string.h>

/* ---- creation ---- */

static exn_status allocate(exn_session *s) {
    exn_context *ctx = s->ctx;
    const size_t table = s->count * s->classes;
    s->label = exn_calloc(ctx, s->count, sizeof *s->label);
    s->fold = exn_calloc(ctx, s->count, sizeof *s->fold);
    s->group = exn_calloc(ctx, s->count, sizeof *s->group);
    s->record = exn_calloc(ctx, s->count, sizeof *s->record);
    s->own = exn_calloc(ctx, table, sizeof(float));
    s->logits = exn_calloc(ctx, table, sizeof(float));
    s->share = exn_calloc(ctx, table, sizeof(float));
    s->frequency = exn_calloc(ctx, s->classes, sizeof(float));
    s->seen = exn_calloc(ctx, s->count, sizeof *s->seen);
    s->teacher = exn_calloc(ctx, table, (s->folds + 1) * sizeof(float));
    s->held_out = exn_calloc(ctx, table, s->exits * sizeof(float));
    s->head = exn_calloc(ctx, s->exits, sizeof *s->head);
    s->gate = exn_calloc(ctx, s->exits, sizeof *s->gate);
    s->done = exn_calloc(ctx, s->exits, sizeof *s->done);
    const bool all = s->label && s->fold && s->group && s->record && s->own && s->logits && s->share && s->seen &&
                     s->frequency && s->teacher && s->held_out && s->head && s->gate && s->done;
    return all ? EXN_OK : EXN_E_NOMEM;
}

/* Near twins are found by what the last layer sees. */
static exn_status divide(exn_session *s) {
    const exn_trainer *t = s->trainer;
    const size_t features = t->profile->exits[s->exits - 1].head.c;
    float *rows = exn_calloc(s->ctx, s->count * features, sizeof *rows);
    exn_status status = rows ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < s->count; i++)
        status = exn_cache_read(rows + i * features, t->cache, s->record[i], t->cached[s->exits - 1].first, features);
    if (status == EXN_OK)
        status = exn_samples_group(s->group, s->ctx, &t->kernels->f32_vector, s->samples, rows, s->count, features);
    if (status == EXN_OK)
        status = exn_folds_assign(s->fold, s->ctx, s->samples, s->group, s->count, s->folds, s->classes);
    exn_free(s->ctx, rows);
    return status;
}

static exn_status copy_own_layer(exn_head *out, const exn_session *s, size_t exit) {
    const exn_profile *profile = s->trainer->profile;
    EXN_TRY(exn_head_from_classifier(out, s->ctx, profile->model->graph));
    out->h = profile->exits[exit].head.h;
    out->w = profile->exits[exit].head.w;
    return EXN_OK;
}

/* What the person's photos taught before would make them look better than they are now that they are judged again: every run
 * starts from what was there before any of them. */
exn_status exn_session_start_head(exn_head *out, const exn_session *s, size_t exit) {
    const exn_profile *profile = s->trainer->profile;
    const exn_exit *e = &profile->exits[exit];
    if (e->general.kind != EXN_HEAD_AUTO) return exn_head_copy(out, s->ctx, &e->general);
    if (e->head.kind == EXN_HEAD_CLASSIFIER) return copy_own_layer(out, s, exit);
    EXN_TRY(exn_head_copy(out, s->ctx, &e->head));
    exn_head_reset(out, s->trainer->seed, exit);
    return EXN_OK;
}

/* The teacher of a session that has no label: the untouched network. */
static void teach_alone(exn_session *s) {
    for (size_t f = 0; f <= s->folds; f++)
        memcpy(exn_session_row(s->teacher, s, f, 0), s->share, s->count * s->classes * sizeof(float));
}

static exn_status read_logits(float *out, const exn_session *s, const size_t *record) {
    const size_t known = s->trainer->profile->model->classes;
    for (size_t i = 0; i < s->count; i++) {
        float *row = out + i * s->classes;
        EXN_TRY(exn_cache_read(row, s->trainer->cache, record[i], 0, known));
        for (size_t j = known; j < s->classes; j++) row[j] = EXN_UNKNOWN_LOGIT;
    }
    return EXN_OK;
}

float exn_session_calibration(const exn_session *s, size_t exit) {
    const float temperature = s->trainer->profile->exits[exit].general_temperature;
    return isfinite(temperature) ? temperature : 1.0f;
}

/* Without labels to speak for a person's class frequencies, the network's answers may. */
static exn_status estimate_frequencies(exn_session *s) {
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    const float temperature = exn_session_calibration(s, s->exits - 1);
    if (s->labelled >= EXN_GATE_LABELS || (s->trainer->without & EXN_WITHOUT_PRIOR)) return EXN_OK;
    exn_probabilities(s->share, vector, s->logits, s->count, s->classes, temperature);
    EXN_TRY(exn_prior_from_predictions(s->frequency, &s->prior, s->ctx, vector, s->share, s->label, s->count,
                                       s->classes, s->trainer->seed));
    for (size_t i = 0; i < s->count && s->prior.used; i++)
        vector->axpy(s->classes, temperature, s->frequency, s->logits + i * s->classes);
    return EXN_OK;
}

/* Until it is trained, the last exit is the untouched network. */
static exn_status read_own(exn_session *s) {
    EXN_TRY(read_logits(s->logits, s, s->record));
    EXN_TRY(estimate_frequencies(s));
    exn_probabilities(s->share, &s->trainer->kernels->f32_vector, s->logits, s->count, s->classes, 1.0f);
    memcpy(exn_session_row(s->held_out, s, s->exits - 1, 0), s->logits, s->count * s->classes * sizeof(float));
    teach_alone(s);
    return EXN_OK;
}

static bool needed(const exn_session *s, size_t exit) {
    return exit + 1 < s->exits || s->labelled > 0 || s->prior.used;
}

size_t exn_session_steps_of(const exn_session *s, size_t exit) {
    if (!needed(s, exit)) return 0;
    return exn_adapt_possible(s, exit) ? exn_adapt_steps(s->count, s->classes, s->folds, s->labelled >= EXN_GATE_LABELS)
                                       : exn_whole_steps(s->folds);
}

/* To the next exit that there is something to train for. */
void exn_session_go_to(exn_session *s, size_t above) {
    while (above > 0 && !needed(s, above - 1)) above--;
    s->finished = above == 0;
    s->exit = s->finished ? 0 : above - 1;
}

/* ---- the camera ---- */

static void load_photo(const exn_session *s, size_t sample, const exn_preprocess *how) {
    const exn_trainer *t = s->trainer;
    const exn_model *model = t->profile->model;
    exn_preprocess_scale(t->input, s->samples[sample].bytes, how, model->height * model->width, model->channels);
}

/* Whether the person's photos lie far enough from the general ones to look at each of them again. */
static void consider_camera(exn_session *s) {
    const exn_profile *profile = s->trainer->profile;
    const exn_model *model = profile->model;
    exn_pixels person = {0};
    s->normal = (exn_normalisation){.before = (double)NAN, .after = (double)NAN, .error = (double)NAN};
    if (s->trainer->without & EXN_WITHOUT_NORMALISE) return;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->samples[i].bytes) return; /* general pixels unknown, or a tensor that is ready for the network */
        exn_pixels_merge(&person, &s->samples[i].pixels);
    }
    s->normal = exn_normalisation_between(&profile->pixels, &person, model->channels);
    s->looking = s->folds && s->normal.shift >= EXN_NORMALISATION_LEAST;
}

static exn_status judge_camera(exn_session *s) {
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    double *loss = exn_calloc(s->ctx, 2 * s->labelled + 1, sizeof *loss);
    float *scratch = exn_malloc(s->ctx, s->classes, sizeof *scratch);
    exn_status status = loss && scratch ? read_logits(s->logits, s, s->seen) : EXN_E_NOMEM;
    if (status == EXN_OK) {
        exn_judged judged = {.logits = s->own, .label = s->label, .rows = s->count, .classes = s->classes};
        exn_best_losses(loss, &judged, vector, scratch);
        judged.logits = s->logits;
        exn_best_losses(loss + s->labelled, &judged, vector, scratch);
        exn_normalisation_judge(&s->normal, loss, loss + s->labelled, s->labelled);
        if (s->normal.used) memcpy(s->record, s->seen, s->count * sizeof *s->record);
    }
    exn_free(s->ctx, loss);
    exn_free(s->ctx, scratch);
    return status;
}

/* Photos are seen the way they will be from here on. */
static exn_status start_training(exn_session *s) {
    exn_trainer_end_extraction(s->trainer);
    EXN_TRY(divide(s));
    EXN_TRY(read_own(s));
    exn_session_go_to(s, s->folds ? s->exits : 0);
    for (size_t e = 0; e < s->exits && s->folds; e++) s->steps_total += exn_session_steps_of(s, e);
    return exn_session_resume(s);
}

static exn_status look_again(exn_session *s) {
    exn_normalisation as_if = s->normal;
    exn_content content;
    as_if.used = true;
    const exn_preprocess how = exn_normalisation_fold(&s->trainer->profile->preprocess, &as_if);
    load_photo(s, s->next, &how);
    EXN_TRY(exn_trainer_gather(&s->seen[s->next], &content, s->trainer));
    s->looking = ++s->next < s->count;
    if (s->looking) return EXN_OK;
    EXN_TRY(judge_camera(s));
    return start_training(s);
}

/* Photos stay as they are where not all of them were looked at again. */
static exn_status stop_looking(exn_session *s) {
    s->looking = false;
    return start_training(s);
}

/* Labels are worth more than their absence. */
static void drop_surplus(exn_session *s) {
    size_t room = EXN_SAMPLES_MOST, labelled = 0, kept = 0;
    for (size_t i = 0; i < s->count; i++) labelled += s->samples[i].label != EXN_UNLABELLED;
    size_t unlabelled = labelled < room ? room - labelled : 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t *left = s->samples[i].label == EXN_UNLABELLED ? &unlabelled : &room;
        if (!*left) continue;
        *left -= 1;
        s->samples[kept++] = s->samples[i];
    }
    s->count = kept;
}

/* How many classes the labels show, counted no further than `most`, at most EXN_CLASSES_LEAST. */
static size_t classes_shown(const exn_session *s, size_t most) {
    int64_t shown[EXN_CLASSES_LEAST];
    size_t count = 0;
    for (size_t i = 0; i < s->count && count < most; i++) {
        bool known = s->label[i] == EXN_UNLABELLED;
        for (size_t k = 0; k < count && !known; k++) known = shown[k] == s->label[i];
        if (!known) shown[count++] = s->label[i];
    }
    return count;
}

/* Labels of one class or two hold nothing against answering with these whatever comes: no photo held out speaks for the
 * others. Somebody who began with one folder would lose nearly all that the network knows, so such labels are not looked at. */
static void require_classes(exn_session *s) {
    const size_t least = s->classes < EXN_CLASSES_LEAST ? s->classes : EXN_CLASSES_LEAST;
    const size_t shown = classes_shown(s, least);
    if (!s->labelled || shown == least) return;
    exn_log(s->ctx, EXN_LOG_WARNING, "the labels show %zu of %zu classes, %zu are needed: learning without labels",
            shown, s->classes, least);
    for (size_t i = 0; i < s->count; i++) s->label[i] = s->samples[i].label = EXN_UNLABELLED;
    s->labelled = 0;
}

static exn_status begin(exn_session *s) {
    const exn_trainer *t = s->trainer;
    s->samples = exn_calloc(s->ctx, t->sample_count, sizeof *s->samples);
    if (!s->samples) return EXN_E_NOMEM;
    memcpy(s->samples, t->samples, t->sample_count * sizeof *s->samples);
    s->count = exn_samples_settle(s->samples, t->sample_count);
    drop_surplus(s);
    s->folds = exn_fold_count(s->count);
    EXN_TRY(allocate(s));
    for (size_t i = 0; i < s->count; i++) {
        s->label[i] = s->samples[i].label;
        s->record[i] = s->samples[i].record;
        s->labelled += s->label[i] != EXN_UNLABELLED;
    }
    require_classes(s);
    EXN_TRY(read_logits(s->own, s, s->record));
    consider_camera(s);
    if (!s->looking) return start_training(s);
    s->steps_total += s->count;
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

/* The next run may see its photos otherwise: these records may give way. One may be a sample's own, too, which stays. */
static void let_go_of_seen(const exn_session *s) {
    const exn_trainer *t = s->trainer;
    for (size_t i = 0; i < s->next; i++) exn_cache_let_go(t->cache, s->seen[i]);
    for (size_t i = 0; i < t->sample_count; i++) exn_cache_hold(t->cache, t->samples[i].record);
}

void exn_session_destroy(exn_session *s) {
    if (!s) return;
    exn_context *ctx = s->ctx;
    let_go_of_seen(s);
    exn_journal_close(s->journal);
    exn_adapt_destroy(s->adapt);
    exn_whole_destroy(s->whole);
    for (size_t e = 0; s->head && e < s->exits; e++) exn_head_free(&s->head[e], ctx);
    exn_free(ctx, s->head);
    exn_free(ctx, s->gate);
    exn_free(ctx, s->done);
    exn_free(ctx, s->samples);
    exn_free(ctx, s->label);
    exn_free(ctx, s->fold);
    exn_free(ctx, s->group);
    exn_free(ctx, s->record);
    exn_free(ctx, s->own);
    exn_free(ctx, s->logits);
    exn_free(ctx, s->share);
    exn_free(ctx, s->seen);
    exn_free(ctx, s->frequency);
    exn_free(ctx, s->teacher);
    exn_free(ctx, s->held_out);
    exn_free(ctx, s);
}

/* ---- steps ---- */

/* Half what the personal layer says, half what the untouched network says; every fold's teacher is that fold's own, which has
 * not seen its samples either. */
static void teach(exn_session *s) {
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    for (size_t f = 0; f <= s->folds; f++) {
        float *teacher = exn_session_row(s->teacher, s, f, 0);
        exn_probabilities(teacher, vector, teacher, s->count, s->classes, 1.0f);
        for (size_t i = 0; i < s->count * s->classes; i++) teacher[i] = 0.5f * (teacher[i] + s->share[i]);
    }
}

/* A last layer that was not changed is the untouched network, in every bit; with classes added it never is. */
static void settle_last(exn_session *s) {
    const bool changed = s->gate[s->exit].kept < 1.0f || s->classes > s->trainer->profile->model->classes;
    s->done[s->exit] = changed;
    if (changed) {
        teach(s);
        return;
    }
    memcpy(exn_session_row(s->held_out, s, s->exit, 0), s->logits, s->count * s->classes * sizeof(float));
    teach_alone(s);
}

exn_status exn_session_restore_last(exn_session *s) {
    const size_t last = s->exits - 1;
    exn_head *head = &s->head[last];
    if (head->kind != EXN_HEAD_AUTO || s->classes == s->trainer->profile->model->classes) return EXN_OK;
    EXN_TRY(copy_own_layer(head, s, last));
    EXN_TRY(exn_head_grow(head, s->ctx, s->classes, EXN_UNKNOWN_LOGIT));
    if (s->prior.used)
        s->trainer->kernels->f32_vector.axpy(s->classes, exn_session_calibration(s, last), s->frequency,
                                             head->tensor[EXN_HEAD_FC_BIAS]);
    return EXN_OK;
}

/* What was made of it is safe before the next one begins. */
static exn_status leave_exit(exn_session *s) {
    EXN_TRY(exn_session_keep_exit(s));
    exn_adapt_destroy(s->adapt);
    exn_whole_destroy(s->whole);
    s->adapt = NULL;
    s->whole = NULL;
    exn_session_go_to(s, s->exit);
    return EXN_OK;
}

static exn_status end_exit(exn_session *s) {
    if (s->adapt) EXN_TRY(exn_adapt_finish(s->adapt));
    if (s->whole) exn_whole_finish(s->whole);
    s->done[s->exit] = true;
    if (s->exit + 1 == s->exits) settle_last(s);
    return leave_exit(s);
}

exn_status exn_session_begin_exit(exn_session *s) {
    if (s->adapt || s->whole) return EXN_OK;
    return exn_adapt_possible(s, s->exit) ? exn_adapt_create(&s->adapt, s, s->exit)
                                          : exn_whole_create(&s->whole, s, s->exit);
}

bool exn_session_trained(const exn_session *s) {
    return s->finished;
}

void exn_session_progress(size_t *done, size_t *total, const exn_session *s) {
    *done = s->steps_done < s->steps_total ? s->steps_done : s->steps_total;
    *total = s->steps_total;
}

/* An exit whose training diverges is left out; the last one then stays as it was, and so does the teacher. */
static exn_status step_exit(exn_session *s) {
    EXN_TRY(exn_session_begin_exit(s));
    exn_status status = s->adapt ? exn_adapt_step(s->adapt) : exn_whole_step(s->whole);
    if (status == EXN_OK && (s->adapt ? exn_adapt_done(s->adapt) : exn_whole_done(s->whole))) status = end_exit(s);
    return status == EXN_E_INVALID ? leave_exit(s) : status;
}

exn_status exn_session_step(exn_session *s) {
    s->steps_done++;
    return s->looking ? look_again(s) : step_exit(s);
}

exn_status exn_session_stop(exn_session *s) {
    if (s->looking) return stop_looking(s);
    exn_status status = exn_session_keep(s, true);
    exn_journal_close(s->journal); /* what is brought to an end now would have gone on */
    s->journal = NULL;
    if (status == EXN_OK && s->adapt && exn_adapt_stop(s->adapt))
        while (status == EXN_OK && s->adapt) status = step_exit(s);
    return status;
}

/* ---- estimate ---- */

exn_status exn_session_estimate(uint64_t *macs, size_t *bytes, const exn_trainer *trainer, size_t labelled,
                                size_t unlabelled) {
    const exn_profile *profile = trainer->profile;
    const size_t all = labelled + unlabelled, count = all < EXN_SAMPLES_MOST ? all : EXN_SAMPLES_MOST;
    const size_t folds = exn_fold_count(count);
    const exn_head *last = &profile->exits[profile->exit_count - 1].head;
    size_t largest = 0;
    *macs = 0;
    for (size_t e = 0; e < profile->exit_count && count; e++) {
        const exn_exit *exit = &profile->exits[e];
        size_t fit;
        uint64_t work;
        if (exn_head_stages(exit->head.kind) && exit->general.kind == EXN_HEAD_AUTO)
            EXN_TRY(exn_whole_estimate(&fit, &work, trainer, &exit->head, count));
        else
            exn_adapt_estimate(&fit, &work, &exit->head, count);
        if (fit > largest) largest = fit;
        *macs += work;
    }
    const size_t tables = 3 + (folds + 1) + profile->exit_count;
    const size_t grouping = count * last->c * sizeof(float);
    *bytes = all * sizeof(exn_sample) +
             count * (profile->class_count * tables * sizeof(float) + sizeof(int64_t) + 4 * sizeof(size_t)) +
             (largest > grouping ? largest : grouping);
    return EXN_OK;
}
