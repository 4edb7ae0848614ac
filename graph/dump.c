/* SPDX-License-Identifier: Apache-2.0
 * Writing a graph down. */
#include "graph/dump.h"

#include "graph/text.h"

static void put_value(exn_text *p, const exn_graph *graph, exn_value_id id) {
    char text[EXN_SHAPE_TEXT_BYTES];
    if (id == EXN_VALUE_NONE) {
        exn_text_put(p, "-");
        return;
    }
    const exn_value *value = &graph->values[id];
    exn_text_put(p, "%s", value->name);
    if (value->data != NULL) exn_text_put(p, " %s", exn_shape_text(text, &value->shape));
}

static void put_window(exn_text *p, const exn_attrs *a) {
    exn_text_put(p, " kernel %zux%zu stride %zux%zu", a->kernel[0], a->kernel[1], a->stride[0], a->stride[1]);
    if (a->pad[0] + a->pad[1] + a->pad[2] + a->pad[3] > 0)
        exn_text_put(p, " pads %zu,%zu,%zu,%zu", a->pad[0], a->pad[1], a->pad[2], a->pad[3]);
    if (a->dilation[0] != 1 || a->dilation[1] != 1)
        exn_text_put(p, " dilation %zux%zu", a->dilation[0], a->dilation[1]);
    if (a->groups != 1) exn_text_put(p, " groups %zu", a->groups);
}

static void put_activation(exn_text *p, const exn_attrs *a) {
    static const char *const names[EXN_ACT_END] = {
        "",          "clamp",    "leaky_relu", "hard_sigmoid", "hard_swish", "sigmoid", "tanh",  "silu",
        "exp",       "log",      "abs",        "sqrt",         "floor",      "ceil",    "round", "sign",
        "threshold", "softsign", "erf",        "gelu",         "elu",        "softplus"};
    if (a->activation == EXN_ACT_NONE || a->activation >= EXN_ACT_END) return;
    exn_text_put(p, ", %s", names[a->activation]);
    if (a->activation == EXN_ACT_CLAMP) exn_text_put(p, " %g..%g", (double)a->lo, (double)a->hi);
    if (a->activation == EXN_ACT_LEAKY_RELU || a->activation == EXN_ACT_THRESHOLD)
        exn_text_put(p, " %g", (double)a->lo);
    if (a->activation == EXN_ACT_HARD_SIGMOID || a->activation == EXN_ACT_ELU)
        exn_text_put(p, " %g,%g", (double)a->lo, (double)a->hi);
}

static void put_attributes(exn_text *p, const exn_graph *graph, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const size_t rank = node->input_count == 0 ? 0 : graph->values[node->inputs[0]].shape.rank;
    switch (node->op) {
    case EXN_OP_Conv:
    case EXN_OP_MaxPool:
    case EXN_OP_AveragePool:
        put_window(p, a);
        break;
    case EXN_OP_Softmax:
    case EXN_OP_LogSoftmax:
    case EXN_OP_Concat:
    case EXN_OP_Split:
        exn_text_put(p, " axis %lld", (long long)a->axis);
        break;
    case EXN_OP_ReduceMean:
    case EXN_OP_ReduceSum:
    case EXN_OP_ReduceMax:
        exn_text_put(p, " axes 0x%x", a->axes);
        break;
    case EXN_OP_Transpose:
        exn_text_put(p, " order");
        for (size_t i = 0; i < rank; i++) exn_text_put(p, " %zu", a->order[i]);
        break;
    case EXN_OP_Slice:
        for (size_t i = 0; i < rank; i++) exn_text_put(p, " %lld:%lld", (long long)a->start[i], (long long)a->step[i]);
        break;
    case EXN_OP_Pad:
        for (size_t i = 0; i < rank; i++) exn_text_put(p, " %lld", (long long)a->start[i]);
        break;
    default:
        break;
    }
    if (a->fold_scale != NULL) exn_text_put(p, " scaled");
    if (a->residual) exn_text_put(p, " + residual");
    put_activation(p, a);
}

static void put_node(exn_text *p, const exn_graph *graph, const exn_node *node) {
    for (size_t i = 0; i < node->output_count; i++) {
        char text[EXN_SHAPE_TEXT_BYTES];
        const exn_value *value = &graph->values[node->outputs[i]];
        exn_text_put(p, "%s%s %s", i == 0 ? "" : ", ", value->name, exn_shape_text(text, &value->shape));
    }
    exn_text_put(p, " = %s(", exn_op_name(node->op));
    for (size_t i = 0; i < node->input_count; i++) {
        if (i > 0) exn_text_put(p, ", ");
        put_value(p, graph, node->inputs[i]);
    }
    exn_text_put(p, ")");
    put_attributes(p, graph, node);
    exn_text_put(p, "\n");
}

exn_status exn_graph_text(char **out, const exn_graph *graph) {
    exn_text p = {.ctx = graph->ctx};
    char text[EXN_SHAPE_TEXT_BYTES];
    const exn_value *input = &graph->values[graph->input];
    exn_text_put(&p, "input %s %s\n", input->name, exn_shape_text(text, &input->shape));
    for (size_t i = 0; i < graph->node_count; i++) put_node(&p, graph, &graph->nodes[i]);
    exn_text_put(&p, "output %s\n", graph->values[graph->output].name);
    return exn_text_take(out, &p);
}
