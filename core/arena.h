/* SPDX-License-Identifier: Apache-2.0
 * Static memory planning: intervals of a buffer's life become offsets in one block. */
#ifndef EXN_CORE_ARENA_H
#define EXN_CORE_ARENA_H

#include "core/context.h"

/* One buffer: alive from step `first` to step `last`, both included. A workspace has first == last. */
typedef struct exn_interval {
    size_t bytes; /* rounded up to EXN_ALIGNMENT by the planner */
    size_t first, last;
    size_t offset; /* out: a multiple of EXN_ALIGNMENT */
} exn_interval;

typedef struct exn_arena_plan {
    size_t bytes;             /* highest offset + size */
    size_t lower_bound_bytes; /* largest sum of rounded sizes alive in one step */
} exn_arena_plan;

/* Fills in the offsets so that no two intervals that share a step overlap. Tries greedy orders (by size, by breadth)
 * with best-gap placement (Pisarchyk and Lee, arXiv 2001.03288), then a short seeded search until the lower bound is
 * met; thousands of buffers, which no real network has, are placed in the order of their steps. The same input gives
 * the same offsets. Empty buffers get offset 0. */
exn_status exn_arena_assign(exn_arena_plan *out, exn_context *ctx, exn_interval *intervals, size_t count);

#endif
