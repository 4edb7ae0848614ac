/* SPDX-License-Identifier: Apache-2.0
 * Attributes of ONNX operators: one row each says where it goes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/import.h"
#include "graph/onnx.pb.h"

#define SIZE_ATTRIBUTE_MAX 65535 /* kernels, strides, dilations, pads: keeps every sum of them small */

typedef enum kind {
    PAIR,        /* two positive sizes */
    PADS,        /* four sizes from zero */
    COUNT,       /* one positive size */
    FLAG,        /* 0 or 1 */
    REAL,        /* a finite float */
    BOUND,       /* a float, infinite too */
    AXIS,        /* int64 */
    ORDER,       /* a permutation */
    TYPE,        /* of Cast */
    WORD,        /* one of a list, as its index */
    INPUT,       /* a list that newer opsets take as the second input */
    FILL,        /* a one-element tensor that becomes the second input */
    IGNORED,     /* has no effect on inference */
    MUST_BE_ZERO /* understood, and only 0 is implemented */
} kind;

typedef struct attribute_row {
    uint16_t first, last; /* operators, in the order of ops.inc */
    const char *name;
    uint16_t kind, offset; /* in exn_attrs */
    const char *const *words;
} attribute_row;

#define AT(field) offsetof(exn_attrs, field)
#define OF(op) EXN_OP_##op, EXN_OP_##op
#define WINDOWS EXN_OP_Conv, EXN_OP_AveragePool
#define POOLS EXN_OP_MaxPool, EXN_OP_AveragePool
#define REDUCTIONS EXN_OP_ReduceMean, EXN_OP_ReduceSumSquare
#define NORMS EXN_OP_LayerNormalization, EXN_OP_GroupNormalization

static const char *const auto_pads[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};
static const char *const approximations[] = {"none", "tanh", NULL};
static const char *const block_orders[] = {"DCR", "CRD", NULL};
static const char *const pad_modes[] = {"constant", NULL};

static const attribute_row rows[] = {
    {WINDOWS, "kernel_shape", PAIR, AT(kernel), NULL},
    {WINDOWS, "strides", PAIR, AT(stride), NULL},
    {WINDOWS, "dilations", PAIR, AT(dilation), NULL},
    {WINDOWS, "pads", PADS, AT(pad), NULL},
    {WINDOWS, "auto_pad", WORD, AT(auto_pad), auto_pads},
    {OF(Conv), "group", COUNT, AT(groups), NULL},
    {POOLS, "ceil_mode", FLAG, AT(ceil_mode), NULL},
    {OF(MaxPool), "storage_order", IGNORED, 0, NULL}, /* concerns the second output only */
    {OF(AveragePool), "count_include_pad", FLAG, AT(count_include_pad), NULL},
    {OF(Gemm), "alpha", REAL, AT(alpha), NULL},
    {OF(Gemm), "beta", REAL, AT(beta), NULL},
    {OF(Gemm), "transA", FLAG, AT(trans_a), NULL},
    {OF(Gemm), "transB", FLAG, AT(trans_b), NULL},
    {OF(BatchNormalization), "epsilon", REAL, AT(epsilon), NULL},
    {OF(BatchNormalization), "momentum", IGNORED, 0, NULL},
    {OF(BatchNormalization), "training_mode", MUST_BE_ZERO, 0, NULL},
    {NORMS, "epsilon", REAL, AT(epsilon), NULL},
    {NORMS, "stash_type", IGNORED, 0, NULL}, /* all is computed in float32 */
    {OF(LayerNormalization), "axis", AXIS, AT(axis), NULL},
    {OF(GroupNormalization), "num_groups", COUNT, AT(groups), NULL},
    {OF(LRN), "alpha", REAL, AT(alpha), NULL},
    {OF(LRN), "beta", REAL, AT(beta), NULL},
    {OF(LRN), "bias", REAL, AT(lo), NULL},
    {OF(LRN), "size", COUNT, AT(groups), NULL},
    {OF(Clip), "min", BOUND, AT(lo), NULL},
    {OF(Clip), "max", BOUND, AT(hi), NULL},
    {OF(LeakyRelu), "alpha", REAL, AT(lo), NULL},
    {OF(HardSigmoid), "alpha", REAL, AT(lo), NULL},
    {OF(HardSigmoid), "beta", REAL, AT(hi), NULL},
    {OF(ThresholdedRelu), "alpha", REAL, AT(lo), NULL},
    {EXN_OP_Elu, EXN_OP_Selu, "alpha", REAL, AT(lo), NULL},
    {OF(Selu), "gamma", REAL, AT(hi), NULL},
    {OF(Celu), "alpha", REAL, AT(lo), NULL},
    {OF(Gelu), "approximate", WORD, AT(variant), approximations},
    {OF(Swish), "alpha", REAL, AT(alpha), NULL},
    {EXN_OP_Softmax, EXN_OP_LogSoftmax, "axis", AXIS, AT(axis), NULL},
    {REDUCTIONS, "axes", INPUT, 0, NULL},
    {REDUCTIONS, "keepdims", FLAG, AT(keep_dims), NULL},
    {REDUCTIONS, "noop_with_empty_axes", FLAG, AT(keep_all), NULL},
    {OF(Flatten), "axis", AXIS, AT(axis), NULL},
    {OF(Reshape), "allowzero", FLAG, AT(allow_zero), NULL},
    {EXN_OP_Squeeze, EXN_OP_Unsqueeze, "axes", INPUT, 0, NULL},
    {OF(Transpose), "perm", ORDER, AT(order), NULL},
    {EXN_OP_Concat, EXN_OP_Split, "axis", AXIS, AT(axis), NULL},
    {OF(Split), "split", INPUT, 0, NULL},
    {OF(Split), "num_outputs", IGNORED, 0, NULL}, /* the outputs are counted */
    {OF(Pad), "mode", WORD, AT(variant), pad_modes},
    {EXN_OP_DepthToSpace, EXN_OP_SpaceToDepth, "blocksize", COUNT, AT(groups), NULL},
    {OF(DepthToSpace), "mode", WORD, AT(variant), block_orders},
    {OF(Dropout), "ratio", IGNORED, 0, NULL},
    {OF(Dropout), "seed", IGNORED, 0, NULL},
    {OF(ConstantOfShape), "value", FILL, 0, NULL},
    {OF(Cast), "to", TYPE, AT(to), NULL},
    {EXN_OP_Cast, EXN_OP_CastLike, "saturate", IGNORED, 0, NULL},
    {OF(Cast), "round_mode", IGNORED, 0, NULL},
    {OF(Shape), "start", AXIS, AT(start[0]), NULL},
    {OF(Shape), "end", AXIS, AT(start[1]), NULL},
    {OF(Gather), "axis", AXIS, AT(axis), NULL},
};

static const attribute_row *find_row(exn_op op, exn_onnx_text name) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].first <= op && op <= rows[i].last && exn_onnx_text_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

static exn_status read_sizes(size_t *out, exn_importer *importer, const exn_onnx_attribute *a, size_t count,
                             int64_t least) {
    if (a->ints.count != count)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "%zu numbers wanted (two spatial dimensions), %zu given",
                        count, a->ints.count);
    for (size_t i = 0; i < count; i++) {
        const int64_t number = importer->onnx.ints[a->ints.first + i];
        if (number < least || number > SIZE_ATTRIBUTE_MAX)
            return exn_fail(importer->ctx, number < least ? EXN_E_UNSUPPORTED : EXN_E_FORMAT,
                            "%lld is not within %lld..%d", (long long)number, (long long)least, SIZE_ATTRIBUTE_MAX);
        out[i] = (size_t)number;
    }
    return EXN_OK;
}

static exn_status read_order(exn_attrs *attrs, exn_importer *importer, const exn_onnx_attribute *a) {
    uint32_t seen = 0;
    if (a->ints.count > EXN_RANK_MAX) return exn_fail(importer->ctx, EXN_E_FORMAT, "too many dimensions");
    for (size_t i = 0; i < a->ints.count; i++) {
        const int64_t number = importer->onnx.ints[a->ints.first + i];
        if (number < 0 || number >= (int64_t)a->ints.count || (seen >> number & 1u) != 0)
            return exn_fail(importer->ctx, EXN_E_FORMAT, "not a permutation");
        seen |= 1u << number;
        attrs->order[i] = (size_t)number;
    }
    attrs->axes = (uint32_t)a->ints.count;
    return EXN_OK;
}

static exn_status read_word(void *field, exn_importer *importer, const exn_onnx_attribute *a,
                            const char *const words[]) {
    char list[64] = "";
    size_t used = 0;
    if (a->s.size == 0) return EXN_OK;
    for (uint32_t i = 0; words[i] != NULL; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", words[i]);
        if (!exn_onnx_text_is(a->s, words[i])) continue;
        memcpy(field, &i, sizeof i);
        return EXN_OK;
    }
    return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "supported are:%s", list);
}

static exn_status read_type(exn_dtype *out, exn_importer *importer, const exn_onnx_attribute *a) {
    switch (a->i) {
    case onnx_TensorProto_DataType_FLOAT:
    case onnx_TensorProto_DataType_DOUBLE:
        *out = EXN_F32;
        return EXN_OK;
    case onnx_TensorProto_DataType_INT64:
        *out = EXN_I64;
        return EXN_OK;
    case onnx_TensorProto_DataType_INT32:
        *out = EXN_I32;
        return EXN_OK;
    case onnx_TensorProto_DataType_UINT8:
        *out = EXN_U8;
        return EXN_OK;
    case onnx_TensorProto_DataType_BOOL:
        *out = EXN_BOOL;
        return EXN_OK;
    default:
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "data type %lld", (long long)a->i);
    }
}

/* An attribute's list or tensor as the operator's second input. */
static exn_status add_input(exn_importer *importer, exn_import_node *node, const exn_onnx_attribute *a) {
    exn_value_id id;
    if (node->input_count != 1) return exn_fail(importer->ctx, EXN_E_FORMAT, "given as attribute and as input");
    if (a->has_t) {
        EXN_TRY(exn_import_tensor(&id, importer, NULL, &importer->onnx.tensors[a->tensor]));
    } else {
        const exn_shape shape = {.rank = 1, .dim = {a->ints.count}};
        const int64_t *ints = a->ints.count > 0 ? importer->onnx.ints + a->ints.first : NULL;
        EXN_TRY(exn_graph_constant(&id, importer->graph, NULL, EXN_I64, &shape, ints, true));
    }
    node->inputs[node->input_count++] = id;
    return EXN_OK;
}

static exn_status read_attribute(exn_importer *importer, exn_import_node *node, const attribute_row *row,
                                 const exn_onnx_attribute *a) {
    exn_context *ctx = importer->ctx;
    void *field = (uint8_t *)&node->attrs + row->offset;
    switch ((kind)row->kind) {
    case PAIR:
        return read_sizes(field, importer, a, 2, 1);
    case PADS:
        return read_sizes(field, importer, a, 4, 0);
    case COUNT:
        if (!a->has_i || a->i < 1 || a->i > INT32_MAX) return exn_fail(ctx, EXN_E_FORMAT, "not a positive number");
        *(size_t *)field = (size_t)a->i;
        return EXN_OK;
    case FLAG:
        if (!a->has_i || a->i < 0 || a->i > 1) return exn_fail(ctx, EXN_E_FORMAT, "neither 0 nor 1");
        *(bool *)field = a->i == 1;
        return EXN_OK;
    case REAL:
        if (!a->has_f || !isfinite(a->f)) return exn_fail(ctx, EXN_E_FORMAT, "not a finite number");
        *(float *)field = a->f;
        return EXN_OK;
    case BOUND:
        if (!a->has_f || isnan(a->f)) return exn_fail(ctx, EXN_E_FORMAT, "not a number");
        *(float *)field = a->f;
        return EXN_OK;
    case AXIS:
        if (!a->has_i) return exn_fail(ctx, EXN_E_FORMAT, "not a whole number");
        *(int64_t *)field = a->i;
        return EXN_OK;
    case ORDER:
        return read_order(&node->attrs, importer, a);
    case TYPE:
        return read_type(field, importer, a);
    case WORD:
        return read_word(field, importer, a, row->words);
    case INPUT:
    case FILL:
        return add_input(importer, node, a);
    case MUST_BE_ZERO:
        return a->i == 0 ? EXN_OK : exn_fail(ctx, EXN_E_UNSUPPORTED, "only 0 is supported");
    case IGNORED:
        return EXN_OK;
    }
    return EXN_OK;
}

static exn_status read_attributes(exn_importer *importer, exn_import_node *node) {
    const exn_onnx_range range = node->source->attributes;
    for (size_t i = 0; i < range.count; i++) {
        const exn_onnx_attribute *a = &importer->onnx.attributes[range.first + i];
        const attribute_row *row = find_row(node->op, a->name);
        const exn_status status = row != NULL
                                      ? read_attribute(importer, node, row, a)
                                      : exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "not an attribute of this operator");
        if (status != EXN_OK) {
            char name[EXN_ONNX_NAME_MAX + 1];
            EXN_TRY(exn_import_name(name, importer->ctx, a->name));
            return exn_fail_in(importer->ctx, status, "attribute '%s'", name);
        }
    }
    return EXN_OK;
}

exn_status exn_import_attributes(exn_importer *importer, exn_import_node *node) {
    size_t least, most;
    exn_op_inputs(&least, &most, node->op);
    node->attrs = exn_op_attrs(node->op);
    if ((node->op == EXN_OP_Softmax || node->op == EXN_OP_LogSoftmax) && importer->onnx.opset < 13)
        node->attrs.axis = 1;
    EXN_TRY(read_attributes(importer, node));
    if (node->input_count < least || (most != EXN_INPUTS_MANY && node->input_count > most))
        return exn_fail(importer->ctx, EXN_E_FORMAT, "%zu inputs given, %zu to %zu wanted", node->input_count, least,
                        most);
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == EXN_VALUE_NONE && (i < least || most == EXN_INPUTS_MANY))
            return exn_fail(importer->ctx, EXN_E_FORMAT, "input %zu is missing", i);
    if (node->op == EXN_OP_Swish && node->attrs.alpha != 1.0f)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "attribute 'alpha': only 1 is supported");
    return EXN_OK;
}
