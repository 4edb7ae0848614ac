/* SPDX-License-Identifier: Apache-2.0
 * Timing the plan of a network without exits, step by step. */
#include "train/place.h"

#include "graph/plan.h"
#include "graph/run.h"

#include <math.h>
#include <string.h>

#define REPEATS 12u

/* A step carries the name of the node whose value it completes. */
static void share_out(double *cost, const exn_model *model, const exn_graph *graph, const exn_plan *plan,
                      const double *seconds) {
    double total = 0, passed = 0;
    const size_t steps = exn_plan_step_count(plan);
    for (size_t s = 0; s < steps; s++) total += seconds[s];
    for (size_t i = 0; i < model->tap_count; i++) cost[i] = NAN;
    for (size_t s = 0; s < steps; s++) {
        const exn_plan_step step = exn_plan_get_step(plan, s);
        passed += seconds[s];
        for (size_t i = 0; i < model->tap_count; i++) {
            const exn_value_id value = exn_graph_find(graph, model->taps[i].name);
            const uint32_t producer = value == EXN_VALUE_NONE ? UINT32_MAX : graph->values[value].producer;
            if (producer != UINT32_MAX && !strcmp(graph->nodes[producer].name, step.name)) cost[i] = passed / total;
        }
    }
}

static exn_status measure(double *cost, const exn_model *model, const exn_graph *graph) {
    exn_context *ctx = model->ctx;
    const exn_plan_options options = {.kernels = &model->kernels,
                                      .threads = exn_context_threads(ctx),
                                      .arithmetic = EXN_EXACT,
                                      .outputs = &graph->output,
                                      .output_count = 1};
    exn_plan *plan;
    exn_exec *exec = NULL;
    EXN_TRY(exn_plan_create(&plan, graph, &options));
    exn_status status = exn_exec_create(&exec, ctx, plan);
    double *seconds = exn_calloc(ctx, exn_plan_step_count(plan), sizeof *seconds);
    if (status == EXN_OK && !seconds) status = EXN_E_NOMEM;
    if (status == EXN_OK) {
        const exn_shape shape = exn_plan_input_shape(plan);
        memset(exn_exec_input(exec), 0, exn_shape_elements(&shape) * sizeof(float));
        exn_exec_profile(exec, REPEATS, seconds);
        share_out(cost, model, graph, plan, seconds);
    }
    exn_free(ctx, seconds);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return status;
}

exn_status exn_place_measure(double *cost, const exn_model *model) {
    exn_graph *graph;
    EXN_TRY(exn_model_bind(&graph, model, 1, 0, 0));
    const exn_status status = measure(cost, model, graph);
    exn_graph_destroy(graph);
    return status;
}
