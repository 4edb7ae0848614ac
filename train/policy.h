/* SPDX-License-Identifier: Apache-2.0
 * Which exits are used, and from which confidence on: the least expected cost under an accuracy floor. */
#ifndef EXN_TRAIN_POLICY_H
#define EXN_TRAIN_POLICY_H

#include "train/costs.h"

/* What every exit said about every sample while it was held out of training; arrays of exits x samples. The last exit is
 * the network's own. */
typedef struct exn_evidence {
    size_t exits, samples;
    const int64_t *label;    /* EXN_UNLABELLED where unknown */
    const size_t *choice;    /* label that each exit would give */
    const float *confidence; /* calibrated */
    const size_t *untouched; /* [samples]: what the untouched network says */
    const bool *usable;      /* [exits]: trained and judged */
} exn_evidence;

typedef struct exn_policy {
    bool enabled[EXN_EXITS_MAX]; /* the last one always */
    float threshold;             /* one for all exits */
    bool labelled;               /* judged by labels; else by agreement with the untouched network */
    size_t judged;               /* samples that counted */
    size_t right, floor;         /* of those: right (or agreeing) under this policy, and how many had to be */
    size_t taken[EXN_EXITS_MAX]; /* of all samples: where they leave */
    double cost, whole;          /* mean cost a sample; of the untouched network */
} exn_policy;

/* The same threshold serves all exits, comes from a short grid, and may not be lower than the number of samples allows:
 * few samples say too little to choose more than that. With fewer than EXN_POLICY_LABELS labels, agreement with the
 * untouched network stands in for accuracy, at thresholds of 0.9 or more. Up to five usable exits: every subset is tried; more:
 * exits are added greedily. If nothing saves at least one part in a hundred within the floor, no early exit is enabled. */
#define EXN_POLICY_LABELS 10u
void exn_policy_decide(exn_policy *out, const exn_evidence *evidence, const exn_costs *costs);

#endif
