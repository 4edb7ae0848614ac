/* SPDX-License-Identifier: Apache-2.0
 * An operating point: which exits are used, from which confidence on, and the evidence that this stands on. */
#ifndef EXN_TRAIN_POINT_H
#define EXN_TRAIN_POINT_H

#include "core/context.h"

#define EXN_EXITS_MAX 64u /* of one profile, the last included */
/* A profile keeps a point for every target, so that a runner chooses without training again. */
#define EXN_POINTS ((size_t)EXN_TARGET_UNTOUCHED)
extern const char *const exn_target_names[EXN_POINTS + 1]; /* by exn_target: "profile", "keep", "untouched" */

typedef struct exn_policy {
    bool enabled[EXN_EXITS_MAX];    /* the last one always */
    float threshold[EXN_EXITS_MAX]; /* of enabled early exits; 0: takes whatever comes, so that the plan ends there */
    float carry;                    /* how much an exit goes by what the enabled ones before it said; 0: not at all */
    bool labelled;                  /* judged by labels; else by agreement with the last exit alone */
    size_t judged;                  /* samples that counted; 0: nothing was decided */
    size_t right, untouched, last;  /* of those: right (or as that exit says) under this policy, by the two networks */
    size_t taken[EXN_EXITS_MAX];    /* of all samples: where they leave */
    size_t samples;                 /* all */
    size_t differ, unsure;          /* of all: not the last exit's answer after the others; rather unlikely */
    double gain;                    /* accuracy that personalising is believed to have brought, drawn to others' */
    double loss, allowed;           /* accuracy that leaving early is believed to cost, and what it may */
    double cost, whole;             /* mean cost a sample; of the untouched network */
} exn_policy;

/* The weight of an exit's own logits beside what it carries: together they stay about as sure as the exit alone. */
static inline float exn_carry_own(float carry) {
    return 1.0f - 0.6f * carry;
}

#endif
