/* SPDX-License-Identifier: Apache-2.0
 * The static plan: kernels resolved, memory laid out, exits in place. Immutable and shareable once made. */
#ifndef EXN_GRAPH_PLAN_H
#define EXN_GRAPH_PLAN_H

#include "core/arena.h"
#include "graph/ir.h"

typedef struct exn_plan exn_plan;

/* EXN_FAST: 3x3 convolutions may take Winograd's algorithm, whose roundings are others (within 1e-4 of the largest
 * result in practice), and whose packed weights are 1.8 or 4 times as large. */
typedef enum exn_arithmetic { EXN_EXACT = 0, EXN_FAST = 1 } exn_arithmetic;
/* By how much packed weights may grow for EXN_FAST unless the options say otherwise. */
#define EXN_FAST_BYTES ((size_t)96 << 20)

typedef struct exn_plan_options {
    const exn_kernel_set *kernels; /* copied */
    size_t threads;                /* >= 1: sizes workspaces and partitions, never changes results */
    exn_arithmetic arithmetic;
    size_t fast_bytes; /* EXN_FAST: by how much packed weights may grow; 0: EXN_FAST_BYTES */
    bool
        separate; /* every operator a step of its own, no blocks in strips: for timing layers. Same bits, more memory */
    const exn_value_id *outputs; /* values to hand out, in the order in which the run shall produce them: for exits, the
                                       logits of exit 0, 1, ...; computation that no output needs is dropped, and what
                                       output i needs is scheduled before anything that only output i+1 needs */
    size_t output_count;
    bool lends;             /* other plans may borrow packed weights from this one */
    const exn_plan *lender; /* a plan that lends: what it packed alike is used where it lies; must outlive this one */
    const char *packed;     /* path of a file of packed weights: mapped where it fits, replaced where it does not, see
                           graph/packed.h; NULL: none. That it cannot be written is logged, no failure */
} exn_plan_options;

/* Schedules segment 1, head 1, segment 2, head 2 ...; lowers, packs weights, assigns the arena. The graph may be destroyed
 * afterwards, the constants' memory it borrowed (the model's mapped file) must stay. */
exn_status exn_plan_create(exn_plan **out, const exn_graph *graph, const exn_plan_options *options);
void exn_plan_destroy(exn_plan *plan);

exn_arena_plan exn_plan_arena(const exn_plan *plan);
size_t exn_plan_packed_bytes(const exn_plan *plan);
size_t exn_plan_step_count(const exn_plan *plan);
typedef struct exn_plan_step {
    const char *name, *op, *algorithm; /* node name, "Conv", "gemm 7x32" */
    const char *why;                   /* this algorithm was taken; "" where there is no other */
    uint64_t macs;
    size_t output;     /* index of the output that this step completes; SIZE_MAX: none */
    size_t branch;     /* 0: backbone; i+1: what only output i, not the last, needs */
    size_t live_bytes; /* alive during the step, workspace included */
    exn_shape shape;   /* of its result */
} exn_plan_step;
exn_plan_step exn_plan_get_step(const exn_plan *plan, size_t step);
typedef struct exn_plan_interval { /* of the arena: alive from step `first` to step `last` */
    size_t offset, bytes, first, last;
} exn_plan_interval;
size_t exn_plan_interval_count(const exn_plan *plan);
/* Workspaces come after the values; a value that lives inside another has 0 bytes. */
exn_plan_interval exn_plan_get_interval(const exn_plan *plan, size_t block);
exn_shape exn_plan_input_shape(const exn_plan *plan);               /* N,C,H,W */
uint64_t exn_plan_output_macs(const exn_plan *plan, size_t output); /* everything up to and including that output */

#endif
