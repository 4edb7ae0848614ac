/* SPDX-License-Identifier: Apache-2.0
 * The bypass's transitions. Odds are multiplied, never logarithms added: the same bits everywhere. */
#include "train/bypass.h"

#include "train/caution.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* A CUSUM of likelihood odds alarms falsely, while the share is what was expected, once in at least this many observations on
 * average (Lorden 1971). */
#define ALARM_ODDS 1000.0
#define UNEASE_ODDS 1000.0
/* A rung is entered again when these are the odds for it; four times as many after every rollback. */
#define TRUST_ODDS 100.0
#define TRUST_ODDS_MAX 1e6
/* A sample that speaks against it so strongly makes the test begin anew. */
#define TRUST_FLOOR 0.01
#define ALERT_AUDITS 64u
#define ALERT_SHARE 0.25
#define MISS 0.1
#define SHARE_LEAST 0.01
#define SHARE_MOST 0.9
/* The share that counts as wrong lies this part of the way from the expected one to 1. */
#define STEP 0.25

/* ---- what is expected ---- */

static double upper_bound(size_t hits, size_t trials) {
    const double bound = 1.0 - exn_lower_bound(trials - hits, trials, MISS);
    return bound < SHARE_LEAST ? SHARE_LEAST : bound > SHARE_MOST ? SHARE_MOST : bound;
}

static void expect_rung(exn_bypass_plan *plan, exn_rung rung, const exn_policy *p) {
    plan->differ[rung] = upper_bound(p->differ, p->samples);
    plan->unsure[rung] = upper_bound(p->unsure, p->samples);
}

static bool has_end(const exn_policy *p, size_t exits) {
    for (size_t i = 0; i + 1 < exits; i++)
        if (p->enabled[i] && !(p->threshold[i] > 0)) return true;
    return false;
}

static bool has_early(const exn_policy *p, size_t exits) {
    for (size_t i = 0; i + 1 < exits; i++)
        if (p->enabled[i]) return true;
    return false;
}

exn_bypass_plan exn_bypass_expect(const exn_policy *point, const exn_policy *cascade, size_t exits, double share,
                                  uint64_t seed) {
    exn_bypass_plan plan = {.top = has_end(point, exits) ? EXN_RUNG_CUT : EXN_RUNG_CASCADE,
                            .share = has_early(point, exits) ? share : 0,
                            .seed = seed};
    expect_rung(&plan, EXN_RUNG_CASCADE, plan.top == EXN_RUNG_CUT ? cascade : point);
    expect_rung(&plan, EXN_RUNG_CUT, point);
    return plan;
}

/* ---- transitions ---- */

exn_bypass exn_bypass_begin(const exn_bypass_plan *plan) {
    return (exn_bypass){.rung = plan->top, .alarm = 1, .unease = 1, .trust = 1};
}

static void rest(exn_bypass *b) {
    b->alarm = b->unease = b->trust = 1;
    b->alert = 0;
}

static double likelihood_ratio(double expected, bool hit) {
    const double wrong = expected + STEP * (1 - expected);
    return hit ? wrong / expected : (1 - wrong) / (1 - expected);
}

static double raise_odds(double odds, double expected, bool hit) {
    odds *= likelihood_ratio(expected, hit);
    return odds < 1 ? 1 : odds;
}

/* SplitMix64's finaliser: even a caller with a rhythm of his own is audited evenly. */
static double hash_share(uint64_t seed, uint64_t count) {
    uint64_t x = seed + (count + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return (double)(x >> 11) * 0x1p-53;
}

bool exn_bypass_due(const exn_bypass *b, const exn_bypass_plan *plan) {
    if (!(plan->share > 0)) return false;
    const double dense = plan->share > ALERT_SHARE ? plan->share : ALERT_SHARE;
    return hash_share(plan->seed, b->inputs) < (b->alert ? dense : plan->share);
}

/* Unsure answers prove nothing, they only make audits dense for a while. */
void exn_bypass_answered(exn_bypass *b, const exn_bypass_plan *plan, float confidence) {
    b->inputs++;
    if (b->rung == EXN_RUNG_WHOLE || !(plan->share > 0)) return;
    b->unease = raise_odds(b->unease, plan->unsure[b->rung], !(confidence >= EXN_BYPASS_UNSURE));
    if (b->unease < UNEASE_ODDS) return;
    b->unease = 1;
    b->alerts += b->alert == 0;
    b->alert = ALERT_AUDITS;
}

static double trust_needed(const exn_bypass *b) {
    double odds = TRUST_ODDS;
    for (uint64_t i = 0; i < b->rollbacks && odds < TRUST_ODDS_MAX; i++) odds *= 4;
    return odds < TRUST_ODDS_MAX ? odds : TRUST_ODDS_MAX;
}

static void step_down(exn_bypass *b) {
    rest(b);
    b->rung--;
    b->rollbacks++;
    b->alert = ALERT_AUDITS; /* is the next rung any better? */
}

static void step_up(exn_bypass *b) {
    rest(b);
    b->rung++;
    b->advances++;
}

void exn_bypass_audited(exn_bypass *b, const exn_bypass_plan *plan, const bool differs[EXN_RUNGS]) {
    b->audits++;
    b->differing += differs[b->rung] && b->rung != EXN_RUNG_WHOLE;
    if (b->alert) b->alert--;
    if (b->rung != EXN_RUNG_WHOLE) {
        b->alarm = raise_odds(b->alarm, plan->differ[b->rung], differs[b->rung]);
        if (b->alarm >= ALARM_ODDS) {
            step_down(b);
            return;
        }
    }
    if (b->rung >= plan->top) return;
    b->trust /= likelihood_ratio(plan->differ[b->rung + 1], differs[b->rung + 1]);
    if (b->trust < TRUST_FLOOR) b->trust = 1;
    if (b->trust >= trust_needed(b)) step_up(b);
}

/* ---- the state as text ---- */

bool exn_bypass_write(char **out, const exn_bypass *b, const char *key) {
    json_t *root = json_pack(
        "{s:s, s:s, s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "schema", "exeunt.watch/1", "key", key,
        "rung", (int)b->rung, "alarm", b->alarm, "unease", b->unease, "trust", b->trust, "alert", (json_int_t)b->alert,
        "inputs", (json_int_t)b->inputs, "audits", (json_int_t)b->audits, "differing", (json_int_t)b->differing,
        "alerts", (json_int_t)b->alerts, "rollbacks", (json_int_t)b->rollbacks, "advances", (json_int_t)b->advances);
    *out = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return *out != NULL;
}

static bool get_odds(double *out, const json_t *root, const char *field) {
    const json_t *value = json_object_get(root, field);
    *out = json_number_value(value);
    return json_is_number(value) && *out > 0 && *out <= 1e12;
}

static bool get_count(uint64_t *out, const json_t *root, const char *field) {
    const json_t *value = json_object_get(root, field);
    *out = (uint64_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool fill(exn_bypass *b, const exn_bypass_plan *plan, const json_t *root) {
    uint64_t rung;
    const char *schema = json_string_value(json_object_get(root, "schema"));
    if (!schema || strcmp(schema, "exeunt.watch/1") != 0) return false;
    if (!get_count(&rung, root, "rung") || rung > (uint64_t)plan->top) return false;
    b->rung = (exn_rung)rung;
    return get_odds(&b->alarm, root, "alarm") && get_odds(&b->unease, root, "unease") &&
           get_odds(&b->trust, root, "trust") && get_count(&b->alert, root, "alert") && b->alert <= ALERT_AUDITS &&
           get_count(&b->inputs, root, "inputs") && get_count(&b->audits, root, "audits") &&
           get_count(&b->differing, root, "differing") && get_count(&b->alerts, root, "alerts") &&
           get_count(&b->rollbacks, root, "rollbacks") && get_count(&b->advances, root, "advances");
}

bool exn_bypass_read(exn_bypass *b, const exn_bypass_plan *plan, const char *key, const char *text, size_t length) {
    exn_bypass read = exn_bypass_begin(plan);
    *b = read;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *made_for = json_string_value(json_object_get(root, "key"));
    bool good = made_for != NULL;
    if (good && !strcmp(made_for, key)) {
        good = fill(&read, plan, root);
        if (good) *b = read;
    }
    json_decref(root);
    return good;
}
