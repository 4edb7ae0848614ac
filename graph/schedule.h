/* SPDX-License-Identifier: Apache-2.0
 * The order of computation: what output 0 needs, then what else output 1 needs, and so on. */
#ifndef EXN_GRAPH_SCHEDULE_H
#define EXN_GRAPH_SCHEDULE_H

#include "graph/ir.h"

typedef struct exn_schedule {
    uint32_t *nodes; /* indices into the graph's nodes */
    size_t *branch;  /* of each: 0 backbone, i+1 what only output i (not the last) needs */
    size_t *end;     /* [output]: one past its last node */
    size_t count;
} exn_schedule;

/* Nodes that no output needs are left out; nodes within a segment keep the graph's order. */
exn_status exn_schedule_create(exn_schedule *out, const exn_graph *graph, const exn_value_id outputs[],
                               size_t output_count);
void exn_schedule_destroy(exn_schedule *schedule, exn_context *ctx);

#endif
