/* SPDX-License-Identifier: Apache-2.0
 * One run of a trainer, in pieces small enough to stop after each.
 *
 * The last exit first, then the early ones from the deepest up. Each is trained in every fold without that fold's samples, and
 * with all. What a fold's weights say about the samples they have not seen is all that judging knows (out-of-fold). */
#ifndef EXN_TRAIN_SESSION_H
#define EXN_TRAIN_SESSION_H

#include "train/gate.h"
#include "train/journal.h"
#include "train/trainer.h"

typedef struct exn_adapt exn_adapt;
typedef struct exn_whole exn_whole;

struct exn_session {
    exn_trainer *trainer;
    exn_context *ctx;
    exn_sample *samples;           /* settled */
    int64_t *label;                /* [count] */
    size_t *fold, *group, *record; /* [count] */
    size_t count, labelled, exits, classes, folds;
    float *own;      /* [count][classes]: the untouched network's logits */
    float *logits;   /* [count][classes]: the same of photos as the exits will see them, see `normal` */
    float *share;    /* [count][classes]: softmax(logits) */
    float *teacher;  /* [folds + 1][count][classes]: of each fold's teacher, then of the final one: shares */
    float *held_out; /* [exits][count][classes]: logits from weights that have not seen the sample */
    exn_head *head;  /* [exits]: as it will be used; kind AUTO where not done */
    exn_gate *gate;  /* [exits] */
    bool *done;      /* an early exit may be used; the last one was changed */
    /* Before all else, where the person's camera may not be the general one: every photo again, normalised. */
    exn_normalisation normal;
    bool looking;
    size_t *seen; /* [count]: records of the normalised photos */
    size_t next;
    exn_prior prior;  /* class frequencies estimated without labels; where they are used: */
    float *frequency; /* [classes]: what they add to calibrated logits */
    /* The exit under way. */
    size_t exit;
    bool finished;
    exn_adapt *adapt; /* one of these, or neither: yet to begin */
    exn_whole *whole;
    size_t steps_done, steps_total;
    exn_journal *journal; /* NULL: nothing is kept on disk */
};

static inline float *exn_session_row(float *table, const exn_session *session, size_t block, size_t sample) {
    return table + (block * session->count + sample) * session->classes;
}

/* Steps that an exit will take. */
size_t exn_session_steps_of(const exn_session *session, size_t exit);
/* On to the next exit below `above` that there is something to train for. */
void exn_session_go_to(exn_session *session, size_t above);
exn_status exn_session_begin_exit(exn_session *session);
/* Takes what an earlier run of the same session kept, and keeps more from here on; nothing where the trainer has no place for it. */
exn_status exn_session_resume(exn_session *session);
/* Keeps what was made of the exit that is about to be left. */
exn_status exn_session_keep_exit(exn_session *session);
/* By what this exit's logits are divided before they mean probabilities, as general data told; 1: it told nothing. */
float exn_session_calibration(const exn_session *session, size_t exit);
/* The head that a run starts an exit from: the network's own classifier, what general data taught, or a fresh one. `out` needs no
 * preparation. */
exn_status exn_session_start_head(exn_head *out, const exn_session *session, size_t exit);
/* Where no last layer was made, what is judged is the network's own. With classes added, the profile's head is what runs, and it may be
 * of an earlier run: then the session's becomes the layer that is judged, with the frequencies it was given. */
exn_status exn_session_restore_last(exn_session *session);

#endif
