/* SPDX-License-Identifier: Apache-2.0
 * The static memory planner: no overlap, closeness to the lower bound on networks of every build, speed. */
#include "core/arena.h"
#include "core/rng.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define INTERVALS_MAX 1024u

/* A network being laid out: values are opened at their producer's step, and closed by their last reader. */
typedef struct network {
    exn_interval value[INTERVALS_MAX];
    size_t count, step;
} network;

/* The next step makes a value of `bytes`, with a workspace, from up to two others. Returns its number. */
static size_t make(network *net, size_t bytes, size_t workspace, size_t from, size_t also) {
    ck_assert_uint_le(net->count + 2, INTERVALS_MAX);
    const size_t step = net->step++;
    if (net->count > 0) {
        if (net->value[from].last < step) net->value[from].last = step;
        if (net->value[also].last < step) net->value[also].last = step;
    }
    if (workspace > 0) net->value[net->count++] = (exn_interval){workspace, step, step, 0};
    net->value[net->count] = (exn_interval){bytes, step, step, 0};
    return net->count++;
}

static void also_reads(network *net, size_t value) {
    net->value[value].last = net->step - 1;
}

static exn_arena_plan assign_and_check(exn_interval *intervals, size_t count, double slack) {
    exn_context *ctx = unit_context();
    exn_arena_plan plan = {0};
    unit_assert_ok(ctx, exn_arena_assign(&plan, ctx, intervals, count));
    size_t top = 0;
    for (size_t i = 0; i < count; i++) {
        const exn_interval *a = &intervals[i];
        ck_assert_uint_eq(a->offset % EXN_ALIGNMENT, 0);
        if (a->bytes > 0 && a->offset + exn_round_up(a->bytes) > top) top = a->offset + exn_round_up(a->bytes);
        for (size_t k = 0; k < i; k++) {
            const exn_interval *b = &intervals[k];
            const bool together = a->first <= b->last && b->first <= a->last && a->bytes > 0 && b->bytes > 0;
            if (together && a->offset + a->bytes > b->offset && b->offset + b->bytes > a->offset)
                ck_abort_msg("%zu and %zu overlap", i, k); /* Check's assertions are system calls */
        }
    }
    ck_assert_uint_eq(plan.bytes, top);
    ck_assert_uint_ge(plan.bytes, plan.lower_bound_bytes);
    ck_assert_msg((double)plan.bytes <= slack * (double)plan.lower_bound_bytes, "%zu bytes, bound %zu: %.3f of it",
                  plan.bytes, plan.lower_bound_bytes, (double)plan.bytes / (double)plan.lower_bound_bytes);
    exn_context_destroy(ctx);
    return plan;
}

START_TEST(nothing_and_one) {
    exn_interval one = {100, 3, 3, 99};
    ck_assert_uint_eq(assign_and_check(NULL, 0, 1).bytes, 0);
    ck_assert_uint_eq(assign_and_check(&one, 1, 1).bytes, 128);
    ck_assert_uint_eq(one.offset, 0);
    exn_interval empty[3] = {{0, 0, 9, 7}, {0, 1, 2, 7}, {64, 0, 9, 7}};
    ck_assert_uint_eq(assign_and_check(empty, 3, 1).bytes, 64);
    ck_assert_uint_eq(empty[0].offset + empty[1].offset, 0);
}
END_TEST

START_TEST(lower_bound_is_the_widest_step) {
    exn_interval values[] = {{64, 0, 1, 0}, {640, 1, 2, 0}, {128, 2, 3, 0}, {64, 2, 2, 0}};
    const exn_arena_plan plan = assign_and_check(values, 4, 1);
    ck_assert_uint_eq(plan.lower_bound_bytes, 640 + 128 + 64);
}
END_TEST

START_TEST(bad_intervals) {
    exn_context *ctx = unit_context();
    exn_arena_plan plan = {7, 7};
    exn_interval backwards[] = {{64, 0, 0, 0}, {64, 2, 1, 0}};
    unit_assert_fails(ctx, exn_arena_assign(&plan, ctx, backwards, 2), EXN_E_INVALID, "interval 1");
    exn_interval huge[] = {{SIZE_MAX / 2, 0, 0, 0}, {SIZE_MAX / 2, 1, 1, 0}, {64, 2, 2, 0}};
    unit_assert_fails(ctx, exn_arena_assign(&plan, ctx, huge, 3), EXN_E_NOMEM, "address space");
    huge[0].bytes = SIZE_MAX;
    unit_assert_fails(ctx, exn_arena_assign(&plan, ctx, huge, 1), EXN_E_NOMEM, "address space");
    ck_assert_uint_eq(plan.bytes, 7);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status assign_some(exn_context *ctx, void *user) {
    exn_interval values[] = {{64, 0, 1, 0}, {640, 1, 2, 0}, {128, 2, 3, 0}};
    (void)user;
    exn_arena_plan plan;
    return exn_arena_assign(&plan, ctx, values, 3);
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(assign_some, NULL);
}
END_TEST

/* Stages that halve the area and double the channels, blocks with a shortcut, workspaces of odd sizes. */
START_TEST(residual) {
    network net = {.count = 0};
    size_t x = make(&net, 4 * 3 * 224 * 224, 0, 0, 0);
    for (size_t stage = 0; stage < 4; stage++) {
        const size_t bytes = 4 * (56u >> stage) * (56u >> stage) * (64u << stage);
        for (size_t block = 0; block < 4; block++) {
            const size_t narrow = make(&net, bytes, 9000, x, x);
            const size_t again = make(&net, bytes, 12345, narrow, narrow);
            const size_t wide = make(&net, 4 * bytes, 0, again, again);
            const size_t shortcut = block == 0 ? make(&net, 4 * bytes, 777, x, x) : x;
            x = make(&net, 4 * bytes, 0, wide, shortcut);
        }
    }
    assign_and_check(net.value, net.count, 1.05);
}
END_TEST

/* Four branches of different depth, concatenated. */
START_TEST(inception) {
    network net = {.count = 0};
    size_t x = make(&net, 4 * 192 * 28 * 28, 0, 0, 0);
    exn_rng rng = exn_rng_seed(5, 0);
    for (size_t block = 0; block < 9; block++) {
        const size_t area = 4 * (block < 2 ? 28 * 28u : block < 7 ? 14 * 14u : 7 * 7u);
        size_t branch[4], sum = 0;
        for (size_t b = 0; b < 4; b++) {
            size_t channels = 0;
            branch[b] = x;
            for (size_t depth = 0; depth <= b % 3; depth++) {
                channels = 16 + 8 * exn_rng_below(&rng, 40);
                branch[b] = make(&net, area * channels, depth * 3000, branch[b], x);
            }
            sum += channels;
        }
        x = make(&net, area * sum, 0, branch[0], branch[1]);
        also_reads(&net, branch[2]);
        also_reads(&net, branch[3]);
    }
    assign_and_check(net.value, net.count, 1.05);
}
END_TEST

/* Every layer concatenates all features of its block so far; every fourth runs a head as well. */
START_TEST(dense) {
    network net = {.count = 0};
    static const size_t layers[] = {6, 12, 24, 16};
    size_t channels = 64, x = make(&net, 4 * 64 * 56 * 56, 0, 0, 0);
    for (size_t block = 0; block < 4; block++) {
        const size_t area = 4 * (56u >> block) * (56u >> block);
        size_t feature[32] = {x}, features = 1;
        for (size_t layer = 0; layer < layers[block]; layer++) {
            const size_t all = make(&net, area * channels, 0, feature[0], feature[features - 1]);
            for (size_t f = 0; f < features; f++) also_reads(&net, feature[f]);
            const size_t narrow = make(&net, area * 128, 0, all, all);
            feature[features++] = make(&net, area * 32, 1000, narrow, narrow);
            channels += 32;
        }
        const size_t joined = make(&net, area * channels, 0, feature[0], feature[0]);
        for (size_t f = 0; f < features; f++) also_reads(&net, feature[f]);
        channels /= 2;
        const size_t half = make(&net, area * channels, 0, joined, joined);
        x = make(&net, area * channels / 4, 0, half, half);
        const size_t head = make(&net, 4 * 64 * 16, 70000, x, x);
        make(&net, 4 * 1000, 0, head, x);
    }
    ck_assert_uint_ge(net.count, 230);
    assign_and_check(net.value, net.count, 1.05);
}
END_TEST

/* Forward values that live until their backward step, and gradients on the way back. */
START_TEST(training) {
    network net = {.count = 0};
    exn_rng rng = exn_rng_seed(11, 0);
    const size_t steps = 60;
    for (size_t s = 0; s < steps; s++) {
        const size_t bytes = 64 * (1 + exn_rng_below(&rng, 4000) / (1 + s / 8));
        net.value[net.count++] = (exn_interval){bytes, s, 2 * steps - 1 - s, 0};
        net.value[net.count++] = (exn_interval){bytes, 2 * steps - 2 - s, 2 * steps - 1 - s, 0};
        if (s % 5 == 0) net.value[net.count++] = (exn_interval){100000, s, s, 0};
    }
    assign_and_check(net.value, net.count, 1.05);
}
END_TEST

/* Nothing but chance: hard for any planner, so the promise is looser here. */
START_TEST(random_intervals) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        exn_rng rng = exn_rng_seed(seed, 0);
        exn_interval values[120];
        const size_t count = 2 + exn_rng_below(&rng, 118);
        for (size_t i = 0; i < count; i++) {
            const size_t first = exn_rng_below(&rng, 100);
            values[i] = (exn_interval){exn_rng_below(&rng, 5) == 0 ? 0 : exn_rng_below(&rng, 100000), first,
                                       first + exn_rng_below(&rng, 10), 0};
        }
        assign_and_check(values, count, 1.2);
    }
}
END_TEST

START_TEST(same_input_same_offsets) {
    exn_interval once[100], again[100];
    exn_rng rng = exn_rng_seed(3, 0);
    for (size_t i = 0; i < 100; i++) {
        const size_t first = exn_rng_below(&rng, 50);
        once[i] = (exn_interval){exn_rng_below(&rng, 9999), first, first + exn_rng_below(&rng, 20), 0};
    }
    memcpy(again, once, sizeof once);
    assign_and_check(once, 100, 1.2);
    assign_and_check(again, 100, 1.2);
    ck_assert_mem_eq(once, again, sizeof once);
}
END_TEST

static void random_lives(exn_interval *values, size_t count, size_t steps, size_t life) {
    exn_rng rng = exn_rng_seed(count, life);
    for (size_t i = 0; i < count; i++) {
        const size_t first = exn_rng_below(&rng, (uint32_t)steps);
        values[i] = (exn_interval){exn_rng_below(&rng, 100000), first, first + exn_rng_below(&rng, (uint32_t)life), 0};
    }
}

/* As no real network has them; looking at all pairs of the last would take minutes. */
START_TEST(very_many) {
    enum { SOME = 9000, MOST = 200000 };
    exn_interval *values = malloc(MOST * sizeof *values);
    exn_context *ctx = unit_context();
    exn_arena_plan plan;
    random_lives(values, SOME, SOME, 30);
    assign_and_check(values, SOME, 1.5);
    random_lives(values, SOME, 10, 10);
    assign_and_check(values, SOME, 1.5);
    const double start = exn_now();
    random_lives(values, MOST, MOST, 20);
    unit_assert_ok(ctx, exn_arena_assign(&plan, ctx, values, MOST));
    for (size_t i = 0; i < MOST; i++) values[i] = (exn_interval){64 + i, i, 2 * MOST - i, 0};
    unit_assert_ok(ctx, exn_arena_assign(&plan, ctx, values, MOST));
    ck_assert_uint_eq(plan.bytes, plan.lower_bound_bytes);
    const double seconds = exn_now() - start;
    ck_assert_msg(seconds < 10, "%.3f s", seconds);
    exn_context_destroy(ctx);
    free(values);
}
END_TEST

/* The bound is generous, for emulators and sanitizers; the figure that matters is 20 ms on a desktop. */
START_TEST(quick) {
    exn_interval values[300];
    exn_rng rng = exn_rng_seed(9, 0);
    for (size_t i = 0; i < 300; i++) {
        const size_t first = exn_rng_below(&rng, 300);
        values[i] = (exn_interval){exn_rng_below(&rng, 1000000), first, first + exn_rng_below(&rng, 30), 0};
    }
    exn_context *ctx = unit_context();
    exn_arena_plan plan;
    const double start = exn_now();
    unit_assert_ok(ctx, exn_arena_assign(&plan, ctx, values, 300));
    const double seconds = exn_now() - start;
    ck_assert_msg(seconds < 2.0, "%.3f s", seconds);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("arena", (const TTest *const[]){nothing_and_one, lower_bound_is_the_widest_step, bad_intervals,
                                                    memory_may_fail, residual, inception, dense, training,
                                                    random_intervals, same_input_same_offsets, very_many, quick, NULL});
}
