/* SPDX-License-Identifier: Apache-2.0
 * Blocks in strips: the bits of three separate convolutions, for every kind of block, batch and number of threads. */
#include "graph/step.h"
#include "tests/unit/check_graph.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define NONE EXN_VALUE_NONE

typedef struct block {
    size_t batch, c, size, first_k, first_stride, wide, k, stride, oc;
    bool first, residual;
} block;

static const block blocks[] = {
    {1, 16, 57, 1, 1, 96, 3, 2, 24, true, false},  {2, 24, 40, 1, 1, 120, 3, 1, 24, true, true},
    {1, 24, 41, 1, 1, 160, 5, 2, 40, true, false}, {1, 24, 37, 1, 1, 192, 5, 1, 24, true, true},
    {1, 3, 90, 3, 2, 96, 3, 1, 16, true, false},   {3, 96, 60, 0, 0, 96, 3, 1, 16, false, false},
    {1, 64, 91, 0, 0, 64, 5, 2, 64, false, false},
};

/* A convolution makes the block's input, so that the arena's rules apply to it as well. */
static exn_graph *make_graph(exn_context *ctx, const block *b) {
    exn_rng rng = exn_rng_seed(b->wide, b->k);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(b->batch, 3, b->size, b->size));
    const exn_value_id input = build_conv(graph, &rng, graph->input, b->c, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    exn_value_id x = input;
    if (b->first) x = build_conv(graph, &rng, x, b->wide, b->first_k, b->first_stride, 1, EXN_ACT_HARD_SWISH, NONE);
    x = build_conv(graph, &rng, x, b->wide, b->k, b->stride, b->wide, EXN_ACT_CLAMP, NONE);
    build_conv(graph, &rng, x, b->oc, 1, 1, 1, b->residual ? EXN_ACT_CLAMP : EXN_ACT_NONE, b->residual ? input : NONE);
    return graph;
}

static exn_plan *make_plan(const exn_graph *graph, const exn_kernel_set *set, size_t threads, bool separate) {
    const exn_plan_options options = {
        .kernels = set, .threads = threads, .separate = separate, .outputs = &graph->output, .output_count = 1};
    exn_plan *plan;
    unit_assert_ok(graph->ctx, exn_plan_create(&plan, graph, &options));
    return plan;
}

static float *run_plan(const exn_graph *graph, const exn_plan *plan, const float *input) {
    float *out = malloc(exn_shape_elements(&graph->values[graph->output].shape) * sizeof *out);
    exn_exec *exec;
    unit_assert_ok(graph->ctx, exn_exec_create(&exec, graph->ctx, plan));
    exn_exec_set_nchw(exec, input);
    exn_exec_run(exec, &out);
    exn_exec_destroy(exec);
    return out;
}

/* The graph's plan has strips, takes less memory than separate steps do, and gives their bits. */
static void check_strips(const exn_graph *graph, uint64_t seed) {
    const char *sets[8];
    const size_t set_count = check_fused_sets(sets), count = exn_shape_elements(&graph->values[graph->output].shape);
    float *input = check_input(graph, seed);
    for (size_t s = 0; s < set_count; s++) {
        exn_plan *plain = check_plan(graph, sets[s], 1, &graph->output, 1);
        exn_plan *separate = make_plan(graph, &plain->kernels, 1, true);
        ck_assert_uint_lt(plain->step_count, separate->step_count);
        ck_assert_uint_lt(plain->arena.bytes, separate->arena.bytes);
        ck_assert_uint_eq(exn_plan_output_macs(plain, 0), exn_plan_output_macs(separate, 0));
        float *expected = run_plan(graph, separate, input);
        for (size_t threads = 1; threads <= (unit_emulated() ? 2 : 4); threads++) {
            exn_plan *plan = make_plan(graph, &plain->kernels, threads, false);
            float *out = run_plan(graph, plan, input);
            unit_assert_same_bits(out, expected, count);
            free(out);
            exn_plan_destroy(plan);
        }
        free(expected);
        exn_plan_destroy(plain);
        exn_plan_destroy(separate);
    }
    free(input);
}

START_TEST(strips_give_the_bits_of_separate_steps) {
    exn_context *ctx = unit_context();
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        exn_graph *graph = make_graph(ctx, &blocks[i]);
        check_strips(graph, i);
        exn_graph_destroy(graph);
    }
    exn_context_destroy(ctx);
}
END_TEST

typedef struct pooled {
    size_t batch, size, oc, k, stride;             /* a convolution of 3 channels */
    size_t window, apart, dilation, before, after; /* a max pooling of its result */
} pooled;

static exn_graph *make_pooled(exn_context *ctx, const pooled *p) {
    exn_rng rng = exn_rng_seed(p->oc, p->window);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(p->batch, 3, p->size, p->size));
    const exn_value_id input = build_conv(graph, &rng, graph->input, 3, 1, 1, 1, EXN_ACT_NONE, NONE);
    const exn_value_id x = build_conv(graph, &rng, input, p->oc, p->k, p->stride, 1, EXN_ACT_SILU, NONE);
    exn_attrs attrs = exn_attrs_default();
    for (size_t i = 0; i < 2; i++) {
        attrs.kernel[i] = p->window, attrs.stride[i] = p->apart, attrs.dilation[i] = p->dilation;
        attrs.pad[i] = p->before, attrs.pad[i + 2] = p->after;
    }
    const size_t size = graph->values[x].shape.dim[2], reach = (p->window - 1) * p->dilation + 1;
    const size_t pools = (size + p->before + p->after - reach) / p->apart + 1;
    build_node(graph, EXN_OP_MaxPool, NULL, &x, 1, &attrs, BUILD_DIMS(p->batch, p->oc, pools, pools));
    return graph;
}

START_TEST(pooled_convolutions_give_the_bits_of_separate_steps) {
    static const pooled cases[] = {{1, 113, 96, 7, 2, 3, 2, 1, 1, 1},
                                   {2, 75, 57, 3, 1, 3, 2, 1, 0, 1},
                                   {1, 70, 65, 1, 1, 2, 2, 1, 0, 0},
                                   {1, 61, 80, 5, 1, 3, 1, 2, 2, 2},
                                   {1, 66, 64, 3, 1, 2, 3, 1, 1, 0}};
    exn_context *ctx = unit_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exn_graph *graph = make_pooled(ctx, &cases[i]);
        check_strips(graph, i);
        exn_graph_destroy(graph);
    }
    exn_context_destroy(ctx);
}
END_TEST

/* Strips convolve directly; Winograd is worth more. */
START_TEST(fast_arithmetic_comes_before_pooling_in_strips) {
    static const pooled wide = {1, 75, 64, 3, 1, 1, 1, 1, 0, 0};
    exn_context *ctx = unit_context();
    exn_graph *graph = make_pooled(ctx, &wide);
    exn_rng rng = exn_rng_seed(5, 5);
    const exn_value_id x = build_conv(graph, &rng, graph->output, 80, 3, 1, 1, EXN_ACT_NONE, NONE);
    exn_attrs attrs = exn_attrs_default();
    for (size_t i = 0; i < 2; i++) attrs.kernel[i] = attrs.stride[i] = 1, attrs.dilation[i] = 1;
    build_node(graph, EXN_OP_MaxPool, NULL, &x, 1, &attrs, BUILD_DIMS(1, 80, 75, 75));
    exn_plan *exact = check_plan(graph, NULL, 1, &graph->output, 1);
    const exn_plan_options options = {
        .kernels = &exact->kernels, .threads = 1, .arithmetic = EXN_FAST, .outputs = &graph->output, .output_count = 1};
    exn_plan *fast;
    unit_assert_ok(ctx, exn_plan_create(&fast, graph, &options));
    const exn_plan_step last = exn_plan_get_step(fast, exn_plan_step_count(fast) - 2);
    ck_assert_ptr_nonnull(strstr(last.algorithm, "winograd"));
    exn_plan_destroy(exact);
    exn_plan_destroy(fast);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

/* A tap between the stages, or a second reader, keeps them apart. */
START_TEST(a_value_that_others_read_is_kept_whole) {
    exn_context *ctx = unit_context();
    exn_graph *graph = make_graph(ctx, &blocks[0]);
    const exn_value_id wide = graph->nodes[1].outputs[0];
    const exn_value_id outputs[2] = {wide, graph->output};
    exn_plan *plan = check_plan(graph, NULL, 1, outputs, 2);
    ck_assert_uint_eq(plan->step_count, 4);
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(small_maps_and_heavy_weights_stay_separate) {
    exn_context *ctx = unit_context();
    const block small = {1, 16, 14, 1, 1, 96, 3, 1, 16, true, false};
    const block heavy = {1, 64, 28, 1, 1, 1152, 3, 1, 64, true, false};
    const block *cases[2] = {&small, &heavy};
    for (size_t i = 0; i < 2; i++) {
        exn_graph *graph = make_graph(ctx, cases[i]);
        exn_plan *plan = check_plan(graph, NULL, 1, &graph->output, 1);
        for (size_t s = 0; s < plan->step_count; s++) ck_assert_ptr_null(strstr(plan->steps[s].algorithm, "strips"));
        exn_plan_destroy(plan);
        exn_graph_destroy(graph);
    }
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("strips", (const TTest *[]){strips_give_the_bits_of_separate_steps,
                                                pooled_convolutions_give_the_bits_of_separate_steps,
                                                fast_arithmetic_comes_before_pooling_in_strips,
                                                a_value_that_others_read_is_kept_whole,
                                                small_maps_and_heavy_weights_stay_separate, NULL});
}
