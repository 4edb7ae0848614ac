/* SPDX-License-Identifier: Apache-2.0
 * Graphs and plans as text, one operator or step a line. */
#ifndef EXN_GRAPH_DUMP_H
#define EXN_GRAPH_DUMP_H

#include "graph/plan.h"

/* "y 1x16x56x56 = Conv(x, w 16x8x3x3, b 16) kernel 3x3 stride 2x2 pads 0,0,1,1 + residual, clamp 0..6". *out is freed with
 * exn_free. */
exn_status exn_graph_text(char **out, const exn_graph *graph);
/* "Conv_7 Conv 1x24x56x56 = gemm 7x32 at 0 bytes 301056 live 2107392 branch 0", after a line with the arena. */
exn_status exn_plan_text(char **out, const exn_plan *plan);

#endif
