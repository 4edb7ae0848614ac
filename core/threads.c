/* SPDX-License-Identifier: Apache-2.0
 * The pool: workers sleep on a condition variable between regions, and spin only inside one. */
#include "core/threads.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SPINS_BEFORE_YIELD 2000u

typedef struct exn_worker {
    pthread_t thread;
    exn_pool *pool;
    size_t index;
} exn_worker;

/* A chain's links as all threads count them: numbers go on from chain to chain, so that whoever comes late finds
 * nothing to claim. */
typedef struct exn_chain {
    exn_link_fn *run;
    exn_after_fn *after;
    void *argument;
    uint64_t begin, end;
} exn_chain;

/* The next link whose part i nobody has begun. Alone on its cache line: its owner writes it at every link. */
typedef struct exn_claim {
    _Alignas(EXN_ALIGNMENT) _Atomic uint64_t link;
} exn_claim;

struct exn_pool {
    exn_context *ctx;
    size_t threads;
    exn_worker *workers; /* threads - 1 of them, with index 1 .. threads - 1 */
    size_t started;
    pthread_mutex_t lock; /* guards the five fields below */
    pthread_cond_t wake;
    uint64_t region; /* counts regions; a worker runs each number once */
    bool stop;
    exn_task_fn *task; /* NULL: the region is the chain */
    void *argument;
    exn_chain chain;
    exn_claim *claims; /* one for each thread */
    /* The barrier: its own cache lines, because everybody spins on them. */
    _Alignas(EXN_ALIGNMENT) atomic_size_t arrived;
    _Alignas(EXN_ALIGNMENT) atomic_uint phase; /* flips when the last one arrives; wrapping is harmless */
    /* The chain: links that are done, and parts done of the one after them. */
    _Alignas(EXN_ALIGNMENT) _Atomic uint64_t ready;
    _Alignas(EXN_ALIGNMENT) atomic_size_t parts_done;
};

static void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One turn of waiting for another thread: spins, then lets others run. */
static void wait_a_little(unsigned *spins) {
    if (*spins < SPINS_BEFORE_YIELD) {
        ++*spins;
        spin_pause();
    } else {
        sched_yield();
    }
}

void exn_barrier(exn_part part) {
    if (part.count <= 1) return;
    exn_pool *pool = part.pool;
    /* Read before arriving: the phase cannot turn until this thread has arrived. */
    const unsigned phase = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == part.count) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed); /* published by the release below */
        atomic_store_explicit(&pool->phase, phase + 1, memory_order_release);
        return;
    }
    unsigned spins = 0;
    while (atomic_load_explicit(&pool->phase, memory_order_acquire) == phase) wait_a_little(&spins);
}

/* Runs part i of a link unless somebody has begun it; whoever completes the link's last part opens the next link. */
static void try_part(exn_pool *pool, const exn_chain *chain, uint64_t link, size_t i) {
    uint64_t unclaimed = link;
    if (!atomic_compare_exchange_strong_explicit(&pool->claims[i].link, &unclaimed, link + 1, memory_order_acq_rel,
                                                 memory_order_acquire))
        return;
    const size_t number = (size_t)(link - chain->begin);
    chain->run(chain->argument, number, (exn_part){i, pool->threads, NULL});
    if (atomic_fetch_add_explicit(&pool->parts_done, 1, memory_order_acq_rel) + 1 != pool->threads) return;
    atomic_store_explicit(&pool->parts_done, 0, memory_order_relaxed); /* published by the release below */
    const bool more = !chain->after || chain->after(chain->argument, number);
    atomic_store_explicit(&pool->ready, more ? link + 1 : chain->end, memory_order_release);
}

/* This thread's way through a chain: its own part first, so that it finds in its caches what it wrote there. */
static void follow_chain(exn_pool *pool, const exn_chain *chain, size_t index) {
    for (;;) {
        const uint64_t link = atomic_load_explicit(&pool->ready, memory_order_acquire);
        if (link >= chain->end) return;
        for (size_t i = 0; i < pool->threads; i++) try_part(pool, chain, link, (index + i) % pool->threads);
        unsigned spins = 0;
        while (atomic_load_explicit(&pool->ready, memory_order_acquire) == link) wait_a_little(&spins);
    }
}

/* Sleeps until a region after `done` starts, and fetches it; returns its number, 0: the pool is being destroyed. */
static uint64_t await_region(exn_pool *pool, uint64_t done, exn_task_fn **task, void **argument, exn_chain *chain) {
    pthread_mutex_lock(&pool->lock);
    while (pool->region == done && !pool->stop) pthread_cond_wait(&pool->wake, &pool->lock);
    const uint64_t region = pool->stop ? 0 : pool->region;
    *task = pool->task;
    *argument = pool->argument;
    *chain = pool->chain;
    pthread_mutex_unlock(&pool->lock);
    return region;
}

static void *worker_main(void *user) {
    const exn_worker *self = user;
    exn_pool *pool = self->pool;
    const exn_part part = {self->index, pool->threads, pool};
    exn_task_fn *task = NULL;
    void *argument = NULL;
    exn_chain chain;
    /* The caller leaves a task only when all have met, so none can be missed. Chains can be: then others ran the parts. */
    for (uint64_t region = 0; (region = await_region(pool, region, &task, &argument, &chain)) != 0;) {
        if (task) {
            task(argument, part);
            exn_barrier(part);
        } else {
            follow_chain(pool, &chain, self->index);
        }
    }
    return NULL;
}

/* Signals are the application's: workers inherit a mask that blocks them all. */
static int start_worker(exn_worker *worker) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int refused = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return refused;
}

static exn_status start_workers(exn_pool *pool) {
    for (size_t i = 0; i + 1 < pool->threads; i++) {
        pool->workers[i] = (exn_worker){.pool = pool, .index = i + 1};
        const int refused = start_worker(&pool->workers[i]);
        if (refused != 0)
            return exn_fail(pool->ctx, EXN_E_IO, "cannot start thread %zu of %zu: %s", i + 2, pool->threads,
                            strerror(refused));
        pool->started++;
    }
    return EXN_OK;
}

exn_status exn_pool_create(exn_pool **out, exn_context *ctx, size_t threads) {
    if (threads < 1 || threads > EXN_THREADS_MAX)
        return exn_fail(ctx, EXN_E_INVALID, "threads: %zu is not in 1 .. %u", threads, EXN_THREADS_MAX);
    exn_pool *pool = exn_calloc(ctx, 1, sizeof *pool);
    if (pool == NULL) return EXN_E_NOMEM;
    pool->ctx = ctx;
    pool->threads = threads;
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->phase, 0);
    atomic_init(&pool->ready, 0);
    atomic_init(&pool->parts_done, 0);
    pthread_mutex_init(&pool->lock, NULL); /* with default attributes neither can fail on POSIX threads in use */
    pthread_cond_init(&pool->wake, NULL);
    pool->workers = exn_calloc(ctx, threads - 1, sizeof *pool->workers);
    pool->claims = exn_calloc(ctx, threads, sizeof *pool->claims);
    const exn_status status = pool->workers && pool->claims ? start_workers(pool) : EXN_E_NOMEM;
    if (status != EXN_OK) {
        exn_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return EXN_OK;
}

void exn_pool_destroy(exn_pool *pool) {
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    exn_free(pool->ctx, pool->claims);
    exn_free(pool->ctx, pool->workers);
    exn_free(pool->ctx, pool);
}

size_t exn_pool_threads(const exn_pool *pool) {
    return pool != NULL ? pool->threads : 1;
}

/* One of task and chain is NULL. */
static void start_region(exn_pool *pool, exn_task_fn *task, void *argument, const exn_chain *chain) {
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->argument = argument;
    if (chain) pool->chain = *chain;
    pool->region++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void exn_pool_run(exn_pool *pool, exn_task_fn *task, void *argument) {
    if (pool == NULL || pool->threads == 1) {
        task(argument, exn_part_whole());
        return;
    }
    start_region(pool, task, argument, NULL);
    const exn_part part = {0, pool->threads, pool};
    task(argument, part);
    exn_barrier(part);
}

void exn_pool_chain(exn_pool *pool, size_t links, exn_link_fn *run, exn_after_fn *after, void *argument) {
    if (pool == NULL || pool->threads == 1) {
        for (size_t link = 0; link < links; link++) {
            run(argument, link, exn_part_whole());
            if (after && !after(argument, link)) return;
        }
        return;
    }
    const uint64_t begin = pool->chain.end; /* written by this thread alone */
    const exn_chain chain = {run, after, argument, begin, begin + links};
    for (size_t i = 0; i < pool->threads; i++)
        atomic_store_explicit(&pool->claims[i].link, begin, memory_order_relaxed); /* published by the lock */
    start_region(pool, NULL, NULL, &chain);
    follow_chain(pool, &chain, 0);
}

exn_part exn_part_whole(void) {
    return (exn_part){0, 1, NULL};
}

/* Parts that get one chunk more come last, where the short last chunk makes up for it. */
void exn_part_range(size_t *begin, size_t *end, exn_part part, size_t items, size_t grain) {
    assert(grain >= 1 && part.index < part.count);
    const size_t chunks = items / grain + (items % grain != 0);
    const size_t each = chunks / part.count, plain = part.count - chunks % part.count;
    const size_t extra = part.index > plain ? part.index - plain : 0;
    const size_t first = part.index * each + extra;
    const size_t last = first + each + (part.index >= plain);
    *begin = first < chunks ? first * grain : items;
    *end = last < chunks ? last * grain : items;
}
