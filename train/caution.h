/* SPDX-License-Identifier: Apache-2.0
 * What other people taught about leaving early, and bounds for small samples. */
#ifndef EXN_TRAIN_CAUTION_H
#define EXN_TRAIN_CAUTION_H

#include <stddef.h>

/* The accuracy (a share) that other people lost where calibrated exits that carry left from this confidence on, beside never
 * leaving. Falls with the threshold, 0 from 1 on, and with the number of labels up to fifty (the caller counts samples without one
 * as parts of one). README says where its numbers come from. */
double exn_caution_loss(float threshold, double labels);
/* Clopper-Pearson: the share that a binomial variable with `hits` of `trials` exceeds with probability 1 - `miss`. 0 where
 * nothing is known. */
double exn_lower_bound(size_t hits, size_t trials, double miss);

#endif
