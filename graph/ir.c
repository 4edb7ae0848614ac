/* SPDX-License-Identifier: Apache-2.0
 * Building, copying and pruning the list of operators. */
#include "graph/ir.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

#define PRODUCER_NONE UINT32_MAX

exn_attrs exn_attrs_default(void) {
    exn_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .alpha = 1, .beta = 1, .epsilon = 1e-5f};
    for (size_t i = 0; i < EXN_RANK_MAX; i++) attrs.step[i] = 1;
    return attrs;
}

exn_status exn_graph_create(exn_graph **out, exn_context *ctx) {
    exn_graph *graph = exn_calloc(ctx, 1, sizeof *graph);
    if (graph == NULL) return EXN_E_NOMEM;
    graph->ctx = ctx;
    graph->input = graph->output = EXN_VALUE_NONE;
    *out = graph;
    return EXN_OK;
}

void exn_graph_destroy(exn_graph *graph) {
    if (graph == NULL) return;
    exn_context *ctx = graph->ctx;
    for (size_t i = 0; i < graph->block_count; i++) exn_free(ctx, graph->blocks[i]);
    exn_free(ctx, graph->blocks);
    exn_free(ctx, graph->values);
    exn_free(ctx, graph->nodes);
    exn_free(ctx, graph->slots);
    exn_free(ctx, graph);
}

exn_status exn_graph_block(void **out, exn_graph *graph, size_t count, size_t size) {
    EXN_TRY(exn_grow(graph->ctx, (void **)&graph->blocks, &graph->block_capacity, graph->block_count + 1,
                     sizeof *graph->blocks));
    void *block = exn_calloc(graph->ctx, count, size);
    if (block == NULL) return EXN_E_NOMEM;
    graph->blocks[graph->block_count++] = block;
    *out = block;
    return EXN_OK;
}

/* ---- names ---- */

static exn_status copy_name(char **out, exn_graph *graph, const char *name, const char *made_up, size_t number) {
    char text[64];
    if (name == NULL) {
        snprintf(text, sizeof text, "%s_%zu", made_up, number);
        name = text;
    }
    const size_t bytes = strlen(name) + 1;
    void *block;
    EXN_TRY(exn_graph_block(&block, graph, bytes, 1));
    memcpy(block, name, bytes);
    *out = block;
    return EXN_OK;
}

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *name_slot(const exn_graph *graph, const char *name) {
    size_t at = (size_t)exn_hash64(name, strlen(name), 0) & (graph->slot_count - 1);
    while (graph->slots[at] != 0 && strcmp(graph->values[graph->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (graph->slot_count - 1);
    return &graph->slots[at];
}

/* Keeps the table at most half full. */
static exn_status reserve_slot(exn_graph *graph) {
    if (2 * (graph->value_count + 1) <= graph->slot_count) return EXN_OK;
    const size_t wanted = graph->slot_count == 0 ? 64 : 2 * graph->slot_count;
    uint32_t *slots = exn_calloc(graph->ctx, wanted, sizeof *slots);
    if (slots == NULL) return EXN_E_NOMEM;
    exn_free(graph->ctx, graph->slots);
    graph->slots = slots;
    graph->slot_count = wanted;
    for (size_t i = 0; i < graph->value_count; i++) *name_slot(graph, graph->values[i].name) = (uint32_t)i + 1;
    return EXN_OK;
}

exn_value_id exn_graph_find(const exn_graph *graph, const char *value_name) {
    if (graph->slot_count == 0) return EXN_VALUE_NONE;
    const uint32_t held = *name_slot(graph, value_name);
    return held == 0 ? EXN_VALUE_NONE : held - 1;
}

/* A made-up name that is free; those that were in the way are not tried again. */
static exn_status make_name(char **out, exn_graph *graph) {
    char text[64];
    if (graph->made_up < graph->value_count) graph->made_up = graph->value_count;
    do snprintf(text, sizeof text, "exn.value_%zu", graph->made_up++);
    while (exn_graph_find(graph, text) != EXN_VALUE_NONE);
    return copy_name(out, graph, text, "", 0);
}

/* ---- values and nodes ---- */

exn_status exn_graph_value(exn_value_id *out, exn_graph *graph, const char *name, exn_dtype dtype,
                           const exn_shape *shape) {
    char *own = NULL, *other = NULL;
    const exn_value_id held = name == NULL ? EXN_VALUE_NONE : exn_graph_find(graph, name);
    if (held != EXN_VALUE_NONE && !graph->values[held].made_up)
        return exn_fail(graph->ctx, EXN_E_INVALID, "value '%s' exists already", name);
    EXN_TRY(name == NULL ? make_name(&own, graph) : copy_name(&own, graph, name, "", 0));
    if (held != EXN_VALUE_NONE) EXN_TRY(make_name(&other, graph));
    EXN_TRY(exn_grow(graph->ctx, (void **)&graph->values, &graph->value_capacity, graph->value_count + 1,
                     sizeof *graph->values));
    EXN_TRY(reserve_slot(graph));
    uint32_t *slot = name_slot(graph, own);
    exn_value value = {.name = own, .made_up = name == NULL, .dtype = dtype, .producer = PRODUCER_NONE};
    if (shape != NULL) value.shape = *shape;
    graph->values[graph->value_count++] = value;
    *slot = (uint32_t)graph->value_count;
    if (other != NULL) { /* a made-up name makes way for one that a file gives */
        graph->values[held].name = other;
        *name_slot(graph, other) = held + 1;
    }
    *out = (exn_value_id)graph->value_count - 1;
    return EXN_OK;
}

exn_status exn_graph_constant(exn_value_id *out, exn_graph *graph, const char *name, exn_dtype dtype,
                              const exn_shape *shape, const void *data, bool copy) {
    size_t count;
    EXN_TRY(exn_shape_count(&count, graph->ctx, shape));
    const void *held = data;
    if (copy) {
        void *block;
        EXN_TRY(exn_graph_block(&block, graph, count, exn_dtype_bytes(dtype)));
        if (count > 0) memcpy(block, data, count * exn_dtype_bytes(dtype));
        held = block;
    }
    EXN_TRY(exn_graph_value(out, graph, name, dtype, shape));
    exn_value *value = &graph->values[*out];
    value->data = held;
    value->owned = copy;
    value->aligned = (uintptr_t)held % exn_dtype_bytes(dtype) == 0;
    return EXN_OK;
}

exn_status exn_graph_append(exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs,
                            size_t input_count, const exn_value_id *outputs, size_t output_count,
                            const exn_attrs *attrs) {
    EXN_TRY(exn_grow(graph->ctx, (void **)&graph->nodes, &graph->node_capacity, graph->node_count + 1,
                     sizeof *graph->nodes));
    exn_node node = {.op = op, .input_count = input_count, .output_count = output_count};
    node.attrs = attrs == NULL ? exn_attrs_default() : *attrs;
    EXN_TRY(copy_name(&node.name, graph, name, exn_op_name(op), graph->node_count));
    void *lists;
    EXN_TRY(exn_graph_block(&lists, graph, input_count + output_count, sizeof(exn_value_id)));
    node.inputs = lists;
    node.outputs = node.inputs + input_count;
    if (input_count > 0) memcpy(node.inputs, inputs, input_count * sizeof *inputs);
    if (output_count > 0) memcpy(node.outputs, outputs, output_count * sizeof *outputs);
    for (size_t i = 0; i < output_count; i++) graph->values[outputs[i]].producer = (uint32_t)graph->node_count;
    graph->nodes[graph->node_count++] = node;
    return EXN_OK;
}

exn_status exn_graph_node(exn_value_id *out, exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs,
                          size_t input_count, const exn_attrs *attrs, const exn_shape *shape) {
    exn_value_id value;
    EXN_TRY(exn_graph_value(&value, graph, NULL, EXN_F32, shape));
    EXN_TRY(exn_graph_append(graph, op, name, inputs, input_count, &value, 1, attrs));
    *out = value;
    return EXN_OK;
}

/* ---- pruning ---- */

static bool node_is_needed(const exn_node *node, const bool *needed) {
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != EXN_VALUE_NONE && needed[node->outputs[i]]) return true;
    return false;
}

exn_status exn_graph_prune(exn_graph *graph, const bool *dead) {
    bool *needed = exn_calloc(graph->ctx, graph->value_count + graph->node_count, sizeof *needed);
    if (needed == NULL) return EXN_E_NOMEM;
    bool *keep = needed + graph->value_count;
    needed[graph->output] = true;
    for (size_t i = graph->node_count; i-- > 0;) {
        const exn_node *node = &graph->nodes[i];
        if ((dead != NULL && dead[i]) || !node_is_needed(node, needed)) continue;
        keep[i] = true;
        for (size_t k = 0; k < node->input_count; k++)
            if (node->inputs[k] != EXN_VALUE_NONE) needed[node->inputs[k]] = true;
    }
    for (size_t i = 0; i < graph->value_count; i++) graph->values[i].producer = PRODUCER_NONE;
    size_t kept = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        if (!keep[i]) continue;
        const exn_node node = graph->nodes[i];
        for (size_t k = 0; k < node.output_count; k++) graph->values[node.outputs[k]].producer = (uint32_t)kept;
        graph->nodes[kept++] = node;
    }
    graph->node_count = kept;
    exn_free(graph->ctx, needed);
    return EXN_OK;
}

/* ---- elements and costs ---- */

int64_t exn_value_i64(const exn_value *value, size_t index) {
    const uint8_t *at = (const uint8_t *)value->data + index * exn_dtype_bytes(value->dtype);
    if (value->dtype == EXN_I64) {
        int64_t element;
        memcpy(&element, at, sizeof element);
        return element;
    }
    if (value->dtype == EXN_I32) {
        int32_t element;
        memcpy(&element, at, sizeof element);
        return element;
    }
    return *at;
}

float exn_value_f32(const exn_value *value, size_t index) {
    float element;
    memcpy(&element, (const uint8_t *)value->data + index * sizeof element, sizeof element);
    return element;
}

exn_status exn_value_check(exn_context *ctx, const exn_value *value) {
    if (!value->mapped) return EXN_OK;
    const size_t count = exn_shape_elements(&value->shape), bad = exn_floats_finite(value->data, count);
    if (bad == count) return EXN_OK;
    return exn_fail(ctx, EXN_E_FORMAT, "tensor '%s': element %zu is not finite", value->name, bad);
}

uint64_t exn_node_macs(const exn_graph *graph, const exn_node *node) {
    if (node->op != EXN_OP_Conv && node->op != EXN_OP_Gemm && node->op != EXN_OP_MatMul) return 0;
    const exn_shape *y = &graph->values[node->outputs[0]].shape;
    const exn_shape *w = &graph->values[node->inputs[1]].shape;
    uint64_t chain;
    if (node->op == EXN_OP_Conv)
        chain = (uint64_t)w->dim[1] * w->dim[2] * w->dim[3];
    else if (node->op == EXN_OP_Gemm)
        chain = w->dim[node->attrs.trans_b ? 1 : 0];
    else
        chain = w->dim[w->rank - 2];
    return chain * exn_shape_elements(y);
}
