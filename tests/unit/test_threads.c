/* SPDX-License-Identifier: Apache-2.0
 * The pool: every part runs once, barriers order memory, sleeping costs nothing, ranges are even. */
#include "core/threads.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4u

static void mark(void *argument, exn_part part) {
    ((size_t *)argument)[part.index] += part.count;
}

START_TEST(every_part_runs_once) {
    exn_context *ctx = unit_context();
    for (size_t threads = 1; threads <= 8; threads++) {
        exn_pool *pool = NULL;
        unit_assert_ok(ctx, exn_pool_create(&pool, ctx, threads));
        ck_assert_uint_eq(exn_pool_threads(pool), threads);
        size_t marks[8] = {0};
        for (size_t region = 0; region < 200; region++) exn_pool_run(pool, mark, marks);
        for (size_t i = 0; i < 8; i++) ck_assert_uint_eq(marks[i], i < threads ? 200 * threads : 0);
        exn_pool_destroy(pool);
    }
    size_t alone[2] = {0};
    exn_pool_run(NULL, mark, alone);
    ck_assert_uint_eq(alone[0], 1);
    ck_assert_uint_eq(exn_pool_threads(NULL), 1);
    exn_pool_destroy(NULL);
    exn_context_destroy(ctx);
}
END_TEST

/* Plain memory, on purpose: each step reads what the neighbour wrote in the step before, and a barrier that does not
 * order memory is found by value or by the thread sanitizer. */
typedef struct relay {
    uint64_t cell[2][THREADS];
    size_t wrong;
} relay;

static void run_relay(void *argument, exn_part part) {
    relay *r = argument;
    for (uint64_t step = 0; step < 3000; step++) {
        const uint64_t *from = r->cell[step & 1];
        if (from[(part.index + 1) % part.count] != step) r->wrong++;
        r->cell[(step & 1) ^ 1][part.index] = step + 1;
        exn_barrier(part);
    }
}

START_TEST(barriers_order_memory) {
    exn_context *ctx = unit_context();
    exn_pool *pool = NULL;
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, THREADS));
    for (size_t region = 0; region < 5; region++) {
        relay r = {.wrong = 0};
        exn_pool_run(pool, run_relay, &r);
        ck_assert_uint_eq(r.wrong, 0);
        for (size_t i = 0; i < THREADS; i++) ck_assert_uint_eq(r.cell[0][i], 3000);
    }
    exn_barrier(exn_part_whole());
    exn_pool_destroy(pool);
    exn_context_destroy(ctx);
}
END_TEST

/* A chain: every part of every link once, after all parts of the link before; plain memory, as above. */
typedef struct links {
    size_t threads, until; /* the chain stops after link `until` */
    uint64_t cell[8], after, wrong;
} links;

static void run_link(void *argument, size_t link, exn_part part) {
    links *l = argument;
    if (part.count != l->threads || l->after != link || l->cell[part.index] != link) l->wrong++;
    l->cell[part.index]++;
}

static bool after_link(void *argument, size_t link) {
    links *l = argument;
    for (size_t i = 0; i < l->threads; i++) l->wrong += l->cell[i] != link + 1;
    l->after = link + 1;
    return link != l->until;
}

/* Few: on a machine with other work each may cost a time slice. */
#define LINKS 20u

START_TEST(links_follow_each_other) {
    exn_context *ctx = unit_context();
    for (size_t threads = 1; threads <= 8; threads *= 2) {
        exn_pool *pool = NULL;
        unit_assert_ok(ctx, exn_pool_create(&pool, ctx, threads));
        for (size_t round = 0; round < 60; round++) {
            links l = {.threads = threads, .until = round % 3 ? SIZE_MAX : round % LINKS};
            const size_t expected = l.until < LINKS ? l.until + 1 : LINKS;
            exn_pool_chain(pool, LINKS, run_link, after_link, &l);
            ck_assert_uint_eq(l.wrong, 0);
            for (size_t i = 0; i < threads; i++) ck_assert_uint_eq(l.cell[i], expected);
            size_t marks[8] = {0};
            if (round % 7 == 0) exn_pool_run(pool, mark, marks); /* regions of both kinds in turn */
            for (size_t i = 0; round % 7 == 0 && i < threads; i++) ck_assert_uint_eq(marks[i], threads);
        }
        exn_pool_chain(pool, 0, run_link, NULL, NULL);
        exn_pool_destroy(pool);
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(idle_costs_nothing) {
    exn_context *ctx = unit_context();
    exn_pool *pool = NULL;
    size_t marks[THREADS] = {0};
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, THREADS));
    exn_pool_run(pool, mark, marks);
    links l = {.threads = THREADS, .until = SIZE_MAX};
    exn_pool_chain(pool, LINKS, run_link, after_link, &l);
    usleep(20000); /* the workers go to sleep */
    const clock_t before = clock();
    usleep(300000);
    const double burnt = (double)(clock() - before) / CLOCKS_PER_SEC;
    ck_assert_msg(burnt < 0.03, "%.3f s of processor time in 0.3 s of sleep", burnt);
    exn_pool_destroy(pool);
    exn_context_destroy(ctx);
}
END_TEST

static pthread_t application;
static volatile sig_atomic_t heard, misheard;

static void note_signal(int number) {
    (void)number;
    heard++;
    misheard += !pthread_equal(application, pthread_self());
}

START_TEST(signals_stay_with_the_application) {
    exn_context *ctx = unit_context();
    exn_pool *pool = NULL;
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, THREADS));
    application = pthread_self();
    signal(SIGUSR1, note_signal);
    for (int i = 1; i <= 20; i++) {
        kill(getpid(), SIGUSR1);
        for (int patience = 0; heard < i && patience < 5000; patience++) usleep(1000);
        ck_assert_int_eq(heard, i);
    }
    ck_assert_int_eq(misheard, 0);
    exn_pool_destroy(pool);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status create_pool(exn_context *ctx, void *user) {
    exn_pool *pool = NULL;
    (void)user;
    EXN_TRY(exn_pool_create(&pool, ctx, 3));
    exn_pool_destroy(pool);
    return EXN_OK;
}

START_TEST(creation_may_fail) {
    unit_sweep_failures(create_pool, NULL);
    exn_context *ctx = unit_context();
    exn_pool *pool = NULL;
    unit_assert_fails(ctx, exn_pool_create(&pool, ctx, 0), EXN_E_INVALID, "threads");
    unit_assert_fails(ctx, exn_pool_create(&pool, ctx, EXN_THREADS_MAX + 1), EXN_E_INVALID, "threads");
    ck_assert_ptr_null(pool);
    exn_context_destroy(ctx);
}
END_TEST

static void run_without_allocating(void *argument, exn_part part) {
    (void)argument;
    exn_barrier(part);
}

START_TEST(running_allocates_nothing) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    exn_pool *pool = NULL;
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, 2));
    const size_t calls = counter.calls;
    for (size_t i = 0; i < 10; i++) exn_pool_run(pool, run_without_allocating, NULL);
    ck_assert_uint_eq(counter.calls, calls);
    exn_pool_destroy(pool);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
}
END_TEST

START_TEST(ranges_cover_and_are_even) {
    for (size_t count = 1; count <= 9; count++)
        for (size_t grain = 1; grain <= 7; grain++)
            for (size_t items = 0; items <= 70; items++) {
                size_t next = 0, least = SIZE_MAX, most = 0;
                for (size_t i = 0; i < count; i++) {
                    size_t begin = 99, end = 99;
                    exn_part_range(&begin, &end, (exn_part){i, count, NULL}, items, grain);
                    ck_assert_uint_eq(begin, next);
                    ck_assert_uint_ge(end, begin);
                    ck_assert(end == items || end % grain == 0);
                    if (end - begin < least) least = end - begin;
                    if (end - begin > most) most = end - begin;
                    next = end;
                }
                ck_assert_uint_eq(next, items);
                ck_assert_msg(most - least <= grain, "%zu items in %zu parts of grain %zu", items, count, grain);
            }
    size_t begin = 0, end = 0;
    exn_part_range(&begin, &end, (exn_part){2, 3, NULL}, SIZE_MAX, 64);
    ck_assert_uint_eq(end, SIZE_MAX);
}
END_TEST

int main(void) {
    return unit_run("threads",
                    (const TTest *const[]){every_part_runs_once, barriers_order_memory, links_follow_each_other,
                                           idle_costs_nothing, signals_stay_with_the_application, creation_may_fail,
                                           running_allocates_nothing, ranges_cover_and_are_even, NULL});
}
