/* SPDX-License-Identifier: Apache-2.0
 * How often a person meets each class, and what that says about the next photo. */
#ifndef EXN_TRAIN_PRIOR_H
#define EXN_TRAIN_PRIOR_H

#include "kernels/kernel_set.h"

/* Pseudo samples that speak for the general frequencies; a class never moves further than this many nats. */
#define EXN_PRIOR_STRENGTH 5.0
#define EXN_PRIOR_MOST 3.0

/* What is added to the logits: log(personal / general frequency), where the personal ones follow from the labels of samples
 * with a set `counts` (NULL: all), smoothed by EXN_PRIOR_STRENGTH general samples. All classes are equally frequent in general.
 * shift: classes numbers. */
void exn_prior_from_labels(float *shift, const exn_f32_vector *vector, size_t classes, const int64_t *label,
                           const bool *counts, size_t samples);

#endif
