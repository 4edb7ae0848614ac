/* SPDX-License-Identifier: Apache-2.0
 * Starting weights of heads. */
#include "train/fresh.h"

#include "core/rng.h"

#include <math.h>
#include <string.h>

/* Variance times inputs of a convolution's starting weights: a sixth of what keeps the variance through ReLU. BatchNorm restores
 * the scale, and Adam's steps, which are equally long whatever the scale, turn small weights sooner. */
#define START (1.0 / 3.0)

static void fill_constant(float *values, size_t count, float value) {
    for (size_t i = 0; i < count; i++) values[i] = value;
}

static void fill_normal(float *values, size_t count, double deviation, uint64_t seed, uint64_t stream) {
    exn_rng rng = exn_rng_seed(seed, stream);
    for (size_t i = 0; i < count; i++) values[i] = (float)deviation * exn_rng_normal(&rng);
}

/* Random numbers of one tensor; those of a second stage stand apart, as they came later. */
static uint64_t stream_of(size_t exit, exn_head_tensor which) {
    if (which < EXN_HEAD_DW2_WEIGHT) return (uint64_t)exit * EXN_HEAD_DW2_WEIGHT + (uint64_t)which;
    return ((uint64_t)which << 32) + (uint64_t)exit;
}

/* Inputs that one output sums; 0: the tensor does not start at random. The FC starts from zero: it need not unlearn anything. */
static double fan_in(const exn_shape *shape, exn_head_tensor which) {
    if (which == EXN_HEAD_DW_WEIGHT || which == EXN_HEAD_DW2_WEIGHT) return 9.0;
    return which == EXN_HEAD_PW_WEIGHT || which == EXN_HEAD_PW2_WEIGHT ? (double)shape->dim[1] : 0.0;
}

void exn_head_reset(exn_head *head, uint64_t seed, size_t exit) {
    for (int i = 0; i < EXN_HEAD_TENSORS; i++) {
        const exn_head_tensor which = (exn_head_tensor)i;
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, which);
        float *values = head->tensor[which];
        if (!count) continue;
        const double inputs = fan_in(&shape, which);
        if (inputs > 0)
            fill_normal(values, count, sqrt(START / inputs), seed, stream_of(exit, which));
        else
            fill_constant(values, count, exn_head_starts_as_ones(which));
    }
}

/* W over one standardisation is W * inv_std / new_inv_std over another, b moves by the difference of the means. */
static void restate_fc(exn_head *head, const float *mean, const float *inv_std) {
    const size_t features = exn_head_features(head);
    const float *old_mean = head->tensor[EXN_HEAD_MEAN], *old_inv_std = head->tensor[EXN_HEAD_INV_STD];
    for (size_t j = 0; j < head->classes; j++) {
        float *weight = head->tensor[EXN_HEAD_FC_WEIGHT] + j * features;
        double shift = 0;
        for (size_t i = 0; i < features; i++) {
            const double raw = (double)weight[i] * (double)old_inv_std[i];
            shift += raw * ((double)(mean ? mean[i] : 0.0f) - (double)old_mean[i]);
            weight[i] = (float)(inv_std ? raw / (double)inv_std[i] : raw);
        }
        float *bias = &head->tensor[EXN_HEAD_FC_BIAS][j];
        *bias = (float)((double)*bias + shift);
    }
}

void exn_head_set_norm(exn_head *head, const float *mean, const float *inv_std, bool restate) {
    const size_t features = exn_head_features(head);
    if (restate) restate_fc(head, mean, inv_std);
    for (size_t i = 0; i < features; i++) {
        head->tensor[EXN_HEAD_MEAN][i] = mean ? mean[i] : 0.0f;
        head->tensor[EXN_HEAD_INV_STD][i] = inv_std ? inv_std[i] : 1.0f;
    }
}

exn_status exn_head_copy(exn_head *out, exn_context *ctx, const exn_head *head) {
    exn_head copy = {.kind = head->kind, .c = head->c, .h = head->h, .w = head->w, .classes = head->classes};
    EXN_TRY(exn_head_allocate(&copy, ctx));
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        if (count) memcpy(copy.tensor[which], head->tensor[which], count * sizeof(float));
    }
    *out = copy;
    return EXN_OK;
}
