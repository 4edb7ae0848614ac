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

/* For the records given, whose floats from `first` on are the head's prefix. out: count rows. */
exn_status exn_tail_run(float *out, exn_tail what, exn_context *ctx, const exn_kernel_set *kernels,
                        const exn_head *head, const exn_cache *cache, size_t first, const size_t *records,
                        size_t count);

#endif
