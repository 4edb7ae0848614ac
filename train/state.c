/* SPDX-License-Identifier: Apache-2.0
 * The profile's JSON: written with every field in a fixed order, read as the bytes of a stranger. */
#include "train/state.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "exeunt.profile"
#define SEED_TEXT_BYTES 24u

static const char *const order_names[] = {"rgb", "bgr", "gray"};

/* ---- writing ---- */

/* JSON knows no NaN: unknown is null. */
static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *exn_preprocess_write(const exn_preprocess *p) {
    json_t *mean = json_array(), *deviation = json_array();
    for (size_t i = 0; i < 3; i++) {
        json_array_append_new(mean, json_real((double)p->mean[i]));
        json_array_append_new(deviation, json_real((double)p->deviation[i]));
    }
    return json_pack("{s:I, s:o, s:o, s:s}", "size", (json_int_t)p->size, "mean", mean, "deviation", deviation, "order",
                     order_names[p->order]);
}

static json_t *write_general(const exn_exit *e) {
    return json_pack("{s:o, s:o, s:o}", "temperature", number((double)e->general_temperature), "accuracy",
                     number(e->general_accuracy), "nll", number(e->general_nll));
}

static json_t *write_exit(const exn_exit *e) {
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o}", "tap",
                  e->tap, "kind", exn_head_kind_names[e->head.kind], "c", (json_int_t)e->head.c, "h",
                  (json_int_t)e->head.h, "w", (json_int_t)e->head.w, "trained", e->trained, "enabled", e->rule.enabled,
                  "temperature", (double)e->rule.temperature, "threshold", (double)e->rule.threshold, "accuracy",
                  number(e->accuracy), "nll", number(e->nll), "agreement", number(e->agreement), "share",
                  number(e->share), "cost_ms", number(e->cost_ms), "decision", e->decision ? e->decision : "",
                  "pretrained", e->general.kind != EXN_HEAD_AUTO, "general", write_general(e));
    if (object && e->gate.tried) json_object_set_new(object, "evidence", exn_gate_write(&e->gate));
    return object;
}

static json_t *write_checksums(const exn_tensor_list *tensors) {
    json_t *object = json_object();
    for (size_t i = 0; i < tensors->count; i++) {
        char text[EXN_HASH_TEXT_BYTES];
        exn_hash_text(text, tensors->tensors[i].data, tensors->tensors[i].bytes);
        json_object_set_new(object, tensors->tensors[i].name, json_string(text));
    }
    return object;
}

/* What general data taught beside the heads: only what there is. */
static void write_general_part(json_t *root, const exn_profile *profile) {
    json_t *general = json_object_get(root, "general");
    if (!profile->pixels.photos) return;
    if (!general) json_object_set_new(root, "general", general = json_object());
    json_object_set_new(general, "pixels", exn_pixels_write(&profile->pixels));
}

exn_status exn_state_write(char **out, const exn_profile *profile, const exn_tensor_list *tensors,
                           const char *model_path) {
    char seed[SEED_TEXT_BYTES];
    snprintf(seed, sizeof seed, "%" PRIu64, profile->seed);
    json_t *classes = json_array(), *exits = json_array(), *checksums = write_checksums(tensors);
    for (size_t i = 0; i < profile->class_count; i++) json_array_append_new(classes, json_string(profile->classes[i]));
    for (size_t i = 0; i < profile->exit_count; i++) json_array_append_new(exits, write_exit(&profile->exits[i]));
    /* What cannot be JSON was left out: then nothing may be written. Asked now, because packing takes the parts, and drops
     * them where it fails. */
    const bool whole = json_array_size(classes) == profile->class_count &&
                       json_array_size(exits) == profile->exit_count && json_object_size(checksums) == tensors->count;
    json_t *root = json_pack(
        "{s:s, s:{s:i, s:i}, s:{s:s, s:I, s:s, s:s}, s:o, s:o, s:s, s:I, s:I, s:o, s:s, s:o, s:o, s:o}", "schema",
        SCHEMA, "version", "major", EXN_STATE_MAJOR, "minor", EXN_STATE_MINOR, "network", "path", model_path, "bytes",
        (json_int_t)profile->model->file.size, "hash", profile->network_hash, "graph_hash", profile->model->graph_hash,
        "preprocess", exn_preprocess_write(&profile->preprocess), "classes", classes, "seed", seed, "labelled",
        (json_int_t)profile->labelled, "unlabelled", (json_int_t)profile->unlabelled, "accuracy",
        number(profile->accuracy), "costs", profile->costs ? profile->costs : "", "exits", exits, "policy",
        exn_points_write(profile), "checksums", checksums);
    if (root) write_general_part(root, profile);
    if (root && profile->prior.samples) json_object_set_new(root, "prior", exn_prior_write(&profile->prior));
    if (root && profile->history.count)
        json_object_set_new(root, "history", exn_history_write(&profile->history, profile->exit_count));
    if (root && profile->normal.photos)
        json_object_set_new(json_object_get(root, "preprocess"), "personal", exn_normalisation_write(&profile->normal));
    char *text = root && whole ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text) return exn_fail(profile->ctx, EXN_E_INVALID, "a name in the profile is not UTF-8, or memory is short");
    *out = text;
    return EXN_OK;
}

/* ---- reading: every helper leaves its message in the context ---- */

static exn_status bad(exn_context *ctx, const char *field) {
    return exn_fail(ctx, EXN_E_FORMAT, EXN_STATE_TENSOR ": field %s is missing or out of range", field);
}

static exn_status get_size(size_t *out, exn_context *ctx, const json_t *object, const char *field) {
    const json_t *value = json_object_get(object, field);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > EXN_ELEMENTS_MAX)
        return bad(ctx, field);
    *out = (size_t)json_integer_value(value);
    return EXN_OK;
}

static exn_status get_text(const char **out, exn_context *ctx, const json_t *object, const char *field) {
    *out = json_string_value(json_object_get(object, field));
    return *out ? EXN_OK : bad(ctx, field);
}

static exn_status copy_text(char **out, exn_context *ctx, const json_t *object, const char *field) {
    const char *text;
    EXN_TRY(get_text(&text, ctx, object, field));
    *out = exn_strdup(ctx, text);
    return *out ? EXN_OK : EXN_E_NOMEM;
}

/* A number, or null where that may be: NaN. */
static exn_status get_number(double *out, exn_context *ctx, const json_t *object, const char *field, bool or_null) {
    const json_t *value = json_object_get(object, field);
    if (or_null && json_is_null(value)) {
        *out = NAN;
        return EXN_OK;
    }
    if (!json_is_number(value)) return bad(ctx, field);
    *out = json_number_value(value);
    return EXN_OK;
}

static exn_status get_flag(bool *out, exn_context *ctx, const json_t *object, const char *field) {
    const json_t *value = json_object_get(object, field);
    if (!json_is_boolean(value)) return bad(ctx, field);
    *out = json_boolean_value(value);
    return EXN_OK;
}

static exn_status get_name(size_t *out, exn_context *ctx, const json_t *object, const char *field,
                           const char *const names[], size_t count) {
    const char *text;
    EXN_TRY(get_text(&text, ctx, object, field));
    for (size_t i = 0; i < count; i++)
        if (!strcmp(text, names[i])) {
            *out = i;
            return EXN_OK;
        }
    return bad(ctx, field);
}

static exn_status get_triple(float out[3], exn_context *ctx, const json_t *object, const char *field) {
    const json_t *array = json_object_get(object, field);
    if (json_array_size(array) != 3) return bad(ctx, field);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value) || !isfinite((float)json_number_value(value))) return bad(ctx, field);
        out[i] = (float)json_number_value(value);
    }
    return EXN_OK;
}

static exn_status read_preprocess(exn_profile *profile, const json_t *root) {
    exn_context *ctx = profile->ctx;
    const json_t *object = json_object_get(root, "preprocess");
    exn_preprocess *p = &profile->preprocess;
    size_t order = 0;
    EXN_TRY(get_size(&p->size, ctx, object, "size"));
    EXN_TRY(get_triple(p->mean, ctx, object, "mean"));
    EXN_TRY(get_triple(p->deviation, ctx, object, "deviation"));
    EXN_TRY(get_name(&order, ctx, object, "order", order_names, sizeof order_names / sizeof *order_names));
    p->order = (exn_channel_order)order;
    return exn_preprocess_complete(p, ctx, profile->model->height, profile->model->width) == EXN_OK
               ? EXN_OK
               : bad(ctx, "preprocess");
}

static exn_status read_classes(exn_profile *profile, const json_t *root) {
    const json_t *array = json_object_get(root, "classes");
    const size_t count = json_array_size(array);
    if (count < profile->model->classes || count > EXN_CLASSES_MAX) return bad(profile->ctx, "classes");
    profile->classes = exn_calloc(profile->ctx, count, sizeof *profile->classes);
    if (!profile->classes) return EXN_E_NOMEM;
    profile->class_count = count;
    for (size_t i = 0; i < profile->class_count; i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (!name || !exn_name_is_clean(name)) return bad(profile->ctx, "classes");
        profile->classes[i] = exn_strdup(profile->ctx, name);
        if (!profile->classes[i]) return EXN_E_NOMEM;
    }
    return EXN_OK;
}

static exn_status read_rule(exn_exit *e, exn_context *ctx, const json_t *object) {
    double temperature = 0, threshold = 0;
    EXN_TRY(get_flag(&e->trained, ctx, object, "trained"));
    EXN_TRY(get_flag(&e->rule.enabled, ctx, object, "enabled"));
    EXN_TRY(get_number(&temperature, ctx, object, "temperature", false));
    EXN_TRY(get_number(&threshold, ctx, object, "threshold", false));
    e->rule.temperature = (float)temperature;
    e->rule.threshold = (float)threshold;
    if (!isfinite(e->rule.temperature) || !(e->rule.temperature > 0)) return bad(ctx, "temperature");
    if (!(e->rule.threshold >= 0 && e->rule.threshold <= 2)) return bad(ctx, "threshold");
    const bool last = e->head.kind == EXN_HEAD_CLASSIFIER;
    if (last ? !e->rule.enabled : e->rule.enabled && !e->trained) return bad(ctx, "enabled");
    EXN_TRY(get_number(&e->accuracy, ctx, object, "accuracy", true));
    EXN_TRY(get_number(&e->nll, ctx, object, "nll", true));
    EXN_TRY(get_number(&e->agreement, ctx, object, "agreement", true));
    EXN_TRY(get_number(&e->share, ctx, object, "share", true));
    EXN_TRY(get_number(&e->cost_ms, ctx, object, "cost_ms", false));
    return copy_text(&e->decision, ctx, object, "decision");
}

/* Files of version 1.0 say nothing of general heads. */
static exn_status read_general(exn_exit *e, const exn_model *model, const json_t *object) {
    exn_context *ctx = model->ctx;
    const json_t *general = json_object_get(object, "general");
    bool pretrained = false;
    double temperature = NAN;
    e->general_temperature = NAN;
    e->general_accuracy = e->general_nll = NAN;
    if (!general && !json_object_get(object, "pretrained")) return EXN_OK;
    EXN_TRY(get_flag(&pretrained, ctx, object, "pretrained"));
    EXN_TRY(get_number(&temperature, ctx, general, "temperature", true));
    EXN_TRY(get_number(&e->general_accuracy, ctx, general, "accuracy", true));
    EXN_TRY(get_number(&e->general_nll, ctx, general, "nll", true));
    e->general_temperature = (float)temperature;
    if (!isnan(temperature) && (!isfinite(e->general_temperature) || !(e->general_temperature > 0)))
        return bad(ctx, "general temperature");
    if (!pretrained) return EXN_OK;
    exn_head head = {.kind = e->head.kind, .c = e->head.c, .h = e->head.h, .w = e->head.w, .classes = model->classes};
    EXN_TRY(exn_head_allocate(&head, ctx));
    e->general = head;
    return EXN_OK;
}

/* Exits ascend over the model's taps; only the last one is the classifier. */
static exn_status read_exit(exn_profile *profile, size_t index, size_t *next_tap, const json_t *object) {
    exn_context *ctx = profile->ctx;
    const exn_model *model = profile->model;
    exn_exit *e = &profile->exits[index];
    size_t kind = 0;
    EXN_TRY(copy_text(&e->tap, ctx, object, "tap"));
    EXN_TRY(get_name(&kind, ctx, object, "kind", exn_head_kind_names, EXN_HEAD_KINDS));
    const bool last = index + 1 == profile->exit_count;
    if (kind == EXN_HEAD_AUTO || (kind == EXN_HEAD_CLASSIFIER) != last) return bad(ctx, "kind");
    exn_head head = {.kind = (exn_head_kind)kind, .classes = profile->class_count};
    EXN_TRY(get_size(&head.c, ctx, object, "c"));
    EXN_TRY(get_size(&head.h, ctx, object, "h"));
    EXN_TRY(get_size(&head.w, ctx, object, "w"));
    size_t tap = *next_tap;
    while (tap < model->tap_count && strcmp(model->taps[tap].name, e->tap) != 0) tap++;
    if (tap == model->tap_count || (last && tap + 1 != model->tap_count))
        return exn_fail(ctx, EXN_E_FORMAT,
                        EXN_STATE_TENSOR ": exit %zu reads %.100s, where the network has no such tap", index, e->tap);
    const exn_tap *at = &model->taps[tap];
    if (head.c != at->c || head.h != at->h || head.w != at->w) return bad(ctx, "c, h, w");
    *next_tap = tap + 1;
    EXN_TRY(exn_head_allocate(&head, ctx));
    e->head = head;
    EXN_TRY(read_general(e, model, object));
    const json_t *evidence = json_object_get(object, "evidence");
    if (evidence && !exn_gate_read(&e->gate, evidence)) return bad(ctx, "evidence");
    return read_rule(e, ctx, object);
}

static exn_status read_exits(exn_profile *profile, const json_t *root) {
    const json_t *array = json_object_get(root, "exits");
    const size_t count = json_array_size(array);
    if (count < 1 || count > EXN_EXITS_MAX) return bad(profile->ctx, "exits");
    profile->exits = exn_calloc(profile->ctx, count, sizeof *profile->exits);
    if (!profile->exits) return EXN_E_NOMEM;
    profile->exit_count = count;
    size_t next_tap = 0;
    for (size_t i = 0; i < count; i++) EXN_TRY(read_exit(profile, i, &next_tap, json_array_get(array, i)));
    return EXN_OK;
}

/* Size and graph, so that weights which no exit needs stay unread; exn_profile_verify asks for the weights too. Profiles
 * before 1.2 know the hash of all bytes only. */
static exn_status check_network(exn_profile *profile, const json_t *root) {
    const exn_model *model = profile->model;
    const json_t *network = json_object_get(root, "network");
    const char *all = NULL, *stated = NULL;
    char actual[EXN_HASH_TEXT_BYTES];
    size_t bytes = 0;
    EXN_TRY(get_size(&bytes, profile->ctx, network, "bytes"));
    EXN_TRY(get_text(&all, profile->ctx, network, "hash"));
    if (strlen(all) + 1 != sizeof profile->network_hash) return bad(profile->ctx, "hash");
    strcpy(profile->network_hash, all);
    if (json_object_get(network, "graph_hash")) {
        EXN_TRY(get_text(&stated, profile->ctx, network, "graph_hash"));
        strcpy(actual, model->graph_hash);
    } else {
        stated = all;
        exn_model_hash(actual, model);
    }
    if (bytes == model->file.size && !strcmp(stated, actual)) return EXN_OK;
    return exn_fail(profile->ctx, EXN_E_INVALID,
                    "the profile was made for another network: %zu bytes with hash %.40s, not %zu bytes with hash %s",
                    bytes, stated, model->file.size, actual);
}

static exn_status check_tensors(exn_context *ctx, const exn_tensor_list *tensors, const json_t *root) {
    const json_t *checksums = json_object_get(root, "checksums");
    for (size_t i = 0; i < tensors->count; i++) {
        const exn_named_tensor *tensor = &tensors->tensors[i];
        if (!strcmp(tensor->name, EXN_STATE_TENSOR) || !strcmp(tensor->name, EXN_STATE_HASH_TENSOR)) continue;
        char text[EXN_HASH_TEXT_BYTES];
        exn_hash_text(text, tensor->data, tensor->bytes);
        const char *stated = json_string_value(json_object_get(checksums, tensor->name));
        if (!stated || strcmp(stated, text) != 0)
            return exn_fail(ctx, EXN_E_FORMAT, "tensor %.64s: its checksum does not match", tensor->name);
    }
    return EXN_OK;
}

/* NULL with a message: no profile, damaged, or too new. */
static json_t *load(exn_status *status, exn_context *ctx, const exn_tensor_list *tensors) {
    *status = EXN_OK;
    const exn_named_tensor *state = exn_tensor_list_find(tensors, EXN_STATE_TENSOR);
    if (!state || state->dtype != EXN_U8) {
        *status = exn_fail(ctx, EXN_E_FORMAT, "no tensor " EXN_STATE_TENSOR ": not a profile");
        return NULL;
    }
    char text[EXN_HASH_TEXT_BYTES];
    exn_hash_text(text, state->data, state->bytes);
    const exn_named_tensor *hash = exn_tensor_list_find(tensors, EXN_STATE_HASH_TENSOR);
    if (!hash || hash->bytes != sizeof text - 1 || memcmp(hash->data, text, sizeof text - 1) != 0) {
        *status = exn_fail(ctx, EXN_E_FORMAT, "tensor " EXN_STATE_TENSOR ": its checksum does not match");
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadb(state->data, state->bytes, JSON_REJECT_DUPLICATES, &error);
    const char *schema = json_string_value(json_object_get(root, "schema"));
    const json_t *version = json_object_get(root, "version");
    size_t major = 0;
    if (!schema || strcmp(schema, SCHEMA) != 0)
        *status = exn_fail(ctx, EXN_E_FORMAT, EXN_STATE_TENSOR ": not the state of a profile");
    else
        *status = get_size(&major, ctx, version, "major");
    if (*status == EXN_OK && major != EXN_STATE_MAJOR)
        *status =
            exn_fail(ctx, EXN_E_UNSUPPORTED, "profile of version %zu, this library reads %d", major, EXN_STATE_MAJOR);
    if (*status == EXN_OK) return root;
    json_decref(root);
    return NULL;
}

static exn_status read_rest(exn_profile *profile, const json_t *root) {
    exn_context *ctx = profile->ctx;
    const char *seed;
    EXN_TRY(read_preprocess(profile, root));
    EXN_TRY(read_classes(profile, root));
    EXN_TRY(get_text(&seed, ctx, root, "seed"));
    char *end;
    profile->seed = strtoull(seed, &end, 10);
    if (seed[0] < '0' || seed[0] > '9' || *end) return bad(ctx, "seed");
    EXN_TRY(get_size(&profile->labelled, ctx, root, "labelled"));
    EXN_TRY(get_size(&profile->unlabelled, ctx, root, "unlabelled"));
    EXN_TRY(get_number(&profile->accuracy, ctx, root, "accuracy", true));
    EXN_TRY(copy_text(&profile->costs, ctx, root, "costs"));
    EXN_TRY(read_exits(profile, root));
    const json_t *pixels = json_object_get(json_object_get(root, "general"), "pixels");
    if (pixels && !exn_pixels_read(&profile->pixels, pixels)) return bad(ctx, "general.pixels");
    const json_t *personal = json_object_get(json_object_get(root, "preprocess"), "personal");
    const json_t *prior = json_object_get(root, "prior");
    if (prior && !exn_prior_read(&profile->prior, prior)) return bad(ctx, "prior");
    if (personal && !exn_normalisation_read(&profile->normal, personal)) return bad(ctx, "preprocess.personal");
    const json_t *history = json_object_get(root, "history");
    if (history && !exn_history_read(&profile->history, history, profile->exit_count)) return bad(ctx, "history");
    return exn_points_read(profile, json_object_get(root, "policy")) ? EXN_OK : bad(ctx, "policy");
}

exn_status exn_state_read(exn_profile *profile, const exn_tensor_list *tensors) {
    exn_status status;
    json_t *root = load(&status, profile->ctx, tensors);
    if (!root) return status;
    status = check_tensors(profile->ctx, tensors, root);
    if (status == EXN_OK) status = check_network(profile, root);
    if (status == EXN_OK) status = read_rest(profile, root);
    json_decref(root);
    return status;
}

exn_status exn_state_model_path(char **out, exn_context *ctx, const exn_tensor_list *tensors) {
    exn_status status;
    json_t *root = load(&status, ctx, tensors);
    if (!root) return status;
    char *path = NULL;
    status = copy_text(&path, ctx, json_object_get(root, "network"), "path");
    json_decref(root);
    if (status == EXN_OK) *out = path;
    return status;
}
