/* SPDX-License-Identifier: Apache-2.0
 * How often a person meets each class, and what that says about the next photo. All classes are equally frequent in general. */
#ifndef EXN_TRAIN_PRIOR_H
#define EXN_TRAIN_PRIOR_H

#include "core/context.h"
#include "kernels/kernel_set.h"

/* Pseudo samples that speak for the general frequencies; a class never moves further than this many nats. */
#define EXN_PRIOR_STRENGTH 5.0
#define EXN_PRIOR_MOST 3.0

/* What is added to the logits: log(personal / general frequency), where the personal ones follow from the labels of samples
 * with a set `counts` (NULL: all), smoothed by EXN_PRIOR_STRENGTH general samples. shift: classes numbers. */
void exn_prior_from_labels(float *shift, const exn_f32_vector *vector, size_t classes, const int64_t *label,
                           const bool *counts, size_t samples);

/* Frequencies estimated from what a network says: whether they are used, and why. */
typedef struct exn_prior {
    bool used;
    size_t samples;   /* 0: never estimated */
    double effective; /* 1 / sum of squared frequencies: how many classes the person has, in effect */
    double unstable;  /* mean total variation between the estimate and those of resampled photos */
} exn_prior;

/* Label shift by expectation and maximisation over shares (samples rows of calibrated probabilities; where there is a label it
 * speaks instead). Half of log(personal / general) goes to `shift`, since the shares are never calibrated quite. Used where
 * there are 20 samples or more, at most a fifth of the classes is in effect there, and resampling moves less than 0.3. */
exn_status exn_prior_from_predictions(float *shift, exn_prior *out, exn_context *ctx, const exn_f32_vector *vector,
                                      const float *shares, const int64_t *label, size_t samples, size_t classes,
                                      uint64_t seed);

#endif
