/* SPDX-License-Identifier: Apache-2.0
 * Walking over boxes of up to EXN_RANK_MAX dimensions with several strides at once. Private to kernels/. */
#ifndef EXN_KERNELS_WALK_H
#define EXN_KERNELS_WALK_H

#include "core/tensor.h"
#include "core/threads.h"

#define EXN_WALK_STREAMS 3u

/* Dimensions, outermost first, and for each stream its stride along every dimension. */
typedef struct exn_walk {
    size_t rank, streams;
    size_t dim[EXN_RANK_MAX];
    ptrdiff_t stride[EXN_WALK_STREAMS][EXN_RANK_MAX];
    size_t index[EXN_RANK_MAX];         /* where the walk is */
    ptrdiff_t offset[EXN_WALK_STREAMS]; /* of the element there */
} exn_walk;

/* Drops dimensions of size 1 and merges neighbours that every stream crosses evenly. An empty box becomes one
 * dimension of size 0. */
void exn_walk_simplify(exn_walk *walk);
/* Takes the innermost dimension off (size 1 and strides 0 where there is none). Returns its size. */
size_t exn_walk_take_inner(exn_walk *walk, ptrdiff_t inner_stride[EXN_WALK_STREAMS]);
size_t exn_walk_count(const exn_walk *walk);
/* Goes to the element with this row-major number. */
void exn_walk_seek(exn_walk *walk, size_t number);
void exn_walk_next(exn_walk *walk);
/* A part's share of `outer` runs of `inner` elements: some runs whole, or a piece (multiples of 16) of every run. */
void exn_walk_share(size_t outer_range[2], size_t inner_range[2], size_t outer, size_t inner, exn_part part);

#endif
