/* SPDX-License-Identifier: Apache-2.0
 * Heads run on cached features, folded and lowered as in a run. */
#ifndef EXN_TRAIN_TAIL_H
#define EXN_TRAIN_TAIL_H

#include "graph/head.h"
#include "train/cache.h"

typedef enum exn_tail {
    EXN_TAIL_FEATURES, /* inputs of the FC before standardise: exn_head_features a record */
    EXN_TAIL_LOGITS    /* classes a record */
} exn_tail;

/* Where a record holds what a head reads: from float `first` on its prefix, or the inputs of its FC, where nothing before them
 * will change any more. */
typedef struct exn_cached {
    size_t first;
    bool features;
} exn_cached;

/* For the records given. out: count rows. */
exn_status exn_tail_run(float *out, exn_tail what, exn_context *ctx, const exn_kernel_set *kernels,
                        const exn_head *head, const exn_cache *cache, exn_cached from, const size_t *records,
                        size_t count);

#endif
