/* SPDX-License-Identifier: Apache-2.0
 * A small pool: one parallel region at a time, static parts, spinning inside, sleep outside. */
#ifndef EXN_CORE_THREADS_H
#define EXN_CORE_THREADS_H

#include "core/context.h"

typedef struct exn_pool exn_pool;

/* This thread's share of a parallel region. */
typedef struct exn_part {
    size_t index, count; /* index < count */
    exn_pool *pool;      /* for barriers; NULL when count is 1 */
} exn_part;

typedef void exn_task_fn(void *argument, exn_part part);

/* threads >= 1; the caller is thread 0, so 1 starts none. */
exn_status exn_pool_create(exn_pool **out, exn_context *ctx, size_t threads);
void exn_pool_destroy(exn_pool *pool);
size_t exn_pool_threads(const exn_pool *pool);
/* Runs task on every thread and returns when all have. pool NULL: on the caller alone. Allocates nothing. */
void exn_pool_run(exn_pool *pool, exn_task_fn *task, void *argument);
/* All threads of the region meet here. Spins briefly, then yields, so that an oversubscribed machine still advances. */
void exn_barrier(exn_part part);

/* One of a chain's links, for one part; must not meet the others at a barrier. */
typedef void exn_link_fn(void *argument, size_t link, exn_part part);
/* On one thread, when all parts of a link are done and none of the next has begun. false: the rest is left out. */
typedef bool exn_after_fn(void *argument, size_t link);
/* Runs links one after another, each in as many parts as the pool has threads. A thread takes its own part, then parts
 * that nobody has begun: a thread that the system lets wait holds up the part it is in, and nothing else. Returns when
 * the last link is done. Allocates nothing. */
void exn_pool_chain(exn_pool *pool, size_t links, exn_link_fn *run, exn_after_fn *after, void *argument);

/* Range [*begin, *end) of `items` for this part, in multiples of `grain`, every part within one grain of the others. */
void exn_part_range(size_t *begin, size_t *end, exn_part part, size_t items, size_t grain);
/* The only part there is. */
exn_part exn_part_whole(void);

#endif
