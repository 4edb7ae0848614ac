/* SPDX-License-Identifier: Apache-2.0
 * What all lowering shares: places of values, steps, permutations between the two orders of memory. */
#include "graph/lower.h"

#include <stdio.h>
#include <string.h>

static const exn_operand absent = {NULL, EXN_NO_BUFFER, 0};

exn_status exn_plan_block(void **out, exn_plan *plan, size_t count, size_t size) {
    void *blocks = plan->blocks;
    EXN_TRY(exn_grow(plan->ctx, &blocks, &plan->block_capacity, plan->block_count + 1, sizeof *plan->blocks));
    plan->blocks = blocks;
    void *block = exn_calloc(plan->ctx, count, size);
    if (!block) return EXN_E_NOMEM;
    plan->blocks[plan->block_count++] = block;
    *out = block;
    return EXN_OK;
}

exn_status exn_plan_pack_block(float **out, exn_plan *plan, size_t floats) {
    void *block;
    EXN_TRY(exn_pieces_take(&block, &plan->packed, plan->ctx, floats, sizeof(float)));
    plan->packed_bytes += floats * sizeof(float);
    *out = block;
    return EXN_OK;
}

/* Multiply-adds for each float asked for: what hides its way from memory. */
#define AHEAD_MACS 8u

void exn_lower_ahead(exn_lowering *l, const float *packed, size_t floats) {

    for (size_t i = l->plan->step_count; i-- > 0;) {
        exn_step *step = &l->plan->steps[i];
        if (!step->asks || step->macs / AHEAD_MACS < floats) continue;
        if (step->work.conv.ahead.count == 0) step->work.conv.ahead = (exn_ahead){packed, floats};
        return;
    }
}

exn_status exn_plan_buffer(uint32_t *out, exn_plan *plan, size_t bytes) {
    void *buffers = plan->buffers;
    EXN_TRY(exn_grow(plan->ctx, &buffers, &plan->buffer_capacity, plan->buffer_count + 1, sizeof *plan->buffers));
    plan->buffers = buffers;
    const uint32_t index = (uint32_t)plan->buffer_count++;
    plan->buffers[index] = (exn_buffer){.bytes = bytes, .same_as = index};
    *out = index;
    return EXN_OK;
}

exn_status exn_lower_fail(const exn_lowering *l, exn_status status, const char *reason) {
    if (!l->node) return exn_fail(l->ctx, status, "plan: output: %s", reason);
    return exn_fail(l->ctx, status, "plan: node %s (%s): %s", l->node->name, exn_op_name(l->node->op), reason);
}

const exn_value *exn_lower_input(const exn_lowering *l, size_t i) {
    if (i >= l->node->input_count || l->node->inputs[i] == EXN_VALUE_NONE) return NULL;
    return &l->graph->values[l->node->inputs[i]];
}

static exn_status add_step(exn_step **out, exn_lowering *l, exn_step_fn *run, const char *algorithm,
                           const exn_shape *shape) {
    exn_plan *plan = l->plan;
    void *steps = plan->steps;
    EXN_TRY(exn_grow(l->ctx, &steps, &plan->step_capacity, plan->step_count + 1, sizeof *plan->steps));
    plan->steps = steps;
    exn_step *step = &plan->steps[plan->step_count];
    *step = (exn_step){.run = run,
                       .in = {absent, absent, absent},
                       .out = absent,
                       .vector = &plan->kernels.f32_vector,
                       .shape = *shape,
                       .branch = l->branch};
    size_t bytes;
    EXN_TRY(exn_shape_count(&bytes, l->ctx, shape));
    EXN_TRY(exn_plan_buffer(&step->out.buffer, plan, bytes * sizeof(float)));
    step->name = exn_strdup(l->ctx, l->node ? l->node->name : "output");
    if (!step->name) return EXN_E_NOMEM;
    step->op = l->node ? exn_op_name(l->node->op) : "Copy";
    snprintf(step->algorithm, sizeof step->algorithm, "%s", algorithm);
    plan->step_count++;
    *out = step;
    return EXN_OK;
}

exn_status exn_lower_step(exn_step **out, exn_lowering *l, exn_step_fn *run, const char *algorithm, size_t which) {
    const exn_value_id id = l->node->outputs[which];
    const exn_value *value = &l->graph->values[id];
    if (value->dtype != EXN_F32) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only float32 results can be computed");
    EXN_TRY(add_step(out, l, run, algorithm, &value->shape));
    l->places[id] = (exn_place){.known = true, .at = (*out)->out};
    return EXN_OK;
}

static void run_permute(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_permute(&step->work.permute.x, step->work.permute.order, exn_operand_read(view, &step->in[0]),
                exn_operand_write(view, &step->out), part);
}

/* A step that reorders `from`, whose dimensions in memory are `x`. */
static exn_status add_permute(exn_operand *out, exn_lowering *l, exn_operand from, const exn_shape *x,
                              const size_t *order) {
    exn_step *step;
    EXN_TRY(add_step(&step, l, run_permute, "permute", x));
    step->in[0] = from;
    step->work.permute.x = *x;
    memcpy(step->work.permute.order, order, x->rank * sizeof *order);
    for (size_t i = 0; i < x->rank; i++) step->shape.dim[i] = x->dim[order[i]];
    *out = step->out;
    return EXN_OK;
}

static const size_t rows_to_memory[4] = {0, 2, 3, 1};
static const size_t memory_to_rows[4] = {0, 3, 1, 2};

exn_status exn_lower_floats(const float **out, void **copy, exn_lowering *l, const exn_value *value) {
    *copy = NULL;
    if (!value->data) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "this input must be a constant");
    if (value->dtype != EXN_F32) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "constants must be float32");
    EXN_TRY(exn_value_check(l->ctx, value));
    if (value->aligned) {
        *out = value->data;
        return EXN_OK;
    }
    const size_t count = exn_shape_elements(&value->shape);
    *copy = exn_malloc(l->ctx, count, sizeof(float));
    if (!*copy) return EXN_E_NOMEM;
    memcpy(*copy, value->data, count * sizeof(float));
    *out = *copy;
    return EXN_OK;
}

/* A constant as floats of the plan, its shape extended to `rank` and brought into that rank's memory order. */
static exn_status convert_constant(exn_operand *out, exn_lowering *l, const exn_value *value, const exn_shape *shape,
                                   bool rows) {
    const float *floats = NULL;
    void *copy, *block;
    EXN_TRY(exn_lower_floats(&floats, &copy, l, value));
    const exn_status status = exn_plan_block(&block, l->plan, exn_shape_elements(shape), sizeof(float));
    if (status == EXN_OK) {
        if (rows || exn_memory_is_rows(shape))
            memcpy(block, floats, exn_shape_elements(shape) * sizeof(float));
        else
            exn_permute(shape, rows_to_memory, floats, block, exn_part_whole());
        *out = (exn_operand){.constant = block, .buffer = EXN_NO_BUFFER};
    }
    exn_free(l->ctx, copy);
    return status;
}

static exn_status check_computed(const exn_lowering *l, exn_value_id id) {
    if (l->places[id].known) return EXN_OK;
    return exn_fail(l->ctx, EXN_E_INVALID, "plan: value %s is used before it is computed", l->graph->values[id].name);
}

exn_status exn_lower_rows(exn_operand *out, exn_lowering *l, exn_value_id id) {
    const exn_value *value = &l->graph->values[id];
    if (value->data) return convert_constant(out, l, value, &value->shape, true);
    EXN_TRY(check_computed(l, id));
    const exn_place *place = &l->places[id];
    if (l->rows[id].known) {
        *out = l->rows[id].at;
        return EXN_OK;
    }
    exn_operand rows = place->at;
    if (place->flat_c) {
        const size_t map[3] = {value->shape.dim[0], place->flat_hw, place->flat_c};
        const exn_shape x = exn_shape_of(3, map);
        EXN_TRY(add_permute(&rows, l, place->at, &x, (const size_t[]){0, 2, 1}));
    } else if (!exn_memory_is_rows(&value->shape)) {
        const exn_shape x = exn_memory_shape(&value->shape);
        EXN_TRY(add_permute(&rows, l, place->at, &x, memory_to_rows));
    }
    l->rows[id] = (exn_place){.known = true, .at = rows};
    *out = rows;
    return EXN_OK;
}

exn_status exn_lower_native(exn_operand *out, exn_lowering *l, exn_value_id id) {
    const exn_value *value = &l->graph->values[id];
    if (value->data) return convert_constant(out, l, value, &value->shape, false);
    EXN_TRY(check_computed(l, id));
    if (l->places[id].flat_c) return exn_lower_rows(out, l, id);
    *out = l->places[id].at;
    return EXN_OK;
}

exn_status exn_lower_ranked(exn_operand *out, exn_shape *memory, exn_lowering *l, exn_value_id id, size_t rank) {
    const exn_value *value = &l->graph->values[id];
    if (value->shape.rank > rank) return exn_lower_fail(l, EXN_E_SHAPE, "an input has more dimensions than the result");
    exn_shape shape = {.rank = rank};
    const size_t ones = rank - value->shape.rank;
    for (size_t i = 0; i < rank; i++) shape.dim[i] = i < ones ? 1 : value->shape.dim[i - ones];
    *memory = exn_memory_shape(&shape);
    if (value->data) return convert_constant(out, l, value, &shape, false);
    if (ones == 0) return exn_lower_native(out, l, id);
    EXN_TRY(exn_lower_rows(out, l, id));
    if (exn_memory_is_rows(&shape)) return EXN_OK;
    return add_permute(out, l, *out, &shape, rows_to_memory);
}

void exn_lower_bind(exn_lowering *l, size_t which, exn_operand at) {
    l->places[l->node->outputs[which]] = (exn_place){.known = true, .at = at};
}

exn_status exn_lower_bind_rows(exn_lowering *l, size_t which, exn_operand rows) {
    const exn_value_id id = l->node->outputs[which];
    const exn_shape *shape = &l->graph->values[id].shape;
    exn_operand at = rows;
    if (!exn_memory_is_rows(shape)) EXN_TRY(add_permute(&at, l, rows, shape, rows_to_memory));
    l->places[id] = (exn_place){.known = true, .at = at};
    l->rows[id] = (exn_place){.known = true, .at = rows};
    return EXN_OK;
}

exn_status exn_lower_output(exn_operand *out, exn_lowering *l, exn_value_id id) {
    l->node = NULL;
    const exn_value *value = &l->graph->values[id];
    if (value->dtype != EXN_F32)
        return exn_fail(l->ctx, EXN_E_UNSUPPORTED, "plan: output %s is not float32", value->name);
    EXN_TRY(exn_lower_native(out, l, id));
    if (!out->constant && out->buffer != l->plan->input.buffer) return EXN_OK;
    const exn_shape memory = exn_memory_shape(&value->shape);
    const size_t same[EXN_RANK_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
    return add_permute(out, l, *out, &memory, same);
}

static void count_uses(exn_lowering *l, const exn_schedule *schedule, const exn_plan_options *options) {
    for (size_t n = 0; n < schedule->count; n++) {
        const exn_node *node = &l->graph->nodes[schedule->nodes[n]];
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] == EXN_VALUE_NONE) continue;
            l->uses[node->inputs[i]]++;
            l->readers[node->inputs[i]] = schedule->nodes[n];
        }
        const bool weighs = node->input_count > 1 && node->inputs[1] != EXN_VALUE_NONE;
        const exn_value *weight = weighs ? &l->graph->values[node->inputs[1]] : NULL;
        const size_t count = weight && weight->data ? exn_shape_elements(&weight->shape) : 0;
        if (count > l->largest_weight) l->largest_weight = count;
    }
    for (size_t i = 0; i < options->output_count; i++) l->uses[options->outputs[i]]++;
}

exn_status exn_lowering_create(exn_lowering *out, exn_plan *plan, const exn_graph *graph, const exn_schedule *schedule,
                               const exn_plan_options *options) {
    exn_lowering l = {.ctx = plan->ctx, .plan = plan, .graph = graph};
    l.lender = options->lender ? options->lender->packed_known : NULL;
    l.places = exn_calloc(l.ctx, graph->value_count, sizeof *l.places);
    l.rows = exn_calloc(l.ctx, graph->value_count, sizeof *l.rows);
    l.uses = exn_calloc(l.ctx, graph->value_count, sizeof *l.uses);
    l.readers = exn_calloc(l.ctx, graph->value_count, sizeof *l.readers);
    l.joined = exn_calloc(l.ctx, graph->value_count, sizeof *l.joined);
    if (!l.places || !l.rows || !l.uses || !l.readers || !l.joined) {
        exn_lowering_destroy(&l);
        return EXN_E_NOMEM;
    }
    count_uses(&l, schedule, options);
    *out = l;
    return EXN_OK;
}

void exn_lowering_destroy(exn_lowering *l) {
    exn_free(l->ctx, l->places);
    exn_free(l->ctx, l->rows);
    exn_free(l->ctx, l->uses);
    exn_free(l->ctx, l->readers);
    exn_free(l->ctx, l->joined);
    exn_free(l->ctx, l->choices);
    exn_free(l->ctx, l->scratch);
}
