/* SPDX-License-Identifier: Apache-2.0
 * Lowering of operators that work element by element: activations, arithmetic, BatchNormalization left alone. */
#include "graph/lower.h"

#include <math.h>

static void run_activation(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_unary_work *work = &step->work.unary;
    exn_activate(step->vector, work->activation, work->n, exn_operand_read(view, &step->in[0]),
                 exn_operand_write(view, &step->out), work->lo, work->hi, part);
}

static void run_prelu(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_unary_work *work = &step->work.unary;
    exn_prelu(step->vector, work->n, work->slopes, work->scale, exn_operand_read(view, &step->in[0]),
              exn_operand_write(view, &step->out), part);
}

static void run_scale_shift(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_unary_work *work = &step->work.unary;
    const float *x = exn_operand_read(view, &step->in[0]);
    float *y = exn_operand_write(view, &step->out);
    size_t begin, end;
    exn_part_range(&begin, &end, part, work->n / work->channels, 1);
    for (size_t row = begin; row < end; row++) {
        const size_t at = row * work->channels;
        step->vector->scale_shift(work->channels, x + at, work->scale, work->shift, y + at);
        if (work->activation != EXN_ACT_NONE)
            step->vector->activate(work->activation, work->channels, y + at, y + at, work->lo, work->hi);
    }
}

/* Elements that stay in the nearest cache between arithmetic and activation. */
#define BINARY_CHUNK 2048u

static void run_binary(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_binary_work *work = &step->work.binary;
    const float *a = exn_operand_read(view, &step->in[0]), *b = exn_operand_read(view, &step->in[1]);
    float *y = exn_operand_write(view, &step->out);
    size_t begin, end;
    exn_part_range(&begin, &end, part, work->n, EXN_REDUCE_LANES);
    for (size_t i = begin; i < end; i += BINARY_CHUNK) {
        const size_t n = end - i < BINARY_CHUNK ? end - i : BINARY_CHUNK;
        exn_pair(step->vector, work->op, n, a + i, 1, b + i, 1, y + i);
        if (work->activation != EXN_ACT_NONE)
            step->vector->activate(work->activation, n, y + i, y + i, work->lo, work->hi);
    }
}

static void run_broadcast(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_binary_work *work = &step->work.binary;
    float *y = exn_operand_write(view, &step->out);
    exn_binary_broadcast(step->vector, work->op, &work->y, &work->a, exn_operand_read(view, &step->in[0]), &work->b,
                         exn_operand_read(view, &step->in[1]), y, part);
}

/* A step of its own: the two are shared out differently. */
static void activate_broadcast(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_binary_work *work = &step->work.binary;
    float *y = exn_operand_write(view, &step->out);
    exn_activate(step->vector, work->activation, work->n, y, y, work->lo, work->hi, part);
}

exn_status exn_lower_activation(exn_lowering *l) {
    const exn_attrs *a = &l->node->attrs;
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_activation, "elementwise", 0));
    step->in[0] = in;
    step->in_place = 1u;
    step->work.unary =
        (exn_unary_work){.activation = a->activation, .n = exn_shape_elements(&step->shape), .lo = a->lo, .hi = a->hi};
    return EXN_OK;
}

exn_status exn_lower_prelu(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0), *slope = exn_lower_input(l, 1);
    if (!x || !slope || !slope->data) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "the slope must be a constant");
    const exn_shape memory_of_x = exn_memory_shape(&x->shape);
    const size_t channels = memory_of_x.rank ? memory_of_x.dim[memory_of_x.rank - 1] : 1;
    exn_operand in, slopes;
    exn_shape memory;
    EXN_TRY(exn_lower_ranked(&slopes, &memory, l, l->node->inputs[1], x->shape.rank));
    const size_t count = exn_shape_elements(&memory);
    const size_t innermost = memory.rank ? memory.dim[memory.rank - 1] : 1;
    if (count != innermost || (count != 1 && count != channels))
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "the slope must be one value, or one per channel");
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_prelu, "elementwise", 0));
    step->in[0] = in;
    step->in_place = 1u;
    step->work.unary =
        (exn_unary_work){.n = exn_shape_elements(&step->shape), .slopes = count, .scale = slopes.constant};
    return EXN_OK;
}

/* y = (x - mean) / sqrt(var + epsilon) * gamma + beta as one multiply-add, its factors computed in double. */
static exn_status batchnorm_factors(float **factors, exn_lowering *l, size_t channels) {
    const exn_value *v[4];
    for (size_t i = 0; i < 4; i++) {
        v[i] = exn_lower_input(l, i + 1);
        if (!v[i] || !v[i]->data || v[i]->dtype != EXN_F32 || exn_shape_elements(&v[i]->shape) != channels)
            return exn_lower_fail(l, EXN_E_UNSUPPORTED, "statistics must be constants, one per channel");
    }
    void *block;
    EXN_TRY(exn_plan_block(&block, l->plan, 2 * channels, sizeof(float)));
    float *scale = block, *shift = scale + channels;
    for (size_t c = 0; c < channels; c++) {
        const double deviation = sqrt((double)exn_value_f32(v[3], c) + (double)l->node->attrs.epsilon);
        const double factor = (double)exn_value_f32(v[0], c) / deviation;
        scale[c] = (float)factor;
        shift[c] = (float)((double)exn_value_f32(v[1], c) - (double)exn_value_f32(v[2], c) * factor);
    }
    *factors = scale;
    return EXN_OK;
}

exn_status exn_lower_batchnorm(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || (x->shape.rank != 2 && x->shape.rank != 4))
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "the input must be (N,C) or (N,C,H,W)");
    const size_t channels = x->shape.dim[1];
    float *factors = NULL;
    EXN_TRY(batchnorm_factors(&factors, l, channels));
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_scale_shift, "elementwise", 0));
    step->in[0] = in;
    step->in_place = 1u;
    step->work.unary = (exn_unary_work){.n = exn_shape_elements(&step->shape),
                                        .channels = channels ? channels : 1,
                                        .activation = l->node->attrs.activation,
                                        .lo = l->node->attrs.lo,
                                        .hi = l->node->attrs.hi,
                                        .scale = factors,
                                        .shift = factors + channels};
    return EXN_OK;
}

static exn_binary binary_of(exn_op op) {
    static const struct {
        exn_op op;
        exn_binary binary;
    } rows[] = {{EXN_OP_Add, EXN_ADD}, {EXN_OP_Sub, EXN_SUB}, {EXN_OP_Mul, EXN_MUL}, {EXN_OP_Div, EXN_DIV},
                {EXN_OP_Max, EXN_MAX}, {EXN_OP_Min, EXN_MIN}, {EXN_OP_Pow, EXN_POW}};
    size_t i = 0;
    while (rows[i].op != op) i++;
    return rows[i].binary;
}

exn_status exn_lower_binary(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_shape y = exn_memory_shape(&l->graph->values[node->outputs[0]].shape);
    exn_binary_work work = {.op = binary_of(node->op),
                            .n = exn_shape_elements(&y),
                            .y = y,
                            .activation = node->attrs.activation,
                            .lo = node->attrs.lo,
                            .hi = node->attrs.hi};
    exn_operand a, b;
    EXN_TRY(exn_lower_ranked(&a, &work.a, l, node->inputs[0], y.rank));
    EXN_TRY(exn_lower_ranked(&b, &work.b, l, node->inputs[1], y.rank));
    exn_step *step;
    const bool equal = exn_shape_equal(&work.a, &y) && exn_shape_equal(&work.b, &y);
    EXN_TRY(exn_lower_step(&step, l, equal ? run_binary : run_broadcast, equal ? "elementwise" : "broadcast", 0));
    step->in[0] = a;
    step->in[1] = b;
    if (exn_shape_equal(&work.a, &work.y)) step->in_place |= 1u;
    if (exn_shape_equal(&work.b, &work.y)) step->in_place |= 2u;
    if (!equal && work.activation != EXN_ACT_NONE) step->then = activate_broadcast;
    step->work.binary = work;
    return EXN_OK;
}
