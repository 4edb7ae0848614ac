/* SPDX-License-Identifier: Apache-2.0
 * General data from folders into a pretrainer. */
#include "tools/pretrain.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/dataset_private.h"
#include "tools/meter.h"
#include "tools/stop.h"
#include "train/journal.h"
#include "train/profile.h"

typedef struct teaching {
    exn_tool *tool;
    exn_profile *profile;
    exn_pretrainer *pretrainer;
    exn_dataset **person; /* one a person; one in all without --people */
    size_t persons, photos, done;
    bool people, skip_bad;
    exn_meter meter;
    exn_pretrained *out;
} teaching;

exn_status exn_pretrain_wanted(bool *wanted, exn_tool *tool) {
    static const char *const companions[] = {"people", "refit", "epochs", "views", "cache", "time-budget", "skip-bad"};
    *wanted = exn_args_text(tool->args, "pretrain") != NULL;
    for (size_t i = 0; !*wanted && i < sizeof companions / sizeof *companions; i++)
        if (exn_args_text(tool->args, companions[i]) != NULL)
            return exn_tool_usage(tool, "--%s needs --pretrain", companions[i]);
    return EXN_OK;
}

/* ---- data ---- */

static exn_status open_one(teaching *t, const char *path) {
    exn_dataset_wish wish = {.names = (const char *const *)t->profile->classes,
                             .class_count = t->profile->class_count,
                             .side = t->profile->preprocess.size,
                             .skip_unknown = t->skip_bad};
    EXN_TRY(exn_dataset_open_wished(&t->person[t->persons], t->tool->ctx, path, &wish));
    exn_dataset *data = t->person[t->persons++];
    t->out->skipped += exn_dataset_skipped(data);
    t->photos += exn_dataset_count(data);
    if (exn_dataset_labelled(data) == exn_dataset_count(data)) return EXN_OK;
    return exn_fail(t->tool->ctx, EXN_E_INVALID, "%s: general data needs a label for every photo", path);
}

/* Every folder in DATA is a person; files beside them are none of ours. */
static exn_status open_people(teaching *t, const char *path) {
    exn_context *ctx = t->tool->ctx;
    char **names = NULL;
    size_t count = 0;
    EXN_TRY(exn_dataset_list(&names, &count, ctx, path));
    t->person = exn_calloc(ctx, count, sizeof(exn_dataset *));
    exn_status status = t->person == NULL ? EXN_E_NOMEM : EXN_OK;
    for (size_t i = 0; i < count && status == EXN_OK; i++) {
        struct stat info;
        char *full = exn_dataset_join(ctx, path, names[i]);
        if (full == NULL)
            status = EXN_E_NOMEM;
        else if (stat(full, &info) == 0 && S_ISDIR(info.st_mode))
            status = open_one(t, full);
        exn_free(ctx, full);
    }
    exn_dataset_free_names(ctx, names, count);
    if (status == EXN_OK && t->persons == 0)
        status = exn_fail(ctx, EXN_E_INVALID, "%s: no folder of a person in it", path);
    return status;
}

static exn_status open_data(teaching *t, const char *path) {
    if (t->people) return open_people(t, path);
    t->person = exn_calloc(t->tool->ctx, 1, sizeof(exn_dataset *));
    return t->person == NULL ? EXN_E_NOMEM : open_one(t, path);
}

static void close_data(teaching *t) {
    for (size_t i = 0; t->person != NULL && i < t->persons; i++) exn_dataset_close(t->person[i]);
    exn_free(t->tool->ctx, t->person);
}

/* ---- extraction ---- */

static exn_status add_photo(teaching *t, exn_dataset *data, size_t index, size_t group) {
    const exn_model *model = t->profile->model;
    exn_context *ctx = t->tool->ctx;
    const int64_t label = exn_dataset_label(data, index);
    exn_datum sample;
    EXN_TRY(exn_dataset_read_for(&sample, data, index, model->channels, model->height, model->width));
    const exn_status status = sample.chw == NULL ? exn_pretrainer_add(t->pretrainer, &sample.image, label, group)
                                                 : exn_pretrainer_add_tensor(t->pretrainer, sample.chw, label, group);
    return status == EXN_OK ? EXN_OK : exn_fail_in(ctx, status, "%s", exn_dataset_name(data, index));
}

static exn_status add_person(teaching *t, size_t person) {
    exn_dataset *data = t->person[person];
    EXN_TRY(exn_dataset_read_ahead(data, t->tool->threads, NULL));
    for (size_t i = 0; i < exn_dataset_count(data); i++) {
        if (exn_stop_asked) return EXN_PAUSED;
        const exn_status status = add_photo(t, data, i, t->people ? person : EXN_UNGROUPED);
        EXN_TRY(exn_dataset_excuse(data, status, t->skip_bad));
        *(status == EXN_OK ? &t->out->photos : &t->out->skipped) += 1;
        exn_meter_show(&t->meter, ++t->done, t->photos);
    }
    return exn_dataset_read_ahead(data, 1, NULL);
}

static exn_status extract(teaching *t) {
    const double begin = exn_now();
    exn_status status = EXN_OK;
    t->meter = exn_meter_begin("extracting", "photos");
    for (size_t i = 0; i < t->persons && status == EXN_OK; i++) status = add_person(t, i);
    exn_meter_end(&t->meter);
    t->out->extract_s = exn_now() - begin;
    return status;
}

/* ---- training ---- */

static bool watch(void *user, const exn_progress *progress) {
    exn_meter_show(user, progress->done, progress->total);
    return !exn_stop_asked;
}

static exn_status train(teaching *t) {
    const double begin = exn_now();
    exn_meter meter = exn_meter_begin("training", "steps");
    const exn_status status = exn_pretrainer_run(t->pretrainer, watch, &meter);
    exn_meter_end(&meter);
    t->out->train_s = exn_now() - begin;
    return status;
}

static exn_status create(teaching *t, const char *cache, const char *progress) {
    exn_args *args = t->tool->args;
    exn_pretrainer_options options = {.struct_size = sizeof options, .cache_path = cache, .progress_path = progress};
    if (!exn_args_number(&options.time_budget_s, args, "time-budget", 0.1, 1e9) ||
        !exn_args_count(&options.epochs, args, "epochs", 1, 10000) ||
        !exn_args_count(&options.views, args, "views", 1, 16))
        return EXN_E_INVALID;
    options.refit = exn_args_text(args, "refit") != NULL;
    options.costs = exn_args_text(args, "costs");
    options.choose_heads = exn_args_text(args, "head") == NULL || !strcmp(exn_args_text(args, "head"), "auto");
    options.prune = exn_args_text(args, "at") == NULL; /* who names taps means them */
    return exn_pretrainer_create(&t->pretrainer, t->profile, &options);
}

static exn_status teach(teaching *t, const char *cache, const char *progress) {
    EXN_TRY(open_data(t, exn_args_text(t->tool->args, "pretrain")));
    EXN_TRY(create(t, cache, progress));
    EXN_TRY(extract(t));
    t->out->persons = t->people ? t->persons : 0;
    return train(t);
}

static exn_status name_files(char cache[PATH_MAX], char progress[PATH_MAX], exn_tool *tool, const char *path) {
    const char *kept = exn_args_text(tool->args, "cache");
    const int c = snprintf(cache, PATH_MAX, "%s%s", kept != NULL ? kept : path, kept != NULL ? "" : ".pretrain");
    const int p = snprintf(progress, PATH_MAX, "%s.progress", path);
    if (c >= 0 && c < PATH_MAX && p >= 0 && p + 2 < PATH_MAX) return EXN_OK;
    return exn_fail(tool->ctx, EXN_E_INVALID, "%s: name too long", path);
}

exn_status exn_pretrain_profile(exn_pretrained *out, exn_tool *tool, exn_profile *profile, const char *path) {
    char cache[PATH_MAX], progress[PATH_MAX];
    EXN_TRY(name_files(cache, progress, tool, path));
    *out = (exn_pretrained){0};
    teaching t = {.tool = tool,
                  .profile = profile,
                  .people = exn_args_text(tool->args, "people") != NULL,
                  .skip_bad = exn_args_text(tool->args, "skip-bad") != NULL,
                  .out = out};
    exn_stop_catch(true);
    const exn_status status = teach(&t, cache, progress);
    exn_stop_catch(false);
    struct stat info;
    if (stat(cache, &info) == 0) out->cache_bytes = (uint64_t)info.st_size;
    exn_pretrainer_destroy(t.pretrainer);
    close_data(&t);
    if (status == EXN_PAUSED) fprintf(stderr, "exeunt: paused; the same command goes on\n");
    return status;
}

exn_status exn_pretrain_forget(exn_tool *tool, const char *path) {
    char cache[PATH_MAX], progress[PATH_MAX];
    EXN_TRY(name_files(cache, progress, tool, path));
    if (exn_args_text(tool->args, "cache") == NULL) unlink(cache);
    return exn_journal_remove(tool->ctx, progress);
}
