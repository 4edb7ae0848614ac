/* SPDX-License-Identifier: Apache-2.0
 * exeunt run: raw tensors in, logits out. */
#include <stdio.h>
#include <string.h>

#include "tools/engine.h"
#include "tools/npy.h"
#include "tools/report.h"

typedef struct running {
    exn_tool *tool;
    exn_npy *input;
    exn_person person; /* profile NULL: the model alone */
    exn_engine engine;
    size_t batch, samples, classes; /* classes: floats a sample of the result */
    exn_shape result;               /* of one batch */
} running;

static exn_status open_input(running *r, const char *path) {
    EXN_TRY(exn_npy_open(&r->input, r->tool->ctx, path));
    const exn_shape *shape = exn_npy_shape(r->input);
    if (exn_npy_dtype(r->input) != EXN_F32 || shape->rank != 4 || exn_shape_elements(shape) == 0)
        return exn_fail(r->tool->ctx, EXN_E_SHAPE, "%s: must be float32 N,C,H,W with N of at least 1", path);
    r->samples = shape->dim[0];
    return EXN_OK;
}

/* The value to write: --value, else what the network ends with. */
static exn_status find_value(exn_value_id *out, const running *r, const exn_graph *graph) {
    const char *name = exn_args_text(r->tool->args, "value");
    *out = name != NULL ? exn_graph_find(graph, name) : graph->output;
    if (*out != EXN_VALUE_NONE && graph->values[*out].data == NULL && *out != graph->input) return EXN_OK;
    return exn_fail(r->tool->ctx, EXN_E_INVALID, "%s: computes no value '%s' after folding (exeunt plan lists them)",
                    r->person.model->path, name);
}

/* The engine for one batch size: the model, or one exit of the profile. */
static exn_status open_engine(running *r, size_t exit) {
    exn_engine engine = {.ctx = r->tool->ctx};
    const exn_model *model = r->person.model;
    exn_status status;
    exn_value_id value = EXN_VALUE_NONE;
    if (r->person.profile != NULL) {
        status = exn_network_build_single(&engine.network, r->person.profile, r->batch, exit);
        if (status != EXN_OK) return status;
        status =
            exn_engine_plan(&engine.plan, r->tool, engine.network.graph, &model->kernels, engine.network.logits, 1);
    } else {
        status = exn_model_bind(&engine.network.graph, model, r->batch, 0, 0);
        if (status == EXN_OK) status = find_value(&value, r, engine.network.graph);
        if (status == EXN_OK)
            status = exn_engine_plan(&engine.plan, r->tool, engine.network.graph, &model->kernels, &value, 1);
    }
    if (status == EXN_OK) status = exn_exec_create(&engine.exec, r->tool->ctx, engine.plan);
    r->engine = engine;
    if (status != EXN_OK) return status;
    if (value == EXN_VALUE_NONE) value = engine.network.logits[0];
    r->result = engine.network.graph->values[value].shape;
    r->classes = exn_shape_elements(&r->result) / r->batch;
    return EXN_OK;
}

static exn_status open_network(running *r) {
    const char *model_path = r->tool->args->operands[0], *profile = exn_args_text(r->tool->args, "profile");
    if (profile == NULL && exn_args_text(r->tool->args, "exit") != NULL)
        return exn_tool_usage(r->tool, "--exit needs --profile");
    if (profile != NULL && exn_args_text(r->tool->args, "value") != NULL)
        return exn_tool_usage(r->tool, "--value and --profile exclude each other");
    size_t exit = 0;
    if (profile != NULL) {
        EXN_TRY(exn_person_open(&r->person, r->tool, profile, model_path));
        const size_t last = r->person.profile->exit_count - 1;
        exit = last;
        if (!exn_args_count(&exit, r->tool->args, "exit", 0, last)) return EXN_E_INVALID;
    } else {
        const exn_shape *shape = exn_npy_shape(r->input);
        const exn_model_options options = {
            .struct_size = sizeof options, .height = shape->dim[2], .width = shape->dim[3]};
        EXN_TRY(exn_model_open(&r->person.model, r->tool->ctx, model_path, &options));
    }
    const exn_model *model = r->person.model;
    const exn_shape *shape = exn_npy_shape(r->input);
    if (shape->dim[1] != model->channels || shape->dim[2] != model->height || shape->dim[3] != model->width)
        return exn_fail(r->tool->ctx, EXN_E_SHAPE, "%s: samples are %zux%zux%zu, the network takes %zux%zux%zu",
                        r->tool->args->operands[1], shape->dim[1], shape->dim[2], shape->dim[3], model->channels,
                        model->height, model->width);
    return open_engine(r, exit);
}

/* A run leaves maps channels last; files have them as ONNX does. */
static void write_rows(float *rows, const float *memory, const exn_shape *shape) {
    const size_t count = exn_shape_elements(shape);
    if (shape->rank != 4) {
        memcpy(rows, memory, count * sizeof *rows);
        return;
    }
    const size_t c = shape->dim[1], pixels = shape->dim[2] * shape->dim[3];
    for (size_t n = 0; n < shape->dim[0]; n++)
        for (size_t i = 0; i < c * pixels; i++)
            rows[n * c * pixels + i % c * pixels + i / c] = memory[n * c * pixels + i];
}

/* A batch at a time; the last one is filled up with its own first sample, whose further answers are dropped. */
static exn_status run_batches(running *r, exn_npy_writer *output) {
    const exn_model *model = r->person.model;
    const size_t sample = model->channels * model->height * model->width, classes = r->classes;
    float *in = exn_malloc(r->tool->ctx, r->batch * sample, sizeof *in);
    float *logits = exn_malloc(r->tool->ctx, r->batch * classes, sizeof *logits);
    float *rows = exn_malloc(r->tool->ctx, r->batch * classes, sizeof *rows);
    exn_status status = in == NULL || logits == NULL || rows == NULL ? EXN_E_NOMEM : EXN_OK;
    float *sinks[1] = {logits};
    for (size_t first = 0; first < r->samples && status == EXN_OK; first += r->batch) {
        const size_t count = r->samples - first < r->batch ? r->samples - first : r->batch;
        status = exn_npy_read(r->input, in, first * sample, count * sample);
        if (status != EXN_OK) break;
        for (size_t i = count; i < r->batch; i++) memcpy(in + i * sample, in, sample * sizeof *in);
        exn_exec_set_nchw(r->engine.exec, in);
        exn_exec_run(r->engine.exec, sinks);
        write_rows(rows, logits, &r->result);
        status = exn_npy_writer_append(output, rows, count * classes);
    }
    exn_free(r->tool->ctx, rows);
    exn_free(r->tool->ctx, logits);
    exn_free(r->tool->ctx, in);
    return status;
}

static exn_status write_output(running *r, const char *path) {
    exn_shape shape = r->result;
    shape.dim[0] = r->samples;
    exn_npy_writer *output = NULL;
    EXN_TRY(exn_npy_writer_open(&output, r->tool->ctx, path, EXN_F32, &shape));
    const exn_status status = run_batches(r, output);
    if (status != EXN_OK) {
        exn_npy_writer_discard(output);
        return status;
    }
    return exn_npy_writer_commit(output);
}

static exn_status run(exn_tool *tool) {
    const char *path = exn_args_text(tool->args, "output");
    running r = {.tool = tool, .batch = 1};
    if (path == NULL) return exn_tool_usage(tool, "run needs -o OUT.npy");
    if (!exn_args_count(&r.batch, tool->args, "batch", 1, 1024)) return EXN_E_INVALID;
    exn_status status = open_input(&r, tool->args->operands[1]);
    if (status == EXN_OK) status = open_network(&r);
    if (status == EXN_OK) status = write_output(&r, path);
    if (status == EXN_OK && tool->json) {
        json_t *report = exn_report_create("run");
        exn_report_text(report, "output", path);
        exn_report_count(report, "samples", r.samples);
        exn_report_count(report, "classes", r.classes);
        status = exn_report_print(report, tool, false);
    }
    exn_engine_close(&r.engine);
    exn_person_close(&r.person);
    exn_npy_close(r.input);
    return status;
}

static const exn_option options[] = {
    {"output", "OUT.npy", "where the logits go: float32 (N, classes) (needed)", 'o'},
    {"profile", "P", "take the exits of this profile", 0},
    {"exit", "K", "with --profile: the exit to ask (default: the last)", 0},
    {"value", "NAME", "without --profile: write this value instead of the logits, maps as (N,C,H,W)", 0},
    {"batch", "N", "samples computed at once; does not change results (default 1)", 0},
    EXN_ARITHMETIC_OPTIONS,
    EXN_PACKED_OPTION,
    EXN_COMMON_OPTIONS};

const exn_command exn_command_run = {
    .name = "run",
    .operands = "MODEL INPUT.npy",
    .brief = "raw tensors in, logits out",
    .help =
        "Runs a network on a float32 array (N,C,H,W) that is ready for it and writes the logits. With --profile, the\n"
        "logits of one exit.\n\nExample: exeunt run network.onnx input.npy -o logits.npy",
    .least = 2,
    .most = 2,
    .options = options,
    .run = run};
