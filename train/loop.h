/* SPDX-License-Identifier: Apache-2.0
 * Training one head from cached features, one step at a time, so that the caller may stop after any of them.
 *
 *   linear, pooled, classifier   standardise (fixed) -> FC; the whole set in one batch where it fits
 *   conv, wide, conv2            (depthwise -> 1x1 -> BatchNorm -> ReLU) once or twice -> pool -> standardise (running) -> FC
 *
 * Every number follows from the samples, the options and the seed: not from threads, tiles or time. */
#ifndef EXN_TRAIN_LOOP_H
#define EXN_TRAIN_LOOP_H

#include "graph/head.h"
#include "train/archive.h"
#include "train/cache.h"
#include "train/optimiser.h"

typedef struct exn_fit exn_fit;

typedef struct exn_fit_options {
    exn_optimiser_kind optimiser;
    exn_schedule schedule;
    double rate, decay; /* decay: AdamW's, relative to the rate; of SGD: added to the gradient */
    size_t steps;       /* >= 1 */
    size_t batch;       /* at most this many samples a step */
    float temperature;  /* of the loss */
    double
        soft_share; /* of the second loss, to samples' `soft` at soft_temperature; the first one's is 1 - soft_share */
    float soft_temperature;
    float dropout; /* share of the FC's inputs that a step leaves out, 0 .. 0.9 */
    bool flip;     /* every second sample, at random, is shown mirrored (maps only) */
    uint64_t seed, stream;
} exn_fit_options;

/* What is learned: sample i is record `record[i]` of the cache, whose floats from `first` on are the head's prefix.
 * target: count rows of probabilities. All borrowed for the life of the fit. */
typedef struct exn_fit_samples {
    const exn_cache *cache;
    const size_t *record;
    size_t count, first;
    const float *target;
    const float *soft; /* likewise, for the second loss; NULL where soft_share is 0 */
} exn_fit_samples;

/* Rate, decay, steps and batch that suit a fresh head with convolutions and one person's samples (AdamW). */
exn_fit_options exn_fit_defaults(void);
/* Trains `head` in place. count >= 1; the head's tensors are the start. Takes all memory it will need. */
exn_status exn_fit_create(exn_fit **out, exn_context *ctx, const exn_kernel_set *kernels, exn_pool *pool,
                          exn_head *head, const exn_fit_samples *samples, const exn_fit_options *options);
void exn_fit_destroy(exn_fit *fit);
/* One step; EXN_E_INVALID when the loss is no longer finite. */
exn_status exn_fit_step(exn_fit *fit);
bool exn_fit_done(const exn_fit *fit);
/* Mean loss of the last step's batch. */
double exn_fit_loss(const exn_fit *fit);
/* Moves what the tape learned beside the weights (running statistics) into the head, and brings a classifier back to raw
 * features. After the last step; only then the head may be used. */
void exn_fit_finish(exn_fit *fit);
/* Where a fit stands, its head's weights included: written, or read into one that was created alike. */
void exn_fit_exchange(exn_fit *fit, exn_archive *archive);
/* Bytes that a fit will hold: arena, gradients, moments. */
exn_status exn_fit_bytes(size_t *out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                         size_t count, const exn_fit_options *options);

#endif
