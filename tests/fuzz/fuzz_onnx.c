/* SPDX-License-Identifier: Apache-2.0
 * A network from its file to answers: import, plan, run. What is small enough to run must give the same bits however it
 * is planned, and survive having exits attached. */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "graph/run.h"

/* What is larger is planned, not run: minutes of honest work are no finding. */
enum { SIDE = 12, MACS_MAX = 1 << 22, ARENA_MAX = 1 << 22, STEPS_MAX = 512 };

static exn_status run_plan(float **out, const exn_model *model, const exn_graph *graph, exn_plan_options options) {
    exn_context *ctx = model->ctx;
    exn_plan *plan;
    exn_exec *exec = NULL;
    options.kernels = &model->kernels;
    options.threads = 1;
    options.outputs = &graph->output;
    options.output_count = 1;
    EXN_TRY(exn_plan_create(&plan, graph, &options));
    const exn_shape shape = exn_plan_input_shape(plan);
    const size_t count = exn_shape_elements(&shape), answers = exn_shape_elements(&graph->values[graph->output].shape);
    float *input = NULL, *sink = NULL;
    exn_status status = EXN_E_UNSUPPORTED;
    if (model->macs <= MACS_MAX && exn_plan_arena(plan).bytes <= ARENA_MAX && exn_plan_step_count(plan) <= STEPS_MAX)
        status = exn_exec_create(&exec, ctx, plan);
    if (status == EXN_OK) {
        input = exn_malloc(ctx, count, sizeof *input);
        sink = exn_calloc(ctx, answers, sizeof *sink);
        if (input == NULL || sink == NULL) status = EXN_E_NOMEM;
    }
    if (status == EXN_OK) {
        for (size_t i = 0; i < count; i++) input[i] = (float)(i * 7919 % 257) / 64.0f - 2.0f;
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &sink);
        *out = sink;
    } else {
        exn_free(ctx, sink);
    }
    exn_free(ctx, input);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return status;
}

static void assert_same(const float *a, const float *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        fuzz_assert(memcmp(&a[i], &b[i], sizeof a[i]) == 0 || (isnan(a[i]) && isnan(b[i])));
}

/* Every layer alone computes what fused blocks compute, and a batch what its samples do. */
static void run_ways(const exn_model *model) {
    exn_context *ctx = model->ctx;
    float *plain = NULL, *other = NULL;
    exn_graph *pair = NULL;
    const size_t answers = exn_shape_elements(&model->graph->values[model->graph->output].shape);
    if (run_plan(&plain, model, model->graph, (exn_plan_options){0}) != EXN_OK) return;
    if (run_plan(&other, model, model->graph, (exn_plan_options){.separate = true}) == EXN_OK)
        assert_same(plain, other, answers);
    exn_free(ctx, other);
    other = NULL;
    run_plan(&other, model, model->graph, (exn_plan_options){.arithmetic = EXN_FAST});
    exn_free(ctx, other);
    other = NULL;
    if (exn_model_bind(&pair, model, 2, 0, 0) == EXN_OK) {
        run_plan(&other, model, pair, (exn_plan_options){0});
        exn_free(ctx, other);
        exn_graph_destroy(pair);
    }
    exn_free(ctx, plain);
}

static void attach(const exn_model *model) {
    exn_profile *profile = NULL;
    exn_runner *runner = NULL;
    const exn_profile_options options = {.struct_size = sizeof options, .exits = 2, .head = EXN_HEAD_LINEAR};
    if (exn_profile_create(&profile, model, &options) != EXN_OK) return;
    if (exn_runner_create(&runner, profile, NULL) == EXN_OK) {
        const size_t count = model->channels * model->height * model->width;
        float *input = calloc(count, sizeof *input);
        exn_answer answer = {.struct_size = sizeof answer};
        fuzz_assert(input != NULL);
        if (exn_runner_classify_tensor(runner, input, &answer) == EXN_OK) fuzz_assert(answer.label < model->classes);
        free(input);
    }
    exn_runner_destroy(runner);
    exn_profile_destroy(profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    const exn_model_options options = {.struct_size = sizeof options, .height = SIDE, .width = SIDE};
    exn_model *model = NULL;
    if (exn_model_open(&model, ctx, fuzz_file(0, "network.onnx", bytes, size), &options) == EXN_OK) {
        const size_t count = model->channels * model->height * model->width;
        run_ways(model);
        if (model->macs <= MACS_MAX && count <= ARENA_MAX && model->tap_count > 0) attach(model);
        exn_model_destroy(model);
    } else {
        fuzz_assert(exn_context_error(ctx)[0] != '\0');
    }
    fuzz_assert_live(live);
    return 0;
}
