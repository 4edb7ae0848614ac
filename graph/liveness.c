/* SPDX-License-Identifier: Apache-2.0
 * Liveness over the schedule, in-place results, and the arena. */
#include "graph/liveness.h"

/* The buffer that this one was merged into. */
static uint32_t root_of(const exn_plan *plan, uint32_t buffer) {
    while (plan->buffers[buffer].same_as != buffer) buffer = plan->buffers[buffer].same_as;
    return buffer;
}

static void touch(exn_plan *plan, const exn_operand *operand, size_t step) {
    if (operand->constant || operand->buffer == EXN_NO_BUFFER) return;
    exn_buffer *buffer = &plan->buffers[root_of(plan, operand->buffer)];
    if (!buffer->used || step < buffer->first) buffer->first = step;
    if (!buffer->used || step > buffer->last) buffer->last = step;
    buffer->used = true;
}

typedef void exn_operand_visitor(exn_plan *plan, exn_operand *operand, size_t step);

static void visit_operands(exn_plan *plan, exn_operand_visitor *visit) {
    for (size_t s = 0; s < plan->step_count; s++) {
        exn_step *step = &plan->steps[s];
        for (size_t i = 0; i < EXN_STEP_INPUTS; i++) visit(plan, &step->in[i], s);
        visit(plan, &step->out, s);
        for (size_t i = 0; i < step->move_count; i++) {
            visit(plan, &step->moves[i].from, s);
            visit(plan, &step->moves[i].to, s);
        }
    }
}

static void note_life(exn_plan *plan, exn_operand *operand, size_t step) {
    touch(plan, operand, step);
}

static void find_lives(exn_plan *plan) {
    touch(plan, &plan->input, 0);
    visit_operands(plan, note_life);
    for (size_t i = 0; i < plan->output_count; i++) {
        const exn_plan_output *output = &plan->outputs[i];
        touch(plan, &output->at, output->step);
        plan->buffers[output->at.buffer].taken_after = output->step + 1; /* outputs ascend */
    }
}

/* True when input i dies at step s, and nobody else in the step reads its buffer. */
static bool may_overwrite(const exn_plan *plan, size_t s, size_t i) {
    const exn_step *step = &plan->steps[s];
    const exn_operand *in = &step->in[i];
    if (!(step->in_place & (1u << i)) || in->constant || in->buffer == EXN_NO_BUFFER) return false;
    const uint32_t root = root_of(plan, in->buffer);
    const exn_buffer *buffer = &plan->buffers[root];
    if (buffer->last != s || buffer->taken_after > s || buffer->bytes != plan->buffers[step->out.buffer].bytes)
        return false;
    for (size_t k = 0; k < EXN_STEP_INPUTS; k++) {
        const exn_operand *other = &step->in[k];
        const bool shares =
            k != i && !other->constant && other->buffer != EXN_NO_BUFFER && root_of(plan, other->buffer) == root;
        if (shares && !(step->in_place & (1u << k))) return false;
    }
    return true;
}

static void merge_in_place(exn_plan *plan) {
    for (size_t s = 0; s < plan->step_count; s++) {
        const exn_step *step = &plan->steps[s];
        for (size_t i = 0; i < EXN_STEP_INPUTS; i++) {
            if (!may_overwrite(plan, s, i)) continue;
            const uint32_t root = root_of(plan, step->in[i].buffer);
            plan->buffers[step->out.buffer].same_as = root;
            plan->buffers[root].last = plan->buffers[step->out.buffer].last;
            plan->buffers[root].taken_after = plan->buffers[step->out.buffer].taken_after;
            break;
        }
    }
}

static size_t workspace_total(const exn_plan *plan, const exn_step *step) {
    size_t bytes;
    return exn_size_mul(&bytes, step->workspace_bytes, plan->threads) ? bytes : SIZE_MAX;
}

static size_t list_intervals(const exn_plan *plan, exn_interval *intervals) {
    size_t count = 0;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const exn_buffer *buffer = &plan->buffers[b];
        if (buffer->same_as == b && buffer->used)
            intervals[count++] = (exn_interval){.bytes = buffer->bytes, .first = buffer->first, .last = buffer->last};
    }
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].workspace_bytes)
            intervals[count++] = (exn_interval){workspace_total(plan, &plan->steps[s]), s, s, 0};
    return count;
}

/* The inverse of list_intervals: same order. */
static void take_offsets(exn_plan *plan, const exn_interval *intervals) {
    size_t next = 0;
    for (uint32_t b = 0; b < plan->buffer_count; b++)
        if (plan->buffers[b].same_as == b && plan->buffers[b].used) plan->buffers[b].offset = intervals[next++].offset;
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].workspace_bytes) plan->steps[s].workspace_offset = intervals[next++].offset;
}

/* First what each step has more than the one before, modulo the size of size_t; then the sums. */
static void sum_live_bytes(exn_plan *plan, const exn_interval *intervals, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = exn_round_up(intervals[i].bytes), after = intervals[i].last + 1;
        plan->steps[intervals[i].first].live_bytes += bytes;
        if (after < plan->step_count) plan->steps[after].live_bytes -= bytes;
    }
    for (size_t s = 1; s < plan->step_count; s++) plan->steps[s].live_bytes += plan->steps[s - 1].live_bytes;
}

static void resolve(exn_plan *plan, exn_operand *operand, size_t step) {
    (void)step;
    if (!operand->constant && operand->buffer != EXN_NO_BUFFER)
        operand->offset = plan->buffers[root_of(plan, operand->buffer)].offset;
}

exn_status exn_plan_layout(exn_plan *plan) {
    find_lives(plan);
    merge_in_place(plan);
    exn_interval *intervals = exn_calloc(plan->ctx, plan->buffer_count + plan->step_count, sizeof *intervals);
    if (!intervals) return EXN_E_NOMEM;
    const size_t count = list_intervals(plan, intervals);
    const exn_status status = exn_arena_assign(&plan->arena, plan->ctx, intervals, count);
    if (status == EXN_OK) {
        take_offsets(plan, intervals);
        sum_live_bytes(plan, intervals, count);
        visit_operands(plan, resolve);
        resolve(plan, &plan->input, 0);
        for (size_t i = 0; i < plan->output_count; i++) resolve(plan, &plan->outputs[i].at, 0);
    }
    exn_free(plan->ctx, intervals);
    return status;
}
