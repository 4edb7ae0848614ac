/* SPDX-License-Identifier: Apache-2.0
 * What tests of whole drivers share. */
#include "tests/unit/drivers.h"

#include "arch/cpu.h"
#include "arch/select.h"

#include <math.h>
#include <stdlib.h>

/* The one set to test, NULL: all. */
static const char *only_set(void) {
    return getenv("EXN_TEST_SET");
}

size_t drivers_rounds(size_t all) {
    return only_set() ? all / 4 : all;
}

void *drivers_scratch(size_t bytes) {
    void *block = NULL;
    ck_assert_int_eq(posix_memalign(&block, EXN_ALIGNMENT, bytes ? bytes : 1), 0);
    memset(block, 0xff, bytes);
    return block;
}

float *drivers_random(exn_rng *rng, size_t count) {
    float *values = malloc(count * sizeof *values + 1);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < count; i++) values[i] = 2.0f * exn_rng_uniform(rng) - 1.0f;
    return values;
}

size_t drivers_pick(exn_rng *rng, const size_t *values, size_t count) {
    return values[exn_rng_below(rng, (uint32_t)count)];
}

double *drivers_doubles(size_t count) {
    double *values = calloc(count + 1, sizeof *values);
    ck_assert_ptr_nonnull(values);
    return values;
}

exn_kernel_set drivers_best_set(void) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, exn_cpu_detect(), NULL));
    exn_context_destroy(ctx);
    return set;
}

typedef struct region {
    const drivers_job *job;
    const exn_kernel_set *set;
    float *out;
} region;

static void region_task(void *argument, exn_part part) {
    const region *r = argument;
    r->job->run(r->job->user, r->set, r->out, part);
}

typedef struct bench {
    exn_context *ctx;
    exn_pool *pool[DRIVERS_PARTS];
    float *out, *same;
} bench;

static void run_once(const bench *b, const drivers_job *job, const exn_kernel_set *set, size_t parts, float *out) {
    if (job->start)
        memcpy(out, job->start, job->count * sizeof *out);
    else
        memset(out, 0xff, job->count * sizeof *out);
    if (job->prepare) job->prepare(job->user, set, parts);
    if (job->threads)
        exn_pool_run(b->pool[parts - 1], region_task, &(region){job, set, out});
    else
        for (size_t i = parts; i-- > 0;) job->run(job->user, set, out, (exn_part){i, parts, NULL});
    if (job->finish) job->finish(job->user);
}

static void check_values(const drivers_job *job, const exn_kernel_set *set, size_t parts, const float *out) {
    for (size_t i = 0; i < job->count; i++) {
        const double wanted = job->expected[i], off = fabs((double)out[i] - wanted);
        const bool same = (double)out[i] == wanted || (isnan(out[i]) && isnan(wanted));
        if (!same && !(off <= job->bound[i])) /* Check writes a mark for every assertion: too slow for elements */
            ck_abort_msg("%s, set %s, %zu parts, element %zu of %zu: %.9g, not %.9g +- %.3g", job->name, set->name,
                         parts, i, job->count, (double)out[i], wanted, job->bound[i]);
    }
}

static void verify_set(const bench *b, const drivers_job *job, const exn_kernel_set *set) {
    const float *const out = b->out, *const same = b->same;
    for (size_t parts = 1; parts <= DRIVERS_PARTS; parts++) {
        run_once(b, job, set, parts, b->out);
        check_values(job, set, parts, out);
        for (size_t i = 0; i < job->count; i++)
            if (memcmp(out + i, same + i, sizeof *out) != 0 && !isnan(out[i]))
                ck_abort_msg("%s, set %s, %zu parts, element %zu: bits differ, %.9g and %.9g", job->name, set->name,
                             parts, i, (double)out[i], (double)same[i]);
    }
}

void drivers_verify(const drivers_job *job) {
    bench b = {.ctx = unit_context(),
               .out = drivers_scratch(job->count * sizeof(float)),
               .same = drivers_scratch(job->count * sizeof(float))};
    for (size_t i = 0; i < DRIVERS_PARTS && job->threads; i++)
        unit_assert_ok(b.ctx, exn_pool_create(&b.pool[i], b.ctx, i + 1));
    size_t count;
    const exn_kernel_set *const *compiled = exn_kernels_compiled(&count);
    const uint32_t cpu = exn_cpu_detect();
    const char *const only = only_set();
    bool fused_seen = false;
    for (size_t i = 0; i < count; i++) {
        exn_kernel_set set;
        if ((compiled[i]->needs & cpu) != compiled[i]->needs) continue;
        unit_assert_ok(b.ctx, exn_kernels_select(&set, b.ctx, cpu, compiled[i]->name));
        if (!set.fused || !fused_seen) run_once(&b, job, &set, 1, b.same);
        fused_seen = fused_seen || set.fused;
        if (!only || strcmp(only, set.name) == 0) verify_set(&b, job, &set);
    }
    for (size_t i = 0; i < DRIVERS_PARTS; i++) exn_pool_destroy(b.pool[i]);
    free(b.out);
    free(b.same);
    exn_context_destroy(b.ctx);
}
