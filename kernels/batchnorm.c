/* SPDX-License-Identifier: Apache-2.0
 * Batch normalisation over rows of channels. Sums are taken in double precision, in ascending rows, by plain products
 * and additions: the same bits on every kernel set. */
#include "kernels/backward.h"
#include "kernels/block.h"
#include <math.h>

/* Channels of one pass: their sums live on the stack. */
#define SLAB_CHANNELS 64u
#define GRAIN_CHANNELS 16u

static float inverse_deviation(double variance, float epsilon) {
    return (float)(1.0 / sqrt(variance + (double)epsilon));
}

/* Batch mean and biased variance of channels c .. c+channels-1. */
static void measure(const exn_batchnorm *bn, const float *x, size_t c, size_t channels, double mean[SLAB_CHANNELS],
                    double variance[SLAB_CHANNELS]) {
    for (size_t i = 0; i < channels; i++) mean[i] = variance[i] = 0.0;
    for (size_t r = 0; r < bn->rows; r++)
        for (size_t i = 0; i < channels; i++) mean[i] += (double)x[r * bn->c + c + i];
    for (size_t i = 0; i < channels; i++) mean[i] /= (double)bn->rows;
    for (size_t r = 0; r < bn->rows; r++)
        for (size_t i = 0; i < channels; i++) {
            const double off = (double)x[r * bn->c + c + i] - mean[i];
            variance[i] += off * off;
        }
    for (size_t i = 0; i < channels; i++) variance[i] /= (double)bn->rows;
}

static void move_running(const exn_batchnorm *bn, size_t c, double mean, double variance) {
    const double step = (double)bn->momentum, rows = (double)bn->rows;
    const double unbiased = bn->rows > 1 ? variance * rows / (rows - 1.0) : variance;
    bn->running_mean[c] = (float)((1.0 - step) * (double)bn->running_mean[c] + step * mean);
    bn->running_var[c] = (float)((1.0 - step) * (double)bn->running_var[c] + step * unbiased);
}

/* Fills in mean and inv_std of the slab, from the batch or from the running statistics. */
static void settle_statistics(const exn_batchnorm *bn, const float *x, size_t c, size_t channels) {
    double mean[SLAB_CHANNELS], variance[SLAB_CHANNELS];
    if (!bn->frozen) measure(bn, x, c, channels, mean, variance);
    for (size_t i = 0; i < channels; i++) {
        if (bn->frozen) {
            bn->mean[c + i] = bn->running_mean[c + i];
            bn->inv_std[c + i] = inverse_deviation((double)bn->running_var[c + i], bn->epsilon);
        } else {
            bn->mean[c + i] = (float)mean[i];
            bn->inv_std[c + i] = inverse_deviation(variance[i], bn->epsilon);
            move_running(bn, c + i, mean[i], variance[i]);
        }
    }
}

void exn_batchnorm_forward(const exn_batchnorm *bn, const exn_f32_vector *vector, const float *x, float *y,
                           exn_part part) {
    size_t first, last;
    exn_part_range(&first, &last, part, bn->c, GRAIN_CHANNELS);
    for (size_t c = first; c < last && bn->rows > 0; c += SLAB_CHANNELS) {
        const size_t channels = exn_min(SLAB_CHANNELS, last - c);
        float factor[SLAB_CHANNELS], offset[SLAB_CHANNELS];
        settle_statistics(bn, x, c, channels);
        for (size_t i = 0; i < channels; i++) {
            factor[i] = bn->inv_std[c + i] * (bn->scale ? bn->scale[c + i] : 1.0f);
            offset[i] = (bn->shift ? bn->shift[c + i] : 0.0f) - bn->mean[c + i] * factor[i];
        }
        for (size_t r = 0; r < bn->rows; r++)
            vector->scale_shift(channels, x + r * bn->c + c, factor, offset, y + r * bn->c + c);
    }
}

/* Sums over rows of dY and of dY times the normalised input. */
static void gather(const exn_batchnorm *bn, const float *x, const float *dy, size_t c, size_t channels,
                   double sum[SLAB_CHANNELS], double product[SLAB_CHANNELS]) {
    for (size_t i = 0; i < channels; i++) sum[i] = product[i] = 0.0;
    for (size_t r = 0; r < bn->rows; r++)
        for (size_t i = 0; i < channels; i++) {
            const size_t at = r * bn->c + c + i;
            sum[i] += (double)dy[at];
            product[i] += (double)dy[at] * (double)((x[at] - bn->mean[c + i]) * bn->inv_std[c + i]);
        }
}

void exn_batchnorm_backward(const exn_batchnorm *bn, const exn_f32_vector *vector, const float *x, const float *dy,
                            float *dx, float *dscale, float *dshift, exn_part part) {
    (void)vector; /* plain loops: every set gives the same bits, the one without fused multiply-add too */
    size_t first, last;
    exn_part_range(&first, &last, part, bn->c, GRAIN_CHANNELS);
    for (size_t c = first; c < last && bn->rows > 0; c += SLAB_CHANNELS) {
        const size_t channels = exn_min(SLAB_CHANNELS, last - c);
        double sum[SLAB_CHANNELS], product[SLAB_CHANNELS];
        float factor[SLAB_CHANNELS], mean_dy[SLAB_CHANNELS], slope[SLAB_CHANNELS];
        gather(bn, x, dy, c, channels, sum, product);
        for (size_t i = 0; i < channels; i++) {
            if (dshift) dshift[c + i] += (float)sum[i];
            if (dscale) dscale[c + i] += (float)product[i];
            factor[i] = bn->inv_std[c + i] * (bn->scale ? bn->scale[c + i] : 1.0f);
            /* Frozen statistics do not depend on x: the two corrections vanish. */
            mean_dy[i] = bn->frozen ? 0.0f : (float)(sum[i] / (double)bn->rows);
            slope[i] = bn->frozen ? 0.0f : (float)(product[i] / (double)bn->rows);
        }
        for (size_t r = 0; dx && r < bn->rows; r++)
            for (size_t i = 0; i < channels; i++) {
                const size_t at = r * bn->c + c + i;
                const float unit = (x[at] - bn->mean[c + i]) * bn->inv_std[c + i];
                dx[at] += factor[i] * (dy[at] - mean_dy[i] - unit * slope[i]);
            }
    }
}
