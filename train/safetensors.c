/* SPDX-License-Identifier: Apache-2.0
 * Reader and writer of the safetensors format over a JSON library. */
#include "train/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((size_t)16 << 20)
#define LENGTH_BYTES 8u
#define NOTES "__metadata__"

exn_status exn_tensor_list_add(exn_tensor_list *list, exn_context *ctx, const char *name, exn_dtype dtype,
                               const exn_shape *shape, const void *data) {
    EXN_TRY(exn_grow(ctx, (void **)&list->tensors, &list->capacity, list->count + 1, sizeof *list->tensors));
    exn_named_tensor tensor = {.dtype = dtype, .shape = *shape, .data = data};
    size_t elements;
    EXN_TRY(exn_shape_count(&elements, ctx, shape));
    tensor.bytes = elements * exn_dtype_bytes(dtype);
    tensor.name = exn_strdup(ctx, name);
    if (!tensor.name) return EXN_E_NOMEM;
    list->tensors[list->count++] = tensor;
    return EXN_OK;
}

const exn_named_tensor *exn_tensor_list_find(const exn_tensor_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->tensors[i].name, name)) return &list->tensors[i];
    return NULL;
}

void exn_tensor_list_free(exn_tensor_list *list, exn_context *ctx) {
    for (size_t i = 0; i < list->count; i++) exn_free(ctx, list->tensors[i].name);
    exn_free(ctx, list->tensors);
    *list = (exn_tensor_list){0};
}

/* ---- writing ---- */

static json_t *describe(const exn_named_tensor *tensor, size_t begin) {
    json_t *shape = json_array();
    for (size_t i = 0; i < tensor->shape.rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->dtype == EXN_F32 ? "F32" : "U8", "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->bytes));
}

static char *make_header(const exn_tensor_list *list) {
    json_t *object = json_object();
    size_t begin = 0;
    bool good = object;
    for (size_t i = 0; good && i < list->count; i++) {
        good = !json_object_set_new(object, list->tensors[i].name, describe(&list->tensors[i], begin));
        begin += list->tensors[i].bytes;
    }
    char *text = good ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

exn_status exn_safetensors_write(exn_writer *writer, exn_context *ctx, const exn_tensor_list *list) {
    char *text = make_header(list);
    if (!text) return exn_fail(ctx, EXN_E_INVALID, "a tensor's name is not UTF-8, or memory is short");
    static const char spaces[LENGTH_BYTES] = "        ";
    const size_t length = strlen(text), padding = (LENGTH_BYTES - length % LENGTH_BYTES) % LENGTH_BYTES;
    uint8_t prefix[LENGTH_BYTES];
    for (size_t i = 0; i < LENGTH_BYTES; i++) prefix[i] = (uint8_t)((uint64_t)(length + padding) >> (8 * i));
    exn_status status = exn_writer_append(writer, prefix, sizeof prefix);
    if (status == EXN_OK) status = exn_writer_append(writer, text, length);
    if (status == EXN_OK) status = exn_writer_append(writer, spaces, padding);
    free(text);
    for (size_t i = 0; status == EXN_OK && i < list->count; i++)
        status = exn_writer_append(writer, list->tensors[i].data, list->tensors[i].bytes);
    return status;
}

/* ---- reading ---- */

/* A JSON integer within 0 .. limit. */
static bool read_size(size_t *out, const json_t *value, size_t limit) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    if ((uint64_t)json_integer_value(value) > limit) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static bool read_shape(exn_shape *out, const json_t *array) {
    if (!json_is_array(array) || json_array_size(array) > EXN_RANK_MAX) return false;
    out->rank = json_array_size(array);
    for (size_t i = 0; i < out->rank; i++)
        if (!read_size(&out->dim[i], json_array_get(array, i), EXN_ELEMENTS_MAX)) return false;
    return true;
}

static exn_status read_entry(exn_tensor_list *list, exn_context *ctx, const char *name, const json_t *entry,
                             const uint8_t *data, size_t data_bytes) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    exn_shape shape = {0};
    size_t begin, end;
    const bool known = dtype && (!strcmp(dtype, "F32") || !strcmp(dtype, "U8"));
    if (!known || !read_shape(&shape, json_object_get(entry, "shape")))
        return exn_fail(ctx, EXN_E_FORMAT, "tensor %.64s: type or shape is not understood", name);
    if (json_array_size(offsets) != 2 || !read_size(&end, json_array_get(offsets, 1), data_bytes) ||
        !read_size(&begin, json_array_get(offsets, 0), end))
        return exn_fail(ctx, EXN_E_FORMAT, "tensor %.64s: offsets lie outside the file", name);
    EXN_TRY(exn_tensor_list_add(list, ctx, name, !strcmp(dtype, "F32") ? EXN_F32 : EXN_U8, &shape, data + begin));
    if (list->tensors[list->count - 1].bytes != end - begin)
        return exn_fail(ctx, EXN_E_FORMAT, "tensor %.64s: shape and offsets disagree", name);
    return EXN_OK;
}

static int by_data(const void *a, const void *b) {
    const exn_named_tensor *x = a, *y = b;
    if (x->data != y->data) return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Every byte of data belongs to exactly one tensor. */
static exn_status check_cover(exn_tensor_list *list, exn_context *ctx, const uint8_t *data, size_t data_bytes) {
    if (list->count) qsort(list->tensors, list->count, sizeof *list->tensors, by_data);
    const uint8_t *next = data;
    for (size_t i = 0; i < list->count; i++) {
        if (list->tensors[i].data != next)
            return exn_fail(ctx, EXN_E_FORMAT, "tensor %.64s: overlaps another, or leaves a gap",
                            list->tensors[i].name);
        next += list->tensors[i].bytes;
    }
    return next == data + data_bytes ? EXN_OK
                                     : exn_fail(ctx, EXN_E_FORMAT, "bytes after the last tensor: truncated header?");
}

/* The header as JSON, to be released; its bytes end where the data begin. */
static exn_status read_header(json_t **out, size_t *header_bytes, exn_context *ctx, const uint8_t *bytes,
                              size_t count) {
    uint64_t length = 0;
    for (size_t i = 0; i < LENGTH_BYTES && count >= LENGTH_BYTES; i++) length |= (uint64_t)bytes[i] << (8 * i);
    if (count < LENGTH_BYTES || length > HEADER_MAX || length > count - LENGTH_BYTES)
        return exn_fail(ctx, EXN_E_FORMAT, "not a safetensors file, or truncated");
    json_error_t error;
    json_t *header = json_loadb((const char *)bytes + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(header)) {
        json_decref(header);
        return exn_fail(ctx, EXN_E_FORMAT, "header of the safetensors file: %.100s", error.text);
    }
    *out = header;
    *header_bytes = LENGTH_BYTES + (size_t)length;
    return EXN_OK;
}

exn_status exn_safetensors_read(exn_tensor_list *out, exn_context *ctx, const uint8_t *bytes, size_t count) {
    json_t *header, *entry;
    const char *name;
    size_t begin;
    EXN_TRY(read_header(&header, &begin, ctx, bytes, count));
    exn_tensor_list list = {0};
    exn_status status = EXN_OK;
    json_object_foreach(header, name, entry) {
        if (status == EXN_OK && strcmp(name, NOTES) != 0)
            status = read_entry(&list, ctx, name, entry, bytes + begin, count - begin);
    }
    if (status == EXN_OK) status = check_cover(&list, ctx, bytes + begin, count - begin);
    json_decref(header);
    if (status != EXN_OK) {
        exn_tensor_list_free(&list, ctx);
        return status;
    }
    *out = list;
    return EXN_OK;
}

exn_status exn_safetensors_notes(json_t **out, exn_context *ctx, const uint8_t *bytes, size_t count) {
    json_t *header;
    size_t begin;
    EXN_TRY(read_header(&header, &begin, ctx, bytes, count));
    *out = json_incref(json_object_get(header, NOTES));
    json_decref(header);
    return EXN_OK;
}
