/* SPDX-License-Identifier: Apache-2.0
 * Shape rules of the operators that move or describe elements. */
#include <string.h>

#include "graph/infer.h"

/* Axes of input i as a bit set; absent: none and *given false. */
static exn_status read_axes(uint32_t *axes, bool *given, const exn_infer *s, size_t i, size_t rank) {
    int64_t list[EXN_RANK_MAX];
    size_t count = 0;
    *axes = 0;
    *given = exn_infer_input(s, i) != NULL;
    if (*given) EXN_TRY(exn_infer_integers(list, &count, s, i, EXN_RANK_MAX));
    for (size_t k = 0; k < count; k++) {
        size_t axis;
        EXN_TRY(exn_infer_axis(&axis, s, list[k], rank));
        if ((*axes >> axis & 1u) != 0) return exn_fail(s->ctx, EXN_E_FORMAT, "axis %zu is named twice", axis);
        *axes |= 1u << axis;
    }
    return EXN_OK;
}

/* Only the first input is left, and where nothing changes, the operator goes. */
static exn_status finish_move(exn_infer *s, bool unchanged) {
    const exn_value *x = exn_infer_input(s, 0);
    s->dtype = x->dtype;
    s->in_count = 1;
    if (unchanged) s->alias = s->in[0];
    return EXN_OK;
}

static exn_status finish_reshape(exn_infer *s) {
    return finish_move(s, exn_shape_equal(&s->shape[0], &exn_infer_input(s, 0)->shape));
}

exn_status exn_infer_identity(exn_infer *s) {
    const exn_value *training = s->op == EXN_OP_Dropout ? exn_infer_input(s, 2) : NULL;
    if (training != NULL && (training->data == NULL || exn_shape_elements(&training->shape) != 1 ||
                             training->dtype != EXN_BOOL || exn_value_i64(training, 0) != 0))
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "dropout that is on; only inference is supported");
    return finish_move(s, true);
}

exn_status exn_infer_cast(exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0);
    const bool same = x->dtype == s->attrs.to;
    s->shape[0] = x->shape;
    EXN_TRY(finish_move(s, same));
    s->dtype = s->attrs.to;
    return EXN_OK;
}

exn_status exn_infer_cast_like(exn_infer *s) {
    s->op = EXN_OP_Cast;
    s->attrs.to = exn_infer_input(s, 1)->dtype;
    return exn_infer_cast(s);
}

exn_status exn_infer_reduce(exn_infer *s) {
    bool given;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    EXN_TRY(exn_infer_floats(s, 0, x.rank));
    EXN_TRY(read_axes(&s->attrs.axes, &given, s, 1, x.rank));
    s->shape[0] = x;
    if (s->attrs.axes == 0 && s->attrs.keep_all) return finish_move(s, true);
    if (s->attrs.axes == 0) s->attrs.axes = (1u << x.rank) - 1;
    exn_shape *y = &s->shape[0];
    y->rank = 0;
    for (size_t i = 0; i < x.rank; i++) {
        const bool reduced = (s->attrs.axes >> i & 1u) != 0;
        if (!reduced || s->attrs.keep_dims) y->dim[y->rank++] = reduced ? 1 : x.dim[i];
    }
    for (size_t i = y->rank; i < EXN_RANK_MAX; i++) y->dim[i] = 0;
    EXN_TRY(exn_infer_keep_samples(s, (s->attrs.axes & 1u) != 0));
    return finish_move(s, x.rank == 0);
}

exn_status exn_infer_flatten(exn_infer *s) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    int64_t axis = s->attrs.axis;
    if (axis < -(int64_t)x.rank || axis > (int64_t)x.rank)
        return exn_fail(s->ctx, EXN_E_SHAPE, "axis %lld of a tensor of rank %zu", (long long)axis, x.rank);
    if (axis < 0) axis += (int64_t)x.rank;
    exn_shape *y = &s->shape[0];
    *y = (exn_shape){.rank = 2, .dim = {1, 1}};
    for (size_t i = 0; i < x.rank; i++) y->dim[i < (size_t)axis ? 0 : 1] *= x.dim[i];
    EXN_TRY(exn_infer_keep_samples(s, axis == 0));
    return finish_reshape(s);
}

/* A file written for one batch often names it in its Reshapes. Sample by sample the meaning is plain: what was a row for
 * each sample of the file's batch is a row for each of ours. */
static exn_status free_batch(int64_t target[], size_t rank, const exn_infer *s, const exn_shape *x) {
    if (rank == 0 || x->rank == 0 || x->dim[0] != s->batch || target[0] <= 0) return EXN_OK;
    if (s->file_batch != 0 && target[0] == (int64_t)s->file_batch) target[0] = (int64_t)s->batch;
    if (target[0] == 1 && s->batch != 1)
        return exn_fail(s->ctx, EXN_E_SHAPE, "its target shape fixes batch 1, %zu samples are asked for", s->batch);
    return EXN_OK;
}

exn_status exn_infer_reshape(exn_infer *s) {
    int64_t target[EXN_RANK_MAX];
    size_t rank, open = SIZE_MAX, known = 1, count;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    EXN_TRY(exn_infer_integers(target, &rank, s, 1, EXN_RANK_MAX));
    EXN_TRY(free_batch(target, rank, s, &x));
    EXN_TRY(exn_shape_count(&count, s->ctx, &x));
    exn_shape *y = &s->shape[0];
    *y = (exn_shape){.rank = rank};
    for (size_t i = 0; i < rank; i++) {
        if (target[i] == -1 && open == SIZE_MAX) {
            open = i;
            continue;
        }
        const bool copied = target[i] == 0 && !s->attrs.allow_zero;
        if (target[i] < 0 || target[i] > (int64_t)EXN_ELEMENTS_MAX || (copied && i >= x.rank))
            return exn_fail(s->ctx, EXN_E_SHAPE, "target dimension %zu is %lld", i, (long long)target[i]);
        y->dim[i] = copied ? x.dim[i] : (size_t)target[i];
        if (!exn_size_mul(&known, known, y->dim[i])) return exn_fail(s->ctx, EXN_E_SHAPE, "the target shape overflows");
    }
    if (open != SIZE_MAX && known > 0 && count % known == 0) {
        y->dim[open] = count / known;
        known = count;
    }
    if (known != count) {
        char text[EXN_SHAPE_TEXT_BYTES];
        return exn_fail(s->ctx, EXN_E_SHAPE, "%s has %zu elements, the target shape %zu%s", exn_shape_text(text, &x),
                        count, known, open == SIZE_MAX ? "" : " or a multiple");
    }
    s->attrs.allow_zero = false;
    return finish_reshape(s);
}

exn_status exn_infer_squeeze(exn_infer *s) {
    bool given;
    uint32_t axes;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    EXN_TRY(read_axes(&axes, &given, s, 1, x.rank));
    exn_shape *y = &s->shape[0];
    for (size_t i = 0; i < x.rank; i++) {
        /* Without axes, a batch of one stays a batch unless the file was written for one sample. */
        const bool sample = i == 0 && s->file_batch != 1 && x.dim[0] == s->batch;
        const bool named = given ? (axes >> i & 1u) != 0 : x.dim[i] == 1 && !sample;
        if (named && x.dim[i] != 1) return exn_fail(s->ctx, EXN_E_SHAPE, "dimension %zu is %zu, not 1", i, x.dim[i]);
        if (!named) y->dim[y->rank++] = x.dim[i];
    }
    return finish_reshape(s);
}

exn_status exn_infer_unsqueeze(exn_infer *s) {
    bool given;
    uint32_t axes;
    int64_t list[EXN_RANK_MAX];
    size_t count;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    EXN_TRY(exn_infer_integers(list, &count, s, 1, EXN_RANK_MAX));
    const size_t rank = x.rank + count;
    if (rank > EXN_RANK_MAX) return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "a result of rank %zu", rank);
    EXN_TRY(read_axes(&axes, &given, s, 1, rank));
    s->shape[0].rank = rank;
    for (size_t i = 0, next = 0; i < rank; i++) s->shape[0].dim[i] = (axes >> i & 1u) != 0 ? 1 : x.dim[next++];
    return finish_reshape(s);
}

exn_status exn_infer_transpose(exn_infer *s) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    size_t *order = s->attrs.order, last = 0;
    bool unchanged = true;
    if (s->attrs.axes == 0) /* not given: reversed */
        for (size_t i = 0; i < x.rank; i++) order[i] = x.rank - 1 - i;
    else if (s->attrs.axes != x.rank)
        return exn_fail(s->ctx, EXN_E_SHAPE, "an order of %u dimensions for a tensor of rank %zu", s->attrs.axes,
                        x.rank);
    s->attrs.axes = 0;
    s->shape[0].rank = x.rank;
    for (size_t i = 0; i < x.rank; i++) {
        s->shape[0].dim[i] = x.dim[order[i]];
        if (x.dim[order[i]] == 1) continue; /* where a dimension of one lies does not matter */
        unchanged = unchanged && order[i] >= last;
        last = order[i];
    }
    EXN_TRY(exn_infer_keep_samples(s, x.rank > 0 && order[0] != 0));
    if (unchanged && !exn_shape_equal(&s->shape[0], &x)) s->op = EXN_OP_Reshape;
    return finish_move(s, unchanged && s->op == EXN_OP_Transpose);
}

exn_status exn_infer_concat(exn_infer *s) {
    const exn_value *first = exn_infer_input(s, 0);
    size_t axis;
    EXN_TRY(exn_infer_axis(&axis, s, s->attrs.axis, first->shape.rank));
    s->attrs.axis = (int64_t)axis;
    exn_shape *y = &s->shape[0];
    *y = first->shape;
    for (size_t i = 1; i < s->in_count; i++) {
        const exn_value *next = exn_infer_input(s, i);
        exn_shape rest = next->shape;
        if (rest.rank > axis) rest.dim[axis] = y->dim[axis];
        if (next->dtype != first->dtype || !exn_shape_equal(&rest, y)) {
            char left[EXN_SHAPE_TEXT_BYTES], right[EXN_SHAPE_TEXT_BYTES];
            return exn_fail(s->ctx, EXN_E_SHAPE, "%s and %s do not fit along axis %zu",
                            exn_shape_text(left, &first->shape), exn_shape_text(right, &next->shape), axis);
        }
        y->dim[axis] += next->shape.dim[axis];
        if (y->dim[axis] > EXN_ELEMENTS_MAX) return exn_fail(s->ctx, EXN_E_SHAPE, "the result is too large");
    }
    EXN_TRY(exn_infer_keep_samples(s, axis == 0));
    s->dtype = first->dtype;
    if (s->in_count == 1) s->alias = s->in[0];
    return EXN_OK;
}

exn_status exn_infer_split(exn_infer *s) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const exn_value *sizes = exn_infer_input(s, 1);
    size_t axis, total = 0;
    EXN_TRY(exn_infer_axis(&axis, s, s->attrs.axis, x.rank));
    s->attrs.axis = (int64_t)axis;
    if (sizes != NULL && (sizes->data == NULL || sizes->dtype != EXN_I64 || sizes->shape.rank != 1 ||
                          sizes->shape.dim[0] != s->out_count))
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its sizes are not a constant with one number an output");
    const size_t each = (x.dim[axis] + s->out_count - 1) / s->out_count;
    for (size_t i = 0; i < s->out_count; i++) {
        const int64_t given = sizes == NULL ? 0 : exn_value_i64(sizes, i);
        const size_t rest = x.dim[axis] - total;
        if (given < 0 || (uint64_t)given > rest)
            return exn_fail(s->ctx, EXN_E_SHAPE, "its sizes do not add up to %zu", x.dim[axis]);
        s->shape[i] = x;
        s->shape[i].dim[axis] = sizes != NULL ? (size_t)given : each < rest ? each : rest;
        total += s->shape[i].dim[axis];
    }
    if (total != x.dim[axis]) return exn_fail(s->ctx, EXN_E_SHAPE, "its sizes do not add up to %zu", x.dim[axis]);
    EXN_TRY(exn_infer_keep_samples(s, axis == 0));
    return finish_move(s, s->out_count == 1);
}

static int64_t limit(int64_t number, int64_t least, int64_t most) {
    return number < least ? least : number > most ? most : number;
}

/* One axis of a slice: NumPy's rule for start, end and step. */
static exn_status slice_axis(exn_infer *s, size_t axis, int64_t extent, int64_t start, int64_t end, int64_t step) {
    if (step == 0 || step > INT32_MAX || step < -INT32_MAX)
        return exn_fail(s->ctx, EXN_E_FORMAT, "a step of %lld", (long long)step);
    const int64_t least = step > 0 ? 0 : -1, most = step > 0 ? extent : extent - 1;
    start = limit(start < 0 ? start + extent : start, 0, most);
    end = limit(end < 0 ? end + extent : end, least, most);
    if (extent == 0) start = end = 0;
    const int64_t way = step > 0 ? end - start : start - end, pace = step > 0 ? step : -step;
    s->shape[0].dim[axis] = way <= 0 ? 0 : (size_t)((way + pace - 1) / pace);
    s->attrs.start[axis] = start;
    s->attrs.step[axis] = step;
    return EXN_OK;
}

exn_status exn_infer_slice(exn_infer *s) {
    int64_t list[4][EXN_RANK_MAX]; /* starts, ends, axes, steps */
    size_t count, again;
    uint32_t seen = 0;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    s->shape[0] = x;
    EXN_TRY(exn_infer_integers(list[0], &count, s, 1, EXN_RANK_MAX));
    for (size_t i = 0; i < count; i++) {
        list[2][i] = (int64_t)i;
        list[3][i] = 1;
    }
    for (size_t i = 1; i < 4; i++) {
        if (i > 1 && exn_infer_input(s, i + 1) == NULL) continue;
        EXN_TRY(exn_infer_integers(list[i], &again, s, i + 1, EXN_RANK_MAX));
        if (again != count) return exn_fail(s->ctx, EXN_E_SHAPE, "its parameters have different lengths");
    }
    for (size_t i = 0; i < count; i++) {
        size_t axis;
        EXN_TRY(exn_infer_axis(&axis, s, list[2][i], x.rank));
        if ((seen >> axis & 1u) != 0) return exn_fail(s->ctx, EXN_E_FORMAT, "axis %zu is named twice", axis);
        seen |= 1u << axis;
        EXN_TRY(slice_axis(s, axis, (int64_t)x.dim[axis], list[0][i], list[1][i], list[3][i]));
        const bool whole = s->shape[0].dim[axis] == x.dim[axis] && list[3][i] == 1;
        if (!whole) EXN_TRY(exn_infer_keep_samples(s, axis == 0));
    }
    bool unchanged = exn_shape_equal(&s->shape[0], &x);
    for (size_t i = 0; i < x.rank; i++) unchanged = unchanged && (s->attrs.step[i] == 1 || x.dim[i] <= 1);
    return finish_move(s, unchanged);
}

exn_status exn_infer_pad(exn_infer *s) {
    int64_t pads[2 * EXN_RANK_MAX], axes[EXN_RANK_MAX];
    size_t count, axis_count;
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const exn_value *fill = exn_infer_input(s, 2);
    EXN_TRY(exn_infer_floats(s, 0, x.rank));
    if (fill != NULL && (fill->data == NULL || fill->dtype != EXN_F32 || exn_shape_elements(&fill->shape) != 1))
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "its value is not one constant number");
    const bool filled = fill != NULL && exn_value_f32(fill, 0) != 0;
    EXN_TRY(exn_infer_integers(pads, &count, s, 1, 2 * EXN_RANK_MAX));
    axis_count = x.rank;
    for (size_t i = 0; i < x.rank; i++) axes[i] = (int64_t)i;
    if (exn_infer_input(s, 3) != NULL) EXN_TRY(exn_infer_integers(axes, &axis_count, s, 3, EXN_RANK_MAX));
    if (count != 2 * axis_count) return exn_fail(s->ctx, EXN_E_SHAPE, "%zu amounts for %zu axes", count, axis_count);
    s->shape[0] = x;
    for (size_t i = 0; i < axis_count; i++) {
        const int64_t before = pads[i], after = pads[axis_count + i];
        size_t axis;
        EXN_TRY(exn_infer_axis(&axis, s, axes[i], x.rank));
        if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX)
            return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "amounts of %lld and %lld", (long long)before, (long long)after);
        s->attrs.start[axis] = before;
        s->shape[0].dim[axis] = x.dim[axis] + (size_t)before + (size_t)after;
        EXN_TRY(exn_infer_keep_samples(s, axis == 0 && before + after > 0));
    }
    EXN_TRY(finish_move(s, exn_shape_equal(&s->shape[0], &x)));
    if (filled) s->in_count = 3;
    s->in[1] = EXN_VALUE_NONE;
    return EXN_OK;
}

/* ---- operators on shapes ---- */

exn_status exn_infer_shape(exn_infer *s) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const int64_t rank = (int64_t)x.rank;
    int64_t list[EXN_RANK_MAX], start = s->attrs.start[0], end = s->attrs.start[1];
    start = limit(start < 0 ? start + rank : start, 0, rank);
    end = limit(end < 0 ? end + rank : end, start, rank);
    for (int64_t i = start; i < end; i++) list[i - start] = (int64_t)x.dim[i];
    const exn_shape shape = {.rank = 1, .dim = {(size_t)(end - start)}};
    return exn_graph_constant(&s->alias, s->graph, NULL, EXN_I64, &shape, list, true);
}

exn_status exn_infer_size(exn_infer *s) {
    size_t count;
    EXN_TRY(exn_shape_count(&count, s->ctx, &exn_infer_input(s, 0)->shape));
    const int64_t whole = (int64_t)count;
    return exn_graph_constant(&s->alias, s->graph, NULL, EXN_I64, &(exn_shape){0}, &whole, true);
}

/* ConstantOfShape: the second input is the value, by default a float zero. */
exn_status exn_infer_fill(exn_infer *s) {
    int64_t list[EXN_RANK_MAX];
    size_t rank;
    const exn_value *fill = exn_infer_input(s, 1);
    EXN_TRY(exn_infer_integers(list, &rank, s, 0, EXN_RANK_MAX));
    if (fill != NULL && (fill->data == NULL || exn_shape_elements(&fill->shape) != 1))
        return exn_fail(s->ctx, EXN_E_FORMAT, "its value is not one number");
    s->dtype = fill == NULL ? EXN_F32 : fill->dtype;
    s->shape[0].rank = rank;
    for (size_t i = 0; i < rank; i++) {
        if (list[i] < 0 || list[i] > (int64_t)EXN_ELEMENTS_MAX)
            return exn_fail(s->ctx, EXN_E_SHAPE, "dimension %zu is %lld", i, (long long)list[i]);
        s->shape[0].dim[i] = (size_t)list[i];
    }
    return EXN_OK;
}

/* Indices into computed data become a slice where they ascend evenly; one index also drops the axis. */
static exn_status gather_as_slice(exn_infer *s, size_t axis, const int64_t index[], size_t count, bool drop) {
    const exn_shape x = exn_infer_input(s, 0)->shape;
    const int64_t step = count > 1 ? index[1] - index[0] : 1;
    for (size_t i = 1; i < count; i++)
        if (index[i] - index[i - 1] != step || step == 0)
            return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "indices into computed data that are not evenly spaced");
    exn_shape part = x;
    part.dim[axis] = count;
    s->attrs.start[axis] = index[0];
    s->attrs.step[axis] = step;
    EXN_TRY(exn_infer_keep_samples(s, axis == 0));
    if (drop) {
        EXN_TRY(exn_infer_emit(&s->in[0], s, EXN_OP_Slice, s->in[0], &s->attrs, &part));
        s->op = EXN_OP_Reshape;
    } else {
        s->op = EXN_OP_Slice;
        s->shape[0] = part;
    }
    return finish_move(s, false);
}

exn_status exn_infer_gather(exn_infer *s) {
    const exn_value *x = exn_infer_input(s, 0), *indices = exn_infer_input(s, 1);
    int64_t index[1024];
    size_t axis, count;
    const exn_shape data = x->shape;
    const bool drop = indices->shape.rank == 0;
    exn_shape *y = &s->shape[0];
    EXN_TRY(exn_infer_axis(&axis, s, s->attrs.axis, data.rank));
    EXN_TRY(exn_infer_integers(index, &count, s, 1, sizeof index / sizeof index[0]));
    if (count == 0) return exn_fail(s->ctx, EXN_E_SHAPE, "no indices");
    s->attrs.axis = (int64_t)axis;
    for (size_t i = 0; i < count; i++) {
        const int64_t given = index[i], extent = (int64_t)data.dim[axis];
        if (given < -extent || given >= extent)
            return exn_fail(s->ctx, EXN_E_SHAPE, "index %lld of %lld elements", (long long)given, (long long)extent);
        index[i] = given < 0 ? given + extent : given;
    }
    for (size_t i = 0; i < data.rank; i++)
        if (i != axis || !drop) y->dim[y->rank++] = i == axis ? count : data.dim[i];
    s->dtype = x->dtype;
    return x->data != NULL ? EXN_OK : gather_as_slice(s, axis, index, count, drop);
}
