/* SPDX-License-Identifier: Apache-2.0
 * Training one whole head: threads change no bit, both optimisers descend. */
#include "tests/unit/small.h"
#include "train/fresh.h"
#include "train/loop.h"
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A few steps of the longest tape with one and with three threads. */
START_TEST(threads_do_not_change_a_deep_head) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_cache *cache;
    exn_pool *pool;
    exn_head head[2];
    size_t record[6];
    float target[6 * 3] = {0}, row[9 * 9 * 10];
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, NULL, "key", 9 * 9 * 10, 0, false));
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, 3));
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 9 * 9 * 10; j++) row[j] = (float)((i * 17 + j * 5) % 23) - 11.0f;
        const exn_content content = exn_content_of(row, 9 * 9 * 10);
        unit_assert_ok(ctx, exn_cache_prepare(cache, row));
        unit_assert_ok(ctx, exn_cache_put(&record[i], cache, &content));
        target[i * 3 + i % 3] = 1;
    }
    for (size_t t = 0; t < 2; t++) {
        head[t] = (exn_head){.kind = EXN_HEAD_CONV2, .c = 10, .h = 9, .w = 9, .classes = 3};
        unit_assert_ok(ctx, exn_head_allocate(&head[t], ctx));
        exn_head_reset(&head[t], 3, 0);
        exn_fit_options o = exn_fit_defaults();
        o.batch = 4;
        o.schedule = EXN_SCHEDULE_ONE_CYCLE;
        o.soft_share = 0.7;
        o.soft_temperature = 2.0f;
        o.dropout = 0.2f;
        o.flip = true;
        const exn_fit_samples samples = {
            .cache = cache, .record = record, .count = 6, .target = target, .soft = target};
        exn_fit *fit;
        unit_assert_ok(ctx, exn_fit_create(&fit, ctx, &model->kernels, t ? pool : NULL, &head[t], &samples, &o));
        for (size_t step = 0; step < 12; step++) unit_assert_ok(ctx, exn_fit_step(fit));
        exn_fit_finish(fit);
        exn_fit_destroy(fit);
    }
    /* Every feature has statistics of its own; a few may be dead. */
    size_t moved = 0;
    const size_t features = exn_head_features(&head[0]);
    for (size_t i = 0; i < features; i++)
        moved += head[0].tensor[EXN_HEAD_MEAN][i] != 0 && head[0].tensor[EXN_HEAD_INV_STD][i] != 1;
    ck_assert_msg(moved > features / 2, "%zu of %zu features were measured", moved, features);
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, &head[0], (exn_head_tensor)which);
        unit_assert_same_bits(head[1].tensor[which], head[0].tensor[which], count);
    }
    for (size_t t = 0; t < 2; t++) exn_head_free(&head[t], ctx);
    exn_pool_destroy(pool);
    exn_cache_close(cache);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

/* Both optimisers, on a head and features of their own: the loss falls. */
START_TEST(optimisers_descend) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_cache *cache;
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, NULL, "key", 12, 0, false));
    size_t record[20];
    float target[20 * 3] = {0};
    for (size_t i = 0; i < 20; i++) {
        float row[12];
        for (size_t j = 0; j < 12; j++) row[j] = (float)((i * 7 + j * 5) % 11) + (j == i % 3 ? 9.0f : 0.0f);
        const exn_content content = exn_content_of(row, 12);
        unit_assert_ok(ctx, exn_cache_prepare(cache, row));
        unit_assert_ok(ctx, exn_cache_put(&record[i], cache, &content));
        target[i * 3 + i % 3] = 1;
    }
    for (exn_optimiser_kind kind = EXN_OPTIMISER_ADAMW; kind <= EXN_OPTIMISER_SGD; kind++)
        for (size_t batch = 7; batch <= 20; batch += 13) {
            exn_head head = {.kind = EXN_HEAD_LINEAR, .c = 12, .h = 4, .w = 4, .classes = 3};
            unit_assert_ok(ctx, exn_head_allocate(&head, ctx));
            exn_head_reset(&head, 3, 0);
            exn_fit_options o = exn_fit_defaults();
            o.optimiser = kind;
            o.batch = batch;
            o.rate = kind == EXN_OPTIMISER_SGD ? 0.05 : 0.02;
            o.decay = kind == EXN_OPTIMISER_SGD ? 1e-4 : 0.1;
            const exn_fit_samples samples = {.cache = cache, .record = record, .count = 20, .target = target};
            exn_fit *fit;
            unit_assert_ok(ctx, exn_fit_create(&fit, ctx, &model->kernels, NULL, &head, &samples, &o));
            unit_assert_ok(ctx, exn_fit_step(fit));
            const double first = exn_fit_loss(fit);
            while (!exn_fit_done(fit)) unit_assert_ok(ctx, exn_fit_step(fit));
            ck_assert_msg(exn_fit_loss(fit) < 0.3 * first, "optimiser %d: %g to %g", (int)kind, first,
                          exn_fit_loss(fit));
            exn_fit_finish(fit);
            exn_fit_destroy(fit);
            exn_head_free(&head, ctx);
        }
    exn_cache_close(cache);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("loop", (const TTest *const[]){threads_do_not_change_a_deep_head, optimisers_descend, NULL});
}
