/* SPDX-License-Identifier: Apache-2.0
 * Tensors of an ONNX file as constants: borrowed, converted, or mapped from a file beside the model. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/import.h"
#include "graph/onnx.pb.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ONNX stores little-endian elements, borrowed as they are");

void exn_externals_close(exn_externals *externals, exn_context *ctx) {
    for (size_t i = 0; i < externals->count; i++) {
        exn_mapping_close(&externals->items[i].mapping);
        exn_free(ctx, externals->items[i].location);
    }
    exn_free(ctx, externals->items);
    *externals = (exn_externals){0};
}

/* A relative path without "..", "." or empty parts. */
static bool location_is_plain(const char *location) {
    for (const char *part = location;;) {
        const size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (part[length] == '\0') return true;
        part += length + 1;
    }
}

/* The path of a file beside the model, if no symbolic link leads to it: then resolving changes nothing. */
static exn_status external_path(char path[PATH_MAX], exn_importer *importer, const char *location) {
    exn_context *ctx = importer->ctx;
    char folder[PATH_MAX], resolved[PATH_MAX];
    if (!location_is_plain(location))
        return exn_fail(ctx, EXN_E_FORMAT, "external data '%s' lies outside the model's folder", location);
    const char *slash = strrchr(importer->path, '/');
    const size_t length = slash == NULL ? 0 : (size_t)(slash - importer->path) + 1;
    if (length >= sizeof path[0] * PATH_MAX) return exn_fail(ctx, EXN_E_IO, "path too long");
    memcpy(path, length == 0 ? "." : importer->path, length == 0 ? 1 : length);
    path[length == 0 ? 1 : length] = '\0';
    if (realpath(path, folder) == NULL) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    const size_t root = strlen(folder);
    if (root + strlen(location) + 2 > PATH_MAX)
        return exn_fail(ctx, EXN_E_IO, "external data '%s': path too long", location);
    memcpy(path, folder, root);
    path[root] = '/';
    strcpy(path + root + 1, location);
    if (realpath(path, resolved) == NULL)
        return exn_fail(ctx, EXN_E_IO, "external data '%s': %s", location, strerror(errno));
    if (strcmp(path, resolved) != 0)
        return exn_fail(ctx, EXN_E_FORMAT, "external data '%s' is reached through a symbolic link", location);
    return EXN_OK;
}

static exn_status external_mapping(const exn_mapping **out, exn_importer *importer, const char *location) {
    exn_externals *list = importer->externals;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].location, location) != 0) continue;
        *out = &list->items[i].mapping;
        return EXN_OK;
    }
    char path[PATH_MAX];
    EXN_TRY(external_path(path, importer, location));
    EXN_TRY(exn_grow(importer->ctx, (void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items));
    exn_external external = {.location = exn_strdup(importer->ctx, location)};
    if (external.location == NULL) return EXN_E_NOMEM;
    const exn_status status = exn_mapping_open(&external.mapping, importer->ctx, path);
    if (status != EXN_OK) {
        exn_free(importer->ctx, external.location);
        return status;
    }
    list->items[list->count++] = external;
    *out = &list->items[list->count - 1].mapping;
    return EXN_OK;
}

/* A decimal number; an absent text gives `otherwise`. */
static exn_status parse_size(size_t *out, exn_context *ctx, exn_onnx_text text, size_t otherwise) {
    size_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        size_t next;
        if (text.bytes[i] < '0' || text.bytes[i] > '9' || !exn_size_mul(&next, value, 10) ||
            !exn_size_add(&value, next, (size_t)(text.bytes[i] - '0')))
            return exn_fail(ctx, EXN_E_FORMAT, "external data: offset or length is not a number");
    }
    *out = text.size == 0 ? otherwise : value;
    return EXN_OK;
}

static exn_status external_bytes(exn_onnx_text *out, exn_importer *importer, const exn_onnx_tensor *tensor,
                                 size_t bytes) {
    char location[EXN_ONNX_NAME_MAX + 1];
    const exn_mapping *mapping;
    size_t offset, length;
    EXN_TRY(exn_import_name(location, importer->ctx, tensor->location));
    EXN_TRY(external_mapping(&mapping, importer, location));
    EXN_TRY(parse_size(&offset, importer->ctx, tensor->offset, 0));
    EXN_TRY(parse_size(&length, importer->ctx, tensor->length, bytes));
    if (length != bytes || offset > mapping->size || bytes > mapping->size - offset)
        return exn_fail(importer->ctx, EXN_E_FORMAT, "external data '%s': %zu bytes wanted at %zu, the file has %zu",
                        location, bytes, offset, mapping->size);
    *out = (exn_onnx_text){mapping->bytes + offset, bytes};
    return EXN_OK;
}

/* ---- types ---- */

typedef struct type_row {
    int32_t onnx;
    exn_dtype dtype, kept; /* in the file, and in the graph */
} type_row;

static const type_row *find_type(int32_t onnx) {
    static const type_row rows[] = {
        {onnx_TensorProto_DataType_FLOAT, EXN_F32, EXN_F32}, {onnx_TensorProto_DataType_DOUBLE, EXN_F64, EXN_F32},
        {onnx_TensorProto_DataType_INT64, EXN_I64, EXN_I64}, {onnx_TensorProto_DataType_INT32, EXN_I32, EXN_I32},
        {onnx_TensorProto_DataType_UINT8, EXN_U8, EXN_U8},   {onnx_TensorProto_DataType_BOOL, EXN_BOOL, EXN_BOOL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].onnx == onnx) return &rows[i];
    return NULL;
}

static exn_status tensor_shape(exn_shape *out, size_t *count, exn_context *ctx, const exn_onnx_tensor *tensor) {
    *out = (exn_shape){.rank = tensor->rank};
    for (size_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] < 0) return exn_fail(ctx, EXN_E_FORMAT, "dimension %zu is negative", i);
        out->dim[i] = (size_t)tensor->dims[i];
    }
    return exn_shape_count(count, ctx, out);
}

/* Element i of typed data as the graph keeps it. */
static void store_number(void *to, exn_dtype kept, const exn_onnx_tensor *tensor, size_t i) {
    double real = 0;
    int64_t whole = 0;
    if (tensor->typed == EXN_ONNX_FLOATS) real = (double)((const float *)tensor->numbers)[i];
    if (tensor->typed == EXN_ONNX_DOUBLES) real = ((const double *)tensor->numbers)[i];
    if (tensor->typed == EXN_ONNX_INTS) whole = ((const int64_t *)tensor->numbers)[i];
    switch (kept) {
    case EXN_F32:
        ((float *)to)[i] = (float)real;
        break;
    case EXN_F64:
        ((double *)to)[i] = real;
        break;
    case EXN_I64:
        ((int64_t *)to)[i] = whole;
        break;
    case EXN_I32:
        ((int32_t *)to)[i] = (int32_t)whole;
        break;
    case EXN_U8:
    case EXN_BOOL:
        ((uint8_t *)to)[i] = (uint8_t)whole;
        break;
    }
}

static exn_status typed_tensor(exn_value_id *out, exn_importer *importer, const char *name,
                               const exn_onnx_tensor *tensor, const type_row *type, const exn_shape *shape,
                               size_t count) {
    const exn_onnx_typed wanted = type->dtype == EXN_F32   ? EXN_ONNX_FLOATS
                                  : type->dtype == EXN_F64 ? EXN_ONNX_DOUBLES
                                                           : EXN_ONNX_INTS;
    if (tensor->number_count != count || (count > 0 && tensor->typed != wanted))
        return exn_fail(importer->ctx, EXN_E_FORMAT, "%zu elements of its type wanted, %zu given", count,
                        tensor->typed == wanted ? tensor->number_count : 0);
    void *block;
    EXN_TRY(exn_graph_block(&block, importer->graph, count, exn_dtype_bytes(type->kept)));
    for (size_t i = 0; i < count; i++) store_number(block, type->kept, tensor, i);
    return exn_graph_constant(out, importer->graph, name, type->kept, shape, block, false);
}

static exn_status raw_doubles(exn_value_id *out, exn_importer *importer, const char *name, exn_onnx_text raw,
                              const exn_shape *shape, size_t count) {
    void *block;
    EXN_TRY(exn_graph_block(&block, importer->graph, count, sizeof(float)));
    for (size_t i = 0; i < count; i++) {
        double element;
        memcpy(&element, raw.bytes + i * sizeof element, sizeof element);
        ((float *)block)[i] = (float)element;
    }
    return exn_graph_constant(out, importer->graph, name, EXN_F32, shape, block, false);
}

/* A bound of Clip may be infinite, nothing else may. */
static exn_status check_finite(exn_context *ctx, const exn_value *value) {
    if (value->dtype != EXN_F32 || value->shape.rank == 0 || value->mapped) return EXN_OK;
    const size_t count = exn_shape_elements(&value->shape), bad = exn_floats_finite(value->data, count);
    return bad == count ? EXN_OK : exn_fail(ctx, EXN_E_FORMAT, "element %zu is not finite", bad);
}

static exn_status place_tensor(exn_value_id *out, exn_importer *importer, const char *name,
                               const exn_onnx_tensor *tensor) {
    exn_context *ctx = importer->ctx;
    exn_shape shape;
    size_t count, bytes;
    const type_row *type = find_type(tensor->data_type);
    if (type == NULL)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "data type %d; supported: float, double, int64, int32, uint8, bool",
                        (int)tensor->data_type);
    if (tensor->segmented) return exn_fail(ctx, EXN_E_UNSUPPORTED, "stored in segments");
    EXN_TRY(tensor_shape(&shape, &count, ctx, tensor));
    if (!exn_size_mul(&bytes, count, exn_dtype_bytes(type->dtype)))
        return exn_fail(ctx, EXN_E_FORMAT, "too many elements");
    exn_onnx_text raw = tensor->raw;
    if (tensor->external)
        EXN_TRY(external_bytes(&raw, importer, tensor, bytes));
    else if (!tensor->has_raw)
        return typed_tensor(out, importer, name, tensor, type, &shape, count);
    if (raw.size != bytes)
        return exn_fail(ctx, EXN_E_FORMAT, "its shape asks for %zu bytes, %zu are there", bytes, raw.size);
    if (type->dtype == EXN_F64) return raw_doubles(out, importer, name, raw, &shape, count);
    EXN_TRY(exn_graph_constant(out, importer->graph, name, type->kept, &shape, raw.bytes, count == 0));
    importer->graph->values[*out].mapped = type->kept == EXN_F32 && bytes >= EXN_MAPPED_BYTES;
    return EXN_OK;
}

exn_status exn_import_tensor(exn_value_id *out, exn_importer *importer, const char *name,
                             const exn_onnx_tensor *tensor) {
    exn_status status = place_tensor(out, importer, name, tensor);
    if (status == EXN_OK) status = check_finite(importer->ctx, &importer->graph->values[*out]);
    if (status == EXN_OK) return EXN_OK;
    return exn_fail_in(importer->ctx, status, "tensor '%s'", name == NULL ? "(attribute)" : name);
}

/* ---- Constant ---- */

exn_status exn_import_constant(exn_value_id *out, exn_importer *importer, const char *name, const exn_onnx_node *node) {
    const exn_onnx *onnx = &importer->onnx;
    exn_graph *graph = importer->graph;
    if (node->attributes.count != 1)
        return exn_fail(importer->ctx, EXN_E_FORMAT, "exactly one attribute wanted, %zu given", node->attributes.count);
    const exn_onnx_attribute *a = &onnx->attributes[node->attributes.first];
    const exn_shape scalar = {0};
    const float *reals = a->floats.count > 0 ? onnx->floats + a->floats.first : NULL; /* the file's lists may be none */
    const int64_t *whole = a->ints.count > 0 ? onnx->ints + a->ints.first : NULL;
    const exn_shape floats = {.rank = 1, .dim = {a->floats.count}}, ints = {.rank = 1, .dim = {a->ints.count}};
    if (exn_onnx_text_is(a->name, "value") && a->has_t)
        return exn_import_tensor(out, importer, name, &onnx->tensors[a->tensor]);
    exn_status status;
    if (exn_onnx_text_is(a->name, "value_float"))
        status = exn_graph_constant(out, graph, name, EXN_F32, &scalar, &a->f, true);
    else if (exn_onnx_text_is(a->name, "value_int"))
        status = exn_graph_constant(out, graph, name, EXN_I64, &scalar, &a->i, true);
    else if (exn_onnx_text_is(a->name, "value_floats"))
        status = exn_graph_constant(out, graph, name, EXN_F32, &floats, reals, true);
    else if (exn_onnx_text_is(a->name, "value_ints"))
        status = exn_graph_constant(out, graph, name, EXN_I64, &ints, whole, true);
    else
        return exn_fail(importer->ctx, EXN_E_UNSUPPORTED, "only value, value_float(s) and value_int(s) are supported");
    return status == EXN_OK ? check_finite(importer->ctx, &graph->values[*out]) : status;
}
