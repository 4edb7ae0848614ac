/* SPDX-License-Identifier: Apache-2.0
 * Plans against the oracle. */
#include "tests/unit/check_graph.h"

#include "arch/cpu.h"
#include "arch/select.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

exn_plan *check_plan(const exn_graph *graph, const char *set, size_t threads, const exn_value_id *outputs,
                     size_t output_count) {
    exn_kernel_set kernels;
    unit_assert_ok(graph->ctx, exn_kernels_select(&kernels, graph->ctx, exn_cpu_detect(), set));
    const exn_plan_options options = {
        .kernels = &kernels, .threads = threads, .outputs = outputs, .output_count = output_count};
    exn_plan *plan;
    unit_assert_ok(graph->ctx, exn_plan_create(&plan, graph, &options));
    return plan;
}

size_t check_fused_sets(const char *names[8]) {
    size_t compiled, count = 0;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&compiled);
    const uint32_t cpu = exn_cpu_detect();
    for (size_t i = 0; i < compiled && count < 8; i++)
        if (sets[i]->fused && (sets[i]->needs & ~cpu) == 0) names[count++] = sets[i]->name;
    return count;
}

float *check_input(const exn_graph *graph, uint64_t seed) {
    const size_t count = exn_shape_elements(&graph->values[graph->input].shape);
    float *input = malloc((count + 1) * sizeof *input);
    ck_assert_ptr_nonnull(input);
    exn_rng rng = exn_rng_seed(seed, 7);
    for (size_t i = 0; i < count; i++) input[i] = 2.0f * exn_rng_uniform(&rng) - 1.0f;
    return input;
}

/* The graph's output; free() it. */
static float *run_once(const exn_graph *graph, const char *set, size_t threads, const float *input) {
    exn_plan *plan = check_plan(graph, set, threads, &graph->output, 1);
    float *out = malloc((exn_shape_elements(&graph->values[graph->output].shape) + 1) * sizeof *out);
    exn_exec *exec;
    unit_assert_ok(graph->ctx, exn_exec_create(&exec, graph->ctx, plan));
    for (size_t again = 0; again < 2; again++) { /* the second run finds the first one's leavings */
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &out);
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return out;
}

void check_graph(const exn_graph *graph, double tolerance) {
    const size_t count = exn_shape_elements(&graph->values[graph->output].shape);
    float *input = check_input(graph, 1), *first = NULL;
    reference oracle;
    reference_run(&oracle, graph, input);
    float *expected = reference_memory_order(&oracle, graph->output);
    float *plain = run_once(graph, "scalar", 1, input);
    unit_assert_near(plain, expected, count, tolerance, tolerance);
    const char *sets[8];
    const size_t set_count = check_fused_sets(sets);
    for (size_t s = 0; s < set_count; s++)
        for (size_t threads = 1; threads <= 4; threads++) {
            float *out = run_once(graph, sets[s], threads, input);
            unit_assert_near(out, expected, count, tolerance, tolerance);
            if (first) unit_assert_same_bits(out, first, count);
            if (first)
                free(out);
            else
                first = out;
        }
    free(first);
    free(plain);
    free(expected);
    free(input);
    reference_free(&oracle);
}
