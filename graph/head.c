/* SPDX-License-Identifier: Apache-2.0
 * Heads as tensors: their shapes, their memory, and the one that starts from the network's own classifier. */
#include "graph/head.h"

#define LARGE_SIDE 48u

const char *const exn_head_kind_names[EXN_HEAD_KINDS] = {
    [EXN_HEAD_AUTO] = "auto", [EXN_HEAD_LINEAR] = "linear",         [EXN_HEAD_POOLED] = "pooled",
    [EXN_HEAD_CONV] = "conv", [EXN_HEAD_CLASSIFIER] = "classifier", [EXN_HEAD_CONV2] = "conv2",
    [EXN_HEAD_WIDE] = "wide"};

/* What a kind is made of. */
static const struct {
    size_t hidden[EXN_HEAD_STAGES_MAX]; /* channels that its convolutions make, 0 where it has none */
    size_t grid;
} kinds[EXN_HEAD_KINDS] = {
    [EXN_HEAD_AUTO] = {{0}, 1},  [EXN_HEAD_LINEAR] = {{0}, 1},     [EXN_HEAD_POOLED] = {{0}, 4},
    [EXN_HEAD_CONV] = {{64}, 4}, [EXN_HEAD_CLASSIFIER] = {{0}, 1}, [EXN_HEAD_CONV2] = {{128, 256}, 3},
    [EXN_HEAD_WIDE] = {{96}, 4}};

bool exn_head_keeps_map(exn_head_kind kind) {
    return kinds[kind].grid > 1;
}

const char *exn_head_tensor_name(exn_head_tensor which) {
    static const char *const names[EXN_HEAD_TENSORS] = {
        [EXN_HEAD_DW_WEIGHT] = "dw.weight", [EXN_HEAD_PW_WEIGHT] = "pw.weight",   [EXN_HEAD_BN_SCALE] = "bn.scale",
        [EXN_HEAD_BN_SHIFT] = "bn.shift",   [EXN_HEAD_BN_MEAN] = "bn.mean",       [EXN_HEAD_BN_VAR] = "bn.var",
        [EXN_HEAD_MEAN] = "norm.mean",      [EXN_HEAD_INV_STD] = "norm.inv_std",  [EXN_HEAD_FC_WEIGHT] = "fc.weight",
        [EXN_HEAD_FC_BIAS] = "fc.bias",     [EXN_HEAD_DW2_WEIGHT] = "dw2.weight", [EXN_HEAD_PW2_WEIGHT] = "pw2.weight",
        [EXN_HEAD_BN2_SCALE] = "bn2.scale", [EXN_HEAD_BN2_SHIFT] = "bn2.shift",   [EXN_HEAD_BN2_MEAN] = "bn2.mean",
        [EXN_HEAD_BN2_VAR] = "bn2.var"};
    return (unsigned)which < EXN_HEAD_TENSORS ? names[which] : "unknown";
}

size_t exn_head_grid(exn_head_kind kind) {
    return kinds[kind].grid;
}

static size_t at_most(size_t size, size_t limit) {
    return size < limit ? size : limit;
}

size_t exn_head_prefix_shape(size_t *h, size_t *w, size_t *c, const exn_head *head) {
    *c = head->c;
    *h = head->h;
    *w = head->w;
    if (exn_head_stages(head->kind)) { /* early maps are large and say little a pixel */
        for (; at_most(*h, *w) >= LARGE_SIDE; *h /= 2) *w /= 2;
    } else {
        *h = at_most(*h, exn_head_grid(head->kind));
        *w = at_most(*w, exn_head_grid(head->kind));
    }
    return *h * *w * *c;
}

size_t exn_head_stages(exn_head_kind kind) {
    size_t stages = 0;
    while (stages < EXN_HEAD_STAGES_MAX && kinds[kind].hidden[stages]) stages++;
    return stages;
}

exn_head_stage exn_head_stage_at(const exn_head *head, size_t i) {
    exn_head_stage stage = {0};
    exn_head_prefix_shape(&stage.oh, &stage.ow, &stage.c, head);
    for (size_t at = 0; at <= i; at++) {
        stage.h = stage.oh;
        stage.w = stage.ow;
        if (at > 0) stage.c = stage.hidden;
        stage.stride = at_most(stage.h, stage.w) < 14 ? 1 : 2;
        stage.oh = (stage.h - 1) / stage.stride + 1; /* 3x3 with one row of padding on either side */
        stage.ow = (stage.w - 1) / stage.stride + 1;
        stage.hidden = kinds[head->kind].hidden[at];
    }
    stage.first = i == 0 ? EXN_HEAD_DW_WEIGHT : EXN_HEAD_DW2_WEIGHT;
    return stage;
}

size_t exn_head_features(const exn_head *head) {
    size_t h, w, c;
    const size_t prefix = exn_head_prefix_shape(&h, &w, &c, head), stages = exn_head_stages(head->kind);
    if (stages == 0) return prefix;
    const exn_head_stage last = exn_head_stage_at(head, stages - 1);
    const size_t grid = exn_head_grid(head->kind);
    return at_most(last.oh, grid) * at_most(last.ow, grid) * last.hidden;
}

/* Dimensions of a convolution's tensor; none where the kind has no such stage. */
static size_t stage_dims(size_t dims[2], const exn_head *head, exn_head_tensor which) {
    const size_t i = which >= EXN_HEAD_DW2_WEIGHT;
    dims[0] = dims[1] = 0;
    if (i >= exn_head_stages(head->kind)) return 1;
    const exn_head_stage stage = exn_head_stage_at(head, i);
    dims[0] = which == stage.first ? 9 : stage.hidden;
    dims[1] = stage.c;
    return which <= stage.first + 1 ? 2 : 1; /* two matrices, then vectors of BatchNorm */
}

size_t exn_head_tensor_shape(exn_shape *out, const exn_head *head, exn_head_tensor which) {
    size_t dims[2] = {0, 0}, rank = 1;
    switch (which) {
    case EXN_HEAD_FC_WEIGHT:
        rank = 2;
        dims[0] = head->classes;
        dims[1] = exn_head_features(head);
        break;
    case EXN_HEAD_FC_BIAS:
        dims[0] = head->classes;
        break;
    case EXN_HEAD_MEAN:
    case EXN_HEAD_INV_STD:
        dims[0] = exn_head_features(head);
        break;
    default:
        rank = stage_dims(dims, head, which);
        break;
    }
    *out = exn_shape_of(rank, dims);
    return exn_shape_elements(out);
}

bool exn_head_starts_as_ones(exn_head_tensor which) {
    return which == EXN_HEAD_BN_SCALE || which == EXN_HEAD_BN_VAR || which == EXN_HEAD_BN2_SCALE ||
           which == EXN_HEAD_BN2_VAR || which == EXN_HEAD_INV_STD;
}

exn_status exn_head_allocate(exn_head *head, exn_context *ctx) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        head->tensor[which] = NULL;
        if (count == 0) continue;
        head->tensor[which] = exn_calloc(ctx, count, sizeof(float));
        if (!head->tensor[which]) {
            exn_head_free(head, ctx);
            return EXN_E_NOMEM;
        }
        const bool ones = exn_head_starts_as_ones((exn_head_tensor)which);
        for (size_t i = 0; ones && i < count; i++) head->tensor[which][i] = 1.0f;
    }
    return EXN_OK;
}

void exn_head_free(exn_head *head, exn_context *ctx) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_free(ctx, head->tensor[which]);
        head->tensor[which] = NULL;
    }
}

uint64_t exn_head_macs(const exn_head *head) {
    uint64_t macs = (uint64_t)exn_head_features(head) * head->classes;
    for (size_t i = 0; i < exn_head_stages(head->kind); i++) {
        const exn_head_stage stage = exn_head_stage_at(head, i);
        macs += (uint64_t)stage.oh * stage.ow * stage.c * (9 + stage.hidden);
    }
    return macs;
}

static bool passes_logits_on(exn_op op) {
    return op == EXN_OP_Flatten || op == EXN_OP_Reshape || op == EXN_OP_Squeeze || op == EXN_OP_Unsqueeze ||
           op == EXN_OP_Identity || op == EXN_OP_Dropout || op == EXN_OP_Softmax || op == EXN_OP_LogSoftmax ||
           op == EXN_OP_GlobalAveragePool || op == EXN_OP_ReduceMean || op == EXN_OP_Relu;
}

static const exn_node *find_classifier(const exn_graph *graph) {
    uint32_t producer = graph->output == EXN_VALUE_NONE ? UINT32_MAX : graph->values[graph->output].producer;
    while (producer != UINT32_MAX && passes_logits_on(graph->nodes[producer].op))
        producer = graph->values[graph->nodes[producer].inputs[0]].producer;
    if (producer == UINT32_MAX) return NULL;
    const exn_node *node = &graph->nodes[producer];
    const bool product = node->op == EXN_OP_Gemm || node->op == EXN_OP_MatMul || node->op == EXN_OP_Conv;
    if (!product || node->input_count < 2) return NULL;
    const exn_value *weight = &graph->values[node->inputs[1]];
    if (!weight->data || weight->dtype != EXN_F32) return NULL;
    if (node->op != EXN_OP_Conv) return weight->shape.rank == 2 ? node : NULL;
    const bool pointwise = node->attrs.groups == 1 && weight->shape.dim[2] == 1 && weight->shape.dim[3] == 1;
    return pointwise ? node : NULL;
}

static void copy_classifier(exn_head *head, const exn_graph *graph, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_value *weight = &graph->values[node->inputs[1]];
    const bool by_class = node->op == EXN_OP_Conv || (node->op == EXN_OP_Gemm && a->trans_b);
    const bool has_bias =
        node->op != EXN_OP_MatMul && node->input_count > (a->residual ? 3u : 2u) && node->inputs[2] != EXN_VALUE_NONE;
    const exn_value *bias = has_bias ? &graph->values[node->inputs[2]] : NULL;
    const float alpha = node->op == EXN_OP_Gemm ? a->alpha : 1.0f, beta = node->op == EXN_OP_Gemm ? a->beta : 1.0f;
    const bool one_bias = bias && exn_shape_elements(&bias->shape) == 1;
    for (size_t j = 0; j < head->classes; j++) {
        const float scale = a->fold_scale ? a->fold_scale[j] * alpha : alpha;
        for (size_t i = 0; i < head->c; i++)
            head->tensor[EXN_HEAD_FC_WEIGHT][j * head->c + i] =
                exn_value_f32(weight, by_class ? j * head->c + i : i * head->classes + j) * scale;
        const float own = bias ? beta * exn_value_f32(bias, one_bias ? 0 : j) : 0.0f;
        head->tensor[EXN_HEAD_FC_BIAS][j] = a->fold_shift ? a->fold_shift[j] : own;
    }
}

exn_status exn_head_from_classifier(exn_head *out, exn_context *ctx, const exn_graph *graph) {
    const exn_node *node = find_classifier(graph);
    if (!node) return exn_fail(ctx, EXN_E_UNSUPPORTED, "the network does not end in a classifier that can be replaced");
    const exn_shape *weight = &graph->values[node->inputs[1]].shape;
    const bool by_class = node->op == EXN_OP_Conv || (node->op == EXN_OP_Gemm && node->attrs.trans_b);
    exn_head head = {.kind = EXN_HEAD_CLASSIFIER,
                     .c = weight->dim[by_class ? 1 : 0],
                     .h = 1,
                     .w = 1,
                     .classes = weight->dim[by_class ? 0 : 1]};
    EXN_TRY(exn_value_check(ctx, &graph->values[node->inputs[1]]));
    EXN_TRY(exn_head_allocate(&head, ctx));
    copy_classifier(&head, graph, node);
    *out = head;
    return EXN_OK;
}
