/* SPDX-License-Identifier: Apache-2.0
 * Folding: neighbours that one kernel call can do become one operator. */
#ifndef EXN_GRAPH_FOLD_H
#define EXN_GRAPH_FOLD_H

#include "graph/ir.h"

/* In place, on a bound graph:
 *   zero padding of height and width             into the Conv that alone reads it
 *   BatchNormalization, Add of a constant row    into fold_scale and fold_shift of the Conv or Gemm before it
 *   x * sigmoid(x), x * hardsigmoid(x)           become Swish and HardSwish
 *   Add of a Conv's result and an earlier value  into the Conv's residual
 *   an activation                                into the Conv, Gemm or Add before it
 * always only where nothing else reads what would vanish. The value that survives is the last one's. */
exn_status exn_graph_fold(exn_graph *graph);

#endif
