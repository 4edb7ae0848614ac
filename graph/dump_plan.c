/* SPDX-License-Identifier: Apache-2.0
 * Writing a plan down: one line a step. */
#include "graph/dump.h"

#include "graph/step.h"
#include "graph/text.h"

static void put_step(exn_text *text, const exn_plan *plan, const exn_step *step) {
    char shape[EXN_SHAPE_TEXT_BYTES];
    exn_text_put(text, "%s %s %s = %s", step->name, step->op, exn_shape_text(shape, &step->shape), step->algorithm);
    const exn_buffer *out = &plan->buffers[step->out.buffer];
    exn_text_put(text, " at %zu bytes %zu", step->out.offset, out->bytes);
    if (out->same_as != step->out.buffer) exn_text_put(text, " in place");
    if (step->workspace_bytes)
        exn_text_put(text, " workspace at %zu bytes %zux%zu", step->workspace_offset, plan->threads,
                     step->workspace_bytes);
    exn_text_put(text, " live %zu branch %zu", step->live_bytes, step->branch);
    for (size_t i = step->output_begin; i < step->output_end; i++) exn_text_put(text, " output %zu", i);
    exn_text_put(text, "\n");
}

exn_status exn_plan_text(char **out, const exn_plan *plan) {
    exn_text text = {.ctx = plan->ctx};
    exn_text_put(&text, "arena %zu bytes, lower bound %zu, packed weights %zu, %s, %zu threads\n", plan->arena.bytes,
                 plan->arena.lower_bound_bytes, plan->packed_bytes, plan->kernels.name, plan->threads);
    for (size_t s = 0; s < plan->step_count; s++) put_step(&text, plan, &plan->steps[s]);
    return exn_text_take(out, &text);
}
