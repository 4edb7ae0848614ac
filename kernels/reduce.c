/* SPDX-License-Identifier: Apache-2.0
 * Reductions over any axes, and softmax over any axis. */
#include "kernels/block.h"
#include "kernels/elementwise.h"
#include "kernels/softmax.h"
#include "kernels/walk.h"
#include <math.h>
#include <string.h>

/* Columns whose maxima and sums are kept on the stack at once. */
#define COLUMNS_MAX 256u

/* x's dimensions sorted into those that remain and those that go, plus the innermost run of contiguous elements. */
typedef struct reduction {
    exn_walk kept, gone; /* stream 0: offset in x */
    size_t inner;        /* contiguous elements: all kept, or all reduced */
    bool inner_kept;
    size_t rows; /* inner_kept: rows of one reduce_columns call, row_step apart */
    ptrdiff_t row_step;
    exn_reduction op;
} reduction;

static void push_dimension(exn_walk *walk, size_t dim, size_t step) {
    walk->dim[walk->rank] = dim;
    walk->stride[0][walk->rank++] = (ptrdiff_t)step;
}

static reduction reduction_over(const exn_shape *x, uint32_t axes) {
    reduction r = {.kept = {.streams = 1}, .gone = {.streams = 1}};
    size_t step[EXN_RANK_MAX], at = 1;
    for (size_t i = x->rank; i-- > 0;) {
        step[i] = at;
        at *= x->dim[i];
    }
    for (size_t i = 0; i < x->rank; i++) push_dimension(axes >> i & 1 ? &r.gone : &r.kept, x->dim[i], step[i]);
    exn_walk_simplify(&r.kept);
    exn_walk_simplify(&r.gone);
    const exn_walk *kept = &r.kept, *gone = &r.gone;
    r.inner_kept = kept->rank > 0 && kept->stride[0][kept->rank - 1] == 1;
    ptrdiff_t inner_step[EXN_WALK_STREAMS];
    if (r.inner_kept) {
        r.inner = exn_walk_take_inner(&r.kept, inner_step);
        r.rows = exn_walk_take_inner(&r.gone, inner_step);
        r.row_step = inner_step[0];
    } else if (gone->rank > 0 && gone->stride[0][gone->rank - 1] == 1) {
        r.inner = exn_walk_take_inner(&r.gone, inner_step);
    } else {
        r.inner = 1;
    }
    return r;
}

static float join(exn_reduction op, float a, float b) {
    if (op == EXN_REDUCE_SUM) return a + b;
    return a > b || isnan(a) ? a : b;
}

/* One run of remaining elements (inner_kept: columns [piece[0], piece[1]), else a single one) into y. */
static void reduce_run(const exn_f32_vector *vector, reduction *r, const float *x, const size_t piece[2], float *y) {
    const size_t calls = exn_walk_count(&r->gone);
    if (calls == 0) {
        const float nothing = r->op == EXN_REDUCE_SUM ? 0.0f : -INFINITY;
        for (size_t i = piece[0]; i < piece[1]; i++) y[i] = nothing;
        return;
    }
    exn_walk_seek(&r->gone, 0);
    for (size_t call = 0; call < calls; call++, exn_walk_next(&r->gone)) {
        const float *from = x + r->gone.offset[0];
        if (r->inner_kept) {
            vector->reduce_columns(r->op, r->rows, piece[1] - piece[0], from + piece[0], r->row_step, call > 0,
                                   y + piece[0]);
        } else {
            const float value = vector->reduce(r->op, r->inner, from);
            *y = call > 0 ? join(r->op, *y, value) : value;
        }
    }
}

static size_t reduced_count(const exn_shape *x, uint32_t axes) {
    size_t count = 1;
    for (size_t i = 0; i < x->rank; i++)
        if (axes >> i & 1) count *= x->dim[i];
    return count;
}

void exn_reduce_axes(const exn_f32_vector *vector, exn_reduce_kind kind, const exn_shape *x_shape, uint32_t axes,
                     const float *x, float *y, exn_part part) {
    reduction r = reduction_over(x_shape, axes);
    r.op = kind == EXN_REDUCE_MAX_OF ? EXN_REDUCE_MAX : EXN_REDUCE_SUM;
    const float factor = 1.0f / (float)reduced_count(x_shape, axes);
    const size_t width = r.inner_kept ? r.inner : 1;
    size_t runs[2], piece[2];
    exn_walk_share(runs, piece, exn_walk_count(&r.kept), width, part);
    if (runs[0] >= runs[1] || piece[0] >= piece[1]) return;
    exn_walk_seek(&r.kept, runs[0]);
    for (size_t run = runs[0]; run < runs[1]; run++, exn_walk_next(&r.kept)) {
        float *const to = y + run * width;
        reduce_run(vector, &r, x + r.kept.offset[0], piece, to);
        if (kind == EXN_REDUCE_MEAN_OF)
            vector->binary(EXN_MUL, piece[1] - piece[0], to + piece[0], 1, &factor, 0, to + piece[0]);
    }
}

float exn_row_sum_exp(const exn_f32_vector *vector, size_t n, const float *x, float shift, float scale) {
    float piece[EXN_SOFTMAX_PIECE], sum = 0.0f;
    for (size_t i = 0; i < n; i += EXN_SOFTMAX_PIECE) {
        const size_t count = exn_min(EXN_SOFTMAX_PIECE, n - i);
        vector->binary(EXN_SUB, count, x + i, 1, &shift, 0, piece);
        vector->binary(EXN_MUL, count, piece, 1, &scale, 0, piece);
        sum += vector->sum_exp(count, piece, 0.0f, piece);
    }
    return sum;
}

float exn_log_of(const exn_f32_vector *vector, float x) {
    float result;
    vector->activate(EXN_ACT_LOG, 1, &x, &result, 0.0f, 0.0f);
    return result;
}

static void softmax_row(const exn_f32_vector *vector, bool log, size_t n, const float *x, float *y) {
    const float highest = vector->reduce(EXN_REDUCE_MAX, n, x);
    if (log) {
        const float shift = exn_log_of(vector, exn_row_sum_exp(vector, n, x, highest, 1.0f));
        vector->binary(EXN_SUB, n, x, 1, &highest, 0, y);
        vector->binary(EXN_SUB, n, y, 1, &shift, 0, y);
    } else {
        const float sum = vector->sum_exp(n, x, highest, y);
        vector->binary(EXN_DIV, n, y, 1, &sum, 0, y);
    }
}

/* `columns` lines side by side, their elements `inner` apart. */
static void softmax_columns(const exn_f32_vector *vector, bool log, size_t n, size_t inner, size_t columns,
                            const float *x, float *y) {
    float highest[COLUMNS_MAX], sum[COLUMNS_MAX], row[COLUMNS_MAX];
    vector->reduce_columns(EXN_REDUCE_MAX, n, columns, x, (ptrdiff_t)inner, false, highest);
    memset(sum, 0, columns * sizeof *sum);
    for (size_t i = 0; i < n; i++) {
        vector->binary(EXN_SUB, columns, x + i * inner, 1, highest, 1, y + i * inner);
        float *const raised = log ? row : y + i * inner;
        vector->activate(EXN_ACT_EXP, columns, y + i * inner, raised, 0.0f, 0.0f);
        vector->binary(EXN_ADD, columns, sum, 1, raised, 1, sum);
    }
    if (log) vector->activate(EXN_ACT_LOG, columns, sum, sum, 0.0f, 0.0f);
    for (size_t i = 0; i < n; i++)
        vector->binary(log ? EXN_SUB : EXN_DIV, columns, y + i * inner, 1, sum, 1, y + i * inner);
}

void exn_softmax(const exn_f32_vector *vector, bool log, size_t outer, size_t n, size_t inner, const float *x, float *y,
                 exn_part part) {
    size_t runs[2], piece[2];
    exn_walk_share(runs, piece, outer, inner, part);
    for (size_t o = runs[0]; o < runs[1] && n > 0; o++) {
        if (inner == 1) {
            if (piece[0] < piece[1]) softmax_row(vector, log, n, x + o * n, y + o * n);
            continue;
        }
        for (size_t c = piece[0]; c < piece[1]; c += COLUMNS_MAX) {
            const size_t at = o * n * inner + c;
            softmax_columns(vector, log, n, inner, exn_min(COLUMNS_MAX, piece[1] - c), x + at, y + at);
        }
    }
}
