/* SPDX-License-Identifier: Apache-2.0
 * The tape: steps recorded once, laid out in time and memory once, replayed as often as wanted. */
#include "core/autograd.h"

#include <string.h>

typedef struct variable {
    exn_var_kind kind;
    exn_shape shape;
    size_t count;
    float *value, *grad;
    uint32_t producer;                /* step; UINT32_MAX for inputs and parameters */
    size_t last_reader, first_writer; /* times: of the value, of the gradient */
    bool read, differentiable;        /* some step reads it; some parameter with a gradient lies behind it */
    size_t value_interval, grad_interval;
} variable;

typedef struct step {
    const exn_step_rule *rule;
    void *state;
    exn_var var[EXN_STEP_VARS_MAX]; /* inputs, then the output */
    size_t inputs;
    size_t workspace_bytes;
    size_t workspace_interval[2]; /* forward, backward */
    void *workspace[2];
    bool differentiable;
} step;

struct exn_tape {
    exn_context *ctx;
    variable *vars;
    size_t var_count, var_capacity;
    step *steps;
    size_t step_count, step_capacity;
    exn_interval *intervals;
    size_t interval_count;
    bool planned;
};

#define NO_INTERVAL SIZE_MAX

exn_status exn_tape_create(exn_tape **out, exn_context *ctx) {
    exn_tape *tape = exn_calloc(ctx, 1, sizeof *tape);
    if (!tape) return EXN_E_NOMEM;
    tape->ctx = ctx;
    *out = tape;
    return EXN_OK;
}

void exn_tape_destroy(exn_tape *tape) {
    if (!tape) return;
    exn_free(tape->ctx, tape->vars);
    exn_free(tape->ctx, tape->steps);
    exn_free(tape->ctx, tape->intervals);
    exn_free(tape->ctx, tape);
}

exn_status exn_tape_variable(exn_var *out, exn_tape *tape, exn_var_kind kind, const exn_shape *shape) {
    size_t count;
    EXN_TRY(exn_shape_count(&count, tape->ctx, shape));
    if (tape->planned || tape->var_count >= EXN_VAR_NONE)
        return exn_fail(tape->ctx, EXN_E_INVALID, "tape: a variable after planning");
    EXN_TRY(exn_grow(tape->ctx, (void **)&tape->vars, &tape->var_capacity, tape->var_count + 1, sizeof *tape->vars));
    tape->vars[tape->var_count] = (variable){.kind = kind,
                                             .shape = *shape,
                                             .count = count,
                                             .producer = UINT32_MAX,
                                             .value_interval = NO_INTERVAL,
                                             .grad_interval = NO_INTERVAL};
    *out = (exn_var)tape->var_count++;
    return EXN_OK;
}

void exn_tape_bind(exn_tape *tape, exn_var parameter, float *value, float *grad) {
    tape->vars[parameter].value = value;
    tape->vars[parameter].grad = grad;
}

exn_status exn_tape_push(exn_var *out, exn_tape *tape, const exn_step_rule *rule, void *state, const exn_var *inputs,
                         size_t input_count, const exn_shape *shape, size_t workspace_bytes) {
    if (tape->planned) return exn_fail(tape->ctx, EXN_E_INVALID, "tape: step %s after planning", rule->name);
    if (input_count >= EXN_STEP_VARS_MAX)
        return exn_fail(tape->ctx, EXN_E_INVALID, "tape: step %s has %zu inputs, at most %u fit", rule->name,
                        input_count, EXN_STEP_VARS_MAX - 1);
    for (size_t i = 0; i < input_count; i++)
        if (inputs[i] >= tape->var_count)
            return exn_fail(tape->ctx, EXN_E_INVALID, "tape: input %zu of step %s does not exist", i, rule->name);
    EXN_TRY(
        exn_grow(tape->ctx, (void **)&tape->steps, &tape->step_capacity, tape->step_count + 1, sizeof *tape->steps));
    exn_var output;
    EXN_TRY(exn_tape_variable(&output, tape, EXN_VAR_VALUE, shape));
    tape->vars[output].producer = (uint32_t)tape->step_count;
    step *s = &tape->steps[tape->step_count++];
    *s = (step){.rule = rule,
                .state = state,
                .inputs = input_count,
                .workspace_bytes = workspace_bytes,
                .workspace_interval = {NO_INTERVAL, NO_INTERVAL}};
    memcpy(s->var, inputs, input_count * sizeof *inputs);
    s->var[input_count] = output;
    *out = output;
    return EXN_OK;
}

static size_t backward_time(const exn_tape *tape, size_t s) {
    return 2 * tape->step_count - 1 - s;
}

static void mark_differentiable(exn_tape *tape) {
    for (size_t v = 0; v < tape->var_count; v++)
        tape->vars[v].differentiable = tape->vars[v].kind == EXN_VAR_PARAMETER && tape->vars[v].grad;
    for (size_t s = 0; s < tape->step_count; s++) {
        step *at = &tape->steps[s];
        for (size_t i = 0; i < at->inputs; i++)
            if (tape->vars[at->var[i]].differentiable) at->differentiable = true;
        tape->vars[at->var[at->inputs]].differentiable = at->differentiable;
    }
}

static void extend(size_t *last, size_t time) {
    if (time > *last) *last = time;
}

/* Steps are visited in forward order, so the last step that reads a variable is the first to write its gradient. */
static void find_lives(exn_tape *tape) {
    for (size_t s = 0; s < tape->step_count; s++) {
        const step *at = &tape->steps[s];
        for (size_t i = 0; i < at->inputs; i++) {
            variable *v = &tape->vars[at->var[i]];
            extend(&v->last_reader, s);
            if (at->differentiable && at->rule->backward_reads_inputs) extend(&v->last_reader, backward_time(tape, s));
            if (at->differentiable) {
                v->read = true;
                v->first_writer = backward_time(tape, s);
            }
        }
        variable *output = &tape->vars[at->var[at->inputs]];
        extend(&output->last_reader, s);
        if (at->differentiable && at->rule->backward_reads_output) extend(&output->last_reader, backward_time(tape, s));
        output->first_writer = tape->step_count;
    }
}

static size_t interval(exn_tape *tape, size_t bytes, size_t first, size_t last) {
    tape->intervals[tape->interval_count] = (exn_interval){.bytes = bytes, .first = first, .last = last};
    return tape->interval_count++;
}

static void list_intervals(exn_tape *tape) {
    for (size_t v = 0; v < tape->var_count; v++) {
        variable *var = &tape->vars[v];
        const size_t bytes = var->count * sizeof(float);
        if (var->kind == EXN_VAR_INPUT) var->value_interval = interval(tape, bytes, 0, var->last_reader);
        if (var->kind != EXN_VAR_VALUE) continue;
        var->value_interval = interval(tape, bytes, var->producer, var->last_reader);
        if (var->differentiable)
            var->grad_interval = interval(tape, bytes, var->first_writer, backward_time(tape, var->producer));
    }
    for (size_t s = 0; s < tape->step_count; s++) {
        step *at = &tape->steps[s];
        if (!at->workspace_bytes) continue;
        at->workspace_interval[0] = interval(tape, at->workspace_bytes, s, s);
        if (!at->differentiable) continue;
        const size_t time = backward_time(tape, s);
        at->workspace_interval[1] = interval(tape, at->workspace_bytes, time, time);
    }
}

exn_status exn_tape_plan(exn_arena_plan *out, exn_tape *tape, const exn_var *keep, size_t keep_count) {
    if (tape->planned || !tape->step_count) return exn_fail(tape->ctx, EXN_E_INVALID, "tape: planned twice, or empty");
    tape->intervals = exn_calloc(tape->ctx, 2 * (tape->var_count + tape->step_count), sizeof *tape->intervals);
    if (!tape->intervals) return EXN_E_NOMEM;
    mark_differentiable(tape);
    find_lives(tape);
    /* Inputs are filled in before step 0 and may be replayed, so they stay with everything else kept. */
    for (size_t v = 0; v < tape->var_count; v++)
        if (tape->vars[v].kind == EXN_VAR_INPUT) extend(&tape->vars[v].last_reader, 2 * tape->step_count - 1);
    for (size_t i = 0; i < keep_count; i++) extend(&tape->vars[keep[i]].last_reader, 2 * tape->step_count - 1);
    list_intervals(tape);
    EXN_TRY(exn_arena_assign(out, tape->ctx, tape->intervals, tape->interval_count));
    tape->planned = true;
    return EXN_OK;
}

static void *at_offset(const exn_tape *tape, void *arena, size_t interval_index) {
    if (interval_index == NO_INTERVAL) return NULL;
    return (char *)arena + tape->intervals[interval_index].offset;
}

void exn_tape_place(exn_tape *tape, void *arena) {
    for (size_t v = 0; v < tape->var_count; v++) {
        variable *var = &tape->vars[v];
        if (var->kind == EXN_VAR_PARAMETER) continue;
        var->value = at_offset(tape, arena, var->value_interval);
        var->grad = at_offset(tape, arena, var->grad_interval);
    }
    for (size_t s = 0; s < tape->step_count; s++)
        for (size_t way = 0; way < 2; way++)
            tape->steps[s].workspace[way] = at_offset(tape, arena, tape->steps[s].workspace_interval[way]);
}

float *exn_tape_value(exn_tape *tape, exn_var var) {
    return tape->vars[var].value;
}

float *exn_tape_grad(exn_tape *tape, exn_var var) {
    return tape->vars[var].grad;
}

static exn_step_view view_of(const exn_tape *tape, const step *s, size_t way, exn_part part) {
    exn_step_view view = {.state = s->state, .inputs = s->inputs, .workspace = s->workspace[way], .part = part};
    for (size_t i = 0; i <= s->inputs; i++) {
        const variable *v = &tape->vars[s->var[i]];
        view.shape[i] = &v->shape;
        view.value[i] = v->value;
        view.grad[i] = v->differentiable ? v->grad : NULL;
    }
    return view;
}

static void meet(exn_part part) {
    if (part.count > 1) exn_barrier(part);
}

void exn_tape_forward(exn_tape *tape, exn_part part) {
    for (size_t s = 0; s < tape->step_count; s++) {
        const exn_step_view view = view_of(tape, &tape->steps[s], 0, part);
        tape->steps[s].rule->forward(&view);
        meet(part);
    }
}

static void start_gradient(exn_tape *tape, size_t v, exn_var loss, exn_part part) {
    const variable *var = &tape->vars[v];
    if (!var->differentiable || !var->grad) return;
    size_t begin, end;
    exn_part_range(&begin, &end, part, var->count, 16);
    if (end > begin) memset(var->grad + begin, 0, (end - begin) * sizeof *var->grad);
    if (v == loss && begin == 0 && end > 0) var->grad[0] = 1.0f;
}

void exn_tape_backward(exn_tape *tape, exn_var loss, exn_part part) {
    for (size_t v = 0; v < tape->var_count; v++)
        if (tape->vars[v].kind == EXN_VAR_PARAMETER || !tape->vars[v].read) start_gradient(tape, v, loss, part);
    meet(part);
    for (size_t s = tape->step_count; s-- > 0;) {
        const step *at = &tape->steps[s];
        if (!at->differentiable) continue;
        bool cleared = false;
        for (size_t i = 0; i < at->inputs; i++) {
            const variable *v = &tape->vars[at->var[i]];
            if (v->kind != EXN_VAR_VALUE || v->first_writer != backward_time(tape, s)) continue;
            start_gradient(tape, at->var[i], loss, part);
            cleared = true;
        }
        if (cleared) meet(part);
        const exn_step_view view = view_of(tape, at, 1, part);
        at->rule->backward(&view);
        meet(part);
    }
}
