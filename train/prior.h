/* SPDX-License-Identifier: Apache-2.0
 * How often a person meets each class, and what that says about the next photo. All classes are equally frequent in general. */
#ifndef EXN_TRAIN_PRIOR_H
#define EXN_TRAIN_PRIOR_H

#include "core/context.h"
#include "kernels/kernel_set.h"

/* What labels say of the classes they do not show. Samples with a set `counts` count; near twins (equal group) as one. */
typedef struct exn_labels {
    const int64_t *label; /* EXN_UNLABELLED ones never count */
    const size_t *group;
    const bool *counts; /* NULL: all */
    size_t samples, classes;
} exn_labels;
/* Marks the classes that occur, and returns how much of what is to come is of none of them: Good and Turing's estimate,
 * (classes met once + 1) / (groups + 1), at most a half; 0 where all classes occur. */
double exn_prior_unseen(bool *seen, const exn_labels *labels);
/* What is added to the logits: half of log(personal / general frequency). A twin group of m photos counts sqrt(m), every class
 * that occurs one more; the others share what is unseen. shift: classes numbers. */
void exn_prior_from_labels(float *shift, bool *seen, const exn_f32_vector *vector, const exn_labels *labels);

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
