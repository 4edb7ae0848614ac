/* SPDX-License-Identifier: Apache-2.0
 * Data sets of arrays: IDX or .npy files of images, with a second file of labels. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/dataset_private.h"
#include "tools/idx.h"

static bool ends_with(const char *text, const char *end) {
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

bool exn_dataset_is_array(const char *name) {
    return ends_with(name, ".npy") || ends_with(name, "ubyte") || ends_with(name, "ubyte.gz") ||
           ends_with(name, ".idx") || ends_with(name, ".idx.gz");
}

/* Last place of `old` in the file's own name, replaced by `new` of the same or another length; *out NULL if absent. */
static exn_status replace_last(char **out, exn_context *ctx, const char *path, const char *old, const char *new) {
    const char *slash = strrchr(path, '/');
    const char *found = NULL;
    *out = NULL;
    for (const char *at = strstr(slash != NULL ? slash : path, old); at != NULL; at = strstr(at + 1, old)) found = at;
    if (found == NULL) return EXN_OK;
    const size_t bytes = strlen(path) + strlen(new) + 1;
    *out = exn_malloc(ctx, bytes, 1);
    if (*out == NULL) return EXN_E_NOMEM;
    snprintf(*out, bytes, "%.*s%s%s", (int)(found - path), path, new, found + strlen(old));
    return EXN_OK;
}

/* "t10k-images-idx3-ubyte.gz" has its labels in "t10k-labels-idx1-ubyte.gz". *out NULL: no such file. */
static exn_status find_companion(char **out, exn_context *ctx, const char *images) {
    char *labels, *renumbered = NULL;
    *out = NULL;
    EXN_TRY(replace_last(&labels, ctx, images, "images", "labels"));
    if (labels == NULL) return EXN_OK;
    const exn_status status = replace_last(&renumbered, ctx, labels, "idx3", "idx1");
    if (renumbered != NULL) {
        exn_free(ctx, labels);
        labels = renumbered;
    }
    if (status == EXN_OK && access(labels, F_OK) == 0)
        *out = labels;
    else
        exn_free(ctx, labels);
    return status;
}

static exn_status check_pixels(const exn_dataset *data, const char *path, const exn_shape *shape) {
    const bool grey = shape->rank == 3, rgb = shape->rank == 4 && shape->dim[3] == 3;
    if ((!grey && !rgb) || shape->dim[1] == 0 || shape->dim[2] == 0) {
        char text[EXN_SHAPE_TEXT_BYTES];
        return exn_fail(data->ctx, EXN_E_SHAPE, "%s: images must be N,H,W or N,H,W,3, not %s", path,
                        exn_shape_text(text, shape));
    }
    return EXN_OK;
}

static exn_status load_pixels(exn_dataset *data, exn_npy *npy) {
    exn_tensor pixels = {0};
    EXN_TRY(exn_tensor_create(&pixels, data->ctx, EXN_U8, exn_npy_shape(npy)));
    const exn_status status = exn_npy_read(npy, pixels.data, 0, exn_shape_elements(&pixels.shape));
    if (status == EXN_OK)
        data->pixels = pixels;
    else
        exn_tensor_destroy(data->ctx, &pixels);
    return status;
}

static exn_status open_npy_images(exn_dataset *data, const char *path) {
    exn_npy *npy = NULL;
    EXN_TRY(exn_npy_open(&npy, data->ctx, path));
    const exn_shape *shape = exn_npy_shape(npy);
    data->count = shape->rank > 0 ? shape->dim[0] : 0;
    exn_status status = EXN_OK;
    if (exn_npy_dtype(npy) == EXN_F32 && shape->rank == 4) {
        data->tensors = npy;
        return EXN_OK;
    }
    if (exn_npy_dtype(npy) == EXN_U8) {
        status = check_pixels(data, path, shape);
        if (status == EXN_OK) status = load_pixels(data, npy);
    } else {
        status = exn_fail(data->ctx, EXN_E_SHAPE, "%s: must be float32 N,C,H,W or uint8 images", path);
    }
    exn_npy_close(npy);
    return status;
}

static exn_status open_images(exn_dataset *data, const char *path) {
    if (!exn_idx_recognise(path)) return open_npy_images(data, path);
    EXN_TRY(exn_idx_load(&data->pixels, data->ctx, path));
    data->count = data->pixels.shape.dim[0];
    return check_pixels(data, path, &data->pixels.shape);
}

static exn_status check_label_count(const exn_dataset *data, const char *path, const exn_shape *shape) {
    if (shape->rank == 1 && shape->dim[0] == data->count) return EXN_OK;
    char text[EXN_SHAPE_TEXT_BYTES];
    return exn_fail(data->ctx, EXN_E_SHAPE, "%s: must hold %zu labels, holds %s", path, data->count,
                    exn_shape_text(text, shape));
}

static exn_status load_idx_labels(exn_dataset *data, const char *path) {
    exn_tensor labels = {0};
    EXN_TRY(exn_idx_load(&labels, data->ctx, path));
    const exn_status status = check_label_count(data, path, &labels.shape);
    for (size_t i = 0; i < data->count && status == EXN_OK; i++) data->labels[i] = ((const uint8_t *)labels.data)[i];
    exn_tensor_destroy(data->ctx, &labels);
    return status;
}

static exn_status load_npy_labels(exn_dataset *data, const char *path) {
    exn_npy *npy = NULL;
    EXN_TRY(exn_npy_open(&npy, data->ctx, path));
    exn_status status = EXN_OK;
    if (exn_npy_dtype(npy) != EXN_I64) status = exn_fail(data->ctx, EXN_E_SHAPE, "%s: labels must be int64", path);
    if (status == EXN_OK) status = check_label_count(data, path, exn_npy_shape(npy));
    if (status == EXN_OK) status = exn_npy_read(npy, data->labels, 0, data->count);
    exn_npy_close(npy);
    return status;
}

static exn_status load_labels(exn_dataset *data, const char *path) {
    data->labels = exn_calloc(data->ctx, data->count, sizeof *data->labels);
    if (data->labels == NULL) return EXN_E_NOMEM;
    EXN_TRY(exn_idx_recognise(path) ? load_idx_labels(data, path) : load_npy_labels(data, path));
    for (size_t i = 0; i < data->count; i++)
        if (data->labels[i] < EXN_UNLABELLED || data->labels[i] >= (int64_t)data->class_count)
            return exn_fail(data->ctx, EXN_E_INVALID, "%s: label %lld of sample %zu; the network has %zu classes", path,
                            (long long)data->labels[i], i, data->class_count);
    return EXN_OK;
}

exn_status exn_dataset_from_arrays(exn_dataset *data, const char *images, const char *labels) {
    EXN_TRY(open_images(data, images));
    char *companion = NULL;
    if (labels == NULL) EXN_TRY(find_companion(&companion, data->ctx, images));
    const char *path = labels != NULL ? labels : companion;
    const exn_status status = path != NULL ? load_labels(data, path) : EXN_OK;
    exn_free(data->ctx, companion);
    return status;
}
