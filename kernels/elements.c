/* SPDX-License-Identifier: Apache-2.0
 * Functions of one or two numbers that few networks use: plain loops over what a set supplies, so that they need no
 * porting and are as equal over sets as exp and log are. */
#include <math.h>

#include "kernels/block.h"
#include "kernels/elementwise.h"

/* Elements between two passes: they stay in the nearest cache. */
#define PIECE 256u

#define EACH(expression)                                                                                               \
    for (size_t i = 0; i < n; i++) y[i] = (expression)

/* ---- the error function ---- */

/* Its power series, for |x| < 1: beyond the last term lies 1.5e-8. */
static float erf_near(float x) {
    static const float term[] = {-1.636584e-7f,   1.646211e-6f,    -1.492565e-5f, 1.205533e-4f,  -8.548327e-4f,
                                 5.223977625e-3f, -2.68661706e-2f, 0.112837917f,  -0.376126389f, 1.128379167f};
    const float square = x * x;
    float sum = term[0];
    for (size_t i = 1; i < sizeof term / sizeof term[0]; i++) sum = sum * square + term[i];
    return x * sum;
}

/* 1 - erf(x) for x >= 1, where `fall` is exp(-x*x): Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most. */
static float erfc_far(float x, float fall) {
    const float k = 1.0f / (1.0f + 0.3275911f * x);
    return k * (0.254829592f + k * (-0.284496736f + k * (1.421413741f + k * (-1.453152027f + k * 1.061405429f)))) *
           fall;
}

static void error_function(const exn_f32_vector *vector, size_t n, const float *x, float *y) {
    float fall[PIECE];
    for (size_t i = 0; i < n; i++) fall[i] = -(x[i] * x[i]);
    vector->activate(EXN_ACT_EXP, n, fall, fall, 0, 0);
    EACH(fabsf(x[i]) < 1.0f ? erf_near(x[i]) : copysignf(1.0f - erfc_far(fabsf(x[i]), fall[i]), x[i]));
}

/* x times the share of a normal distribution below x; the share of the nearer tail keeps its digits. */
static float gelu_of(float x, float fall) {
    if (isinf(x)) return x > 0.0f ? x : 0.0f;
    const float a = fabsf(x) * 0.70710678f;
    const float tail = 0.5f * (a < 1.0f ? 1.0f - erf_near(a) : erfc_far(a, fall));
    return x < 0.0f ? x * tail : x - x * tail;
}

static void gelu(const exn_f32_vector *vector, size_t n, const float *x, float *y) {
    float fall[PIECE];
    for (size_t i = 0; i < n; i++) fall[i] = -0.5f * (x[i] * x[i]);
    vector->activate(EXN_ACT_EXP, n, fall, fall, 0, 0);
    EACH(gelu_of(x[i], fall[i]));
}

/* ---- exponential units ---- */

/* exp(x) - 1 loses its digits near 0, but not when divided by log(exp(x)) / x (Kahan). */
static void elu(const exn_f32_vector *vector, size_t n, const float *x, float *y, float alpha, float gamma) {
    float raised[PIECE], back[PIECE];
    vector->activate(EXN_ACT_EXP, n, x, raised, 0, 0);
    vector->activate(EXN_ACT_LOG, n, raised, back, 0, 0);
    for (size_t i = 0; i < n; i++) {
        const float less = raised[i] - 1.0f;
        const float below = x[i] < -1.0f ? less : less == 0.0f ? x[i] : less * x[i] / back[i];
        y[i] = gamma * (x[i] < 0.0f ? alpha * below : x[i]);
    }
}

/* log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), the logarithm corrected in the same way. */
static void softplus(const exn_f32_vector *vector, size_t n, const float *x, float *y) {
    float raised[PIECE], sum[PIECE], log[PIECE];
    for (size_t i = 0; i < n; i++) raised[i] = -fabsf(x[i]);
    vector->activate(EXN_ACT_EXP, n, raised, raised, 0, 0);
    for (size_t i = 0; i < n; i++) sum[i] = 1.0f + raised[i];
    vector->activate(EXN_ACT_LOG, n, sum, log, 0, 0);
    for (size_t i = 0; i < n; i++) {
        const float rest = sum[i] == 1.0f ? raised[i] : log[i] * (raised[i] / (sum[i] - 1.0f));
        y[i] = (x[i] > 0.0f ? x[i] : 0.0f) + rest;
    }
}

static void unary_piece(const exn_f32_vector *vector, exn_activation act, size_t n, const float *x, float *y, float lo,
                        float hi) {
    switch (act) {
    case EXN_ACT_ABS:
        EACH(fabsf(x[i]));
        break;
    case EXN_ACT_SQRT:
        EACH(sqrtf(x[i]));
        break;
    case EXN_ACT_FLOOR:
        EACH(floorf(x[i]));
        break;
    case EXN_ACT_CEIL:
        EACH(ceilf(x[i]));
        break;
    case EXN_ACT_ROUND:
        EACH(rintf(x[i]));
        break;
    case EXN_ACT_SIGN:
        EACH(x[i] > 0.0f ? 1.0f : x[i] < 0.0f ? -1.0f : x[i]);
        break;
    case EXN_ACT_THRESHOLD:
        EACH(x[i] > lo ? x[i] : 0.0f);
        break;
    case EXN_ACT_SOFTSIGN:
        EACH(x[i] / (1.0f + fabsf(x[i])));
        break;
    case EXN_ACT_ERF:
        error_function(vector, n, x, y);
        break;
    case EXN_ACT_GELU:
        gelu(vector, n, x, y);
        break;
    case EXN_ACT_ELU:
        elu(vector, n, x, y, lo, hi);
        break;
    case EXN_ACT_SOFTPLUS:
        softplus(vector, n, x, y);
        break;
    default:
        break;
    }
}

void exn_unary(const exn_f32_vector *vector, exn_activation act, size_t n, const float *x, float *y, float lo,
               float hi) {
    if (act < EXN_ACT_COUNT) {
        vector->activate(act, n, x, y, lo, hi);
        return;
    }
    for (size_t i = 0; i < n; i += PIECE) unary_piece(vector, act, exn_min(PIECE, n - i), x + i, y + i, lo, hi);
}

/* ---- two numbers ---- */

/* The sign and the special cases of a to the b; `size` is exp(b * log|a|). */
static float power_of(float a, float b, float size) {
    if (b == 0.0f || a == 1.0f) return 1.0f;
    if (a == -1.0f && isinf(b)) return 1.0f;
    const float half = 0.5f * b;
    const bool whole = rintf(b) == b, odd = whole && rintf(half) != half;
    if (a < 0.0f && isfinite(a) && !whole) return NAN;
    return odd && signbit(a) ? -size : size;
}

static void power(const exn_f32_vector *vector, size_t n, const float *a, size_t a_step, const float *b, size_t b_step,
                  float *y) {
    float size[PIECE];
    if (b_step == 0 && *b == 2.0f) {
        EACH(a[i * a_step] * a[i * a_step]);
        return;
    }
    for (size_t i = 0; i < n; i++) size[i] = fabsf(a[i * a_step]);
    vector->activate(EXN_ACT_LOG, n, size, size, 0, 0);
    vector->binary(EXN_MUL, n, size, 1, b, b_step, size);
    vector->activate(EXN_ACT_EXP, n, size, size, 0, 0);
    EACH(power_of(a[i * a_step], b[i * b_step], size[i]));
}

static void binary_piece(const exn_f32_vector *vector, exn_binary op, size_t n, const float *a, size_t a_step,
                         const float *b, size_t b_step, float *y) {
    if (op == EXN_POW) {
        power(vector, n, a, a_step, b, b_step, y);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const float p = a[i * a_step], q = b[i * b_step];
        const bool first = isnan(p) || (op == EXN_MAX ? p > q : p < q);
        y[i] = first ? p : q;
    }
}

void exn_pair(const exn_f32_vector *vector, exn_binary op, size_t n, const float *a, size_t a_step, const float *b,
              size_t b_step, float *y) {
    if (op < EXN_BINARY_COUNT) {
        vector->binary(op, n, a, a_step, b, b_step, y);
        return;
    }
    for (size_t i = 0; i < n; i += PIECE)
        binary_piece(vector, op, exn_min(PIECE, n - i), a + i * a_step, a_step, b + i * b_step, b_step, y + i);
}
