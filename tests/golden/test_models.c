/* SPDX-License-Identifier: Apache-2.0
 * Tiny networks that together use every operator, against what ONNX Runtime computed for them (make_models.py). */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <stdlib.h>

#include "arch/select.h"
#include "graph/dump.h"
#include "graph/export.h"
#include "graph/fold.h"
#include "graph/import.h"
#include "graph/infer.h"
#include "graph/run.h"

/* Of the largest output; the sums are short. */
#define TOLERANCE 1e-5

typedef struct network {
    exn_context *ctx;
    exn_mapping file;
    exn_externals externals;
    exn_graph *source;
    const exn_value *input, *output; /* golden, both with the batch in front */
} network;

static void network_open(network *n, exn_context *ctx, const char *path) {
    *n = (network){.ctx = ctx};
    unit_assert_ok(ctx, exn_mapping_open(&n->file, ctx, path));
    unit_assert_ok(ctx, exn_import_onnx(&n->source, &n->externals, ctx, &n->file, path));
    const exn_value_id input = exn_graph_find(n->source, "golden.input");
    const exn_value_id output = exn_graph_find(n->source, "golden.output");
    ck_assert(input != EXN_VALUE_NONE && output != EXN_VALUE_NONE);
    n->input = &n->source->values[input];
    n->output = &n->source->values[output];
}

static void network_close(network *n) {
    exn_graph_destroy(n->source);
    exn_externals_close(&n->externals, n->ctx);
    exn_mapping_close(&n->file);
}

static float *floats_of(const exn_value *value) {
    const size_t count = exn_shape_elements(&value->shape);
    float *list = calloc(count, sizeof *list);
    for (size_t i = 0; i < count; i++) list[i] = exn_value_f32(value, i);
    return list;
}

static float largest(const float *list, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        const float size = list[i] < 0 ? -list[i] : list[i];
        most = size > most ? size : most;
    }
    return most;
}

static void run_graph(const network *n, const exn_graph *graph, const char *name, size_t threads) {
    const size_t count = exn_shape_elements(&n->output->shape);
    const float *input = floats_of(n->input), *expected = floats_of(n->output);
    float *actual = calloc(count, sizeof *actual);
    exn_kernel_set kernels;
    exn_plan *plan;
    exn_exec *exec;
    unit_assert_ok(n->ctx, exn_kernels_for_context(&kernels, n->ctx));
    const exn_plan_options options = {
        .kernels = &kernels, .threads = threads, .outputs = &graph->output, .output_count = 1};
    unit_assert_ok(n->ctx, exn_plan_create(&plan, graph, &options));
    unit_assert_ok(n->ctx, exn_exec_create(&exec, n->ctx, plan));
    for (size_t again = 0; again < 2; again++) { /* the second run finds the arena used */
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &actual);
        const double allowed = TOLERANCE * (double)largest(expected, count);
        for (size_t i = 0; i < count; i++) {
            const double error = (double)actual[i] - (double)expected[i];
            ck_assert_msg(error <= allowed && error >= -allowed, "%s: output %zu is %.9g, not %.9g", name, i,
                          (double)actual[i], (double)expected[i]);
        }
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    free((void *)input);
    free((void *)expected);
    free(actual);
}

/* Written down as ONNX again and read back, a graph computes what it did. */
static void check_export(const network *n, const exn_graph *graph, const char *name) {
    char *folder = unit_temp_create(), *path = unit_path(folder, "again.onnx");
    const exn_value *output = &graph->values[graph->output];
    const exn_export_port port = {output->name, EXN_F32, output->shape};
    const size_t *size = graph->values[graph->input].shape.dim;
    exn_export e;
    exn_mapping file;
    exn_externals externals = {0};
    exn_graph *source, *again;
    unit_assert_ok(n->ctx, exn_export_create(&e, graph));
    exn_export_value(&e, graph->output);
    unit_assert_ok(n->ctx, exn_export_save(&e, &port, 1, NULL, 0, path));
    exn_export_free(&e);
    unit_assert_ok(n->ctx, exn_mapping_open(&file, n->ctx, path));
    unit_assert_ok(n->ctx, exn_import_onnx(&source, &externals, n->ctx, &file, path));
    unit_assert_ok(n->ctx, exn_graph_bind(&again, source, size[0], size[2], size[3]));
    run_graph(n, again, name, 1);
    exn_graph_destroy(again);
    exn_graph_destroy(source);
    exn_externals_close(&externals, n->ctx);
    exn_mapping_close(&file);
    free(path);
    unit_temp_remove(folder);
}

/* Bound as the file's golden input wants it; run as bound, then folded. */
static void check_network(const char *path, const char *name) {
    exn_context *ctx = unit_context();
    network n;
    network_open(&n, ctx, path);
    const size_t *size = n.input->shape.dim;
    for (size_t folded = 0; folded < 2; folded++) {
        exn_graph *graph;
        unit_assert_ok(ctx, exn_graph_bind(&graph, n.source, size[0], size[2], size[3]));
        if (folded == 1) unit_assert_ok(ctx, exn_graph_fold(graph));
        ck_assert_msg(exn_shape_equal(&graph->values[graph->output].shape, &n.output->shape), "%s: output shape", name);
        run_graph(&n, graph, name, 1);
        run_graph(&n, graph, name, 2);
        check_export(&n, graph, name);
        exn_graph_destroy(graph);
    }
    network_close(&n);
    exn_context_destroy(ctx);
}

static bool ends_in_onnx(const char *name) {
    const size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".onnx") == 0;
}

START_TEST(networks) {
    char *folder = unit_source_path("tests/golden/data");
    struct dirent **entries;
    const int count = scandir(folder, &entries, NULL, alphasort);
    size_t seen = 0;
    ck_assert_int_gt(count, 0);
    for (int i = 0; i < count; i++) {
        if (ends_in_onnx(entries[i]->d_name)) {
            char *path = unit_path(folder, entries[i]->d_name);
            check_network(path, entries[i]->d_name);
            free(path);
            seen++;
        }
        free(entries[i]);
    }
    free(entries);
    free(folder);
    ck_assert_uint_ge(seen, 27);
}
END_TEST

/* Every row of ops.inc is in some file; what folding makes or import resolves counts through the source graph. */
START_TEST(every_operator) {
    bool seen[EXN_OP_COUNT] = {false};
    char *folder = unit_source_path("tests/golden/data");
    struct dirent **entries;
    const int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (ends_in_onnx(entries[i]->d_name)) {
            exn_context *ctx = unit_context();
            char *path = unit_path(folder, entries[i]->d_name);
            network n;
            network_open(&n, ctx, path);
            for (size_t k = 0; k < n.source->node_count; k++) seen[n.source->nodes[k].op] = true;
            network_close(&n);
            exn_context_destroy(ctx);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    free(folder);
    seen[EXN_OP_Constant] = true; /* import turns it into a value: constants.onnx */
    seen[EXN_OP_Swish] = true;    /* made by folding: gates.onnx */
    for (size_t op = 0; op < EXN_OP_COUNT; op++) ck_assert_msg(seen[op], "no network uses %s", exn_op_name((exn_op)op));
}
END_TEST

int main(void) {
    return unit_run("golden", (const TTest *[]){networks, every_operator, NULL});
}
