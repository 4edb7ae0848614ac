/* SPDX-License-Identifier: Apache-2.0
 * Data sets of photos in folders. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "tools/dataset_private.h"

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void exn_dataset_free_names(exn_context *ctx, char **names, size_t count) {
    for (size_t i = 0; i < count; i++) exn_free(ctx, names[i]);
    exn_free(ctx, names);
}

char *exn_dataset_join(exn_context *ctx, const char *folder, const char *name) {
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = exn_malloc(ctx, bytes, 1);
    if (path != NULL) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

static exn_status push(char ***list, size_t *count, size_t *capacity, exn_context *ctx, char *item) {
    if (item == NULL) return EXN_E_NOMEM;
    const exn_status status = exn_grow(ctx, (void **)list, capacity, *count + 1, sizeof **list);
    if (status != EXN_OK) {
        exn_free(ctx, item);
        return status;
    }
    (*list)[(*count)++] = item;
    return EXN_OK;
}

exn_status exn_dataset_list(char ***out, size_t *count, exn_context *ctx, const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    char **names = NULL;
    size_t have = 0, capacity = 0;
    exn_status status = EXN_OK;
    const struct dirent *entry;
    while (status == EXN_OK && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.') status = push(&names, &have, &capacity, ctx, exn_strdup(ctx, entry->d_name));
    closedir(folder);
    if (status != EXN_OK) {
        exn_dataset_free_names(ctx, names, have);
        return status;
    }
    if (have > 1) qsort(names, have, sizeof *names, compare_names);
    *out = names;
    *count = have;
    return EXN_OK;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_photo(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

typedef struct filling {
    exn_dataset *data;
    size_t file_capacity, label_capacity;
} filling;

static exn_status add_photos(filling *to, const char *folder, int64_t label) {
    exn_dataset *data = to->data;
    char **names = NULL;
    size_t count = 0;
    EXN_TRY(exn_dataset_list(&names, &count, data->ctx, folder));
    exn_status status = EXN_OK;
    for (size_t i = 0; i < count && status == EXN_OK; i++) {
        if (!is_photo(names[i])) continue;
        status =
            exn_grow(data->ctx, (void **)&data->labels, &to->label_capacity, data->count + 1, sizeof *data->labels);
        if (status == EXN_OK)
            status = push(&data->files, &data->count, &to->file_capacity, data->ctx,
                          exn_dataset_join(data->ctx, folder, names[i]));
        if (status == EXN_OK) data->labels[data->count - 1] = label;
    }
    exn_dataset_free_names(data->ctx, names, count);
    return status;
}

/* Profiles attached without class names call their classes "0", "1", ... */
static bool names_are_numbers(const exn_dataset *data) {
    for (size_t i = 0; i < data->class_count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        if (strcmp(number, data->names[i]) != 0) return false;
    }
    return true;
}

/* Lists of class names exist that hold one twice. */
static bool occurs_again(const exn_dataset *data, size_t label) {
    for (size_t i = label + 1; i < data->class_count; i++)
        if (strcmp(data->names[i], data->names[label]) == 0) return true;
    return false;
}

static exn_status find_label(int64_t *out, const exn_dataset *data, const char *path, const char *folder, size_t rank,
                             size_t folders) {
    for (size_t i = 0; i < data->class_count; i++)
        if (strcmp(data->names[i], folder) == 0) {
            if (occurs_again(data, i))
                return exn_fail(data->ctx, EXN_E_INVALID, "%s/%s: the profile has two classes of that name", path,
                                folder);
            *out = (int64_t)i;
            return EXN_OK;
        }
    if (names_are_numbers(data) && folders == data->class_count) {
        *out = (int64_t)rank;
        return EXN_OK;
    }
    return exn_fail(data->ctx, EXN_E_INVALID,
                    "%s/%s: the profile has no class '%s' (its %zu classes: %s, %s, ...; personalise --new-classes "
                    "adds it)",
                    path, folder, folder, data->class_count, data->names[0],
                    data->names[data->class_count > 1 ? 1 : 0]);
}

/* Keeps the sub-folders of a list, in order. */
static exn_status keep_folders(char **names, size_t *count, exn_context *ctx, const char *path) {
    size_t kept = 0;
    exn_status status = EXN_OK;
    for (size_t i = 0; i < *count; i++) {
        char *full = status == EXN_OK ? exn_dataset_join(ctx, path, names[i]) : NULL;
        if (full == NULL) status = EXN_E_NOMEM;
        if (full != NULL && is_folder(full)) {
            char *name = names[i];
            names[i] = names[kept];
            names[kept++] = name;
        }
        exn_free(ctx, full);
    }
    for (size_t i = kept; i < *count; i++) exn_free(ctx, names[i]);
    *count = kept;
    return status;
}

static exn_status count_photos(size_t *out, exn_context *ctx, const char *folder) {
    char **names = NULL;
    size_t count = 0;
    EXN_TRY(exn_dataset_list(&names, &count, ctx, folder));
    for (size_t i = 0; i < count; i++) *out += is_photo(names[i]);
    exn_dataset_free_names(ctx, names, count);
    return EXN_OK;
}

/* A folder that is no class: the end, unless such were to be left out. */
static exn_status refuse(exn_dataset *data, exn_status status, const char *folder) {
    if (!data->skip_unknown || status != EXN_E_INVALID) return status;
    exn_log(data->ctx, EXN_LOG_WARNING, "skipped: %s", exn_context_error(data->ctx));
    return count_photos(&data->skipped, data->ctx, folder);
}

static exn_status add_class(filling *to, const char *path, char **folders, size_t index, size_t count) {
    exn_dataset *data = to->data;
    int64_t label = 0;
    char *full = exn_dataset_join(data->ctx, path, folders[index]);
    if (full == NULL) return EXN_E_NOMEM;
    const exn_status known = find_label(&label, data, path, folders[index], index, count);
    const exn_status status = known == EXN_OK ? add_photos(to, full, label) : refuse(data, known, full);
    exn_free(data->ctx, full);
    return status;
}

exn_status exn_dataset_classes(char ***out, size_t *count, exn_context *ctx, const char *path) {
    char **names = NULL;
    size_t found = 0;
    if (!is_folder(path)) {
        *out = NULL;
        *count = 0;
        return EXN_OK;
    }
    EXN_TRY(exn_dataset_list(&names, &found, ctx, path));
    const exn_status status = keep_folders(names, &found, ctx, path);
    if (status != EXN_OK) {
        exn_dataset_free_names(ctx, names, found);
        return status;
    }
    *out = names;
    *count = found;
    return EXN_OK;
}

exn_status exn_dataset_from_folder(exn_dataset *data, const char *path) {
    char **folders = NULL;
    size_t count = 0;
    EXN_TRY(exn_dataset_list(&folders, &count, data->ctx, path));
    exn_status status = keep_folders(folders, &count, data->ctx, path);
    filling to = {.data = data};
    if (status == EXN_OK && count == 0) status = add_photos(&to, path, EXN_UNLABELLED);
    for (size_t i = 0; i < count && status == EXN_OK; i++) status = add_class(&to, path, folders, i, count);
    exn_dataset_free_names(data->ctx, folders, count);
    return status;
}
