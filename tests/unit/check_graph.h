/* SPDX-License-Identifier: Apache-2.0
 * Runs a graph on every kernel set and thread count, and holds the results against the oracle and each other. */
#ifndef EXN_TESTS_UNIT_CHECK_GRAPH_H
#define EXN_TESTS_UNIT_CHECK_GRAPH_H

#include "graph/run.h"
#include "tests/unit/reference.h"

/* A plan over the set named (NULL: the best), every failure ending the test. */
exn_plan *check_plan(const exn_graph *graph, const char *set, size_t threads, const exn_value_id *outputs,
                     size_t output_count);
/* Sets of equal bits on this machine, by name. Returns how many; at most 8. */
size_t check_fused_sets(const char *names[8]);
/* Uniform in -1 .. 1; free() it. */
float *check_input(const exn_graph *graph, uint64_t seed);
/* The graph's output within `tolerance` of the oracle on `scalar` and on every fused set, with 1 to 4 threads; all
 * fused runs with the same bits. */
void check_graph(const exn_graph *graph, double tolerance);

#endif
