/* SPDX-License-Identifier: Apache-2.0
 * Operating points as JSON. */
#include "train/state.h"

#include <math.h>
#include <string.h>

#define COUNT_MAX 1e9

/* ---- writing ---- */

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *write_point(const exn_policy *p, size_t exits, const char *target) {
    json_t *rules = json_array();
    for (size_t i = 0; i < exits; i++)
        json_array_append_new(rules, json_pack("{s:b, s:f, s:I}", "enabled", p->enabled[i], "threshold",
                                               (double)p->threshold[i], "taken", (json_int_t)p->taken[i]));
    return json_pack("{s:s, s:f, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "target",
                     target, "carry", (double)p->carry, "judged_by", p->labelled ? "labels" : "agreement", "samples",
                     (json_int_t)p->samples, "differ", (json_int_t)p->differ, "unsure", (json_int_t)p->unsure, "judged",
                     (json_int_t)p->judged, "right", (json_int_t)p->right, "untouched", (json_int_t)p->untouched,
                     "last", (json_int_t)p->last, "gain", number(p->gain), "loss", number(p->loss), "allowed",
                     number(p->allowed), "cost", number(p->cost), "whole", number(p->whole), "exits", rules);
}

json_t *exn_points_write(const exn_profile *profile) {
    json_t *points = json_array();
    for (size_t t = 0; t < EXN_POINTS; t++)
        if (profile->point[t].judged)
            json_array_append_new(points,
                                  write_point(&profile->point[t], profile->exit_count, exn_target_names[t + 1]));
    return json_pack("{s:s, s:o}", "target", exn_target_names[profile->target], "points", points);
}

/* ---- reading: false where the bytes of a stranger make no sense ---- */

static bool get_real(double *out, const json_t *value, double least, double most) {
    if (!json_is_number(value)) return false;
    *out = json_number_value(value);
    return *out >= least && *out <= most;
}

static bool get_float(float *out, const json_t *value, double least, double most) {
    double real;
    if (!get_real(&real, value, least, most)) return false;
    *out = (float)real;
    return true;
}

static bool get_count(size_t *out, const json_t *object, const char *field) {
    double real;
    if (!get_real(&real, json_object_get(object, field), 0, COUNT_MAX)) return false;
    *out = (size_t)real;
    return true;
}

static bool find_target(exn_target *out, const json_t *object) {
    const char *name = json_string_value(json_object_get(object, "target"));
    for (size_t t = 1; name && t <= EXN_POINTS; t++)
        if (!strcmp(name, exn_target_names[t])) {
            *out = (exn_target)t;
            return true;
        }
    return false;
}

static bool read_rules(exn_policy *p, const exn_profile *profile, const json_t *rules) {
    if (json_array_size(rules) != profile->exit_count) return false;
    for (size_t i = 0; i < profile->exit_count; i++) {
        const json_t *rule = json_array_get(rules, i), *enabled = json_object_get(rule, "enabled");
        const bool last = i + 1 == profile->exit_count;
        p->enabled[i] = json_is_true(enabled);
        if (!json_is_boolean(enabled) || !get_float(&p->threshold[i], json_object_get(rule, "threshold"), 0, 2) ||
            !get_count(&p->taken[i], rule, "taken"))
            return false;
        if (last ? !p->enabled[i] : p->enabled[i] && !profile->exits[i].trained) return false;
    }
    return true;
}

/* Absent from points that were decided on another rule. */
static bool read_evidence(exn_policy *p, const json_t *object) {
    if (!json_object_get(object, "allowed")) return true;
    return get_count(&p->untouched, object, "untouched") && get_count(&p->last, object, "last") &&
           get_real(&p->gain, json_object_get(object, "gain"), 0, 1) &&
           get_real(&p->loss, json_object_get(object, "loss"), -1, 1) &&
           get_real(&p->allowed, json_object_get(object, "allowed"), 0, 2);
}

static bool read_point(exn_profile *profile, const json_t *object) {
    exn_target target;
    exn_policy p = {0};
    const char *judged_by = json_string_value(json_object_get(object, "judged_by"));
    if (!find_target(&target, object) || !judged_by) return false;
    p.labelled = !strcmp(judged_by, "labels");
    if (!get_float(&p.carry, json_object_get(object, "carry"), 0, 1) || !get_count(&p.samples, object, "samples") ||
        !get_count(&p.judged, object, "judged") || !get_count(&p.differ, object, "differ") ||
        !get_count(&p.unsure, object, "unsure") || p.differ > p.samples || p.unsure > p.samples ||
        !get_count(&p.right, object, "right") || !read_evidence(&p, object) ||
        !get_real(&p.cost, json_object_get(object, "cost"), 0, 1e15) ||
        !get_real(&p.whole, json_object_get(object, "whole"), 0, 1e15) ||
        !read_rules(&p, profile, json_object_get(object, "exits")))
        return false;
    profile->point[target - 1] = p;
    return true;
}

bool exn_points_read(exn_profile *profile, const json_t *policy) {
    profile->target = EXN_TARGET_KEEP;
    if (!policy) return true; /* written before there were points */
    const json_t *points = json_object_get(policy, "points");
    if (!find_target(&profile->target, policy) || json_array_size(points) > EXN_POINTS) return false;
    for (size_t i = 0; i < json_array_size(points); i++)
        if (!read_point(profile, json_array_get(points, i))) return false;
    return true;
}
