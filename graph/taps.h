/* SPDX-License-Identifier: Apache-2.0
 * Where exits can be attached: values that all later computation passes through. */
#ifndef EXN_GRAPH_TAPS_H
#define EXN_GRAPH_TAPS_H

#include "graph/ir.h"

typedef struct exn_tap {
    exn_value_id value;   /* in the graph it was found in */
    const char *name;     /* of that value; the same in every graph bound from the model */
    size_t c, h, w;       /* h == w == 1 for a vector of features */
    uint64_t macs;        /* multiply-adds from the input up to this value */
    double macs_fraction; /* of the whole network */
} exn_tap;

/* Candidates of a folded graph in order of cost: dominators of the output (every path from the input to the output
 * passes through the value), of rank 4 with at least 8 channels, after an activation or a block's end. The
 * last entry is the input of the final classifier (Gemm, MatMul or 1x1 Conv that makes the logits). *out is freed with
 * exn_free. EXN_E_UNSUPPORTED if the network has no such classifier. */
exn_status exn_taps_find(exn_tap **out, size_t *count, const exn_graph *graph);
/* Picks `wanted` of the early candidates so that each costs about the same factor more than the one before, between a fifth and
 * nine tenths of the network: the first is the ceiling of the speed-up, and early accuracy grows fastest there. Picks fewer where the
 * network has fewer, and none that is twice as wide as another close by. cost: [count] shares of the whole, NaN for taps that
 * cannot be used; NULL: multiply-adds. Indices into taps, ascending. */
exn_status exn_taps_place(size_t *picked, size_t *picked_count, size_t wanted, const exn_tap *taps, size_t count,
                          const double *cost, exn_context *ctx);

#endif
