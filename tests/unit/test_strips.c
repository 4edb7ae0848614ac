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

START_TEST(strips_give_the_bits_of_separate_steps) {
    exn_context *ctx = unit_context();
    const char *sets[8];
    const size_t set_count = check_fused_sets(sets);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        exn_graph *graph = make_graph(ctx, &blocks[i]);
        const size_t count = exn_shape_elements(&graph->values[graph->output].shape);
        float *input = check_input(graph, i);
        for (size_t s = 0; s < set_count; s++) {
            exn_plan *plain = check_plan(graph, sets[s], 1, &graph->output, 1);
            exn_plan *separate = make_plan(graph, &plain->kernels, 1, true);
            ck_assert_uint_lt(plain->step_count, separate->step_count);
            ck_assert_uint_lt(plain->arena.bytes, separate->arena.bytes);
            ck_assert_uint_eq(exn_plan_output_macs(plain, 0), exn_plan_output_macs(separate, 0));
            float *expected = run_plan(graph, separate, input);
            for (size_t threads = 1; threads <= 4; threads++) {
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
        exn_graph_destroy(graph);
    }
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
    return unit_run("strips",
                    (const TTest *[]){strips_give_the_bits_of_separate_steps, a_value_that_others_read_is_kept_whole,
                                      small_maps_and_heavy_weights_stay_separate, NULL});
}
