/* SPDX-License-Identifier: Apache-2.0
 * Convolution, depthwise convolution, pointwise convolution, done in strips of rows: the maps between them exist only a
 * few rows at a time, in a thread's workspace. Every output is the same chain of multiply-adds as in three steps, so
 * the bits are the same too. */
#ifndef EXN_GRAPH_STRIPS_H
#define EXN_GRAPH_STRIPS_H

#include "kernels/conv.h"

/* One of the three; shapes are of the whole map. */
typedef struct exn_strip_stage {
    exn_conv_shape shape;
    exn_activation activation;
    float lo, hi;
} exn_strip_stage;

typedef struct exn_strips {
    bool has_first;                  /* without it the depthwise convolution reads the block's input */
    exn_conv first, depthwise, last; /* prepared for a strip; h, oh and pad_top are set anew for each */
    size_t h[2], pad_top[2];         /* of the whole maps: first, depthwise */
    size_t images, rows, total_rows; /* output rows: of a strip, of an image */
    size_t wide_at, narrow_at;       /* bytes into a thread's workspace: input and output of the depthwise */
    size_t workspace_bytes;          /* a thread */
    const float *first_weights, *depthwise_weights, *last_weights; /* packed for the prepared convolutions */
} exn_strips;

/* Prepares the block if strips are worth it: the maps between would leave the second-level cache, the weights stay in
 * it, and there are strips enough to share out. Depends on shapes only, never on threads. first NULL: no first stage. */
bool exn_strips_prepare(exn_strips *out, const exn_kernel_set *set, const exn_strip_stage *first,
                        const exn_strip_stage *depthwise, const exn_strip_stage *last);
/* residual: laid out as out, NULL, or out itself unless it is also `in`. */
void exn_strips_run(const exn_strips *strips, const float *in, float *out, const float *residual, void *workspace,
                    exn_part part);

#endif
