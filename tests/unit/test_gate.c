/* SPDX-License-Identifier: Apache-2.0
 * The gate where the right decision is known: noise replaces nothing, a gain is taken, and few labels need a larger one. */
#include "core/rng.h"
#include "tests/unit/unit.h"
#include "train/gate.h"

#include <math.h>

enum { MOST = 200 };

/* A row of losses around a mean; rows of one seed share their noise but for `own` of it. */
static void row(double *out, size_t samples, double mean, double own, uint64_t seed) {
    exn_rng shared = exn_rng_seed(1, 1), rng = exn_rng_seed(seed, 2);
    double sum = 0;
    for (size_t i = 0; i < samples; i++) {
        out[i] = (double)exn_rng_normal(&shared) + own * (double)exn_rng_normal(&rng);
        sum += out[i] / (double)samples;
    }
    for (size_t i = 0; i < samples; i++) out[i] += mean - sum;
}

static float share_of(const double *means, size_t samples, bool half) {
    double loss[EXN_GATE_SHARES * MOST];
    exn_gate gate = {0};
    for (size_t g = 0; g < EXN_GATE_SHARES; g++) row(loss + g * samples, samples, means[g], 0.1, g);
    exn_gate_weigh(&gate, loss, samples, half);
    ck_assert_uint_eq(gate.judged, samples);
    ck_assert_double_eq_tol(gate.before, means[4], 1e-9);
    ck_assert(gate.kept == 1.0f || gate.after < gate.before);
    return gate.kept;
}

START_TEST(keeps_what_is_not_beaten) {
    const double worse[] = {2, 1.7, 1.4, 1.2, 1}, barely[] = {0.99, 0.99, 0.985, 0.99, 1},
                 better[] = {0.7, 0.6, 0.65, 0.8, 1};
    ck_assert_float_eq(share_of(worse, 50, false), 1.0f);
    ck_assert_float_eq(share_of(barely, 50, false), 1.0f); /* less than 0.024 */
    ck_assert_float_eq(share_of(barely, MOST, false), 0.5f);
    ck_assert_float_eq(share_of(better, 50, false), 0.25f);
    ck_assert_float_eq(share_of(better, 50, true), 0.5f);
}
END_TEST

START_TEST(few_labels_need_a_large_gain) {
    const double some[] = {0.85, 0.9, 0.95, 0.98, 1}, much[] = {0.6, 0.7, 0.8, 0.9, 1};
    ck_assert_float_eq(share_of(some, 10, false), 1.0f);
    ck_assert_float_eq(share_of(some, 25, false), 0.0f);
    ck_assert_float_eq(share_of(much, 10, false), 0.0f);
}
END_TEST

START_TEST(the_usual_way_unless_clearly_worse) {
    double loss[3 * 50];
    row(loss, 50, 1.0, 0, 1);
    row(loss + 50, 50, 1.1, 0.5, 2);
    row(loss + 100, 50, 0.95, 0.5, 3); /* its error is 0.07 */
    ck_assert_uint_eq(exn_gate_pick(loss, 3, 50), 0);
    row(loss + 100, 50, 0.7, 0.5, 3);
    ck_assert_uint_eq(exn_gate_pick(loss, 3, 50), 2);
    ck_assert_uint_eq(exn_gate_pick(loss, 1, 50), 0);
    ck_assert_uint_eq(exn_gate_pick(loss, 3, 0), 0);
    ck_assert_uint_eq(exn_gate_pick(loss, 3, 1), 0); /* one sample knows no error */
}
END_TEST

START_TEST(nothing_to_judge_by) {
    exn_gate gate = {0};
    const double none = 0;
    exn_gate_weigh(&gate, &none, 0, true);
    ck_assert_float_eq(gate.kept, 1.0f);
    ck_assert(isnan(gate.before) && isnan(gate.after));
}
END_TEST

int main(void) {
    return unit_run("gate", (const TTest *const[]){keeps_what_is_not_beaten, few_labels_need_a_large_gain,
                                                   the_usual_way_unless_clearly_worse, nothing_to_judge_by, NULL});
}
