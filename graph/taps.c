/* SPDX-License-Identifier: Apache-2.0
 * Finding the values that everything later passes through, and spreading exits over them. */
#include "graph/taps.h"

#include <math.h>

#define TAP_CHANNELS_MIN 8u
#define PLACE_FROM 0.20 /* of the exits wanted */
#define PLACE_TO 0.88
#define PLACE_LEAST 0.15 /* of a tap to be taken for one */
#define PLACE_MOST 0.92
#define NEARBY 0.06

/* One pass in node order decides: every node reaches the output and is reached from the input, so a value is on all paths
 * exactly if nothing made before it is read after its producer. reach[i]: last node that reads what node i or any node
 * before it made (the network's input included). */
static exn_status find_reach(size_t **out, const exn_graph *graph) {
    size_t *last = exn_calloc(graph->ctx, graph->value_count, sizeof *last);
    size_t *reach = exn_calloc(graph->ctx, graph->node_count + 1, sizeof *reach);
    if (last == NULL || reach == NULL) {
        exn_free(graph->ctx, last);
        exn_free(graph->ctx, reach);
        return EXN_E_NOMEM;
    }
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i].input_count; k++)
            if (graph->nodes[i].inputs[k] != EXN_VALUE_NONE) last[graph->nodes[i].inputs[k]] = i;
    size_t furthest = last[graph->input];
    for (size_t i = 0; i < graph->node_count; i++) {
        reach[i] = furthest; /* by everything before node i */
        for (size_t k = 0; k < graph->nodes[i].output_count; k++)
            if (last[graph->nodes[i].outputs[k]] > furthest) furthest = last[graph->nodes[i].outputs[k]];
    }
    exn_free(graph->ctx, last);
    *out = reach;
    return EXN_OK;
}

/* An activation still follows: the value after it is the better tap. All later nodes hang on a tap, so the next node in
 * order reads it. */
static bool waits_for_activation(const exn_graph *graph, size_t maker) {
    if (maker + 1 >= graph->node_count) return false;
    const exn_node *next = &graph->nodes[maker + 1];
    return next->input_count == 1 && next->attrs.activation != EXN_ACT_NONE &&
           graph->nodes[maker].attrs.activation == EXN_ACT_NONE;
}

static bool is_candidate(const exn_graph *graph, size_t node, const size_t *reach) {
    const exn_node *maker = &graph->nodes[node];
    const exn_value *value = &graph->values[maker->outputs[0]];
    if (maker->output_count != 1 || value->made_up || reach[node] > node) return false;
    if (value->shape.rank != 4 || value->shape.dim[1] < TAP_CHANNELS_MIN) return false;
    if (value->shape.dim[2] * value->shape.dim[3] == 1) return false;
    switch (maker->op) { /* what only moves elements or prepares for the next layer ends no block */
    case EXN_OP_Slice:
    case EXN_OP_Pad:
    case EXN_OP_Transpose:
    case EXN_OP_Reshape:
    case EXN_OP_BatchNormalization:
        return false;
    default:
        return !waits_for_activation(graph, node);
    }
}

/* ---- the final classifier ---- */

static bool passes_logits_on(exn_op op) {
    switch (op) {
    case EXN_OP_Flatten:
    case EXN_OP_Reshape:
    case EXN_OP_Squeeze:
    case EXN_OP_Unsqueeze:
    case EXN_OP_Transpose:
    case EXN_OP_Softmax:
    case EXN_OP_LogSoftmax:
    case EXN_OP_GlobalAveragePool:
    case EXN_OP_AveragePool:
    case EXN_OP_ReduceMean:
    case EXN_OP_Relu:
        return true;
    default:
        return false;
    }
}

/* Whether a node makes one channel for each logit. */
static bool has_row_a_logit(const exn_graph *graph, const exn_node *node) {
    const exn_shape *made = &graph->values[node->outputs[0]].shape, *logits = &graph->values[graph->output].shape;
    return made->rank >= 2 && made->dim[0] == logits->dim[0] &&
           made->dim[1] == exn_shape_elements(logits) / logits->dim[0];
}

/* The node whose weights make the logits; NULL if there is none. */
static const exn_node *find_classifier(const exn_graph *graph) {
    exn_value_id id = graph->output;
    for (size_t i = 0; i <= graph->node_count; i++) {
        const uint32_t producer = graph->values[id].producer;
        if (producer == UINT32_MAX) return NULL;
        const exn_node *node = &graph->nodes[producer];
        const bool point = node->op == EXN_OP_Conv && node->attrs.kernel[0] == 1 && node->attrs.kernel[1] == 1 &&
                           node->attrs.groups == 1 && !node->attrs.residual;
        if (node->op == EXN_OP_Gemm || node->op == EXN_OP_MatMul || point)
            return has_row_a_logit(graph, node) ? node : NULL;
        if (!passes_logits_on(node->op)) return NULL;
        id = node->inputs[0];
    }
    return NULL;
}

static void fill_tap(exn_tap *tap, const exn_graph *graph, exn_value_id id, uint64_t macs, uint64_t total) {
    const exn_value *value = &graph->values[id];
    const bool image = value->shape.rank == 4;
    *tap = (exn_tap){.value = id,
                     .name = value->name,
                     .c = value->shape.dim[1],
                     .h = image ? value->shape.dim[2] : 1,
                     .w = image ? value->shape.dim[3] : 1,
                     .macs = macs,
                     .macs_fraction = total == 0 ? 0 : (double)macs / (double)total};
}

static size_t collect(exn_tap *taps, const exn_graph *graph, const size_t *reach, exn_value_id last, uint64_t total) {
    uint64_t macs = 0, last_macs = 0;
    size_t count = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const exn_node *node = &graph->nodes[i];
        macs += exn_node_macs(graph, node);
        if (node->outputs[0] == last) {
            last_macs = macs;
            break;
        }
        if (is_candidate(graph, i, reach)) fill_tap(&taps[count++], graph, node->outputs[0], macs, total);
    }
    fill_tap(&taps[count++], graph, last, last_macs, total);
    return count;
}

exn_status exn_taps_find(exn_tap **out, size_t *count, const exn_graph *graph) {
    const exn_node *classifier = find_classifier(graph);
    if (classifier == NULL || graph->values[classifier->inputs[0]].shape.rank < 2)
        return exn_fail(
            graph->ctx, EXN_E_UNSUPPORTED,
            "the logits '%s' do not come from a Gemm, a MatMul or a 1x1 Conv: exits have nothing to start from",
            graph->values[graph->output].name);
    uint64_t total = 0;
    for (size_t i = 0; i < graph->node_count; i++) total += exn_node_macs(graph, &graph->nodes[i]);
    size_t *reach;
    EXN_TRY(find_reach(&reach, graph));
    exn_tap *taps = exn_calloc(graph->ctx, graph->node_count + 1, sizeof *taps);
    if (taps != NULL) {
        *count = collect(taps, graph, reach, classifier->inputs[0], total);
        *out = taps;
    }
    exn_free(graph->ctx, reach);
    return taps == NULL ? EXN_E_NOMEM : EXN_OK;
}

/* ---- placement ---- */

/* Twice as wide as another tap a few steps away: a head there would cost more and, with few samples, learn less. */
static bool is_wide(const exn_tap *taps, size_t count, size_t i) {
    for (size_t j = 0; j < count; j++)
        if (fabs(taps[j].macs_fraction - taps[i].macs_fraction) < NEARBY && 2 * taps[j].c <= taps[i].c) return true;
    return false;
}

static double distance(double a, double b) {
    return a > b ? a / b : b / a;
}

static size_t nearest_free(const exn_tap *taps, size_t count, const double *cost, const bool *taken, double target) {
    size_t best = SIZE_MAX;
    double least = INFINITY;
    for (size_t i = 0; i < count; i++) {
        const double at = cost ? cost[i] : taps[i].macs_fraction;
        if (taken[i] || !(at >= PLACE_LEAST && at <= PLACE_MOST) || is_wide(taps, count, i)) continue;
        if (!(distance(at, target) < least)) continue;
        least = distance(at, target);
        best = i;
    }
    return best;
}

/* factor^steps = to / from, found by halving: products alone, so that every machine places alike. */
static double factor_of(size_t steps) {
    double low = 1.0, high = PLACE_TO / PLACE_FROM;
    for (int round = 0; round < 60; round++) {
        const double middle = 0.5 * (low + high);
        double product = PLACE_FROM;
        for (size_t i = 0; i < steps && product <= PLACE_TO; i++) product *= middle;
        *(product > PLACE_TO ? &high : &low) = middle;
    }
    return low;
}

exn_status exn_taps_place(size_t *picked, size_t *picked_count, size_t wanted, const exn_tap *taps, size_t count,
                          const double *cost, exn_context *ctx) {
    const size_t early = count == 0 ? 0 : count - 1;
    bool *taken = exn_calloc(ctx, count, sizeof *taken);
    if (taken == NULL) return EXN_E_NOMEM;
    /* One alone stands half-way. */
    const double factor = factor_of(wanted > 1 ? wanted - 1 : 2);
    double target = wanted == 1 ? PLACE_FROM * factor : PLACE_FROM;
    for (size_t k = 0; k < wanted; k++, target *= factor) {
        const size_t best = nearest_free(taps, early, cost, taken, target);
        if (best == SIZE_MAX) break;
        taken[best] = true;
    }
    *picked_count = 0;
    for (size_t i = 0; i < early; i++)
        if (taken[i]) picked[(*picked_count)++] = i;
    exn_free(ctx, taken);
    return EXN_OK;
}
