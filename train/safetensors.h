/* SPDX-License-Identifier: Apache-2.0
 * Named tensors in one file: the safetensors format, float32 and bytes.
 *
 *     u64 little-endian: length of the header; header: one JSON object, padded with spaces; data
 *
 * Reading trusts nothing: bounded header, offsets inside the data, no overlap, no gap, no name twice. */
#ifndef EXN_TRAIN_SAFETENSORS_H
#define EXN_TRAIN_SAFETENSORS_H

#include "core/file.h"
#include "core/tensor.h"

#include <jansson.h>

typedef struct exn_named_tensor {
    char *name;
    exn_dtype dtype; /* EXN_F32 or EXN_U8 */
    exn_shape shape;
    const void *data; /* reading: inside the bytes given, maybe unaligned. Little-endian */
    size_t bytes;
} exn_named_tensor;

typedef struct exn_tensor_list {
    exn_named_tensor *tensors;
    size_t count, capacity;
} exn_tensor_list;

/* Copies the name, borrows the data. */
exn_status exn_tensor_list_add(exn_tensor_list *list, exn_context *ctx, const char *name, exn_dtype dtype,
                               const exn_shape *shape, const void *data);
/* NULL if there is none of this name. */
const exn_named_tensor *exn_tensor_list_find(const exn_tensor_list *list, const char *name);
void exn_tensor_list_free(exn_tensor_list *list, exn_context *ctx);

/* Appends the whole file to a writer. */
exn_status exn_safetensors_write(exn_writer *writer, exn_context *ctx, const exn_tensor_list *list);
/* The list borrows `bytes`. EXN_E_FORMAT for anything unexpected. */
exn_status exn_safetensors_read(exn_tensor_list *out, exn_context *ctx, const uint8_t *bytes, size_t count);
/* The file's own metadata, to be released: strings by name, if its writer kept to the format; NULL if it has none. */
exn_status exn_safetensors_notes(json_t **out, exn_context *ctx, const uint8_t *bytes, size_t count);

#endif
