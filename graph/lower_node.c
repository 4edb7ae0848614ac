/* SPDX-License-Identifier: Apache-2.0
 * From an operator to the function that lowers it. */
#include "graph/lower.h"

static exn_status refuse_unfolded(exn_lowering *l) {
    return exn_lower_fail(l, EXN_E_UNSUPPORTED, "is supported only where its result is known before running");
}

static exn_status lower_cast(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || x->dtype != EXN_F32 || l->graph->values[l->node->outputs[0]].dtype != EXN_F32)
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only float32 can be cast while running");
    return exn_lower_view(l);
}

typedef exn_status exn_lower_fn(exn_lowering *l);

static exn_lower_fn *const lower_of[EXN_OP_COUNT] = {
    [EXN_OP_Conv] = exn_lower_conv,
    [EXN_OP_Gemm] = exn_lower_gemm,
    [EXN_OP_MatMul] = exn_lower_matmul,
    [EXN_OP_BatchNormalization] = exn_lower_batchnorm,
    [EXN_OP_Relu] = exn_lower_activation,
    [EXN_OP_Clip] = exn_lower_activation,
    [EXN_OP_LeakyRelu] = exn_lower_activation,
    [EXN_OP_PRelu] = exn_lower_prelu,
    [EXN_OP_Sigmoid] = exn_lower_activation,
    [EXN_OP_HardSigmoid] = exn_lower_activation,
    [EXN_OP_HardSwish] = exn_lower_activation,
    [EXN_OP_Swish] = exn_lower_activation,
    [EXN_OP_Tanh] = exn_lower_activation,
    [EXN_OP_Exp] = exn_lower_activation,
    [EXN_OP_Log] = exn_lower_activation,
    [EXN_OP_Softmax] = exn_lower_softmax,
    [EXN_OP_LogSoftmax] = exn_lower_softmax,
    [EXN_OP_Add] = exn_lower_binary,
    [EXN_OP_Sub] = exn_lower_binary,
    [EXN_OP_Mul] = exn_lower_binary,
    [EXN_OP_Div] = exn_lower_binary,
    [EXN_OP_MaxPool] = exn_lower_pool,
    [EXN_OP_AveragePool] = exn_lower_pool,
    [EXN_OP_GlobalAveragePool] = exn_lower_global_pool,
    [EXN_OP_GlobalMaxPool] = exn_lower_global_pool,
    [EXN_OP_ReduceMean] = exn_lower_mean,
    [EXN_OP_Flatten] = exn_lower_view,
    [EXN_OP_Reshape] = exn_lower_view,
    [EXN_OP_Squeeze] = exn_lower_view,
    [EXN_OP_Unsqueeze] = exn_lower_view,
    [EXN_OP_Transpose] = exn_lower_transpose,
    [EXN_OP_Concat] = exn_lower_concat,
    [EXN_OP_Split] = exn_lower_split,
    [EXN_OP_Slice] = exn_lower_slice,
    [EXN_OP_Pad] = exn_lower_pad,
    [EXN_OP_Identity] = exn_lower_view,
    [EXN_OP_Dropout] = exn_lower_view,
    [EXN_OP_Constant] = refuse_unfolded,
    [EXN_OP_ConstantOfShape] = refuse_unfolded,
    [EXN_OP_Cast] = lower_cast,
    [EXN_OP_Shape] = refuse_unfolded,
    [EXN_OP_Gather] = exn_lower_gather,
};

exn_status exn_lower_node(exn_lowering *l, const exn_node *node, size_t branch) {
    l->node = node;
    l->branch = branch;
    if (!lower_of[node->op]) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "no lowering for this operator");
    if (node->input_count == 0 || node->inputs[0] == EXN_VALUE_NONE)
        return exn_lower_fail(l, EXN_E_INVALID, "the first input is absent");
    return lower_of[node->op](l);
}
