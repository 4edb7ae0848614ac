/* SPDX-License-Identifier: Apache-2.0
 * Shapes, element types and dense tensors. */
#ifndef EXN_CORE_TENSOR_H
#define EXN_CORE_TENSOR_H

#include "core/context.h"

#define EXN_RANK_MAX 8u

typedef enum exn_dtype { EXN_F32 = 0, EXN_I64 = 1, EXN_I32 = 2, EXN_U8 = 3, EXN_BOOL = 4, EXN_F64 = 5 } exn_dtype;

typedef struct exn_shape {
    size_t rank;              /* 0: a scalar */
    size_t dim[EXN_RANK_MAX]; /* a zero makes the tensor empty */
} exn_shape;

size_t exn_dtype_bytes(exn_dtype dtype);
const char *exn_dtype_name(exn_dtype dtype);
/* Number of elements; EXN_E_SHAPE beyond the context's limit. ctx NULL: EXN_ELEMENTS_MAX. */
exn_status exn_shape_count(size_t *out, exn_context *ctx, const exn_shape *shape);
/* The same for a shape already checked. */
size_t exn_shape_elements(const exn_shape *shape);
bool exn_shape_equal(const exn_shape *a, const exn_shape *b);
exn_shape exn_shape_of(size_t rank, const size_t *dims);
/* "2x3x224x224", "scalar" for rank 0; always terminated. Returns text. */
#define EXN_SHAPE_TEXT_BYTES 192u
char *exn_shape_text(char text[EXN_SHAPE_TEXT_BYTES], const exn_shape *shape);

/* Dense, row-major, owns its data. */
typedef struct exn_tensor {
    exn_dtype dtype;
    exn_shape shape;
    void *data;
} exn_tensor;

exn_status exn_tensor_create(exn_tensor *out, exn_context *ctx, exn_dtype dtype, const exn_shape *shape); /* zeroed */
void exn_tensor_destroy(exn_context *ctx, exn_tensor *tensor); /* leaves it all zero */

#endif
