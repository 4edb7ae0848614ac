/* SPDX-License-Identifier: Apache-2.0
 * Lowering of blocks in strips: finds a convolution, a depthwise and a pointwise one that only feed each other. */
#include "graph/lower.h"

#include <stdio.h>

static void run_strips(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_strips_run(&step->work.strips, exn_operand_read(view, &step->in[0]), exn_operand_write(view, &step->out),
                   exn_operand_optional(view, &step->in[1]), exn_step_workspace(step, view, part), part);
}

/* A convolution that lowering would take. */
static bool is_conv(const exn_lowering *l, const exn_node *node) {
    if (node->op != EXN_OP_Conv || node->input_count < 2 || node->inputs[1] == EXN_VALUE_NONE) return false;
    const exn_value *weight = &l->graph->values[node->inputs[1]];
    return weight->data && weight->shape.rank == 4 && l->graph->values[node->inputs[0]].shape.rank == 4;
}

/* True when `to` reads what `from` makes, as its image, and nobody else does. */
static bool only_feeds(const exn_lowering *l, const exn_node *from, const exn_node *to) {
    return l->uses[from->outputs[0]] == 1 && to->inputs[0] == from->outputs[0];
}

static exn_strip_stage stage_of(const exn_lowering *l, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    return (exn_strip_stage){exn_lower_conv_shape(l, node), a->activation, a->lo, a->hi};
}

static bool is_depthwise(const exn_strip_stage *stage) {
    return stage->shape.groups > 1 && stage->shape.groups == stage->shape.c && stage->shape.groups == stage->shape.oc;
}

static bool is_pointwise(const exn_strip_stage *stage) {
    const exn_conv_shape *s = &stage->shape;
    return s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1 && s->pad_top == 0 && s->pad_left == 0 &&
           s->groups == 1 && s->oh == s->h && s->ow == s->w;
}

/* The block that starts at nodes[0]: [first,] depthwise, last. Returns how many nodes it has, 0: none. */
static size_t find_block(exn_strips *strips, const exn_lowering *l, const exn_node *const nodes[3], size_t count) {
    for (size_t have = count < 3 ? count : 3; have >= 2; have--) {
        exn_strip_stage stage[3] = {0};
        bool fits = true;
        for (size_t i = 0; i < have && fits; i++) {
            fits = is_conv(l, nodes[i]) && (i + 1 == have || !nodes[i]->attrs.residual);
            if (fits && i > 0) fits = only_feeds(l, nodes[i - 1], nodes[i]);
            if (fits) stage[i] = stage_of(l, nodes[i]);
        }
        const exn_strip_stage *deep = &stage[have - 2], *first = have == 3 ? &stage[0] : NULL;
        fits = fits && is_depthwise(deep) && is_pointwise(&stage[have - 1]) && (!first || first->shape.groups == 1);
        if (fits && exn_strips_prepare(strips, &l->plan->kernels, first, deep, &stage[have - 1])) return have;
    }
    return 0;
}

static exn_status pack_stage(const float **out, exn_lowering *l, const exn_node *node, const exn_conv *conv) {
    l->node = node;
    return exn_lower_conv_pack(out, l, conv);
}

exn_status exn_lower_strips(size_t *taken, exn_lowering *l, const uint32_t *nodes, size_t count, size_t branch) {
    const exn_node *block[3] = {NULL};
    exn_strips strips;
    for (size_t i = 0; i < count && i < 3; i++) block[i] = &l->graph->nodes[nodes[i]];
    const size_t size = find_block(&strips, l, block, count);
    if (size == 0) return EXN_OK;
    l->branch = branch;
    if (strips.has_first) EXN_TRY(pack_stage(&strips.first.weights, l, block[0], &strips.first.conv));
    EXN_TRY(pack_stage(&strips.depthwise_weights, l, block[size - 2], &strips.depthwise));
    EXN_TRY(pack_stage(&strips.last_weights, l, block[size - 1], &strips.last)); /* l->node stays the last */
    exn_operand in, residual;
    EXN_TRY(exn_lower_native(&in, l, block[0]->inputs[0]));
    EXN_TRY(exn_lower_residual(&residual, l));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_strips, "", 0));
    snprintf(step->algorithm, sizeof step->algorithm, "strips of %zu: %s%sdepthwise, %s", strips.rows,
             strips.has_first ? exn_conv_algorithm_name(strips.first.conv.algorithm) : "", strips.has_first ? ", " : "",
             exn_conv_algorithm_name(strips.last.algorithm));
    snprintf(step->why, sizeof step->why, "the maps between would leave the cache");
    step->in[0] = in;
    step->in[1] = residual;
    step->in_place = 2u;
    step->workspace_bytes = exn_round_up(strips.workspace_bytes);
    step->work.strips = strips;
    for (size_t i = 0; i < size; i++) {
        const exn_conv_shape shape = exn_lower_conv_shape(l, block[i]);
        step->macs += exn_conv_macs(&shape);
    }
    *taken = size;
    return EXN_OK;
}
