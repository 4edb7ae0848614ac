/* SPDX-License-Identifier: Apache-2.0
 * From an operating point to the rules that a run obeys. */
#include "train/profile.h"

#include <math.h>
#include <string.h>

const char *const exn_target_names[EXN_POINTS + 1] = {"profile", "keep", "untouched"};

void exn_rules_carry(exn_exit_rule *rules, size_t exits, float carry) {
    bool first = true;
    for (size_t i = 0; i < exits; i++) {
        if (!rules[i].enabled && i + 1 < exits) continue;
        rules[i].carry = first ? 0.0f : carry;
        if (!first) rules[i].temperature /= exn_carry_own(carry);
        first = false;
    }
}

void exn_point_rules(exn_exit_rule *out, const exn_profile *profile, const exn_policy *point) {
    for (size_t i = 0; i < profile->exit_count; i++)
        out[i] = (exn_exit_rule){.enabled = point->enabled[i],
                                 .temperature = profile->exits[i].rule.temperature,
                                 .threshold = point->threshold[i]};
    exn_rules_carry(out, profile->exit_count, point->carry);
}

exn_status exn_profile_rules(exn_exit_rule *out, const exn_profile *profile, exn_target target) {
    if ((size_t)target > EXN_POINTS) return exn_fail(profile->ctx, EXN_E_INVALID, "unknown target");
    const bool own = target == EXN_TARGET_PROFILE || target == profile->target;
    const exn_policy *p = &profile->point[(own ? profile->target : target) - 1];
    if (!own && !p->judged)
        return exn_fail(profile->ctx, EXN_E_INVALID, "this profile has nothing for the target %s: personalise it",
                        exn_target_names[target]);
    if (!own) {
        exn_point_rules(out, profile, p);
        return EXN_OK;
    }
    for (size_t i = 0; i < profile->exit_count; i++) out[i] = profile->exits[i].rule;
    if (p->judged) exn_rules_carry(out, profile->exit_count, p->carry);
    return EXN_OK;
}

exn_status exn_profile_set_target(exn_profile *profile, exn_target target) {
    if (!profile) return EXN_E_INVALID;
    if (target == EXN_TARGET_PROFILE || target == profile->target) return EXN_OK;
    if ((size_t)target > EXN_POINTS || !profile->point[target - 1].judged)
        return exn_fail(profile->ctx, EXN_E_INVALID, "this profile has nothing for that target: personalise it");
    const exn_policy *p = &profile->point[target - 1];
    for (size_t i = 0; i < profile->exit_count; i++) {
        profile->exits[i].rule.enabled = p->enabled[i];
        profile->exits[i].rule.threshold = p->threshold[i];
        profile->exits[i].share = p->samples ? (double)p->taken[i] / (double)p->samples : (double)NAN;
        profile->exits[i].cost_ms = 0;
    }
    profile->accuracy = p->labelled ? (double)p->right / (double)p->judged : (double)NAN;
    profile->target = target;
    return EXN_OK;
}

void exn_profile_forget_points(exn_profile *profile) {
    memset(profile->point, 0, sizeof profile->point);
    profile->target = EXN_TARGET_KEEP;
    profile->accuracy = NAN;
}

exn_target exn_profile_get_target(const exn_profile *profile) {
    return profile ? profile->target : EXN_TARGET_PROFILE;
}
