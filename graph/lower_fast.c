/* SPDX-License-Identifier: Apache-2.0
 * Which convolutions fast arithmetic computes by Winograd: each takes what is expected to be fastest while the packed
 * weights of all grow by no more than a budget; beyond it, those that save most time a byte go first. */
#include "graph/lower.h"

#include <stdlib.h>

/* An algorithm must promise this share of the direct one's time, or it is not worth its memory and its rounding. */
#define EXN_FAST_SHARE 0.95

/* What one convolution could do. */
typedef struct candidate {
    uint32_t node;
    size_t best;                 /* index into the two below */
    double saved[EXN_WINOGRADS]; /* expected time; not above 0: not worth it */
    double share[EXN_WINOGRADS];
    size_t extra[EXN_WINOGRADS];
} candidate;

static const size_t outputs_of[EXN_WINOGRADS] = {2, 4};

/* False where lowering would refuse the node. */
static bool has_shape(const exn_graph *graph, const exn_node *node) {
    if (node->op != EXN_OP_Conv || node->input_count < 2) return false;
    if (node->inputs[0] == EXN_VALUE_NONE || node->inputs[1] == EXN_VALUE_NONE) return false;
    return graph->values[node->inputs[0]].shape.rank == 4 && graph->values[node->inputs[1]].shape.rank == 4;
}

/* Both algorithms against the direct one. False where neither is worth its while. */
static bool weigh(candidate *out, const exn_kernel_set *kernels, const exn_conv_shape *shape) {
    exn_conv direct, fast;
    exn_conv_prepare(&direct, kernels, shape, EXN_ACT_NONE, 0.0f, 0.0f);
    const double cost = exn_conv_cost(&direct);
    for (size_t i = 0; i < EXN_WINOGRADS; i++) {
        exn_conv_prepare_winograd(&fast, kernels, shape, outputs_of[i], EXN_ACT_NONE, 0.0f, 0.0f);
        const size_t more = fast.packed_count > direct.packed_count ? fast.packed_count - direct.packed_count : 0;
        out->share[i] = exn_conv_cost(&fast) / cost;
        out->saved[i] = out->share[i] <= EXN_FAST_SHARE ? (1.0 - out->share[i]) * cost : 0.0;
        out->extra[i] = more * sizeof(float);
    }
    out->best = out->saved[1] > out->saved[0];
    return out->saved[out->best] > 0.0;
}

/* Most time saved a byte first; equals in the graph's order. */
static int by_worth(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    const double left = x->saved[x->best] * (double)(y->extra[y->best] + 1);
    const double right = y->saved[y->best] * (double)(x->extra[x->best] + 1);
    if (left != right) return left > right ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static void spend(exn_lowering *l, candidate *candidates, size_t count, size_t budget) {
    qsort(candidates, count, sizeof *candidates, by_worth);
    for (size_t i = 0; i < count; i++) {
        const candidate *c = &candidates[i];
        exn_fast_choice *choice = &l->choices[c->node];
        choice->why = "Winograd beyond the budget of memory";
        for (size_t k = 0; k < EXN_WINOGRADS && choice->outputs == 0; k++) {
            const size_t which = k == 0 ? c->best : 1 - c->best;
            if (c->saved[which] <= 0.0 || c->extra[which] > budget) continue;
            *choice = (exn_fast_choice){.outputs = outputs_of[which], .share = c->share[which]};
            budget -= c->extra[which];
            l->extra_bytes += c->extra[which];
        }
    }
}

exn_status exn_lower_choose_fast(exn_lowering *l, const exn_schedule *schedule, size_t budget_bytes) {
    const exn_graph *graph = l->graph;
    l->choices = exn_calloc(l->ctx, graph->node_count, sizeof *l->choices);
    candidate *candidates = exn_calloc(l->ctx, schedule->count, sizeof *candidates);
    if (!l->choices || !candidates) {
        exn_free(l->ctx, candidates);
        return EXN_E_NOMEM;
    }
    size_t found = 0;
    for (size_t i = 0; i < schedule->count; i++) {
        const uint32_t index = schedule->nodes[i];
        const exn_node *node = &graph->nodes[index];
        if (!has_shape(graph, node)) continue;
        const exn_conv_shape shape = exn_lower_conv_shape(l, node);
        const bool takes = exn_conv_takes_winograd(&shape);
        candidates[found].node = index;
        if (takes && weigh(&candidates[found], &l->plan->kernels, &shape))
            found++;
        else
            l->choices[index].why = takes ? "Winograd would not be faster" : NULL;
    }
    spend(l, candidates, found, budget_bytes);
    exn_free(l->ctx, candidates);
    return EXN_OK;
}
