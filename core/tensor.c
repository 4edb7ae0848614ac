/* SPDX-License-Identifier: Apache-2.0
 * Shapes, element types and dense tensors. */
#include "core/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {[EXN_F32] = {"float32", 4}, [EXN_I64] = {"int64", 8}, [EXN_I32] = {"int32", 4},
              [EXN_U8] = {"uint8", 1},    [EXN_BOOL] = {"bool", 1}, [EXN_F64] = {"float64", 8}};

static bool dtype_known(exn_dtype dtype) {
    return (size_t)dtype < sizeof dtypes / sizeof dtypes[0];
}

size_t exn_dtype_bytes(exn_dtype dtype) {
    return dtype_known(dtype) ? dtypes[dtype].bytes : 0;
}

const char *exn_dtype_name(exn_dtype dtype) {
    return dtype_known(dtype) ? dtypes[dtype].name : "unknown type";
}

/* Zeros count as ones while checking, so that products of any subset of the dimensions stay in range too. */
exn_status exn_shape_count(size_t *out, exn_context *ctx, const exn_shape *shape) {
    if (shape->rank > EXN_RANK_MAX)
        return exn_fail(ctx, EXN_E_SHAPE, "rank %zu is beyond %u", shape->rank, EXN_RANK_MAX);
    const size_t limit = ctx != NULL ? exn_context_limits(ctx)->elements : EXN_ELEMENTS_MAX;
    size_t whole = 1;
    bool empty = false;
    for (size_t i = 0; i < shape->rank; i++) {
        const size_t dim = shape->dim[i];
        empty = empty || dim == 0;
        if (dim > 0 && dim > limit / whole) {
            char text[EXN_SHAPE_TEXT_BYTES];
            return exn_fail(ctx, EXN_E_SHAPE, "shape %s has more than %zu elements", exn_shape_text(text, shape),
                            limit);
        }
        whole *= dim > 0 ? dim : 1;
    }
    *out = empty ? 0 : whole;
    return EXN_OK;
}

size_t exn_shape_elements(const exn_shape *shape) {
    size_t count = 1;
    for (size_t i = 0; i < shape->rank; i++) count *= shape->dim[i];
    return count;
}

bool exn_shape_equal(const exn_shape *a, const exn_shape *b) {
    return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

exn_shape exn_shape_of(size_t rank, const size_t *dims) {
    assert(rank <= EXN_RANK_MAX);
    exn_shape shape = {.rank = rank};
    for (size_t i = 0; i < rank; i++) shape.dim[i] = dims[i];
    return shape;
}

char *exn_shape_text(char text[EXN_SHAPE_TEXT_BYTES], const exn_shape *shape) {
    size_t used = 0;
    snprintf(text, EXN_SHAPE_TEXT_BYTES, "scalar");
    for (size_t i = 0; i < shape->rank && i < EXN_RANK_MAX; i++) {
        const char *joint = i > 0 ? "x" : "";
        used += (size_t)snprintf(text + used, EXN_SHAPE_TEXT_BYTES - used, "%s%zu", joint, shape->dim[i]);
    }
    return text;
}

exn_status exn_tensor_create(exn_tensor *out, exn_context *ctx, exn_dtype dtype, const exn_shape *shape) {
    size_t count = 0;
    if (!dtype_known(dtype)) return exn_fail(ctx, EXN_E_INVALID, "element type %d is unknown", (int)dtype);
    EXN_TRY(exn_shape_count(&count, ctx, shape));
    void *data = exn_calloc(ctx, count, exn_dtype_bytes(dtype));
    if (data == NULL) return EXN_E_NOMEM;
    *out = (exn_tensor){dtype, *shape, data};
    return EXN_OK;
}

void exn_tensor_destroy(exn_context *ctx, exn_tensor *tensor) {
    if (tensor == NULL) return;
    exn_free(ctx, tensor->data);
    memset(tensor, 0, sizeof *tensor);
}
