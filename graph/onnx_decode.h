/* SPDX-License-Identifier: Apache-2.0
 * The bytes of an ONNX file as records that still speak protobuf: texts and weights point into the file.
 *
 * Limits: one graph; subgraphs, functions, training information and sparse tensors are skipped, not understood. */
#ifndef EXN_GRAPH_ONNX_DECODE_H
#define EXN_GRAPH_ONNX_DECODE_H

#include "core/tensor.h"

/* Beyond these a file is refused. Networks that people use stay below a tenth of each. Lists are so many times longer than
 * the context's limit on nodes at most. */
#define EXN_ONNX_FILE_MAX ((size_t)1 << 31) /* protobuf's own limit */
#define EXN_ONNX_TENSORS 2u
#define EXN_ONNX_ATTRIBUTES 16u
#define EXN_ONNX_TEXTS 16u      /* inputs, or outputs, of all nodes together */
#define EXN_ONNX_NUMBERS 64u    /* elements of all list attributes together */
#define EXN_ONNX_PORTS 1u       /* declared graph inputs, or outputs */
#define EXN_ONNX_NAME_MAX 1024u /* bytes of one name */

/* Bytes in the mapped file, not terminated. */
typedef struct exn_onnx_text {
    const uint8_t *bytes;
    size_t size;
} exn_onnx_text;

/* Range of one of the decoder's lists. */
typedef struct exn_onnx_range {
    size_t first, count;
} exn_onnx_range;

typedef enum exn_onnx_typed { EXN_ONNX_RAW, EXN_ONNX_FLOATS, EXN_ONNX_INTS, EXN_ONNX_DOUBLES } exn_onnx_typed;

typedef struct exn_onnx_tensor {
    exn_onnx_text name;
    int32_t data_type; /* of onnx.TensorProto.DataType */
    int64_t dims[EXN_RANK_MAX];
    size_t rank;
    exn_onnx_text raw; /* little-endian, row-major; has_raw */
    exn_onnx_typed typed;
    void *numbers; /* typed: float, int64_t or double, owned by the decoder */
    size_t number_count, number_capacity;
    bool external, segmented, has_raw;
    exn_onnx_text location, offset, length; /* of external data, in decimal */
} exn_onnx_tensor;

typedef struct exn_onnx_attribute {
    exn_onnx_text name, s;
    bool has_f, has_i, has_t;
    int32_t type; /* of onnx.AttributeProto.AttributeType, 0 where the file does not say */
    float f;
    int64_t i;
    size_t tensor;               /* index into tensors, if has_t */
    exn_onnx_range ints, floats; /* in ints[] and floats[] */
} exn_onnx_attribute;

typedef struct exn_onnx_node {
    exn_onnx_text name, op, domain;
    exn_onnx_range inputs, outputs; /* in texts[]; inputs of one node are contiguous, so are outputs */
    exn_onnx_range attributes;
} exn_onnx_node;

/* A declared input or output of the graph. */
typedef struct exn_onnx_port {
    exn_onnx_text name;
    bool typed; /* is a tensor with a shape */
    int32_t data_type;
    int64_t dims[EXN_RANK_MAX]; /* -1: symbolic */
    size_t rank;
} exn_onnx_port;

typedef struct exn_onnx {
    exn_context *ctx;
    int64_t ir_version, opset;
    exn_onnx_node *nodes;
    exn_onnx_tensor *tensors; /* initialisers and attribute tensors, see initializer */
    size_t *initializers;     /* indices into tensors */
    exn_onnx_attribute *attributes;
    exn_onnx_text *input_texts, *output_texts;
    int64_t *ints;
    float *floats;
    exn_onnx_port *inputs, *outputs;
    size_t node_count, node_capacity, tensor_count, tensor_capacity, initializer_count, initializer_capacity;
    size_t attribute_count, attribute_capacity, input_text_count, input_text_capacity, output_text_count;
    size_t output_text_capacity, int_count, int_capacity, float_count, float_capacity;
    size_t input_count, input_capacity, output_count, output_capacity;
    bool has_graph, has_sparse;
    exn_status status; /* of the first failure inside a callback */
} exn_onnx;

/* Reads a whole file that stays where it is as long as the records do. EXN_E_FORMAT for bytes that are not a model within the
 * limits above. exn_onnx_free is legal after failure too. */
exn_status exn_onnx_decode(exn_onnx *out, exn_context *ctx, const uint8_t *bytes, size_t size);
void exn_onnx_free(exn_onnx *onnx);
/* Whether a text equals a C string. */
bool exn_onnx_text_is(exn_onnx_text text, const char *word);

#endif
