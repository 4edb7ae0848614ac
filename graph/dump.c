/* SPDX-License-Identifier: Apache-2.0
 * Writing a graph down. */
#include "graph/dump.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct page {
    exn_context *ctx;
    char *text;
    size_t used, capacity;
    exn_status status; /* of the first failure */
} page;

static void EXN_PRINTF(2, 3) put(page *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (p->status == EXN_OK && length > 0)
        p->status = exn_grow(p->ctx, (void **)&p->text, &p->capacity, p->used + (size_t)length + 1, 1);
    if (p->status != EXN_OK || length <= 0) return;
    va_start(arguments, format);
    vsnprintf(p->text + p->used, p->capacity - p->used, format, arguments);
    va_end(arguments);
    p->used += (size_t)length;
}

static void put_value(page *p, const exn_graph *graph, exn_value_id id) {
    char text[EXN_SHAPE_TEXT_BYTES];
    if (id == EXN_VALUE_NONE) {
        put(p, "-");
        return;
    }
    const exn_value *value = &graph->values[id];
    put(p, "%s", value->name);
    if (value->data != NULL) put(p, " %s", exn_shape_text(text, &value->shape));
}

static void put_window(page *p, const exn_attrs *a) {
    put(p, " kernel %zux%zu stride %zux%zu", a->kernel[0], a->kernel[1], a->stride[0], a->stride[1]);
    if (a->pad[0] + a->pad[1] + a->pad[2] + a->pad[3] > 0)
        put(p, " pads %zu,%zu,%zu,%zu", a->pad[0], a->pad[1], a->pad[2], a->pad[3]);
    if (a->dilation[0] != 1 || a->dilation[1] != 1) put(p, " dilation %zux%zu", a->dilation[0], a->dilation[1]);
    if (a->groups != 1) put(p, " groups %zu", a->groups);
}

static void put_activation(page *p, const exn_attrs *a) {
    static const char *const names[EXN_ACT_COUNT] = {"",        "clamp", "leaky_relu", "hard_sigmoid", "hard_swish",
                                                     "sigmoid", "tanh",  "silu",       "exp",          "log"};
    if (a->activation == EXN_ACT_NONE || a->activation >= EXN_ACT_COUNT) return;
    put(p, ", %s", names[a->activation]);
    if (a->activation == EXN_ACT_CLAMP) put(p, " %g..%g", (double)a->lo, (double)a->hi);
    if (a->activation == EXN_ACT_LEAKY_RELU) put(p, " %g", (double)a->lo);
    if (a->activation == EXN_ACT_HARD_SIGMOID) put(p, " %g,%g", (double)a->lo, (double)a->hi);
}

static void put_attributes(page *p, const exn_graph *graph, const exn_node *node) {
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
        put(p, " axis %lld", (long long)a->axis);
        break;
    case EXN_OP_ReduceMean:
        put(p, " axes 0x%x", a->axes);
        break;
    case EXN_OP_Transpose:
        put(p, " order");
        for (size_t i = 0; i < rank; i++) put(p, " %zu", a->order[i]);
        break;
    case EXN_OP_Slice:
        for (size_t i = 0; i < rank; i++) put(p, " %lld:%lld", (long long)a->start[i], (long long)a->step[i]);
        break;
    case EXN_OP_Pad:
        for (size_t i = 0; i < rank; i++) put(p, " %lld", (long long)a->start[i]);
        break;
    default:
        break;
    }
    if (a->fold_scale != NULL) put(p, " scaled");
    if (a->residual) put(p, " + residual");
    put_activation(p, a);
}

static void put_node(page *p, const exn_graph *graph, const exn_node *node) {
    for (size_t i = 0; i < node->output_count; i++) {
        char text[EXN_SHAPE_TEXT_BYTES];
        const exn_value *value = &graph->values[node->outputs[i]];
        put(p, "%s%s %s", i == 0 ? "" : ", ", value->name, exn_shape_text(text, &value->shape));
    }
    put(p, " = %s(", exn_op_name(node->op));
    for (size_t i = 0; i < node->input_count; i++) {
        if (i > 0) put(p, ", ");
        put_value(p, graph, node->inputs[i]);
    }
    put(p, ")");
    put_attributes(p, graph, node);
    put(p, "\n");
}

exn_status exn_graph_text(char **out, const exn_graph *graph) {
    page p = {.ctx = graph->ctx};
    char text[EXN_SHAPE_TEXT_BYTES];
    const exn_value *input = &graph->values[graph->input];
    put(&p, "input %s %s\n", input->name, exn_shape_text(text, &input->shape));
    for (size_t i = 0; i < graph->node_count; i++) put_node(&p, graph, &graph->nodes[i]);
    put(&p, "output %s\n", graph->values[graph->output].name);
    if (p.status != EXN_OK) {
        exn_free(graph->ctx, p.text);
        return p.status;
    }
    *out = p.text;
    return EXN_OK;
}
