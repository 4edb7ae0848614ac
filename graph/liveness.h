/* SPDX-License-Identifier: Apache-2.0
 * From steps to offsets: how long each buffer lives, which results overwrite an input, where all of it lies. */
#ifndef EXN_GRAPH_LIVENESS_H
#define EXN_GRAPH_LIVENESS_H

#include "graph/step.h"

/* Fills in first and last of the buffers, merges in-place results into their inputs, assigns the arena and writes
 * offsets into every operand and workspace. Steps and outputs must be complete. */
exn_status exn_plan_layout(exn_plan *plan);

#endif
