/* SPDX-License-Identifier: Apache-2.0
 * Heads that nobody has trained yet. */
#ifndef EXN_TRAIN_FRESH_H
#define EXN_TRAIN_FRESH_H

#include "graph/head.h"

/* Overwrites an allocated early head with its starting weights: convolutions normal numbers, small by fan-in, the FC
 * zero, statistics and biases neutral. They follow from seed and exit index alone. */
void exn_head_reset(exn_head *head, uint64_t seed, size_t exit);
/* Sets the statistics of standardise ([features] each; both NULL: 0 and 1, raw features). restate: the FC is rewritten so that
 * the head computes what it did before. */
void exn_head_set_norm(exn_head *head, const float *mean, const float *inv_std, bool restate);
/* Deep copy; `out` needs no preparation. */
exn_status exn_head_copy(exn_head *out, exn_context *ctx, const exn_head *head);

#endif
