/* SPDX-License-Identifier: Apache-2.0
 * Which kind of head an exit gets: what a trial of each is right on, against what its head costs. */
#include "train/pretrain.h"

#include "train/costs.h"
#include "train/fresh.h"

#include <string.h>

/* They read the same features. */
const exn_head_kind exn_trial_kinds[EXN_TRIALS] = {EXN_HEAD_CONV, EXN_HEAD_WIDE, EXN_HEAD_CONV2};

static void free_probe(exn_profile *probe, exn_context *ctx) {
    for (size_t e = 0; probe->exits && e + 1 < probe->exit_count; e++) exn_head_free(&probe->exits[e].head, ctx);
    exn_free(ctx, probe->exits);
}

/* The profile's exits with early heads of one kind; all but those is borrowed. */
static exn_status make_probe(exn_profile *out, const exn_pretrainer *p, exn_head_kind kind) {
    *out = *p->profile;
    out->exits = exn_calloc(p->ctx, p->exits, sizeof *out->exits);
    if (!out->exits) return EXN_E_NOMEM;
    exn_status status = EXN_OK;
    for (size_t e = 0; e < p->exits; e++) {
        exn_head head = p->profile->exits[e].head;
        const bool last = e + 1 == p->exits;
        head.kind = last ? head.kind : kind;
        out->exits[e].tap = p->profile->exits[e].tap;
        if (!last && status == EXN_OK) status = exn_head_allocate(&head, p->ctx);
        if (last || status == EXN_OK) out->exits[e].head = head;
    }
    return status;
}

static exn_status measure(exn_costs *out, const exn_pretrainer *p, exn_head_kind kind) {
    exn_profile probe;
    exn_status status = make_probe(&probe, p, kind);
    if (status == EXN_OK) status = exn_costs_get(out, &probe, p->trainer->costs);
    free_probe(&probe, p->ctx);
    return status;
}

/* What the backbone buys between the first and the deepest early exit: accuracy for a unit of cost. */
static double exchange_rate(const exn_pretrainer *p, const exn_costs *costs) {
    const size_t deepest = p->exits - 2;
    const double gain = p->trial[deepest * EXN_TRIALS] - p->trial[0];
    const double price = costs->reach[deepest] - costs->reach[0];
    return gain > 0 && price > 0 ? gain / price : 0.0;
}

exn_status exn_pretrain_choose(exn_pretrainer *p) {
    exn_costs costs[EXN_TRIALS];
    memset(costs, 0, sizeof costs);
    exn_status status = EXN_OK;
    for (size_t k = 0; k < EXN_TRIALS && status == EXN_OK; k++) status = measure(&costs[k], p, exn_trial_kinds[k]);
    const double rate = status == EXN_OK ? exchange_rate(p, &costs[0]) : 0.0;
    for (size_t e = 0; e + 1 < p->exits && status == EXN_OK; e++) {
        const double *right = p->trial + e * EXN_TRIALS;
        size_t best = 0;
        for (size_t k = 1; k < EXN_TRIALS; k++)
            if (right[k] - rate * costs[k].head[e] > right[best] - rate * costs[best].head[e]) best = k;
        p->kind[e] = exn_trial_kinds[best];
    }
    for (size_t k = 0; k < EXN_TRIALS; k++) exn_costs_free(&costs[k], p->ctx);
    return status;
}
