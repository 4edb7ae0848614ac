/* SPDX-License-Identifier: Apache-2.0
 * Nanoseconds a call, as minimum and median over samples of many calls. */
#include <stdlib.h>
#include <time.h>

#include "tests/kcheck/kcheck.h"

#define SAMPLES_MAX 4096u
#define SAMPLE_NS 20000.0 /* long beside the clock's own cost */

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double sample_ns(void (*thunk)(void *), void *argument, size_t calls) {
    const double start = now_ns();
    for (size_t i = 0; i < calls; i++) thunk(argument);
    return now_ns() - start;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

kc_timing kc_measure(void (*thunk)(void *), void *argument, double seconds) {
    static double samples[SAMPLES_MAX];
    size_t calls = 1, count = 0;
    while (sample_ns(thunk, argument, calls) < SAMPLE_NS) calls *= 2;
    const double end = now_ns() + seconds * 1e9;
    while (count < SAMPLES_MAX && (count < 3 || now_ns() < end))
        samples[count++] = sample_ns(thunk, argument, calls) / (double)calls;
    qsort(samples, count, sizeof *samples, by_value);
    return (kc_timing){samples[0], samples[count / 2], calls * count};
}
