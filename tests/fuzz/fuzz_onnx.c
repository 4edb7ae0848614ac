/* SPDX-License-Identifier: Apache-2.0
 * A network from its file to answers: import, plan, run, attach exits. */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "graph/run.h"

/* What is larger is planned, not run: minutes of honest work are no finding. */
enum { SIDE = 12, MACS_MAX = 1 << 20, ARENA_MAX = 1 << 20, STEPS_MAX = 512 };

static exn_status run_plan(float *out, const exn_model *model, const exn_plan *plan) {
    exn_context *ctx = model->ctx;
    const exn_shape shape = exn_plan_input_shape(plan);
    const size_t count = exn_shape_elements(&shape);
    if (model->macs > MACS_MAX || exn_plan_arena(plan).bytes > ARENA_MAX || exn_plan_step_count(plan) > STEPS_MAX)
        return EXN_E_UNSUPPORTED;
    exn_exec *exec;
    EXN_TRY(exn_exec_create(&exec, ctx, plan));
    float *input = exn_malloc(ctx, count, sizeof *input);
    if (input != NULL) {
        fuzz_input(input, count);
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &out);
    }
    exn_free(ctx, input);
    exn_exec_destroy(exec);
    return input != NULL ? EXN_OK : EXN_E_NOMEM;
}

/* *out: what the graph answers, planned in this way, for exn_free; NULL where it is too large to run. */
static void answer(float **out, const exn_model *model, const exn_graph *graph, exn_plan_options options) {
    exn_context *ctx = model->ctx;
    exn_plan *plan;
    options.kernels = &model->kernels;
    options.threads = 1;
    options.outputs = &graph->output;
    options.output_count = 1;
    *out = NULL;
    if (exn_plan_create(&plan, graph, &options) != EXN_OK) return;
    float *answers = exn_calloc(ctx, exn_shape_elements(&graph->values[graph->output].shape), sizeof *answers);
    if (answers != NULL && run_plan(answers, model, plan) == EXN_OK)
        *out = answers;
    else
        exn_free(ctx, answers);
    exn_plan_destroy(plan);
}

/* Where both are there, they are the same; NaNs may differ in their bits. Frees `other`. */
static void expect(const float *answers, float *other, size_t count, exn_context *ctx) {
    for (size_t i = 0; i < count && other != NULL; i++)
        fuzz_assert(memcmp(&answers[i], &other[i], sizeof *other) == 0 || (isnan(answers[i]) && isnan(other[i])));
    exn_free(ctx, other);
}

/* Every layer alone computes what fused blocks compute, and a batch for its first sample what that gets alone. Fast arithmetic,
 * which promises no bits, must get through. */
static void run_ways(const exn_model *model) {
    exn_context *ctx = model->ctx;
    float *fused, *other;
    exn_graph *pair;
    const size_t count = exn_shape_elements(&model->graph->values[model->graph->output].shape);
    answer(&fused, model, model->graph, (exn_plan_options){0});
    if (fused == NULL) return;
    answer(&other, model, model->graph, (exn_plan_options){.separate = true});
    expect(fused, other, count, ctx);
    answer(&other, model, model->graph, (exn_plan_options){.arithmetic = EXN_FAST});
    exn_free(ctx, other);
    if (exn_model_bind(&pair, model, 2, 0, 0) == EXN_OK) {
        answer(&other, model, pair, (exn_plan_options){0});
        expect(fused, other, count, ctx);
        exn_graph_destroy(pair);
    }
    exn_free(ctx, fused);
}

/* Two exits and an answer, for what is small enough to run. */
static void attach(const exn_model *model) {
    exn_profile *profile;
    exn_runner *runner;
    exn_answer said = {.struct_size = sizeof said};
    const exn_profile_options options = {.struct_size = sizeof options, .exits = 2, .head = EXN_HEAD_LINEAR};
    const size_t count = model->channels * model->height * model->width;
    if (model->macs > MACS_MAX || count > ARENA_MAX || model->tap_count == 0) return;
    if (exn_profile_create(&profile, model, &options) != EXN_OK) return;
    float *input = exn_malloc(model->ctx, count, sizeof *input);
    if (input != NULL && exn_runner_create(&runner, profile, NULL) == EXN_OK) {
        fuzz_input(input, count);
        if (exn_runner_classify_tensor(runner, input, &said) == EXN_OK) fuzz_assert(said.label < model->classes);
        exn_runner_destroy(runner);
    }
    exn_free(model->ctx, input);
    exn_profile_destroy(profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    const exn_model_options small = {.struct_size = sizeof small, .height = SIDE, .width = SIDE};
    const char *path = fuzz_file(0, "network.onnx", bytes, size);
    exn_model *model;
    exn_status status = exn_model_open(&model, ctx, path, &small);
    if (status == EXN_E_SHAPE) status = exn_model_open(&model, ctx, path, NULL); /* the file fixes another size */
    if (status == EXN_OK) {
        run_ways(model);
        attach(model);
        exn_model_destroy(model);
    } else {
        fuzz_assert(exn_context_error(ctx)[0] != '\0');
    }
    fuzz_assert_live(live);
    return 0;
}
