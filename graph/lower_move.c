/* SPDX-License-Identifier: Apache-2.0
 * Lowering of operators that only move elements: views, Transpose, Concat, Split, Slice, Pad, Gather. */
#include "graph/lower.h"

#include <string.h>

static void run_fill(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_fill(step->work.fill.n, step->work.fill.value, exn_operand_write(view, &step->out), part);
}

static void run_moves(const exn_step *step, exn_exec_view *view, exn_part part) {
    for (size_t i = 0; i < step->move_count; i++) {
        const exn_move *move = &step->moves[i];
        exn_copy_box(&move->box, exn_operand_read(view, &move->from) + move->from_start, move->from_stride,
                     exn_operand_write(view, &move->to) + move->to_start, move->to_stride, part);
    }
}

/* A box between two values in their memory orders. Shapes and strides are along the values' own axes; axes of `box`
 * are then sorted so that the destination is written in order. */
typedef struct exn_box {
    exn_operand from, to;
    ptrdiff_t from_start, to_start;
    exn_shape box;
    ptrdiff_t from_stride[EXN_RANK_MAX], to_stride[EXN_RANK_MAX];
} exn_box;

static exn_move sorted_move(const exn_box *b) {
    exn_move move = {.from = b->from,
                     .to = b->to,
                     .from_start = (size_t)b->from_start,
                     .to_start = (size_t)b->to_start,
                     .box = {.rank = b->box.rank}};
    bool taken[EXN_RANK_MAX] = {false};
    for (size_t i = 0; i < b->box.rank; i++) {
        size_t widest = EXN_RANK_MAX;
        for (size_t axis = 0; axis < b->box.rank; axis++)
            if (!taken[axis] && (widest == EXN_RANK_MAX || b->to_stride[axis] > b->to_stride[widest])) widest = axis;
        taken[widest] = true;
        move.box.dim[i] = b->box.dim[widest];
        move.from_stride[i] = b->from_stride[widest];
        move.to_stride[i] = b->to_stride[widest];
    }
    return move;
}

/* A step with room for `count` moves; the output `which` is the one it belongs to. */
static exn_status add_moves(exn_step **out, exn_lowering *l, size_t count, size_t which) {
    void *moves;
    EXN_TRY(exn_plan_block(&moves, l->plan, count, sizeof(exn_move)));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_moves, "copy", which));
    step->moves = moves;
    *out = step;
    return EXN_OK;
}

static exn_box whole_box(const exn_shape *box, const exn_shape *from, const exn_shape *to) {
    exn_box b = {.box = *box};
    exn_memory_strides(b.from_stride, from);
    exn_memory_strides(b.to_stride, to);
    return b;
}

static const exn_shape *output_shape(const exn_lowering *l, size_t which) {
    return &l->graph->values[l->node->outputs[which]].shape;
}

/* Flatten of a map stays where it is until somebody needs it row-major: a constant right side can be packed to fit. */
static bool flattens_map(const exn_shape *x, const exn_shape *y) {
    return x->rank == 4 && y->rank == 2 && x->dim[0] == y->dim[0];
}

exn_status exn_lower_view(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x) return exn_lower_fail(l, EXN_E_INVALID, "the input is absent");
    const exn_value_id id = l->node->inputs[0];
    const exn_shape *y = output_shape(l, 0);
    exn_operand at;
    if (l->node->op == EXN_OP_Flatten && l->node->attrs.memory_order) {
        EXN_TRY(exn_lower_native(&at, l, id));
        exn_lower_bind(l, 0, at);
        return EXN_OK;
    }
    if (!x->data && exn_shape_equal(&x->shape, y)) {
        l->places[l->node->outputs[0]] = l->places[id];
        l->rows[l->node->outputs[0]] = l->rows[id];
        return EXN_OK;
    }
    if (!x->data && flattens_map(&x->shape, y) && !exn_memory_is_rows(&x->shape)) {
        EXN_TRY(exn_lower_native(&at, l, id));
        l->places[l->node->outputs[0]] = (exn_place){
            .known = true, .at = at, .flat_c = x->shape.dim[1], .flat_hw = x->shape.dim[2] * x->shape.dim[3]};
        return EXN_OK;
    }
    EXN_TRY(exn_lower_rows(&at, l, id));
    return exn_lower_bind_rows(l, 0, at);
}

exn_status exn_lower_transpose(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x) return exn_lower_fail(l, EXN_E_INVALID, "the input is absent");
    const exn_shape *y = output_shape(l, 0);
    exn_box b = {.box = *y};
    ptrdiff_t of_x[EXN_RANK_MAX];
    exn_memory_strides(of_x, &x->shape);
    exn_memory_strides(b.to_stride, y);
    for (size_t i = 0; i < y->rank; i++) b.from_stride[i] = of_x[l->node->attrs.order[i]];
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    bool same = true;
    for (size_t i = 0; i < y->rank; i++) same &= y->dim[i] == 1 || b.from_stride[i] == b.to_stride[i];
    if (same) {
        exn_lower_bind(l, 0, in);
        return EXN_OK;
    }
    exn_step *step;
    EXN_TRY(add_moves(&step, l, 1, 0));
    b.from = in;
    b.to = step->out;
    step->moves[step->move_count++] = sorted_move(&b);
    return EXN_OK;
}

exn_status exn_lower_join(exn_join *out, exn_lowering *l) {
    const exn_value_id id = l->node->outputs[0];
    const exn_node *concat = &l->graph->nodes[l->readers[id]];
    *out = (exn_join){.pixel = 0};
    if (l->uses[id] != 1 || concat->op != EXN_OP_Concat || concat->attrs.axis != 1) return EXN_OK;
    const exn_shape *y = &l->graph->values[concat->outputs[0]].shape;
    size_t channel = 0, which = 0;
    for (; which < concat->input_count && concat->inputs[which] != id; which++)
        channel += l->graph->values[concat->inputs[which]].shape.dim[1];
    if (which == concat->input_count || y->rank != 4) return EXN_OK; /* an output of the network, read by nobody */
    exn_place *place = &l->places[concat->outputs[0]];
    if (!place->known) {
        size_t count;
        EXN_TRY(exn_shape_count(&count, l->ctx, y));
        place->at = (exn_operand){.buffer = EXN_NO_BUFFER};
        EXN_TRY(exn_plan_buffer(&place->at.buffer, l->plan, count * sizeof(float)));
        place->known = true;
    }
    l->joined[id] = true;
    *out = (exn_join){place->at, channel, y->dim[1]};
    return EXN_OK;
}

/* Box copies of the inputs that do not lie in the result yet. */
static exn_status copy_parts(exn_lowering *l, size_t count) {
    const exn_node *node = l->node;
    const exn_shape *y = output_shape(l, 0);
    const exn_place early = l->places[node->outputs[0]]; /* known where some part was written into it */
    exn_operand *parts = exn_calloc(l->ctx, node->input_count, sizeof *parts);
    if (!parts) return EXN_E_NOMEM;
    exn_status status = EXN_OK;
    exn_step *step = NULL;
    for (size_t i = 0; i < node->input_count && status == EXN_OK; i++)
        if (!l->joined[node->inputs[i]]) status = exn_lower_native(&parts[i], l, node->inputs[i]);
    if (status == EXN_OK) status = add_moves(&step, l, count, 0);
    if (status == EXN_OK && early.known) {
        step->out = early.at;
        l->places[node->outputs[0]] = early;
    }
    ptrdiff_t start = 0;
    for (size_t i = 0; i < node->input_count && status == EXN_OK; i++) {
        const exn_shape *x = &l->graph->values[node->inputs[i]].shape;
        exn_box b = whole_box(x, x, y);
        b.from = parts[i];
        b.to = step->out;
        b.to_start = start * b.to_stride[node->attrs.axis];
        start += (ptrdiff_t)x->dim[node->attrs.axis];
        if (!l->joined[node->inputs[i]]) step->moves[step->move_count++] = sorted_move(&b);
    }
    exn_free(l->ctx, parts);
    return status;
}

exn_status exn_lower_concat(exn_lowering *l) {
    size_t count = 0;
    for (size_t i = 0; i < l->node->input_count; i++) count += !l->joined[l->node->inputs[i]];
    return count ? copy_parts(l, count) : EXN_OK; /* else every part wrote itself */
}

exn_status exn_lower_split(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_value *x = exn_lower_input(l, 0);
    const size_t axis = (size_t)node->attrs.axis;
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, node->inputs[0]));
    ptrdiff_t start = 0;
    for (size_t i = 0; i < node->output_count; i++) {
        const exn_shape *y = output_shape(l, i);
        exn_step *step;
        EXN_TRY(add_moves(&step, l, 1, i));
        exn_box b = whole_box(y, &x->shape, y);
        b.from = in;
        b.to = step->out;
        b.from_start = start * b.from_stride[axis];
        start += (ptrdiff_t)y->dim[axis];
        step->moves[step->move_count++] = sorted_move(&b);
    }
    return EXN_OK;
}

exn_status exn_lower_slice(exn_lowering *l) {
    const exn_attrs *a = &l->node->attrs;
    const exn_value *x = exn_lower_input(l, 0);
    const exn_shape *y = output_shape(l, 0);
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(add_moves(&step, l, 1, 0));
    exn_box b = whole_box(y, &x->shape, y);
    b.from = in;
    b.to = step->out;
    for (size_t i = 0; i < y->rank; i++) {
        b.from_start += (ptrdiff_t)a->start[i] * b.from_stride[i];
        b.from_stride[i] *= (ptrdiff_t)a->step[i];
    }
    step->moves[step->move_count++] = sorted_move(&b);
    return EXN_OK;
}

/* Amounts may be negative: then that border is cut off. */
exn_status exn_lower_pad(exn_lowering *l) {
    const exn_attrs *a = &l->node->attrs;
    const exn_value *x = exn_lower_input(l, 0), *value = exn_lower_input(l, 2);
    const exn_shape *y = output_shape(l, 0);
    if (value && (!value->data || value->dtype != EXN_F32))
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "the value must be a float32 constant");
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(add_moves(&step, l, 1, 0));
    exn_box b = whole_box(y, &x->shape, y);
    b.from = in;
    b.to = step->out;
    for (size_t i = 0; i < y->rank; i++) {
        const int64_t before = a->start[i], size = (int64_t)x->shape.dim[i], wanted = (int64_t)y->dim[i];
        const int64_t begin = before > 0 ? before : 0;
        const int64_t end = before + size < wanted ? before + size : wanted;
        b.box.dim[i] = end > begin ? (size_t)(end - begin) : 0;
        b.to_start += (ptrdiff_t)begin * b.to_stride[i];
        b.from_start += (ptrdiff_t)(begin - before) * b.from_stride[i];
    }
    step->work.fill = (exn_fill_work){exn_shape_elements(y), value ? exn_value_f32(value, 0) : 0.0f};
    step->run = run_fill;
    step->then = run_moves;
    step->moves[step->move_count++] = sorted_move(&b);
    return EXN_OK;
}

/* y[..outer.., index.., ..inner..] = x[..outer.., indices[index], ..inner..]: one move an index. */
exn_status exn_lower_gather(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0), *indices = exn_lower_input(l, 1);
    const exn_shape *y = output_shape(l, 0);
    const size_t axis = (size_t)l->node->attrs.axis;
    if (!x || !indices || !indices->data) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "indices must be constants");
    const size_t count = exn_shape_elements(&indices->shape), extra = indices->shape.rank;
    ptrdiff_t of_x[EXN_RANK_MAX], of_y[EXN_RANK_MAX];
    exn_memory_strides(of_x, &x->shape);
    exn_memory_strides(of_y, y);
    exn_box b = {.box = {.rank = x->shape.rank - 1}};
    for (size_t i = 0; i < b.box.rank; i++) {
        const size_t from = i < axis ? i : i + 1, to = i < axis ? i : i + extra;
        b.box.dim[i] = x->shape.dim[from];
        b.from_stride[i] = of_x[from];
        b.to_stride[i] = of_y[to];
    }
    EXN_TRY(exn_lower_native(&b.from, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(add_moves(&step, l, count, 0));
    b.to = step->out;
    for (size_t at = 0; at < count; at++) {
        const int64_t size = (int64_t)x->shape.dim[axis], asked = exn_value_i64(indices, at);
        const int64_t index = asked < 0 ? asked + size : asked;
        if (index < 0 || index >= size) return exn_lower_fail(l, EXN_E_SHAPE, "an index is beyond its axis");
        b.from_start = (ptrdiff_t)index * of_x[axis];
        b.to_start = 0;
        size_t rest = at;
        for (size_t i = extra; i-- > 0; rest /= indices->shape.dim[i])
            b.to_start += (ptrdiff_t)(rest % indices->shape.dim[i]) * of_y[axis + i];
        step->moves[step->move_count++] = sorted_move(&b);
    }
    return EXN_OK;
}
