/* SPDX-License-Identifier: Apache-2.0
 * Plain loops for the vector slots, written from the clauses of kernel_set.h. */
#include "tests/kcheck/vector_model.h"

#include <math.h>

typedef kc_vector_args args;

static float fused_or_not(const args *t, float a, float b, float c) {
    const float product = a * b;
    return t->fused ? fmaf(a, b, c) : product + c;
}

static float larger(float a, float b) {
    return a > b || isnan(a) ? a : b;
}

static float clamp(float x, float lo, float hi) {
    const float raised = x < lo ? lo : x;
    return raised > hi ? hi : raised;
}

static float transcendental(const args *t, exn_activation act, float x) {
    float y;
    t->exact->activate(act, 1, &x, &y, 0, 0);
    return y;
}

static float sigmoid(const args *t, float x) {
    return 1.0f / (1.0f + transcendental(t, EXN_ACT_EXP, 0.0f - x));
}

static float activation(const args *t, float x) {
    const float lo = t->p[0], hi = t->p[1];
    switch ((exn_activation)t->which) {
    case EXN_ACT_CLAMP:
        return clamp(x, lo, hi);
    case EXN_ACT_LEAKY_RELU:
        return x < 0.0f ? lo * x : x;
    case EXN_ACT_HARD_SIGMOID:
        return clamp(fused_or_not(t, lo, x, hi), 0.0f, 1.0f);
    case EXN_ACT_HARD_SWISH:
        return x * clamp(fused_or_not(t, 1.0f / 6.0f, x, 0.5f), 0.0f, 1.0f);
    case EXN_ACT_SIGMOID:
        return sigmoid(t, x);
    case EXN_ACT_SILU:
        return x * sigmoid(t, x);
    case EXN_ACT_TANH:
    case EXN_ACT_EXP:
    case EXN_ACT_LOG:
        return transcendental(t, (exn_activation)t->which, x);
    case EXN_ACT_NONE:
    default:
        break;
    }
    return x;
}

static void counts_n(size_t count[KC_ARRAYS], const args *t) {
    for (size_t i = 0; i < KC_ARRAYS; i++) count[i] = t->n;
}

static void activate_call(args *t) {
    t->vector->activate((exn_activation)t->which, t->n, t->array[0], t->array[1], t->p[0], t->p[1]);
}

static void activate_model(args *t) {
    for (size_t i = 0; i < t->n; i++) t->array[1][i] = activation(t, t->array[0][i]);
}

static void binary_counts(size_t count[KC_ARRAYS], const args *t) {
    count[0] = t->a_step || t->n == 0 ? t->n : 1;
    count[1] = t->b_step || t->n == 0 ? t->n : 1;
    count[2] = t->n;
}

static void binary_call(args *t) {
    t->vector->binary((exn_binary)t->which, t->n, t->array[0], t->a_step, t->array[1], t->b_step, t->array[2]);
}

static void binary_model(args *t) {
    for (size_t i = 0; i < t->n; i++) {
        const float a = t->array[0][i * t->a_step], b = t->array[1][i * t->b_step];
        float *y = &t->array[2][i];
        if (t->which == EXN_ADD)
            *y = a + b;
        else if (t->which == EXN_SUB)
            *y = a - b;
        else if (t->which == EXN_MUL)
            *y = a * b;
        else
            *y = a / b;
    }
}

static void scale_shift_call(args *t) {
    t->vector->scale_shift(t->n, t->array[0], t->array[1], t->array[2], t->array[3]);
}

static void scale_shift_model(args *t) {
    for (size_t i = 0; i < t->n; i++) t->array[3][i] = fused_or_not(t, t->array[0][i], t->array[1][i], t->array[2][i]);
}

static void axpy_call(args *t) {
    t->vector->axpy(t->n, t->p[0], t->array[0], t->array[1]);
}

static void axpy_model(args *t) {
    for (size_t i = 0; i < t->n; i++) t->array[1][i] = fused_or_not(t, t->p[0], t->array[0][i], t->array[1][i]);
}

static float start_of(int which) {
    return which == EXN_REDUCE_SUM ? 0.0f : -INFINITY;
}

static float join(int which, float a, float b) {
    return which == EXN_REDUCE_SUM ? a + b : larger(a, b);
}

static float tree(int which, float lane[EXN_REDUCE_LANES]) {
    for (size_t width = EXN_REDUCE_LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) lane[i] = join(which, lane[i], lane[i + width]);
    return lane[0];
}

static float row_reduction(int which, size_t n, const float *x) {
    float lane[EXN_REDUCE_LANES];
    for (size_t l = 0; l < EXN_REDUCE_LANES; l++) lane[l] = start_of(which);
    for (size_t i = 0; i < n; i++) lane[i % EXN_REDUCE_LANES] = join(which, lane[i % EXN_REDUCE_LANES], x[i]);
    return tree(which, lane);
}

static void reduce_call(args *t) {
    t->result = t->vector->reduce((exn_reduction)t->which, t->n, t->array[0]);
}

static void reduce_model(args *t) {
    t->result = row_reduction(t->which, t->n, t->array[0]);
}

static void dot_call(args *t) {
    t->result = t->vector->dot(t->n, t->array[0], t->array[1]);
}

static void dot_model(args *t) {
    float lane[EXN_REDUCE_LANES] = {0};
    for (size_t i = 0; i < t->n; i++) {
        float *sum = &lane[i % EXN_REDUCE_LANES];
        *sum = fused_or_not(t, t->array[0][i], t->array[1][i], *sum);
    }
    t->result = tree(EXN_REDUCE_SUM, lane);
}

static void sum_exp_call(args *t) {
    t->result = t->vector->sum_exp(t->n, t->array[0], t->p[0], t->array[1]);
}

static void sum_exp_model(args *t) {
    for (size_t i = 0; i < t->n; i++) t->array[1][i] = transcendental(t, EXN_ACT_EXP, t->array[0][i] - t->p[0]);
    t->result = row_reduction(EXN_REDUCE_SUM, t->n, t->array[1]);
}

static size_t matrix_count(size_t rows, size_t columns, ptrdiff_t pitch) {
    return rows && columns ? (rows - 1) * (size_t)pitch + columns : 0;
}

static void columns_counts(size_t count[KC_ARRAYS], const args *t) {
    count[0] = matrix_count(t->rows, t->n, t->pitch);
    count[1] = t->n;
}

static void columns_call(args *t) {
    t->vector->reduce_columns((exn_reduction)t->which, t->rows, t->n, t->array[0], t->pitch, t->accumulate,
                              t->array[1]);
}

static void columns_model(args *t) {
    for (size_t c = 0; c < t->n; c++) {
        float gathered = t->accumulate ? t->array[1][c] : start_of(t->which);
        for (size_t r = 0; r < t->rows; r++) gathered = join(t->which, gathered, t->array[0][r * (size_t)t->pitch + c]);
        t->array[1][c] = gathered;
    }
}

/* Taps in descending order of address, so that an order by address is not the order of taps. */
static void point_taps(args *t) {
    for (size_t i = 0; i < t->rows; i++) t->tap[i] = t->array[0] + (t->rows - 1 - i) * (size_t)t->pitch;
}

static void pool_call(args *t) {
    point_taps(t);
    t->vector->pool((exn_reduction)t->which, t->rows, t->tap, t->n, t->accumulate, t->p[0], t->array[1]);
}

static void pool_model(args *t) {
    point_taps(t);
    for (size_t c = 0; c < t->n; c++) {
        float gathered = t->accumulate ? t->array[1][c] : start_of(t->which);
        for (size_t i = 0; i < t->rows; i++) gathered = join(t->which, gathered, t->tap[i][c]);
        t->array[1][c] = gathered * t->p[0];
    }
}

static void clamp_backward_call(args *t) {
    t->vector->clamp_backward(t->n, t->array[0], t->array[1], t->p[0], t->p[1], t->array[2]);
}

static void clamp_backward_model(args *t) {
    for (size_t i = 0; i < t->n; i++)
        if (t->array[0][i] > t->p[0] && t->array[0][i] < t->p[1]) t->array[2][i] += t->array[1][i];
}

static void weights_counts(size_t count[KC_ARRAYS], const args *t) {
    count[0] = t->rows && t->n ? (t->rows - 1) * (size_t)t->pitch + (t->kw - 1) * (size_t)t->tap_pitch + t->n : 0;
    count[1] = matrix_count(t->rows, t->n, t->tap_pitch);
    count[2] = matrix_count(t->kw, t->n, t->tap_pitch);
}

static void weights_call(args *t) {
    t->vector->dwconv_weights(t->rows, t->n, t->kw, t->array[0], t->pitch, t->tap_pitch, t->array[1], t->tap_pitch,
                              t->array[2], t->tap_pitch);
}

static void weights_model(args *t) {
    const size_t tap_pitch = (size_t)t->tap_pitch;
    for (size_t kx = 0; kx < t->kw; kx++)
        for (size_t c = 0; c < t->n; c++)
            for (size_t p = 0; p < t->rows; p++) {
                float *dw = &t->array[2][kx * tap_pitch + c];
                const float x = t->array[0][p * (size_t)t->pitch + kx * tap_pitch + c];
                *dw = fused_or_not(t, x, t->array[1][p * tap_pitch + c], *dw);
            }
}

static void sgd_call(args *t) {
    t->vector->sgd(t->n, t->array[0], t->array[1], t->array[2], t->p[0], t->p[1], t->p[2]);
}

static void sgd_model(args *t) {
    const float rate = t->p[0], momentum = t->p[1], decay = t->p[2];
    for (size_t i = 0; i < t->n; i++) {
        float *w = &t->array[0][i], *v = &t->array[2][i];
        *v = fused_or_not(t, momentum, *v, fused_or_not(t, decay, *w, t->array[1][i]));
        *w = fused_or_not(t, -rate, *v, *w);
    }
}

static void adamw_call(args *t) {
    const float *p = t->p;
    t->vector->adamw(t->n, t->array[0], t->array[1], t->array[2], t->array[3], p[0], p[1], p[2], p[3], p[4], p[5],
                     p[6]);
}

static void adamw_model(args *t) {
    const float rate = t->p[0], beta1 = t->p[1], beta2 = t->p[2], epsilon = t->p[3], decay = t->p[4];
    for (size_t i = 0; i < t->n; i++) {
        const float g = t->array[1][i];
        float *w = &t->array[0][i], *m = &t->array[2][i], *v = &t->array[3][i];
        *m = fused_or_not(t, beta1, *m, (1.0f - beta1) * g);
        *v = fused_or_not(t, beta2, *v, (1.0f - beta2) * (g * g));
        const float step = (*m * t->p[5]) / (sqrtf(*v * t->p[6]) + epsilon);
        *w = fused_or_not(t, -rate, fused_or_not(t, decay, *w, step), *w);
    }
}

const kc_vector_slot kc_vector_slots[] = {
    {"activate", EXN_ACT_COUNT, 2, {0, 1}, counts_n, activate_call, activate_model},
    {"binary", EXN_BINARY_COUNT, 3, {0, 2}, binary_counts, binary_call, binary_model},
    {"binary_b", EXN_BINARY_COUNT, 3, {1, 2}, binary_counts, binary_call, binary_model},
    {"scale_shift", 1, 4, {0, 3}, counts_n, scale_shift_call, scale_shift_model},
    {"axpy", 1, 2, {-1, -1}, counts_n, axpy_call, axpy_model},
    {"reduce", EXN_REDUCTION_COUNT, 1, {-1, -1}, counts_n, reduce_call, reduce_model},
    {"dot", 1, 2, {0, 1}, counts_n, dot_call, dot_model},
    {"sum_exp", 1, 2, {0, 1}, counts_n, sum_exp_call, sum_exp_model},
    {"reduce_columns", EXN_REDUCTION_COUNT, 2, {-1, -1}, columns_counts, columns_call, columns_model},
    {"pool", EXN_REDUCTION_COUNT, 2, {-1, -1}, columns_counts, pool_call, pool_model},
    {"clamp_backward", 1, 3, {1, 2}, counts_n, clamp_backward_call, clamp_backward_model},
    {"dwconv_weights", 1, 3, {-1, -1}, weights_counts, weights_call, weights_model},
    {"sgd", 1, 3, {-1, -1}, counts_n, sgd_call, sgd_model},
    {"adamw", 1, 4, {-1, -1}, counts_n, adamw_call, adamw_model},
};
const size_t kc_vector_slot_count = sizeof kc_vector_slots / sizeof *kc_vector_slots;
