/* SPDX-License-Identifier: Apache-2.0
 * Progressive bypass as one state machine: how deep the network is run, on which evidence, and when it steps back.
 *
 *              personalising with more samples raises `top`
 *     WHOLE  <------------------->  CASCADE  <------------------->  CUT
 *     untouched network             exits may take a sample,        the plan ends at an exit,
 *                                   the last one is behind them     what lies behind is not mapped
 *
 * README draws all of it. This is arithmetic on a plain struct: no clock, no randomness but a counter's hash, no allocation;
 * the runner feeds it and obeys it. */
#ifndef EXN_TRAIN_BYPASS_H
#define EXN_TRAIN_BYPASS_H

#include "train/point.h"

typedef enum exn_rung { EXN_RUNG_WHOLE = 0, EXN_RUNG_CASCADE = 1, EXN_RUNG_CUT = 2, EXN_RUNGS = 3 } exn_rung;

/* What personalising expects of each rung; WHOLE's entries mean nothing. */
typedef struct exn_bypass_plan {
    exn_rung top;             /* as far as the personal evidence goes: CASCADE or CUT */
    double differ[EXN_RUNGS]; /* share of answers that differ from the last exit's, at most */
    double unsure[EXN_RUNGS]; /* share of answers less likely than EXN_BYPASS_UNSURE, at most */
    double share;             /* of the inputs to audit while nothing is suspected: 0 .. 1 */
    uint64_t seed;
} exn_bypass_plan;

#define EXN_BYPASS_UNSURE 0.5f

typedef struct exn_bypass {
    exn_rung rung;
    double alarm;   /* odds that audited answers differ too often: CUSUM, 1 at rest */
    double unease;  /* odds that answers are unsure too often: CUSUM, 1 at rest */
    double trust;   /* odds that the next rung would do: sequential test, 1 at rest */
    uint64_t alert; /* audits still to come at the dense rate */
    uint64_t inputs, audits, differing, alerts, rollbacks, advances;
} exn_bypass;

/* The expectations from out-of-fold counts, by upper bounds. `cascade`: the policy without its end, which CASCADE runs. A
 * policy without an end has CASCADE for its top; one without early exits is not audited. */
exn_bypass_plan exn_bypass_expect(const exn_policy *point, const exn_policy *cascade, size_t exits, double share,
                                  uint64_t seed);
exn_bypass exn_bypass_begin(const exn_bypass_plan *plan);
/* Whether the input that comes next is audited: asked before exn_bypass_answered. Follows from the counter alone. */
bool exn_bypass_due(const exn_bypass *b, const exn_bypass_plan *plan);
/* An answer was given with this confidence. */
void exn_bypass_answered(exn_bypass *b, const exn_bypass_plan *plan, float confidence);
/* An input was run to the last exit: differs[r] says whether rung r's answer was another one. May change b->rung, by one. */
void exn_bypass_audited(exn_bypass *b, const exn_bypass_plan *plan, const bool differs[EXN_RUNGS]);

/* The state as JSON text (free()), bound to `key`; reading it with another key begins anew. False: the text makes no
 * sense, or memory is short; *b is then as begun. */
bool exn_bypass_write(char **out, const exn_bypass *b, const char *key);
bool exn_bypass_read(exn_bypass *b, const exn_bypass_plan *plan, const char *key, const char *text, size_t length);

#endif
