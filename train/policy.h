/* SPDX-License-Identifier: Apache-2.0
 * Which exits are used, and from which confidence on: the least expected cost under an accuracy floor. */
#ifndef EXN_TRAIN_POLICY_H
#define EXN_TRAIN_POLICY_H

#include "train/caution.h"
#include "train/costs.h"

/* What every exit said about every sample while it was held out of training; arrays of exits x samples. The last exit is
 * the network's own, with its personal weights. */
typedef struct exn_evidence {
    size_t exits, samples;
    const int64_t *label; /* EXN_UNLABELLED where unknown */
    size_t classes;
    const float *logits;      /* [exits][samples][classes] */
    const float *temperature; /* [exits] */
    const exn_kernel_set *kernels;
    const size_t *untouched; /* [samples]: what the untouched network says */
    const bool *usable;      /* [exits]: trained and judged */
} exn_evidence;

/* Exits may carry: an exit then goes by its own logits and, less and less, by those of the enabled exits before it
 * (exn_exit_score). How much is chosen from a short list by log-loss out of fold with all usable exits; few labels: a fixed
 * value.
 *
 * Decides one target. A candidate is a set of exits, a threshold for them, and perhaps an end: its deepest exit then takes
 * whatever comes. The cheapest candidate wins among those that leave at least `floor` samples right:
 *
 *   KEEP        floor: what the last exit has right, or the untouched network, whichever is more
 *   UNTOUCHED   floor: what the untouched network has right
 *
 * and that use only thresholds that the schedule vouches for at this number of labels (strength shared between people; the
 * person's samples may only forbid). For UNTOUCHED, and where the last exit beats the untouched network by
 * `schedule.headroom` standard errors, lower thresholds and ends are allowed as well: to those that beat the floor by
 * `proof` standard errors of the paired difference (the person's own evidence). With fewer than EXN_POLICY_LABELS labels,
 * agreement with the last exit, by its lower bound (exn_lower_bound), stands in for accuracy, and there is no end. Up to five
 * usable exits: every subset is tried; more: exits are added greedily. If nothing saves at least one part in a hundred, no early
 * exit is enabled. */
#define EXN_POLICY_LABELS 10u
exn_status exn_policy_decide(exn_policy *out, exn_context *ctx, exn_target target, const exn_evidence *evidence,
                             const exn_costs *costs, const exn_caution *schedule);

#endif
