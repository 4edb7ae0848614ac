/* SPDX-License-Identifier: Apache-2.0
 * Lowering of operators that gather many elements into one: pooling, means, softmax. */
#include "graph/lower.h"

static void run_window(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_window_run(&step->work.window, step->vector, exn_operand_read(view, &step->in[0]),
                   exn_operand_write(view, &step->out), part);
}

static void run_global_pool(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_pool_work *work = &step->work.pool;
    exn_global_pool(work->kind, work->n, work->hw, work->c, step->vector, exn_operand_read(view, &step->in[0]),
                    exn_operand_write(view, &step->out), part);
}

static void run_reduce(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_reduce_axes(step->vector, step->work.reduce.kind, &step->work.reduce.x, step->work.reduce.axes,
                    exn_operand_read(view, &step->in[0]), exn_operand_write(view, &step->out), part);
}

static void run_softmax(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_softmax_work *work = &step->work.softmax;
    exn_softmax(step->vector, work->log, work->outer, work->n, work->inner, exn_operand_read(view, &step->in[0]),
                exn_operand_write(view, &step->out), part);
}

exn_window exn_lower_window(const exn_lowering *l, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_shape *x = &l->graph->values[node->inputs[0]].shape, *y = &l->graph->values[node->outputs[0]].shape;
    return (exn_window){.kind = node->op == EXN_OP_MaxPool ? EXN_WINDOW_MAX : EXN_WINDOW_AVERAGE,
                        .count_padding = a->count_include_pad,
                        .adaptive = a->adaptive,
                        .n = x->dim[0],
                        .c = x->dim[1],
                        .h = x->dim[2],
                        .w = x->dim[3],
                        .oh = y->dim[2],
                        .ow = y->dim[3],
                        .kh = a->kernel[0],
                        .kw = a->kernel[1],
                        .stride_h = a->stride[0],
                        .stride_w = a->stride[1],
                        .dilation_h = a->dilation[0],
                        .dilation_w = a->dilation[1],
                        .pad_top = a->pad[0],
                        .pad_left = a->pad[1],
                        .pad_bottom = a->pad[2],
                        .pad_right = a->pad[3]};
}

exn_status exn_lower_pool(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || x->shape.rank != 4) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only (N,C,H,W) can be pooled");
    const exn_window window = exn_lower_window(l, node);
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_window, window.adaptive ? "adaptive window" : "window", 0));
    step->in[0] = in;
    step->work.window = window;
    return EXN_OK;
}

static exn_status add_global_pool(exn_lowering *l, exn_window_kind kind, const exn_shape *x) {
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_global_pool, "columns", 0));
    step->in[0] = in;
    step->work.pool = (exn_pool_work){kind, x->dim[0], x->dim[2] * x->dim[3], x->dim[1]};
    return EXN_OK;
}

exn_status exn_lower_global_pool(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || x->shape.rank != 4) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only (N,C,H,W) can be pooled");
    const bool average = l->node->op == EXN_OP_GlobalAveragePool;
    return add_global_pool(l, average ? EXN_WINDOW_AVERAGE : EXN_WINDOW_MAX, &x->shape);
}

/* Means and maxima over the image are pools; the general case goes through row-major order on both sides. */
exn_status exn_lower_reduce(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x) return exn_lower_fail(l, EXN_E_INVALID, "the input is absent");
    const uint32_t axes = l->node->attrs.axes;
    const exn_op op = l->node->op;
    const exn_reduce_kind kind = op == EXN_OP_ReduceMean  ? EXN_REDUCE_MEAN_OF
                                 : op == EXN_OP_ReduceSum ? EXN_REDUCE_SUM_OF
                                                          : EXN_REDUCE_MAX_OF;
    if (x->shape.rank == 4 && axes == 0xcu && kind != EXN_REDUCE_SUM_OF)
        return add_global_pool(l, kind == EXN_REDUCE_MAX_OF ? EXN_WINDOW_MAX : EXN_WINDOW_AVERAGE, &x->shape);
    exn_operand in;
    EXN_TRY(exn_lower_rows(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_reduce, "reduction", 0));
    step->in[0] = in;
    step->work.reduce = (exn_reduce_work){x->shape, axes, kind};
    return exn_lower_bind_rows(l, 0, step->out);
}

exn_status exn_lower_softmax(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || l->node->attrs.axis < 0 || (size_t)l->node->attrs.axis >= x->shape.rank)
        return exn_lower_fail(l, EXN_E_SHAPE, "the axis is not one of the input's");
    const exn_shape memory = exn_memory_shape(&x->shape);
    const size_t axis = exn_memory_axis(memory.rank, (size_t)l->node->attrs.axis);
    exn_softmax_work work = {.log = l->node->op == EXN_OP_LogSoftmax, .outer = 1, .n = memory.dim[axis], .inner = 1};
    for (size_t i = 0; i < axis; i++) work.outer *= memory.dim[i];
    for (size_t i = axis + 1; i < memory.rank; i++) work.inner *= memory.dim[i];
    exn_operand in;
    EXN_TRY(exn_lower_native(&in, l, l->node->inputs[0]));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_softmax, "lines", 0));
    step->in[0] = in;
    step->work.softmax = work;
    return EXN_OK;
}
