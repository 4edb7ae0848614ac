/* SPDX-License-Identifier: Apache-2.0
 * Attributes of ONNX operators: one row each says where it goes. */
#include <math.h>
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
    AUTO_PAD,    /* a word */
    INPUT,       /* a list that newer opsets take as the second input */
    FILL,        /* a one-element tensor that becomes the second input */
    IGNORED,     /* has no effect on inference */
    MUST_BE_ZERO /* understood, and only 0 is implemented */
} kind;

typedef struct attribute_row {
    exn_op op;
    const char *name;
    kind kind;
    size_t offset; /* in exn_attrs */
} attribute_row;

#define AT(field) offsetof(exn_attrs, field)

static const attribute_row rows[] = {
    {EXN_OP_Conv, "kernel_shape", PAIR, AT(kernel)},
    {EXN_OP_Conv, "strides", PAIR, AT(stride)},
    {EXN_OP_Conv, "dilations", PAIR, AT(dilation)},
    {EXN_OP_Conv, "pads", PADS, AT(pad)},
    {EXN_OP_Conv, "group", COUNT, AT(groups)},
    {EXN_OP_Conv, "auto_pad", AUTO_PAD, AT(auto_pad)},
    {EXN_OP_MaxPool, "kernel_shape", PAIR, AT(kernel)},
    {EXN_OP_MaxPool, "strides", PAIR, AT(stride)},
    {EXN_OP_MaxPool, "dilations", PAIR, AT(dilation)},
    {EXN_OP_MaxPool, "pads", PADS, AT(pad)},
    {EXN_OP_MaxPool, "auto_pad", AUTO_PAD, AT(auto_pad)},
    {EXN_OP_MaxPool, "ceil_mode", FLAG, AT(ceil_mode)},
    {EXN_OP_MaxPool, "storage_order", IGNORED, 0}, /* concerns the second output only */
    {EXN_OP_AveragePool, "kernel_shape", PAIR, AT(kernel)},
    {EXN_OP_AveragePool, "strides", PAIR, AT(stride)},
    {EXN_OP_AveragePool, "dilations", PAIR, AT(dilation)},
    {EXN_OP_AveragePool, "pads", PADS, AT(pad)},
    {EXN_OP_AveragePool, "auto_pad", AUTO_PAD, AT(auto_pad)},
    {EXN_OP_AveragePool, "ceil_mode", FLAG, AT(ceil_mode)},
    {EXN_OP_AveragePool, "count_include_pad", FLAG, AT(count_include_pad)},
    {EXN_OP_Gemm, "alpha", REAL, AT(alpha)},
    {EXN_OP_Gemm, "beta", REAL, AT(beta)},
    {EXN_OP_Gemm, "transA", FLAG, AT(trans_a)},
    {EXN_OP_Gemm, "transB", FLAG, AT(trans_b)},
    {EXN_OP_BatchNormalization, "epsilon", REAL, AT(epsilon)},
    {EXN_OP_BatchNormalization, "momentum", IGNORED, 0},
    {EXN_OP_BatchNormalization, "training_mode", MUST_BE_ZERO, 0},
    {EXN_OP_Clip, "min", BOUND, AT(lo)},
    {EXN_OP_Clip, "max", BOUND, AT(hi)},
    {EXN_OP_LeakyRelu, "alpha", REAL, AT(lo)},
    {EXN_OP_HardSigmoid, "alpha", REAL, AT(lo)},
    {EXN_OP_HardSigmoid, "beta", REAL, AT(hi)},
    {EXN_OP_Swish, "alpha", REAL, AT(alpha)},
    {EXN_OP_Softmax, "axis", AXIS, AT(axis)},
    {EXN_OP_LogSoftmax, "axis", AXIS, AT(axis)},
    {EXN_OP_ReduceMean, "axes", INPUT, 0},
    {EXN_OP_ReduceMean, "keepdims", FLAG, AT(keep_dims)},
    {EXN_OP_ReduceMean, "noop_with_empty_axes", FLAG, AT(keep_all)},
    {EXN_OP_Flatten, "axis", AXIS, AT(axis)},
    {EXN_OP_Reshape, "allowzero", FLAG, AT(allow_zero)},
    {EXN_OP_Squeeze, "axes", INPUT, 0},
    {EXN_OP_Unsqueeze, "axes", INPUT, 0},
    {EXN_OP_Transpose, "perm", ORDER, AT(order)},
    {EXN_OP_Concat, "axis", AXIS, AT(axis)},
    {EXN_OP_Split, "axis", AXIS, AT(axis)},
    {EXN_OP_Split, "split", INPUT, 0},
    {EXN_OP_Split, "num_outputs", IGNORED, 0}, /* the outputs are counted */
    {EXN_OP_Dropout, "ratio", IGNORED, 0},
    {EXN_OP_Dropout, "seed", IGNORED, 0},
    {EXN_OP_ConstantOfShape, "value", FILL, 0},
    {EXN_OP_Cast, "to", TYPE, AT(to)},
    {EXN_OP_Cast, "saturate", IGNORED, 0},
    {EXN_OP_Cast, "round_mode", IGNORED, 0},
    {EXN_OP_Shape, "start", AXIS, AT(start[0])},
    {EXN_OP_Shape, "end", AXIS, AT(start[1])},
    {EXN_OP_Gather, "axis", AXIS, AT(axis)},
};

static const attribute_row *find_row(exn_op op, exn_onnx_text name) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].op == op && exn_onnx_text_is(name, rows[i].name)) return &rows[i];
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

static exn_status read_auto_pad(exn_auto_pad *out, exn_importer *importer, const exn_onnx_attribute *a) {
    static const char *const words[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!exn_onnx_text_is(a->s, words[i])) continue;
        *out = (exn_auto_pad)i;
        return EXN_OK;
    }
    if (a->s.size == 0) return EXN_OK;
    return exn_fail(importer->ctx, EXN_E_FORMAT, "not one of NOTSET, SAME_UPPER, SAME_LOWER, VALID");
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
    switch (row->kind) {
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
    case AUTO_PAD:
        return read_auto_pad(field, importer, a);
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

/* ---- what holds where the file is silent ---- */

typedef struct input_range {
    uint8_t least, most;
} input_range;
#define MANY 255u

static input_range arity_of(exn_op op) {
    switch (op) {
    case EXN_OP_Conv:
    case EXN_OP_Gemm:
        return (input_range){2, 3};
    case EXN_OP_Clip:
    case EXN_OP_Dropout:
        return (input_range){1, 3};
    case EXN_OP_BatchNormalization:
        return (input_range){5, 5};
    case EXN_OP_MatMul:
    case EXN_OP_PRelu:
    case EXN_OP_Add:
    case EXN_OP_Sub:
    case EXN_OP_Mul:
    case EXN_OP_Div:
    case EXN_OP_Reshape:
    case EXN_OP_Gather:
    case EXN_OP_Unsqueeze:
        return (input_range){2, 2};
    case EXN_OP_ReduceMean:
    case EXN_OP_Squeeze:
    case EXN_OP_Split:
    case EXN_OP_ConstantOfShape:
        return (input_range){1, 2};
    case EXN_OP_Concat:
        return (input_range){1, MANY};
    case EXN_OP_Slice:
        return (input_range){3, 5};
    case EXN_OP_Pad:
        return (input_range){2, 4};
    default:
        return (input_range){1, 1};
    }
}

static void set_activation(exn_attrs *attrs, exn_activation activation, float lo, float hi) {
    attrs->activation = activation;
    attrs->lo = lo;
    attrs->hi = hi;
}

static void set_defaults(exn_attrs *attrs, exn_op op, int64_t opset) {
    *attrs = exn_attrs_default();
    switch (op) {
    case EXN_OP_Conv:
    case EXN_OP_MaxPool:
    case EXN_OP_AveragePool:
        attrs->kernel[0] = attrs->kernel[1] = 0;
        break; /* not given */
    case EXN_OP_Relu:
        set_activation(attrs, EXN_ACT_CLAMP, 0, INFINITY);
        break;
    case EXN_OP_Clip:
        set_activation(attrs, EXN_ACT_CLAMP, -INFINITY, INFINITY);
        break;
    case EXN_OP_LeakyRelu:
        set_activation(attrs, EXN_ACT_LEAKY_RELU, 0.01f, 0);
        break;
    case EXN_OP_HardSigmoid:
        set_activation(attrs, EXN_ACT_HARD_SIGMOID, 0.2f, 0.5f);
        break;
    case EXN_OP_HardSwish:
        set_activation(attrs, EXN_ACT_HARD_SWISH, 0, 0);
        break;
    case EXN_OP_Swish:
        set_activation(attrs, EXN_ACT_SILU, 0, 0);
        break;
    case EXN_OP_Sigmoid:
        set_activation(attrs, EXN_ACT_SIGMOID, 0, 0);
        break;
    case EXN_OP_Tanh:
        set_activation(attrs, EXN_ACT_TANH, 0, 0);
        break;
    case EXN_OP_Exp:
        set_activation(attrs, EXN_ACT_EXP, 0, 0);
        break;
    case EXN_OP_Log:
        set_activation(attrs, EXN_ACT_LOG, 0, 0);
        break;
    case EXN_OP_Softmax:
    case EXN_OP_LogSoftmax:
        attrs->axis = opset < 13 ? 1 : -1;
        break;
    case EXN_OP_ReduceMean:
        attrs->keep_dims = true;
        break;
    case EXN_OP_Flatten:
        attrs->axis = 1;
        break;
    case EXN_OP_Shape:
        attrs->start[1] = INT64_MAX;
        break;
    default:
        break;
    }
}

static exn_status check_pad_mode(exn_importer *importer, const exn_onnx_attribute *a) {
    if (exn_onnx_text_is(a->s, "constant") || a->s.size == 0) return EXN_OK;
    return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "only constant padding is supported");
}

static exn_status read_attributes(exn_importer *importer, exn_import_node *node) {
    const exn_onnx_range range = node->source->attributes;
    for (size_t i = 0; i < range.count; i++) {
        const exn_onnx_attribute *a = &importer->onnx.attributes[range.first + i];
        const attribute_row *row = find_row(node->op, a->name);
        exn_status status;
        if (row != NULL)
            status = read_attribute(importer, node, row, a);
        else if (node->op == EXN_OP_Pad && exn_onnx_text_is(a->name, "mode"))
            status = check_pad_mode(importer, a);
        else
            status = exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "not an attribute of this operator");
        if (status != EXN_OK) {
            char name[EXN_ONNX_NAME_MAX + 1];
            EXN_TRY(exn_import_name(name, importer->ctx, a->name));
            return exn_fail_in(importer->ctx, status, "attribute '%s'", name);
        }
    }
    return EXN_OK;
}

exn_status exn_import_attributes(exn_importer *importer, exn_import_node *node) {
    const input_range arity = arity_of(node->op);
    set_defaults(&node->attrs, node->op, importer->onnx.opset);
    EXN_TRY(read_attributes(importer, node));
    if (node->input_count < arity.least || (arity.most != MANY && node->input_count > arity.most))
        return exn_fail(importer->ctx, EXN_E_FORMAT, "%zu inputs given, %u to %u wanted", node->input_count,
                        (unsigned)arity.least, (unsigned)arity.most);
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == EXN_VALUE_NONE && (i < arity.least || arity.most == MANY))
            return exn_fail(importer->ctx, EXN_E_FORMAT, "input %zu is missing", i);
    if (node->op == EXN_OP_Swish && node->attrs.alpha != 1.0f)
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "attribute 'alpha': only 1 is supported");
    return EXN_OK;
}
