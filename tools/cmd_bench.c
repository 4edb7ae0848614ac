/* SPDX-License-Identifier: Apache-2.0
 * exeunt bench: milliseconds, rate and memory of one network at batch 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "tools/engine.h"
#include "tools/peak.h"
#include "tools/report.h"

enum { LEAST_RUNS = 20 };

typedef struct benched {
    exn_model *model;
    exn_plan *plan;
    exn_exec *exec;
    double *ms; /* of every run, sorted */
    size_t runs;
    double load_ms, first_ms, peak_gflops, gflops;
    double opened_mb, planned_mb, run_mb; /* resident after each step */
    uint64_t macs;
    double *layer_seconds;
} benched;

static void release(benched *b, exn_tool *tool) {
    exn_free(tool->ctx, b->layer_seconds);
    exn_free(tool->ctx, b->ms);
    exn_exec_destroy(b->exec);
    exn_plan_destroy(b->plan);
    exn_model_destroy(b->model);
}

/* First result of the node of this name, NONE if there is no such node. */
static exn_value_id node_result(const exn_graph *graph, const char *name) {
    for (size_t i = 0; i < graph->node_count; i++)
        if (strcmp(graph->nodes[i].name, name) == 0) return graph->nodes[i].outputs[0];
    return EXN_VALUE_NONE;
}

/* The value to end at: a value's own name, or a node's, whose first result is meant. A node that folding merged into the one
 * before it gave that one its result. */
static exn_status find_cut(exn_value_id *out, const exn_tool *tool, const exn_model *model, const char *name) {
    exn_value_id value = exn_graph_find(model->graph, name);
    if (value == EXN_VALUE_NONE) value = node_result(model->graph, name);
    if (value == EXN_VALUE_NONE) {
        const exn_value_id merged = node_result(model->source, name);
        if (merged != EXN_VALUE_NONE) value = exn_graph_find(model->graph, model->source->values[merged].name);
    }
    if (value == EXN_VALUE_NONE || model->graph->values[value].data != NULL || value == model->graph->input)
        return exn_fail(tool->ctx, EXN_E_INVALID,
                        "%s: computes no value or node '%s' after folding (exeunt plan lists them)", model->path, name);
    *out = value;
    return EXN_OK;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void fill_input(benched *b) {
    const exn_shape shape = exn_plan_input_shape(b->plan);
    const size_t count = exn_shape_elements(&shape);
    float *input = exn_exec_input(b->exec);
    exn_rng rng = exn_rng_seed(1, 0);
    for (size_t i = 0; i < count; i++) input[i] = exn_rng_uniform(&rng) * 2.0f - 1.0f;
}

static double run_once(benched *b) {
    fill_input(b);
    const double begin = exn_now();
    exn_exec_run(b->exec, NULL);
    return (exn_now() - begin) * 1e3;
}

static exn_status time_runs(benched *b, exn_tool *tool, double seconds) {
    size_t capacity = 0;
    b->first_ms = run_once(b);
    b->run_mb = exn_report_rss_mb();
    const double begin = exn_now();
    while (b->runs < LEAST_RUNS || exn_now() - begin < seconds) {
        EXN_TRY(exn_grow(tool->ctx, (void **)&b->ms, &capacity, b->runs + 1, sizeof *b->ms));
        b->ms[b->runs++] = run_once(b);
    }
    qsort(b->ms, b->runs, sizeof *b->ms, compare_doubles);
    return EXN_OK;
}

/* The median of separate passes, step by step. */
static exn_status time_layers(benched *b, exn_tool *tool) {
    const size_t steps = exn_plan_step_count(b->plan);
    b->layer_seconds = exn_calloc(tool->ctx, steps, sizeof *b->layer_seconds);
    double *passes = exn_calloc(tool->ctx, steps * LEAST_RUNS, sizeof *passes);
    if (b->layer_seconds == NULL || passes == NULL) {
        exn_free(tool->ctx, passes);
        return EXN_E_NOMEM;
    }
    for (size_t pass = 0; pass < LEAST_RUNS; pass++) exn_exec_profile(b->exec, 1, passes + pass * steps);
    for (size_t i = 0; i < steps; i++) {
        double column[LEAST_RUNS];
        for (size_t pass = 0; pass < LEAST_RUNS; pass++) column[pass] = passes[pass * steps + i];
        qsort(column, LEAST_RUNS, sizeof *column, compare_doubles);
        b->layer_seconds[i] = column[LEAST_RUNS / 2];
    }
    exn_free(tool->ctx, passes);
    return EXN_OK;
}

/* From the file to a plan with its memory: what a program waits for before its first run. */
static exn_status load(benched *b, exn_tool *tool, const exn_model_options *size) {
    const double begin = exn_now();
    EXN_TRY(exn_model_open(&b->model, tool->ctx, tool->args->operands[0], size));
    b->opened_mb = exn_report_rss_mb();
    const exn_model *model = b->model;
    exn_value_id output = model->graph->output;
    const char *cut = exn_args_text(tool->args, "cut");
    if (cut != NULL) EXN_TRY(find_cut(&output, tool, model, cut));
    EXN_TRY(exn_engine_plan(&b->plan, tool, model->graph, &model->kernels, &output, 1));
    EXN_TRY(exn_exec_create(&b->exec, tool->ctx, b->plan));
    b->load_ms = (exn_now() - begin) * 1e3;
    b->planned_mb = exn_report_rss_mb();
    return EXN_OK;
}

static exn_status measure(benched *b, exn_tool *tool, double seconds) {
    const exn_model *model = b->model;
    EXN_TRY(time_runs(b, tool, seconds));
    EXN_TRY(exn_peak_gflops(&b->peak_gflops, tool->ctx, &model->kernels));
    b->macs = exn_plan_output_macs(b->plan, 0);
    b->gflops = 2e-6 * (double)b->macs / b->ms[b->runs / 2];
    return exn_args_text(tool->args, "layers") != NULL ? time_layers(b, tool) : EXN_OK;
}

static double layer_peak_fraction(const benched *b, size_t threads, size_t step) {
    const double macs = (double)exn_plan_get_step(b->plan, step).macs;
    return b->layer_seconds[step] > 0.0 ? 2e-9 * macs / b->layer_seconds[step] / (b->peak_gflops * (double)threads)
                                        : 0.0;
}

static json_t *layers_report(const benched *b, size_t threads) {
    json_t *list = json_array();
    for (size_t i = 0; i < exn_plan_step_count(b->plan); i++) {
        const exn_plan_step step = exn_plan_get_step(b->plan, i);
        json_t *object = json_object();
        exn_report_text(object, "name", step.name);
        exn_report_text(object, "op", step.op);
        exn_report_text(object, "algorithm", step.algorithm);
        exn_report_count(object, "macs", step.macs);
        exn_report_real(object, "median_us", b->layer_seconds[i] * 1e6);
        exn_report_real(object, "peak_fraction", layer_peak_fraction(b, threads, i));
        json_array_append_new(list, object);
    }
    return list;
}

static const char *arithmetic_of(const exn_tool *tool) {
    const char *wish = exn_args_text(tool->args, "arithmetic");
    return wish != NULL ? wish : "exact";
}

static exn_status print_json(exn_tool *tool, const benched *b) {
    const exn_arena_plan arena = exn_plan_arena(b->plan);
    json_t *report = exn_report_create("bench");
    exn_report_text(report, "model", b->model->path);
    exn_report_count(report, "threads", tool->threads);
    exn_report_text(report, "isa", b->model->kernels.name);
    const char *cut = exn_args_text(tool->args, "cut");
    if (cut != NULL) exn_report_text(report, "cut", cut);
    exn_report_text(report, "arithmetic", arithmetic_of(tool));
    exn_report_count(report, "runs", b->runs);
    exn_report_real(report, "min_ms", b->ms[0]);
    exn_report_real(report, "median_ms", b->ms[b->runs / 2]);
    exn_report_real(report, "first_ms", b->first_ms);
    exn_report_real(report, "load_ms", b->load_ms);
    exn_report_real(report, "peak_rss_mb", exn_report_peak_rss_mb());
    json_t *resident = json_object();
    exn_report_real(resident, "opened", b->opened_mb);
    exn_report_real(resident, "planned", b->planned_mb);
    exn_report_real(resident, "run", b->run_mb);
    json_object_set_new(report, "rss_mb", resident);
    exn_report_count(report, "macs", b->macs);
    exn_report_real(report, "gflops", b->gflops);
    exn_report_real(report, "peak_gflops", b->peak_gflops * (double)tool->threads);
    exn_report_real(report, "peak_fraction", b->gflops / (b->peak_gflops * (double)tool->threads));
    exn_report_count(report, "arena_bytes", arena.bytes);
    exn_report_count(report, "arena_lower_bound_bytes", arena.lower_bound_bytes);
    if (b->layer_seconds != NULL) json_object_set_new(report, "layers", layers_report(b, tool->threads));
    return exn_report_print(report, tool, false);
}

static void print_text(const exn_tool *tool, const benched *b) {
    const exn_arena_plan arena = exn_plan_arena(b->plan);
    printf("%s, %s, %zu thread%s, %s arithmetic\n", b->model->path, b->model->kernels.name, tool->threads,
           tool->threads == 1 ? "" : "s", arithmetic_of(tool));
    printf("  %.3f ms median, %.3f ms least (%zu runs); %.1f ms to load, %.3f ms first run\n", b->ms[b->runs / 2],
           b->ms[0], b->runs, b->load_ms, b->first_ms);
    printf("  %.1f M multiply-adds, %.1f GFLOP/s, %.0f %% of the measured peak\n", (double)b->macs * 1e-6, b->gflops,
           100.0 * b->gflops / (b->peak_gflops * (double)tool->threads));
    printf("  arena %zu bytes (lower bound %zu)\n", arena.bytes, arena.lower_bound_bytes);
    printf("  resident: %.1f MB opened, %.1f planned, %.1f after the first run, %.1f at most\n", b->opened_mb,
           b->planned_mb, b->run_mb, exn_report_peak_rss_mb());
    if (b->layer_seconds == NULL) return;
    printf("\n  %10s %6s  %-20s %-26s %s\n", "us", "peak", "operator", "algorithm", "name");
    for (size_t i = 0; i < exn_plan_step_count(b->plan); i++) {
        const exn_plan_step step = exn_plan_get_step(b->plan, i);
        printf("  %10.1f %4.0f %%  %-20s %-26s %s\n", b->layer_seconds[i] * 1e6,
               100.0 * layer_peak_fraction(b, tool->threads, i), step.op, step.algorithm, step.name);
    }
}

static exn_status run(exn_tool *tool) {
    benched b = {0};
    exn_model_options size = {.struct_size = sizeof size};
    double seconds = 2.0;
    if (!exn_args_count(&size.height, tool->args, "size", 1, 4096) ||
        !exn_args_number(&seconds, tool->args, "seconds", 0.0, 600.0))
        return EXN_E_INVALID;
    size.width = size.height;
    exn_status status = load(&b, tool, &size);
    if (status == EXN_OK) status = measure(&b, tool, seconds);
    if (status == EXN_OK && tool->json)
        status = print_json(tool, &b);
    else if (status == EXN_OK)
        print_text(tool, &b);
    release(&b, tool);
    return status;
}

static const exn_option options[] = {{"layers", NULL, "also every step's microseconds", 0},
                                     {"cut", "NODE", "end the network at this node or value", 0},
                                     EXN_ARITHMETIC_OPTIONS,
                                     EXN_PACKED_OPTION,
                                     {"seconds", "S", "how long to measure, 20 runs at least (default 2)", 0},
                                     {"size", "S", "input height and width where the file leaves them open", 0},
                                     EXN_COMMON_OPTIONS};

const exn_command exn_command_bench = {
    .name = "bench",
    .operands = "MODEL",
    .brief = "milliseconds, GFLOP/s and memory of a network",
    .help = "Measures one network at batch 1 on a fixed random input: the first run, the least and the median of the "
            "others,\n"
            "the rate, and its share of the peak that this core reaches on operands in its first-level cache.\n\n"
            "Example: exeunt bench network.onnx --layers --threads 2",
    .least = 1,
    .most = 1,
    .options = options,
    .run = run};
