/* SPDX-License-Identifier: Apache-2.0
 * Decoding through nanopb: one callback per kind of field, all of them over a cursor in the mapped file. */
#include "graph/onnx_decode.h"

#include <pb_decode.h>
#include <string.h>

#include "graph/onnx.pb.h"

/* Where the stream stands in the file. nanopb hands callbacks either this stream, cut to one field, or a private buffer
 * when a file gives a number where a text or message belongs: only the former may be pointed into. */
typedef struct cursor {
    const uint8_t *next, *end;
    exn_onnx *onnx;
} cursor;

static bool cursor_read(pb_istream_t *stream, pb_byte_t *buffer, size_t count) {
    cursor *at = stream->state;
    if (count > (size_t)(at->end - at->next)) return false;
    if (buffer != NULL) memcpy(buffer, at->next, count);
    at->next += count;
    return true;
}

static bool fail(exn_onnx *onnx, exn_status status, const char *reason) {
    if (onnx->status == EXN_OK) {
        onnx->status = status;
        if (status != EXN_E_NOMEM) exn_fail(onnx->ctx, status, "%s", reason);
    }
    return false;
}

/* The decoder behind a stream in the file, NULL for a number in disguise. */
static exn_onnx *onnx_of(pb_istream_t *stream) {
    return stream->callback == cursor_read ? ((cursor *)stream->state)->onnx : NULL;
}

/* Makes room for one more element and returns it zeroed, or NULL after recording why not. */
static void *append(exn_onnx *onnx, void *list, size_t *count, size_t *capacity, size_t size, size_t most,
                    const char *what) {
    void **block = list;
    if (*count >= most) {
        fail(onnx, EXN_E_FORMAT, what);
        return NULL;
    }
    const exn_status status = exn_grow(onnx->ctx, block, capacity, *count + 1, size);
    if (status != EXN_OK) {
        fail(onnx, status, "");
        return NULL;
    }
    uint8_t *element = (uint8_t *)*block + *count * size;
    memset(element, 0, size);
    ++*count;
    return element;
}

/* At most `times` the context's limit on nodes. */
#define APPEND(onnx, list, field, times)                                                                               \
    append(onnx, (void *)&(onnx)->list, &(onnx)->field##_count, &(onnx)->field##_capacity, sizeof *(onnx)->list,       \
           times *exn_context_limits((onnx)->ctx)->nodes, "more " #list " than the context's limit on nodes allows")

static bool take_text(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    (void)field;
    if (onnx_of(stream) == NULL) return false;
    cursor *at = stream->state;
    exn_onnx_text *text = *arg;
    text->bytes = at->next;
    text->size = stream->bytes_left;
    at->next += stream->bytes_left;
    stream->bytes_left = 0;
    return true;
}

static pb_callback_t text_into(exn_onnx_text *text) {
    return (pb_callback_t){.funcs.decode = take_text, .arg = text};
}

static pb_callback_t call(bool (*decode)(pb_istream_t *, const pb_field_t *, void **), void *arg) {
    return (pb_callback_t){.funcs.decode = decode, .arg = arg};
}

static bool take_input_text(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    (void)arg;
    if (onnx == NULL) return false;
    exn_onnx_text *text = APPEND(onnx, input_texts, input_text, EXN_ONNX_TEXTS);
    return text != NULL && take_text(stream, field, (void **)&text);
}

static bool take_output_text(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    (void)arg;
    if (onnx == NULL) return false;
    exn_onnx_text *text = APPEND(onnx, output_texts, output_text, EXN_ONNX_TEXTS);
    return text != NULL && take_text(stream, field, (void **)&text);
}

/* Numbers come one at a time or packed; the stream holds one or many. */
static bool take_ints(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = *arg;
    (void)field;
    while (stream->bytes_left > 0) {
        uint64_t number;
        if (!pb_decode_varint(stream, &number)) return false;
        int64_t *element = APPEND(onnx, ints, int, EXN_ONNX_NUMBERS);
        if (element == NULL) return false;
        *element = (int64_t)number;
    }
    return true;
}

static bool take_floats(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = *arg;
    (void)field;
    while (stream->bytes_left > 0) {
        float number;
        if (!pb_decode_fixed32(stream, &number)) return false;
        float *element = APPEND(onnx, floats, float, EXN_ONNX_NUMBERS);
        if (element == NULL) return false;
        *element = number;
    }
    return true;
}

/* ---- tensors ---- */

typedef struct tensor_reader {
    exn_onnx *onnx;
    exn_onnx_tensor *tensor;
} tensor_reader;

static bool take_dims(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    tensor_reader *reader = *arg;
    (void)field;
    while (stream->bytes_left > 0) {
        uint64_t number;
        if (!pb_decode_varint(stream, &number)) return false;
        if (reader->tensor->rank == EXN_RANK_MAX)
            return fail(reader->onnx, EXN_E_FORMAT, "a tensor has too many dimensions");
        reader->tensor->dims[reader->tensor->rank++] = (int64_t)number;
    }
    return true;
}

static void *append_number(tensor_reader *reader, exn_onnx_typed typed, size_t size) {
    exn_onnx_tensor *tensor = reader->tensor;
    if (tensor->number_count > 0 && tensor->typed != typed) {
        fail(reader->onnx, EXN_E_FORMAT, "a tensor has data of two types");
        return NULL;
    }
    tensor->typed = typed;
    return append(reader->onnx, &tensor->numbers, &tensor->number_count, &tensor->number_capacity, size,
                  EXN_ELEMENTS_MAX, "a tensor has too many elements");
}

static bool take_typed_floats(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    (void)field;
    while (stream->bytes_left > 0) {
        float number;
        if (!pb_decode_fixed32(stream, &number)) return false;
        float *element = append_number(*arg, EXN_ONNX_FLOATS, sizeof *element);
        if (element == NULL) return false;
        *element = number;
    }
    return true;
}

static bool take_typed_doubles(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    (void)field;
    while (stream->bytes_left > 0) {
        double number;
        if (!pb_decode_fixed64(stream, &number)) return false;
        double *element = append_number(*arg, EXN_ONNX_DOUBLES, sizeof *element);
        if (element == NULL) return false;
        *element = number;
    }
    return true;
}

static bool take_typed_ints(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    (void)field;
    while (stream->bytes_left > 0) {
        uint64_t number;
        if (!pb_decode_varint(stream, &number)) return false;
        int64_t *element = append_number(*arg, EXN_ONNX_INTS, sizeof *element);
        if (element == NULL) return false;
        *element = (int64_t)number;
    }
    return true;
}

static bool take_raw(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx_tensor *tensor = *arg;
    exn_onnx_text *text = &tensor->raw;
    tensor->has_raw = true;
    return take_text(stream, field, (void **)&text);
}

static bool take_segment(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx_tensor *tensor = *arg;
    (void)field;
    tensor->segmented = true;
    return pb_read(stream, NULL, stream->bytes_left);
}

static bool take_external(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx_tensor *tensor = *arg;
    exn_onnx_text key = {0}, value = {0};
    onnx_StringStringEntryProto entry = {.key = text_into(&key), .value = text_into(&value)};
    (void)field;
    if (!pb_decode(stream, onnx_StringStringEntryProto_fields, &entry)) return false;
    if (exn_onnx_text_is(key, "location")) tensor->location = value;
    if (exn_onnx_text_is(key, "offset")) tensor->offset = value;
    if (exn_onnx_text_is(key, "length")) tensor->length = value;
    return true;
}

/* Decodes into a local record, because the list of tensors may move while it grows. */
static bool take_tensor(pb_istream_t *stream, exn_onnx *onnx, size_t *index) {
    exn_onnx_tensor tensor = {0};
    tensor_reader reader = {onnx, &tensor};
    onnx_TensorProto message = {
        .dims = call(take_dims, &reader),
        .segment = call(take_segment, &tensor),
        .float_data = call(take_typed_floats, &reader),
        .int32_data = call(take_typed_ints, &reader),
        .int64_data = call(take_typed_ints, &reader),
        .double_data = call(take_typed_doubles, &reader),
        .name = text_into(&tensor.name),
        .raw_data = call(take_raw, &tensor),
        .external_data = call(take_external, &tensor),
    };
    const bool decoded = pb_decode(stream, onnx_TensorProto_fields, &message);
    exn_onnx_tensor *element = decoded ? APPEND(onnx, tensors, tensor, EXN_ONNX_TENSORS) : NULL;
    if (element == NULL) {
        exn_free(onnx->ctx, tensor.numbers);
        return false;
    }
    tensor.data_type = message.has_data_type ? message.data_type : 0;
    tensor.external = message.has_data_location && message.data_location == onnx_TensorProto_DataLocation_EXTERNAL;
    *element = tensor;
    *index = onnx->tensor_count - 1;
    return true;
}

static bool take_attribute_tensor(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx_attribute *attribute = *arg;
    exn_onnx *onnx = onnx_of(stream);
    (void)field;
    if (onnx == NULL || attribute->has_t) return false;
    attribute->has_t = true;
    return take_tensor(stream, onnx, &attribute->tensor);
}

static bool take_initializer(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    size_t index;
    (void)field;
    (void)arg;
    if (onnx == NULL || !take_tensor(stream, onnx, &index)) return false;
    size_t *element = APPEND(onnx, initializers, initializer, EXN_ONNX_TENSORS);
    if (element == NULL) return false;
    *element = index;
    return true;
}

/* ---- nodes ---- */

static bool take_attribute(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    (void)field;
    (void)arg;
    if (onnx == NULL) return false;
    exn_onnx_attribute attribute = {.ints.first = onnx->int_count, .floats.first = onnx->float_count};
    onnx_AttributeProto message = {
        .name = text_into(&attribute.name),
        .s = text_into(&attribute.s),
        .t = call(take_attribute_tensor, &attribute),
        .ints = call(take_ints, onnx),
        .floats = call(take_floats, onnx),
    };
    if (!pb_decode(stream, onnx_AttributeProto_fields, &message)) return false;
    exn_onnx_attribute *element = APPEND(onnx, attributes, attribute, EXN_ONNX_ATTRIBUTES);
    if (element == NULL) return false;
    attribute.has_f = message.has_f;
    attribute.f = message.f;
    attribute.has_i = message.has_i;
    attribute.i = message.i;
    attribute.type = message.has_type ? (int32_t)message.type : 0;
    attribute.ints.count = onnx->int_count - attribute.ints.first;
    attribute.floats.count = onnx->float_count - attribute.floats.first;
    *element = attribute;
    return true;
}

static bool take_node(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    (void)field;
    (void)arg;
    if (onnx == NULL) return false;
    exn_onnx_node node = {.inputs.first = onnx->input_text_count,
                          .outputs.first = onnx->output_text_count,
                          .attributes.first = onnx->attribute_count};
    onnx_NodeProto message = {
        .input = call(take_input_text, NULL),
        .output = call(take_output_text, NULL),
        .name = text_into(&node.name),
        .op_type = text_into(&node.op),
        .attribute = call(take_attribute, NULL),
        .domain = text_into(&node.domain),
    };
    if (!pb_decode(stream, onnx_NodeProto_fields, &message)) return false;
    node.inputs.count = onnx->input_text_count - node.inputs.first;
    node.outputs.count = onnx->output_text_count - node.outputs.first;
    node.attributes.count = onnx->attribute_count - node.attributes.first;
    exn_onnx_node *element = APPEND(onnx, nodes, node, 1);
    if (element == NULL) return false;
    *element = node;
    return true;
}

/* ---- declared inputs and outputs ---- */

typedef struct port_reader {
    exn_onnx *onnx;
    exn_onnx_port port;
} port_reader;

static bool take_port_dim(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    port_reader *reader = *arg;
    onnx_TensorShapeProto_Dimension dimension = onnx_TensorShapeProto_Dimension_init_zero;
    (void)field;
    if (!pb_decode(stream, onnx_TensorShapeProto_Dimension_fields, &dimension)) return false;
    if (reader->port.rank == EXN_RANK_MAX)
        return fail(reader->onnx, EXN_E_FORMAT, "an input or output of the graph has too many dimensions");
    reader->port.dims[reader->port.rank++] = dimension.has_dim_value ? dimension.dim_value : -1;
    return true;
}

static bool decode_port(pb_istream_t *stream, exn_onnx *onnx, exn_onnx_port *port) {
    port_reader reader = {.onnx = onnx};
    onnx_ValueInfoProto message = onnx_ValueInfoProto_init_zero;
    message.name = text_into(&reader.port.name);
    message.type.tensor_type.shape.dim = call(take_port_dim, &reader);
    if (!pb_decode(stream, onnx_ValueInfoProto_fields, &message)) return false;
    *port = reader.port;
    port->data_type = message.type.tensor_type.elem_type;
    port->typed = message.has_type && message.type.has_tensor_type && message.type.tensor_type.has_shape;
    return true;
}

static bool take_input(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    exn_onnx_port port;
    (void)field;
    (void)arg;
    if (onnx == NULL || !decode_port(stream, onnx, &port)) return false;
    exn_onnx_port *element = APPEND(onnx, inputs, input, EXN_ONNX_PORTS);
    if (element == NULL) return false;
    *element = port;
    return true;
}

static bool take_output(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    exn_onnx_port port;
    (void)field;
    (void)arg;
    if (onnx == NULL || !decode_port(stream, onnx, &port)) return false;
    exn_onnx_port *element = APPEND(onnx, outputs, output, EXN_ONNX_PORTS);
    if (element == NULL) return false;
    *element = port;
    return true;
}

/* ---- graph and model ---- */

static bool take_sparse(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = *arg;
    (void)field;
    onnx->has_sparse = true;
    return pb_read(stream, NULL, stream->bytes_left);
}

static bool take_graph(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = onnx_of(stream);
    (void)field;
    (void)arg;
    if (onnx == NULL) return false;
    if (onnx->has_graph) return fail(onnx, EXN_E_FORMAT, "the model has two graphs");
    onnx->has_graph = true;
    onnx_GraphProto message = {
        .node = call(take_node, NULL),
        .initializer = call(take_initializer, NULL),
        .input = call(take_input, NULL),
        .output = call(take_output, NULL),
        .sparse_initializer = call(take_sparse, onnx),
    };
    return pb_decode(stream, onnx_GraphProto_fields, &message);
}

static bool take_opset(pb_istream_t *stream, const pb_field_t *field, void **arg) {
    exn_onnx *onnx = *arg;
    exn_onnx_text domain = {0};
    onnx_OperatorSetIdProto message = {.domain = text_into(&domain)};
    (void)field;
    if (!pb_decode(stream, onnx_OperatorSetIdProto_fields, &message)) return false;
    if (domain.size == 0 || exn_onnx_text_is(domain, "ai.onnx")) onnx->opset = message.version;
    return true;
}

exn_status exn_onnx_decode(exn_onnx *out, exn_context *ctx, const uint8_t *bytes, size_t size) {
    *out = (exn_onnx){.ctx = ctx};
    if (size == 0) return exn_fail(ctx, EXN_E_FORMAT, "not an ONNX model: it is empty");
    if (size > EXN_ONNX_FILE_MAX) return exn_fail(ctx, EXN_E_FORMAT, "larger than an ONNX file can be (2 GiB)");
    cursor at = {bytes, bytes + size, out};
    pb_istream_t stream = {.callback = cursor_read, .state = &at, .bytes_left = size};
    onnx_ModelProto message = {.graph = call(take_graph, NULL), .opset_import = call(take_opset, out)};
    const bool decoded = pb_decode(&stream, onnx_ModelProto_fields, &message);
    if (out->status != EXN_OK) return out->status;
    if (!decoded)
        return exn_fail(ctx, EXN_E_FORMAT, "not an ONNX model: %s at byte %zu", PB_GET_ERROR(&stream),
                        (size_t)(at.next - bytes));
    if (!out->has_graph) return exn_fail(ctx, EXN_E_FORMAT, "not an ONNX model: it has no graph");
    out->ir_version = message.ir_version;
    return EXN_OK;
}

void exn_onnx_free(exn_onnx *onnx) {
    for (size_t i = 0; i < onnx->tensor_count; i++) exn_free(onnx->ctx, onnx->tensors[i].numbers);
    exn_free(onnx->ctx, onnx->nodes);
    exn_free(onnx->ctx, onnx->tensors);
    exn_free(onnx->ctx, onnx->initializers);
    exn_free(onnx->ctx, onnx->attributes);
    exn_free(onnx->ctx, onnx->input_texts);
    exn_free(onnx->ctx, onnx->output_texts);
    exn_free(onnx->ctx, onnx->ints);
    exn_free(onnx->ctx, onnx->floats);
    exn_free(onnx->ctx, onnx->inputs);
    exn_free(onnx->ctx, onnx->outputs);
    *onnx = (exn_onnx){.ctx = onnx->ctx};
}

bool exn_onnx_text_is(exn_onnx_text text, const char *word) {
    const size_t length = strlen(word);
    return text.size == length && (length == 0 || memcmp(text.bytes, word, length) == 0);
}
