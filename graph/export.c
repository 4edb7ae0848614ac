/* SPDX-License-Identifier: Apache-2.0
 * Values, constants and the file of an export; operators are in export_node.c. */
#include "graph/export.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "graph/onnx.pb.h"

#define IR_VERSION 8
#define OPSET 17
#define FILE_MAX ((size_t)INT32_MAX) /* protobuf's own limit */

exn_status exn_export_create(exn_export *out, const exn_graph *graph) {
    *out = (exn_export){.ctx = graph->ctx, .graph = graph, .outer.ctx = graph->ctx};
    out->written = exn_calloc(graph->ctx, graph->value_count, sizeof *out->written);
    out->needed = exn_calloc(graph->ctx, graph->value_count, sizeof *out->needed);
    out->input = graph->values[graph->input].name;
    if (out->written == NULL || out->needed == NULL) return EXN_E_NOMEM;
    out->written[graph->input] = true;
    return EXN_OK;
}

void exn_export_free(exn_export *e) {
    exn_message_free(&e->outer);
    exn_free(e->ctx, e->written);
    exn_free(e->ctx, e->needed);
    e->written = e->needed = NULL;
}

void exn_export_fresh(char name[EXN_EXPORT_NAME_BYTES], exn_export *e) {
    do snprintf(name, EXN_EXPORT_NAME_BYTES, "exn.export_%zu", e->made++);
    while (exn_graph_find(e->graph, name) != EXN_VALUE_NONE);
}

/* ---- constants ---- */

static int64_t type_of(exn_dtype dtype) {
    switch (dtype) {
    case EXN_F32:
        return onnx_TensorProto_DataType_FLOAT;
    case EXN_I64:
        return onnx_TensorProto_DataType_INT64;
    case EXN_I32:
        return onnx_TensorProto_DataType_INT32;
    case EXN_U8:
        return onnx_TensorProto_DataType_UINT8;
    default:
        return onnx_TensorProto_DataType_BOOL;
    }
}

/* Elements are little-endian in the file as they are in memory: import knows no other machines. */
static void put_initializer(exn_export *e, const char *name, exn_dtype dtype, const exn_shape *shape,
                            const void *data) {
    exn_message tensor = {.ctx = e->ctx};
    int64_t dims[EXN_RANK_MAX];
    for (size_t i = 0; i < shape->rank; i++) dims[i] = (int64_t)shape->dim[i];
    if (shape->rank > 0) exn_message_ints(&tensor, onnx_TensorProto_dims_tag, dims, shape->rank);
    exn_message_int(&tensor, onnx_TensorProto_data_type_tag, type_of(dtype));
    exn_message_text(&tensor, onnx_TensorProto_name_tag, name);
    exn_message_bytes(&tensor, onnx_TensorProto_raw_data_tag, data, exn_shape_elements(shape) * exn_dtype_bytes(dtype));
    exn_message_nest(&e->outer, onnx_GraphProto_initializer_tag, &tensor);
}

void exn_export_constant(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, exn_dtype dtype, const exn_shape *shape,
                         const void *data) {
    exn_export_fresh(name, e);
    put_initializer(e, name, dtype, shape, data);
}

void exn_export_float(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, float value) {
    exn_export_constant(name, e, EXN_F32, &(exn_shape){.rank = 0}, &value);
}

void exn_export_int(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, int64_t value) {
    exn_export_constant(name, e, EXN_I64, &(exn_shape){.rank = 0}, &value);
}

void exn_export_ints(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, const int64_t values[], size_t count) {
    const exn_shape shape = exn_shape_of(1, &count);
    exn_export_constant(name, e, EXN_I64, &shape, values);
}

/* ---- values ---- */

static void write_constant(exn_export *e, exn_value_id id) {
    const exn_value *value = &e->graph->values[id];
    e->written[id] = true;
    if (e->status == EXN_OK) e->status = exn_value_check(e->ctx, value);
    if (e->status == EXN_OK) put_initializer(e, value->name, value->dtype, &value->shape, value->data);
}

/* Nodes are in an order in which every input is ready, so one walk back finds all that is needed, one forth writes it. */
static void write_computed(exn_export *e, exn_value_id id) {
    const exn_graph *graph = e->graph;
    memset(e->needed, 0, graph->value_count * sizeof *e->needed);
    e->needed[id] = true;
    for (size_t i = graph->node_count; i-- > 0;) {
        const exn_node *node = &graph->nodes[i];
        bool wanted = false;
        for (size_t k = 0; k < node->output_count; k++)
            wanted |= e->needed[node->outputs[k]] && !e->written[node->outputs[k]];
        for (size_t k = 0; wanted && k < node->input_count; k++)
            if (node->inputs[k] != EXN_VALUE_NONE) e->needed[node->inputs[k]] = true;
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        const exn_node *node = &graph->nodes[i];
        bool wanted = false;
        for (size_t k = 0; k < node->output_count; k++)
            wanted |= e->needed[node->outputs[k]] && !e->written[node->outputs[k]];
        if (!wanted) continue;
        exn_export_node(e, node);
        for (size_t k = 0; k < node->output_count; k++) e->written[node->outputs[k]] = true;
    }
}

const char *exn_export_value(exn_export *e, exn_value_id id) {
    if (id == EXN_VALUE_NONE) return "";
    if (id == e->graph->input) return e->input;
    if (!e->written[id]) {
        if (e->graph->values[id].data != NULL)
            write_constant(e, id);
        else
            write_computed(e, id);
    }
    return e->graph->values[id].name;
}

/* ---- nodes ---- */

static void put_attribute(exn_message *attributes, exn_message *attribute, const char *name,
                          onnx_AttributeProto_AttributeType type) {
    exn_message_text(attribute, onnx_AttributeProto_name_tag, name);
    exn_message_int(attribute, onnx_AttributeProto_type_tag, (int64_t)type);
    exn_message_nest(attributes, onnx_NodeProto_attribute_tag, attribute);
}

void exn_attribute_int(exn_message *attributes, const char *name, int64_t value) {
    exn_message attribute = {.ctx = attributes->ctx};
    exn_message_int(&attribute, onnx_AttributeProto_i_tag, value);
    put_attribute(attributes, &attribute, name, onnx_AttributeProto_AttributeType_INT);
}

void exn_attribute_ints(exn_message *attributes, const char *name, const int64_t values[], size_t count) {
    exn_message attribute = {.ctx = attributes->ctx};
    exn_message_ints(&attribute, onnx_AttributeProto_ints_tag, values, count);
    put_attribute(attributes, &attribute, name, onnx_AttributeProto_AttributeType_INTS);
}

void exn_attribute_float(exn_message *attributes, const char *name, float value) {
    exn_message attribute = {.ctx = attributes->ctx};
    exn_message_float(&attribute, onnx_AttributeProto_f_tag, value);
    put_attribute(attributes, &attribute, name, onnx_AttributeProto_AttributeType_FLOAT);
}

void exn_attribute_graph(exn_message *attributes, const char *name, exn_message *graph) {
    exn_message attribute = {.ctx = attributes->ctx};
    exn_message_nest(&attribute, onnx_AttributeProto_g_tag, graph);
    put_attribute(attributes, &attribute, name, onnx_AttributeProto_AttributeType_GRAPH);
}

void exn_export_ops(exn_export *e, const char *op, const char *const inputs[], size_t input_count,
                    const char *const outputs[], size_t output_count, exn_message *attributes) {
    exn_message node = {.ctx = e->ctx};
    while (input_count > 0 && inputs[input_count - 1][0] == '\0') input_count--; /* absent at the end: not said */
    for (size_t i = 0; i < input_count; i++) exn_message_text(&node, onnx_NodeProto_input_tag, inputs[i]);
    for (size_t i = 0; i < output_count; i++) exn_message_text(&node, onnx_NodeProto_output_tag, outputs[i]);
    exn_message_text(&node, onnx_NodeProto_name_tag, outputs[0]);
    exn_message_text(&node, onnx_NodeProto_op_type_tag, op);
    if (attributes != NULL) exn_message_merge(&node, attributes);
    exn_message_nest(e->nodes != NULL ? e->nodes : &e->outer, onnx_GraphProto_node_tag, &node);
}

void exn_export_op(exn_export *e, const char *op, const char *const inputs[], size_t input_count, const char *output,
                   exn_message *attributes) {
    exn_export_ops(e, op, inputs, input_count, &output, 1, attributes);
}

/* ---- the file ---- */

static void put_port(exn_message *graph, uint32_t tag, const exn_export_port *port) {
    exn_message shape = {.ctx = graph->ctx}, tensor = {.ctx = graph->ctx}, type = {.ctx = graph->ctx};
    exn_message info = {.ctx = graph->ctx};
    for (size_t i = 0; i < port->shape.rank; i++) {
        exn_message dimension = {.ctx = graph->ctx};
        exn_message_int(&dimension, onnx_TensorShapeProto_Dimension_dim_value_tag, (int64_t)port->shape.dim[i]);
        exn_message_nest(&shape, onnx_TensorShapeProto_dim_tag, &dimension);
    }
    exn_message_int(&tensor, onnx_TypeProto_Tensor_elem_type_tag, type_of(port->dtype));
    exn_message_nest(&tensor, onnx_TypeProto_Tensor_shape_tag, &shape);
    exn_message_nest(&type, onnx_TypeProto_tensor_type_tag, &tensor);
    exn_message_text(&info, onnx_ValueInfoProto_name_tag, port->name);
    exn_message_nest(&info, onnx_ValueInfoProto_type_tag, &type);
    exn_message_nest(graph, tag, &info);
}

void exn_export_ports(exn_message *graph, const char *name, const exn_export_port ports[], size_t count) {
    exn_message_text(graph, onnx_GraphProto_name_tag, name);
    for (size_t i = 0; i < count; i++) put_port(graph, onnx_GraphProto_output_tag, &ports[i]);
}

static void put_model(exn_message *model, exn_export *e, const char *const metadata[], size_t pairs) {
    exn_message opset = {.ctx = e->ctx};
    exn_message_int(model, onnx_ModelProto_ir_version_tag, IR_VERSION);
    exn_message_text(model, onnx_ModelProto_producer_name_tag, "exeunt");
    exn_message_text(model, onnx_ModelProto_producer_version_tag, exn_version());
    exn_message_text(&opset, onnx_OperatorSetIdProto_domain_tag, "");
    exn_message_int(&opset, onnx_OperatorSetIdProto_version_tag, OPSET);
    exn_message_nest(model, onnx_ModelProto_opset_import_tag, &opset);
    for (size_t i = 0; i < pairs; i++) {
        exn_message entry = {.ctx = e->ctx};
        exn_message_text(&entry, onnx_StringStringEntryProto_key_tag, metadata[2 * i]);
        exn_message_text(&entry, onnx_StringStringEntryProto_value_tag, metadata[2 * i + 1]);
        exn_message_nest(model, onnx_ModelProto_metadata_props_tag, &entry);
    }
    exn_message_nest(model, onnx_ModelProto_graph_tag, &e->outer);
}

exn_status exn_export_save(exn_export *e, const exn_export_port ports[], size_t count, const char *const metadata[],
                           size_t pairs, const char *path) {
    EXN_TRY(e->status);
    const exn_value *input = &e->graph->values[e->graph->input];
    const exn_export_port port = {.name = input->name, .dtype = EXN_F32, .shape = input->shape};
    put_port(&e->outer, onnx_GraphProto_input_tag, &port);
    exn_export_ports(&e->outer, "exeunt", ports, count);
    exn_message model = {.ctx = e->ctx};
    put_model(&model, e, metadata, pairs);
    exn_status status = model.status;
    if (status == EXN_OK && model.size > FILE_MAX)
        status = exn_fail(e->ctx, EXN_E_UNSUPPORTED, "%s: %zu bytes, more than one ONNX file holds", path, model.size);
    if (status == EXN_OK) status = exn_file_replace(e->ctx, path, model.bytes, model.size);
    exn_message_free(&model);
    return status;
}
