/* SPDX-License-Identifier: Apache-2.0
 * What tests of whole drivers share: every kernel set this machine runs, one to three parts, a double-precision
 * reference with a bound per element, and equal bits across parts and fused sets. */
#ifndef EXN_TESTS_UNIT_DRIVERS_H
#define EXN_TESTS_UNIT_DRIVERS_H

#include "core/rng.h"
#include "core/threads.h"
#include "kernels/kernel_set.h"
#include "tests/unit/unit.h"

#define DRIVERS_PARTS 3u

typedef struct drivers_job {
    const char *name;                                                     /* shown on failure */
    size_t count;                                                         /* floats of the output */
    const float *start;                                                   /* what the output holds before; NULL: NaN */
    const double *expected, *bound;                                       /* [count] each */
    void (*prepare)(void *user, const exn_kernel_set *set, size_t parts); /* may be NULL */
    void (*run)(void *user, const exn_kernel_set *set, float *out, exn_part part);
    void (*finish)(void *user); /* may be NULL */
    void *user;
    bool threads; /* parts run at the same time, as drivers with barriers need; else one after another, last first */
} drivers_job;

/* Runs the job with every set, or that named by EXN_TEST_SET, and 1 to 3 parts. */
void drivers_verify(const drivers_job *job);
/* How many of `all` random shapes to try: a quarter where one set is tested by itself. */
size_t drivers_rounds(size_t all);
/* The best set of this machine. */
exn_kernel_set drivers_best_set(void);
/* Memory that free() releases, NaN throughout; exactly `bytes`, so that a sanitizer sees the first byte too far. */
void *drivers_scratch(size_t bytes);
/* `count` uniform values in [-1, 1), which free() releases. */
float *drivers_random(exn_rng *rng, size_t count);
/* One of `count` values. */
size_t drivers_pick(exn_rng *rng, const size_t *values, size_t count);
#define DRIVERS_PICK(rng, ...)                                                                                         \
    drivers_pick((rng), (const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))
double *drivers_doubles(size_t count); /* zeroed */

#endif
