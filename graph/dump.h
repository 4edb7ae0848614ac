/* SPDX-License-Identifier: Apache-2.0
 * The operators of a graph as text, one a line. */
#ifndef EXN_GRAPH_DUMP_H
#define EXN_GRAPH_DUMP_H

#include "graph/ir.h"

/* "y 1x16x56x56 = Conv(x, w 16x8x3x3, b 16) kernel 3x3 stride 2x2 pads 0,0,1,1 + residual, clamp 0..6". *out is freed with
 * exn_free. */
exn_status exn_graph_text(char **out, const exn_graph *graph);

#endif
