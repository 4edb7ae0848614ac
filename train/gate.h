/* SPDX-License-Identifier: Apache-2.0
 * Do no harm: what was trained replaces what was there only as far as samples that it has not seen speak for it.
 *
 * All of it is judged by log-loss of true labels out of fold. Accuracy on as few samples is noise. */
#ifndef EXN_TRAIN_GATE_H
#define EXN_TRAIN_GATE_H

#include <stdbool.h>
#include <stddef.h>

/* With fewer labels than this, half of an early exit's general head stays whatever they say. */
#define EXN_GATE_LABELS 10u
#define EXN_GATE_SHARES 5u
extern const float exn_gate_shares[EXN_GATE_SHARES]; /* of the general head that may stay: 0 first, 1 last */

typedef struct exn_gate {
    double before, after; /* mean log-loss out of fold: of what was there, of what is used now; NaN without labels */
    double error;         /* standard error of their difference */
    size_t judged, tried; /* labelled samples; ways of training */
    float kept;           /* share of the general head that stays; 1: nothing was replaced */
    float truth;          /* of the way chosen: share of truth in a labelled target, */
    bool prior;           /* whether the bias starts from the person's class frequencies, */
    double pull;          /* how hard the start pulls, */
    bool centred, open;   /* whether only differences between samples moved; whether classes not shown may well come, */
    double unseen,
        doubt; /* because this much of what is to come is of such classes, and this much was believed to be */
} exn_gate;

/* Which of `trials` ways of training to use. loss: a row of `samples` log-losses for each. The first is the usual one: another
 * takes its place only where the mean of its gains is more than its standard error, for the best of several
 * always looks better than it is. */
size_t exn_gate_pick(const double *loss, size_t trials, size_t samples);
/* The share kept that has the least mean loss; all of it (1) unless that gains more than (1 + 10 / samples) / samples over it.
 * loss: a row for each of exn_gate_shares. Fills in judged, kept and the losses. */
void exn_gate_weigh(exn_gate *gate, const double *loss, size_t samples, bool half_stays);

#endif
