/* SPDX-License-Identifier: Apache-2.0
 * What a personalising job reports. */
#include "tools/job.h"

#include <math.h>
#include <stdio.h>

#include "tools/recall.h"
#include "train/adapt.h"
#include "train/state.h"

/* How often training passes over all samples, for the head that does so most often. */
static size_t count_epochs(const exn_job *job) {
    const exn_profile *profile = job->person.profile;
    const size_t samples = job->labelled + job->unlabelled_used;
    const exn_fit_options fit = exn_fit_defaults();
    const size_t batch = fit.batch < samples ? fit.batch : samples;
    size_t most = 0;
    for (size_t i = 0; i < profile->exit_count && samples > 0; i++) {
        const exn_exit *exit = &profile->exits[i];
        const bool whole = exn_head_stages(exit->head.kind) && exit->general.kind == EXN_HEAD_AUTO;
        const size_t epochs = whole ? (fit.steps * batch + samples - 1) / samples : EXN_ADAPT_STEPS;
        if (epochs > most) most = epochs;
    }
    return most;
}

static bool learnt(const exn_profile *profile) {
    for (size_t i = 0; i < profile->exit_count; i++)
        if (profile->exits[i].trained) return true;
    return false;
}

/* Figures on samples that the exits learnt from would flatter them: where nothing was held out, what is right and who leaves
 * where is taken from the trainer's folds, and the policy's time follows from that. */
static void replace_by_folds(exn_figures *figures, const exn_profile *profile) {
    double ms = 0, macs = 0;
    for (size_t i = 0; i < figures->exit_count; i++) {
        exn_exit_figures *f = &figures->exits[i];
        const exn_exit *exit = &profile->exits[i];
        f->share = exit->share;
        ms += f->share > 0 ? f->share * f->median_ms : 0;
        macs += f->share > 0 ? f->share * f->macs_fraction : 0;
        if (!exit->trained) continue;
        f->accuracy = exit->accuracy;
        f->agreement = exit->agreement;
    }
    figures->policy_accuracy = profile->accuracy;
    figures->policy_agreement = (double)NAN;
    figures->policy_mean_ms = ms;
    figures->full_mean_ms = figures->full_median_ms; /* the exits' are medians, too */
    figures->policy_macs_fraction = macs;
    for (size_t t = 0; t < EXN_POINTS; t++) figures->points[t].known = false; /* they were run on what was learnt */
}

/* What exits say on samples that they may have learnt from is no evidence. */
static void forget_answers(exn_figures *figures) {
    for (size_t i = 0; i < figures->exit_count; i++)
        figures->exits[i].accuracy = figures->exits[i].agreement = (double)NAN;
    for (size_t t = 0; t < EXN_POINTS; t++) figures->points[t].accuracy = figures->points[t].agreement = (double)NAN;
    figures->policy_accuracy = figures->policy_agreement = (double)NAN;
}

exn_status exn_job_measure(json_t **out, exn_job *job, const exn_profile *profile, const char *when) {
    const bool split = job->held_count > 0;
    exn_figures figures = {0};
    EXN_TRY(exn_figures_measure(&figures, job->tool, profile, job->data, split ? job->held : NULL, job->skip_bad));
    if (!split && profile == job->person.profile && learnt(profile)) replace_by_folds(&figures, profile);
    if (!split && profile == job->old && learnt(profile)) forget_answers(&figures);
    json_t *object = json_object();
    exn_report_text(object, "measured_on", split ? "held_out" : "folds");
    exn_figures_report(object, &figures, profile, false);
    *out = object;
    if (!job->tool->json) {
        printf("%s, %s: ", when, split ? "on held-out samples" : "on the samples, out of fold");
        exn_figures_print(&figures, profile);
    }
    exn_figures_free(&figures, job->tool->ctx);
    return EXN_OK;
}

exn_status exn_job_dump(exn_job *job) {
    exn_context *ctx = job->tool->ctx;
    const exn_trainer *trainer = job->trainer;
    const exn_held_out *said = &trainer->held_out;
    const size_t count = trainer->sample_count, table = said->count * said->classes;
    size_t *order = exn_calloc(ctx, count, sizeof *order);
    const float **tables = exn_calloc(ctx, said->exits + 1, sizeof *tables);
    exn_status status = order != NULL && tables != NULL ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK) {
        for (size_t e = 0; e <= said->exits; e++) tables[e] = said->logits + e * table;
        /* Of equal samples one was judged, so each finds its own logits. */
        for (size_t i = 0; i < count; i++) order[i] = exn_held_out_find(said, &trainer->samples[i].content);
        status = exn_logits_write(ctx, job->dump, tables, said->exits + 1, order, count, said->classes);
    }
    exn_free(ctx, order);
    exn_free(ctx, tables);
    return status;
}

static json_t *exits_report(const exn_profile *profile) {
    json_t *exits = json_array();
    for (size_t i = 0; i < profile->exit_count; i++) {
        const exn_exit *exit = &profile->exits[i];
        json_t *object = json_object();
        exn_report_count(object, "index", i);
        exn_report_text(object, "tap", exit->tap);
        exn_report_flag(object, "enabled", exit->rule.enabled);
        exn_report_flag(object, "trained", exit->trained);
        exn_report_real(object, "accuracy", exit->accuracy);
        exn_report_real(object, "agreement", exit->agreement);
        exn_report_real(object, "cost_ms", exit->cost_ms);
        exn_report_real(object, "threshold", (double)exit->rule.threshold);
        exn_report_real(object, "temperature", (double)exit->rule.temperature);
        if (exit->decision != NULL) exn_report_text(object, "decision", exit->decision);
        if (exit->gate.tried) json_object_set_new(object, "evidence", exn_gate_write(&exit->gate));
        json_array_append_new(exits, object);
    }
    return exits;
}

static json_t *decisions_report(const exn_profile *profile) {
    json_t *decisions = json_array();
    if (profile->normal.photos) {
        json_t *camera = exn_normalisation_write(&profile->normal);
        json_object_set_new(camera, "what", json_string("normalisation"));
        json_array_append_new(decisions, camera);
    }
    if (profile->prior.samples) {
        json_t *prior = exn_prior_write(&profile->prior);
        json_object_set_new(prior, "what", json_string("class frequencies"));
        json_array_append_new(decisions, prior);
    }
    return decisions;
}

static exn_status print_json(exn_job *job) {
    const exn_profile *profile = job->person.profile;
    json_t *report = exn_report_create("personalise"), *seconds = json_object();
    exn_report_text(report, "profile", job->path);
    exn_report_count(report, "labelled", job->labelled);
    exn_report_count(report, "unlabelled", job->unlabelled_used);
    exn_report_count(report, "held_out", job->held_count);
    exn_report_count(report, "classes", profile->class_count);
    exn_report_real(seconds, "extract", job->extract_s);
    exn_report_real(seconds, "train", job->train_s);
    exn_report_real(seconds, "total", job->total_s);
    json_object_set_new(report, "seconds", seconds);
    exn_report_real(report, "peak_rss_mb", exn_report_peak_rss_mb());
    exn_report_count(report, "cache_bytes", job->cache_bytes);
    exn_report_count(report, "estimated_bytes", job->estimate.peak_bytes);
    exn_report_real(report, "planned_mb", job->planned_mb);
    exn_report_count(report, "left_out", job->left_out);
    exn_report_flag(report, "unfinished", job->unfinished);
    exn_report_count(report, "epochs", count_epochs(job));
    exn_report_count(report, "steps", job->steps);
    exn_report_text(report, "costs", profile->costs != NULL ? profile->costs : "none");
    json_object_set_new(report, "exits", exits_report(profile));
    json_object_set_new(report, "decisions", decisions_report(profile));
    json_object_set(report, "before", job->before);
    json_object_set(report, "after", job->after);
    if (job->photos != NULL) json_object_set(report, "photos", job->photos);
    return exn_report_print(report, job->tool, false);
}

static void print_text(const exn_job *job) {
    const exn_profile *profile = job->person.profile;
    printf("%s: %zu labelled and %zu unlabelled samples; extracted in %.1f s, trained in %.1f s\n", job->path,
           job->labelled, job->unlabelled_used, job->extract_s, job->train_s);
    const exn_normalisation *camera = &profile->normal;
    if (camera->photos > 0)
        printf("  camera: %s; channels lie %.2f from the general photos'\n",
               camera->used ? "brought to what the network was taught on" : "left as it is", camera->shift);
    const exn_prior *prior = &profile->prior;
    if (prior->samples > 0)
        printf("  class frequencies, without labels: %s; %.1f of %zu classes in effect, resampling moves %.2f\n",
               prior->used ? "used" : "not used", prior->effective, profile->class_count, prior->unstable);
    for (size_t i = 0; i < profile->exit_count; i++)
        if (profile->exits[i].decision != NULL) printf("  exit %zu: %s\n", i, profile->exits[i].decision);
}

exn_status exn_job_report(exn_job *job) {
    if (job->tool->json) return print_json(job);
    print_text(job);
    return EXN_OK;
}
