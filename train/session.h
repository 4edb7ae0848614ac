/* SPDX-License-Identifier: Apache-2.0
 * One run of a trainer, in pieces small enough to stop after each.
 *
 * Jobs: for the last exit, then for the early ones from the deepest up, one fit for every fold without that fold's samples,
 * then one with all. What a fold's fit says about the samples it has not seen is all that judging knows (out-of-fold). */
#ifndef EXN_TRAIN_SESSION_H
#define EXN_TRAIN_SESSION_H

#include "train/trainer.h"

struct exn_session {
    exn_trainer *trainer;
    exn_context *ctx;
    exn_sample *samples; /* settled */
    size_t *fold;
    size_t count, labelled, exits, classes, folds;
    float *own;       /* [count][classes]: the untouched network's logits */
    float *start;     /* [count][classes]: the same from its last layer as a head */
    float *own_share; /* [count][classes]: softmax(own) */
    float *teacher; /* [folds + 1][count][classes]: of the last exit, logits, and after its gate the teacher's shares */
    float *held_out; /* [exits][count][classes]: logits from the fit that has not seen the sample */
    exn_head *head;  /* [exits]: as trained on all; empty where not done */
    bool *done;
    float kept;                   /* share of the untouched last layer that the gate kept */
    double nll_before, nll_after; /* of the last exit, out of fold, at temperature 1 */
    /* The job under way. */
    size_t exit, job_fold;
    bool finished;
    exn_fit *fit; /* NULL: the job is yet to begin */
    exn_head work;
    size_t *record; /* of the job's samples */
    float *target;
    size_t steps_done, steps_total;
};

/* Shares of truth in a labelled sample's target; the rest is the teacher's. */
#define EXN_LABEL_SHARE 0.5f

static inline float *exn_session_row(float *table, const exn_session *session, size_t block, size_t sample) {
    return table + (block * session->count + sample) * session->classes;
}

/* Chooses how much of the untouched last layer stays, by log-likelihood out of fold, and makes the teacher: train/gate.c. */
exn_status exn_session_gate(exn_session *session);
/* The teacher of a session that has no label: the untouched network. */
void exn_session_teach_alone(exn_session *session);

#endif
