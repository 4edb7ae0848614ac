/* SPDX-License-Identifier: Apache-2.0
 * Arithmetic and movement on constants, element by element. */
#include "graph/constfold.h"
#include "kernels/elementwise.h"

#include <math.h>
#include <string.h>

static void strides_of(size_t stride[], const exn_shape *shape) {
    size_t step = 1;
    for (size_t i = shape->rank; i-- > 0;) {
        stride[i] = step;
        step *= shape->dim[i];
    }
}

/* Advances a multi-index in row-major order. */
static void next_index(size_t index[], const exn_shape *shape) {
    for (size_t i = shape->rank; i-- > 0;) {
        if (++index[i] < shape->dim[i]) return;
        index[i] = 0;
    }
}

/* y[index] = x[sum of offset + index * stride]. */
static void copy_strided(uint8_t *y, const exn_shape *shape, const exn_value *x, ptrdiff_t offset,
                         const ptrdiff_t stride[]) {
    const size_t bytes = exn_dtype_bytes(x->dtype), count = exn_shape_elements(shape);
    size_t index[EXN_RANK_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        ptrdiff_t at = offset;
        for (size_t d = 0; d < shape->rank; d++) at += (ptrdiff_t)index[d] * stride[d];
        memcpy(y + i * bytes, (const uint8_t *)x->data + (size_t)at * bytes, bytes);
        next_index(index, shape);
    }
}

static void fold_transpose(uint8_t *y, const exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    size_t from[EXN_RANK_MAX];
    ptrdiff_t stride[EXN_RANK_MAX];
    strides_of(from, &x->shape);
    for (size_t i = 0; i < x->shape.rank; i++) stride[i] = (ptrdiff_t)from[s->attrs.order[i]];
    copy_strided(y, &s->shape[0], x, 0, stride);
}

static void fold_slice(uint8_t *y, const exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    size_t from[EXN_RANK_MAX];
    ptrdiff_t stride[EXN_RANK_MAX], offset = 0;
    strides_of(from, &x->shape);
    for (size_t i = 0; i < x->shape.rank; i++) {
        stride[i] = (ptrdiff_t)from[i] * (ptrdiff_t)s->attrs.step[i];
        offset += (ptrdiff_t)from[i] * (ptrdiff_t)s->attrs.start[i];
    }
    copy_strided(y, &s->shape[0], x, offset, stride);
}

/* Elements of one index along the axis, and how many such runs there are before it. */
static void runs_along(size_t *outer, size_t *inner, const exn_shape *shape, size_t axis) {
    *outer = *inner = 1;
    for (size_t i = 0; i < shape->rank; i++)
        if (i != axis) *(i < axis ? outer : inner) *= shape->dim[i];
}

static void fold_gather(uint8_t *y, const exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0), *indices = exn_infer_input(s, 1);
    const size_t axis = (size_t)s->attrs.axis, extent = x->shape.dim[axis], count = exn_shape_elements(&indices->shape);
    size_t outer, inner;
    runs_along(&outer, &inner, &x->shape, axis);
    const size_t bytes = inner * exn_dtype_bytes(x->dtype);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < count; i++) {
            const int64_t given = exn_value_i64(indices, i);
            const size_t index = (size_t)(given < 0 ? given + (int64_t)extent : given);
            memcpy(y + (o * count + i) * bytes, (const uint8_t *)x->data + (o * extent + index) * bytes, bytes);
        }
}

static void fold_concat(uint8_t *y, const exn_infer *s) {
    const size_t axis = (size_t)s->attrs.axis;
    size_t outer, inner, at = 0;
    runs_along(&outer, &inner, &s->shape[0], axis);
    const size_t bytes = inner * exn_dtype_bytes(s->dtype), row = s->shape[0].dim[axis] * bytes;
    for (size_t i = 0; i < s->in_count; i++) {
        const exn_value *x = exn_infer_input(s, i);
        const size_t part = x->shape.dim[axis] * bytes;
        for (size_t o = 0; o < outer && part > 0; o++)
            memcpy(y + o * row + at, (const uint8_t *)x->data + o * part, part);
        at += part;
    }
}

static void fold_fill(uint8_t *y, const exn_infer *s) {
    const exn_value *fill = exn_infer_input(s, 1);
    const size_t bytes = exn_dtype_bytes(s->dtype), count = exn_shape_elements(&s->shape[0]);
    if (fill == NULL) return; /* zeroed already */
    for (size_t i = 0; i < count; i++) memcpy(y + i * bytes, fill->data, bytes);
}

/* ---- arithmetic ---- */

static double element_real(const exn_value *x, size_t i) {
    return x->dtype == EXN_F32 ? (double)exn_value_f32(x, i) : (double)exn_value_i64(x, i);
}

/* Towards zero and within the type, as every back end agrees on for values that fit. */
static int64_t element_whole(const exn_value *x, size_t i) {
    if (x->dtype != EXN_F32) return exn_value_i64(x, i);
    const double real = (double)exn_value_f32(x, i);
    if (isnan(real)) return 0;
    return real >= 9.2e18 ? INT64_MAX : real <= -9.2e18 ? INT64_MIN : (int64_t)real;
}

static void store(uint8_t *y, exn_dtype dtype, size_t i, int64_t whole, double real) {
    if (dtype == EXN_F32) ((float *)(void *)y)[i] = (float)real;
    if (dtype == EXN_I64) ((int64_t *)(void *)y)[i] = whole;
    if (dtype == EXN_I32) ((int32_t *)(void *)y)[i] = (int32_t)whole;
    if (dtype == EXN_U8) y[i] = (uint8_t)whole;
    if (dtype == EXN_BOOL) y[i] = whole != 0 || real != 0;
}

static void fold_cast(uint8_t *y, const exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    const size_t count = exn_shape_elements(&x->shape);
    for (size_t i = 0; i < count; i++) store(y, s->dtype, i, element_whole(x, i), element_real(x, i));
}

static float combine_real(exn_op op, float a, float b) {
    switch (op) {
    case EXN_OP_Add:
        return a + b;
    case EXN_OP_Sub:
        return a - b;
    case EXN_OP_Mul:
        return a * b;
    case EXN_OP_Max:
        return a > b ? a : b;
    case EXN_OP_Min:
        return a < b ? a : b;
    default:
        return a / b;
    }
}

/* Wraps like the machine; division by zero is caught before. */
static int64_t combine_whole(exn_op op, int64_t a, int64_t b) {
    switch (op) {
    case EXN_OP_Add:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case EXN_OP_Sub:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case EXN_OP_Mul:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case EXN_OP_Max:
        return a > b ? a : b;
    case EXN_OP_Min:
        return a < b ? a : b;
    default:
        return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    }
}

static void broadcast_strides(ptrdiff_t stride[], const exn_shape *y, const exn_shape *x) {
    size_t from[EXN_RANK_MAX];
    const size_t lead = y->rank - x->rank;
    strides_of(from, x);
    for (size_t i = 0; i < y->rank; i++) stride[i] = i < lead || x->dim[i - lead] == 1 ? 0 : (ptrdiff_t)from[i - lead];
}

static exn_status fold_binary(uint8_t *y, const exn_infer *s) {
    const exn_value *a = exn_infer_input(s, 0), *b = exn_infer_input(s, 1);
    const exn_shape *shape = &s->shape[0];
    const size_t count = exn_shape_elements(shape);
    ptrdiff_t a_stride[EXN_RANK_MAX], b_stride[EXN_RANK_MAX];
    size_t index[EXN_RANK_MAX] = {0};
    broadcast_strides(a_stride, shape, &a->shape);
    broadcast_strides(b_stride, shape, &b->shape);
    for (size_t i = 0; i < count; i++) {
        ptrdiff_t p = 0, q = 0;
        for (size_t d = 0; d < shape->rank; d++) {
            p += (ptrdiff_t)index[d] * a_stride[d];
            q += (ptrdiff_t)index[d] * b_stride[d];
        }
        if (s->dtype == EXN_F32) {
            const float real = combine_real(s->op, exn_value_f32(a, (size_t)p), exn_value_f32(b, (size_t)q));
            if (!isfinite(real))
                return exn_fail(s->ctx, EXN_E_FORMAT, "constant arithmetic gives a value that is not finite");
            store(y, EXN_F32, i, 0, (double)real);
        } else {
            const int64_t divisor = exn_value_i64(b, (size_t)q);
            if (s->op == EXN_OP_Div && divisor == 0) return exn_fail(s->ctx, EXN_E_FORMAT, "division by zero");
            store(y, s->dtype, i, combine_whole(s->op, exn_value_i64(a, (size_t)p), divisor), 0);
        }
        next_index(index, shape);
    }
    return EXN_OK;
}

/* Those functions that need no instruction set's help. */
static exn_status fold_unary(uint8_t *y, const exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    float *out = (float *)(void *)y;
    const size_t count = exn_shape_elements(&x->shape);
    for (size_t i = 0; i < count; i++) out[i] = exn_value_f32(x, i);
    exn_unary(NULL, s->attrs.activation, count, out, out, s->attrs.lo, s->attrs.hi);
    if (exn_floats_finite(out, count) == count) return EXN_OK;
    return exn_fail(s->ctx, EXN_E_FORMAT, "constant arithmetic gives a value that is not finite");
}

static exn_status compute(uint8_t *y, const exn_infer *s, size_t bytes) {
    const exn_value *x = exn_infer_input(s, 0);
    switch (s->op) {
    case EXN_OP_Reshape:
    case EXN_OP_Flatten:
    case EXN_OP_Squeeze:
    case EXN_OP_Unsqueeze:
        if (bytes > 0) memcpy(y, x->data, bytes);
        return EXN_OK;
    case EXN_OP_Transpose:
        fold_transpose(y, s);
        return EXN_OK;
    case EXN_OP_Slice:
        fold_slice(y, s);
        return EXN_OK;
    case EXN_OP_Gather:
        fold_gather(y, s);
        return EXN_OK;
    case EXN_OP_Concat:
        fold_concat(y, s);
        return EXN_OK;
    case EXN_OP_ConstantOfShape:
        fold_fill(y, s);
        return EXN_OK;
    case EXN_OP_Cast:
        fold_cast(y, s);
        return EXN_OK;
    case EXN_OP_Add:
    case EXN_OP_Sub:
    case EXN_OP_Mul:
    case EXN_OP_Div:
    case EXN_OP_Max:
    case EXN_OP_Min:
        return fold_binary(y, s);
    case EXN_OP_Abs:
    case EXN_OP_Sqrt:
    case EXN_OP_Floor:
    case EXN_OP_Ceil:
    case EXN_OP_Round:
    case EXN_OP_Sign:
        return fold_unary(y, s);
    default:
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "all its inputs are constants");
    }
}

exn_status exn_constfold(exn_value_id *outputs, exn_infer *s, const char *const *names) {
    const size_t count = exn_shape_elements(&s->shape[0]);
    void *block;
    if (s->out_count != 1) return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "all its inputs are constants");
    EXN_TRY(exn_infer_spend(s, count));
    EXN_TRY(exn_graph_block(&block, s->graph, count, exn_dtype_bytes(s->dtype)));
    EXN_TRY(compute(block, s, count * exn_dtype_bytes(s->dtype)));
    return exn_graph_constant(&outputs[0], s->graph, names[0], s->dtype, &s->shape[0], block, false);
}
