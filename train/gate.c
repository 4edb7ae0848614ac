/* SPDX-License-Identifier: Apache-2.0
 * Choices by log-loss out of fold. */
#include "train/gate.h"

#include <math.h>

#define DOUBT 1.0

const float exn_gate_shares[EXN_GATE_SHARES] = {0.0f, 0.25f, 0.5f, 0.75f, 1.0f};

static double mean_of(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

/* Of the mean of a - b, pair by pair. */
static double error_of(const double *a, const double *b, size_t count) {
    const double mean = mean_of(a, count) - mean_of(b, count);
    double square = 0;
    for (size_t i = 0; i < count; i++) square += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
    return count > 1 ? sqrt(square / (double)(count - 1) / (double)count) : INFINITY;
}

size_t exn_gate_pick(const double *loss, size_t trials, size_t samples) {
    size_t best = 0;
    if (!samples) return 0;
    for (size_t t = 1; t < trials; t++)
        if (mean_of(loss + t * samples, samples) < mean_of(loss + best * samples, samples)) best = t;
    const double gain = mean_of(loss, samples) - mean_of(loss + best * samples, samples);
    return gain > DOUBT * error_of(loss, loss + best * samples, samples) ? best : 0;
}

/* 0.024 nats for fifty labels, 0.2 for ten. */
static double margin(size_t samples) {
    return (1.0 + 10.0 / (double)samples) / (double)samples;
}

void exn_gate_weigh(exn_gate *gate, const double *loss, size_t samples, bool half_stays) {
    const double *whole = loss + (EXN_GATE_SHARES - 1) * samples;
    size_t best = EXN_GATE_SHARES - 1;
    gate->judged = samples;
    gate->kept = 1.0f;
    gate->before = gate->after = (double)NAN;
    gate->error = (double)NAN;
    if (!samples) return;
    gate->before = mean_of(whole, samples);
    double least = gate->before - margin(samples);
    for (size_t g = EXN_GATE_SHARES - 1; g-- > 0;) {
        const double mean = mean_of(loss + g * samples, samples);
        if (!(mean < least) || (half_stays && exn_gate_shares[g] < 0.5f)) continue;
        least = mean;
        best = g;
    }
    gate->kept = exn_gate_shares[best];
    gate->after = mean_of(loss + best * samples, samples);
    gate->error = error_of(whole, loss + best * samples, samples);
}
