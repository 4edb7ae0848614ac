/* SPDX-License-Identifier: Apache-2.0
 * Data sets: what the sources have in common, reading one sample, splitting by content. */
#include "tools/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "tools/dataset_private.h"

/* A folder without photos may hold one pair of arrays. */
static exn_status open_pair_in(exn_dataset *data, const char *path) {
    char **names = NULL;
    size_t count = 0, found = 0, which = 0;
    EXN_TRY(exn_dataset_list(&names, &count, data->ctx, path));
    for (size_t i = 0; i < count; i++)
        if (exn_dataset_is_array(names[i]) && strstr(names[i], "images") != NULL) {
            which = i;
            found++;
        }
    exn_status status;
    if (found == 1) {
        char *images = exn_dataset_join(data->ctx, path, names[which]);
        status = images == NULL ? EXN_E_NOMEM : exn_dataset_from_arrays(data, images, NULL);
        exn_free(data->ctx, images);
    } else if (found > 1) {
        status = exn_fail(data->ctx, EXN_E_INVALID, "%s: holds %zu files of images; name one", path, found);
    } else {
        status = exn_fail(data->ctx, EXN_E_INVALID, "%s: no photos (.jpg, .jpeg, .png), IDX or .npy files in it", path);
    }
    exn_dataset_free_names(data->ctx, names, count);
    return status;
}

/* IMAGES,LABELS where no file has that very name. */
static exn_status open_named_pair(exn_dataset *data, const char *path, const char *comma) {
    char *images = exn_strndup(data->ctx, path, (size_t)(comma - path));
    const exn_status status = images == NULL ? EXN_E_NOMEM : exn_dataset_from_arrays(data, images, comma + 1);
    exn_free(data->ctx, images);
    return status;
}

static exn_status open_source(exn_dataset *data, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) {
        const int reason = errno;
        const char *comma = strchr(path, ',');
        if (comma != NULL) return open_named_pair(data, path, comma);
        return exn_fail(data->ctx, EXN_E_IO, "%s: %s", path, strerror(reason));
    }
    if (!S_ISDIR(info.st_mode)) return exn_dataset_from_arrays(data, path, NULL);
    EXN_TRY(exn_dataset_from_folder(data, path));
    return data->count > 0 || data->skipped > 0 ? EXN_OK : open_pair_in(data, path);
}

exn_status exn_dataset_open_wished(exn_dataset **out, exn_context *ctx, const char *path,
                                   const exn_dataset_wish *wish) {
    exn_dataset *data = exn_calloc(ctx, 1, sizeof *data);
    if (data == NULL) return EXN_E_NOMEM;
    data->ctx = ctx;
    data->names = wish->names;
    data->class_count = wish->class_count;
    data->side = wish->side;
    data->skip_unknown = wish->skip_unknown;
    data->path = exn_strdup(ctx, path);
    exn_status status = data->path == NULL ? EXN_E_NOMEM : open_source(data, path);
    if (status == EXN_OK && data->count == 0 && data->skipped == 0)
        status = exn_fail(ctx, EXN_E_INVALID, "%s: holds no samples", path);
    if (status != EXN_OK) {
        exn_dataset_close(data);
        return status;
    }
    *out = data;
    return EXN_OK;
}

exn_status exn_dataset_open(exn_dataset **out, exn_context *ctx, const char *path, const char *const *names,
                            size_t class_count) {
    const exn_dataset_wish wish = {.names = names, .class_count = class_count};
    return exn_dataset_open_wished(out, ctx, path, &wish);
}

void exn_dataset_close(exn_dataset *data) {
    if (data == NULL) return;
    exn_ahead_close(data);
    if (data->files != NULL) exn_dataset_free_names(data->ctx, data->files, data->count);
    exn_tensor_destroy(data->ctx, &data->pixels);
    exn_npy_close(data->tensors);
    exn_picture_free(&data->picture, data->ctx);
    exn_free(data->ctx, data->values);
    exn_free(data->ctx, data->labels);
    exn_free(data->ctx, data->label_text);
    exn_free(data->ctx, data->path);
    exn_free(data->ctx, data);
}

exn_status exn_dataset_excuse(exn_dataset *data, exn_status status, bool skip) {
    if (data->files == NULL || (status != EXN_E_FORMAT && status != EXN_E_UNSUPPORTED)) return status;
    char message[EXN_MESSAGE_BYTES];
    snprintf(message, sizeof message, "%s", exn_context_error(data->ctx));
    if (!skip) return exn_fail(data->ctx, status, "%s (--skip-bad leaves such photos out)", message);
    exn_log(data->ctx, EXN_LOG_WARNING, "skipped: %s", message);
    return EXN_OK;
}

size_t exn_dataset_skipped(const exn_dataset *data) {
    return data->skipped;
}

size_t exn_dataset_count(const exn_dataset *data) {
    return data->count;
}

int64_t exn_dataset_label(const exn_dataset *data, size_t index) {
    return data->labels == NULL ? EXN_UNLABELLED : data->labels[index];
}

size_t exn_dataset_labelled(const exn_dataset *data) {
    size_t count = 0;
    for (size_t i = 0; i < data->count; i++) count += exn_dataset_label(data, i) != EXN_UNLABELLED;
    return count;
}

const char *exn_dataset_name(exn_dataset *data, size_t index) {
    if (data->files != NULL) return data->files[index];
    const size_t bytes = strlen(data->path) + 32;
    if (data->label_text == NULL) data->label_text = exn_malloc(data->ctx, bytes, 1);
    if (data->label_text == NULL) return data->path;
    snprintf(data->label_text, bytes, "%s[%zu]", data->path, index);
    return data->label_text;
}

/* Bytes of one array sample, and where they begin in data->pixels. */
static const uint8_t *pixels_at(const exn_dataset *data, size_t index, size_t *bytes) {
    const exn_shape *shape = &data->pixels.shape;
    *bytes = shape->dim[1] * shape->dim[2] * (shape->rank == 4 ? shape->dim[3] : 1);
    return (const uint8_t *)data->pixels.data + index * *bytes;
}

static exn_status read_tensor(exn_datum *out, exn_dataset *data, size_t index) {
    const exn_shape *shape = exn_npy_shape(data->tensors);
    const size_t count = shape->dim[1] * shape->dim[2] * shape->dim[3];
    if (data->values == NULL) data->values = exn_malloc(data->ctx, count, sizeof *data->values);
    if (data->values == NULL) return EXN_E_NOMEM;
    EXN_TRY(exn_npy_read(data->tensors, data->values, index * count, count));
    *out = (exn_datum){.chw = data->values, .c = shape->dim[1], .h = shape->dim[2], .w = shape->dim[3]};
    return EXN_OK;
}

static exn_status load_picture(exn_dataset *data, size_t index) {
    exn_picture_free(&data->picture, data->ctx);
    return exn_picture_load(&data->picture, data->ctx, data->files[index], data->side);
}

exn_status exn_dataset_read(exn_datum *out, exn_dataset *data, size_t index) {
    if (data->tensors != NULL) return read_tensor(out, data, index);
    if (data->files != NULL) {
        exn_picture *picture = &data->picture;
        EXN_TRY(data->ahead != NULL ? exn_ahead_read(&picture, data, index) : load_picture(data, index));
        *out = (exn_datum){.image = exn_picture_view(picture)};
        return EXN_OK;
    }
    size_t bytes = 0;
    const uint8_t *pixels = pixels_at(data, index, &bytes);
    const exn_shape *shape = &data->pixels.shape;
    *out = (exn_datum){.image = {pixels, shape->dim[2], shape->dim[1], shape->rank == 4 ? 3 : 1, 0}};
    return EXN_OK;
}

exn_status exn_dataset_read_for(exn_datum *out, exn_dataset *data, size_t index, size_t c, size_t h, size_t w) {
    EXN_TRY(exn_dataset_read(out, data, index));
    if (!out->chw || (out->c == c && out->h == h && out->w == w)) return EXN_OK;
    return exn_fail(data->ctx, EXN_E_SHAPE, "%s: is %zux%zux%zu, the network takes %zux%zux%zu",
                    exn_dataset_name(data, index), out->c, out->h, out->w, c, h, w);
}

exn_status exn_dataset_hash(uint64_t *out, exn_dataset *data, size_t index) {
    if (data->files != NULL) {
        uint8_t *bytes = NULL;
        size_t count = 0;
        EXN_TRY(exn_file_read(&bytes, &count, data->ctx, data->files[index], EXN_PICTURE_FILE_BYTES_MAX));
        *out = exn_hash64(bytes, count, 0);
        exn_free(data->ctx, bytes);
        return EXN_OK;
    }
    if (data->tensors != NULL) {
        exn_datum sample;
        EXN_TRY(read_tensor(&sample, data, index));
        *out = exn_hash64(sample.chw, sample.c * sample.h * sample.w * sizeof *sample.chw, 0);
        return EXN_OK;
    }
    size_t bytes = 0;
    const uint8_t *pixels = pixels_at(data, index, &bytes);
    *out = exn_hash64(pixels, bytes, 0);
    return EXN_OK;
}

typedef struct keyed {
    uint64_t hash;
    int64_t label;
    size_t index;
} keyed;

static int compare_keyed(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Marks the first of one class's samples in order of their hash; equal ones stay together. */
static size_t hold_class(bool *held, const keyed *samples, size_t count, double share) {
    size_t wanted = (size_t)(share * (double)count + 0.5);
    if (wanted == 0 && share > 0.0 && count > 1) wanted = 1;
    if (wanted >= count) wanted = count - 1;
    while (wanted > 0 && samples[wanted - 1].hash == samples[wanted].hash) wanted--;
    for (size_t i = 0; i < wanted; i++) held[samples[i].index] = true;
    return wanted;
}

exn_status exn_dataset_split(bool *held, size_t *held_count, exn_dataset *data, double share) {
    keyed *order = exn_calloc(data->ctx, data->count, sizeof *order);
    if (order == NULL) return EXN_E_NOMEM;
    exn_status status = EXN_OK;
    for (size_t i = 0; i < data->count && status == EXN_OK; i++) {
        order[i] = (keyed){.label = exn_dataset_label(data, i), .index = i};
        status = exn_dataset_hash(&order[i].hash, data, i);
        held[i] = false;
    }
    size_t total = 0;
    if (status == EXN_OK) {
        qsort(order, data->count, sizeof *order, compare_keyed);
        for (size_t begin = 0, end; begin < data->count; begin = end) {
            for (end = begin; end < data->count && order[end].label == order[begin].label;) end++;
            if (order[begin].label != EXN_UNLABELLED) total += hold_class(held, order + begin, end - begin, share);
        }
        *held_count = total;
    }
    exn_free(data->ctx, order);
    return status;
}
