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

/* Rows of a map. */
typedef struct exn_rows {
    size_t begin, end;
} exn_rows;
/* A convolution whose result is read from top to bottom, some rows at a time: row y lies in row y % ring. */
typedef struct exn_strip_source {
    exn_conv conv;        /* prepared for strips of up to `ring` rows; h, oh and pad_top are set anew for each */
    size_t h, pad_top;    /* of the whole input */
    size_t ring;          /* rows that are kept */
    const float *weights; /* packed for `conv` */
} exn_strip_source;
/* Leaves weights to the caller. *workspace grows to what any strip needs. */
void exn_strip_source_prepare(exn_strip_source *out, size_t *workspace, const exn_kernel_set *set,
                              const exn_strip_stage *stage, size_t ring);
/* Of the ring, in bytes. */
size_t exn_strip_source_bytes(const exn_strip_source *source);
/* Brings rows `wanted` of one image, at most as many as the ring has, into it. *held says which rows lie there already:
 * none before an image's first. */
void exn_strip_source_fill(const exn_strip_source *source, exn_rows *held, exn_rows wanted, const float *image,
                           float *ring, void *workspace);
/* Input rows that so many output rows read. Of the shape only the vertical part of the kernel is looked at, as below. */
size_t exn_strip_input_rows(const exn_conv_shape *s, size_t rows);
/* The input rows inside a map of `h` that output rows read, and how many above it they would read. */
exn_rows exn_strip_rows_read(size_t *above, const exn_conv_shape *s, size_t h, size_t pad_top, exn_rows wanted);

typedef struct exn_strips {
    bool has_first; /* without it the depthwise convolution reads the block's input */
    exn_strip_source first;
    exn_conv depthwise, last;        /* prepared for a strip; h, oh and pad_top are set anew for each */
    size_t h, pad_top;               /* of the depthwise convolution's whole input */
    size_t images, rows, total_rows; /* output rows: of a strip, of an image */
    size_t ring_at, narrow_at;       /* bytes into a thread's workspace: input and output of the depthwise */
    size_t workspace_bytes;          /* a thread */
    const float *depthwise_weights, *last_weights; /* packed for the prepared convolutions */
} exn_strips;

/* Prepares the block if strips are worth it: the maps between would leave the second-level cache, the weights stay in
 * it, and there are strips enough to share out. Depends on shapes only, never on threads. first NULL: no first stage. */
bool exn_strips_prepare(exn_strips *out, const exn_kernel_set *set, const exn_strip_stage *first,
                        const exn_strip_stage *depthwise, const exn_strip_stage *last);
/* residual: laid out as out, NULL, or out itself unless it is also `in`. */
void exn_strips_run(const exn_strips *strips, const float *in, float *out, const float *residual, void *workspace,
                    exn_part part);

#endif
