/* SPDX-License-Identifier: Apache-2.0
 * Lowering of Conv: weights packed with what folding attached, residual in the epilogue. */
#include "graph/lower.h"

#include <stdio.h>

static void run_conv(const exn_step *step, exn_exec_view *view, exn_part part) {
    exn_conv_run(&step->work.conv, step->weights, exn_operand_read(view, &step->in[0]),
                 exn_operand_write(view, &step->out) + step->out_start, exn_operand_optional(view, &step->in[1]),
                 exn_step_workspace(step, view, part), part);
}

/* Lets the step write into the Concat that reads it, where that is possible. */
static exn_status join(exn_step *step, exn_conv *conv, exn_lowering *l) {
    exn_join join = {.pixel = 0};
    if (conv->depthwise || l->node->attrs.residual) return EXN_OK;
    EXN_TRY(exn_lower_join(&join, l));
    if (join.pixel == 0) return EXN_OK;
    step->out = join.at;
    step->out_start = join.channel;
    step->in_place = 0;
    conv->out_pitch = join.pixel;
    return EXN_OK;
}

exn_conv_shape exn_lower_conv_shape(const exn_lowering *l, const exn_node *node) {
    const exn_attrs *a = &node->attrs;
    const exn_shape *x = &l->graph->values[node->inputs[0]].shape, *w = &l->graph->values[node->inputs[1]].shape;
    const exn_shape *y = &l->graph->values[node->outputs[0]].shape;
    return (exn_conv_shape){.n = x->dim[0],
                            .c = x->dim[1],
                            .h = x->dim[2],
                            .w = x->dim[3],
                            .oc = y->dim[1],
                            .oh = y->dim[2],
                            .ow = y->dim[3],
                            .kh = w->dim[2],
                            .kw = w->dim[3],
                            .stride_h = a->stride[0],
                            .stride_w = a->stride[1],
                            .dilation_h = a->dilation[0],
                            .dilation_w = a->dilation[1],
                            .pad_top = a->pad[0],
                            .pad_left = a->pad[1],
                            .groups = a->groups};
}

static exn_status pack_conv(float *packed, exn_lowering *l, const exn_packing *p, const float *weight) {
    (void)l;
    exn_conv_pack(packed, p->how, weight, p->scale, p->bias);
    return EXN_OK;
}

exn_status exn_lower_conv_pack(const float **out, exn_lowering *l, const exn_conv *conv) {
    const exn_attrs *a = &l->node->attrs;
    const exn_conv_shape *s = &conv->shape;
    const exn_value *bias = l->node->input_count > (a->residual ? 3u : 2u) ? exn_lower_input(l, 2) : NULL;
    const float *b = NULL;
    void *copy = NULL;
    if (bias) EXN_TRY(exn_lower_floats(&b, &copy, l, bias));
    exn_packing p = {.count = conv->packed_count,
                     .weight = exn_lower_input(l, 1),
                     .scale = a->fold_scale,
                     .bias = a->fold_scale ? a->fold_shift : b,
                     .columns = s->oc,
                     .pack = pack_conv,
                     .how = conv};
    snprintf(p.layout, sizeof p.layout, "conv %s of %u, %u columns, %zu -> %zu channels, %zux%zu, %zu groups",
             exn_conv_algorithm_name(conv->algorithm), conv->winograd ? (unsigned)conv->winograd->outputs : 0,
             conv->tile ? conv->tile->nr : conv->depthwise->panel, s->c, s->oc, s->kh, s->kw, s->groups);
    const exn_status status = exn_lower_pack(out, l, &p);
    exn_free(l->ctx, copy);
    return status;
}

exn_status exn_lower_residual(exn_operand *out, exn_lowering *l) {
    const exn_node *node = l->node;
    *out = (exn_operand){.buffer = EXN_NO_BUFFER};
    if (!node->attrs.residual) return EXN_OK;
    const exn_value_id last = node->inputs[node->input_count - 1];
    if (!exn_shape_equal(&l->graph->values[last].shape, &l->graph->values[node->outputs[0]].shape))
        return exn_lower_fail(l, EXN_E_SHAPE, "the residual is not as large as the result");
    return exn_lower_native(out, l, last);
}

/* Why this algorithm, in words. */
static void explain(exn_step *step, const exn_conv *conv, const exn_fast_choice *choice) {
    if (conv->algorithm == EXN_CONV_WINOGRAD)
        snprintf(step->why, sizeof step->why, "expected in %.2f of the direct time", choice->share);
    else
        snprintf(step->why, sizeof step->why, "%s%s%s", exn_conv_algorithm_reason(conv->algorithm),
                 choice->why ? "; " : "", choice->why ? choice->why : "");
}

static void name_algorithm(exn_step *step, const exn_conv *conv) {
    char tiles[16] = "";
    const char *name = exn_conv_algorithm_name(conv->algorithm);
    if (conv->winograd) snprintf(tiles, sizeof tiles, " F(%u,3)", (unsigned)conv->winograd->outputs);
    if (conv->tile)
        snprintf(step->algorithm, sizeof step->algorithm, "%s%s %ux%u", name, tiles, (unsigned)conv->tile->mr,
                 (unsigned)conv->tile->nr);
}

exn_status exn_lower_conv(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_attrs *a = &node->attrs;
    const exn_value *x = exn_lower_input(l, 0), *weight = exn_lower_input(l, 1);
    if (!x || !weight || x->shape.rank != 4 || weight->shape.rank != 4)
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only two-dimensional convolution is supported");
    const exn_conv_shape shape = exn_lower_conv_shape(l, node);
    const exn_fast_choice choice = l->choices ? l->choices[node - l->graph->nodes] : (exn_fast_choice){0};
    exn_conv conv;
    if (choice.outputs)
        exn_conv_prepare_winograd(&conv, &l->plan->kernels, &shape, choice.outputs, a->activation, a->lo, a->hi);
    else
        exn_conv_prepare(&conv, &l->plan->kernels, &shape, a->activation, a->lo, a->hi);
    const float *packed;
    exn_operand in, residual;
    EXN_TRY(exn_lower_conv_pack(&packed, l, &conv));
    EXN_TRY(exn_lower_native(&in, l, node->inputs[0]));
    EXN_TRY(exn_lower_residual(&residual, l));
    if (conv.algorithm == EXN_CONV_GEMM)
        exn_lower_ahead(l, packed,
                        shape.n * shape.oh * shape.ow == 1 ? conv.packed_count
                                                           : exn_gemm_packed_count(conv.tile, 1, shape.c));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_conv, exn_conv_algorithm_name(conv.algorithm), 0));
    name_algorithm(step, &conv);
    explain(step, &conv, &choice);
    step->asks = conv.algorithm == EXN_CONV_GEMM;
    step->in[0] = in;
    step->in[1] = residual;
    step->in_place = 2u;
    step->weights = packed;
    step->workspace_bytes = exn_round_up(conv.workspace_bytes);
    EXN_TRY(join(step, &conv, l));
    step->work.conv = conv;
    step->macs = exn_conv_macs(&shape);
    return EXN_OK;
}
