/* SPDX-License-Identifier: Apache-2.0
 * Class frequencies: counted from labels, estimated from answers, and not believed where they say little. */
#include "arch/select.h"
#include "core/rng.h"
#include "tests/unit/unit.h"
#include "train/prior.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 40, MOST = 60 };

static exn_kernel_set kernels(exn_context *ctx) {
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    return set;
}

START_TEST(labels_are_counted) {
    exn_context *ctx = unit_context();
    const exn_kernel_set set = kernels(ctx);
    const int64_t label[] = {0, 0, 0, 1, -1, 3, 0};
    const size_t group[] = {0, 0, 0, 3, 4, 5, 6}; /* the first three are one thing */
    const bool counts[] = {true, true, true, true, true, false, true};
    const exn_labels labels = {label, group, counts, 7, 4};
    bool seen[4];
    float shift[4];
    /* Two classes, three things, one class met once: (1 + 1) / (3 + 1). */
    ck_assert_double_eq_tol(exn_prior_unseen(seen, &labels), 0.5, 1e-12);
    ck_assert(seen[0] && seen[1] && !seen[2] && !seen[3]);
    exn_prior_from_labels(shift, seen, &set.f32_vector, &labels);
    const double first = sqrt(3) + 2, total = first + 2;
    for (size_t c = 0; c < 4; c++) {
        const double share = c == 0 ? 0.5 * first / total : c == 1 ? 0.5 * 2 / total : 0.25;
        ck_assert_double_eq_tol((double)shift[c], 0.5 * log(share * 4), 1e-6);
    }
    const exn_labels all = {(const int64_t[]){0, 1}, (const size_t[]){0, 1}, NULL, 2, 2};
    ck_assert_double_eq(exn_prior_unseen(seen, &all), 0); /* nothing is left to be seen */
    exn_context_destroy(ctx);
}
END_TEST

/* Answers of a network that gives the true class 0.6 on average: `spread` classes in turn. */
static void answer(float *shares, size_t samples, size_t spread) {
    exn_rng rng = exn_rng_seed(3, 4);
    for (size_t i = 0; i < samples; i++) {
        const float sure = 0.4f + 0.4f * exn_rng_uniform(&rng);
        for (size_t c = 0; c < CLASSES; c++)
            shares[i * CLASSES + c] = c == i % spread ? sure : (1 - sure) / (CLASSES - 1);
    }
}

static exn_prior estimate(float *shift, exn_context *ctx, size_t samples, size_t spread) {
    const exn_kernel_set set = kernels(ctx);
    float shares[MOST * CLASSES];
    int64_t label[MOST];
    exn_prior prior;
    answer(shares, samples, spread);
    for (size_t i = 0; i < samples; i++) label[i] = -1;
    unit_assert_ok(ctx,
                   exn_prior_from_predictions(shift, &prior, ctx, &set.f32_vector, shares, label, samples, CLASSES, 1));
    ck_assert_uint_eq(prior.samples, samples);
    return prior;
}

START_TEST(few_classes_are_recognised) {
    exn_context *ctx = unit_context();
    float shift[CLASSES];
    const exn_prior few = estimate(shift, ctx, 60, 4);
    ck_assert_msg(few.used, "%g classes, %g", few.effective, few.unstable);
    for (size_t c = 0; c < CLASSES; c++) ck_assert(c < 4 ? shift[c] > 0.8f : shift[c] < -0.5f);
    ck_assert(!estimate(shift, ctx, 60, 40).used); /* everything is met: nothing to gain */
    ck_assert(!estimate(shift, ctx, 12, 4).used);  /* too few photos */
    exn_context_destroy(ctx);
}
END_TEST

/* A few labels speak for themselves, against the answers. */
START_TEST(labels_speak_first) {
    exn_context *ctx = unit_context();
    const exn_kernel_set set = kernels(ctx);
    float shares[MOST * CLASSES], shift[CLASSES];
    int64_t label[MOST];
    exn_prior prior;
    answer(shares, MOST, 4);
    for (size_t i = 0; i < MOST; i++) label[i] = i % 4 == 3 ? 7 : -1;
    unit_assert_ok(ctx,
                   exn_prior_from_predictions(shift, &prior, ctx, &set.f32_vector, shares, label, MOST, CLASSES, 1));
    ck_assert(shift[7] > 0.8f && shift[3] < -0.5f && shift[0] > 0.8f);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("prior",
                    (const TTest *const[]){labels_are_counted, few_classes_are_recognised, labels_speak_first, NULL});
}
