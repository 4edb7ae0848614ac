/* SPDX-License-Identifier: Apache-2.0
 * The training loop of one head: memory, batches, steps. */
#include "train/loop.h"

#include "train/fresh.h"
#include "train/loop_private.h"

#include <math.h>
#include <string.h>

exn_fit_options exn_fit_defaults(void) {
    return (exn_fit_options){.temperature = 1.0f, .rate = 3e-3, .decay = 1.0, .steps = 200, .batch = 32};
}

/* ---- memory ---- */

static exn_status allocate_norms(exn_fit *fit) {
    const exn_head *head = fit->head;
    const size_t stages = exn_head_stages(head->kind), features = exn_head_features(head);
    for (size_t i = 0; i < 2 * (stages + 1); i++) {
        const size_t count = i < 2 * stages ? exn_head_stage_at(head, i / 2).hidden : features;
        fit->saved[i] = exn_calloc(fit->ctx, count, sizeof(float));
        if (!fit->saved[i]) return EXN_E_NOMEM;
    }
    fit->variance = exn_calloc(fit->ctx, features, sizeof(float));
    return fit->variance ? EXN_OK : EXN_E_NOMEM;
}

static exn_status allocate_blocks(exn_fit *fit) {
    exn_context *ctx = fit->ctx;
    const size_t count = exn_fit_trained_count(fit);
    fit->gradients = exn_calloc(ctx, count, sizeof(float));
    fit->moments = exn_calloc(ctx, count, 2 * sizeof(float));
    fit->order = exn_calloc(ctx, fit->samples.count, sizeof *fit->order);
    if (!fit->gradients || !fit->moments || !fit->order) return EXN_E_NOMEM;
    return fit->whole ? allocate_norms(fit) : EXN_OK;
}

/* Tape and blocks; the arena is left to the caller, who may only want to know its size. */
static exn_status prepare(exn_fit *fit) {
    const exn_fit_options *o = &fit->options;
    size_t h, w, c;
    fit->classes = fit->head->classes;
    fit->whole = exn_head_stages(fit->head->kind);
    fit->row = exn_head_prefix_shape(&h, &w, &c, fit->head);
    fit->batch = fit->samples.count < o->batch ? fit->samples.count : o->batch;
    if (!fit->batch || !o->steps) return exn_fail(fit->ctx, EXN_E_INVALID, "training without samples");
    exn_optimiser_start(&fit->optimiser, o->optimiser, &fit->kernels->f32_vector, o->rate, o->decay, o->steps);
    fit->optimiser.schedule = o->schedule;
    EXN_TRY(allocate_blocks(fit));
    EXN_TRY(exn_tape_create(&fit->tape, fit->ctx));
    return exn_fit_record(fit);
}

void exn_fit_destroy(exn_fit *fit) {
    if (!fit) return;
    exn_context *ctx = fit->ctx;
    exn_tape_destroy(fit->tape);
    exn_free(ctx, fit->arena);
    exn_free(ctx, fit->gradients);
    exn_free(ctx, fit->moments);
    exn_free(ctx, fit->variance);
    for (size_t i = 0; i < 2 * EXN_FIT_NORMS_MAX; i++) exn_free(ctx, fit->saved[i]);
    exn_free(ctx, fit->order);
    exn_free(ctx, fit);
}

static exn_status start(exn_fit *fit) {
    EXN_TRY(prepare(fit));
    fit->arena = exn_malloc(fit->ctx, 1, fit->plan.bytes);
    if (!fit->arena) return EXN_E_NOMEM;
    exn_tape_place(fit->tape, fit->arena);
    return exn_fit_set_statistics(fit);
}

exn_status exn_fit_create(exn_fit **out, exn_context *ctx, const exn_kernel_set *kernels, exn_pool *pool,
                          exn_head *head, const exn_fit_samples *samples, const exn_fit_options *options) {
    exn_fit *fit = exn_calloc(ctx, 1, sizeof *fit);
    if (!fit) return EXN_E_NOMEM;
    fit->ctx = ctx;
    fit->kernels = kernels;
    fit->pool = pool;
    fit->head = head;
    fit->samples = *samples;
    fit->options = *options;
    fit->rng = exn_rng_seed(options->seed, options->stream);
    fit->next = samples->count;
    const exn_status status = start(fit);
    if (status == EXN_OK)
        *out = fit;
    else
        exn_fit_destroy(fit);
    return status;
}

exn_status exn_fit_bytes(size_t *out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                         size_t count, const exn_fit_options *options) {
    exn_head copy = *head;
    exn_fit *fit = exn_calloc(ctx, 1, sizeof *fit);
    if (!fit) return EXN_E_NOMEM;
    fit->ctx = ctx;
    fit->kernels = kernels;
    fit->head = &copy;
    fit->samples.count = count;
    fit->options = *options;
    const exn_status status = prepare(fit);
    if (status == EXN_OK) {
        *out = fit->plan.bytes + exn_fit_trained_count(fit) * 3 * sizeof(float);
    }
    exn_fit_destroy(fit);
    return status;
}

/* ---- steps ---- */

/* Rounds through all samples in ever new orders; a batch may end one round and begin the next. */
static size_t draw(exn_fit *fit) {
    const size_t n = fit->samples.count;
    if (fit->next == n) {
        for (size_t i = 0; i < n; i++) fit->order[i] = i;
        exn_rng_shuffle(&fit->rng, fit->order, n);
        fit->next = 0;
    }
    return fit->order[fit->next++];
}

/* Left becomes right. */
static void mirror(float *map, size_t h, size_t w, size_t c) {
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w / 2; x++) {
            float *left = map + (y * w + x) * c, *right = map + (y * w + w - 1 - x) * c;
            for (size_t i = 0; i < c; i++) {
                const float kept = left[i];
                left[i] = right[i];
                right[i] = kept;
            }
        }
}

static exn_status load_sample(exn_fit *fit, size_t place, size_t sample) {
    const exn_fit_options *o = &fit->options;
    float *row = exn_tape_value(fit->tape, fit->x) + place * fit->row;
    const size_t target = place * fit->classes, from = sample * fit->classes;
    EXN_TRY(exn_fit_read_row(row, fit, sample));
    if (o->flip && exn_head_keeps_map(fit->head->kind) && exn_rng_u32(&fit->rng) >> 31) {
        size_t h, w, c;
        exn_head_prefix_shape(&h, &w, &c, fit->head);
        mirror(row, h, w, c);
    }
    memcpy(exn_tape_value(fit->tape, fit->target) + target, fit->samples.target + from, fit->classes * sizeof(float));
    const double share = 1.0 / (double)fit->batch;
    exn_tape_value(fit->tape, fit->weight)[place] = (float)(share * (1.0 - o->soft_share));
    if (!(o->soft_share > 0)) return EXN_OK;
    memcpy(exn_tape_value(fit->tape, fit->soft) + target, fit->samples.soft + from, fit->classes * sizeof(float));
    exn_tape_value(fit->tape, fit->soft_weight)[place] = (float)(share * o->soft_share);
    return EXN_OK;
}

/* Sixteen random bits decide on one input. */
static void draw_mask(exn_fit *fit) {
    const uint32_t limit = (uint32_t)(fit->options.dropout * 65536.0f);
    const float kept = 1.0f / (1.0f - (float)limit / 65536.0f);
    float *mask = exn_tape_value(fit->tape, fit->mask);
    const size_t count = fit->batch * exn_head_features(fit->head);
    for (size_t i = 0; i < count; i += 2) {
        const uint32_t bits = exn_rng_u32(&fit->rng);
        mask[i] = (bits & 0xffff) < limit ? 0.0f : kept;
        if (i + 1 < count) mask[i + 1] = bits >> 16 < limit ? 0.0f : kept;
    }
}

static exn_status load_batch(exn_fit *fit) {
    const bool whole = fit->batch == fit->samples.count;
    if (fit->options.dropout > 0) draw_mask(fit);
    if (whole && fit->loaded && !fit->options.flip) return EXN_OK;
    for (size_t i = 0; i < fit->batch; i++) EXN_TRY(load_sample(fit, i, whole ? i : draw(fit)));
    fit->loaded = true;
    return EXN_OK;
}

static void run_step(void *argument, exn_part part) {
    exn_fit *fit = argument;
    exn_tape_forward(fit->tape, part);
    exn_tape_backward(fit->tape, fit->loss, part);
    exn_optimiser_apply(&fit->optimiser, part);
}

exn_status exn_fit_step(exn_fit *fit) {
    EXN_TRY(load_batch(fit));
    exn_pool_run(fit->pool, run_step, fit);
    exn_optimiser_advance(&fit->optimiser);
    if (!isfinite(exn_fit_loss(fit)))
        return exn_fail(fit->ctx, EXN_E_INVALID, "training diverged at step %zu", fit->optimiser.step);
    return EXN_OK;
}

bool exn_fit_done(const exn_fit *fit) {
    return fit->optimiser.step >= fit->options.steps;
}

double exn_fit_loss(const exn_fit *fit) {
    return (double)exn_tape_value(fit->tape, fit->loss)[0];
}

void exn_fit_finish(exn_fit *fit) {
    exn_head *head = fit->head;
    if (head->kind == EXN_HEAD_CLASSIFIER) exn_head_set_norm(head, NULL, NULL, true);
    if (!fit->whole) return;
    for (size_t i = 0; i < exn_head_features(head); i++)
        head->tensor[EXN_HEAD_INV_STD][i] =
            (float)(1.0 / sqrt((double)fit->variance[i] + (double)EXN_FIT_NORM_EPSILON));
}
