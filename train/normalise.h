/* SPDX-License-Identifier: Apache-2.0
 * A person's camera: the mean and deviation of each channel of the network's input over the person's photos, brought to
 * those of the photos that the network was taught on. It needs no label and costs nothing at run time: preprocessing multiplies
 * and adds per channel anyway. */
#ifndef EXN_TRAIN_NORMALISE_H
#define EXN_TRAIN_NORMALISE_H

#include "core/context.h"

/* The network's input over photos: sums of each photo's means of x and x^2, so that every photo counts alike. */
typedef struct exn_pixels {
    size_t photos; /* 0: unknown */
    double sum[3], square[3];
} exn_pixels;
/* One photo more: (pixels, channels) of the network's input, channels 1 or 3. */
void exn_pixels_add(exn_pixels *to, const float *hwc, size_t pixels, size_t channels);
void exn_pixels_merge(exn_pixels *to, const exn_pixels *from);
double exn_pixels_mean(const exn_pixels *of, size_t channel);
double exn_pixels_deviation(const exn_pixels *of, size_t channel);

/* x * gain + offset per channel of the network's input, and the evidence it stands on. */
typedef struct exn_normalisation {
    bool used;
    float gain[3], offset[3];
    size_t photos;        /* of the person; 0: never considered */
    double shift;         /* how far the person's channels lie from the general ones, see exn_normalisation_between */
    size_t judged;        /* labelled samples */
    double before, after; /* log-loss of the network's own answers; NaN without labels */
    double error;         /* standard error of the difference */
} exn_normalisation;

/* What brings `person` to `general`. shift: the largest, over channels, of |difference of means| / general deviation and of the
 * ratio of deviations, the larger over the smaller, less one. Gains stay within 1/3 .. 3. */
exn_normalisation exn_normalisation_between(const exn_pixels *general, const exn_pixels *person, size_t channels);
/* Less of a shift than this is not worth a second look at every photo. */
#define EXN_NORMALISATION_LEAST 0.5
/* Decides, and keeps the evidence: log-losses of the same labelled samples, seen as they are and normalised. Doubt is one part in
 * the samples, and no less than the standard error. A smaller shift than one has to gain more than that; one and more is a
 * camera's, and is undone unless twice as much speaks against it. */
void exn_normalisation_judge(exn_normalisation *n, const double *plain, const double *seen, size_t samples);
/* The same on the way from grey levels to the network's input, with no more operations than before. */
exn_preprocess exn_normalisation_fold(const exn_preprocess *preprocess, const exn_normalisation *n);

#endif
