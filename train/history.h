/* SPDX-License-Identifier: Apache-2.0
 * What earlier personalising found: how good each exit was, with how many samples. */
#ifndef EXN_TRAIN_HISTORY_H
#define EXN_TRAIN_HISTORY_H

#include "train/point.h"

#define EXN_LESSONS_MAX 32u /* the oldest goes first */

typedef struct exn_lesson {
    size_t labelled, unlabelled;
    double accuracy;            /* of the policy, out of fold; NaN: unknown, here and below */
    double exit[EXN_EXITS_MAX]; /* of each exit */
} exn_lesson;

typedef struct exn_history {
    exn_lesson lesson[EXN_LESSONS_MAX]; /* oldest first */
    size_t count;
} exn_history;

/* A lesson with the same numbers of samples as the last one takes its place. */
void exn_history_append(exn_history *history, const exn_lesson *lesson);

#endif
