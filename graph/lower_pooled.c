/* SPDX-License-Identifier: Apache-2.0
 * Lowering of pooled convolutions: finds one whose result only a max pooling reads. */
#include "graph/lower.h"

#include <stdio.h>

static void run_pooled(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_pooled_run(&step->work.pooled, step->vector, exn_operand_read(view, &step->in[0]),
                   exn_operand_write(view, &step->out), exn_step_workspace(step, view, part), part);
}

static bool is_pair(const exn_lowering *l, const exn_node *conv, const exn_node *pool) {
    if (conv->op != EXN_OP_Conv || conv->input_count < 2 || conv->attrs.residual) return false;
    if (conv->inputs[1] == EXN_VALUE_NONE || pool->op != EXN_OP_MaxPool) return false;
    const exn_value *weight = &l->graph->values[conv->inputs[1]];
    return weight->data && weight->shape.rank == 4 && l->graph->values[conv->inputs[0]].shape.rank == 4 &&
           l->uses[conv->outputs[0]] == 1 && pool->inputs[0] == conv->outputs[0] && pool->output_count == 1;
}

exn_status exn_lower_pooled(size_t *taken, exn_lowering *l, const uint32_t *nodes, size_t count, size_t branch) {
    if (count < 2) return EXN_OK;
    const exn_node *conv = &l->graph->nodes[nodes[0]], *pool = &l->graph->nodes[nodes[1]];
    if (!is_pair(l, conv, pool) || (l->choices && l->choices[nodes[0]].outputs)) return EXN_OK;
    const exn_attrs *a = &conv->attrs;
    const exn_strip_stage stage = {exn_lower_conv_shape(l, conv), a->activation, a->lo, a->hi};
    const exn_window window = exn_lower_window(l, pool);
    exn_pooled pooled;
    if (!exn_pooled_prepare(&pooled, &l->plan->kernels, &stage, &window)) return EXN_OK;
    l->branch = branch;
    l->node = conv;
    exn_operand in;
    EXN_TRY(exn_lower_conv_pack(&pooled.source.weights, l, &pooled.source.conv));
    EXN_TRY(exn_lower_native(&in, l, conv->inputs[0]));
    l->node = pool;
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_pooled, "", 0));
    snprintf(step->algorithm, sizeof step->algorithm, "strips of %zu: %s, window", pooled.rows,
             exn_conv_algorithm_name(pooled.source.conv.algorithm));
    snprintf(step->why, sizeof step->why, "the map between would leave the cache");
    step->in[0] = in;
    step->workspace_bytes = exn_round_up(pooled.workspace_bytes);
    step->work.pooled = pooled;
    step->macs = exn_conv_macs(&stage.shape);
    *taken = 2;
    return EXN_OK;
}
