/* SPDX-License-Identifier: Apache-2.0
 * Opening a model: map, read, bind at batch 1, fold, look for exits. */
#include "graph/model.h"

#include <stdlib.h>
#include <string.h>

#include "arch/select.h"
#include "graph/fold.h"
#include "graph/infer.h"

#define DEFAULT_EXTENT 224u

/* Weights and biases that training would move. */
static uint64_t count_parameters(const exn_graph *graph) {
    uint64_t total = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const exn_node *node = &graph->nodes[i];
        size_t last = 0;
        if (node->op == EXN_OP_Conv || node->op == EXN_OP_Gemm || node->op == EXN_OP_BatchNormalization) last = 3;
        if (node->op == EXN_OP_PRelu || node->op == EXN_OP_Add) last = 2;
        for (size_t k = 0; k < last && k < node->input_count; k++) {
            const exn_value_id id = node->inputs[k];
            if (id == EXN_VALUE_NONE || graph->values[id].data == NULL) continue;
            total += exn_shape_elements(&graph->values[id].shape);
        }
    }
    return total;
}

static exn_status bind_size(exn_graph **out, const exn_model *model, size_t batch, size_t height, size_t width) {
    exn_graph *graph;
    EXN_TRY(exn_graph_bind(&graph, model->source, batch, height, width));
    const exn_status status = exn_graph_fold(graph);
    if (status != EXN_OK) {
        exn_graph_destroy(graph);
        return status;
    }
    *out = graph;
    return EXN_OK;
}

exn_status exn_model_bind(exn_graph **out, const exn_model *model, size_t batch, size_t height, size_t width) {
    const exn_status status =
        bind_size(out, model, batch, height == 0 ? model->height : height, width == 0 ? model->width : width);
    return status == EXN_OK ? EXN_OK : exn_fail_in(model->ctx, status, "%s", model->path);
}

/* A network is the file's bytes, and those of the files beside it that hold weights. */
void exn_model_hash(char text[EXN_HASH_TEXT_BYTES], const exn_model *model) {
    exn_hash_text(text, model->file.bytes, model->file.size);
    exn_mapping_forget(model->file.bytes, model->file.size);
    for (size_t i = 0; i < model->externals.count; i++) {
        const exn_mapping *weights = &model->externals.items[i].mapping;
        char both[2][EXN_HASH_TEXT_BYTES];
        memcpy(both[0], text, sizeof both[0]);
        exn_hash_text(both[1], weights->bytes, weights->size);
        exn_mapping_forget(weights->bytes, weights->size);
        exn_hash_text(text, both, sizeof both);
    }
}

static int by_address(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t)((const exn_value *)a)->data, y = (uintptr_t)((const exn_value *)b)->data;
    return x < y ? -1 : x > y;
}

/* *all = hash of itself and these bytes. */
static void extend_hash(exn_hash *all, const void *bytes, size_t count) {
    const exn_hash both[2] = {*all, exn_hash_bytes(bytes, count)};
    *all = exn_hash_bytes(both, sizeof both);
}

/* The file around its mapped constants: they lie somewhere in it, in any order, a hostile file's even over each other. */
static exn_status hash_graph(exn_model *model) {
    const exn_graph *source = model->source;
    exn_value *mapped = exn_calloc(model->ctx, source->value_count, sizeof *mapped);
    if (mapped == NULL) return EXN_E_NOMEM;
    const uintptr_t begin = (uintptr_t)model->file.bytes, end = begin + model->file.size;
    size_t count = 0;
    for (size_t i = 0; i < source->value_count; i++) {
        const uintptr_t data = (uintptr_t)source->values[i].data;
        if (source->values[i].mapped && data >= begin && data < end) mapped[count++] = source->values[i];
    }
    qsort(mapped, count, sizeof *mapped, by_address);
    exn_hash hash = {0};
    const uint8_t *next = model->file.bytes;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = mapped[i].data;
        const size_t bytes = exn_shape_elements(&mapped[i].shape) * sizeof(float);
        if (data > next) extend_hash(&hash, next, (size_t)(data - next));
        if (data + bytes > next) next = data + bytes;
    }
    extend_hash(&hash, next, (size_t)(end - (uintptr_t)next));
    for (size_t i = 0; i < model->externals.count; i++)
        extend_hash(&hash, &model->externals.items[i].mapping.size, sizeof(size_t));
    exn_hash_text(model->graph_hash, &hash, sizeof hash);
    exn_free(model->ctx, mapped);
    return EXN_OK;
}

/* The size asked for, else the file's, else the usual one. */
static size_t choose_extent(size_t asked, size_t file) {
    return asked != 0 ? asked : file != 0 ? file : DEFAULT_EXTENT;
}

/* A network without a classifier can still be run: it has no taps, and making a profile for it fails. */
static exn_status find_taps(exn_model *model) {
    const exn_status status = exn_taps_find(&model->taps, &model->tap_count, model->graph);
    return status == EXN_E_UNSUPPORTED ? EXN_OK : status;
}

static exn_status read_graph(exn_model *model, const exn_model_options *options) {
    EXN_TRY(exn_import_onnx(&model->source, &model->externals, model->ctx, &model->file, model->path));
    const exn_shape *declared = &model->source->values[model->source->input].shape;
    model->channels = declared->dim[1];
    model->height = choose_extent(options->height, declared->dim[2]);
    model->width = choose_extent(options->width, declared->dim[3]);
    exn_graph *graph;
    EXN_TRY(exn_graph_bind(&graph, model->source, 1, model->height, model->width));
    model->graph = graph;
    model->parameters = count_parameters(graph);
    EXN_TRY(exn_graph_fold(graph));
    for (size_t i = 0; i < graph->node_count; i++) model->macs += exn_node_macs(graph, &graph->nodes[i]);
    model->classes = exn_shape_elements(&graph->values[graph->output].shape);
    return find_taps(model);
}

static exn_status open_model(exn_model *model, const char *path, const exn_model_options *options) {
    model->path = exn_strdup(model->ctx, path);
    if (model->path == NULL) return EXN_E_NOMEM;
    EXN_TRY(exn_kernels_for_context(&model->kernels, model->ctx));
    EXN_TRY(exn_mapping_open(&model->file, model->ctx, path));
    exn_status status = read_graph(model, options);
    if (status == EXN_OK) status = hash_graph(model);
    if (status != EXN_OK) return exn_fail_in(model->ctx, status, "%s", path);
    exn_mapping_forget(model->file.bytes, model->file.size); /* read once; what no plan packs need not stay in memory */
    return EXN_OK;
}

exn_status exn_model_open(exn_model **out, exn_context *ctx, const char *path, const exn_model_options *options) {
    if (out == NULL || ctx == NULL || path == NULL)
        return exn_fail(ctx, EXN_E_INVALID, "exn_model_open: out, ctx and path must not be NULL");
    exn_model_options filled;
    EXN_TRY(exn_options_read(&filled, sizeof filled, ctx, options));
    exn_model *model = exn_calloc(ctx, 1, sizeof *model);
    if (model == NULL) return EXN_E_NOMEM;
    model->ctx = ctx;
    const exn_status status = open_model(model, path, &filled);
    if (status != EXN_OK) {
        exn_model_destroy(model);
        return status;
    }
    *out = model;
    return EXN_OK;
}

void exn_model_destroy(exn_model *model) {
    if (model == NULL) return;
    exn_context *ctx = model->ctx;
    exn_graph_destroy(model->graph);
    exn_graph_destroy(model->source);
    exn_free(ctx, model->taps);
    exn_externals_close(&model->externals, ctx);
    exn_mapping_close(&model->file);
    exn_free(ctx, model->path);
    exn_free(ctx, model);
}

exn_status exn_model_get_info(exn_model_info *out, const exn_model *model) {
    if (model == NULL) return EXN_E_INVALID;
    const exn_model_info info = {.channels = model->channels,
                                 .height = model->height,
                                 .width = model->width,
                                 .classes = model->classes,
                                 .nodes = model->graph->node_count,
                                 .macs = model->macs,
                                 .parameters = model->parameters,
                                 .taps = model->tap_count};
    return exn_result_write(out, model->ctx, &info, sizeof info);
}
