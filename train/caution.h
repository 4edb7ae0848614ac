/* SPDX-License-Identifier: Apache-2.0
 * What replaying personalisation on other people taught: how sure an exit must be, by the number of labels. */
#ifndef EXN_TRAIN_CAUTION_H
#define EXN_TRAIN_CAUTION_H

#include "train/point.h"

#define EXN_CAUTION_ROWS_MAX 16u

typedef struct exn_caution_row {
    size_t labels; /* holds from this many labelled samples on */
    float
        threshold[EXN_POINTS]; /* by target - 1: the least that needs no evidence of the person's own; above 1: none */
    float proof; /* UNTOUCHED: standard errors above the floor that the person's own evidence must show for less */
} exn_caution_row;

typedef struct exn_caution {
    size_t count; /* rows, ascending in labels, the first at 0; 0 in a profile: the compiled-in one holds */
    exn_caution_row row[EXN_CAUTION_ROWS_MAX];
    float
        headroom; /* standard errors by which the last exit must beat the untouched network before own evidence counts */
    float unlabelled;   /* the least threshold where agreement stands in for labels */
    size_t people;      /* replayed; 0: compiled in */
    double loss, level; /* mean loss of accuracy that it was held to, and with which probability it may be exceeded */
} exn_caution;

/* Where a profile brings none. README says where its numbers come from. */
extern const exn_caution exn_caution_default;
/* The profile's, or the compiled-in one. */
const exn_caution *exn_caution_or_default(const exn_caution *schedule);
/* The row that holds for this many labels. */
const exn_caution_row *exn_caution_find(const exn_caution *schedule, size_t labels);

/* ---- the mathematics of small samples ---- */

/* Clopper-Pearson: the share that a binomial variable with `hits` of `trials` exceeds with probability 1 - `miss`. 0 where
 * nothing is known. */
double exn_lower_bound(size_t hits, size_t trials, double miss);
/* P-value of "the mean loss over people is above `limit`", from `count` people's losses of accuracy, by betting
 * (Waudby-Smith and Ramdas 2024): valid for any distribution on [-EXN_LOSS_MAX, EXN_LOSS_MAX], to which losses are clipped, and
 * for few people. It depends on the order of the people, which must be chosen without looking at their losses. */
#define EXN_LOSS_MAX 0.2
double exn_risk_p_value(const double *losses, size_t count, double limit);

#endif
