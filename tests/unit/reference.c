/* SPDX-License-Identifier: Apache-2.0
 * Operators as their definition says, in double; libm is allowed here, this is no inference. */
#include "tests/unit/reference.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

typedef struct operands {
    const exn_graph *graph;
    const exn_node *node;
    const exn_attrs *a;
    const exn_shape *xs, *ys;
    const double *x; /* input 0 */
    double *y;
    const reference *r;
} operands;

static const double *input_of(const operands *o, size_t i) {
    return i < o->node->input_count && o->node->inputs[i] != EXN_VALUE_NONE ? o->r->values[o->node->inputs[i]] : NULL;
}

static const exn_shape *shape_of(const operands *o, size_t i) {
    return &o->graph->values[o->node->inputs[i]].shape;
}

/* The next index of a shape, last axis fastest; false after the last. */
static bool next_index(size_t *index, const exn_shape *shape) {
    for (size_t i = shape->rank; i-- > 0;) {
        if (++index[i] < shape->dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

static size_t flat(const size_t *index, const exn_shape *shape) {
    size_t at = 0;
    for (size_t i = 0; i < shape->rank; i++) at = at * shape->dim[i] + index[i];
    return at;
}

static double activate(exn_activation act, double x, double lo, double hi) {
    switch (act) {
    case EXN_ACT_CLAMP:
        return x < lo ? lo : x > hi ? hi : x;
    case EXN_ACT_LEAKY_RELU:
        return x < 0 ? lo * x : x;
    case EXN_ACT_HARD_SIGMOID:
        return fmin(fmax(lo * x + hi, 0), 1);
    case EXN_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case EXN_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case EXN_ACT_TANH:
        return tanh(x);
    case EXN_ACT_SILU:
        return x / (1 + exp(-x));
    case EXN_ACT_EXP:
        return exp(x);
    case EXN_ACT_LOG:
        return log(x);
    default:
        return x;
    }
}

/* What folding attached: scale and shift replace the bias, the residual, the activation. */
static double finish(const operands *o, double sum, double bias, size_t channel, size_t at) {
    const exn_attrs *a = o->a;
    double v = a->fold_scale ? sum * (double)a->fold_scale[channel] + (double)a->fold_shift[channel] : sum + bias;
    if (a->residual) v += o->r->values[o->node->inputs[o->node->input_count - 1]][at];
    return activate(a->activation, v, (double)a->lo, (double)a->hi);
}

static void run_conv(const operands *o) {
    const exn_attrs *a = o->a;
    const exn_shape *xs = o->xs, *ys = o->ys, *ws = shape_of(o, 1);
    const double *w = input_of(o, 1);
    const double *b = o->node->input_count > (a->residual ? 3u : 2u) ? input_of(o, 2) : NULL;
    const size_t group_out = ys->dim[1] / a->groups, group_in = ws->dim[1];
    size_t i[EXN_RANK_MAX] = {0};
    do {
        double sum = 0;
        for (size_t c = 0; c < group_in; c++)
            for (size_t ky = 0; ky < ws->dim[2]; ky++)
                for (size_t kx = 0; kx < ws->dim[3]; kx++) {
                    const size_t y = i[2] * a->stride[0] + ky * a->dilation[0] - a->pad[0];
                    const size_t x = i[3] * a->stride[1] + kx * a->dilation[1] - a->pad[1];
                    if (y >= xs->dim[2] || x >= xs->dim[3]) continue; /* wraps when negative */
                    const size_t from[4] = {i[0], i[1] / group_out * group_in + c, y, x}, tap[4] = {i[1], c, ky, kx};
                    sum += o->x[flat(from, xs)] * w[flat(tap, ws)];
                }
        o->y[flat(i, ys)] = finish(o, sum, b ? b[i[1]] : 0, i[1], flat(i, ys));
    } while (next_index(i, ys));
}

static void run_gemm(const operands *o) {
    const exn_attrs *a = o->a;
    const exn_shape *ws = shape_of(o, 1);
    const size_t m = o->ys->dim[0], n = o->ys->dim[1], k = ws->dim[a->trans_b ? 1 : 0];
    const double *w = input_of(o, 1);
    const double *c = o->node->input_count > (a->residual ? 3u : 2u) ? input_of(o, 2) : NULL;
    const size_t c_count = c ? exn_shape_elements(shape_of(o, 2)) : 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++)
                sum += o->x[a->trans_a ? p * m + i : i * k + p] * w[a->trans_b ? j * k + p : p * n + j];
            const double bias = !c ? 0 : c[c_count == 1 ? 0 : c_count == n ? j : i * n + j];
            o->y[i * n + j] = finish(o, (double)a->alpha * sum, (double)a->beta * bias, j, i * n + j);
        }
}

static void run_matmul(const operands *o) {
    const exn_shape *ws = shape_of(o, 1);
    const size_t n = o->ys->dim[o->ys->rank - 1], k = o->xs->dim[o->xs->rank - 1];
    const size_t rows = exn_shape_elements(o->ys) / n;
    const size_t matrix = ws->rank == 2 ? 0 : k * n, m = o->xs->dim[o->xs->rank - 2];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++) sum += o->x[i * k + p] * input_of(o, 1)[i / m * matrix + p * n + j];
            o->y[i * n + j] = sum;
        }
}

static double broadcast(const operands *o, size_t which, const size_t *index) {
    const exn_shape *s = shape_of(o, which);
    size_t at = 0;
    for (size_t i = 0; i < s->rank; i++) at = at * s->dim[i] + (s->dim[i] == 1 ? 0 : index[i + o->ys->rank - s->rank]);
    return input_of(o, which)[at];
}

static void run_binary(const operands *o) {
    size_t i[EXN_RANK_MAX] = {0};
    do {
        const double a = broadcast(o, 0, i), b = broadcast(o, 1, i);
        o->y[flat(i, o->ys)] = o->node->op == EXN_OP_Add   ? a + b
                               : o->node->op == EXN_OP_Sub ? a - b
                               : o->node->op == EXN_OP_Mul ? a * b
                                                           : a / b;
        o->y[flat(i, o->ys)] = activate(o->a->activation, o->y[flat(i, o->ys)], (double)o->a->lo, (double)o->a->hi);
    } while (next_index(i, o->ys));
}

static void run_prelu(const operands *o) {
    size_t i[EXN_RANK_MAX] = {0};
    do {
        const double x = o->x[flat(i, o->ys)];
        o->y[flat(i, o->ys)] = x < 0 ? x * broadcast(o, 1, i) : x;
    } while (next_index(i, o->ys));
}

static void run_activation(const operands *o) {
    const exn_attrs *a = o->a;
    for (size_t i = 0; i < exn_shape_elements(o->ys); i++)
        o->y[i] = activate(a->activation, o->x[i], (double)a->lo, (double)a->hi);
}

static void run_batchnorm(const operands *o) {
    size_t i[EXN_RANK_MAX] = {0};
    do {
        const size_t c = i[1], at = flat(i, o->ys);
        const double inv = 1 / sqrt(input_of(o, 4)[c] + (double)o->a->epsilon);
        const double y = (o->x[at] - input_of(o, 3)[c]) * inv * input_of(o, 1)[c] + input_of(o, 2)[c];
        o->y[at] = activate(o->a->activation, y, (double)o->a->lo, (double)o->a->hi);
    } while (next_index(i, o->ys));
}

/* Range of input rows or columns that an output cell covers, and how many of them count when padding does. */
static size_t window_range(const operands *o, size_t axis, size_t at, size_t *begin, size_t *end) {
    const exn_attrs *a = o->a;
    const size_t size = o->xs->dim[axis + 2], cells = o->ys->dim[axis + 2];
    if (a->adaptive) {
        *begin = at * size / cells;
        *end = ((at + 1) * size + cells - 1) / cells;
        return *end - *begin;
    }
    const long start = (long)(at * a->stride[axis]) - (long)a->pad[axis];
    const long stop = start + (long)a->kernel[axis], padded = (long)(size + a->pad[axis + 2]);
    *begin = start < 0 ? 0 : (size_t)start;
    *end = stop > (long)size ? size : (size_t)stop;
    return (size_t)((stop < padded ? stop : padded) - start);
}

static void run_pool(const operands *o) {
    const bool max = o->node->op == EXN_OP_MaxPool;
    size_t i[EXN_RANK_MAX] = {0};
    do {
        size_t y0, y1, x0, x1;
        const size_t all = window_range(o, 0, i[2], &y0, &y1) * window_range(o, 1, i[3], &x0, &x1);
        double best = max ? -INFINITY : 0;
        for (size_t y = y0; y < y1; y++)
            for (size_t x = x0; x < x1; x++) {
                const double v = o->x[flat((const size_t[]){i[0], i[1], y, x}, o->xs)];
                best = max ? fmax(best, v) : best + v;
            }
        const size_t count = o->a->count_include_pad && !o->a->adaptive ? all : (y1 - y0) * (x1 - x0);
        o->y[flat(i, o->ys)] = max ? best : best / (double)count;
    } while (next_index(i, o->ys));
}

/* Over the axes of `axes`; the result keeps the other axes' order. */
static void run_mean(const operands *o, uint32_t axes, bool max) {
    const size_t count = exn_shape_elements(o->ys), of_x = exn_shape_elements(o->xs);
    for (size_t i = 0; i < count; i++) o->y[i] = max ? -INFINITY : 0;
    size_t i[EXN_RANK_MAX] = {0};
    do {
        size_t at = 0;
        for (size_t d = 0; d < o->xs->rank; d++)
            if (!(axes & (1u << d))) at = at * o->xs->dim[d] + i[d];
        const double v = o->x[flat(i, o->xs)];
        o->y[at] = max ? fmax(o->y[at], v) : o->y[at] + v * (double)count / (double)of_x;
    } while (next_index(i, o->xs));
}

static void run_softmax(const operands *o) {
    const size_t axis = (size_t)o->a->axis, n = o->xs->dim[axis];
    size_t inner = 1;
    for (size_t d = axis + 1; d < o->xs->rank; d++) inner *= o->xs->dim[d];
    for (size_t at = 0; at < exn_shape_elements(o->xs); at++) {
        if (at / inner % n) continue;
        double largest = -INFINITY, sum = 0;
        for (size_t j = 0; j < n; j++) largest = fmax(largest, o->x[at + j * inner]);
        for (size_t j = 0; j < n; j++) sum += exp(o->x[at + j * inner] - largest);
        for (size_t j = 0; j < n; j++) {
            const double v = o->x[at + j * inner] - largest;
            o->y[at + j * inner] = o->node->op == EXN_OP_LogSoftmax ? v - log(sum) : exp(v) / sum;
        }
    }
}

static void run_flatten_map(const operands *o) {
    size_t i[EXN_RANK_MAX] = {0};
    do {
        const size_t at = ((i[0] * o->xs->dim[2] + i[2]) * o->xs->dim[3] + i[3]) * o->xs->dim[1] + i[1];
        o->y[at] = o->x[flat(i, o->xs)];
    } while (next_index(i, o->xs));
}

/* One index of y names one of x, for everything that only moves elements; false: not from x. */
static bool moved_from(size_t *from, const operands *o, const size_t *to) {
    const exn_attrs *a = o->a;
    for (size_t d = 0; d < o->xs->rank; d++) {
        long at = (long)to[d];
        if (o->node->op == EXN_OP_Slice) at = (long)a->start[d] + at * (long)a->step[d];
        if (o->node->op == EXN_OP_Pad) at -= (long)a->start[d];
        if (at < 0 || at >= (long)o->xs->dim[d]) return false;
        from[d] = (size_t)at;
    }
    return true;
}

static void run_move(const operands *o) {
    const double fill = o->node->op == EXN_OP_Pad && input_of(o, 2) ? input_of(o, 2)[0] : 0;
    size_t to[EXN_RANK_MAX] = {0}, from[EXN_RANK_MAX];
    if (o->node->op == EXN_OP_Transpose) {
        do {
            for (size_t d = 0; d < o->xs->rank; d++) from[o->a->order[d]] = to[d];
            o->y[flat(to, o->ys)] = o->x[flat(from, o->xs)];
        } while (next_index(to, o->ys));
        return;
    }
    do {
        o->y[flat(to, o->ys)] = moved_from(from, o, to) ? o->x[flat(from, o->xs)] : fill;
    } while (next_index(to, o->ys));
}

static void run_concat(const operands *o) {
    const size_t axis = (size_t)o->a->axis;
    size_t start = 0;
    for (size_t k = 0; k < o->node->input_count; k++) {
        const exn_shape *s = shape_of(o, k);
        size_t i[EXN_RANK_MAX] = {0}, to[EXN_RANK_MAX];
        do {
            for (size_t d = 0; d < s->rank; d++) to[d] = i[d] + (d == axis ? start : 0);
            o->y[flat(to, o->ys)] = input_of(o, k)[flat(i, s)];
        } while (next_index(i, s));
        start += s->dim[axis];
    }
}

static void run_split(const operands *o) {
    const size_t axis = (size_t)o->a->axis;
    size_t start = 0;
    for (size_t k = 0; k < o->node->output_count; k++) {
        const exn_shape *s = &o->graph->values[o->node->outputs[k]].shape;
        size_t i[EXN_RANK_MAX] = {0}, from[EXN_RANK_MAX];
        do {
            for (size_t d = 0; d < s->rank; d++) from[d] = i[d] + (d == axis ? start : 0);
            o->r->values[o->node->outputs[k]][flat(i, s)] = o->x[flat(from, o->xs)];
        } while (next_index(i, s));
        start += s->dim[axis];
    }
}

static void run_gather(const operands *o) {
    const exn_value *indices = &o->graph->values[o->node->inputs[1]];
    const size_t axis = (size_t)o->a->axis, extra = indices->shape.rank;
    size_t to[EXN_RANK_MAX] = {0}, from[EXN_RANK_MAX];
    do {
        const int64_t index = exn_value_i64(indices, flat(to + axis, &indices->shape));
        for (size_t d = 0; d < o->xs->rank; d++) from[d] = d < axis ? to[d] : to[d + extra - 1];
        from[axis] = (size_t)(index < 0 ? index + (int64_t)o->xs->dim[axis] : index);
        o->y[flat(to, o->ys)] = o->x[flat(from, o->xs)];
    } while (next_index(to, o->ys));
}

static void run_node(const operands *o) {
    switch (o->node->op) {
    case EXN_OP_Conv:
        run_conv(o);
        return;
    case EXN_OP_Gemm:
        run_gemm(o);
        return;
    case EXN_OP_MatMul:
        run_matmul(o);
        return;
    case EXN_OP_BatchNormalization:
        run_batchnorm(o);
        return;
    case EXN_OP_PRelu:
        run_prelu(o);
        return;
    case EXN_OP_Softmax:
    case EXN_OP_LogSoftmax:
        run_softmax(o);
        return;
    case EXN_OP_Add:
    case EXN_OP_Sub:
    case EXN_OP_Mul:
    case EXN_OP_Div:
        run_binary(o);
        return;
    case EXN_OP_MaxPool:
    case EXN_OP_AveragePool:
        run_pool(o);
        return;
    case EXN_OP_GlobalAveragePool:
        run_mean(o, 0xc, false);
        return;
    case EXN_OP_GlobalMaxPool:
        run_mean(o, 0xc, true);
        return;
    case EXN_OP_ReduceMean:
        run_mean(o, o->a->axes, false);
        return;
    case EXN_OP_Concat:
        run_concat(o);
        return;
    case EXN_OP_Split:
        run_split(o);
        return;
    case EXN_OP_Gather:
        run_gather(o);
        return;
    case EXN_OP_Transpose:
    case EXN_OP_Slice:
    case EXN_OP_Pad:
        run_move(o);
        return;
    case EXN_OP_Flatten:
        if (o->a->memory_order) {
            run_flatten_map(o);
            return;
        }
        memcpy(o->y, o->x, exn_shape_elements(o->ys) * sizeof *o->y);
        return;
    case EXN_OP_Reshape:
    case EXN_OP_Squeeze:
    case EXN_OP_Unsqueeze:
    case EXN_OP_Identity:
    case EXN_OP_Dropout:
        memcpy(o->y, o->x, exn_shape_elements(o->ys) * sizeof *o->y);
        return;
    default:
        run_activation(o);
    }
}

static double *allocate(const exn_value *value) {
    double *block = calloc(exn_shape_elements(&value->shape) + 1, sizeof *block);
    ck_assert_ptr_nonnull(block);
    return block;
}

void reference_run(reference *out, const exn_graph *graph, const float *input) {
    out->graph = graph;
    out->values = calloc(graph->value_count, sizeof *out->values);
    ck_assert_ptr_nonnull(out->values);
    for (size_t v = 0; v < graph->value_count; v++) {
        const exn_value *value = &graph->values[v];
        const bool constant = value->data && value->dtype == EXN_F32;
        if (!constant && v != graph->input) continue;
        out->values[v] = allocate(value);
        for (size_t i = 0; i < exn_shape_elements(&value->shape); i++)
            out->values[v][i] = (double)(constant ? exn_value_f32(value, i) : input[i]);
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        const exn_node *node = &graph->nodes[n];
        for (size_t i = 0; i < node->output_count; i++)
            out->values[node->outputs[i]] = allocate(&graph->values[node->outputs[i]]);
        run_node(&(operands){graph, node, &node->attrs, &graph->values[node->inputs[0]].shape,
                             &graph->values[node->outputs[0]].shape, out->values[node->inputs[0]],
                             out->values[node->outputs[0]], out});
    }
}

void reference_free(reference *r) {
    for (size_t v = 0; v < r->graph->value_count; v++) free(r->values[v]);
    free(r->values);
}

float *reference_memory_order(const reference *r, exn_value_id id) {
    const exn_shape *s = &r->graph->values[id].shape;
    float *out = malloc((exn_shape_elements(s) + 1) * sizeof *out);
    ck_assert_ptr_nonnull(out);
    size_t i[EXN_RANK_MAX] = {0};
    do {
        const size_t last =
            s->rank == 4 ? ((i[0] * s->dim[2] + i[2]) * s->dim[3] + i[3]) * s->dim[1] + i[1] : flat(i, s);
        out[last] = (float)r->values[id][flat(i, s)];
    } while (next_index(i, s));
    return out;
}
