/* SPDX-License-Identifier: Apache-2.0
 * Gathering samples: every input passes the frozen backbone once, and only its features are kept. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

/* Fewer teach nothing worth a run; beyond as many as this, a budget is no limit to speak of. */
#define SAMPLES_LEAST 10u
#define SAMPLES_MANY ((size_t)1 << 20)

void exn_trainer_destroy(exn_trainer *trainer) {
    if (!trainer) return;
    exn_context *ctx = trainer->ctx;
    exn_session_destroy(trainer->session);
    exn_held_out_free(&trainer->held_out, ctx);
    if (trainer->pool) exn_pool_destroy(trainer->pool);
    exn_cache_close(trainer->cache);
    exn_trainer_end_extraction(trainer);
    if (trainer->resizer) exn_resizer_destroy(trainer->resizer);
    exn_free(ctx, trainer->costs);
    exn_costs_free(&trainer->measured, ctx);
    exn_free(ctx, trainer->progress);
    exn_free(ctx, trainer->input);
    exn_free(ctx, trainer->record);
    exn_free(ctx, trainer->sinks);
    exn_free(ctx, trainer->of_class);
    exn_free(ctx, trainer->cached);
    for (size_t i = 0; trainer->samples && i < trainer->sample_count; i++) exn_free(ctx, trainer->samples[i].bytes);
    exn_free(ctx, trainer->samples);
    exn_free(ctx, trainer);
}

/* ---- creation ---- */

/* How often a photo passes the backbone at most: again once normalised, where the general pixels are known. */
static size_t passes_of(const exn_trainer *trainer) {
    return trainer->profile->pixels.photos ? 2 : 1;
}

/* How many samples a run can hold at once within the budgets. */
static exn_status limit_samples(exn_trainer *trainer, const exn_trainer_options *options) {
    const size_t sample_bytes = exn_cache_record_bytes(trainer->record_count, options->cache_half) * passes_of(trainer);
    const size_t limit = options->cache_limit_bytes, budget = options->memory_budget_bytes;
    exn_trainer_estimate estimate = {.struct_size = sizeof estimate};
    trainer->samples_most = limit ? limit / sample_bytes : SIZE_MAX;
    if (trainer->samples_most < SAMPLES_LEAST)
        return exn_fail(trainer->ctx, EXN_E_NOMEM, "a cache limit of %.3g MB is too small: %u samples take %zu MB",
                        (double)limit / (1 << 20), SAMPLES_LEAST, (SAMPLES_LEAST * sample_bytes >> 20) + 1);
    EXN_TRY(exn_trainer_get_estimate(&estimate, trainer, SAMPLES_LEAST, 0));
    if (budget && estimate.peak_bytes > budget) /* the program looks for these words: tools/cmd_personalise.c */
        return exn_fail(trainer->ctx, EXN_E_NOMEM, "a memory budget of %zu MB is too small: %u samples take %zu MB",
                        budget >> 20, SAMPLES_LEAST, (estimate.peak_bytes >> 20) + 1);
    size_t few = SAMPLES_LEAST, many = trainer->samples_most < SAMPLES_MANY ? trainer->samples_most : SAMPLES_MANY;
    while (budget && few < many) { /* `few` fit */
        const size_t middle = few + (many - few + 1) / 2;
        EXN_TRY(exn_trainer_get_estimate(&estimate, trainer, middle, 0));
        if (estimate.peak_bytes <= budget)
            few = middle;
        else
            many = middle - 1;
    }
    if (budget) trainer->samples_most = few;
    return EXN_OK;
}

static exn_status open_cache(exn_trainer *trainer, const exn_trainer_options *options) {
    char key[EXN_HASH_TEXT_BYTES];
    EXN_TRY(exn_trainer_key(key, trainer));
    trainer->cache_in_file = options->cache_path;
    trainer->cache_half = options->cache_half;
    EXN_TRY(limit_samples(trainer, options));
    return exn_cache_open(&trainer->cache, trainer->ctx, options->cache_path, key, trainer->record_count,
                          options->cache_limit_bytes, options->cache_half);
}

/* A table that cannot be read is better refused now than after the training. */
static exn_status keep_costs(exn_trainer *trainer, const char *wish) {
    exn_costs costs;
    trainer->costs = exn_strdup(trainer->ctx, wish);
    if (!trainer->costs) return EXN_E_NOMEM;
    EXN_TRY(exn_costs_get(&costs, trainer->profile, wish));
    exn_costs_free(&costs, trainer->ctx);
    return EXN_OK;
}

static exn_status set_up(exn_trainer *trainer, const exn_trainer_options *options) {
    trainer->time_budget_s = options->time_budget_s;
    trainer->seed = options->seed ? options->seed : trainer->profile->seed;
    trainer->target = options->target ? options->target : trainer->profile->target;
    if ((size_t)options->target > EXN_POINTS) return exn_fail(trainer->ctx, EXN_E_INVALID, "unknown target");
    if (!(options->time_budget_s >= 0))
        return exn_fail(trainer->ctx, EXN_E_INVALID, "time budget of %g seconds", options->time_budget_s);
    EXN_TRY(exn_profile_verify(trainer->profile));
    if (options->costs) EXN_TRY(keep_costs(trainer, options->costs));
    if (options->progress_path && !(trainer->progress = exn_strdup(trainer->ctx, options->progress_path)))
        return EXN_E_NOMEM;
    EXN_TRY(exn_trainer_lay_out(trainer));
    EXN_TRY(exn_trainer_begin_extraction(trainer));
    EXN_TRY(exn_resizer_create(&trainer->resizer, trainer->ctx));
    EXN_TRY(exn_pool_create(&trainer->pool, trainer->ctx, exn_context_threads(trainer->ctx)));
    trainer->of_class = exn_calloc(trainer->ctx, trainer->profile->class_count + 1, sizeof *trainer->of_class);
    return trainer->of_class ? open_cache(trainer, options) : EXN_E_NOMEM;
}

exn_status exn_trainer_create(exn_trainer **out, exn_profile *profile, const exn_trainer_options *options) {
    return exn_trainer_create_for(out, profile, options, false);
}

exn_status exn_trainer_create_for(exn_trainer **out, exn_profile *profile, const exn_trainer_options *options,
                                  bool whole_heads) {
    exn_trainer_options filled;
    if (!profile) return EXN_E_INVALID;
    if (!out) return exn_fail(profile->ctx, EXN_E_INVALID, "exn_trainer_create: out is NULL");
    EXN_TRY(exn_options_read(&filled, sizeof filled, profile->ctx, options));
    exn_trainer *trainer = exn_calloc(profile->ctx, 1, sizeof *trainer);
    if (!trainer) return EXN_E_NOMEM;
    trainer->ctx = profile->ctx;
    trainer->profile = profile;
    trainer->kernels = &profile->model->kernels;
    trainer->whole_heads = whole_heads;
    const exn_status status = set_up(trainer, &filled);
    if (status == EXN_OK)
        *out = trainer;
    else
        exn_trainer_destroy(trainer);
    return status;
}

/* ---- samples ---- */

static exn_status check_label(const exn_trainer *trainer, int64_t label) {
    if (label == EXN_UNLABELLED || (label >= 0 && (uint64_t)label < trainer->profile->class_count)) return EXN_OK;
    return exn_fail(trainer->ctx, EXN_E_INVALID, "label %lld: the profile has the classes 0 to %zu", (long long)label,
                    trainer->profile->class_count - 1);
}

/* How many samples have this label; EXN_UNLABELLED is counted, too. */
static size_t *class_slot(const exn_trainer *trainer, int64_t label) {
    return &trainer->of_class[label + 1];
}

/* newcomer: record of the sample that will take its place. */
static void remove_sample(exn_trainer *trainer, size_t index, size_t newcomer) {
    const exn_sample gone = trainer->samples[index];
    trainer->samples[index] = trainer->samples[--trainer->sample_count];
    bool shared = gone.record == newcomer; /* the same photo under another label */
    for (size_t i = 0; i < trainer->sample_count; i++) shared = shared || trainer->samples[i].record == gone.record;
    if (!shared) exn_cache_drop(trainer->cache, gone.record);
    exn_free(trainer->ctx, gone.bytes);
    --*class_slot(trainer, gone.label);
}

/* Who goes for the newcomer: nobody (SIZE_MAX), a sample, or, with sample_count, the newcomer. */
static size_t find_surplus(const exn_trainer *trainer, const exn_sample *newcomer) {
    if (trainer->sample_count < trainer->samples_most) return SIZE_MAX;
    ++*class_slot(trainer, newcomer->label);
    const size_t surplus = exn_samples_surplus(trainer->samples, trainer->sample_count, newcomer, trainer->of_class,
                                               trainer->profile->class_count);
    --*class_slot(trainer, newcomer->label);
    return surplus;
}

/* trainer->input is filled in. A session under way was made of fewer samples: it is void. Takes `bytes` where it succeeds. */
static exn_status add_input(exn_trainer *trainer, int64_t label, uint8_t *bytes) {
    exn_sample sample = {
        .label = label, .bytes = bytes, .content = exn_content_of(trainer->input, trainer->input_count)};
    const exn_model *model = trainer->profile->model;
    if (bytes) exn_pixels_add(&sample.pixels, trainer->input, model->height * model->width, model->channels);
    exn_session_destroy(trainer->session);
    trainer->session = NULL;
    trainer->used_s = 0;
    const size_t surplus = find_surplus(trainer, &sample);
    if (surplus == trainer->sample_count) {
        trainer->left_out++;
        exn_free(trainer->ctx, bytes);
        return EXN_OK;
    }
    EXN_TRY(exn_grow(trainer->ctx, (void **)&trainer->samples, &trainer->sample_capacity, trainer->sample_count + 1,
                     sizeof *trainer->samples));
    EXN_TRY(exn_trainer_look(&sample.record, trainer, &sample.content));
    if (surplus != SIZE_MAX) { /* only now: nobody goes for a newcomer that fails */
        trainer->left_out++;
        remove_sample(trainer, surplus, sample.record);
    }
    EXN_TRY(exn_trainer_keep(&sample.record, trainer, &sample.content));
    trainer->samples[trainer->sample_count++] = sample;
    ++*class_slot(trainer, sample.label);
    return EXN_OK;
}

exn_status exn_trainer_load_tensor(exn_trainer *trainer, const float *chw) {
    const exn_model *model = trainer->profile->model;
    const size_t pixels = model->height * model->width, channels = model->channels;
    if (!chw) return exn_fail(trainer->ctx, EXN_E_INVALID, "input: chw is NULL");
    for (size_t i = 0; i < trainer->input_count; i++)
        if (!isfinite(chw[i])) return exn_fail(trainer->ctx, EXN_E_INVALID, "input: element %zu is not finite", i);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) trainer->input[p * channels + c] = chw[c * pixels + p];
    return EXN_OK;
}

exn_status exn_trainer_add(exn_trainer *trainer, const exn_image *image, int64_t label) {
    if (!trainer) return EXN_E_INVALID;
    const exn_profile *profile = trainer->profile;
    const exn_model *model = profile->model;
    EXN_TRY(check_label(trainer, label));
    if (!profile->pixels.photos) {
        EXN_TRY(exn_preprocess_image(trainer->input, trainer->resizer, image, &profile->preprocess, model->height,
                                     model->width, model->channels));
        return add_input(trainer, label, NULL);
    }
    /* The pixels stay: they may have to be normalised again once all are known. */
    uint8_t *bytes = exn_malloc(trainer->ctx, trainer->input_count, 1);
    exn_status status = bytes ? exn_preprocess_bytes(bytes, trainer->resizer, image, &profile->preprocess,
                                                     model->height, model->width, model->channels)
                              : EXN_E_NOMEM;
    if (status == EXN_OK) {
        exn_preprocess_scale(trainer->input, bytes, &profile->preprocess, model->height * model->width,
                             model->channels);
        status = add_input(trainer, label, bytes);
    }
    if (status != EXN_OK) exn_free(trainer->ctx, bytes);
    return status;
}

exn_status exn_trainer_add_tensor(exn_trainer *trainer, const float *chw, int64_t label) {
    if (!trainer) return EXN_E_INVALID;
    EXN_TRY(check_label(trainer, label));
    EXN_TRY(exn_trainer_load_tensor(trainer, chw));
    return add_input(trainer, label, NULL);
}

/* ---- estimate and run ---- */

exn_status exn_trainer_get_estimate(exn_trainer_estimate *out, const exn_trainer *trainer, size_t labelled,
                                    size_t unlabelled) {
    exn_trainer_estimate estimate = {.struct_size = sizeof estimate};
    size_t samples, training;
    if (!trainer) return EXN_E_INVALID;
    if (!exn_size_add(&samples, labelled, unlabelled) ||
        !exn_size_mul(&estimate.cache_bytes, samples,
                      exn_cache_record_bytes(trainer->record_count, trainer->cache_half)))
        return exn_fail(trainer->ctx, EXN_E_INVALID, "%zu and %zu samples cannot be addressed", labelled, unlabelled);
    EXN_TRY(exn_session_estimate(&estimate.macs, &training, trainer, labelled, unlabelled));
    const size_t passes = passes_of(trainer);
    size_t held = passes == 2 ? samples * trainer->input_count : 0; /* the pixels, to be normalised */
    estimate.cache_bytes *= passes;
    estimate.macs += (uint64_t)samples * passes * trainer->profile->model->macs;
    if (!trainer->cache_in_file) held += estimate.cache_bytes;
    /* What extraction holds is given back before heads are trained. */
    estimate.peak_bytes = (trainer->extraction_bytes > training ? trainer->extraction_bytes : training) + held;
    return exn_result_write(out, trainer->ctx, &estimate, sizeof estimate);
}

static bool may_go_on(const exn_trainer *trainer, exn_progress_fn *progress, void *user, exn_phase phase,
                      double elapsed) {
    exn_progress report = {.phase = phase, .elapsed_s = elapsed};
    exn_session_progress(&report.done, &report.total, trainer->session);
    return !progress || progress(user, &report);
}

/* Until all is trained, the time is up, or the caller wants a pause. */
static exn_status train(exn_trainer *trainer, exn_progress_fn *progress, void *user, double start) {
    exn_session *session = trainer->session;
    while (!exn_session_trained(session)) {
        trainer->used_s = exn_now() - start;
        if (trainer->time_budget_s > 0 && trainer->used_s >= trainer->time_budget_s) break;
        const bool go_on = may_go_on(trainer, progress, user, EXN_PHASE_TRAIN, trainer->used_s);
        EXN_TRY(exn_session_keep(session, !go_on));
        if (!go_on) return EXN_PAUSED;
        EXN_TRY(exn_session_step(session));
    }
    trainer->unfinished = !exn_session_trained(session);
    if (trainer->unfinished) EXN_TRY(exn_session_stop(session));
    return may_go_on(trainer, progress, user, EXN_PHASE_JUDGE, exn_now() - start) ? EXN_OK : EXN_PAUSED;
}

exn_status exn_trainer_run(exn_trainer *trainer, exn_progress_fn *progress, void *user) {
    if (!trainer) return EXN_E_INVALID;
    const double start = exn_now() - trainer->used_s;
    if (!trainer->session) {
        EXN_TRY(exn_session_create(&trainer->session, trainer));
    }
    exn_status status = train(trainer, progress, user, start);
    if (status == EXN_PAUSED) return status;
    if (status == EXN_OK) status = exn_session_finish(trainer->session);
    exn_session_destroy(trainer->session);
    trainer->session = NULL;
    trainer->used_s = 0;
    return status;
}
