/* SPDX-License-Identifier: Apache-2.0
 * Optimisers over a handful of tensors: AdamW and SGD with momentum, on a schedule that ends at a rate of zero. */
#ifndef EXN_TRAIN_OPTIMISER_H
#define EXN_TRAIN_OPTIMISER_H

#include "core/threads.h"
#include "kernels/kernel_set.h"

typedef enum exn_optimiser_kind { EXN_OPTIMISER_ADAMW = 0, EXN_OPTIMISER_SGD = 1 } exn_optimiser_kind;

/* cosine: from the full rate to zero. one-cycle: up from a 25th over three tenths of the steps, then down like cosine. */
typedef enum exn_schedule { EXN_SCHEDULE_COSINE = 0, EXN_SCHEDULE_ONE_CYCLE = 1 } exn_schedule;

#define EXN_SLOTS_MAX 12u

typedef struct exn_slot { /* one trained tensor; memory belongs to the caller */
    float *weight;
    float *gradient;
    float *first, *second; /* moments, zero at the start; SGD uses only the first */
    size_t count;
    bool decays; /* weight decay applies: matrices, not shifts and scales */
} exn_slot;

typedef struct exn_optimiser {
    exn_optimiser_kind kind;
    const exn_f32_vector *vector;
    exn_schedule schedule;
    double rate, decay;
    size_t steps;          /* length of the schedule */
    size_t step;           /* taken so far */
    double power1, power2; /* beta^step of AdamW */
    exn_slot slot[EXN_SLOTS_MAX];
    size_t slots;
} exn_optimiser;

/* Ready for slots and schedule to be filled in. rate > 0, steps >= 1. */
void exn_optimiser_start(exn_optimiser *out, exn_optimiser_kind kind, const exn_f32_vector *vector, double rate,
                         double decay, size_t steps);
/* This part's share of one step over all slots. */
void exn_optimiser_apply(const exn_optimiser *optimiser, exn_part part);
/* Counts the step, after every part has applied it. */
void exn_optimiser_advance(exn_optimiser *optimiser);
/* (1 + cos(pi * x)) / 2 for x in 0 .. 1, from additions and multiplications alone: the same bits everywhere. */
double exn_half_cosine(double x);

#endif
