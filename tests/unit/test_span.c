/* SPDX-License-Identifier: Apache-2.0
 * Regression in the span of samples: the weights it adds are those that give its logits, its optimum is the problem's, and
 * what a block may not see does not reach it. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "core/rng.h"
#include "tests/unit/unit.h"
#include "train/span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 14, WIDTH = 23, CLASSES = 4, BLOCKS = 2 };

typedef struct problem {
    exn_context *ctx;
    exn_kernel_set kernels;
    float features[COUNT * WIDTH];
    exn_span *span;
} problem;

static void begin(problem *p, const char *cpu) {
    const exn_context_options context = {.struct_size = sizeof context, .cpu = cpu};
    ck_assert_int_eq(exn_context_create(&p->ctx, &context), EXN_OK);
    unit_assert_ok(p->ctx, exn_kernels_select(&p->kernels, p->ctx, exn_cpu_detect(), cpu));
    exn_rng rng = exn_rng_seed(5, 5);
    for (size_t i = 0; i < COUNT * WIDTH; i++) p->features[i] = exn_rng_normal(&rng);
    unit_assert_ok(p->ctx, exn_span_create(&p->span, p->ctx, &p->kernels, p->features, COUNT, WIDTH, CLASSES, BLOCKS));
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t i = 0; i < COUNT; i++) {
            const bool held_out = b == 0 && i % 3 == 0;
            exn_span_weigh(p->span, b, i, held_out ? 0.0f : b == 0 ? 1.0f / 9 : 1.0f / COUNT);
            for (size_t j = 0; j < CLASSES; j++) {
                exn_span_start(p->span, b, i)[j] = exn_rng_normal(&rng);
                exn_span_target(p->span, b, i)[j] = j == i % CLASSES ? 0.7f : 0.1f;
            }
        }
}

static void end(problem *p) {
    exn_span_destroy(p->span);
    exn_context_destroy(p->ctx);
}

/* In two pieces, as a run that may be interrupted does it. */
static exn_status fit(exn_span *span, double pull, bool centred, size_t steps) {
    exn_span_begin(span, pull, centred, steps);
    ck_assert(exn_span_advance(span, steps / 2));
    ck_assert(!exn_span_advance(span, steps));
    return exn_span_end(span);
}

START_TEST(weights_give_the_logits) {
    problem p;
    begin(&p, NULL);
    for (size_t turn = 0; turn < 2 * BLOCKS; turn++) {
        const bool centred = turn < BLOCKS;
        const size_t b = turn % BLOCKS;
        unit_assert_ok(p.ctx, fit(p.span, 1e-2, centred, 60));
        float weight[CLASSES * WIDTH] = {0}, bias[CLASSES] = {0};
        exn_span_move(weight, bias, p.span, b);
        for (size_t i = 0; i < COUNT; i++)
            for (size_t j = 0; j < CLASSES; j++) {
                double z = (double)exn_span_start(p.span, b, i)[j] + (double)bias[j];
                for (size_t k = 0; k < WIDTH; k++)
                    z += (double)weight[j * WIDTH + k] * (double)p.features[i * WIDTH + k];
                ck_assert_double_eq_tol((double)exn_span_logits(p.span, b, i)[j], z, 1e-4);
            }
    }
    end(&p);
}
END_TEST

/* At the optimum, gradient and pull cancel: sum over i of weight_i * (softmax - target) x_i = -pull * width * W. */
START_TEST(reaches_the_optimum) {
    problem p;
    const double pull = 0.05;
    begin(&p, NULL);
    unit_assert_ok(p.ctx, fit(p.span, pull, false, 400));
    float weight[CLASSES * WIDTH] = {0}, bias[CLASSES] = {0};
    double slope[CLASSES * WIDTH] = {0};
    exn_span_move(weight, bias, p.span, 1);
    for (size_t i = 0; i < COUNT; i++) {
        const float *z = exn_span_logits(p.span, 1, i), *target = exn_span_target(p.span, 1, i);
        double sum = 0;
        for (size_t j = 0; j < CLASSES; j++) sum += exp((double)z[j]);
        for (size_t j = 0; j < CLASSES; j++)
            for (size_t k = 0; k < WIDTH; k++)
                slope[j * WIDTH + k] +=
                    (exp((double)z[j]) / sum - (double)target[j]) / COUNT * (double)p.features[i * WIDTH + k];
    }
    for (size_t j = 0; j < CLASSES * WIDTH; j++)
        ck_assert_double_eq_tol(slope[j], -pull * WIDTH * (double)weight[j], 2e-5);
    end(&p);
}
END_TEST

/* Samples that agree in what they want move a free bias; centred, nothing that they share moves. */
START_TEST(centred_fits_move_no_mean) {
    problem p;
    begin(&p, NULL);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < CLASSES; j++) exn_span_start(p.span, 1, i)[j] = 0;
        for (size_t j = 0; j < CLASSES; j++) exn_span_target(p.span, 1, i)[j] = j ? 0.1f : 0.7f;
    }
    unit_assert_ok(p.ctx, fit(p.span, 1e-2, true, 60));
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < CLASSES; j++) ck_assert_float_eq_tol(exn_span_logits(p.span, 1, i)[j], 0, 1e-4f);
    unit_assert_ok(p.ctx, fit(p.span, 1e-2, false, 60));
    ck_assert(exn_span_logits(p.span, 1, 0)[0] > exn_span_logits(p.span, 1, 0)[1] + 1);
    end(&p);
}
END_TEST

START_TEST(held_out_targets_do_not_matter) {
    problem p;
    float before[COUNT * CLASSES];
    begin(&p, NULL);
    for (int turn = 0; turn < 2; turn++) {
        unit_assert_ok(p.ctx, fit(p.span, 1e-3, true, 50));
        for (size_t i = 0; i < COUNT; i++) {
            const float *z = exn_span_logits(p.span, 0, i);
            if (turn) unit_assert_same_bits(z, before + i * CLASSES, CLASSES);
            memcpy(before + i * CLASSES, z, CLASSES * sizeof *z);
            float *target = exn_span_target(p.span, 0, i);
            if (i % 3 == 0) target[0] = 1.0f - target[1];
        }
    }
    end(&p);
}
END_TEST

START_TEST(kernel_sets_agree) {
    problem a, b;
    begin(&a, NULL);
    begin(&b, "scalar_fma");
    if (a.kernels.fused) {
        unit_assert_ok(a.ctx, fit(a.span, 1e-3, true, 50));
        unit_assert_ok(b.ctx, fit(b.span, 1e-3, true, 50));
        for (size_t i = 0; i < COUNT; i++)
            unit_assert_same_bits(exn_span_logits(a.span, 1, i), exn_span_logits(b.span, 1, i), CLASSES);
    }
    end(&a);
    end(&b);
}
END_TEST

START_TEST(odd_input) {
    problem p;
    begin(&p, NULL);
    exn_span *span;
    unit_assert_fails(p.ctx, exn_span_create(&span, p.ctx, &p.kernels, p.features, 0, WIDTH, CLASSES, 1), EXN_E_INVALID,
                      "nothing to learn from");
    exn_span_target(p.span, 0, 1)[0] = INFINITY;
    unit_assert_fails(p.ctx, fit(p.span, 1e-3, false, 20), EXN_E_INVALID, "diverged");
    exn_span_destroy(NULL);
    end(&p);
}
END_TEST

int main(void) {
    return unit_run("span",
                    (const TTest *const[]){weights_give_the_logits, reaches_the_optimum, centred_fits_move_no_mean,
                                           held_out_targets_do_not_matter, kernel_sets_agree, odd_input, NULL});
}
