/* SPDX-License-Identifier: Apache-2.0
 * A tape of differentiable steps that knows no layer.
 *
 * Record once: declare variables, push steps with a forward and a backward function, mark the loss. Then plan: every
 * variable's value and gradient, and every step's workspace, gets an offset in one arena whose size is known before
 * anything runs. Then replay: exn_tape_forward and exn_tape_backward allocate nothing.
 *
 * Time runs 0 .. 2*steps-1: forward of step s at s, backward at 2*steps-1-s. A value lives from its producer to its
 * last reader in either direction, a gradient from its first writer to its producer's backward. */
#ifndef EXN_CORE_AUTOGRAD_H
#define EXN_CORE_AUTOGRAD_H

#include "core/arena.h"
#include "core/tensor.h"
#include "core/threads.h"

typedef struct exn_tape exn_tape;
typedef uint32_t exn_var;
#define EXN_VAR_NONE UINT32_MAX
#define EXN_STEP_VARS_MAX 8u

typedef enum exn_var_kind {
    EXN_VAR_INPUT,     /* filled in by the caller before forward; no gradient */
    EXN_VAR_PARAMETER, /* owned by the caller, who binds value and gradient memory; lives for ever */
    EXN_VAR_VALUE      /* made by a step; value and gradient live in the arena */
} exn_var_kind;

/* What a step's functions see. Pointers are NULL where a variable has no memory of that kind, above all grad[i] of
 * an input, or of a frozen parameter. Gradients are accumulated (+=) into memory that the tape cleared. */
typedef struct exn_step_view {
    void *state;                               /* the step's own, as pushed */
    const exn_shape *shape[EXN_STEP_VARS_MAX]; /* inputs first, then the output */
    float *value[EXN_STEP_VARS_MAX];
    float *grad[EXN_STEP_VARS_MAX];
    size_t inputs; /* the output's index */
    void *workspace;
    exn_part part;
} exn_step_view;

typedef void exn_step_fn(const exn_step_view *view);

typedef struct exn_step_rule {
    const char *name;
    exn_step_fn *forward, *backward;
    bool backward_reads_output, backward_reads_inputs; /* what must stay alive until backward */
} exn_step_rule;

exn_status exn_tape_create(exn_tape **out, exn_context *ctx);
void exn_tape_destroy(exn_tape *tape);
exn_status exn_tape_variable(exn_var *out, exn_tape *tape, exn_var_kind kind, const exn_shape *shape);
/* grad may be NULL: frozen. Needed for parameters before planning, legal again later with other memory. */
void exn_tape_bind(exn_tape *tape, exn_var parameter, float *value, float *grad);
/* Pushes a step; `state` is borrowed. Makes and returns the output variable. */
exn_status exn_tape_push(exn_var *out, exn_tape *tape, const exn_step_rule *rule, void *state, const exn_var *inputs,
                         size_t input_count, const exn_shape *shape, size_t workspace_bytes);
/* Lays everything out; nothing may be pushed afterwards. `keep`: values to be read by the caller after forward. */
exn_status exn_tape_plan(exn_arena_plan *out, exn_tape *tape, const exn_var *keep, size_t keep_count);
/* The block to use: out->bytes bytes, EXN_ALIGNMENT aligned, owned by the caller. */
void exn_tape_place(exn_tape *tape, void *arena);
float *exn_tape_value(exn_tape *tape, exn_var var);
float *exn_tape_grad(exn_tape *tape, exn_var var);
void exn_tape_forward(exn_tape *tape, exn_part part);
/* Seeds the gradient of `loss` (one element) with 1 and clears all others, bound parameter gradients included. */
void exn_tape_backward(exn_tape *tape, exn_var loss, exn_part part);

#endif
