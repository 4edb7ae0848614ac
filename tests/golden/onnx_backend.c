/* SPDX-License-Identifier: Apache-2.0
 * Runs networks for onnx_backend.py: a line "MODEL VALUE INPUT" on standard input, where INPUT holds raw floats, answers with a
 * line "ok SHAPE" and the raw floats of the output in MODEL.out, or with "STATUS MESSAGE". SHAPE is the value's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/model.h"
#include "graph/run.h"

enum { LINE_BYTES = 4096 };

static exn_status read_floats(float **out, exn_context *ctx, const char *path, size_t count) {
    exn_mapping file;
    EXN_TRY(exn_mapping_open(&file, ctx, path));
    float *values = exn_malloc(ctx, count, sizeof *values);
    if (values != NULL && file.size == count * sizeof *values) memcpy(values, file.bytes, file.size);
    exn_mapping_close(&file);
    *out = values;
    return values == NULL ? EXN_E_NOMEM : EXN_OK;
}

static exn_status write_floats(exn_context *ctx, const char *model, const float *values, size_t count) {
    char path[LINE_BYTES + 8];
    snprintf(path, sizeof path, "%s.out", model);
    FILE *file = fopen(path, "wb");
    if (file == NULL) return exn_fail(ctx, EXN_E_IO, "%s: cannot be written", path);
    const size_t done = fwrite(values, sizeof *values, count, file);
    return fclose(file) == 0 && done == count ? EXN_OK : exn_fail(ctx, EXN_E_IO, "%s: cannot be written", path);
}

static exn_status compute(const exn_model *model, const char *path, const char *input_path) {
    exn_context *ctx = model->ctx;
    exn_plan *plan;
    exn_exec *exec = NULL;
    float *input = NULL;
    const exn_plan_options options = {
        .kernels = &model->kernels, .threads = 1, .outputs = &model->graph->output, .output_count = 1};
    EXN_TRY(exn_plan_create(&plan, model->graph, &options));
    const size_t count = model->channels * model->height * model->width;
    float *sink = exn_calloc(ctx, model->classes, sizeof *sink);
    exn_status status = sink == NULL ? EXN_E_NOMEM : exn_exec_create(&exec, ctx, plan);
    if (status == EXN_OK) status = read_floats(&input, ctx, input_path, count);
    if (status == EXN_OK) {
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &sink);
        status = write_floats(ctx, path, sink, model->classes);
    }
    exn_free(ctx, input);
    exn_free(ctx, sink);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return status;
}

/* The shape that inference gives a value, "-" where binding replaced it. */
static exn_status shape_of(char text[EXN_SHAPE_TEXT_BYTES], const exn_model *model, const char *name) {
    exn_graph *graph;
    EXN_TRY(exn_graph_bind(&graph, model->source, 1, model->height, model->width));
    const exn_value_id id = exn_graph_find(graph, name);
    strcpy(text, "-");
    if (id != EXN_VALUE_NONE) exn_shape_text(text, &graph->values[id].shape);
    exn_graph_destroy(graph);
    return EXN_OK;
}

static void answer(char *line) {
    exn_context *ctx;
    exn_model *model = NULL;
    char text[EXN_SHAPE_TEXT_BYTES];
    const char *path = strtok(line, " \n"), *value = strtok(NULL, " \n"), *input = strtok(NULL, " \n");
    if (input == NULL || exn_context_create(&ctx, NULL) != EXN_OK) exit(EXIT_FAILURE);
    exn_status status = exn_model_open(&model, ctx, path, NULL);
    if (status == EXN_OK) status = shape_of(text, model, value);
    if (status == EXN_OK) status = compute(model, path, input);
    if (status == EXN_OK)
        printf("ok %s\n", text);
    else
        printf("%d %s\n", (int)status, exn_context_error(ctx));
    fflush(stdout);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}

int main(void) {
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, stdin) != NULL) answer(line);
    return EXIT_SUCCESS;
}
