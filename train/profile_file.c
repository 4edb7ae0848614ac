/* SPDX-License-Identifier: Apache-2.0
 * Profiles as files: one safetensors file a person, replaced whole or not at all. */
#include "train/head_file.h"
#include "train/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the network's path, relative to the profile's folder ---- */

/* Where a profile's bytes lie: behind the link, if `path` is one; free() it. */
static char *behind_link(const char *path) {
    struct stat info;
    return !lstat(path, &info) && S_ISLNK(info.st_mode) ? realpath(path, NULL) : strdup(path);
}

/* The folder of `path` as an absolute path without links; free() it. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return realpath(".", NULL);
    char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    char *absolute = folder ? realpath(folder, NULL) : NULL;
    free(folder);
    return absolute;
}

/* "../../models/net.onnx": out of `folder` up to what both share, then down to `file`. Both absolute. */
static exn_status relative_path(char **out, exn_context *ctx, const char *folder, const char *file) {
    size_t shared = 0, same = 0;
    while (folder[same] && folder[same] == file[same]) {
        same++;
        if (file[same] == '/' && (folder[same] == '/' || !folder[same])) shared = same;
    }
    size_t climbs = 0;
    for (const char *at = folder + shared; *at; at++) climbs += at[0] == '/' && at[1] && at[1] != '/';
    const char *rest = file + shared + 1;
    char *path = exn_malloc(ctx, 3 * climbs + strlen(rest) + 1, 1);
    if (!path) return EXN_E_NOMEM;
    for (size_t i = 0; i < climbs; i++) memcpy(path + 3 * i, "../", 3);
    memcpy(path + 3 * climbs, rest, strlen(rest) + 1);
    *out = path;
    return EXN_OK;
}

static exn_status find_model_path(char **out, const exn_profile *profile, const char *path) {
    char *place = behind_link(path), *folder = place ? folder_of(place) : NULL;
    free(place);
    if (!folder) return exn_fail(profile->ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    char *file = realpath(profile->model->path, NULL);
    exn_status status;
    if (!file)
        status = exn_fail(profile->ctx, EXN_E_IO, "%s: %s", profile->model->path, strerror(errno));
    else if (!exn_name_is_clean(file))
        status =
            exn_fail(profile->ctx, EXN_E_INVALID, "%s: a profile can only name a network whose path is UTF-8", file);
    else
        status = relative_path(out, profile->ctx, folder, file);
    free(folder);
    free(file);
    return status;
}

/* ---- saving ---- */

static exn_status list_heads(exn_tensor_list *list, const exn_profile *profile) {
    for (size_t e = 0; e < profile->exit_count; e++) {
        const exn_exit *exit = &profile->exits[e];
        EXN_TRY(exn_head_file_list(list, profile->ctx, &exit->head, EXN_HEAD_OWN, e));
        if (exit->general.kind != EXN_HEAD_AUTO)
            EXN_TRY(exn_head_file_list(list, profile->ctx, &exit->general, EXN_HEAD_GENERAL, e));
    }
    return EXN_OK;
}

static exn_status write_list(const exn_profile *profile, const exn_tensor_list *list, const char *path) {
    exn_lock *lock = NULL;
    exn_writer *writer;
    EXN_TRY(
        exn_writer_open(&writer, profile->ctx, path)); /* first: what cannot be replaced gets no lock file beside it */
    exn_status status = exn_lock_take(&lock, profile->ctx, path);
    if (status == EXN_OK) status = exn_safetensors_write(writer, profile->ctx, list);
    if (status == EXN_OK)
        status = exn_writer_commit(writer);
    else
        exn_writer_discard(writer);
    exn_lock_release(lock);
    return status;
}

static exn_status save_list(exn_tensor_list *list, const exn_profile *profile, const char *path,
                            const char *model_path) {
    char *state, hash[EXN_HASH_TEXT_BYTES];
    EXN_TRY(list_heads(list, profile));
    EXN_TRY(exn_state_write(&state, profile, list, model_path));
    const size_t length = strlen(state), digits = sizeof hash - 1;
    exn_hash_text(hash, state, length);
    const exn_shape state_shape = exn_shape_of(1, &length), hash_shape = exn_shape_of(1, &digits);
    exn_status status = exn_tensor_list_add(list, profile->ctx, EXN_STATE_TENSOR, EXN_U8, &state_shape, state);
    if (status == EXN_OK)
        status = exn_tensor_list_add(list, profile->ctx, EXN_STATE_HASH_TENSOR, EXN_U8, &hash_shape, hash);
    if (status == EXN_OK) status = write_list(profile, list, path);
    free(state);
    return status;
}

exn_status exn_profile_save(const exn_profile *profile, const char *path) {
    exn_tensor_list list = {0};
    char *model_path = NULL;
    if (!profile) return EXN_E_INVALID;
    if (!path) return exn_fail(profile->ctx, EXN_E_INVALID, "exn_profile_save: path is NULL");
    EXN_TRY(find_model_path(&model_path, profile, path));
    const exn_status status = save_list(&list, profile, path, model_path);
    exn_tensor_list_free(&list, profile->ctx);
    exn_free(profile->ctx, model_path);
    return status;
}

/* ---- opening ---- */

static exn_status load_head(exn_profile *profile, const exn_tensor_list *list, size_t exit, const exn_head *head,
                            const char *role) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        if (exn_head_tensor_shape(&shape, head, (exn_head_tensor)which))
            EXN_TRY(exn_head_file_load(head, profile->ctx, list, role, exit, (exn_head_tensor)which));
    }
    return EXN_OK;
}

static exn_status read_profile(exn_profile *profile, const exn_tensor_list *list) {
    EXN_TRY(exn_state_read(profile, list));
    for (size_t e = 0; e < profile->exit_count; e++) {
        const exn_exit *exit = &profile->exits[e];
        EXN_TRY(load_head(profile, list, e, &exit->head, EXN_HEAD_OWN));
        if (exit->general.kind != EXN_HEAD_AUTO) EXN_TRY(load_head(profile, list, e, &exit->general, EXN_HEAD_GENERAL));
    }
    return EXN_OK;
}

exn_status exn_profile_open(exn_profile **out, const exn_model *model, const char *path, const void *options) {
    if (!model) return EXN_E_INVALID;
    exn_context *ctx = model->ctx;
    if (!out || options)
        return exn_fail(ctx, EXN_E_INVALID, "exn_profile_open: out must not be NULL, and options must be");
    exn_mapping file;
    exn_tensor_list list = {0};
    EXN_TRY(exn_mapping_open(&file, ctx, path));
    exn_profile *profile = exn_calloc(ctx, 1, sizeof *profile);
    exn_status status = EXN_E_NOMEM;
    if (profile) {
        profile->ctx = ctx;
        profile->model = model;
        status = exn_safetensors_read(&list, ctx, file.bytes, file.size);
        if (status == EXN_OK) status = read_profile(profile, &list);
        if (status != EXN_OK) exn_fail_in(ctx, status, "%s", path);
    }
    exn_tensor_list_free(&list, ctx);
    exn_mapping_close(&file);
    if (status == EXN_OK)
        *out = profile;
    else
        exn_profile_destroy(profile);
    return status;
}

exn_status exn_profile_verify(const exn_profile *profile) {
    char actual[EXN_HASH_TEXT_BYTES];
    if (!profile) return EXN_E_INVALID;
    exn_model_hash(actual, profile->model);
    if (!strcmp(actual, profile->network_hash)) return EXN_OK;
    return exn_fail(profile->ctx, EXN_E_INVALID,
                    "%s: its weights have changed since the profile was made: hash %s, not %s", profile->model->path,
                    actual, profile->network_hash);
}

static exn_status resolve(char *out, size_t out_bytes, exn_context *ctx, const char *path, const char *model_path) {
    char *place = behind_link(path);
    if (!place) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    const char *slash = strrchr(place, '/');
    const int folder = model_path[0] == '/' || !slash ? 0 : (int)(slash - place + 1);
    const int length = snprintf(out, out_bytes, "%.*s%s", folder, place, model_path);
    free(place);
    if (length >= 0 && (size_t)length < out_bytes) return EXN_OK;
    return exn_fail(ctx, EXN_E_INVALID, "%s: the path of its network does not fit into %zu bytes", path, out_bytes);
}

exn_status exn_profile_model_path(char *out, size_t out_bytes, exn_context *ctx, const char *path) {
    exn_mapping file;
    exn_tensor_list list = {0};
    char *model_path = NULL;
    if (!out || !ctx) return exn_fail(ctx, EXN_E_INVALID, "exn_profile_model_path: out and ctx must not be NULL");
    EXN_TRY(exn_mapping_open(&file, ctx, path));
    exn_status status = exn_safetensors_read(&list, ctx, file.bytes, file.size);
    if (status == EXN_OK) status = exn_state_model_path(&model_path, ctx, &list);
    if (status != EXN_OK) exn_fail_in(ctx, status, "%s", path);
    if (status == EXN_OK) status = resolve(out, out_bytes, ctx, path, model_path);
    exn_free(ctx, model_path);
    exn_tensor_list_free(&list, ctx);
    exn_mapping_close(&file);
    return status;
}
