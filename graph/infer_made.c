/* SPDX-License-Identifier: Apache-2.0
 * Operators that binding makes of others: each is a formula, whose last operator takes its place. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"

/* A formula being written down; after the first failure the rest is skipped. */
typedef struct maker {
    exn_infer *s;
    exn_status status;
} maker;

#define ONE(op, x) make(m, EXN_OP_##op, NULL, (exn_value_id[]){x}, 1)
#define TWO(op, x, y) make(m, EXN_OP_##op, NULL, (exn_value_id[]){x, y}, 2)

static exn_value_id make(maker *m, exn_op op, const exn_attrs *attrs, const exn_value_id in[], size_t count) {
    exn_value_id out = EXN_VALUE_NONE;
    if (m->status == EXN_OK) m->status = exn_infer_apply(&out, m->s, op, attrs, in, count);
    return out;
}

/* The formula's last operator. */
static exn_status last(maker *m, exn_op op, const exn_attrs *attrs, const exn_value_id in[], size_t count) {
    exn_infer *s = m->s;
    EXN_TRY(m->status);
    s->op = op;
    s->attrs = exn_op_attrs(op);
    if (attrs != NULL) s->attrs = *attrs;
    memcpy(s->in, in, count * sizeof *in);
    s->in_count = count;
    return exn_infer_rule(op)(s);
}
#define LAST_ONE(op, x) last(m, EXN_OP_##op, NULL, (exn_value_id[]){x}, 1)
#define LAST_TWO(op, x, y) last(m, EXN_OP_##op, NULL, (exn_value_id[]){x, y}, 2)

static exn_value_id constant(maker *m, exn_dtype dtype, const exn_shape *shape, const void *data) {
    exn_value_id out = EXN_VALUE_NONE;
    if (m->status == EXN_OK) m->status = exn_graph_constant(&out, m->s->graph, NULL, dtype, shape, data, true);
    return out;
}

static exn_value_id number(maker *m, float value) {
    return constant(m, EXN_F32, &(exn_shape){0}, &value);
}

/* In the type of x. */
static exn_value_id number_like(maker *m, exn_value_id x, int whole) {
    const exn_dtype dtype = m->status == EXN_OK ? m->s->graph->values[x].dtype : EXN_F32;
    const int64_t wide = whole;
    if (dtype == EXN_I64) return constant(m, EXN_I64, &(exn_shape){0}, &wide);
    return number(m, (float)whole);
}

static exn_value_id integers(maker *m, const int64_t list[], size_t count) {
    return constant(m, EXN_I64, &(exn_shape){.rank = 1, .dim = {count}}, list);
}

static exn_value_id reshape(maker *m, exn_value_id x, const int64_t dims[], size_t rank) {
    return TWO(Reshape, x, integers(m, dims, rank));
}

/* ---- several inputs ---- */

exn_status exn_infer_variadic(exn_infer *s) {
    maker made = {.s = s}, *m = &made;
    const exn_op op = s->op == EXN_OP_Sum || s->op == EXN_OP_Mean ? EXN_OP_Add : s->op;
    const size_t count = s->in_count;
    const bool mean = s->op == EXN_OP_Mean;
    exn_value_id so_far = s->in[0];
    for (size_t i = 1; i + (mean ? 0 : 1) < count; i++)
        so_far = make(m, op, NULL, (exn_value_id[]){so_far, s->in[i]}, 2);
    if (mean) return LAST_TWO(Mul, so_far, number(m, 1.0f / (float)count));
    if (count == 1) return LAST_ONE(Identity, so_far);
    EXN_TRY(m->status);
    s->op = op;
    s->in[0] = so_far;
    s->in[1] = s->in[count - 1];
    s->in_count = 2;
    return exn_infer_binary(s);
}

/* ---- reductions ---- */

/* All of them end in a sum or a maximum over the axes of the second input, if any. */
static exn_value_id reduce(maker *m, exn_op op, exn_value_id x, exn_value_id axes, const exn_attrs *attrs) {
    return make(m, op, attrs, (exn_value_id[]){x, axes}, axes == EXN_VALUE_NONE ? 1 : 2);
}

static exn_status reduced(maker *m, exn_op op, exn_value_id x, exn_value_id axes, const exn_attrs *attrs) {
    return last(m, op, attrs, (exn_value_id[]){x, axes}, axes == EXN_VALUE_NONE ? 1 : 2);
}

/* The largest is taken out of the exponentials, so that none overflows, and added again. */
static exn_status log_sum_exp(maker *m, exn_value_id x, exn_value_id axes, const exn_attrs *attrs) {
    exn_attrs kept = *attrs;
    kept.keep_dims = true;
    const exn_value_id most = reduce(m, EXN_OP_ReduceMax, x, axes, &kept);
    const exn_value_id sum = reduce(m, EXN_OP_ReduceSum, ONE(Exp, TWO(Sub, x, most)), axes, attrs);
    return LAST_TWO(Add, ONE(Log, sum), reduce(m, EXN_OP_ReduceSum, most, axes, attrs));
}

static exn_status make_reduction(maker *m) {
    const exn_infer *s = m->s;
    const exn_attrs attrs = s->attrs;
    const exn_value_id x = s->in[0], axes = s->in_count > 1 ? s->in[1] : EXN_VALUE_NONE;
    switch (s->op) {
    case EXN_OP_ReduceMin:
        return LAST_ONE(Neg, reduce(m, EXN_OP_ReduceMax, ONE(Neg, x), axes, &attrs));
    case EXN_OP_ReduceL1:
        return reduced(m, EXN_OP_ReduceSum, ONE(Abs, x), axes, &attrs);
    case EXN_OP_ReduceL2:
        return LAST_ONE(Sqrt, reduce(m, EXN_OP_ReduceSum, TWO(Mul, x, x), axes, &attrs));
    case EXN_OP_ReduceLogSum:
        return LAST_ONE(Log, reduce(m, EXN_OP_ReduceSum, x, axes, &attrs));
    case EXN_OP_ReduceSumSquare:
        return reduced(m, EXN_OP_ReduceSum, TWO(Mul, x, x), axes, &attrs);
    default:
        return log_sum_exp(m, x, axes, &attrs);
    }
}

/* ---- norms ---- */

typedef struct normal {
    exn_value_id value, mean, inverse;
} normal;

/* (x - mean) / sqrt(variance + epsilon) over the axes from `first` on. */
static normal normalise(maker *m, exn_value_id x, size_t first, size_t rank, float epsilon) {
    int64_t list[EXN_RANK_MAX];
    for (size_t i = first; i < rank; i++) list[i - first] = (int64_t)i;
    const exn_value_id axes = integers(m, list, rank - first);
    normal y;
    y.mean = TWO(ReduceMean, x, axes);
    const exn_value_id rest = TWO(Sub, x, y.mean);
    const exn_value_id variance = TWO(ReduceMean, TWO(Mul, rest, rest), axes);
    y.inverse = ONE(Reciprocal, ONE(Sqrt, TWO(Add, variance, number(m, epsilon))));
    y.value = TWO(Mul, rest, y.inverse);
    return y;
}

/* A vector with one element a channel, or a group, for an input of this rank. */
static exn_value_id column(maker *m, exn_value_id x, size_t rank) {
    int64_t dims[EXN_RANK_MAX] = {-1};
    for (size_t i = 1; i + 1 < rank; i++) dims[i] = 1;
    return reshape(m, x, dims, rank - 1);
}

static exn_status make_layer_norm(maker *m) {
    exn_infer *s = m->s;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const exn_value_id scale = s->in[1], shift = s->in_count > 2 ? s->in[2] : EXN_VALUE_NONE;
    size_t axis;
    EXN_TRY(exn_infer_axis(&axis, s, s->attrs.axis, x.rank));
    const normal y = normalise(m, s->in[0], axis, x.rank, s->attrs.epsilon);
    s->more[0] = y.mean;
    s->more[1] = y.inverse;
    if (shift == EXN_VALUE_NONE) return LAST_TWO(Mul, y.value, scale);
    return LAST_TWO(Add, TWO(Mul, y.value, scale), shift);
}

/* One group a channel is InstanceNormalization; scale and shift have an element a channel, or a group in older files. */
static exn_status make_group_norm(maker *m) {
    exn_infer *s = m->s;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    if (x.rank < 3 || exn_shape_elements(&x) == 0)
        return exn_fail(s->ctx, EXN_E_SHAPE, "its input is empty, or has no extent beside channels");
    const size_t groups = s->op == EXN_OP_GroupNormalization ? s->attrs.groups : x.dim[1];
    if (x.dim[1] % groups != 0) return exn_fail(s->ctx, EXN_E_SHAPE, "%zu channels in %zu groups", x.dim[1], groups);
    const exn_value *of = exn_infer_input(s, 1);
    const bool each = groups == x.dim[1] || of->shape.rank != 1 || of->shape.dim[0] != groups;
    const exn_value_id scale = column(m, s->in[1], each ? x.rank : 3), shift = column(m, s->in[2], each ? x.rank : 3);
    const exn_value_id image = s->in[0];
    normal y = normalise(m, reshape(m, image, (const int64_t[]){0, (int64_t)groups, -1}, 3), 2, 3, s->attrs.epsilon);
    if (!each) y.value = TWO(Add, TWO(Mul, y.value, scale), shift);
    const exn_value_id shape = ONE(Shape, image);
    if (!each) return LAST_TWO(Reshape, y.value, shape);
    return LAST_TWO(Add, TWO(Mul, TWO(Reshape, y.value, shape), scale), shift);
}

/* x / (bias + alpha / size * sum of squares of `size` neighbouring channels) ^ beta: the sum is a 1x1 convolution. */
static exn_status make_lrn(maker *m) {
    exn_infer *s = m->s;
    EXN_TRY(exn_infer_floats(s, 0, 4));
    const exn_value_id x = s->in[0];
    const exn_attrs a = s->attrs;
    const size_t channels = exn_infer_input(s, 0)->shape.dim[1], before = (a.groups - 1) / 2, after = a.groups / 2;
    const exn_shape shape = {.rank = 4, .dim = {channels, channels, 1, 1}};
    size_t count;
    void *block;
    EXN_TRY(exn_shape_count(&count, s->ctx, &shape));
    EXN_TRY(exn_infer_spend(s, count));
    EXN_TRY(exn_graph_block(&block, s->graph, count, sizeof(float)));
    for (size_t y = 0; y < channels; y++)
        for (size_t c = y > before ? y - before : 0; c < channels && c <= y + after; c++)
            ((float *)block)[y * channels + c] = a.alpha / (float)a.groups;
    exn_value_id band;
    EXN_TRY(exn_graph_constant(&band, s->graph, NULL, EXN_F32, &shape, block, false));
    const exn_value_id sum = TWO(Add, TWO(Conv, TWO(Mul, x, x), band), number(m, a.lo));
    return LAST_TWO(Mul, x, TWO(Pow, sum, number(m, -a.beta)));
}

/* ---- moves ---- */

/* Blocks of side b become channels, or channels blocks: six dimensions in another order. */
static exn_status make_blocks(maker *m) {
    const exn_infer *s = m->s;
    EXN_TRY(exn_infer_floats(s, 0, 4));
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const int64_t b = (int64_t)s->attrs.groups, c = (int64_t)x.dim[1], h = (int64_t)x.dim[2], w = (int64_t)x.dim[3];
    const bool deep = s->op == EXN_OP_SpaceToDepth;
    if (exn_shape_elements(&x) == 0) return exn_fail(s->ctx, EXN_E_SHAPE, "its input is empty");
    if (deep ? h % b != 0 || w % b != 0 : c % b != 0 || c / b % b != 0)
        return exn_fail(s->ctx, EXN_E_SHAPE, "%lldx%lldx%lld in blocks of %lld", (long long)c, (long long)h,
                        (long long)w, (long long)b);
    const bool channels_first = s->attrs.variant == 1;
    const int64_t parts[3][6] = {{0, b, b, deep ? 1 : c / b / b, h, w},
                                 {0, deep ? 1 : c / b / b, b, b, h, w},
                                 {0, c, deep ? h / b : 1, b, deep ? w / b : 1, b}};
    const int64_t whole[2][4] = {{0, deep ? 1 : c / b / b, h * b, w * b},
                                 {0, c * b * b, deep ? h / b : 1, deep ? w / b : 1}};
    static const size_t orders[3][6] = {{0, 3, 4, 1, 5, 2}, {0, 1, 4, 2, 5, 3}, {0, 3, 5, 1, 2, 4}};
    const size_t which = deep ? 2 : channels_first ? 1 : 0;
    exn_attrs turn = exn_attrs_default();
    memcpy(turn.order, orders[which], sizeof orders[which]);
    turn.axes = 6;
    const exn_value_id cut = reshape(m, s->in[0], parts[which], 6);
    const exn_value_id turned = make(m, EXN_OP_Transpose, &turn, &cut, 1);
    return LAST_TWO(Reshape, turned, integers(m, whole[deep], 4));
}

/* x times ones of this shape. */
static exn_value_id spread(maker *m, exn_value_id x, const int64_t dims[], size_t rank) {
    const exn_value_id one = number_like(m, x, 1);
    const exn_value_id row = m->status == EXN_OK ? reshape(m, one, (const int64_t[]){1}, 1) : one;
    return TWO(Mul, x, TWO(ConstantOfShape, integers(m, dims, rank), row));
}

static exn_status make_expand(maker *m) {
    const exn_infer *s = m->s;
    int64_t dims[EXN_RANK_MAX];
    size_t rank;
    EXN_TRY(exn_infer_integers(dims, &rank, s, 1, EXN_RANK_MAX));
    return LAST_ONE(Identity, spread(m, s->in[0], dims, rank));
}

/* Each axis that is repeated gets another one before it, along which ones spread it. */
static exn_status make_tile(maker *m) {
    const exn_infer *s = m->s;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    int64_t repeats[EXN_RANK_MAX], cut[2 * EXN_RANK_MAX], ones[2 * EXN_RANK_MAX], whole[EXN_RANK_MAX];
    size_t rank, at = 0;
    EXN_TRY(exn_infer_integers(repeats, &rank, s, 1, EXN_RANK_MAX));
    if (rank != x.rank) return exn_fail(s->ctx, EXN_E_SHAPE, "%zu repeats for %zu axes", rank, x.rank);
    for (size_t i = 0; i < rank; i++) {
        const int64_t extent = (int64_t)x.dim[i];
        if (repeats[i] < 1 || repeats[i] > (int64_t)EXN_ELEMENTS_MAX)
            return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "axis %zu is repeated %lld times", i, (long long)repeats[i]);
        if (repeats[i] > 1) {
            cut[at] = 1;
            ones[at++] = repeats[i];
        }
        cut[at] = extent;
        ones[at++] = 1;
        whole[i] = extent * repeats[i];
    }
    if (at > EXN_RANK_MAX) return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "more than %u axes in between", EXN_RANK_MAX);
    const exn_value_id wide = spread(m, reshape(m, s->in[0], cut, at), ones, at);
    return LAST_TWO(Reshape, wide, integers(m, whole, rank));
}

/* ---- all of them ---- */

exn_status exn_infer_gelu(exn_infer *s) {
    maker made = {.s = s}, *m = &made;
    const exn_value_id x = s->in[0];
    if (s->attrs.variant == 0) return exn_infer_unary(s);
    const exn_value_id cube = TWO(Mul, TWO(Mul, x, x), TWO(Mul, x, number(m, 0.044715f)));
    const exn_value_id bend = ONE(Tanh, TWO(Mul, TWO(Add, x, cube), number(m, 0.79788456f)));
    return LAST_TWO(Mul, TWO(Mul, x, number(m, 0.5f)), TWO(Add, bend, number(m, 1.0f)));
}

exn_status exn_infer_power(exn_infer *s) {
    maker made = {.s = s}, *m = &made;
    const exn_value *base = exn_infer_input(s, 0), *exponent = exn_infer_input(s, 1);
    exn_attrs cast = exn_attrs_default();
    cast.to = EXN_F32;
    if (base->dtype == EXN_F32 && exponent->dtype != EXN_F32 && exponent->data != NULL)
        s->in[1] = make(m, EXN_OP_Cast, &cast, &s->in[1], 1);
    EXN_TRY(m->status);
    return exn_infer_binary(s);
}

exn_status exn_infer_made(exn_infer *s) {
    maker made = {.s = s}, *m = &made;
    const exn_value_id x = s->in[0];
    switch (s->op) {
    case EXN_OP_Neg:
        return LAST_TWO(Mul, x, number_like(m, x, -1));
    case EXN_OP_Reciprocal:
        return LAST_TWO(Div, number(m, 1.0f), x);
    case EXN_OP_Celu: {
        const float alpha = s->attrs.lo;
        if (!(fabsf(alpha) > 0)) return exn_fail(s->ctx, EXN_E_FORMAT, "attribute 'alpha' is 0");
        return LAST_TWO(Mul, ONE(Elu, TWO(Div, x, number(m, alpha))), number(m, alpha));
    }
    case EXN_OP_Mish:
        return LAST_TWO(Mul, x, ONE(Tanh, ONE(Softplus, x)));
    case EXN_OP_LRN:
        return make_lrn(m);
    case EXN_OP_LayerNormalization:
        return make_layer_norm(m);
    case EXN_OP_InstanceNormalization:
    case EXN_OP_GroupNormalization:
        return make_group_norm(m);
    case EXN_OP_DepthToSpace:
    case EXN_OP_SpaceToDepth:
        return make_blocks(m);
    case EXN_OP_Expand:
        return make_expand(m);
    case EXN_OP_Tile:
        return make_tile(m);
    default:
        return make_reduction(m);
    }
}
