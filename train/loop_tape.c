/* SPDX-License-Identifier: Apache-2.0
 * The tape of a fit: the head's layers, and its loss. */
#include "train/loop_private.h"

#include <math.h>

#define MOMENTUM 0.1f

static exn_layer *next_layer(exn_fit *fit) {
    exn_layer *layer = &fit->layer[fit->layers++];
    layer->ctx = fit->ctx;
    layer->set = fit->kernels;
    layer->parts = fit->pool ? exn_pool_threads(fit->pool) : 1;
    return layer;
}

static bool is_trained(const exn_fit *fit, exn_head_tensor which) {
    switch (which) {
    case EXN_HEAD_FC_WEIGHT:
    case EXN_HEAD_FC_BIAS:
        return true;
    case EXN_HEAD_DW_WEIGHT:
    case EXN_HEAD_PW_WEIGHT:
    case EXN_HEAD_BN_SCALE:
    case EXN_HEAD_BN_SHIFT:
    case EXN_HEAD_DW2_WEIGHT:
    case EXN_HEAD_PW2_WEIGHT:
    case EXN_HEAD_BN2_SCALE:
    case EXN_HEAD_BN2_SHIFT:
        return fit->whole;
    default:
        return false;
    }
}

size_t exn_fit_trained_count(const exn_fit *fit) {
    size_t total = 0;
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        if (is_trained(fit, (exn_head_tensor)which))
            total += exn_head_tensor_shape(&shape, fit->head, (exn_head_tensor)which);
    }
    return total;
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

static exn_batchnorm norm(exn_fit *fit, float epsilon, float *mean, float *variance) {
    const size_t which = fit->norms++;
    return (exn_batchnorm){.epsilon = epsilon,
                           .momentum = MOMENTUM,
                           .running_mean = mean,
                           .running_var = variance,
                           .mean = fit->saved[2 * which],
                           .inv_std = fit->saved[2 * which + 1]};
}

/* y becomes what the stage makes of it, shape its shape. */
static exn_status push_stage(exn_var *y, exn_shape *shape, exn_fit *fit, const exn_head_stage *stage) {
    /* In the enumeration's order: depthwise, 1x1, scale, shift, mean, variance. */
    const exn_head_tensor first = stage->first;
    float *const *tensor = fit->head->tensor + first;
    exn_var w, scale, shift;
    EXN_TRY(parameter(&w, fit, first, true));
    EXN_TRY(exn_layer_depthwise(y, fit->tape, next_layer(fit), shape, *y, w, stage->stride));
    *shape = exn_shape_of(4, (const size_t[]){fit->batch, stage->oh, stage->ow, stage->c});
    EXN_TRY(parameter(&w, fit, first + 1, true));
    EXN_TRY(exn_layer_linear(y, fit->tape, next_layer(fit), shape, *y, w, EXN_VAR_NONE, stage->hidden));
    shape->dim[3] = stage->hidden;
    EXN_TRY(parameter(&scale, fit, first + 2, false));
    EXN_TRY(parameter(&shift, fit, first + 3, false));
    exn_layer *layer = next_layer(fit);
    layer->as.batchnorm = norm(fit, EXN_HEAD_EPSILON, tensor[4], tensor[5]);
    EXN_TRY(exn_layer_batchnorm(y, fit->tape, layer, shape, *y, scale, shift));
    layer = next_layer(fit);
    layer->as.clamp.lo = 0;
    layer->as.clamp.hi = INFINITY;
    return exn_layer_clamp(y, fit->tape, layer, shape, *y);
}

/* Cached map to standardised features of the conv kinds. */
static exn_status push_trunk(exn_var *out, exn_shape *shape, exn_fit *fit) {
    const exn_head *head = fit->head;
    exn_var y = fit->x;
    for (size_t i = 0; i < exn_head_stages(head->kind); i++) {
        const exn_head_stage stage = exn_head_stage_at(head, i);
        EXN_TRY(push_stage(&y, shape, fit, &stage));
    }
    EXN_TRY(exn_layer_adaptive_pool(&y, fit->tape, next_layer(fit), shape, y, exn_head_grid(head->kind)));
    *shape = exn_shape_of(2, (const size_t[]){fit->batch, exn_head_features(head)});
    exn_layer *layer = next_layer(fit);
    layer->as.batchnorm = norm(fit, EXN_FIT_NORM_EPSILON, head->tensor[EXN_HEAD_MEAN], fit->variance);
    return exn_layer_batchnorm(out, fit->tape, layer, shape, y, EXN_VAR_NONE, EXN_VAR_NONE);
}

static exn_status push_fixed_standardise(exn_var *out, exn_fit *fit, const exn_shape *shape) {
    const exn_shape features = exn_shape_of(1, &fit->row);
    EXN_TRY(exn_tape_variable(&fit->mean, fit->tape, EXN_VAR_INPUT, &features));
    EXN_TRY(exn_tape_variable(&fit->inv_std, fit->tape, EXN_VAR_INPUT, &features));
    return exn_layer_standardise(out, fit->tape, next_layer(fit), shape, fit->x, fit->mean, fit->inv_std);
}

static exn_status push_dropout(exn_var *x, exn_fit *fit, const exn_shape *shape) {
    if (!(fit->options.dropout > 0)) return EXN_OK;
    EXN_TRY(exn_tape_variable(&fit->mask, fit->tape, EXN_VAR_INPUT, shape));
    return exn_layer_mask(x, fit->tape, next_layer(fit), shape, *x, fit->mask);
}

static exn_status push_entropy(exn_var *loss, exn_var *target, exn_var *weight, exn_fit *fit, exn_var z,
                               float temperature) {
    const exn_shape rows = exn_shape_of(1, &fit->batch);
    const exn_shape logits = exn_shape_of(2, (const size_t[]){fit->batch, fit->classes});
    EXN_TRY(exn_tape_variable(target, fit->tape, EXN_VAR_INPUT, &logits));
    EXN_TRY(exn_tape_variable(weight, fit->tape, EXN_VAR_INPUT, &rows));
    exn_layer *layer = next_layer(fit);
    layer->as.entropy.temperature = temperature;
    return exn_layer_soft_cross_entropy(loss, fit->tape, layer, &logits, z, *target, *weight);
}

static exn_status push_loss(exn_fit *fit, exn_var z) {
    const exn_fit_options *o = &fit->options;
    const exn_shape scalar = {0, {0}};
    exn_var soft;
    EXN_TRY(push_entropy(&fit->loss, &fit->target, &fit->weight, fit, z, o->temperature));
    if (!(o->soft_share > 0)) return EXN_OK;
    EXN_TRY(push_entropy(&soft, &fit->soft, &fit->soft_weight, fit, z, o->soft_temperature));
    return exn_layer_add(&fit->loss, fit->tape, next_layer(fit), &scalar, fit->loss, soft);
}

exn_status exn_fit_record(exn_fit *fit) {
    size_t h, w, c;
    exn_head_prefix_shape(&h, &w, &c, fit->head);
    exn_shape shape = fit->whole ? exn_shape_of(4, (const size_t[]){fit->batch, h, w, c})
                                 : exn_shape_of(2, (const size_t[]){fit->batch, fit->row});
    exn_var features, weight, bias, z;
    EXN_TRY(exn_tape_variable(&fit->x, fit->tape, EXN_VAR_INPUT, &shape));
    EXN_TRY(fit->whole ? push_trunk(&features, &shape, fit) : push_fixed_standardise(&features, fit, &shape));
    EXN_TRY(push_dropout(&features, fit, &shape));
    EXN_TRY(parameter(&weight, fit, EXN_HEAD_FC_WEIGHT, true));
    EXN_TRY(parameter(&bias, fit, EXN_HEAD_FC_BIAS, false));
    EXN_TRY(exn_layer_linear(&z, fit->tape, next_layer(fit), &shape, features, weight, bias, fit->classes));
    EXN_TRY(push_loss(fit, z));
    return exn_tape_plan(&fit->plan, fit->tape, &fit->loss, 1);
}
