/* SPDX-License-Identifier: Apache-2.0
 * What leaving at an exit costs: the table that the policy minimises. It is an input to every decision, so the same table
 * gives the same profile everywhere. */
#ifndef EXN_TRAIN_COSTS_H
#define EXN_TRAIN_COSTS_H

#include "graph/plan.h"
#include "train/profile.h"

typedef struct exn_costs {
    double *reach; /* [exits]: backbone from the input to the tap, without heads; of the last exit: the whole network */
    double *head;  /* [exits]: the head alone; of the last exit: 0 */
    size_t exits;
    bool in_ms;   /* false: shares of the network's multiply-adds */
    char *source; /* "measured", "macs", or the file's name */
} exn_costs;

/* `wish` as in exn_trainer_options: NULL measures, "macs" counts, anything else is the path of a JSON file
 *     {"schema": "exeunt.costs/1", "exits": [ms, ...], "full": ms, "heads": [ms, ...]}
 * exits: one number an early exit, from the input to its decision with no other head attached; heads (optional): the part of
 * each that is the head's own; without it the head's share of multiply-adds. EXN_E_FORMAT with the field's name. */
exn_status exn_costs_get(exn_costs *out, const exn_profile *profile, const char *wish);
/* What was measured on the way: least seconds of every step of a plan whose output i is what exit i's FC reads (i before the
 * last), and whose last one is the network's. The FC itself is counted at the network's rate. */
exn_status exn_costs_from_steps(exn_costs *out, const exn_profile *profile, const exn_plan *plan,
                                const double *seconds);
void exn_costs_free(exn_costs *costs, exn_context *ctx);
/* From the input to the decision of `exit` when the exits with a set flag are attached. */
double exn_costs_until(const exn_costs *costs, const bool *attached, size_t exit);

#endif
