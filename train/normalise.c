/* SPDX-License-Identifier: Apache-2.0
 * Statistics of pixels, and what undoes a camera. */
#include "train/normalise.h"

#include <math.h>

#define GAIN_MOST 3.0
/* Nobody's own photos lie this far from the general ones, and a dim or tinted camera's do: see README. */
#define CERTAIN 1.0
/* In standard errors: a few labels that are unlucky would cost people with another camera far more than it ever gains them. */
#define AGAINST 2.0

void exn_pixels_add(exn_pixels *to, const float *hwc, size_t pixels, size_t channels) {
    double sum[3] = {0}, square[3] = {0};
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) {
            const double x = (double)hwc[p * channels + c];
            sum[c] += x;
            square[c] += x * x;
        }
    for (size_t c = 0; c < channels; c++) {
        to->sum[c] += sum[c] / (double)pixels;
        to->square[c] += square[c] / (double)pixels;
    }
    to->photos++;
}

void exn_pixels_merge(exn_pixels *to, const exn_pixels *from) {
    for (size_t c = 0; c < 3; c++) {
        to->sum[c] += from->sum[c];
        to->square[c] += from->square[c];
    }
    to->photos += from->photos;
}

double exn_pixels_mean(const exn_pixels *of, size_t channel) {
    return of->sum[channel] / (double)of->photos;
}

double exn_pixels_deviation(const exn_pixels *of, size_t channel) {
    const double mean = exn_pixels_mean(of, channel), variance = of->square[channel] / (double)of->photos - mean * mean;
    return sqrt(variance > 1e-12 ? variance : 1e-12);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

exn_normalisation exn_normalisation_between(const exn_pixels *general, const exn_pixels *person, size_t channels) {
    exn_normalisation n = {.photos = person->photos, .before = (double)NAN, .after = (double)NAN, .error = (double)NAN};
    for (size_t c = 0; c < 3; c++) {
        n.gain[c] = 1.0f;
        if (c >= channels) continue;
        const double deviation = exn_pixels_deviation(general, c);
        const double ratio = deviation / exn_pixels_deviation(person, c);
        const double gain = ratio > GAIN_MOST ? GAIN_MOST : ratio < 1 / GAIN_MOST ? 1 / GAIN_MOST : ratio;
        const double moved = exn_pixels_mean(person, c) - exn_pixels_mean(general, c);
        n.gain[c] = (float)gain;
        n.offset[c] = (float)(exn_pixels_mean(general, c) - gain * exn_pixels_mean(person, c));
        n.shift = larger(n.shift, larger(fabs(moved) / deviation, larger(ratio, 1 / ratio) - 1));
    }
    return n;
}

void exn_normalisation_judge(exn_normalisation *n, const double *plain, const double *seen, size_t samples) {
    double square = 0;
    n->judged = samples;
    n->used = n->shift >= CERTAIN;
    if (!samples) return;
    n->before = n->after = 0;
    for (size_t i = 0; i < samples; i++) {
        n->before += plain[i] / (double)samples;
        n->after += seen[i] / (double)samples;
    }
    const double gain = n->before - n->after;
    for (size_t i = 0; i < samples; i++) square += (plain[i] - seen[i] - gain) * (plain[i] - seen[i] - gain);
    n->error = samples > 1 ? sqrt(square / (double)(samples - 1) / (double)samples) : INFINITY;
    const double doubt = larger(1.0 / (double)samples, n->error);
    n->used = gain > (n->used ? -AGAINST * doubt : doubt);
}

exn_preprocess exn_normalisation_fold(const exn_preprocess *preprocess, const exn_normalisation *n) {
    exn_preprocess folded = *preprocess;
    for (size_t c = 0; c < 3 && n->used; c++) {
        const double mean = (double)preprocess->mean[c], deviation = (double)preprocess->deviation[c];
        const double narrow = deviation / (double)n->gain[c];
        folded.mean[c] = (float)(mean - (double)n->offset[c] * narrow);
        folded.deviation[c] = (float)narrow;
    }
    return folded;
}
