/* SPDX-License-Identifier: Apache-2.0
 * What every exit said about each sample while it was held out, kept beyond a run for whoever compares policies. */
#ifndef EXN_TRAIN_HELD_OUT_H
#define EXN_TRAIN_HELD_OUT_H

#include "train/cache.h"

struct exn_session;

typedef struct exn_held_out {
    size_t count, exits, classes; /* samples without duplicates; exits of the profile */
    exn_content *content;         /* [count] */
    float *logits; /* [exits + 1][count][classes]: out of fold; the last table is the untouched network's */
} exn_held_out;

exn_status exn_held_out_copy(exn_held_out *out, const struct exn_session *session);
void exn_held_out_free(exn_held_out *held_out, exn_context *ctx);
/* The sample's place, or SIZE_MAX. */
size_t exn_held_out_find(const exn_held_out *held_out, const exn_content *content);

#endif
