/* SPDX-License-Identifier: Apache-2.0
 * Making a plan: schedule, lower, lay out. Then answering questions about it. */
#include "graph/plan.h"

#include "graph/liveness.h"
#include "graph/lower.h"
#include "graph/schedule.h"

static exn_status check_options(exn_context *ctx, const exn_graph *graph, const exn_plan_options *options) {
    if (!options->kernels || options->threads < 1 || options->output_count < 1)
        return exn_fail(ctx, EXN_E_INVALID, "plan: kernels, at least one thread and one output are needed");
    if (graph->input == EXN_VALUE_NONE || graph->values[graph->input].dtype != EXN_F32)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "plan: the network's input must be float32");
    return EXN_OK;
}

static exn_status place_input(exn_lowering *l) {
    exn_plan *plan = l->plan;
    const exn_value *input = &l->graph->values[l->graph->input];
    size_t count;
    EXN_TRY(exn_shape_count(&count, l->ctx, &input->shape));
    plan->input = (exn_operand){NULL, EXN_NO_BUFFER, 0};
    EXN_TRY(exn_plan_buffer(&plan->input.buffer, plan, count * sizeof(float)));
    plan->input_shape = input->shape;
    l->places[l->graph->input] = (exn_place){.known = true, .at = plan->input};
    return EXN_OK;
}

/* After this step, output i and everything before it is complete. */
static exn_status finish_output(exn_lowering *l, size_t i, exn_value_id value) {
    exn_plan *plan = l->plan;
    exn_plan_output *output = &plan->outputs[i];
    l->branch = i + 1 < plan->output_count ? i + 1 : 0;
    EXN_TRY(exn_lower_output(&output->at, l, value));
    output->shape = l->graph->values[value].shape;
    output->step = plan->step_count - 1;
    exn_step *step = &plan->steps[output->step];
    if (step->output_begin == step->output_end) step->output_begin = i;
    step->output_end = i + 1;
    for (size_t s = 0; s < plan->step_count; s++) output->macs += plan->steps[s].macs;
    return EXN_OK;
}

/* About what the packed weights of these nodes will take: their constants, and a little for panels that are not full. */
static size_t expected_weights(const exn_graph *graph, const exn_schedule *schedule) {
    size_t bytes = 0;
    for (size_t i = 0; i < schedule->count; i++) {
        const exn_node *node = &graph->nodes[schedule->nodes[i]];
        if (node->op != EXN_OP_Conv && node->op != EXN_OP_Gemm && node->op != EXN_OP_MatMul) continue;
        for (size_t k = 0; k < node->input_count; k++) {
            const exn_value *value = node->inputs[k] == EXN_VALUE_NONE ? NULL : &graph->values[node->inputs[k]];
            if (value && value->data && value->dtype == EXN_F32)
                bytes += exn_shape_elements(&value->shape) * sizeof(float);
        }
    }
    return bytes + bytes / 16;
}

static exn_status lower_all(exn_lowering *l, const exn_schedule *schedule, const exn_plan_options *options) {
    EXN_TRY(place_input(l));
    if (options->arithmetic == EXN_FAST)
        EXN_TRY(exn_lower_choose_fast(l, schedule, options->fast_bytes ? options->fast_bytes : EXN_FAST_BYTES));
    if (!l->lender) l->plan->packed.expected = expected_weights(l->graph, schedule) + l->extra_bytes;
    size_t next = 0;
    for (size_t i = 0; i < options->output_count; i++) {
        while (next < schedule->end[i]) {
            size_t taken = 0;
            const size_t left = options->separate ? 0 : schedule->end[i] - next;
            EXN_TRY(exn_lower_strips(&taken, l, schedule->nodes + next, left, schedule->branch[next]));
            if (taken == 0) EXN_TRY(exn_lower_pooled(&taken, l, schedule->nodes + next, left, schedule->branch[next]));
            if (taken == 0) EXN_TRY(exn_lower_node(l, &l->graph->nodes[schedule->nodes[next]], schedule->branch[next]));
            next += taken ? taken : 1;
        }
        EXN_TRY(finish_output(l, i, options->outputs[i]));
    }
    return exn_plan_layout(l->plan);
}

/* Plans work without the file, so a disk that refuses it is only told. */
static exn_status save_packed(exn_plan *plan) {
    const exn_status status = plan->packed_known ? exn_packed_save(plan->packed_known) : EXN_OK;
    if (status != EXN_E_IO) return status;
    exn_log(plan->ctx, EXN_LOG_WARNING, "packed weights are not kept: %s", exn_context_error(plan->ctx));
    return EXN_OK;
}

static exn_status fill_plan(exn_plan *plan, const exn_graph *graph, const exn_plan_options *options) {
    exn_schedule schedule;
    exn_lowering lowering;
    if (options->packed || options->lends) EXN_TRY(exn_packed_open(&plan->packed_known, plan->ctx, options->packed));
    EXN_TRY(exn_schedule_create(&schedule, graph, options->outputs, options->output_count));
    exn_status status = exn_lowering_create(&lowering, plan, graph, &schedule, options);
    if (status == EXN_OK) {
        status = lower_all(&lowering, &schedule, options);
        exn_lowering_destroy(&lowering);
    }
    exn_schedule_destroy(&schedule, plan->ctx);
    return status;
}

exn_status exn_plan_create(exn_plan **out, const exn_graph *graph, const exn_plan_options *options) {
    exn_context *ctx = graph->ctx;
    EXN_TRY(check_options(ctx, graph, options));
    exn_plan *plan = exn_calloc(ctx, 1, sizeof *plan);
    if (!plan) return EXN_E_NOMEM;
    plan->ctx = ctx;
    plan->kernels = *options->kernels;
    plan->threads = options->threads;
    plan->arithmetic = options->arithmetic;
    plan->output_count = options->output_count;
    plan->outputs = exn_calloc(ctx, options->output_count, sizeof *plan->outputs);
    exn_status status = plan->outputs ? fill_plan(plan, graph, options) : EXN_E_NOMEM;
    if (status == EXN_OK) status = save_packed(plan);
    if (status != EXN_OK) {
        exn_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return EXN_OK;
}

void exn_plan_destroy(exn_plan *plan) {
    if (!plan) return;
    exn_context *ctx = plan->ctx;
    for (size_t i = 0; i < plan->step_count; i++) exn_free(ctx, plan->steps[i].name);
    for (size_t i = 0; i < plan->block_count; i++) exn_free(ctx, plan->blocks[i]);
    exn_pieces_release(&plan->packed, ctx);
    exn_packed_close(plan->packed_known);
    exn_free(ctx, plan->steps);
    exn_free(ctx, plan->blocks);
    exn_free(ctx, plan->buffers);
    exn_free(ctx, plan->outputs);
    exn_free(ctx, plan);
}

exn_arena_plan exn_plan_arena(const exn_plan *plan) {
    return plan->arena;
}

size_t exn_plan_packed_bytes(const exn_plan *plan) {
    return plan->packed_bytes;
}

size_t exn_plan_step_count(const exn_plan *plan) {
    return plan->step_count;
}

exn_plan_step exn_plan_get_step(const exn_plan *plan, size_t index) {
    const exn_step *step = &plan->steps[index];
    return (exn_plan_step){.name = step->name,
                           .op = step->op,
                           .algorithm = step->algorithm,
                           .why = step->why,
                           .macs = step->macs,
                           .output = step->output_end > step->output_begin ? step->output_end - 1 : SIZE_MAX,
                           .branch = step->branch,
                           .live_bytes = step->live_bytes,
                           .shape = step->shape};
}

size_t exn_plan_interval_count(const exn_plan *plan) {
    return plan->buffer_count + plan->step_count;
}

exn_plan_interval exn_plan_get_interval(const exn_plan *plan, size_t index) {
    if (index < plan->buffer_count) {
        const exn_buffer *b = &plan->buffers[index];
        return (exn_plan_interval){b->offset, b->used && b->same_as == index ? b->bytes : 0, b->first, b->last};
    }
    const size_t step = index - plan->buffer_count;
    const exn_step *s = &plan->steps[step];
    return (exn_plan_interval){s->workspace_offset, s->workspace_bytes * plan->threads, step, step};
}

exn_shape exn_plan_input_shape(const exn_plan *plan) {
    return plan->input_shape;
}

uint64_t exn_plan_output_macs(const exn_plan *plan, size_t output) {
    return plan->outputs[output].macs;
}
