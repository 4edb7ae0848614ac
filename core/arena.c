/* SPDX-License-Identifier: Apache-2.0
 * Static memory planning: offsets for intervals, by best gap in several greedy orders, then by a short search.
 *
 * An order says who is placed first; placement puts each interval into the smallest gap, between those already placed
 * that share a step with it, that holds it. Whoever is placed early sits low, so the search moves whoever sticks out
 * at the top to an earlier turn, and keeps what does not make things worse. All that looks at pairs of intervals, so where
 * there are very many of them, they are placed once, as time goes by, into what is free. */
#include "core/arena.h"

#include "core/rng.h"

#include <stdlib.h>
#include <string.h>

/* Search effort: pairs of intervals looked at, which is what a placement costs. Bounds the time, not the count. */
#define SEARCH_PAIRS ((size_t)12 << 20)

/* More intervals than this, several times what the largest networks have, are placed as time goes by. */
#define MANY ((size_t)8192)

/* Interval as the planner sees it; empty ones are left out. */
typedef struct item {
    size_t bytes, first, last; /* bytes rounded up */
    size_t breadth;            /* largest sum of bytes alive in one of its steps */
    size_t offset, index;      /* index in the caller's array */
} item;

typedef struct planner {
    item *items;
    size_t count, lower_bound;
    const item **order, **best_order; /* who is placed when */
    const item **placed;              /* so far, by ascending offset */
    size_t *best_offset;              /* by position in items */
    size_t best;
} planner;

static bool share_a_step(const item *a, const item *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* ---- Placement ---- */

/* Offset of the smallest gap that holds `wanted`, below or above the placed items that live at the same time. */
static size_t best_gap(const planner *p, size_t placed, const item *wanted) {
    size_t floor = 0, best = SIZE_MAX, best_room = SIZE_MAX;
    for (size_t i = 0; i < placed; i++) {
        const item *other = p->placed[i];
        if (!share_a_step(other, wanted)) continue;
        if (other->offset >= floor) {
            const size_t room = other->offset - floor;
            if (room >= wanted->bytes && room < best_room) {
                best = floor;
                best_room = room;
            }
        }
        if (other->offset + other->bytes > floor) floor = other->offset + other->bytes;
    }
    return best != SIZE_MAX ? best : floor;
}

static void insert_by_offset(planner *p, size_t placed, const item *fresh) {
    size_t at = placed;
    for (; at > 0 && p->placed[at - 1]->offset > fresh->offset; at--) p->placed[at] = p->placed[at - 1];
    p->placed[at] = fresh;
}

/* Places all in the planner's order, and returns the bytes needed. Gives up, with SIZE_MAX, beyond `limit`. */
static size_t place_all(planner *p, size_t limit) {
    size_t top = 0;
    for (size_t i = 0; i < p->count; i++) {
        item *next = &p->items[p->order[i] - p->items];
        next->offset = best_gap(p, i, next);
        if (next->offset + next->bytes > top) top = next->offset + next->bytes;
        if (top > limit) return SIZE_MAX;
        insert_by_offset(p, i, next);
    }
    return top;
}

/* Places, and remembers order and offsets where they are as good as the best so far. */
static bool try_order(planner *p) {
    const size_t bytes = place_all(p, p->best);
    if (bytes == SIZE_MAX) return false;
    p->best = bytes;
    memcpy(p->best_order, p->order, p->count * sizeof p->order[0]);
    for (size_t i = 0; i < p->count; i++) p->best_offset[i] = p->items[i].offset;
    return true;
}

/* ---- Greedy orders: each is total, so that sorting is reproducible ---- */

static int descending(size_t a, size_t b) {
    return (a < b) - (a > b);
}

static int by_size(const void *left, const void *right) {
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    if (a->bytes != b->bytes) return descending(a->bytes, b->bytes);
    if (a->first != b->first) return descending(b->first, a->first);
    return descending(b->index, a->index);
}

static int by_breadth(const void *left, const void *right) {
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    return a->breadth != b->breadth ? descending(a->breadth, b->breadth) : by_size(left, right);
}

static int by_life(const void *left, const void *right) {
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    const size_t a_life = a->last - a->first, b_life = b->last - b->first;
    return a_life != b_life ? descending(a_life, b_life) : by_size(left, right);
}

static int by_time(const void *left, const void *right) {
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    return a->first != b->first ? descending(b->first, a->first) : by_size(left, right);
}

static void try_greedy_orders(planner *p) {
    static int (*const orders[])(const void *, const void *) = {by_size, by_breadth, by_life, by_time};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0] && p->best > p->lower_bound; i++) {
        for (size_t k = 0; k < p->count; k++) p->order[k] = &p->items[k];
        qsort(p->order, p->count, sizeof p->order[0], orders[i]);
        try_order(p);
    }
}

/* ---- Search ---- */

static void move_to(const item **order, size_t from, size_t to) {
    const item *moved = order[from];
    memmove(order + to + 1, order + to, (from - to) * sizeof order[0]);
    order[to] = moved;
}

/* Turn of one of the intervals that reach the top of the best placement, chosen at random. */
static size_t turn_of_a_culprit(const planner *p, exn_rng *rng) {
    size_t chosen = 0, seen = 0;
    for (size_t turn = 0; turn < p->count; turn++) {
        const item *each = p->best_order[turn];
        const size_t top = p->best_offset[each - p->items] + each->bytes;
        if (top == p->best && exn_rng_below(rng, (uint32_t)++seen) == 0) chosen = turn;
    }
    return chosen;
}

static void search(planner *p) {
    exn_rng rng = exn_rng_seed(1, p->count);
    const size_t tries = SEARCH_PAIRS / (p->count * p->count + 1);
    for (size_t i = 0; i < tries && p->best > p->lower_bound; i++) {
        memcpy(p->order, p->best_order, p->count * sizeof p->order[0]);
        const size_t culprit = turn_of_a_culprit(p, &rng);
        if (culprit > 0) move_to(p->order, culprit, exn_rng_below(&rng, (uint32_t)culprit));
        for (size_t more = exn_rng_below(&rng, 3); more > 0 && p->count > 1; more--) {
            const size_t from = 1 + exn_rng_below(&rng, (uint32_t)p->count - 1);
            move_to(p->order, from, exn_rng_below(&rng, (uint32_t)from));
        }
        try_order(p);
    }
}

/* ---- Very many ---- */

/* Free bytes between intervals. The list of gaps ascends, and no two touch. */
typedef struct gap {
    size_t offset, bytes;
} gap;

typedef struct gaps {
    gap *list;
    size_t count, top; /* beyond top, all is free */
} gaps;

static void remove_gap(gaps *g, size_t at) {
    memmove(g->list + at, g->list + at + 1, (--g->count - at) * sizeof *g->list);
}

/* The start of the smallest gap that holds `bytes`, or of what is free at the top. */
static size_t take_gap(gaps *g, size_t bytes) {
    size_t best = g->count;
    for (size_t i = 0; i < g->count; i++)
        if (g->list[i].bytes >= bytes && (best == g->count || g->list[i].bytes < g->list[best].bytes)) best = i;
    size_t offset = g->top;
    if (best < g->count) {
        offset = g->list[best].offset;
        g->list[best] = (gap){offset + bytes, g->list[best].bytes - bytes};
        if (g->list[best].bytes == 0) remove_gap(g, best);
    } else {
        if (g->count > 0 && g->list[g->count - 1].offset + g->list[g->count - 1].bytes == g->top)
            offset = g->list[--g->count].offset;
        g->top = offset + bytes;
    }
    return offset;
}

static void give_gap(gaps *g, size_t offset, size_t bytes) {
    size_t at = 0, end = g->count;
    while (at < end) {
        const size_t middle = at + (end - at) / 2;
        if (g->list[middle].offset < offset)
            at = middle + 1;
        else
            end = middle;
    }
    if (at < g->count && offset + bytes == g->list[at].offset) {
        g->list[at] = (gap){offset, bytes + g->list[at].bytes};
    } else {
        memmove(g->list + at + 1, g->list + at, (g->count++ - at) * sizeof *g->list);
        g->list[at] = (gap){offset, bytes};
    }
    if (at > 0 && g->list[at - 1].offset + g->list[at - 1].bytes == offset) {
        g->list[at - 1].bytes += g->list[at].bytes;
        remove_gap(g, at);
    }
}

static int by_end(const void *left, const void *right) {
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    return a->last != b->last ? descending(b->last, a->last) : descending(b->index, a->index);
}

/* Places each where it begins, after what has ended before has left. */
static exn_status place_by_time(planner *p, exn_context *ctx) {
    gaps g = {exn_calloc(ctx, p->count, sizeof *g.list), 0, 0};
    if (g.list == NULL) return EXN_E_NOMEM;
    const item **begins = p->order, **ends = p->best_order;
    for (size_t i = 0; i < p->count; i++) begins[i] = ends[i] = &p->items[i];
    qsort(begins, p->count, sizeof *begins, by_time);
    qsort(ends, p->count, sizeof *ends, by_end);
    for (size_t i = 0, ended = 0, alive = 0; i < p->count; i++) {
        for (; ends[ended]->last < begins[i]->first; ended++) {
            alive -= ends[ended]->bytes;
            give_gap(&g, p->best_offset[ends[ended] - p->items], ends[ended]->bytes);
        }
        alive += begins[i]->bytes;
        if (alive > p->lower_bound) p->lower_bound = alive;
        p->best_offset[begins[i] - p->items] = take_gap(&g, begins[i]->bytes);
    }
    p->best = g.top;
    exn_free(ctx, g.list);
    return EXN_OK;
}

/* ---- Set-up ---- */

/* Bytes alive at each item's first step; the largest is the lower bound, because every peak begins with somebody. */
static void measure_breadth(planner *p) {
    for (size_t i = 0; i < p->count; i++) {
        size_t alive = 0;
        for (size_t k = 0; k < p->count; k++) {
            const item *other = &p->items[k];
            if (other->first <= p->items[i].first && p->items[i].first <= other->last) alive += other->bytes;
        }
        if (alive > p->lower_bound) p->lower_bound = alive;
        for (size_t k = 0; k < p->count; k++) {
            item *other = &p->items[k];
            if (other->first <= p->items[i].first && p->items[i].first <= other->last && alive > other->breadth)
                other->breadth = alive;
        }
    }
}

/* Checks the intervals and copies the ones that are not empty. */
static exn_status collect(planner *p, exn_context *ctx, const exn_interval *intervals, size_t count) {
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const exn_interval *each = &intervals[i];
        if (each->last < each->first)
            return exn_fail(ctx, EXN_E_INVALID, "interval %zu ends at step %zu, before it begins at %zu", i, each->last,
                            each->first);
        const size_t bytes = exn_round_up(each->bytes);
        if (bytes == SIZE_MAX || !exn_size_add(&sum, sum, bytes))
            return exn_fail(ctx, EXN_E_NOMEM, "%zu intervals exceed the address space", count);
        if (bytes > 0)
            p->items[p->count++] = (item){.bytes = bytes, .first = each->first, .last = each->last, .index = i};
    }
    return EXN_OK;
}

static bool allocate(planner *p, exn_context *ctx, size_t count) {
    return (p->items = exn_calloc(ctx, count, sizeof *p->items)) != NULL &&
           (p->order = exn_calloc(ctx, count, sizeof *p->order)) != NULL &&
           (p->best_order = exn_calloc(ctx, count, sizeof *p->best_order)) != NULL &&
           (p->placed = exn_calloc(ctx, count, sizeof *p->placed)) != NULL &&
           (p->best_offset = exn_calloc(ctx, count, sizeof *p->best_offset)) != NULL;
}

exn_status exn_arena_assign(exn_arena_plan *out, exn_context *ctx, exn_interval *intervals, size_t count) {
    planner p = {.best = SIZE_MAX - 1};
    exn_status status = EXN_E_NOMEM;
    if (count >= UINT32_MAX) return exn_fail(ctx, EXN_E_INVALID, "%zu intervals are too many", count);
    if (allocate(&p, ctx, count)) status = collect(&p, ctx, intervals, count);
    if (status == EXN_OK && p.count > MANY) {
        status = place_by_time(&p, ctx);
    } else if (status == EXN_OK && p.count > 0) {
        measure_breadth(&p);
        try_greedy_orders(&p);
        search(&p);
    }
    if (status == EXN_OK) {
        for (size_t i = 0; i < count; i++) intervals[i].offset = 0;
        for (size_t i = 0; i < p.count; i++) intervals[p.items[i].index].offset = p.best_offset[i];
        *out = (exn_arena_plan){p.count > 0 ? p.best : 0, p.lower_bound};
    }
    exn_free(ctx, p.best_offset);
    exn_free(ctx, p.placed);
    exn_free(ctx, p.best_order);
    exn_free(ctx, p.order);
    exn_free(ctx, p.items);
    return status;
}
