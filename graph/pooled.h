/* SPDX-License-Identifier: Apache-2.0
 * Convolution and max pooling of its result, done in strips of rows: the map between exists only a few rows at a time, in
 * a thread's workspace. The bits are those of two steps. */
#ifndef EXN_GRAPH_POOLED_H
#define EXN_GRAPH_POOLED_H

#include "graph/strips.h"
#include "kernels/window.h"

typedef struct exn_pooled {
    exn_strip_source source;
    exn_window window;      /* of the whole maps */
    size_t rows;            /* pooled rows of a strip */
    size_t ring_at;         /* bytes into a thread's workspace: the convolution's rows */
    size_t workspace_bytes; /* a thread */
} exn_pooled;

/* Prepares both if strips are worth it: the map between would leave the second-level cache, and there are strips enough
 * to share out. Depends on shapes only, never on threads. */
bool exn_pooled_prepare(exn_pooled *out, const exn_kernel_set *set, const exn_strip_stage *conv,
                        const exn_window *window);
void exn_pooled_run(const exn_pooled *pooled, const exn_f32_vector *vector, const float *in, float *out,
                    void *workspace, exn_part part);

#endif
