/* SPDX-License-Identifier: Apache-2.0
 * Heads as operators: folded on the way into the graph, so that judging and running see one and the same network. */
#include "graph/head.h"

#include <math.h>

static exn_status check_tap(const exn_graph *graph, exn_value_id x, const exn_head *head, size_t c, size_t h,
                            size_t w) {
    const exn_shape *shape = &graph->values[x].shape;
    const bool vector = !exn_head_keeps_map(head->kind) && shape->rank == 2 && h * w == 1 && shape->dim[1] == c;
    const bool map = shape->rank == 4 && shape->dim[1] == c && shape->dim[2] == h && shape->dim[3] == w;
    if (vector || map) return EXN_OK;
    char text[EXN_SHAPE_TEXT_BYTES];
    return exn_fail(graph->ctx, EXN_E_SHAPE, "%s head for %zux%zux%zu does not fit value %s of shape %s",
                    exn_head_kind_names[head->kind], c, h, w, graph->values[x].name, exn_shape_text(text, shape));
}

/* (N, c, h, w) with the batch of x. */
static exn_shape map_shape(const exn_graph *graph, exn_value_id x, size_t c, size_t h, size_t w) {
    return exn_shape_of(4, (const size_t[]){graph->values[x].shape.dim[0], c, h, w});
}

/* A map becomes (N, features) in memory order; a matrix stays. */
static exn_status append_flatten(exn_value_id *out, exn_graph *graph, exn_value_id x) {
    const exn_shape *shape = &graph->values[x].shape;
    *out = x;
    if (shape->rank != 4) return EXN_OK;
    exn_attrs attrs = exn_attrs_default();
    attrs.axis = 1;
    attrs.memory_order = true;
    const exn_shape flat =
        exn_shape_of(2, (const size_t[]){shape->dim[0], shape->dim[1] * shape->dim[2] * shape->dim[3]});
    return exn_graph_node(out, graph, EXN_OP_Flatten, NULL, &x, 1, &attrs, &flat);
}

static exn_status append_global_pool(exn_value_id *out, exn_graph *graph, exn_value_id x) {
    const exn_shape *shape = &graph->values[x].shape;
    exn_value_id pooled = x;
    if (shape->rank == 4 && shape->dim[2] * shape->dim[3] > 1) {
        const exn_shape one = map_shape(graph, x, shape->dim[1], 1, 1);
        EXN_TRY(exn_graph_node(&pooled, graph, EXN_OP_GlobalAveragePool, NULL, &x, 1, NULL, &one));
    }
    return append_flatten(out, graph, pooled);
}

/* Adaptive average pooling to oh x ow; a map of that size stays as it is. */
static exn_status append_pool(exn_value_id *out, exn_graph *graph, exn_value_id x, size_t oh, size_t ow) {
    const exn_shape *shape = &graph->values[x].shape;
    *out = x;
    if (shape->dim[2] == oh && shape->dim[3] == ow) return EXN_OK;
    exn_attrs attrs = exn_attrs_default();
    attrs.adaptive = true;
    const exn_shape pooled = map_shape(graph, x, shape->dim[1], oh, ow);
    return exn_graph_node(out, graph, EXN_OP_AveragePool, NULL, &x, 1, &attrs, &pooled);
}

static exn_status append_prefix(exn_value_id *out, exn_graph *graph, exn_value_id x, const exn_head *head) {
    size_t h, w, c;
    if (head->kind == EXN_HEAD_AUTO) return exn_fail(graph->ctx, EXN_E_INVALID, "head: its kind is not decided");
    if (!exn_head_keeps_map(head->kind)) return append_global_pool(out, graph, x);
    exn_head_prefix_shape(&h, &w, &c, head);
    return append_pool(out, graph, x, h, w);
}

static exn_status append_depthwise(exn_value_id *out, exn_graph *graph, exn_value_id x, const exn_head *head,
                                   const exn_head_stage *stage) {
    const exn_shape shape = exn_shape_of(4, (const size_t[]){stage->c, 1, 3, 3});
    void *block;
    EXN_TRY(exn_graph_block(&block, graph, stage->c * 9, sizeof(float)));
    float *weight = block;
    for (size_t c = 0; c < stage->c; c++)
        for (size_t tap = 0; tap < 9; tap++) weight[c * 9 + tap] = head->tensor[stage->first][tap * stage->c + c];
    exn_value_id inputs[2] = {x, EXN_VALUE_NONE};
    EXN_TRY(exn_graph_constant(&inputs[1], graph, NULL, EXN_F32, &shape, weight, false));
    exn_attrs attrs = exn_attrs_default();
    attrs.groups = stage->c;
    for (size_t i = 0; i < 2; i++) {
        attrs.kernel[i] = 3;
        attrs.stride[i] = stage->stride;
    }
    for (size_t i = 0; i < 4; i++) attrs.pad[i] = 1;
    const exn_shape result = map_shape(graph, x, stage->c, stage->oh, stage->ow);
    return exn_graph_node(out, graph, EXN_OP_Conv, NULL, inputs, 2, &attrs, &result);
}

/* 1x1 convolution; BatchNorm is what multiplies its weights and replaces its bias. */
static exn_status append_pointwise(exn_value_id *out, exn_graph *graph, exn_value_id x, const exn_head *head,
                                   const exn_head_stage *stage) {
    /* In the enumeration's order: depthwise, 1x1, scale, shift, mean, variance. */
    float *const *tensor = head->tensor + stage->first;
    const exn_shape shape = exn_shape_of(4, (const size_t[]){stage->hidden, stage->c, 1, 1});
    exn_value_id inputs[2] = {x, EXN_VALUE_NONE};
    EXN_TRY(exn_graph_constant(&inputs[1], graph, NULL, EXN_F32, &shape, tensor[1], true));
    void *block;
    EXN_TRY(exn_graph_block(&block, graph, 2 * stage->hidden, sizeof(float)));
    float *scale = block, *shift = scale + stage->hidden;
    for (size_t j = 0; j < stage->hidden; j++) {
        const double deviation = sqrt((double)tensor[5][j] + (double)EXN_HEAD_EPSILON);
        const double factor = (double)tensor[2][j] / deviation;
        scale[j] = (float)factor;
        shift[j] = (float)((double)tensor[3][j] - (double)tensor[4][j] * factor);
    }
    exn_attrs attrs = exn_attrs_default();
    for (size_t i = 0; i < 2; i++) attrs.kernel[i] = attrs.stride[i] = 1;
    attrs.fold_scale = scale;
    attrs.fold_shift = shift;
    attrs.activation = EXN_ACT_CLAMP;
    attrs.lo = 0.0f;
    attrs.hi = INFINITY;
    const exn_shape result = map_shape(graph, x, stage->hidden, stage->oh, stage->ow);
    return exn_graph_node(out, graph, EXN_OP_Conv, NULL, inputs, 2, &attrs, &result);
}

/* Standardise and FC as one: W' = W * inv_std, b' = b - sum W * mean * inv_std, in double, rounded once. */
static void fold_standardise(float *weight, float *bias, const exn_head *head, size_t features) {
    const float *mean = head->tensor[EXN_HEAD_MEAN], *inv_std = head->tensor[EXN_HEAD_INV_STD];
    for (size_t j = 0; j < head->classes; j++) {
        const float *row = head->tensor[EXN_HEAD_FC_WEIGHT] + j * features;
        double shift = (double)head->tensor[EXN_HEAD_FC_BIAS][j];
        for (size_t i = 0; i < features; i++) {
            const double scaled = (double)row[i] * (double)inv_std[i];
            weight[j * features + i] = (float)scaled;
            shift -= scaled * (double)mean[i];
        }
        bias[j] = (float)shift;
    }
}

exn_status exn_head_append_fc(exn_value_id *out, exn_graph *graph, exn_value_id x, const exn_head *head) {
    const size_t features = exn_head_features(head);
    exn_value_id inputs[3] = {x, EXN_VALUE_NONE, EXN_VALUE_NONE};
    void *weight, *bias;
    EXN_TRY(exn_graph_block(&weight, graph, head->classes * features, sizeof(float)));
    EXN_TRY(exn_graph_block(&bias, graph, head->classes, sizeof(float)));
    fold_standardise(weight, bias, head, features);
    const exn_shape weight_shape = exn_shape_of(2, (const size_t[]){head->classes, features});
    const exn_shape bias_shape = exn_shape_of(1, &head->classes);
    EXN_TRY(exn_graph_constant(&inputs[1], graph, NULL, EXN_F32, &weight_shape, weight, false));
    EXN_TRY(exn_graph_constant(&inputs[2], graph, NULL, EXN_F32, &bias_shape, bias, false));
    exn_attrs attrs = exn_attrs_default();
    attrs.alpha = attrs.beta = 1.0f;
    attrs.trans_b = true;
    const exn_shape result = exn_shape_of(2, (const size_t[]){graph->values[x].shape.dim[0], head->classes});
    return exn_graph_node(out, graph, EXN_OP_Gemm, NULL, inputs, 3, &attrs, &result);
}

exn_status exn_head_append_features(exn_value_id *features, exn_graph *graph, exn_value_id x, const exn_head *head) {
    size_t h, w, c;
    exn_head_prefix_shape(&h, &w, &c, head);
    EXN_TRY(check_tap(graph, x, head, c, h, w));
    const size_t stages = exn_head_stages(head->kind);
    for (size_t i = 0; i < stages; i++) {
        const exn_head_stage stage = exn_head_stage_at(head, i);
        EXN_TRY(append_depthwise(&x, graph, x, head, &stage));
        EXN_TRY(append_pointwise(&x, graph, x, head, &stage));
    }
    if (stages) {
        const exn_shape *shape = &graph->values[x].shape;
        const size_t grid = exn_head_grid(head->kind), oh = shape->dim[2], ow = shape->dim[3];
        EXN_TRY(append_pool(&x, graph, x, oh < grid ? oh : grid, ow < grid ? ow : grid));
    }
    return append_flatten(features, graph, x);
}

exn_status exn_head_append_tail(exn_value_id *logits, exn_graph *graph, exn_value_id x, const exn_head *head) {
    exn_value_id features;
    EXN_TRY(exn_head_append_features(&features, graph, x, head));
    return exn_head_append_fc(logits, graph, features, head);
}

exn_status exn_head_append(exn_value_id *prefix, exn_value_id *logits, exn_graph *graph, exn_value_id x,
                           const exn_head *head) {
    EXN_TRY(check_tap(graph, x, head, head->c, head->h, head->w));
    exn_value_id features;
    EXN_TRY(append_prefix(&features, graph, x, head));
    EXN_TRY(exn_head_append_tail(logits, graph, features, head));
    *prefix = features;
    return EXN_OK;
}
