/* SPDX-License-Identifier: Apache-2.0
 * Measured figures as JSON or as a table. */
#include "tools/figures.h"

#include <math.h>
#include <stdio.h>

static json_t *exit_report(const exn_figures *f, const exn_profile *profile, size_t i) {
    const exn_exit *exit = &profile->exits[i];
    json_t *object = json_object();
    exn_report_count(object, "index", i);
    exn_report_text(object, "tap", exit->tap);
    exn_report_real(object, "macs_fraction", f->exits[i].macs_fraction);
    exn_report_real(object, "accuracy", f->exits[i].accuracy);
    exn_report_real(object, "agreement", f->exits[i].agreement);
    exn_report_real(object, "median_ms", f->exits[i].median_ms);
    exn_report_real(object, "cut_ms", f->exits[i].cut_ms);
    exn_report_real(object, "cut_macs_fraction", f->exits[i].cut_macs_fraction);
    exn_report_real(object, "share", f->exits[i].share);
    exn_report_real(object, "threshold", (double)exit->rule.threshold);
    exn_report_real(object, "temperature", (double)exit->rule.temperature);
    exn_report_flag(object, "enabled", exit->rule.enabled);
    exn_report_flag(object, "trained", exit->trained);
    if (exit->decision != NULL) exn_report_text(object, "decision", exit->decision);
    return object;
}

/* An operating point as measured, and the evidence that it was decided on. */
static json_t *target_report(const exn_figures *f, const exn_profile *profile, size_t t) {
    const exn_point_figures *p = &f->points[t];
    const exn_policy *decided = &profile->point[t];
    json_t *object = json_object(), *evidence = json_object(), *thresholds = json_array();
    exn_report_text(object, "target", exn_target_names[t + 1]);
    exn_report_flag(object, "chosen", profile->target == (exn_target)(t + 1));
    exn_report_real(object, "accuracy", p->accuracy);
    exn_report_real(object, "agreement", p->agreement);
    exn_report_real(object, "mean_ms", p->mean_ms);
    exn_report_real(object, "macs_fraction", p->macs_fraction);
    exn_report_real(object, "speedup", f->full_mean_ms / p->mean_ms);
    exn_report_count(object, "deepest_exit", p->deepest_exit);
    for (size_t i = 0; i < profile->exit_count; i++)
        json_array_append_new(thresholds, decided->judged == 0 || !decided->enabled[i]
                                              ? json_null()
                                              : json_real((double)decided->threshold[i]));
    json_object_set_new(object, "thresholds", thresholds);
    exn_report_text(evidence, "judged_by", decided->labelled ? "labels" : "agreement");
    exn_report_count(evidence, "judged", decided->judged);
    exn_report_count(evidence, "right", decided->right);
    exn_report_count(evidence, "untouched", decided->untouched);
    exn_report_count(evidence, "last", decided->last);
    exn_report_real(evidence, "gain", decided->gain);
    exn_report_real(evidence, "loss", decided->loss);
    exn_report_real(evidence, "allowed", decided->allowed);
    exn_report_real(evidence, "cost", decided->cost);
    exn_report_real(evidence, "whole", decided->whole);
    json_object_set_new(object, "evidence", decided->judged > 0 ? evidence : json_null());
    if (decided->judged == 0) json_decref(evidence);
    return object;
}

static json_t *confusion_report(const exn_figures *f, const exn_profile *profile) {
    json_t *object = json_object(), *classes = json_array(), *counts = json_array();
    for (size_t i = 0; i < f->class_count; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < f->class_count; j++)
            json_array_append_new(row, json_integer((json_int_t)f->confusion[i * f->class_count + j]));
        json_array_append_new(counts, row);
        json_array_append_new(classes, json_string(profile->classes[i]));
    }
    json_object_set_new(object, "classes", classes);
    json_object_set_new(object, "counts", counts);
    return object;
}

void exn_figures_report(json_t *object, const exn_figures *f, const exn_profile *profile, bool confusion) {
    exn_report_count(object, "samples", f->samples);
    json_t *full = json_object();
    exn_report_real(full, "accuracy", f->full_accuracy);
    exn_report_real(full, "accuracy_masked", f->full_accuracy_masked);
    exn_report_real(full, "mean_ms", f->full_mean_ms);
    exn_report_real(full, "median_ms", f->full_median_ms);
    json_object_set_new(object, "full", full);
    json_t *exits = json_array();
    for (size_t i = 0; i < f->exit_count; i++) json_array_append_new(exits, exit_report(f, profile, i));
    json_object_set_new(object, "exits", exits);
    json_t *policy = json_object();
    exn_report_real(policy, "accuracy", f->policy_accuracy);
    exn_report_real(policy, "agreement", f->policy_agreement);
    exn_report_real(policy, "mean_ms", f->policy_mean_ms);
    exn_report_real(policy, "macs_fraction", f->policy_macs_fraction);
    exn_report_real(policy, "speedup", f->full_mean_ms / f->policy_mean_ms);
    exn_report_count(policy, "deepest_exit", f->deepest_exit);
    json_object_set_new(object, "policy", policy);
    json_t *targets = json_array();
    for (size_t t = 0; t < EXN_POINTS; t++)
        if (f->points[t].known) json_array_append_new(targets, target_report(f, profile, t));
    json_object_set_new(object, "targets", targets);
    if (confusion) json_object_set_new(object, "confusion", confusion_report(f, profile));
}

/* "87.3 %", or "-" where there was no label. */
static const char *percent(char text[16], double value) {
    if (isnan(value)) return "-";
    snprintf(text, 16, "%.1f %%", 100.0 * value);
    return text;
}

static void print_target(const exn_figures *f, const exn_profile *profile, size_t t) {
    const exn_point_figures *p = &f->points[t];
    const exn_policy *d = &profile->point[t];
    char name[64], a[16], b[16];
    const double speedup =
        p->mean_ms > 0 ? f->full_mean_ms / p->mean_ms : 1 / p->macs_fraction; /* not timed: counted */
    snprintf(name, sizeof name, "policy, target %s%s", exn_target_names[t + 1],
             profile->target == (exn_target)(t + 1) ? " *" : "");
    printf("  %-28s %9s %9.3f %9s  %5.2fx, ends at exit %zu\n", name, percent(a, p->accuracy), p->mean_ms,
           percent(b, p->macs_fraction), speedup, p->deepest_exit);
    if (d->judged > 0)
        printf("      decided on %zu %s: %zu of them %s; leaving early is believed to cost %.1f points, %.1f are "
               "allowed\n",
               d->judged, d->labelled ? "labels out of fold" : "answers compared with the last exit's", d->right,
               d->labelled ? "right" : "the same", 100 * d->loss, 100 * d->allowed);
}

/* What a fresh head answers is nobody's accuracy. */
static bool is_fresh(const exn_profile *profile, size_t exit) {
    const exn_exit *e = &profile->exits[exit];
    return exit + 1 < profile->exit_count && !e->trained && e->general.kind == EXN_HEAD_AUTO;
}

void exn_figures_print(const exn_figures *f, const exn_profile *profile) {
    char a[16], b[16], c[16];
    printf("%zu samples\n", f->samples);
    printf("  %-28s %9s %9s %9s %9s %8s\n", "", "accuracy", "ms", "MACs", "cut, ms", "leave");
    printf("  %-28s %9s %9.3f %9s\n", "untouched network (mean)", percent(a, f->full_accuracy), f->full_mean_ms,
           "100.0 %");
    for (size_t i = 0; i < f->exit_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "exit %zu at %.16s%s", i, profile->exits[i].tap,
                 profile->exits[i].rule.enabled ? "" : " (off)");
        const double right = is_fresh(profile, i) ? (double)NAN : f->exits[i].accuracy;
        printf("  %-28s %9s %9.3f %9s %9.3f %8s\n", name, percent(a, right), f->exits[i].median_ms,
               percent(b, f->exits[i].macs_fraction), f->exits[i].cut_ms, percent(c, f->exits[i].share));
    }
    if (!f->points[profile->target - 1].known)
        printf("  %-28s %9s %9.3f %9s  %5.2fx\n", "policy (mean)", percent(a, f->policy_accuracy), f->policy_mean_ms,
               percent(b, f->policy_macs_fraction), f->full_mean_ms / f->policy_mean_ms);
    for (size_t t = 0; t < EXN_POINTS; t++)
        if (f->points[t].known) print_target(f, profile, t);
    printf("  untouched network: median %.3f ms, %s among the classes present\n", f->full_median_ms,
           percent(c, f->full_accuracy_masked));
}
