/* SPDX-License-Identifier: Apache-2.0
 * Test data in three modes, and comparisons that name the first difference. */
#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "tests/kcheck/kcheck.h"

#define POISON_BITS UINT32_C(0x7fc0dead)

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

const char *kc_mode_name(kc_mode mode) {
    static const char *const names[KC_MODES] = {"integers", "uniform", "adversarial"};
    return names[mode];
}

/* Values at which careless arithmetic goes wrong. Products stay below 2^122, so sums overflow by Inf operands only. */
static float adversarial(exn_rng *rng, const float *before) {
    switch (exn_rng_below(rng, 8)) {
    case 0:
        return of_bits(exn_rng_below(rng, 0x800000)); /* denormal */
    case 1:
        return -of_bits(exn_rng_below(rng, 0x800000));
    case 2:
        return exn_rng_below(rng, 2) ? 0.0f : -0.0f;
    case 3:
        return ldexpf(exn_rng_uniform(rng) - 0.5f, 60);
    case 4:
        return ldexpf(exn_rng_uniform(rng) - 0.5f, -60);
    case 5:
    case 6:
        return before ? -*before : 1.0f; /* cancels its neighbour */
    default:
        return 1.0f + ldexpf((float)exn_rng_below(rng, 8), -23);
    }
}

void kc_fill(float *x, size_t count, kc_mode mode) {
    exn_rng *rng = kc_rng();
    for (size_t i = 0; i < count; i++) {
        if (mode == KC_INTEGERS)
            x[i] = (float)((int)exn_rng_below(rng, 17) - 8);
        else if (mode == KC_UNIFORM)
            x[i] = 2.0f * exn_rng_uniform(rng) - 1.0f;
        else
            x[i] = adversarial(rng, i ? &x[i - 1] : NULL);
    }
    /* One special value in some of the operands: more would leave nothing but NaN. */
    if (mode == KC_ADVERSARIAL && count && exn_rng_below(rng, 2)) {
        static const float special[3] = {INFINITY, -INFINITY, NAN};
        x[exn_rng_below(rng, (uint32_t)count)] = special[exn_rng_below(rng, 3)];
    }
}

void kc_poison(float *x, size_t count) {
    const float poison = of_bits(POISON_BITS);
    for (size_t i = 0; i < count; i++) x[i] = poison;
}

bool kc_same_value(float a, float b, bool nan_is_nan) {
    return bits_of(a) == bits_of(b) || (nan_is_nan && isnan(a) && isnan(b) && bits_of(a) != POISON_BITS);
}

bool kc_same(const char *what, const float *got, const float *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (kc_same_value(got[i], want[i], true)) continue;
        kc_fail("%s[%zu] is %a (%#x), wanted %a (%#x)", what, i, (double)got[i], bits_of(got[i]), (double)want[i],
                bits_of(want[i]));
        return false;
    }
    return true;
}

/* Inf and NaN must match; a finite want that rounds to Inf may be Inf. */
static bool near_enough(float got, double want, double bound) {
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return (double)got == want;
    return fabs((double)got - want) <= bound;
}

bool kc_near(const char *what, const float *got, const double *want, const double *magnitude, double terms, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double bound = terms * (ldexp(magnitude[i], -24) + ldexp(1, -149));
        if (near_enough(got[i], want[i], bound)) continue;
        kc_fail("%s[%zu] is %a, oracle %a, difference %.3g over bound %.3g", what, i, (double)got[i], want[i],
                fabs((double)got[i] - want[i]), bound);
        return false;
    }
    return true;
}

double kc_ulps(float got, double want) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
    const float rounded = (float)want;
    if (isinf(rounded) || isinf(got)) return rounded == got ? 0 : INFINITY;
    int exponent;
    frexp(fabs(want), &exponent);
    if (exponent < -125) exponent = -125;
    return fabs((double)got - want) / ldexp(1, exponent - 24);
}

uint64_t kc_hash(uint64_t hash, const void *bytes, size_t count) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < count; i++) hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

bool kc_glob(const char *pattern, const char *text) {
    return fnmatch(pattern, text, 0) == 0;
}
