/* SPDX-License-Identifier: Apache-2.0
 * exeunt personalise: teaches a profile's exits one person's samples. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/job.h"
#include "tools/stop.h"
#include "train/journal.h"
#include "train/trainer.h"

/* Fewer held-out samples say little, and are worth more as lessons. */
enum { HELD_OUT_LEAST = 20 };
static const double holdout_default = 0.2;
/* Bytes that nobody plans: code, a photo being decoded, mapped weights on their way into a plan. Measured: 7 to 10 MB. */
static const size_t RESERVE = (size_t)11 << 20;

static void release(exn_job *job) {
    json_decref(job->photos);
    json_decref(job->after);
    json_decref(job->before);
    exn_trainer_destroy(job->trainer);
    exn_free(job->tool->ctx, job->held);
    exn_dataset_close(job->unlabelled);
    exn_dataset_close(job->data);
    exn_profile_destroy(job->old);
    exn_person_close(&job->person);
}

/* Under the cache's lock: another run may be filling it. */
static exn_status forget_cache(const exn_job *job) {
    exn_context *ctx = job->tool->ctx;
    exn_lock *lock = NULL;
    EXN_TRY(exn_lock_take(&lock, ctx, job->cache));
    exn_status status = EXN_OK;
    if (unlink(job->cache) != 0 && errno != ENOENT)
        status = exn_fail(ctx, EXN_E_IO, "%s: %s", job->cache, strerror(errno));
    exn_lock_release(lock);
    return status;
}

/* Fails now rather than after the work. */
static exn_status check_target(exn_job *job) {
    exn_context *ctx = job->tool->ctx;
    const char *shared = exn_args_text(job->tool->args, "cache");
    const int length = snprintf(job->cache, sizeof job->cache, "%s%s", shared != NULL ? shared : job->path,
                                shared != NULL ? "" : ".cache");
    const int beside = snprintf(job->progress, sizeof job->progress, "%s.progress", job->path);
    if (length < 0 || (size_t)length >= sizeof job->cache || beside < 0 || (size_t)beside + 2 >= sizeof job->progress)
        return exn_fail(ctx, EXN_E_INVALID, "%s: name too long", job->path);
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", job->path);
    if (access(dirname(copy), W_OK) != 0)
        return exn_fail(ctx, EXN_E_IO, "%s: cannot be replaced: %s", job->path, strerror(errno));
    if (job->resume && access(job->cache, F_OK) != 0 && access(job->progress, F_OK) != 0)
        exn_log(ctx, EXN_LOG_WARNING, "nothing to resume: neither %s nor %s; everything starts from the beginning",
                job->progress, job->cache);
    if (job->resume) return EXN_OK;
    if (access(job->progress, F_OK) == 0)
        exn_log(ctx, EXN_LOG_WARNING,
                "%s: what a run that was cut off had done is dropped; --resume would have gone on", job->progress);
    EXN_TRY(exn_journal_remove(ctx, job->progress));
    return job->shared_cache ? EXN_OK : forget_cache(job);
}

/* The parts named, with commas between them. */
static exn_status read_without(exn_job *job) {
    static const char *const parts[] = {"normalise", "prior", "heads", "gate"}; /* in the order of EXN_WITHOUT_* */
    const char *names = exn_args_text(job->tool->args, "without");
    while (names != NULL) {
        const size_t length = strcspn(names, ",");
        size_t i = 0;
        while (i < 4 && (strlen(parts[i]) != length || strncmp(parts[i], names, length) != 0)) i++;
        if (i == 4) return exn_tool_usage(job->tool, "--without: no part is called '%.*s'", (int)length, names);
        job->without |= 1u << i;
        names = names[length] == ',' ? names + length + 1 : NULL;
    }
    return EXN_OK;
}

static exn_status read_options(exn_job *job, exn_trainer_options *options, double *holdout) {
    exn_args *args = job->tool->args;
    size_t megabytes = 0, limit = 0, seed = 0;
    if (!exn_args_number(&options->time_budget_s, args, "time-budget", 0.1, 1e9) ||
        !exn_args_count(&megabytes, args, "memory-budget", 1, (size_t)1 << 30) ||
        !exn_args_count(&limit, args, "cache-limit", 1, (size_t)1 << 30) ||
        !exn_args_count(&seed, args, "seed", 1, SIZE_MAX) || !exn_args_number(holdout, args, "holdout", 0.0, 0.9))
        return EXN_E_INVALID;
    options->memory_budget_bytes = megabytes << 20;
    options->cache_limit_bytes = limit << 20;
    options->cache_half = exn_args_text(args, "cache-half") != NULL;
    job->time_budget_s = options->time_budget_s;
    options->seed = seed;
    EXN_TRY(exn_target_read(&options->target, job->tool));
    EXN_TRY(read_without(job));
    options->costs = exn_args_text(args, "costs");
    options->cache_path = job->cache;
    options->progress_path = job->progress;
    job->measure = exn_args_text(args, "no-measure") == NULL;
    job->skip_bad = exn_args_text(args, "skip-bad") != NULL;
    job->resume = exn_args_text(args, "resume") != NULL;
    job->shared_cache = exn_args_text(args, "cache") != NULL;
    job->keep_cache = job->shared_cache || exn_args_text(args, "keep-cache") != NULL;
    job->dump = exn_args_text(args, "dump");
    if (job->dump != NULL && megabytes + limit > 0)
        return exn_tool_usage(job->tool, "--dump needs every sample: not with --memory-budget or --cache-limit");
    if (job->dump != NULL && (job->photos = json_array()) == NULL) return EXN_E_NOMEM;
    return EXN_OK;
}

/* Sub-folders that are named like no class become classes. */
static exn_status add_classes(exn_profile *profile, exn_job *job) {
    exn_context *ctx = job->tool->ctx;
    char **names = NULL;
    size_t count = 0;
    if (exn_args_text(job->tool->args, "new-classes") == NULL) return EXN_OK;
    EXN_TRY(exn_dataset_classes(&names, &count, ctx, job->tool->args->operands[1]));
    exn_status status = EXN_OK;
    for (size_t i = 0; i < count && status == EXN_OK; i++) {
        size_t known = 0;
        while (known < profile->class_count && strcmp(profile->classes[known], names[i]) != 0) known++;
        if (known == profile->class_count) status = exn_profile_add_classes(profile, (const char *const *)&names[i], 1);
    }
    exn_dataset_free_names(ctx, names, count);
    return status;
}

static exn_status open_data(exn_job *job) {
    EXN_TRY(exn_person_open(&job->person, job->tool, job->path, NULL));
    EXN_TRY(add_classes(job->person.profile, job));
    if (job->measure) {
        EXN_TRY(exn_profile_open(&job->old, job->person.model, job->path, NULL));
        EXN_TRY(add_classes(job->old, job));
    }
    EXN_TRY(exn_person_data(&job->data, job->tool, &job->person, job->tool->args->operands[1]));
    const char *path = exn_args_text(job->tool->args, "unlabelled");
    return path == NULL ? EXN_OK : exn_person_data(&job->unlabelled, job->tool, &job->person, path);
}

/* Sets samples apart for before and after, where asked for or where there are enough. */
static exn_status split(exn_job *job, double holdout) {
    const size_t count = exn_dataset_count(job->data);
    const bool asked = exn_args_text(job->tool->args, "holdout") != NULL;
    job->held = exn_calloc(job->tool->ctx, count, sizeof *job->held);
    if (job->held == NULL) return EXN_E_NOMEM;
    if (!job->measure || (!asked && holdout * (double)exn_dataset_labelled(job->data) < HELD_OUT_LEAST)) holdout = 0.0;
    if (holdout > 0.0) EXN_TRY(exn_dataset_split(job->held, &job->held_count, job->data, holdout));
    job->labelled = exn_dataset_labelled(job->data) - job->held_count;
    job->unlabelled_used = count - exn_dataset_labelled(job->data);
    if (job->unlabelled != NULL) job->unlabelled_used += exn_dataset_count(job->unlabelled);
    job->to_add = job->labelled + job->unlabelled_used;
    return EXN_OK;
}

static size_t classes_shown(const exn_job *job) {
    const size_t classes = job->person.profile->class_count;
    size_t shown = 0;
    for (size_t c = 0; c < classes; c++) {
        size_t i = 0;
        while (i < exn_dataset_count(job->data) && exn_dataset_label(job->data, i) != (int64_t)c) i++;
        shown += i < exn_dataset_count(job->data);
    }
    return shown;
}

/* Of a sample that no fold has judged there is nothing to write. */
static exn_status check_dump(const exn_job *job) {
    const size_t all = job->labelled + job->unlabelled_used;
    if (job->dump == NULL || all <= EXN_SAMPLES_MOST) return EXN_OK;
    return exn_fail(job->tool->ctx, EXN_E_INVALID, "--dump needs every sample: %zu are more than the %u learned from",
                    all, EXN_SAMPLES_MOST);
}

/* A run knows the samples that it is given: what it makes may be less than what was there. */
static exn_status compare_with_before(const exn_job *job) {
    exn_context *ctx = job->tool->ctx;
    const exn_profile *profile = job->person.profile;
    const exn_policy *point = &profile->point[profile->target - 1];
    const size_t taught = point->labelled ? point->judged : 0, shown = classes_shown(job);
    if (taught > 0 && job->labelled == 0)
        return exn_fail(ctx, EXN_E_INVALID, "%s: no photo with a label, but %s has learnt from %zu: a folder a class",
                        job->tool->args->operands[1], job->path, taught);
    if (job->labelled < taught)
        exn_log(ctx, EXN_LOG_WARNING, "%zu labels replace the %zu that the profile has learnt from: give those, too",
                job->labelled, taught);
    if (shown >= EXN_CLASSES_LEAST && 4 * shown < profile->class_count)
        exn_log(ctx, EXN_LOG_WARNING, "the labels show %zu of %zu classes: the others will hardly be answered any more",
                shown, profile->class_count);
    return EXN_OK;
}

static exn_status add_sample(exn_job *job, exn_dataset *data, size_t index, int64_t label) {
    exn_datum sample;
    const exn_model *model = job->person.model;
    EXN_TRY(exn_dataset_read_for(&sample, data, index, model->channels, model->height, model->width));
    const exn_status status = sample.chw == NULL ? exn_trainer_add(job->trainer, &sample.image, label)
                                                 : exn_trainer_add_tensor(job->trainer, sample.chw, label);
    return status < EXN_OK ? exn_fail_in(job->tool->ctx, status, "%s", exn_dataset_name(data, index)) : status;
}

static void note_photo(json_t *photos, exn_dataset *data, size_t index, int64_t label) {
    json_t *photo = json_object();
    exn_report_text(photo, "file", exn_dataset_name(data, index));
    json_object_set_new(photo, "label", json_integer((json_int_t)label));
    json_array_append_new(photos, photo);
}

/* What the time was too short to extract is extracted the next time. */
static bool is_late(const exn_job *job) {
    return job->time_budget_s > 0.0 && exn_now() - job->begin_s >= job->time_budget_s;
}

static exn_status add_all(exn_job *job, exn_dataset *data, const bool *held, bool labels, exn_meter *meter) {
    EXN_TRY(exn_dataset_read_ahead(data, job->tool->threads, held));
    for (size_t i = 0; i < exn_dataset_count(data); i++) {
        if (exn_stop_asked || is_late(job)) return EXN_PAUSED;
        if (held != NULL && held[i]) continue;
        const int64_t label = labels ? exn_dataset_label(data, i) : EXN_UNLABELLED;
        const exn_status status = add_sample(job, data, i, label);
        EXN_TRY(exn_dataset_excuse(data, status, job->skip_bad));
        if (status != EXN_OK)
            *(label == EXN_UNLABELLED ? &job->unlabelled_used : &job->labelled) -= 1;
        else if (job->photos != NULL)
            note_photo(job->photos, data, i, label);
        exn_meter_show(meter, ++job->added, job->to_add);
    }
    return EXN_OK;
}

static exn_status extract(exn_job *job) {
    const double begin = job->begin_s = exn_now();
    exn_meter meter = exn_meter_begin("extracting", "samples");
    exn_status status = add_all(job, job->data, job->held, true, &meter);
    if (status == EXN_OK && job->unlabelled != NULL) status = add_all(job, job->unlabelled, NULL, false, &meter);
    exn_meter_end(&meter);
    job->extract_s = exn_now() - begin;
    if (job->trainer->left_out > 0)
        exn_log(job->tool->ctx, EXN_LOG_WARNING, "%zu samples left out: there is room for %zu", job->trainer->left_out,
                job->trainer->samples_most);
    if (status != EXN_OK || job->time_budget_s <= 0.0) return status;
    job->trainer->time_budget_s = job->time_budget_s - job->extract_s;
    return is_late(job) ? EXN_PAUSED : EXN_OK;
}

typedef struct watching {
    exn_job *job;
    exn_meter meter;
} watching;

static bool watch(void *user, const exn_progress *progress) {
    watching *w = user;
    if (progress->phase == EXN_PHASE_TRAIN && progress->done > w->job->steps) w->job->steps = progress->done;
    exn_meter_show(&w->meter, progress->done, progress->total);
    return !exn_stop_asked;
}

static exn_status train(exn_job *job) {
    const double begin = exn_now();
    watching w = {job, exn_meter_begin("training", "steps")};
    const exn_status status = exn_trainer_run(job->trainer, watch, &w);
    exn_meter_end(&w.meter);
    job->train_s = exn_now() - begin;
    struct stat info;
    if (stat(job->cache, &info) == 0) job->cache_bytes = (uint64_t)info.st_size;
    return status;
}

/* Work that the time was too short for may go on from what is there. */
static exn_status tidy(const exn_job *job) {
    if (job->unfinished) {
        exn_log(job->tool->ctx, EXN_LOG_WARNING, "the time was too short for all exits: --resume goes on");
        return EXN_OK;
    }
    if (!job->keep_cache) unlink(job->cache);
    return exn_journal_remove(job->tool->ctx, job->progress);
}

/* Measuring runs several plans that share their weights: less than twice what extraction takes. */
static void plan_measuring(exn_job *job, size_t resident, size_t budget) {
    const size_t bytes = resident + 2 * job->trainer->extraction_bytes;
    if (job->measure && bytes > budget) {
        exn_log(job->tool->ctx, EXN_LOG_WARNING, "no before and after: they take %zu MB of memory", (bytes >> 20) + 1);
        job->measure = false;
    }
}

/* What is resident already counts, too: the budget is the process's. */
static exn_status plan(exn_job *job, exn_trainer_options *options) {
    const size_t budget = options->memory_budget_bytes;
    const size_t resident = (size_t)(exn_report_rss_mb() * 1048576.0) + RESERVE;
    if (budget > 0 && budget <= resident)
        return exn_fail(job->tool->ctx, EXN_E_NOMEM,
                        "a memory budget of %zu MB is too small: the program alone takes %zu MB", budget >> 20,
                        (resident >> 20) + 1);
    if (budget > 0) options->memory_budget_bytes -= resident;
    const exn_status status = exn_trainer_create(&job->trainer, job->person.profile, options);
    /* Not where the cache limit or the allocator said no. */
    if (status == EXN_E_NOMEM && budget > 0 && strstr(exn_context_error(job->tool->ctx), "memory budget") != NULL)
        return exn_fail_in(job->tool->ctx, status, "--memory-budget %zu: the program alone takes %zu MB; for the rest",
                           budget >> 20, (resident >> 20) + 1);
    EXN_TRY(status);
    if (budget > 0) plan_measuring(job, resident, budget);
    const size_t most = job->trainer->samples_most, all = job->labelled + job->unlabelled_used;
    job->estimate.struct_size = sizeof job->estimate;
    EXN_TRY(exn_trainer_get_estimate(&job->estimate, job->trainer, all < most ? all : most, 0));
    job->planned_mb = (double)(resident + job->estimate.peak_bytes) / 1048576.0;
    if (!job->tool->json) printf("planned: %.0f MB of memory\n", job->planned_mb);
    return EXN_OK;
}

static exn_status personalise(exn_job *job) {
    const double begin = exn_now();
    exn_trainer_options options = {.struct_size = sizeof options};
    double holdout = holdout_default;
    EXN_TRY(read_options(job, &options, &holdout));
    EXN_TRY(open_data(job));
    EXN_TRY(check_target(job));
    EXN_TRY(split(job, holdout));
    EXN_TRY(check_dump(job));
    EXN_TRY(plan(job, &options));
    EXN_TRY(compare_with_before(job));
    job->trainer->keep_held_out = job->dump != NULL;
    job->trainer->without = job->without;
    EXN_TRY(extract(job));
    EXN_TRY(train(job));
    if (job->dump != NULL) EXN_TRY(exn_job_dump(job));
    EXN_TRY(exn_profile_save(job->person.profile, job->path));
    exn_stop_catch(false); /* the work is safe: from here on a signal just ends the program */
    job->unfinished = job->trainer->unfinished;
    job->left_out = job->trainer->left_out;
    exn_trainer_destroy(job->trainer);
    job->trainer = NULL;
    EXN_TRY(tidy(job));
    job->total_s = exn_now() - begin;
    if (job->measure) {
        EXN_TRY(exn_job_measure(&job->before, job, job->old, "before"));
        EXN_TRY(exn_job_measure(&job->after, job, job->person.profile, "after"));
    }
    return exn_job_report(job);
}

static exn_status run(exn_tool *tool) {
    exn_job job = {.tool = tool, .path = tool->args->operands[0], .before = json_null(), .after = json_null()};
    exn_stop_catch(true);
    tool->stop = &exn_stop_asked;
    const exn_status status = personalise(&job);
    if (status == EXN_PAUSED) fprintf(stderr, "exeunt: paused; the same command with --resume goes on\n");
    release(&job);
    tool->stop = NULL;
    return status;
}

static const exn_option options[] = {
    {"unlabelled", "DATA", "further samples, whose labels are not looked at", 0},
    {"new-classes", NULL, "sub-folders of DATA that are named like no class become classes", 0},
    {"holdout", "F", "share of DATA kept for before and after (default 0.2, 0 below 100 labelled)", 0},
    {"no-measure", NULL, "no before and after: everything is for learning", 0},
    {"time-budget", "S", "seconds of extraction and training at most: the best heads so far are kept", 0},
    {"memory-budget", "MB", "memory at most: fewer samples, or a failure that says what is needed", 0},
    {"cache-limit", "MB", "size of the feature cache at most: of samples too many, those of the largest class go", 0},
    {"cache-half", NULL, "keep features in half precision", 0},
    {"costs", "FILE|macs", "cost of exits instead of measured milliseconds: decisions become reproducible", 0},
    {"seed", "N", "what everything random follows from (default: the profile's)", 0},
    EXN_TARGET_OPTION,
    {"resume", NULL, "go on from what PROFILE.cache and PROFILE.progress kept of an interrupted run", 0},
    {"keep-cache", NULL, "leave PROFILE.cache there when done", 0},
    {"cache", "FILE", "use and keep this feature cache, which many runs may share one after the other", 0},
    {"dump", "FILE.npy", "logits (samples, exits + 1, classes) out of fold, the untouched network's last", 0},
    {"without", "PART,PART", "leave parts of the method out: normalise, prior, heads, gate (for studies)", 0},
    {"skip-bad", NULL, "leave unreadable photos out with a warning", 0},
    EXN_COMMON_OPTIONS};

const exn_command exn_command_personalise = {
    .name = "personalise",
    .operands = "PROFILE DATA",
    .brief = "teach a profile's exits one person's samples",
    .help =
        "Passes every sample once through the frozen network, trains the exits on what they see, judges them, decides\n"
        "which of them are used from which confidence on, and replaces the profile. Ctrl-C pauses (exit status 3):\n"
        "what was done stays in PROFILE.cache and PROFILE.progress, and --resume goes on. DATA: see "
        "tools/README.md.\n\n"
        "Example: exeunt personalise me.safetensors labelled/ --unlabelled camera-roll/",
    .least = 2,
    .most = 2,
    .options = options,
    .run = run};
