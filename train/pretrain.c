/* SPDX-License-Identifier: Apache-2.0
 * Gathering general photos, and the run as its caller sees it. */
#include "train/pretrain.h"

#include "graph/augment.h"

#include <math.h>
#include <string.h>

#define EPOCHS 40u
#define VIEWS 4u

void exn_pretrainer_destroy(exn_pretrainer *pretrainer) {
    if (!pretrainer) return;
    exn_context *ctx = pretrainer->ctx;
    exn_pretrain_end(pretrainer);
    exn_trainer_destroy(pretrainer->trainer);
    exn_free(ctx, pretrainer->photo);
    exn_free(ctx, pretrainer->progress);
    exn_free(ctx, pretrainer);
}

/* Kinds are tried on the features that the profile's heads have cached. */
static exn_status check_choice(const exn_pretrainer *p) {
    for (size_t e = 0; e + 1 < p->exits; e++)
        if (p->choose_heads && !exn_head_stages(p->profile->exits[e].head.kind))
            return exn_fail(p->ctx, EXN_E_INVALID, "choosing heads: attach them as conv first, exit %zu is not", e);
    return EXN_OK;
}

exn_status exn_pretrainer_create(exn_pretrainer **out, exn_profile *profile, const exn_pretrainer_options *options) {
    exn_pretrainer_options filled;
    if (!profile) return EXN_E_INVALID;
    if (!out) return exn_fail(profile->ctx, EXN_E_INVALID, "exn_pretrainer_create: out is NULL");
    EXN_TRY(exn_options_read(&filled, sizeof filled, profile->ctx, options));
    if (!(filled.time_budget_s >= 0))
        return exn_fail(profile->ctx, EXN_E_INVALID, "time budget of %g seconds", filled.time_budget_s);
    if (filled.views > EXN_VIEWS_MAX)
        return exn_fail(profile->ctx, EXN_E_INVALID, "%zu views of a photo: at most %u", filled.views, EXN_VIEWS_MAX);
    exn_pretrainer *made = exn_calloc(profile->ctx, 1, sizeof *made);
    if (!made) return EXN_E_NOMEM;
    *made = (exn_pretrainer){.ctx = profile->ctx,
                             .profile = profile,
                             .time_budget_s = filled.time_budget_s,
                             .seed = filled.seed ? filled.seed : profile->seed,
                             .epochs = filled.epochs ? filled.epochs : EPOCHS,
                             .refit = filled.refit,
                             .views = filled.views ? filled.views : VIEWS,
                             .choose_heads = filled.choose_heads,
                             .prune = filled.prune,
                             .exits = profile->exit_count,
                             .classes = profile->class_count};
    const exn_trainer_options inner = {
        .struct_size = sizeof inner, .cache_path = filled.cache_path, .costs = filled.costs, .seed = made->seed};
    exn_status status = check_choice(made);
    if (status == EXN_OK && filled.progress_path && !(made->progress = exn_strdup(made->ctx, filled.progress_path)))
        status = EXN_E_NOMEM;
    if (status == EXN_OK) status = exn_trainer_create_for(&made->trainer, profile, &inner, true);
    if (status == EXN_OK)
        *out = made;
    else
        exn_pretrainer_destroy(made);
    return status;
}

size_t exn_pretrainer_cache_bytes(const exn_pretrainer *pretrainer, size_t images) {
    size_t records, bytes;
    if (!pretrainer || !exn_size_mul(&records, images, pretrainer->views) ||
        !exn_size_mul(&bytes, records, exn_cache_record_bytes(pretrainer->trainer->record_count, false)))
        return SIZE_MAX;
    return bytes;
}

/* ---- photos ---- */

static exn_status check_label(const exn_pretrainer *p, int64_t label) {
    if (label >= 0 && (uint64_t)label < p->classes) return EXN_OK;
    return exn_fail(p->ctx, EXN_E_INVALID, "label %lld: general data has labels from 0 to %zu", (long long)label,
                    p->classes - 1);
}

/* All photos have a group, or none has: half a division would put strangers' twins on both sides. */
static exn_status check_group(const exn_pretrainer *p, size_t group) {
    if (!p->photo_count || (p->photo[0].group == EXN_UNGROUPED) == (group == EXN_UNGROUPED)) return EXN_OK;
    return exn_fail(p->ctx, EXN_E_INVALID, "general data: either every sample has a group or none has");
}

static exn_status check_spent(const exn_pretrainer *p) {
    return p->spent ? exn_fail(p->ctx, EXN_E_INVALID, "this pretrainer has run: make another") : EXN_OK;
}

/* Room for one more, and nothing of a run that was made of fewer. */
static exn_status prepare(exn_pretrainer *p, int64_t label, size_t group) {
    EXN_TRY(check_spent(p));
    EXN_TRY(check_label(p, label));
    EXN_TRY(check_group(p, group));
    exn_pretrain_end(p);
    p->used_s = 0;
    return exn_grow(p->ctx, (void **)&p->photo, &p->photo_capacity, p->photo_count + 1, sizeof *p->photo);
}

static exn_rng view_rng(const exn_pretrainer *p, const exn_content *content) {
    uint64_t stream;
    memcpy(&stream, content->bytes, sizeof stream);
    return exn_rng_seed(p->seed, stream);
}

exn_status exn_pretrainer_add(exn_pretrainer *p, const exn_image *image, int64_t label, size_t group) {
    if (!p) return EXN_E_INVALID;
    exn_trainer *t = p->trainer;
    const exn_model *model = p->profile->model;
    exn_general_photo photo = {.label = label, .group = group};
    EXN_TRY(prepare(p, label, group));
    EXN_TRY(exn_preprocess_image(t->input, t->resizer, image, &p->profile->preprocess, model->height, model->width,
                                 model->channels));
    exn_pixels_add(&photo.pixels, t->input, model->height * model->width, model->channels);
    EXN_TRY(exn_trainer_gather(&photo.record, &photo.content, t));
    exn_rng rng = view_rng(p, &photo.content);
    while (photo.extras + 1 < p->views) {
        exn_content content;
        EXN_TRY(exn_augment_image(t->input, t->resizer, image, &p->profile->preprocess, model->height, model->width,
                                  model->channels, &rng));
        EXN_TRY(exn_trainer_gather(&photo.extra[photo.extras++], &content, t));
    }
    p->photo[p->photo_count++] = photo;
    return EXN_OK;
}

exn_status exn_pretrainer_add_tensor(exn_pretrainer *p, const float *chw, int64_t label, size_t group) {
    if (!p) return EXN_E_INVALID;
    exn_general_photo photo = {.label = label, .group = group};
    EXN_TRY(prepare(p, label, group));
    EXN_TRY(exn_trainer_load_tensor(p->trainer, chw));
    EXN_TRY(exn_trainer_gather(&photo.record, &photo.content, p->trainer));
    p->photo[p->photo_count++] = photo;
    return EXN_OK;
}

/* ---- the run ---- */

static bool may_go_on(const exn_pretrainer *p, exn_progress_fn *progress, void *user, double elapsed) {
    const exn_progress report = {
        .phase = EXN_PHASE_TRAIN, .done = p->steps_done, .total = p->steps_total, .elapsed_s = elapsed};
    return !progress || progress(user, &report);
}

exn_status exn_pretrainer_run(exn_pretrainer *p, exn_progress_fn *progress, void *user) {
    if (!p) return EXN_E_INVALID;
    EXN_TRY(check_spent(p));
    const double start = exn_now() - p->used_s;
    bool finished = false;
    exn_status status = p->begun ? EXN_OK : exn_pretrain_begin(p);
    while (status == EXN_OK && !finished) {
        p->used_s = exn_now() - start;
        if (p->time_budget_s > 0 && p->used_s >= p->time_budget_s) break;
        const bool go_on = may_go_on(p, progress, user, p->used_s);
        status = exn_pretrain_keep(p, !go_on);
        if (status == EXN_OK && !go_on) return EXN_PAUSED;
        if (status == EXN_OK) status = exn_pretrain_step(&finished, p);
    }
    if (status == EXN_OK) status = exn_pretrain_finish(p);
    if (status != EXN_OK) exn_pretrain_end(p);
    return status;
}
