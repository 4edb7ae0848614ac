/* SPDX-License-Identifier: Apache-2.0
 * What is known of an operator before a file is read: its name, its inputs, what holds where the file is silent. */
#include <math.h>

#include "graph/ir.h"

#define MANY EXN_INPUTS_MANY

typedef struct op_row {
    const char *name;
    uint8_t least, most;
} op_row;

static const op_row ops[EXN_OP_COUNT] = {
#define EXN_OP_ROW(op, least, most, ...) [EXN_OP_##op] = {#op, least, most},
#include "graph/ops.inc"
#undef EXN_OP_ROW
};

const char *exn_op_name(exn_op op) {
    return (unsigned)op < EXN_OP_COUNT ? ops[op].name : "unknown";
}

void exn_op_inputs(size_t *least, size_t *most, exn_op op) {
    *least = ops[op].least;
    *most = ops[op].most;
}

/* The function that an operator of one input carries, and its usual parameters. */
typedef struct function_row {
    uint16_t op, activation;
    float lo, hi;
} function_row;

static const function_row functions[] = {
    {EXN_OP_Relu, EXN_ACT_CLAMP, 0, INFINITY},
    {EXN_OP_Clip, EXN_ACT_CLAMP, -INFINITY, INFINITY},
    {EXN_OP_LeakyRelu, EXN_ACT_LEAKY_RELU, 0.01f, 0},
    {EXN_OP_HardSigmoid, EXN_ACT_HARD_SIGMOID, 0.2f, 0.5f},
    {EXN_OP_HardSwish, EXN_ACT_HARD_SWISH, 0, 0},
    {EXN_OP_Swish, EXN_ACT_SILU, 0, 0},
    {EXN_OP_Sigmoid, EXN_ACT_SIGMOID, 0, 0},
    {EXN_OP_Tanh, EXN_ACT_TANH, 0, 0},
    {EXN_OP_Exp, EXN_ACT_EXP, 0, 0},
    {EXN_OP_Log, EXN_ACT_LOG, 0, 0},
    {EXN_OP_Abs, EXN_ACT_ABS, 0, 0},
    {EXN_OP_Sqrt, EXN_ACT_SQRT, 0, 0},
    {EXN_OP_Floor, EXN_ACT_FLOOR, 0, 0},
    {EXN_OP_Ceil, EXN_ACT_CEIL, 0, 0},
    {EXN_OP_Round, EXN_ACT_ROUND, 0, 0},
    {EXN_OP_Sign, EXN_ACT_SIGN, 0, 0},
    {EXN_OP_ThresholdedRelu, EXN_ACT_THRESHOLD, 1, 0},
    {EXN_OP_Softsign, EXN_ACT_SOFTSIGN, 0, 0},
    {EXN_OP_Erf, EXN_ACT_ERF, 0, 0},
    {EXN_OP_Gelu, EXN_ACT_GELU, 0, 0},
    {EXN_OP_Elu, EXN_ACT_ELU, 1, 1},
    {EXN_OP_Selu, EXN_ACT_ELU, 1.67326319f, 1.05070102f},
    {EXN_OP_Softplus, EXN_ACT_SOFTPLUS, 0, 0},
};

exn_attrs exn_op_attrs(exn_op op) {
    exn_attrs attrs = exn_attrs_default();
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (functions[i].op != op) continue;
        attrs.activation = (exn_activation)functions[i].activation;
        attrs.lo = functions[i].lo;
        attrs.hi = functions[i].hi;
    }
    attrs.keep_dims = op >= EXN_OP_ReduceMean && op <= EXN_OP_ReduceSumSquare;
    switch (op) {
    case EXN_OP_Conv:
    case EXN_OP_MaxPool:
    case EXN_OP_AveragePool:
        attrs.kernel[0] = attrs.kernel[1] = 0; /* not given */
        break;
    case EXN_OP_Softmax:
    case EXN_OP_LogSoftmax:
    case EXN_OP_LayerNormalization:
        attrs.axis = -1;
        break;
    case EXN_OP_Flatten:
        attrs.axis = 1;
        break;
    case EXN_OP_Shape:
        attrs.start[1] = INT64_MAX;
        break;
    case EXN_OP_Celu:
    case EXN_OP_LRN: /* its bias */
        attrs.lo = 1;
        break;
    default:
        break;
    }
    if (op == EXN_OP_LRN) {
        attrs.alpha = 1e-4f;
        attrs.beta = 0.75f;
    }
    return attrs;
}
