/* SPDX-License-Identifier: Apache-2.0
 * The training loop of one head: batches, tape, optimiser. */
#include "train/loop.h"

#include "core/rng.h"
#include "train/layers.h"

#include <math.h>
#include <string.h>

#define LAYERS_MAX 8u
#define NORM_EPSILON 1e-5f
#define MOMENTUM 0.1f
#define VECTOR_BATCH 1024u
#define CONV_BATCH 32u
#define RATE_FEATURES 1500.0
/* Features that hardly move among these samples may do so among others: they are not blown up beyond ten times. */
#define LEAST_VARIANCE 0.01

struct exn_fit {
    exn_context *ctx;
    const exn_kernel_set *kernels;
    exn_pool *pool;
    exn_head *head;
    exn_fit_samples samples;
    exn_fit_options options;
    size_t batch, classes, prefix;
    exn_tape *tape;
    exn_layer layer[LAYERS_MAX];
    size_t layers;
    exn_var x, mean, inv_std, target, weight, loss;
    void *arena;
    exn_arena_plan plan;
    float *gradients, *moments; /* of all slots, one after the other */
    float *variance, *saved[4]; /* conv: running variance of standardise; batch statistics of both norms */
    exn_optimiser optimiser;
    exn_rng rng;
    size_t *order; /* a shuffled round through the samples */
    size_t next;
    bool loaded; /* the whole set is one batch and stays in place */
};

exn_fit_options exn_fit_defaults(const exn_head *head, size_t count) {
    const double features = (double)exn_head_features(head);
    /* Adam moves every weight equally far, so the fewer there are, the farther each has to go. */
    exn_fit_options options = {.temperature = 1.0f,
                               .rate = 1e-3 * sqrt(RATE_FEATURES / features),
                               .decay = 1.0,
                               .steps = 200,
                               .batch = VECTOR_BATCH};
    if (head->kind == EXN_HEAD_CLASSIFIER) {
        options.decay = 0;
        options.steps = 80;
    }
    if (head->kind == EXN_HEAD_CONV) {
        options.rate = 3e-3;
        options.batch = CONV_BATCH;
    }
    /* Beyond one batch, every sample is still seen as often as in the full-batch case. */
    if (count > options.batch && head->kind != EXN_HEAD_CONV)
        options.steps *= (count + options.batch - 1) / options.batch;
    return options;
}

/* ---- the tape ---- */

static exn_layer *next_layer(exn_fit *fit) {
    exn_layer *layer = &fit->layer[fit->layers++];
    layer->ctx = fit->ctx;
    layer->set = fit->kernels;
    layer->parts = fit->pool ? exn_pool_threads(fit->pool) : 1;
    return layer;
}

/* The parameter of one head tensor; its gradient and moments get the next places of the fit's blocks. */
static exn_status parameter(exn_var *out, exn_fit *fit, exn_head_tensor which, bool decays) {
    exn_shape shape;
    const size_t count = exn_head_tensor_shape(&shape, fit->head, which);
    exn_optimiser *o = &fit->optimiser;
    size_t offset = 0;
    for (size_t s = 0; s < o->slots; s++) offset += o->slot[s].count;
    float *gradient = fit->gradients + offset;
    EXN_TRY(exn_tape_variable(out, fit->tape, EXN_VAR_PARAMETER, &shape));
    exn_tape_bind(fit->tape, *out, fit->head->tensor[which], gradient);
    o->slot[o->slots++] = (exn_slot){.weight = fit->head->tensor[which],
                                     .gradient = gradient,
                                     .first = fit->moments + 2 * offset,
                                     .second = fit->moments + 2 * offset + count,
                                     .count = count,
                                     .decays = decays};
    return EXN_OK;
}

static exn_batchnorm norm(exn_fit *fit, size_t which, float epsilon, float *mean, float *variance) {
    return (exn_batchnorm){.epsilon = epsilon,
                           .momentum = MOMENTUM,
                           .running_mean = mean,
                           .running_var = variance,
                           .mean = fit->saved[2 * which],
                           .inv_std = fit->saved[2 * which + 1]};
}

/* Cached map to standardised features of the conv kind. */
static exn_status push_trunk(exn_var *out, exn_shape *shape, exn_fit *fit) {
    const exn_head *head = fit->head;
    size_t stride, oh, ow;
    exn_head_conv_size(&stride, &oh, &ow, head);
    exn_var w, scale, shift, y;
    EXN_TRY(parameter(&w, fit, EXN_HEAD_DW_WEIGHT, true));
    EXN_TRY(exn_layer_depthwise(&y, fit->tape, next_layer(fit), shape, fit->x, w, stride));
    *shape = exn_shape_of(4, (const size_t[]){fit->batch, oh, ow, head->c});
    EXN_TRY(parameter(&w, fit, EXN_HEAD_PW_WEIGHT, true));
    EXN_TRY(exn_layer_linear(&y, fit->tape, next_layer(fit), shape, y, w, EXN_VAR_NONE, EXN_HEAD_HIDDEN));
    shape->dim[3] = EXN_HEAD_HIDDEN;
    EXN_TRY(parameter(&scale, fit, EXN_HEAD_BN_SCALE, false));
    EXN_TRY(parameter(&shift, fit, EXN_HEAD_BN_SHIFT, false));
    exn_layer *layer = next_layer(fit);
    layer->as.batchnorm = norm(fit, 0, EXN_HEAD_EPSILON, head->tensor[EXN_HEAD_BN_MEAN], head->tensor[EXN_HEAD_BN_VAR]);
    EXN_TRY(exn_layer_batchnorm(&y, fit->tape, layer, shape, y, scale, shift));
    layer = next_layer(fit);
    layer->as.clamp.lo = 0;
    layer->as.clamp.hi = INFINITY;
    EXN_TRY(exn_layer_clamp(&y, fit->tape, layer, shape, y));
    EXN_TRY(exn_layer_adaptive_pool(&y, fit->tape, next_layer(fit), shape, y, EXN_HEAD_GRID));
    *shape = exn_shape_of(2, (const size_t[]){fit->batch, exn_head_features(head)});
    layer = next_layer(fit);
    layer->as.batchnorm = norm(fit, 1, NORM_EPSILON, head->tensor[EXN_HEAD_MEAN], fit->variance);
    return exn_layer_batchnorm(out, fit->tape, layer, shape, y, EXN_VAR_NONE, EXN_VAR_NONE);
}

static exn_status push_fixed_standardise(exn_var *out, exn_fit *fit, const exn_shape *shape) {
    const exn_shape features = exn_shape_of(1, &fit->prefix);
    EXN_TRY(exn_tape_variable(&fit->mean, fit->tape, EXN_VAR_INPUT, &features));
    EXN_TRY(exn_tape_variable(&fit->inv_std, fit->tape, EXN_VAR_INPUT, &features));
    return exn_layer_standardise(out, fit->tape, next_layer(fit), shape, fit->x, fit->mean, fit->inv_std);
}

static exn_status push_loss(exn_fit *fit, exn_var z) {
    const exn_shape rows = exn_shape_of(1, &fit->batch);
    const exn_shape logits = exn_shape_of(2, (const size_t[]){fit->batch, fit->classes});
    EXN_TRY(exn_tape_variable(&fit->target, fit->tape, EXN_VAR_INPUT, &logits));
    EXN_TRY(exn_tape_variable(&fit->weight, fit->tape, EXN_VAR_INPUT, &rows));
    exn_layer *layer = next_layer(fit);
    layer->as.entropy.temperature = fit->options.temperature;
    return exn_layer_soft_cross_entropy(&fit->loss, fit->tape, layer, &logits, z, fit->target, fit->weight);
}

static exn_status record(exn_fit *fit) {
    size_t h, w, c;
    exn_head_prefix_shape(&h, &w, &c, fit->head);
    const bool conv = fit->head->kind == EXN_HEAD_CONV;
    exn_shape shape = conv ? exn_shape_of(4, (const size_t[]){fit->batch, h, w, c})
                           : exn_shape_of(2, (const size_t[]){fit->batch, fit->prefix});
    exn_var features, weight, bias, z;
    EXN_TRY(exn_tape_variable(&fit->x, fit->tape, EXN_VAR_INPUT, &shape));
    EXN_TRY(conv ? push_trunk(&features, &shape, fit) : push_fixed_standardise(&features, fit, &shape));
    EXN_TRY(parameter(&weight, fit, EXN_HEAD_FC_WEIGHT, true));
    EXN_TRY(parameter(&bias, fit, EXN_HEAD_FC_BIAS, false));
    EXN_TRY(exn_layer_linear(&z, fit->tape, next_layer(fit), &shape, features, weight, bias, fit->classes));
    EXN_TRY(push_loss(fit, z));
    return exn_tape_plan(&fit->plan, fit->tape, &fit->loss, 1);
}

/* ---- memory ---- */

static size_t trained_count(const exn_head *head) {
    static const exn_head_tensor trained[] = {EXN_HEAD_DW_WEIGHT, EXN_HEAD_PW_WEIGHT, EXN_HEAD_BN_SCALE,
                                              EXN_HEAD_BN_SHIFT,  EXN_HEAD_FC_WEIGHT, EXN_HEAD_FC_BIAS};
    size_t total = 0;
    for (size_t i = 0; i < sizeof trained / sizeof *trained; i++) {
        exn_shape shape;
        total += exn_head_tensor_shape(&shape, head, trained[i]);
    }
    return total;
}

static exn_status allocate_blocks(exn_fit *fit) {
    exn_context *ctx = fit->ctx;
    const size_t count = trained_count(fit->head), features = exn_head_features(fit->head);
    fit->gradients = exn_calloc(ctx, count, sizeof(float));
    fit->moments = exn_calloc(ctx, count, 2 * sizeof(float));
    fit->order = exn_calloc(ctx, fit->samples.count, sizeof *fit->order);
    if (!fit->gradients || !fit->moments || !fit->order) return EXN_E_NOMEM;
    if (fit->head->kind != EXN_HEAD_CONV) return EXN_OK;
    fit->variance = exn_calloc(ctx, features, sizeof(float));
    for (size_t i = 0; i < 4; i++) {
        fit->saved[i] = exn_calloc(ctx, i < 2 ? EXN_HEAD_HIDDEN : features, sizeof(float));
        if (!fit->saved[i]) return EXN_E_NOMEM;
    }
    return fit->variance ? EXN_OK : EXN_E_NOMEM;
}

/* Tape and blocks; the arena is left to the caller, who may only want to know its size. */
static exn_status prepare(exn_fit *fit) {
    size_t h, w, c;
    fit->classes = fit->head->classes;
    fit->prefix = exn_head_prefix_shape(&h, &w, &c, fit->head);
    fit->batch = fit->samples.count < fit->options.batch ? fit->samples.count : fit->options.batch;
    if (!fit->batch || !fit->options.steps) return exn_fail(fit->ctx, EXN_E_INVALID, "training without samples");
    exn_optimiser_start(&fit->optimiser, fit->options.optimiser, &fit->kernels->f32_vector, fit->options.rate,
                        fit->options.decay, fit->options.steps);
    EXN_TRY(allocate_blocks(fit));
    EXN_TRY(exn_tape_create(&fit->tape, fit->ctx));
    return record(fit);
}

void exn_fit_destroy(exn_fit *fit) {
    if (!fit) return;
    exn_context *ctx = fit->ctx;
    exn_tape_destroy(fit->tape);
    exn_free(ctx, fit->arena);
    exn_free(ctx, fit->gradients);
    exn_free(ctx, fit->moments);
    exn_free(ctx, fit->variance);
    for (size_t i = 0; i < 4; i++) exn_free(ctx, fit->saved[i]);
    exn_free(ctx, fit->order);
    exn_free(ctx, fit);
}

/* ---- statistics ---- */

static exn_status read_prefix(float *out, const exn_fit *fit, size_t sample) {
    return exn_cache_read(out, fit->samples.cache, fit->samples.record[sample], fit->samples.first, fit->prefix);
}

/* Closed form over all samples, two passes in double: mean, then deviation around it. */
static exn_status measure_statistics(exn_fit *fit) {
    exn_context *ctx = fit->ctx;
    const size_t n = fit->samples.count, features = fit->prefix;
    float *row = exn_malloc(ctx, features, sizeof *row);
    double *sum = exn_calloc(ctx, 2 * features, sizeof *sum), *square = sum ? sum + features : NULL;
    exn_status status = row && sum ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < n; i++) {
        status = read_prefix(row, fit, i);
        for (size_t j = 0; status == EXN_OK && j < features; j++) sum[j] += (double)row[j] / (double)n;
    }
    for (size_t i = 0; status == EXN_OK && i < n; i++) {
        status = read_prefix(row, fit, i);
        for (size_t j = 0; status == EXN_OK && j < features; j++)
            square[j] += ((double)row[j] - sum[j]) * ((double)row[j] - sum[j]) / (double)n;
    }
    double mean_square = 0;
    for (size_t j = 0; status == EXN_OK && j < features; j++) mean_square += square[j] / (double)features;
    for (size_t j = 0; status == EXN_OK && j < features; j++) {
        const double floor = (double)NORM_EPSILON + LEAST_VARIANCE * mean_square;
        fit->head->tensor[EXN_HEAD_MEAN][j] = (float)sum[j];
        fit->head->tensor[EXN_HEAD_INV_STD][j] = (float)(1.0 / sqrt(square[j] + floor));
    }
    exn_free(ctx, row);
    exn_free(ctx, sum);
    return status;
}

/* The network's own layer reads raw features. Over standardised ones it computes the same with W / inv_std and
 * b + W * mean; `back` undoes that. The head keeps its convention: mean 0, inv_std 1. */
static void restate_classifier(exn_head *head, const float *mean, const float *inv_std, bool back) {
    for (size_t j = 0; j < head->classes; j++) {
        float *weight = head->tensor[EXN_HEAD_FC_WEIGHT] + j * head->c;
        double shift = 0;
        for (size_t i = 0; i < head->c; i++) {
            const double raw = back ? (double)weight[i] * (double)inv_std[i] : (double)weight[i];
            shift += raw * (double)mean[i];
            weight[i] = (float)(back ? raw : raw / (double)inv_std[i]);
        }
        float *bias = &head->tensor[EXN_HEAD_FC_BIAS][j];
        *bias = (float)((double)*bias + (back ? -shift : shift));
    }
}

static exn_status set_statistics(exn_fit *fit) {
    const float *inv_std = fit->head->tensor[EXN_HEAD_INV_STD];
    if (fit->head->kind == EXN_HEAD_CONV) {
        for (size_t i = 0; i < exn_head_features(fit->head); i++)
            fit->variance[i] = 1.0f / (inv_std[i] * inv_std[i]) - NORM_EPSILON;
        return EXN_OK;
    }
    EXN_TRY(measure_statistics(fit));
    if (fit->head->kind == EXN_HEAD_CLASSIFIER)
        restate_classifier(fit->head, fit->head->tensor[EXN_HEAD_MEAN], inv_std, false);
    memcpy(exn_tape_value(fit->tape, fit->mean), fit->head->tensor[EXN_HEAD_MEAN], fit->prefix * sizeof(float));
    memcpy(exn_tape_value(fit->tape, fit->inv_std), inv_std, fit->prefix * sizeof(float));
    return EXN_OK;
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
    exn_status status = prepare(fit);
    if (status == EXN_OK) {
        fit->arena = exn_malloc(ctx, 1, fit->plan.bytes);
        status = fit->arena ? EXN_OK : EXN_E_NOMEM;
    }
    if (status == EXN_OK) {
        exn_tape_place(fit->tape, fit->arena);
        status = set_statistics(fit);
    }
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
    if (status == EXN_OK) *out = fit->plan.bytes + trained_count(head) * 3 * sizeof(float);
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

static exn_status load_batch(exn_fit *fit) {
    const bool whole = fit->batch == fit->samples.count;
    if (whole && fit->loaded) return EXN_OK;
    for (size_t i = 0; i < fit->batch; i++) {
        const size_t sample = whole ? i : draw(fit);
        EXN_TRY(read_prefix(exn_tape_value(fit->tape, fit->x) + i * fit->prefix, fit, sample));
        memcpy(exn_tape_value(fit->tape, fit->target) + i * fit->classes, fit->samples.target + sample * fit->classes,
               fit->classes * sizeof(float));
        exn_tape_value(fit->tape, fit->weight)[i] = (float)(1.0 / (double)fit->batch);
    }
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
    float *mean = head->tensor[EXN_HEAD_MEAN], *inv_std = head->tensor[EXN_HEAD_INV_STD];
    const size_t features = exn_head_features(head);
    if (head->kind == EXN_HEAD_CLASSIFIER) restate_classifier(head, mean, inv_std, true);
    for (size_t i = 0; i < features; i++) {
        if (head->kind == EXN_HEAD_CLASSIFIER) {
            mean[i] = 0;
            inv_std[i] = 1;
        } else if (head->kind == EXN_HEAD_CONV) {
            inv_std[i] = (float)(1.0 / sqrt((double)fit->variance[i] + (double)NORM_EPSILON));
        }
    }
}
