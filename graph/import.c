/* SPDX-License-Identifier: Apache-2.0
 * The importer's main road: versions, initialisers, input, nodes, output. */
#include "graph/import.h"

#include <stdio.h>
#include <string.h>

#include "graph/onnx.pb.h"

exn_status exn_import_name(char name[EXN_ONNX_NAME_MAX + 1], exn_context *ctx, exn_onnx_text text) {
    if (text.size > EXN_ONNX_NAME_MAX)
        return exn_fail(ctx, EXN_E_FORMAT, "a name has %zu bytes, more than %u", text.size, EXN_ONNX_NAME_MAX);
    for (size_t i = 0; i < text.size; i++)
        if (text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return exn_fail(ctx, EXN_E_FORMAT, "a name holds control characters");
    if (text.size > 0) memcpy(name, text.bytes, text.size);
    name[text.size] = '\0';
    return EXN_OK;
}

static exn_status check_versions(exn_importer *importer) {
    const exn_onnx *onnx = &importer->onnx;
    if (onnx->ir_version < EXN_ONNX_IR_MIN || onnx->ir_version > EXN_ONNX_IR_MAX)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "IR version %lld; supported: %d to %d",
                        (long long)onnx->ir_version, EXN_ONNX_IR_MIN, EXN_ONNX_IR_MAX);
    if (onnx->opset < EXN_ONNX_OPSET_MIN || onnx->opset > EXN_ONNX_OPSET_MAX)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "operator set version %lld; supported: %d to %d",
                        (long long)onnx->opset, EXN_ONNX_OPSET_MIN, EXN_ONNX_OPSET_MAX);
    if (onnx->has_sparse) return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "sparse initialisers are not supported");
    return EXN_OK;
}

/* The value that the file calls so. */
static exn_value_id find(const exn_importer *importer, const char *name) {
    const exn_value_id held = exn_graph_find(importer->graph, name);
    return held != EXN_VALUE_NONE && importer->graph->values[held].made_up ? EXN_VALUE_NONE : held;
}

/* A name that a new value shall have. */
static exn_status fresh_name(char name[EXN_ONNX_NAME_MAX + 1], exn_importer *importer, exn_onnx_text text,
                             const char *what) {
    EXN_TRY(exn_import_name(name, importer->ctx, text));
    if (name[0] == '\0') return exn_fail(importer->ctx, EXN_E_FORMAT, "%s has no name", what);
    if (find(importer, name) != EXN_VALUE_NONE)
        return exn_fail(importer->ctx, EXN_E_FORMAT, "the name '%s' is given to two values", name);
    return EXN_OK;
}

static exn_status import_initializers(exn_importer *importer) {
    const exn_onnx *onnx = &importer->onnx;
    for (size_t i = 0; i < onnx->initializer_count; i++) {
        const exn_onnx_tensor *tensor = &onnx->tensors[onnx->initializers[i]];
        char name[EXN_ONNX_NAME_MAX + 1];
        exn_value_id id;
        EXN_TRY(fresh_name(name, importer, tensor->name, "an initialiser"));
        EXN_TRY(exn_import_tensor(&id, importer, name, tensor));
    }
    return EXN_OK;
}

static exn_status import_input(exn_importer *importer, const exn_onnx_port *port) {
    exn_context *ctx = importer->ctx;
    exn_graph *graph = importer->graph;
    char name[EXN_ONNX_NAME_MAX + 1];
    EXN_TRY(exn_import_name(name, ctx, port->name));
    const exn_value_id held = find(importer, name);
    if (held != EXN_VALUE_NONE && held != graph->input) return EXN_OK; /* an initialiser with a declaration */
    if (graph->input != EXN_VALUE_NONE)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "a second input '%s'; networks of one input are supported", name);
    EXN_TRY(fresh_name(name, importer, port->name, "the input"));
    if (!port->typed || port->data_type != onnx_TensorProto_DataType_FLOAT || port->rank != 4)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "input '%s' is not a float tensor of batch, channels, height and width",
                        name);
    exn_shape shape = {.rank = 4};
    for (size_t i = 0; i < 4; i++) {
        if (port->dims[i] == 0 || port->dims[i] > (int64_t)EXN_ELEMENTS_MAX)
            return exn_fail(ctx, EXN_E_FORMAT, "input '%s': dimension %zu is %lld", name, i, (long long)port->dims[i]);
        shape.dim[i] = port->dims[i] < 0 ? 0 : (size_t)port->dims[i];
    }
    if (shape.dim[1] == 0)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "input '%s' leaves the number of channels open", name);
    return exn_graph_value(&graph->input, graph, name, EXN_F32, &shape);
}

static exn_status import_inputs(exn_importer *importer) {
    for (size_t i = 0; i < importer->onnx.input_count; i++) EXN_TRY(import_input(importer, &importer->onnx.inputs[i]));
    if (importer->graph->input == EXN_VALUE_NONE)
        return exn_fail(importer->ctx, EXN_E_FORMAT, "the graph has no input");
    return EXN_OK;
}

static exn_status import_output(exn_importer *importer) {
    const exn_onnx *onnx = &importer->onnx;
    char name[EXN_ONNX_NAME_MAX + 1];
    if (onnx->output_count != 1)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "%zu outputs; networks of one output are supported",
                        onnx->output_count);
    EXN_TRY(exn_import_name(name, importer->ctx, onnx->outputs[0].name));
    const exn_value_id id = find(importer, name);
    if (id == EXN_VALUE_NONE) return exn_fail(importer->ctx, EXN_E_FORMAT, "no node makes the output '%s'", name);
    importer->graph->output = id;
    return EXN_OK;
}

/* ---- nodes ---- */

static exn_status find_op(exn_op *out, exn_importer *importer, const exn_onnx_node *node) {
    exn_context *ctx = importer->ctx;
    if (node->domain.size > 0 && !exn_onnx_text_is(node->domain, "ai.onnx"))
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "operators of the domain '%.*s' are not supported",
                        (int)(node->domain.size < 64 ? node->domain.size : 64), (const char *)node->domain.bytes);
    for (size_t op = 0; op < EXN_OP_COUNT; op++) {
        if (!exn_onnx_text_is(node->op, exn_op_name((exn_op)op))) continue;
        *out = (exn_op)op;
        return EXN_OK;
    }
    char list[EXN_MESSAGE_BYTES] = "";
    size_t used = 0;
    for (size_t op = 0; op < EXN_OP_COUNT && used < sizeof list; op++)
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", exn_op_name((exn_op)op));
    return exn_fail(ctx, EXN_E_UNSUPPORTED, "this operator is not supported; supported are%s", list);
}

static exn_status resolve_inputs(exn_import_node *node, exn_importer *importer) {
    const exn_onnx_range range = node->source->inputs;
    for (size_t i = 0; i < range.count; i++) {
        const exn_onnx_text text = importer->onnx.input_texts[range.first + i];
        char name[EXN_ONNX_NAME_MAX + 1];
        EXN_TRY(exn_import_name(name, importer->ctx, text));
        node->inputs[i] = name[0] == '\0' ? EXN_VALUE_NONE : find(importer, name);
        if (name[0] != '\0' && node->inputs[i] == EXN_VALUE_NONE)
            return exn_fail(importer->ctx, EXN_E_FORMAT, "it reads '%s', which nothing before it makes", name);
    }
    node->input_count = range.count;
    while (node->input_count > 0 && node->inputs[node->input_count - 1] == EXN_VALUE_NONE) node->input_count--;
    return EXN_OK;
}

/* Values for the outputs; absent ones in the middle get made-up names. */
static exn_status make_outputs(exn_value_id *outputs, size_t *count, exn_importer *importer,
                               const exn_onnx_node *source) {
    size_t used = source->outputs.count;
    const exn_onnx_text *texts = used > 0 ? importer->onnx.output_texts + source->outputs.first : NULL;
    while (used > 0 && texts[used - 1].size == 0) used--;
    if (used == 0) return exn_fail(importer->ctx, EXN_E_FORMAT, "it has no output");
    for (size_t i = 0; i < used; i++) {
        char name[EXN_ONNX_NAME_MAX + 1] = "";
        if (texts[i].size > 0) EXN_TRY(fresh_name(name, importer, texts[i], "an output"));
        EXN_TRY(exn_graph_value(&outputs[i], importer->graph, texts[i].size > 0 ? name : NULL, EXN_F32, NULL));
    }
    *count = used;
    return EXN_OK;
}

/* Before opset 13, Softmax worked on the input flattened to two dimensions at `axis`. */
static exn_status append_flat_softmax(exn_importer *importer, exn_import_node *node, const char *name,
                                      exn_value_id output) {
    exn_graph *graph = importer->graph;
    exn_value_id flat, soft, shape;
    exn_attrs last = exn_attrs_default(), whole = exn_attrs_default();
    last.axis = -1;
    whole.start[1] = INT64_MAX;
    EXN_TRY(exn_graph_node(&shape, graph, EXN_OP_Shape, NULL, node->inputs, 1, &whole, NULL));
    EXN_TRY(exn_graph_node(&flat, graph, EXN_OP_Flatten, NULL, node->inputs, 1, &node->attrs, NULL));
    EXN_TRY(exn_graph_node(&soft, graph, node->op, name, &flat, 1, &last, NULL));
    const exn_value_id back[2] = {soft, shape};
    return exn_graph_append(graph, EXN_OP_Reshape, NULL, back, 2, &output, 1, NULL);
}

static exn_status append_node(exn_importer *importer, exn_import_node *node, exn_value_id *outputs, const char *name) {
    size_t output_count = 0;
    if (node->op == EXN_OP_Constant) {
        char made[EXN_ONNX_NAME_MAX + 1];
        exn_value_id id;
        if (node->source->outputs.count != 1) return exn_fail(importer->ctx, EXN_E_FORMAT, "one output wanted");
        EXN_TRY(fresh_name(made, importer, importer->onnx.output_texts[node->source->outputs.first], "an output"));
        return exn_import_constant(&id, importer, made, node->source);
    }
    EXN_TRY(exn_import_attributes(importer, node));
    EXN_TRY(make_outputs(outputs, &output_count, importer, node->source));
    const bool softmax = node->op == EXN_OP_Softmax || node->op == EXN_OP_LogSoftmax;
    if (softmax && importer->onnx.opset < 13) return append_flat_softmax(importer, node, name, outputs[0]);
    return exn_graph_append(importer->graph, node->op, name, node->inputs, node->input_count, outputs, output_count,
                            &node->attrs);
}

static exn_status import_node(exn_importer *importer, const exn_onnx_node *source, size_t index,
                              exn_value_id *scratch) {
    exn_import_node node = {.source = source, .inputs = scratch};
    char name[EXN_ONNX_NAME_MAX + 1];
    EXN_TRY(exn_import_name(name, importer->ctx, source->name));
    exn_status status = find_op(&node.op, importer, source);
    if (name[0] == '\0')
        snprintf(name, sizeof name, "%.*s_%zu", (int)(source->op.size < 64 ? source->op.size : 64),
                 (const char *)source->op.bytes, index);
    if (status == EXN_OK) status = resolve_inputs(&node, importer);
    if (status == EXN_OK) status = append_node(importer, &node, scratch + source->inputs.count + 2, name);
    if (status == EXN_OK) return EXN_OK;
    return exn_fail_in(importer->ctx, status, "node '%s' (%.*s)", name,
                       (int)(source->op.size < 64 ? source->op.size : 64), (const char *)source->op.bytes);
}

static exn_status import_nodes(exn_importer *importer) {
    const exn_onnx *onnx = &importer->onnx;
    size_t most = 0;
    for (size_t i = 0; i < onnx->node_count; i++) {
        const size_t ports = onnx->nodes[i].inputs.count + onnx->nodes[i].outputs.count;
        most = ports > most ? ports : most;
    }
    exn_value_id *scratch = exn_calloc(importer->ctx, most + 2, sizeof *scratch);
    if (scratch == NULL) return EXN_E_NOMEM;
    exn_status status = EXN_OK;
    for (size_t i = 0; i < onnx->node_count && status == EXN_OK; i++)
        status = import_node(importer, &onnx->nodes[i], i, scratch);
    exn_free(importer->ctx, scratch);
    return status;
}

static exn_status import_graph(exn_importer *importer) {
    EXN_TRY(check_versions(importer));
    EXN_TRY(import_initializers(importer));
    EXN_TRY(import_inputs(importer));
    EXN_TRY(import_nodes(importer));
    EXN_TRY(import_output(importer));
    return exn_graph_prune(importer->graph, NULL);
}

exn_status exn_import_onnx(exn_graph **out, exn_externals *externals, exn_context *ctx, const exn_mapping *file,
                           const char *path) {
    exn_importer importer = {.ctx = ctx, .externals = externals, .path = path};
    exn_status status = exn_graph_create(&importer.graph, ctx);
    if (status == EXN_OK) status = exn_onnx_decode(&importer.onnx, ctx, file->bytes, file->size);
    if (status == EXN_OK) status = import_graph(&importer);
    importer.onnx.ctx = ctx;
    exn_onnx_free(&importer.onnx);
    if (status != EXN_OK) {
        exn_graph_destroy(importer.graph);
        return status;
    }
    *out = importer.graph;
    return EXN_OK;
}
