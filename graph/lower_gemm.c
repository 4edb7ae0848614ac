/* SPDX-License-Identifier: Apache-2.0
 * Lowering of Gemm and MatMul: constant right sides are packed, computed ones multiplied as they lie. */
#include "graph/lower.h"

#include <stdio.h>
#include <string.h>

static void run_gemm(const exn_step *step, exn_exec_view *view, exn_part part) {
    const exn_gemm_work *work = &step->work.gemm;
    const float *a = exn_operand_read(view, &step->in[0]);
    const float *b = step->weights ? step->weights : exn_operand_read(view, &step->in[1]);
    const float *residual = exn_operand_optional(view, &step->in[2]);
    float *c = exn_operand_write(view, &step->out);
    for (size_t i = 0; i < work->batches; i++)
        exn_gemm_run(&work->gemm, a + i * work->a_batch, b + i * work->b_batch, c + i * work->c_batch, residual, part);
}

/* The right side of a product that is known now: B(p, j) = b[p*row + j*col], scale and bias per column. */
typedef struct exn_right {
    const exn_gemm *gemm;
    ptrdiff_t row, col;
    size_t flat_c, flat_hw; /* of the left side's place */
    float *scale, *bias;    /* [n], or NULL */
} exn_right;

/* Weights for an input that was flattened as (c, h, w) but lies as (h, w, c): their k axis is reordered alike. */
static exn_status pack_reordered(float *packed, exn_lowering *l, const exn_right *right, const float *weight) {
    const exn_gemm *g = right->gemm;
    const bool by_column = right->col != 1;
    float *reordered = exn_malloc(l->ctx, g->n * g->k, sizeof *reordered);
    if (!reordered) return EXN_E_NOMEM;
    const size_t dims[4] = {by_column ? g->n : 1, right->flat_c, right->flat_hw, by_column ? 1 : g->n};
    const exn_shape shape = exn_shape_of(4, dims);
    exn_permute(&shape, (const size_t[]){0, 2, 1, 3}, weight, reordered, exn_part_whole());
    exn_gemm_pack(packed, g->tile, g->n, g->k, reordered, right->row, right->col, right->scale, right->bias);
    exn_free(l->ctx, reordered);
    return EXN_OK;
}

static exn_status pack_gemm(float *packed, exn_lowering *l, const exn_packing *p, const float *weight) {
    const exn_right *right = p->how;
    const exn_gemm *g = right->gemm;
    if (right->flat_c) return pack_reordered(packed, l, right, weight);
    exn_gemm_pack(packed, g->tile, g->n, g->k, weight, right->row, right->col, right->scale, right->bias);
    return EXN_OK;
}

static exn_status column_scale(exn_lowering *l, exn_right *right, size_t n) {
    const exn_attrs *a = &l->node->attrs;
    const float alpha = l->node->op == EXN_OP_Gemm ? a->alpha : 1.0f;
    if (!a->fold_scale && alpha == 1.0f) return EXN_OK;
    right->scale = exn_malloc(l->ctx, n, sizeof(float));
    if (!right->scale) return EXN_E_NOMEM;
    for (size_t j = 0; j < n; j++) right->scale[j] = a->fold_scale ? a->fold_scale[j] * alpha : alpha;
    return EXN_OK;
}

/* C of Gemm where it is one value per column, or one for all. */
static bool is_bias(const exn_value *c, size_t n) {
    const size_t count = exn_shape_elements(&c->shape);
    const size_t width = c->shape.rank ? c->shape.dim[c->shape.rank - 1] : 1;
    return c->data && count == width && (count == n || count == 1);
}

static exn_status column_bias(exn_lowering *l, exn_right *right, size_t n, const exn_value *c) {
    const exn_attrs *a = &l->node->attrs;
    if (!a->fold_scale && !c) return EXN_OK;
    right->bias = exn_malloc(l->ctx, n, sizeof(float));
    if (!right->bias) return EXN_E_NOMEM;
    if (a->fold_scale) {
        for (size_t j = 0; j < n; j++) right->bias[j] = a->fold_shift ? a->fold_shift[j] : 0.0f;
        return EXN_OK;
    }
    const float *values;
    void *copy;
    EXN_TRY(exn_lower_floats(&values, &copy, l, c));
    const size_t step = exn_shape_elements(&c->shape) == 1 ? 0 : 1;
    for (size_t j = 0; j < n; j++) right->bias[j] = a->beta * values[j * step];
    exn_free(l->ctx, copy);
    return EXN_OK;
}

static exn_status pack_right(const float **out, exn_lowering *l, const exn_gemm *g, const exn_value *b, bool transposed,
                             const exn_value *bias, const exn_place *map) {
    exn_right right = {.gemm = g,
                       .row = transposed ? 1 : (ptrdiff_t)g->n,
                       .col = transposed ? (ptrdiff_t)g->k : 1,
                       .flat_c = map->flat_c,
                       .flat_hw = map->flat_hw};
    exn_status status = column_scale(l, &right, g->n);
    if (status == EXN_OK) status = column_bias(l, &right, g->n, bias);
    exn_packing p = {.count = exn_gemm_packed_count(g->tile, g->n, g->k),
                     .weight = b,
                     .scale = right.scale,
                     .bias = right.bias,
                     .columns = g->n,
                     .pack = pack_gemm,
                     .how = &right};
    snprintf(p.layout, sizeof p.layout, "gemm, %u columns, %zu x %zu, steps %td and %td, map of %zu x %zu", g->tile->nr,
             g->k, g->n, right.row, right.col, right.flat_c, right.flat_hw);
    if (status == EXN_OK) status = exn_lower_pack(out, l, &p);
    exn_free(l->ctx, right.scale);
    exn_free(l->ctx, right.bias);
    return status;
}

static exn_status add_gemm(exn_lowering *l, const exn_gemm_work *work, const float *packed,
                           const exn_operand in[EXN_STEP_INPUTS]) {
    const exn_gemm *g = &work->gemm;
    if (packed && g->m == 1) exn_lower_ahead(l, packed, exn_gemm_packed_count(g->tile, g->n, g->k));
    exn_step *step;
    EXN_TRY(exn_lower_step(&step, l, run_gemm, packed ? "gemm" : "gemm plain", 0));
    const size_t named = strlen(step->algorithm);
    snprintf(step->algorithm + named, sizeof step->algorithm - named, " %ux%u", (unsigned)work->gemm.tile->mr,
             (unsigned)work->gemm.tile->nr);
    memcpy(step->in, in, sizeof step->in);
    step->in_place = 4u;
    step->weights = packed;
    step->work.gemm = *work;
    step->macs = exn_node_macs(l->graph, l->node);
    return EXN_OK;
}

static exn_gemm start_gemm(const exn_lowering *l, size_t m, size_t n, size_t k) {
    const exn_attrs *a = &l->node->attrs;
    const exn_kernel_set *set = &l->plan->kernels;
    return (exn_gemm){.tile = exn_gemm_choose(set, m, n, k),
                      .vector = &set->f32_vector,
                      .m = m,
                      .n = n,
                      .k = k,
                      .a_row = (ptrdiff_t)k,
                      .a_col = 1,
                      .b_row = (ptrdiff_t)n,
                      .c_row = (ptrdiff_t)n,
                      .e = {.activation = a->activation, .lo = a->lo, .hi = a->hi}};
}

/* The matrix that is added: what folding attached, or a C that is not a bias. */
static exn_status lower_addend(exn_operand *out, exn_lowering *l, const exn_value *bias, const exn_value *y) {
    const exn_node *node = l->node;
    const size_t last = node->input_count - 1;
    const bool added_c = last == 2 && !node->attrs.residual && node->inputs[2] != EXN_VALUE_NONE && !bias;
    if (!node->attrs.residual && !added_c) return EXN_OK;
    if (!exn_shape_equal(&l->graph->values[node->inputs[last]].shape, &y->shape) || (added_c && node->attrs.beta != 1))
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "C must be a constant row, or as large as the result with beta 1");
    return exn_lower_native(out, l, node->inputs[last]);
}

exn_status exn_lower_gemm(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_attrs *a = &node->attrs;
    const exn_value *left = exn_lower_input(l, 0), *right = exn_lower_input(l, 1);
    const exn_value *y = &l->graph->values[node->outputs[0]];
    if (!left || !right || !right->data || left->shape.rank != 2 || right->shape.rank != 2)
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only a computed matrix times a constant matrix is supported");
    const size_t m = y->shape.dim[0], n = y->shape.dim[1], k = right->shape.dim[a->trans_b ? 1 : 0];
    exn_gemm_work work = {.gemm = start_gemm(l, m, n, k), .batches = 1};
    work.gemm.packed = true;
    if (a->trans_a) {
        work.gemm.a_row = 1;
        work.gemm.a_col = (ptrdiff_t)m;
    }
    const size_t c_at = node->input_count > (a->residual ? 3u : 2u) ? 2 : SIZE_MAX;
    const exn_value *c = c_at == 2 ? exn_lower_input(l, 2) : NULL;
    const exn_value *bias = c && is_bias(c, n) ? c : NULL;

    exn_operand in[EXN_STEP_INPUTS] = {{.buffer = EXN_NO_BUFFER}, {.buffer = EXN_NO_BUFFER}, {.buffer = EXN_NO_BUFFER}};
    exn_place map = l->places[node->inputs[0]];
    if (a->trans_a) map.flat_c = 0;
    if (map.flat_c)
        in[0] = map.at;
    else
        EXN_TRY(exn_lower_rows(&in[0], l, node->inputs[0]));
    EXN_TRY(lower_addend(&in[2], l, bias, y));
    if (in[2].buffer != EXN_NO_BUFFER || in[2].constant) work.gemm.e.residual_row = (ptrdiff_t)n;
    const float *packed;
    EXN_TRY(pack_right(&packed, l, &work.gemm, right, a->trans_b, bias, &map));
    return add_gemm(l, &work, packed, in);
}

/* Everything but the last axis of the left side is rows when the right side is one matrix; else leading axes are
 * batches and must be the same on both sides. */
exn_status exn_lower_matmul(exn_lowering *l) {
    const exn_node *node = l->node;
    const exn_value *left = exn_lower_input(l, 0), *right = exn_lower_input(l, 1);
    if (!left || !right || left->shape.rank < 2 || right->shape.rank < 2)
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only matrices can be multiplied");
    const size_t rank = left->shape.rank, k = left->shape.dim[rank - 1];
    const size_t n = right->shape.dim[right->shape.rank - 1];
    const bool one_matrix = right->shape.rank == 2;
    size_t m = left->shape.dim[rank - 2], batches = 1;
    for (size_t i = 0; i + 2 < rank; i++) batches *= left->shape.dim[i];
    if (!one_matrix && (right->shape.rank != rank || memcmp(left->shape.dim, right->shape.dim, (rank - 2) * sizeof m)))
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "leading axes of both sides must be the same");
    if (one_matrix) {
        m *= batches;
        batches = 1;
    }
    exn_gemm_work work = {
        .gemm = start_gemm(l, m, n, k), .batches = batches, .a_batch = m * k, .b_batch = k * n, .c_batch = m * n};
    const exn_place map = one_matrix && right->data ? l->places[node->inputs[0]] : (exn_place){0};
    exn_operand in[EXN_STEP_INPUTS] = {{.buffer = EXN_NO_BUFFER}, {.buffer = EXN_NO_BUFFER}, {.buffer = EXN_NO_BUFFER}};
    if (map.flat_c)
        in[0] = map.at;
    else
        EXN_TRY(exn_lower_rows(&in[0], l, node->inputs[0]));
    const float *packed = NULL;
    if (one_matrix && right->data) {
        work.gemm.packed = true;
        EXN_TRY(pack_right(&packed, l, &work.gemm, right, false, NULL, &map));
    } else {
        EXN_TRY(exn_lower_rows(&in[1], l, node->inputs[1]));
    }
    EXN_TRY(add_gemm(l, &work, packed, in));
    return exn_lower_bind_rows(l, 0, l->plan->steps[l->plan->step_count - 1].out);
}
