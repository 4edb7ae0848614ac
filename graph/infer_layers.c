/* SPDX-License-Identifier: Apache-2.0
 * Shape rules of the operators that compute: convolutions, products, pools, norms, elementwise. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"

/* Size along one spatial dimension, resolving auto_pad into pads before and after. */
static exn_status window_size(size_t *out, exn_infer *s, size_t dim, size_t extent) {
    exn_attrs *a = &s->attrs;
    const size_t span = (a->kernel[dim] - 1) * a->dilation[dim] + 1, stride = a->stride[dim];
    size_t *before = &a->pad[dim], *after = &a->pad[dim + 2];
    if (a->auto_pad == EXN_PAD_VALID) *before = *after = 0;
    if (a->auto_pad == EXN_PAD_SAME_UPPER || a->auto_pad == EXN_PAD_SAME_LOWER) {
        const size_t covered = ((extent + stride - 1) / stride - 1) * stride + span;
        const size_t total = covered > extent ? covered - extent : 0;
        *before = a->auto_pad == EXN_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        *after = total - *before;
    }
    const size_t padded = extent + *before + *after;
    if (extent > EXN_EXTENT_MAX || padded > EXN_EXTENT_MAX)
        return exn_fail(s->ctx, EXN_E_SHAPE, "an image of %zu with padding; at most %zu", padded, EXN_EXTENT_MAX);
    if (span > padded) return exn_fail(s->ctx, EXN_E_SHAPE, "a window of %zu over an image of %zu", span, padded);
    *out = (padded - span + (a->ceil_mode ? stride - 1 : 0)) / stride + 1;
    /* A last window that would start in the padding after the image does not count. */
    if (a->ceil_mode && (*out - 1) * stride >= extent + *before) --*out;
    return EXN_OK;
}

static exn_status window_sizes(exn_infer *s, size_t channels) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    exn_shape *y = &s->shape[0];
    *y = (exn_shape){.rank = 4, .dim = {x.dim[0], channels}};
    EXN_TRY(window_size(&y->dim[2], s, 0, x.dim[2]));
    EXN_TRY(window_size(&y->dim[3], s, 1, x.dim[3]));
    s->attrs.auto_pad = EXN_PAD_EXPLICIT;
    return EXN_OK;
}

/* A float constant of `count` elements in one dimension. */
static exn_status check_vector(const exn_infer *s, size_t i, size_t count) {
    EXN_TRY(exn_infer_floats(s, i, 1));
    const exn_value *value = exn_infer_input(s, i);
    if (value->data == NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "input %zu is computed; constants are supported", i);
    if (value->shape.dim[0] != count)
        return exn_fail(s->ctx, EXN_E_SHAPE, "input %zu ('%s') has %zu elements, %zu wanted", i, value->name,
                        value->shape.dim[0], count);
    return EXN_OK;
}

exn_status exn_infer_conv(exn_infer *s) {
    exn_attrs *a = &s->attrs;
    EXN_TRY(exn_infer_floats(s, 0, 4));
    EXN_TRY(exn_infer_floats(s, 1, 4));
    const exn_value *x = exn_infer_input(s, 0), *w = exn_infer_input(s, 1);
    if (w->data == NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its weights are computed; constants are supported");
    if (a->kernel[0] == 0) memcpy(a->kernel, &w->shape.dim[2], sizeof a->kernel);
    const exn_shape *ws = &w->shape;
    if (ws->dim[2] != a->kernel[0] || ws->dim[3] != a->kernel[1] || exn_shape_elements(ws) == 0 ||
        ws->dim[2] > UINT16_MAX || ws->dim[3] > UINT16_MAX || x->shape.dim[1] % a->groups != 0 ||
        ws->dim[1] != x->shape.dim[1] / a->groups || ws->dim[0] % a->groups != 0) {
        char image[EXN_SHAPE_TEXT_BYTES], weights[EXN_SHAPE_TEXT_BYTES];
        return exn_fail(s->ctx, EXN_E_SHAPE, "weights %s, kernel %zux%zu and %zu groups do not fit the input %s",
                        exn_shape_text(weights, ws), a->kernel[0], a->kernel[1], a->groups,
                        exn_shape_text(image, &x->shape));
    }
    if (exn_infer_input(s, 2) != NULL) EXN_TRY(check_vector(s, 2, ws->dim[0]));
    return window_sizes(s, ws->dim[0]);
}

exn_status exn_infer_pool(exn_infer *s) {
    exn_attrs *a = &s->attrs;
    EXN_TRY(exn_infer_floats(s, 0, 4));
    if (a->kernel[0] == 0) return exn_fail(s->ctx, EXN_E_FORMAT, "attribute 'kernel_shape' is missing");
    EXN_TRY(window_sizes(s, exn_infer_input(s, 0)->shape.dim[1]));
    for (size_t i = 0; i < 4; i++)
        if (a->pad[i] > (a->kernel[i % 2] - 1) * a->dilation[i % 2])
            return exn_fail(s->ctx, EXN_E_SHAPE, "padding of %zu: a window would lie outside the image", a->pad[i]);
    return EXN_OK;
}

exn_status exn_infer_global_pool(exn_infer *s) {
    EXN_TRY(exn_infer_floats(s, 0, 4));
    const exn_shape *x = &exn_infer_input(s, 0)->shape;
    s->shape[0] = (exn_shape){.rank = 4, .dim = {x->dim[0], x->dim[1], 1, 1}};
    return EXN_OK;
}

exn_status exn_infer_batch_norm(exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    if (x->shape.rank < 2) return exn_fail(s->ctx, EXN_E_SHAPE, "its input has no channels");
    EXN_TRY(exn_infer_floats(s, 0, x->shape.rank));
    for (size_t i = 1; i < 5; i++) EXN_TRY(check_vector(s, i, x->shape.dim[1]));
    if (s->attrs.epsilon < 0) return exn_fail(s->ctx, EXN_E_FORMAT, "attribute 'epsilon' is negative");
    const exn_value *variance = exn_infer_input(s, 4);
    for (size_t i = 0; i < x->shape.dim[1]; i++)
        if (!(exn_value_f32(variance, i) + s->attrs.epsilon > 0))
            return exn_fail(s->ctx, EXN_E_FORMAT, "variance %zu is not positive", i);
    s->shape[0] = x->shape;
    return EXN_OK;
}

/* ---- products ---- */

/* alpha and beta * bias: into the graph as constants that folding understands. */
static exn_status scale_gemm(exn_infer *s, size_t n) {
    exn_attrs *a = &s->attrs;
    const exn_value *bias = exn_infer_input(s, 2);
    if (a->alpha == 1.0f && (bias == NULL || (a->beta == 1.0f && bias->shape.rank == 1 && bias->shape.dim[0] == n)))
        return EXN_OK;
    void *block;
    EXN_TRY(exn_graph_block(&block, s->graph, n, 2 * sizeof(float)));
    float *scale = block, *shift = scale + n;
    for (size_t j = 0; j < n; j++) {
        scale[j] = a->alpha;
        shift[j] = bias == NULL ? 0 : a->beta * exn_value_f32(bias, exn_shape_elements(&bias->shape) == 1 ? 0 : j);
    }
    a->fold_scale = scale;
    a->fold_shift = shift;
    a->alpha = a->beta = 1;
    s->in_count = 2;
    return EXN_OK;
}

static exn_status check_gemm_bias(const exn_infer *s, size_t n) {
    const exn_value *bias = exn_infer_input(s, 2);
    if (bias == NULL) return EXN_OK;
    EXN_TRY(exn_infer_floats(s, 2, bias->shape.rank));
    const exn_shape *shape = &bias->shape;
    const size_t count = exn_shape_elements(shape);
    const bool row = shape->rank <= 2 && (shape->rank == 0 || shape->dim[shape->rank - 1] == count);
    if (bias->data == NULL || !row || (count != 1 && count != n))
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its third input is not a constant with one element a column");
    return EXN_OK;
}

exn_status exn_infer_gemm(exn_infer *s) {
    exn_attrs *a = &s->attrs;
    EXN_TRY(exn_infer_floats(s, 0, 2));
    EXN_TRY(exn_infer_floats(s, 1, 2));
    if (a->trans_a) {
        const exn_shape x = exn_infer_input(s, 0)->shape, turned = {.rank = 2, .dim = {x.dim[1], x.dim[0]}};
        exn_attrs order = exn_attrs_default();
        order.order[0] = 1;
        EXN_TRY(exn_infer_keep_samples(s, true));
        EXN_TRY(exn_infer_emit(&s->in[0], s, EXN_OP_Transpose, s->in[0], &order, &turned));
        a->trans_a = false;
    }
    const exn_value *x = exn_infer_input(s, 0), *w = exn_infer_input(s, 1);
    if (w->data == NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its second input is computed; constants are supported");
    const size_t k = w->shape.dim[a->trans_b ? 1 : 0], n = w->shape.dim[a->trans_b ? 0 : 1];
    if (x->shape.dim[1] != k)
        return exn_fail(s->ctx, EXN_E_SHAPE, "rows of %zu against columns of %zu", x->shape.dim[1], k);
    s->shape[0] = (exn_shape){.rank = 2, .dim = {x->shape.dim[0], n}};
    EXN_TRY(check_gemm_bias(s, n));
    return scale_gemm(s, n);
}

/* (..., k) times a constant matrix: a Gemm over all rows, reshaped before and after. */
static exn_status flatten_matmul(exn_infer *s, const exn_shape *x, size_t n) {
    const size_t k = x->dim[x->rank - 1], rows = exn_shape_elements(x) / k;
    const exn_shape flat = {.rank = 2, .dim = {rows, k}}, product = {.rank = 2, .dim = {rows, n}};
    s->shape[0] = *x;
    s->shape[0].dim[x->rank - 1] = n;
    if (x->rank == 2) {
        s->op = EXN_OP_Gemm;
        return EXN_OK;
    }
    EXN_TRY(exn_infer_emit(&s->in[0], s, EXN_OP_Reshape, s->in[0], NULL, &flat));
    EXN_TRY(exn_graph_node(&s->in[0], s->graph, EXN_OP_Gemm, NULL, s->in, 2, NULL, &product));
    s->op = EXN_OP_Reshape;
    s->in_count = 1;
    return EXN_OK;
}

exn_status exn_infer_matmul(exn_infer *s) {
    const exn_value *a = exn_infer_input(s, 0), *b = exn_infer_input(s, 1);
    EXN_TRY(exn_infer_floats(s, 0, a->shape.rank));
    EXN_TRY(exn_infer_floats(s, 1, 2));
    const exn_shape x = a->shape;
    if (x.rank < 2 || a->data != NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its first input is constant or a vector");
    if (x.dim[x.rank - 1] != b->shape.dim[0])
        return exn_fail(s->ctx, EXN_E_SHAPE, "rows of %zu against columns of %zu", x.dim[x.rank - 1], b->shape.dim[0]);
    if (b->data != NULL) return flatten_matmul(s, &x, b->shape.dim[1]);
    if (x.rank != 2) return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "products of computed stacks of matrices");
    EXN_TRY(exn_infer_keep_samples(s, true));
    s->shape[0] = (exn_shape){.rank = 2, .dim = {x.dim[0], b->shape.dim[1]}};
    return EXN_OK;
}

/* ---- elementwise ---- */

exn_status exn_infer_unary(exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    s->shape[0] = x->shape;
    return exn_infer_floats(s, 0, x->shape.rank);
}

static exn_status read_bound(float *out, const exn_infer *s, size_t i) {
    const exn_value *bound = exn_infer_input(s, i);
    if (bound == NULL) return EXN_OK;
    if (bound->data == NULL || bound->dtype != EXN_F32 || exn_shape_elements(&bound->shape) != 1 ||
        isnan(exn_value_f32(bound, 0)))
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "input %zu is not one constant number", i);
    *out = exn_value_f32(bound, 0);
    return EXN_OK;
}

exn_status exn_infer_clip(exn_infer *s) {
    EXN_TRY(read_bound(&s->attrs.lo, s, 1));
    EXN_TRY(read_bound(&s->attrs.hi, s, 2));
    if (s->attrs.lo > s->attrs.hi) s->attrs.lo = s->attrs.hi; /* ONNX: the upper bound wins */
    s->in_count = 1;
    return exn_infer_unary(s);
}

exn_status exn_infer_prelu(exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0), *slope = exn_infer_input(s, 1);
    EXN_TRY(exn_infer_unary(s));
    EXN_TRY(exn_infer_floats(s, 1, slope->shape.rank));
    if (slope->data == NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its slopes are computed; constants are supported");
    const size_t count = exn_shape_elements(&slope->shape), rank = x->shape.rank;
    if (count == 1) {
        s->op = EXN_OP_LeakyRelu;
        s->attrs.activation = EXN_ACT_LEAKY_RELU;
        s->attrs.lo = exn_value_f32(slope, 0);
        s->in_count = 1;
        return EXN_OK;
    }
    /* Broadcasting aligns last dimensions, so the channels lie rank-2 dimensions before the slope's end. */
    const size_t behind = rank < 2 ? 0 : rank - 2;
    if (rank < 2 || slope->shape.rank <= behind || count != x->shape.dim[1] ||
        slope->shape.dim[slope->shape.rank - 1 - behind] != count)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its slopes are neither one number nor one a channel");
    exn_shape column = {.rank = rank - 1, .dim = {count}};
    for (size_t i = 1; i < rank - 1; i++) column.dim[i] = 1;
    return exn_graph_constant(&s->in[1], s->graph, NULL, EXN_F32, &column, slope->data, false);
}

exn_status exn_infer_softmax(exn_infer *s) {
    size_t axis;
    EXN_TRY(exn_infer_unary(s));
    EXN_TRY(exn_infer_axis(&axis, s, s->attrs.axis, s->shape[0].rank));
    s->attrs.axis = (int64_t)axis;
    return exn_infer_keep_samples(s, axis == 0);
}

/* Broadcasting aligns last axes: the samples of what has fewer would meet another axis of what has more. */
static exn_status keep_first_axis(const exn_infer *s, const exn_value *x, size_t rank) {
    if (x->shape.rank == rank || !exn_infer_holds_samples(s, x)) return EXN_OK;
    return exn_fail(s->ctx, EXN_E_UNSUPPORTED,
                    "broadcasting puts the %zu samples of '%s' on another axis; batch 1 is supported", s->batch,
                    x->name);
}

exn_status exn_infer_binary(exn_infer *s) {
    const exn_value *a = exn_infer_input(s, 0), *b = exn_infer_input(s, 1);
    const size_t rank = a->shape.rank > b->shape.rank ? a->shape.rank : b->shape.rank;
    EXN_TRY(keep_first_axis(s, a, rank));
    EXN_TRY(keep_first_axis(s, b, rank));
    exn_shape *y = &s->shape[0];
    if (a->dtype != b->dtype)
        return exn_fail(s->ctx, EXN_E_FORMAT, "inputs of types %s and %s", exn_dtype_name(a->dtype),
                        exn_dtype_name(b->dtype));
    y->rank = rank;
    for (size_t i = 0; i < rank; i++) { /* from the last dimension */
        const size_t p = i < a->shape.rank ? a->shape.dim[a->shape.rank - 1 - i] : 1;
        const size_t q = i < b->shape.rank ? b->shape.dim[b->shape.rank - 1 - i] : 1;
        if (p != q && p != 1 && q != 1) {
            char left[EXN_SHAPE_TEXT_BYTES], right[EXN_SHAPE_TEXT_BYTES];
            return exn_fail(s->ctx, EXN_E_SHAPE, "%s and %s cannot be broadcast", exn_shape_text(left, &a->shape),
                            exn_shape_text(right, &b->shape));
        }
        y->dim[rank - 1 - i] = p == 1 ? q : p;
    }
    s->dtype = a->dtype;
    return EXN_OK;
}
