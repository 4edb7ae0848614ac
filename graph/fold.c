/* SPDX-License-Identifier: Apache-2.0
 * Folding neighbours, one walk in the order of the nodes. */
#include "graph/fold.h"

#include <math.h>
#include <string.h>

typedef struct folder {
    exn_graph *graph;
    bool *dead;        /* per node */
    uint32_t *readers; /* per value, the graph's output counting as one */
} folder;

static const exn_value *input_of(const folder *f, const exn_node *node, size_t i) {
    return &f->graph->values[node->inputs[i]];
}

/* The live node that makes a value that only one input reads; NULL otherwise. */
static exn_node *sole_producer(const folder *f, exn_value_id id) {
    const uint32_t at = f->graph->values[id].producer;
    return at == UINT32_MAX || f->readers[id] != 1 ? NULL : &f->graph->nodes[at];
}

static void kill(folder *f, exn_node *node) {
    f->dead[node - f->graph->nodes] = true;
}

/* `node` goes, `earlier` makes its result instead. */
static void take_over(folder *f, exn_node *earlier, exn_node *node) {
    earlier->outputs[0] = node->outputs[0];
    f->graph->values[node->outputs[0]].producer = (uint32_t)(earlier - f->graph->nodes);
    kill(f, node);
}

static bool is_linear(const exn_node *node) { /* nothing comes after its sums yet */
    return node != NULL && (node->op == EXN_OP_Conv || node->op == EXN_OP_Gemm) && !node->attrs.residual &&
           node->attrs.activation == EXN_ACT_NONE;
}

/* ---- scale and shift ---- */

/* y = (W x + b) * scale + shift, on top of what is folded already. */
static exn_status fold_affine(folder *f, exn_node *linear, const double scale[], const double shift[], size_t n) {
    exn_attrs *a = &linear->attrs;
    const bool biased = linear->input_count > 2 && linear->inputs[2] != EXN_VALUE_NONE;
    void *block;
    EXN_TRY(exn_graph_block(&block, f->graph, n, 2 * sizeof(float)));
    float *scales = block, *shifts = scales + n;
    for (size_t i = 0; i < n; i++) {
        const double bias = a->fold_shift != NULL ? (double)a->fold_shift[i]
                            : biased              ? (double)exn_value_f32(input_of(f, linear, 2), i)
                                                  : 0;
        scales[i] = (float)(scale[i] * (a->fold_scale != NULL ? (double)a->fold_scale[i] : 1));
        shifts[i] = (float)(bias * scale[i] + shift[i]);
    }
    a->fold_scale = scales;
    a->fold_shift = shifts;
    return EXN_OK;
}

static exn_status fold_batch_norm(folder *f, exn_node *node) {
    exn_node *linear = sole_producer(f, node->inputs[0]);
    const size_t n = input_of(f, node, 1)->shape.dim[0];
    if (!is_linear(linear)) return EXN_OK;
    double *scale = exn_calloc(f->graph->ctx, n, 2 * sizeof *scale);
    if (scale == NULL) return EXN_E_NOMEM;
    double *shift = scale + n;
    bool representable = true;
    for (size_t i = 0; i < n; i++) {
        const double variance = (double)exn_value_f32(input_of(f, node, 4), i) + (double)node->attrs.epsilon;
        scale[i] = (double)exn_value_f32(input_of(f, node, 1), i) / sqrt(variance);
        shift[i] =
            (double)exn_value_f32(input_of(f, node, 2), i) - (double)exn_value_f32(input_of(f, node, 3), i) * scale[i];
        representable = representable && isfinite((float)scale[i]) && isfinite((float)shift[i]);
    }
    const exn_status status = representable ? fold_affine(f, linear, scale, shift, n) : EXN_OK;
    exn_free(f->graph->ctx, scale);
    if (status == EXN_OK && representable) take_over(f, linear, node);
    return status;
}

/* A constant with one element a channel of y, or one for all. */
static bool is_channel_row(const exn_value *value, const exn_shape *y) {
    const size_t count = value->data == NULL ? 0 : exn_shape_elements(&value->shape), behind = y->rank - 2;
    if (value->shape.rank > y->rank) return false;
    return count == 1 || (count == y->dim[1] && value->shape.rank > behind &&
                          value->shape.dim[value->shape.rank - 1 - behind] == count);
}

static exn_status fold_bias(folder *f, exn_node *node, bool *folded) {
    const exn_shape *y = &f->graph->values[node->outputs[0]].shape;
    *folded = false;
    for (size_t side = 0; side < 2 && y->rank >= 2; side++) {
        exn_node *linear = sole_producer(f, node->inputs[side]);
        const exn_value *row = input_of(f, node, 1 - side);
        if (!is_linear(linear) || !is_channel_row(row, y) ||
            !exn_shape_equal(y, &f->graph->values[node->inputs[side]].shape))
            continue;
        double *scale = exn_calloc(f->graph->ctx, y->dim[1], 2 * sizeof *scale);
        if (scale == NULL) return EXN_E_NOMEM;
        double *shift = scale + y->dim[1];
        const bool one = exn_shape_elements(&row->shape) == 1;
        for (size_t i = 0; i < y->dim[1]; i++) {
            scale[i] = 1;
            shift[i] = (double)exn_value_f32(row, one ? 0 : i);
        }
        const exn_status status = fold_affine(f, linear, scale, shift, y->dim[1]);
        exn_free(f->graph->ctx, scale);
        if (status == EXN_OK) take_over(f, linear, node);
        *folded = status == EXN_OK;
        return status;
    }
    return EXN_OK;
}

/* ---- residual ---- */

/* The Conv moves down to where the Add was: by then the other operand is ready whatever the order was. */
static exn_status fold_residual(folder *f, exn_node *node) {
    exn_node *best = NULL;
    size_t side = 0;
    for (size_t i = 0; i < 2; i++) {
        exn_node *conv = sole_producer(f, node->inputs[i]);
        const bool fits = is_linear(conv) && conv->op == EXN_OP_Conv && input_of(f, node, 1 - i)->data == NULL &&
                          exn_shape_equal(&input_of(f, node, 0)->shape, &input_of(f, node, 1)->shape);
        if (!fits || (best != NULL && conv < best)) continue; /* the later one moves less */
        best = conv;
        side = i;
    }
    if (best == NULL) return EXN_OK;
    void *block;
    EXN_TRY(exn_graph_block(&block, f->graph, 4, sizeof(exn_value_id)));
    exn_value_id *inputs = block;
    for (size_t i = 0; i < 3; i++) inputs[i] = i < best->input_count ? best->inputs[i] : EXN_VALUE_NONE;
    inputs[3] = node->inputs[1 - side];
    exn_node moved = *best;
    moved.inputs = inputs;
    moved.input_count = 4;
    moved.outputs = node->outputs;
    moved.attrs.residual = true;
    kill(f, best);
    *node = moved;
    return EXN_OK;
}

/* ---- activations ---- */

static bool is_activation(exn_op op) {
    switch (op) {
    case EXN_OP_Relu:
    case EXN_OP_Clip:
    case EXN_OP_LeakyRelu:
    case EXN_OP_Sigmoid:
    case EXN_OP_HardSigmoid:
    case EXN_OP_HardSwish:
    case EXN_OP_Swish:
    case EXN_OP_Tanh:
        return true;
    default:
        return false;
    }
}

static void fold_activation(folder *f, exn_node *node) {
    exn_node *earlier = sole_producer(f, node->inputs[0]);
    if (earlier == NULL || earlier->attrs.activation != EXN_ACT_NONE) return;
    if (earlier->op != EXN_OP_Conv && earlier->op != EXN_OP_Gemm && earlier->op != EXN_OP_Add) return;
    earlier->attrs.activation = node->attrs.activation;
    earlier->attrs.lo = node->attrs.lo;
    earlier->attrs.hi = node->attrs.hi;
    take_over(f, earlier, node);
}

/* x * gate(x), the gate read by nothing else. */
static void fold_gate(folder *f, exn_node *node) {
    for (size_t side = 0; side < 2; side++) {
        exn_node *gate = sole_producer(f, node->inputs[side]);
        const exn_value_id x = node->inputs[1 - side];
        if (gate == NULL || gate->inputs[0] != x) continue;
        const bool hard = gate->op == EXN_OP_HardSigmoid && gate->attrs.lo == 1.0f / 6 && gate->attrs.hi == 0.5f;
        if (gate->op != EXN_OP_Sigmoid && !hard) continue;
        kill(f, gate);
        f->readers[x]--;
        node->op = hard ? EXN_OP_HardSwish : EXN_OP_Swish;
        node->attrs.activation = hard ? EXN_ACT_HARD_SWISH : EXN_ACT_SILU;
        node->inputs[0] = x;
        node->input_count = 1;
        return;
    }
}

/* ---- padding ---- */

static void fold_pad(folder *f, exn_node *conv) {
    exn_node *pad = sole_producer(f, conv->inputs[0]);
    if (pad == NULL || pad->op != EXN_OP_Pad || pad->input_count > 1) return;
    const exn_shape *x = &input_of(f, pad, 0)->shape, *y = &input_of(f, conv, 0)->shape;
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1]) return;
    for (size_t i = 0; i < 2; i++) {
        const size_t before = (size_t)pad->attrs.start[2 + i];
        conv->attrs.pad[i] += before;
        conv->attrs.pad[2 + i] += y->dim[2 + i] - x->dim[2 + i] - before;
    }
    conv->inputs[0] = pad->inputs[0];
    kill(f, pad);
}

/* ---- the walk ---- */

static exn_status fold_node(folder *f, exn_node *node) {
    if (node->op == EXN_OP_Conv) fold_pad(f, node);
    if (node->op == EXN_OP_BatchNormalization) return fold_batch_norm(f, node);
    if (node->op == EXN_OP_Add) {
        bool folded;
        EXN_TRY(fold_bias(f, node, &folded));
        return folded ? EXN_OK : fold_residual(f, node);
    }
    if (node->op == EXN_OP_Mul) fold_gate(f, node);
    if (is_activation(node->op)) fold_activation(f, node);
    return EXN_OK;
}

static void count_readers(folder *f) {
    f->readers[f->graph->output]++;
    for (size_t i = 0; i < f->graph->node_count; i++)
        for (size_t k = 0; k < f->graph->nodes[i].input_count; k++)
            if (f->graph->nodes[i].inputs[k] != EXN_VALUE_NONE) f->readers[f->graph->nodes[i].inputs[k]]++;
}

exn_status exn_graph_fold(exn_graph *graph) {
    folder f = {.graph = graph};
    f.dead = exn_calloc(graph->ctx, graph->node_count, sizeof *f.dead);
    f.readers = exn_calloc(graph->ctx, graph->value_count, sizeof *f.readers);
    exn_status status = f.dead == NULL || f.readers == NULL ? EXN_E_NOMEM : EXN_OK;
    if (status == EXN_OK) count_readers(&f);
    for (size_t i = 0; i < graph->node_count && status == EXN_OK; i++) status = fold_node(&f, &graph->nodes[i]);
    if (status == EXN_OK) status = exn_graph_prune(graph, f.dead);
    exn_free(graph->ctx, f.dead);
    exn_free(graph->ctx, f.readers);
    return status;
}
