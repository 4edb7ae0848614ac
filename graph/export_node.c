/* SPDX-License-Identifier: Apache-2.0
 * Operators of a bound and folded graph in ONNX's words: one function a family. */
#include <math.h>
#include <string.h>

#include "graph/export.h"

typedef char made_name[EXN_EXPORT_NAME_BYTES];

static const exn_shape *shape_of(const exn_export *e, exn_value_id id) {
    return &e->graph->values[id].shape;
}

static const char *input(exn_export *e, const exn_node *node, size_t i) {
    return i < node->input_count ? exn_export_value(e, node->inputs[i]) : "";
}

static const char *output(const exn_export *e, const exn_node *node) {
    return e->graph->values[node->outputs[0]].name;
}

static void put_sizes(exn_message *attributes, const char *name, const size_t sizes[], size_t count) {
    int64_t values[EXN_RANK_MAX];
    for (size_t i = 0; i < count; i++) values[i] = (int64_t)sizes[i];
    exn_attribute_ints(attributes, name, values, count);
}

/* ---- activations ---- */

static void put_clamp(exn_export *e, const exn_attrs *a, const char *x, const char *y) {
    made_name lo = "", hi = "";
    if (a->lo == 0 && isinf(a->hi)) {
        exn_export_op(e, "Relu", &x, 1, y, NULL);
        return;
    }
    if (!isinf(a->lo)) exn_export_float(lo, e, a->lo);
    if (!isinf(a->hi)) exn_export_float(hi, e, a->hi);
    exn_export_op(e, "Clip", (const char *const[]){x, lo, hi}, 3, y, NULL);
}

/* HardSwish and Swish are spelled out: not every runtime has them under one name. */
static void put_gate(exn_export *e, bool hard, const char *x, const char *y) {
    exn_message attributes = {.ctx = e->ctx};
    made_name gate;
    exn_export_fresh(gate, e);
    if (hard) {
        exn_attribute_float(&attributes, "alpha", 1.0f / 6);
        exn_attribute_float(&attributes, "beta", 0.5f);
    }
    exn_export_op(e, hard ? "HardSigmoid" : "Sigmoid", &x, 1, gate, &attributes);
    exn_export_op(e, "Mul", (const char *const[]){x, gate}, 2, y, NULL);
}

/* x/2 * (1 + erf(x / sqrt 2)) */
static void put_gelu(exn_export *e, const char *x, const char *y) {
    made_name numbers[3], steps[4];
    static const float values[3] = {0.70710678f, 1.0f, 0.5f};
    for (size_t i = 0; i < 3; i++) exn_export_float(numbers[i], e, values[i]);
    for (size_t i = 0; i < 4; i++) exn_export_fresh(steps[i], e);
    exn_export_op(e, "Mul", (const char *const[]){x, numbers[0]}, 2, steps[0], NULL);
    exn_export_op(e, "Erf", (const char *const[]){steps[0]}, 1, steps[1], NULL);
    exn_export_op(e, "Add", (const char *const[]){steps[1], numbers[1]}, 2, steps[2], NULL);
    exn_export_op(e, "Mul", (const char *const[]){x, numbers[2]}, 2, steps[3], NULL);
    exn_export_op(e, "Mul", (const char *const[]){steps[3], steps[2]}, 2, y, NULL);
}

typedef struct function_name {
    const char *op;
    bool alpha, beta;
} function_name;

static const function_name functions[EXN_ACT_END] = {
    [EXN_ACT_NONE] = {"Identity", false, false},
    [EXN_ACT_LEAKY_RELU] = {"LeakyRelu", true, false},
    [EXN_ACT_HARD_SIGMOID] = {"HardSigmoid", true, true},
    [EXN_ACT_SIGMOID] = {"Sigmoid", false, false},
    [EXN_ACT_TANH] = {"Tanh", false, false},
    [EXN_ACT_EXP] = {"Exp", false, false},
    [EXN_ACT_LOG] = {"Log", false, false},
    [EXN_ACT_ABS] = {"Abs", false, false},
    [EXN_ACT_SQRT] = {"Sqrt", false, false},
    [EXN_ACT_FLOOR] = {"Floor", false, false},
    [EXN_ACT_CEIL] = {"Ceil", false, false},
    [EXN_ACT_ROUND] = {"Round", false, false},
    [EXN_ACT_SIGN] = {"Sign", false, false},
    [EXN_ACT_THRESHOLD] = {"ThresholdedRelu", true, false},
    [EXN_ACT_SOFTSIGN] = {"Softsign", false, false},
    [EXN_ACT_ERF] = {"Erf", false, false},
    [EXN_ACT_ELU] = {"Selu", true, false},
    [EXN_ACT_SOFTPLUS] = {"Softplus", false, false},
};

static void put_activation(exn_export *e, const exn_attrs *a, const char *x, const char *y) {
    exn_message attributes = {.ctx = e->ctx};
    const function_name *of = &functions[a->activation];
    switch (a->activation) {
    case EXN_ACT_CLAMP:
        put_clamp(e, a, x, y);
        return;
    case EXN_ACT_HARD_SWISH:
    case EXN_ACT_SILU:
        put_gate(e, a->activation == EXN_ACT_HARD_SWISH, x, y);
        return;
    case EXN_ACT_GELU:
        put_gelu(e, x, y);
        return;
    default:
        break;
    }
    if (of->alpha) exn_attribute_float(&attributes, "alpha", a->lo);
    if (of->beta) exn_attribute_float(&attributes, "beta", a->hi);
    if (a->activation == EXN_ACT_ELU) exn_attribute_float(&attributes, "gamma", a->hi);
    exn_export_op(e, of->op, &x, 1, y, &attributes);
}

/* An operator whose activation folding attached: two nodes. */
static void put_activated(exn_export *e, const exn_node *node, const char *op, const char *const inputs[], size_t count,
                          exn_message *attributes) {
    made_name plain;
    if (node->attrs.activation == EXN_ACT_NONE) {
        exn_export_op(e, op, inputs, count, output(e, node), attributes);
        return;
    }
    exn_export_fresh(plain, e);
    exn_export_op(e, op, inputs, count, plain, attributes);
    put_activation(e, &node->attrs, plain, output(e, node));
}

/* ---- Conv and Gemm ---- */

/* Weights times what folding attached, as packing multiplies them. `inner` elements share a factor. */
static void put_scaled(made_name name, exn_export *e, const exn_node *node, size_t channels, size_t inner) {
    const exn_value *weight = &e->graph->values[node->inputs[1]];
    const size_t count = exn_shape_elements(&weight->shape);
    float *scaled = exn_malloc(e->ctx, count, sizeof *scaled);
    if (scaled == NULL) {
        e->status = EXN_E_NOMEM;
        return;
    }
    for (size_t i = 0; i < count; i++)
        scaled[i] = exn_value_f32(weight, i) * node->attrs.fold_scale[i / inner % channels];
    if (e->status == EXN_OK) e->status = exn_value_check(e->ctx, weight);
    exn_export_constant(name, e, EXN_F32, &weight->shape, scaled);
    exn_free(e->ctx, scaled);
}

static void put_shift(made_name name, exn_export *e, const exn_node *node, size_t channels) {
    const exn_shape shape = exn_shape_of(1, &channels);
    exn_export_constant(name, e, EXN_F32, &shape, node->attrs.fold_shift);
}

static void put_conv(exn_export *e, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_shape *w = shape_of(e, node->inputs[1]);
    exn_message attributes = {.ctx = e->ctx};
    made_name weight = "", bias = "", sum;
    put_sizes(&attributes, "kernel_shape", w->dim + 2, 2);
    put_sizes(&attributes, "strides", a->stride, 2);
    put_sizes(&attributes, "dilations", a->dilation, 2);
    put_sizes(&attributes, "pads", a->pad, 4);
    exn_attribute_int(&attributes, "group", (int64_t)a->groups);
    const char *inputs[3] = {input(e, node, 0), weight, bias};
    if (a->fold_scale != NULL) {
        put_scaled(weight, e, node, w->dim[0], w->dim[1] * w->dim[2] * w->dim[3]);
        put_shift(bias, e, node, w->dim[0]);
    } else {
        inputs[1] = input(e, node, 1);
        inputs[2] = node->input_count > (a->residual ? 3u : 2u) ? input(e, node, 2) : "";
    }
    if (!a->residual) {
        put_activated(e, node, "Conv", inputs, 3, &attributes);
        return;
    }
    exn_export_fresh(sum, e);
    exn_export_op(e, "Conv", inputs, 3, sum, &attributes);
    put_activated(e, node, "Add", (const char *const[]){sum, input(e, node, node->input_count - 1)}, 2, NULL);
}

static void put_gemm(exn_export *e, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_shape *w = shape_of(e, node->inputs[1]);
    const size_t channels = w->dim[a->trans_b ? 0 : 1];
    exn_message attributes = {.ctx = e->ctx};
    made_name weight = "", bias = "";
    exn_attribute_float(&attributes, "alpha", a->alpha);
    exn_attribute_float(&attributes, "beta", a->fold_scale != NULL ? 1.0f : a->beta);
    exn_attribute_int(&attributes, "transA", a->trans_a);
    exn_attribute_int(&attributes, "transB", a->trans_b);
    const char *inputs[3] = {input(e, node, 0), weight, bias};
    if (a->fold_scale != NULL) {
        put_scaled(weight, e, node, channels, a->trans_b ? w->dim[1] : 1);
        put_shift(bias, e, node, channels);
    } else {
        inputs[1] = input(e, node, 1);
        inputs[2] = input(e, node, 2);
    }
    put_activated(e, node, "Gemm", inputs, 3, &attributes);
}

/* ---- pools ---- */

/* (inputs, outputs): column i averages inputs from floor(i inputs / outputs) to ceil((i + 1) inputs / outputs). */
static void put_averages(made_name name, exn_export *e, size_t inputs, size_t outputs) {
    const exn_shape shape = exn_shape_of(2, (const size_t[]){inputs, outputs});
    float *matrix = exn_calloc(e->ctx, inputs * outputs, sizeof *matrix);
    if (matrix == NULL) {
        e->status = EXN_E_NOMEM;
        return;
    }
    for (size_t i = 0; i < outputs; i++) {
        const size_t begin = i * inputs / outputs, end = ((i + 1) * inputs + outputs - 1) / outputs;
        for (size_t k = begin; k < end; k++) matrix[k * outputs + i] = 1.0f / (float)(end - begin);
    }
    exn_export_constant(name, e, EXN_F32, &shape, matrix);
    exn_free(e->ctx, matrix);
}

/* Averages along the last axis and swaps the last two: done twice, rows and columns are averaged and stand where they stood. */
static void put_averaged(exn_export *e, const char *x, size_t inputs, size_t outputs, const char *y) {
    exn_message attributes = {.ctx = e->ctx};
    made_name matrix, averaged;
    put_averages(matrix, e, inputs, outputs);
    exn_export_fresh(averaged, e);
    exn_export_op(e, "MatMul", (const char *const[]){x, matrix}, 2, averaged, NULL);
    exn_attribute_ints(&attributes, "perm", (const int64_t[]){0, 1, 3, 2}, 4);
    exn_export_op(e, "Transpose", (const char *const[]){averaged}, 1, y, &attributes);
}

/* ONNX has no adaptive pooling: rows and columns are averaged by two matrices, unless every window is alike. */
static void put_adaptive(exn_export *e, const exn_node *node) {
    const exn_shape *x = shape_of(e, node->inputs[0]), *y = shape_of(e, node->outputs[0]);
    made_name half;
    if (x->dim[2] % y->dim[2] == 0 && x->dim[3] % y->dim[3] == 0) {
        exn_message attributes = {.ctx = e->ctx};
        const size_t window[2] = {x->dim[2] / y->dim[2], x->dim[3] / y->dim[3]};
        put_sizes(&attributes, "kernel_shape", window, 2);
        put_sizes(&attributes, "strides", window, 2);
        exn_export_op(e, "AveragePool", (const char *const[]){input(e, node, 0)}, 1, output(e, node), &attributes);
        return;
    }
    exn_export_fresh(half, e);
    put_averaged(e, input(e, node, 0), x->dim[3], y->dim[3], half);
    put_averaged(e, half, x->dim[2], y->dim[2], output(e, node));
}

static void put_pool(exn_export *e, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const bool average = node->op == EXN_OP_AveragePool;
    exn_message attributes = {.ctx = e->ctx};
    if (a->adaptive) {
        put_adaptive(e, node);
        return;
    }
    put_sizes(&attributes, "kernel_shape", a->kernel, 2);
    put_sizes(&attributes, "strides", a->stride, 2);
    put_sizes(&attributes, "pads", a->pad, 4);
    exn_attribute_int(&attributes, "ceil_mode", a->ceil_mode);
    if (average) exn_attribute_int(&attributes, "count_include_pad", a->count_include_pad);
    if (!average) put_sizes(&attributes, "dilations", a->dilation, 2);
    exn_export_op(e, exn_op_name(node->op), (const char *const[]){input(e, node, 0)}, 1, output(e, node), &attributes);
}

/* In the operator set that is written, only ReduceSum has its axes as an input. */
static void put_reduce(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    int64_t axes[EXN_RANK_MAX];
    size_t count = 0;
    for (size_t i = 0; i < EXN_RANK_MAX; i++)
        if (node->attrs.axes >> i & 1u) axes[count++] = (int64_t)i;
    made_name list = "";
    const bool sum = node->op == EXN_OP_ReduceSum;
    if (sum)
        exn_export_ints(list, e, axes, count);
    else
        exn_attribute_ints(&attributes, "axes", axes, count);
    exn_attribute_int(&attributes, "keepdims", node->attrs.keep_dims);
    exn_export_op(e, exn_op_name(node->op), (const char *const[]){input(e, node, 0), list}, sum ? 2 : 1,
                  output(e, node), &attributes);
}

/* ---- moves ---- */

/* Flatten, Squeeze and their like all rename the axes. Features in memory order are moved there first. */
static void put_view(exn_export *e, const exn_node *node) {
    const exn_shape *y = shape_of(e, node->outputs[0]);
    int64_t dims[EXN_RANK_MAX];
    made_name shape, moved;
    const char *x = input(e, node, 0);
    if (node->op == EXN_OP_Flatten && node->attrs.memory_order && shape_of(e, node->inputs[0])->rank == 4) {
        exn_message attributes = {.ctx = e->ctx};
        exn_attribute_ints(&attributes, "perm", (const int64_t[]){0, 2, 3, 1}, 4);
        exn_export_fresh(moved, e);
        exn_export_op(e, "Transpose", &x, 1, moved, &attributes);
        x = moved;
    }
    for (size_t i = 0; i < y->rank; i++) dims[i] = (int64_t)y->dim[i];
    exn_export_ints(shape, e, dims, y->rank);
    exn_export_op(e, "Reshape", (const char *const[]){x, shape}, 2, output(e, node), NULL);
}

static void put_transpose(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    put_sizes(&attributes, "perm", node->attrs.order, shape_of(e, node->inputs[0])->rank);
    exn_export_op(e, "Transpose", (const char *const[]){input(e, node, 0)}, 1, output(e, node), &attributes);
}

static void put_concat(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    exn_attribute_int(&attributes, "axis", node->attrs.axis);
    const char **inputs = exn_calloc(e->ctx, node->input_count, sizeof *inputs);
    if (inputs == NULL) e->status = EXN_E_NOMEM;
    for (size_t i = 0; inputs != NULL && i < node->input_count; i++) inputs[i] = input(e, node, i);
    if (inputs != NULL) exn_export_op(e, "Concat", inputs, node->input_count, output(e, node), &attributes);
    exn_message_free(&attributes);
    exn_free(e->ctx, (void *)inputs);
}

static void put_split(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    made_name sizes;
    exn_attribute_int(&attributes, "axis", node->attrs.axis);
    const char **outputs = exn_calloc(e->ctx, node->output_count, sizeof *outputs);
    int64_t *lengths = exn_calloc(e->ctx, node->output_count, sizeof *lengths);
    if (outputs == NULL || lengths == NULL) {
        e->status = EXN_E_NOMEM;
    } else {
        for (size_t i = 0; i < node->output_count; i++) {
            outputs[i] = e->graph->values[node->outputs[i]].name;
            lengths[i] = (int64_t)shape_of(e, node->outputs[i])->dim[node->attrs.axis];
        }
        exn_export_ints(sizes, e, lengths, node->output_count);
        exn_export_ops(e, "Split", (const char *const[]){input(e, node, 0), sizes}, 2, outputs, node->output_count,
                       &attributes);
    }
    exn_message_free(&attributes);
    exn_free(e->ctx, (void *)outputs);
    exn_free(e->ctx, lengths);
}

/* A negative end would count from behind, so that a walk back to the first element ends beyond all numbers. */
static void put_slice(exn_export *e, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_shape *y = shape_of(e, node->outputs[0]);
    int64_t start[EXN_RANK_MAX], end[EXN_RANK_MAX], axes[EXN_RANK_MAX], step[EXN_RANK_MAX];
    made_name list[4];
    for (size_t i = 0; i < y->rank; i++) {
        axes[i] = (int64_t)i;
        start[i] = a->start[i];
        step[i] = a->step[i];
        end[i] = start[i] + step[i] * (int64_t)y->dim[i];
        if (end[i] < 0) end[i] = INT64_MIN;
    }
    exn_export_ints(list[0], e, start, y->rank);
    exn_export_ints(list[1], e, end, y->rank);
    exn_export_ints(list[2], e, axes, y->rank);
    exn_export_ints(list[3], e, step, y->rank);
    exn_export_op(e, "Slice", (const char *const[]){input(e, node, 0), list[0], list[1], list[2], list[3]}, 5,
                  output(e, node), NULL);
}

static void put_pad(exn_export *e, const exn_node *node) {
    const exn_shape *x = shape_of(e, node->inputs[0]), *y = shape_of(e, node->outputs[0]);
    int64_t pads[2 * EXN_RANK_MAX];
    made_name amounts;
    for (size_t i = 0; i < x->rank; i++) {
        pads[i] = node->attrs.start[i];
        pads[x->rank + i] = (int64_t)y->dim[i] - (int64_t)x->dim[i] - pads[i];
    }
    exn_export_ints(amounts, e, pads, 2 * x->rank);
    exn_export_op(e, "Pad", (const char *const[]){input(e, node, 0), amounts, input(e, node, 2)}, 3, output(e, node),
                  NULL);
}

/* ---- the rest ---- */

/* Operators that ONNX knows under the same name, with at most an axis or an epsilon. */
static void put_named(exn_export *e, const exn_node *node, exn_message *attributes) {
    const char *inputs[5];
    for (size_t i = 0; i < node->input_count && i < 5; i++) inputs[i] = input(e, node, i);
    put_activated(e, node, exn_op_name(node->op), inputs, node->input_count, attributes);
}

static void put_plain(exn_export *e, const exn_node *node) {
    put_named(e, node, NULL);
}

static void put_along_axis(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    exn_attribute_int(&attributes, "axis", node->attrs.axis);
    put_named(e, node, &attributes);
}

static void put_batch_norm(exn_export *e, const exn_node *node) {
    exn_message attributes = {.ctx = e->ctx};
    exn_attribute_float(&attributes, "epsilon", node->attrs.epsilon);
    put_named(e, node, &attributes);
}

/* Its function is what it carries. */
static void put_unary(exn_export *e, const exn_node *node) {
    put_activation(e, &node->attrs, input(e, node, 0), output(e, node));
}

typedef void put_fn(exn_export *e, const exn_node *node);

static put_fn *const put_of[EXN_OP_COUNT] = {
    [EXN_OP_Conv] = put_conv,
    [EXN_OP_Gemm] = put_gemm,
    [EXN_OP_BatchNormalization] = put_batch_norm,
    [EXN_OP_Softmax] = put_along_axis,
    [EXN_OP_LogSoftmax] = put_along_axis,
    [EXN_OP_MaxPool] = put_pool,
    [EXN_OP_AveragePool] = put_pool,
    [EXN_OP_ReduceMean] = put_reduce,
    [EXN_OP_ReduceSum] = put_reduce,
    [EXN_OP_ReduceMax] = put_reduce,
    [EXN_OP_Flatten] = put_view,
    [EXN_OP_Reshape] = put_view,
    [EXN_OP_Squeeze] = put_view,
    [EXN_OP_Unsqueeze] = put_view,
    [EXN_OP_Transpose] = put_transpose,
    [EXN_OP_Concat] = put_concat,
    [EXN_OP_Split] = put_split,
    [EXN_OP_Slice] = put_slice,
    [EXN_OP_Pad] = put_pad,
    [EXN_OP_Identity] = put_view,
    [EXN_OP_Dropout] = put_view,
    [EXN_OP_Cast] = put_view,
    [EXN_OP_Gather] = put_along_axis,
};

void exn_export_node(exn_export *e, const exn_node *node) {
    const bool function = node->input_count == 1 && exn_op_attrs(node->op).activation != EXN_ACT_NONE;
    (put_of[node->op] ? put_of[node->op] : function ? put_unary : put_plain)(e, node);
}
