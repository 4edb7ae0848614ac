/* SPDX-License-Identifier: Apache-2.0
 * Starting weights of heads. */
#include "train/fresh.h"

#include "core/rng.h"

#include <math.h>
#include <string.h>

static void fill_constant(float *values, size_t count, float value) {
    for (size_t i = 0; i < count; i++) values[i] = value;
}

static void fill_normal(float *values, size_t count, double deviation, uint64_t seed, uint64_t stream) {
    exn_rng rng = exn_rng_seed(seed, stream);
    for (size_t i = 0; i < count; i++) values[i] = (float)deviation * exn_rng_normal(&rng);
}

void exn_head_reset(exn_head *head, uint64_t seed, size_t exit) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        float *values = head->tensor[which];
        const uint64_t stream = (uint64_t)exit * EXN_HEAD_TENSORS + (uint64_t)which;
        if (!count) continue;
        if (which == EXN_HEAD_DW_WEIGHT)
            fill_normal(values, count, sqrt(2.0 / 9.0), seed, stream);
        else if (which == EXN_HEAD_PW_WEIGHT)
            fill_normal(values, count, sqrt(2.0 / (double)head->c), seed, stream);
        else if (which == EXN_HEAD_FC_WEIGHT)
            fill_normal(values, count, sqrt(1.0 / (double)exn_head_features(head)), seed, stream);
        else
            fill_constant(values, count,
                          which == EXN_HEAD_BN_SCALE || which == EXN_HEAD_BN_VAR || which == EXN_HEAD_INV_STD);
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
