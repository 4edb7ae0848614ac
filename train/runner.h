/* SPDX-License-Identifier: Apache-2.0
 * The runner's inside: what the rung it stands on runs, and what audits run. */
#ifndef EXN_TRAIN_RUNNER_H
#define EXN_TRAIN_RUNNER_H

#include "train/bypass.h"
#include "train/profile.h"

typedef struct exn_stage {
    exn_network network;
    exn_plan *plan;
    exn_exec *exec;       /* NULL: not made */
    exn_exit_rule *rules; /* of the network's exits */
} exn_stage;

struct exn_runner {
    exn_context *ctx;
    const exn_profile *profile;
    size_t threads, batch;
    exn_leave *leaves; /* [batch] */
    exn_resizer *resizer;
    exn_preprocess
        preprocess;  /* with the person's normalisation, on every rung; without it where whole_network was asked for */
    exn_stage stage; /* what classifies */
    exn_exit_rule *rules[EXN_RUNGS]; /* [exits of the profile]; WHOLE has none */
    /* Audits; without them the input and the logits are NULL, and the rung never changes. */
    exn_bypass_plan expect;
    exn_bypass bypass;
    float *input;  /* of the sample to audit, in memory order */
    float *logits; /* [exits of the profile][classes] */
    float *score;  /* [classes] */
    float **sinks; /* [exits of the deep network], into logits */
    exn_stage
        deep; /* every exit of every rung, and the last: made when an audit needs it, gone when the rung has an end */
    bool due;
    char message[EXN_MESSAGE_BYTES];
};

/* A network with the exits that `rules` enable ([exits of the profile]; NULL: the untouched one). packed: path of a file of packed
 * weights, or NULL. On failure nothing is left. */
exn_status exn_stage_create(exn_stage *out, const exn_runner *runner, const exn_exit_rule *rules, const char *packed);
void exn_stage_destroy(exn_stage *stage, exn_context *ctx);
/* The rules of the rungs and what is expected of them, from the profile's point for `target`; audits where share is above 0. */
exn_status exn_runner_begin_watch(exn_runner *runner, exn_target target, double share);
/* A failure of the context's is this runner's own. */
exn_status exn_runner_keep_message(exn_runner *runner, exn_status status);

#endif
