/* SPDX-License-Identifier: Apache-2.0
 * NumPy's .npy files (format 1.0 and 2.0): float32, int64 and uint8, little-endian, C order. */
#ifndef EXN_TOOLS_NPY_H
#define EXN_TOOLS_NPY_H

#include "core/tensor.h"

typedef struct exn_npy exn_npy;

/* Reads the header and checks it against the file's size; the elements stay in the file. */
exn_status exn_npy_open(exn_npy **out, exn_context *ctx, const char *path);
void exn_npy_close(exn_npy *npy);
exn_dtype exn_npy_dtype(const exn_npy *npy);
const exn_shape *exn_npy_shape(const exn_npy *npy);
/* Elements first .. first+count-1 of the flat array; EXN_E_FORMAT for a float that is not finite. */
exn_status exn_npy_read(exn_npy *npy, void *out, size_t first, size_t count);

/* Replaces `path` by an array, atomically, a slice at a time. */
typedef struct exn_npy_writer exn_npy_writer;
exn_status exn_npy_writer_open(exn_npy_writer **out, exn_context *ctx, const char *path, exn_dtype dtype,
                               const exn_shape *shape);
exn_status exn_npy_writer_append(exn_npy_writer *writer, const void *elements, size_t count);
/* Commits and frees. */
exn_status exn_npy_writer_commit(exn_npy_writer *writer);
/* Discards and frees; NULL is legal. */
void exn_npy_writer_discard(exn_npy_writer *writer);

#endif
