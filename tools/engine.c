/* SPDX-License-Identifier: Apache-2.0
 * Persons, engines and feeders: from files to something that runs. */
#include "tools/engine.h"

#include <limits.h>
#include <string.h>

exn_status exn_person_open(exn_person *out, exn_tool *tool, const char *profile_path, const char *model_path) {
    char named[PATH_MAX];
    if (model_path == NULL) {
        EXN_TRY(exn_profile_model_path(named, sizeof named, tool->ctx, profile_path));
        model_path = named;
    }
    exn_person person = {0};
    exn_status status = exn_model_open(&person.model, tool->ctx, model_path, NULL);
    if (status != EXN_OK) return exn_fail_in(tool->ctx, status, "the network of %s", profile_path);
    status = exn_profile_open(&person.profile, person.model, profile_path, NULL);
    if (status != EXN_OK) {
        exn_person_close(&person);
        return status;
    }
    *out = person;
    return EXN_OK;
}

void exn_person_close(exn_person *person) {
    exn_profile_destroy(person->profile);
    exn_model_destroy(person->model);
    *person = (exn_person){0};
}

exn_status exn_target_read(exn_target *out, exn_tool *tool) {
    static const char *const names[] = {"keep", "untouched", NULL};
    size_t which = 0;
    if (exn_args_text(tool->args, "target") == NULL) return EXN_OK;
    if (!exn_args_choice(&which, tool->args, "target", names)) return EXN_E_INVALID;
    *out = (exn_target)(which + 1);
    return EXN_OK;
}

exn_status exn_person_turn(exn_person *person, exn_tool *tool) {
    exn_target target = EXN_TARGET_PROFILE;
    EXN_TRY(exn_target_read(&target, tool));
    return exn_profile_set_target(person->profile, target);
}

exn_status exn_person_data(exn_dataset **out, exn_tool *tool, const exn_person *person, const char *path) {
    const exn_dataset_wish wish = {.names = (const char *const *)person->profile->classes,
                                   .class_count = person->profile->class_count,
                                   .side = person->profile->preprocess.size};
    return exn_dataset_open_wished(out, tool->ctx, path, &wish);
}

bool exn_engine_arithmetic(exn_plan_options *out, exn_tool *tool) {
    static const char *const arithmetics[] = {"exact", "fast", NULL};
    size_t arithmetic = EXN_EXACT, megabytes = EXN_FAST_BYTES >> 20;
    if (!exn_args_choice(&arithmetic, tool->args, "arithmetic", arithmetics)) return false;
    if (!exn_args_count(&megabytes, tool->args, "fast-memory", 1, 1u << 20)) return false;
    out->arithmetic = (exn_arithmetic)arithmetic;
    out->fast_bytes = megabytes << 20;
    return true;
}

static exn_status make_plan(exn_plan **out, exn_tool *tool, const exn_graph *graph, exn_plan_options options) {
    options.threads = tool->threads;
    options.packed = exn_args_text(tool->args, "packed");
    if (!exn_engine_arithmetic(&options, tool)) return EXN_E_INVALID;
    return exn_plan_create(out, graph, &options);
}

exn_status exn_engine_plan(exn_plan **out, exn_tool *tool, const exn_graph *graph, const exn_kernel_set *kernels,
                           const exn_value_id *outputs, size_t count) {
    return make_plan(out, tool, graph,
                     (exn_plan_options){.kernels = kernels, .outputs = outputs, .output_count = count});
}

static exn_status finish(exn_engine *engine, exn_tool *tool, const exn_profile *profile, const exn_engine *lender) {
    const exn_network *network = &engine->network;
    const exn_plan_options options = {.kernels = &profile->model->kernels,
                                      .outputs = network->logits,
                                      .output_count = network->exit_count,
                                      .lends = lender == NULL,
                                      .lender = lender != NULL ? lender->plan : NULL};
    exn_status status = make_plan(&engine->plan, tool, network->graph, options);
    if (status == EXN_OK) status = exn_exec_create(&engine->exec, tool->ctx, engine->plan);
    if (status == EXN_OK) status = exn_exec_keep_scores(engine->exec);
    if (status != EXN_OK) exn_engine_close(engine);
    return status;
}

exn_status exn_engine_open(exn_engine *out, exn_tool *tool, const exn_profile *profile, exn_network_part part,
                           const exn_engine *lender) {
    exn_engine engine = {.ctx = tool->ctx};
    EXN_TRY(exn_network_build(&engine.network, profile, 1, part));
    EXN_TRY(finish(&engine, tool, profile, lender));
    *out = engine;
    return EXN_OK;
}

exn_status exn_engine_open_ruled(exn_engine *out, exn_tool *tool, const exn_profile *profile,
                                 const exn_exit_rule *rules, const exn_engine *lender) {
    exn_engine engine = {.ctx = tool->ctx};
    EXN_TRY(exn_network_build_ruled(&engine.network, profile, 1, rules));
    EXN_TRY(finish(&engine, tool, profile, lender));
    *out = engine;
    return EXN_OK;
}

exn_status exn_engine_open_single(exn_engine *out, exn_tool *tool, const exn_profile *profile, size_t exit,
                                  const exn_engine *lender) {
    exn_engine engine = {.ctx = tool->ctx};
    EXN_TRY(exn_network_build_single(&engine.network, profile, 1, exit));
    EXN_TRY(finish(&engine, tool, profile, lender));
    *out = engine;
    return EXN_OK;
}

void exn_engine_close(exn_engine *engine) {
    if (engine->ctx == NULL) return;
    exn_exec_destroy(engine->exec);
    exn_plan_destroy(engine->plan);
    exn_network_destroy(&engine->network, engine->ctx);
    *engine = (exn_engine){0};
}

exn_status exn_feeder_open(exn_feeder *out, const exn_profile *profile) {
    const exn_model *model = profile->model;
    const size_t count = model->channels * model->height * model->width;
    exn_feeder feeder = {.profile = profile};
    exn_status status = exn_resizer_create(&feeder.resizer, profile->ctx);
    if (status == EXN_OK) {
        feeder.hwc = exn_malloc(profile->ctx, count, sizeof(float));
        feeder.chw = exn_malloc(profile->ctx, count, sizeof(float));
        feeder.plain = profile->normal.used ? exn_malloc(profile->ctx, count, sizeof(float)) : feeder.chw;
        if (feeder.hwc == NULL || feeder.chw == NULL || feeder.plain == NULL) status = EXN_E_NOMEM;
    }
    if (status != EXN_OK) {
        exn_feeder_close(&feeder);
        return status;
    }
    *out = feeder;
    return EXN_OK;
}

void exn_feeder_close(exn_feeder *feeder) {
    if (feeder->profile == NULL) return;
    exn_resizer_destroy(feeder->resizer);
    exn_free(feeder->profile->ctx, feeder->hwc);
    if (feeder->plain != feeder->chw) exn_free(feeder->profile->ctx, feeder->plain);
    exn_free(feeder->profile->ctx, feeder->chw);
    *feeder = (exn_feeder){0};
}

static exn_status prepare_image(float *chw, exn_feeder *feeder, const exn_image *image, const exn_preprocess *how) {
    const exn_model *model = feeder->profile->model;
    const size_t pixels = model->height * model->width;
    EXN_TRY(
        exn_preprocess_image(feeder->hwc, feeder->resizer, image, how, model->height, model->width, model->channels));
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < model->channels; c++) chw[c * pixels + p] = feeder->hwc[p * model->channels + c];
    return EXN_OK;
}

/* Tensors are ready for the network: no camera is undone in them. */
exn_status exn_feeder_prepare(exn_feeder *feeder, exn_dataset *data, size_t index) {
    const exn_model *model = feeder->profile->model;
    const size_t pixels = model->height * model->width;
    exn_datum sample;
    EXN_TRY(exn_dataset_read_for(&sample, data, index, model->channels, model->height, model->width));
    if (sample.chw != NULL) {
        memcpy(feeder->chw, sample.chw, model->channels * pixels * sizeof(float));
        if (feeder->plain != feeder->chw) memcpy(feeder->plain, sample.chw, model->channels * pixels * sizeof(float));
        return EXN_OK;
    }
    const exn_profile *profile = feeder->profile;
    const exn_preprocess how = exn_normalisation_fold(&profile->preprocess, &profile->normal);
    exn_status status = prepare_image(feeder->chw, feeder, &sample.image, &how);
    if (status == EXN_OK && feeder->plain != feeder->chw)
        status = prepare_image(feeder->plain, feeder, &sample.image, &profile->preprocess);
    return status == EXN_OK ? EXN_OK : exn_fail_in(profile->ctx, status, "%s", exn_dataset_name(data, index));
}

void exn_lines_free(exn_context *ctx, char **lines, size_t count) {
    for (size_t i = 0; i < count; i++) exn_free(ctx, lines[i]);
    exn_free(ctx, lines);
}

static exn_status split_lines(char **lines, size_t *count, exn_context *ctx, char *text, size_t most) {
    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n');
        char *next = end != NULL ? end + 1 : line + strlen(line);
        if (end != NULL) *end = '\0';
        const size_t length = strlen(line);
        if (length > 0 && line[length - 1] == '\r') line[length - 1] = '\0';
        if (*count == most) return exn_fail(ctx, EXN_E_INVALID, "more than %zu lines", most);
        lines[*count] = exn_strdup(ctx, line);
        if (lines[*count] == NULL) return EXN_E_NOMEM;
        (*count)++;
        line = next;
    }
    return EXN_OK;
}

exn_status exn_lines_read(char ***out, size_t *count, exn_context *ctx, const char *path, size_t most) {
    uint8_t *text = NULL;
    size_t bytes = 0, have = 0;
    EXN_TRY(exn_file_read(&text, &bytes, ctx, path, (size_t)1 << 20));
    char **lines = exn_calloc(ctx, most, sizeof *lines);
    exn_status status = lines == NULL ? EXN_E_NOMEM : EXN_OK;
    if (status == EXN_OK && memchr(text, 0, bytes) != NULL) status = exn_fail(ctx, EXN_E_FORMAT, "is not text");
    if (status == EXN_OK) status = split_lines(lines, &have, ctx, (char *)text, most);
    exn_free(ctx, text);
    if (status != EXN_OK) {
        if (lines != NULL) exn_lines_free(ctx, lines, have);
        return exn_fail_in(ctx, status, "%s", path);
    }
    *out = lines;
    *count = have;
    return EXN_OK;
}
