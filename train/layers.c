/* SPDX-License-Identifier: Apache-2.0
 * Rules that bind the kernels' forward and backward functions to the tape. */
#include "train/layers.h"

#include <string.h>

static size_t last_dim(const exn_shape *shape) {
    return shape->rank ? shape->dim[shape->rank - 1] : 1;
}

static size_t rows_of(const exn_shape *shape) {
    size_t rows = 1;
    for (size_t i = 0; i + 1 < shape->rank; i++) rows *= shape->dim[i];
    return rows;
}

/* Zero-sized dimensions have no training behind them; refusing them here keeps divisions safe below. */
static exn_status check_input(const exn_layer *layer, const exn_shape *shape, size_t rank, const char *name) {
    bool good = shape->rank >= 1 && (!rank || shape->rank == rank);
    for (size_t i = 0; good && i < shape->rank; i++) good = shape->dim[i] > 0;
    return good ? EXN_OK : exn_fail(layer->ctx, EXN_E_SHAPE, "%s: the input's shape does not fit", name);
}

/* ---- linear ---- */

static void linear_forward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    const float *bias = v->inputs == 3 ? v->value[2] : NULL;
    exn_linear_forward(layer->set, rows_of(v->shape[0]), last_dim(v->shape[v->inputs]), last_dim(v->shape[0]),
                       v->value[0], v->value[1], bias, v->value[v->inputs], v->workspace, v->part);
}

static void linear_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    float *dbias = v->inputs == 3 ? v->grad[2] : NULL;
    exn_linear_backward(layer->set, rows_of(v->shape[0]), last_dim(v->shape[v->inputs]), last_dim(v->shape[0]),
                        v->value[0], v->value[1], v->grad[v->inputs], v->grad[0], v->grad[1], dbias, v->workspace,
                        v->part);
}

static const exn_step_rule linear_rule = {"linear", linear_forward, linear_backward, .backward_reads_inputs = true};

exn_status exn_layer_linear(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                            exn_var w, exn_var b, size_t n) {
    EXN_TRY(check_input(layer, x_shape, 0, linear_rule.name));
    exn_shape shape = *x_shape;
    shape.dim[shape.rank - 1] = n;
    const exn_var inputs[] = {x, w, b};
    return exn_tape_push(out, tape, &linear_rule, layer, inputs, b == EXN_VAR_NONE ? 2 : 3, &shape,
                         exn_linear_workspace_bytes(layer->set, n, last_dim(x_shape)));
}

/* ---- depthwise ---- */

static void depthwise_forward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    exn_dwconv_forward(layer->set, &layer->as.conv, v->value[0], v->value[1], v->value[2], v->workspace, v->part);
}

static void depthwise_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    exn_dwconv_backward(layer->set, &layer->as.conv, v->value[0], v->value[1], v->grad[2], v->grad[0], v->grad[1],
                        v->workspace, v->part);
}

static const exn_step_rule depthwise_rule = {"depthwise", depthwise_forward, depthwise_backward,
                                             .backward_reads_inputs = true};

exn_status exn_layer_depthwise(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                               exn_var w, size_t stride) {
    EXN_TRY(check_input(layer, x_shape, 4, depthwise_rule.name));
    const size_t n = x_shape->dim[0], h = x_shape->dim[1], width = x_shape->dim[2], c = x_shape->dim[3];
    const size_t oh = (h - 1) / stride + 1, ow = (width - 1) / stride + 1;
    layer->as.conv = (exn_conv_shape){.n = n,
                                      .h = h,
                                      .w = width,
                                      .c = c,
                                      .oh = oh,
                                      .ow = ow,
                                      .oc = c,
                                      .kh = 3,
                                      .kw = 3,
                                      .stride_h = stride,
                                      .stride_w = stride,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .pad_top = 1,
                                      .pad_left = 1,
                                      .groups = c};
    const exn_shape shape = {4, {n, oh, ow, c}};
    const exn_var inputs[] = {x, w};
    return exn_tape_push(out, tape, &depthwise_rule, layer, inputs, 2, &shape,
                         exn_dwconv_workspace_bytes(layer->set, &layer->as.conv, layer->parts));
}

/* ---- batch normalisation ---- */

/* Rows and channels are those of the output, which has the shape that x was said to have: x itself may still have that of a
 * map, whose places are channels of their own here. */
static exn_batchnorm bind_batchnorm(const exn_step_view *v) {
    exn_batchnorm bn = ((const exn_layer *)v->state)->as.batchnorm;
    bn.rows = rows_of(v->shape[v->inputs]);
    bn.c = last_dim(v->shape[v->inputs]);
    bn.scale = v->inputs == 3 ? v->value[1] : NULL;
    bn.shift = v->inputs == 3 ? v->value[2] : NULL;
    return bn;
}

static void batchnorm_forward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    const exn_batchnorm bn = bind_batchnorm(v);
    exn_batchnorm_forward(&bn, &layer->set->f32_vector, v->value[0], v->value[v->inputs], v->part);
}

static void batchnorm_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    const exn_batchnorm bn = bind_batchnorm(v);
    exn_batchnorm_backward(&bn, &layer->set->f32_vector, v->value[0], v->grad[v->inputs], v->grad[0],
                           v->inputs == 3 ? v->grad[1] : NULL, v->inputs == 3 ? v->grad[2] : NULL, v->part);
}

static const exn_step_rule batchnorm_rule = {"batch-norm", batchnorm_forward, batchnorm_backward,
                                             .backward_reads_inputs = true};

exn_status exn_layer_batchnorm(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                               exn_var scale, exn_var shift) {
    EXN_TRY(check_input(layer, x_shape, 0, batchnorm_rule.name));
    const exn_var inputs[] = {x, scale, shift};
    return exn_tape_push(out, tape, &batchnorm_rule, layer, inputs, scale == EXN_VAR_NONE ? 1 : 3, x_shape, 0);
}

/* ---- clamp ---- */

static void clamp_forward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    layer->set->f32_vector.activate(EXN_ACT_CLAMP, end - begin, v->value[0] + begin, v->value[1] + begin,
                                    layer->as.clamp.lo, layer->as.clamp.hi);
}

static void clamp_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    if (!v->grad[0]) return;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    layer->set->f32_vector.clamp_backward(end - begin, v->value[1] + begin, v->grad[1] + begin, layer->as.clamp.lo,
                                          layer->as.clamp.hi, v->grad[0] + begin);
}

static const exn_step_rule clamp_rule = {"clamp", clamp_forward, clamp_backward, .backward_reads_output = true};

exn_status exn_layer_clamp(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x) {
    EXN_TRY(check_input(layer, x_shape, 0, clamp_rule.name));
    return exn_tape_push(out, tape, &clamp_rule, layer, &x, 1, x_shape, 0);
}

/* ---- adaptive average pool ---- */

static void pool_forward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    exn_window_run(&layer->as.window, &layer->set->f32_vector, v->value[0], v->value[1], v->part);
}

static void pool_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    if (v->grad[0])
        exn_window_average_backward(&layer->as.window, &layer->set->f32_vector, v->grad[1], v->grad[0], v->part);
}

static const exn_step_rule pool_rule = {
    .name = "adaptive average pool", .forward = pool_forward, .backward = pool_backward};

exn_status exn_layer_adaptive_pool(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                                   size_t grid) {
    EXN_TRY(check_input(layer, x_shape, 4, pool_rule.name));
    const size_t n = x_shape->dim[0], h = x_shape->dim[1], w = x_shape->dim[2], c = x_shape->dim[3];
    const size_t oh = h < grid ? h : grid, ow = w < grid ? w : grid;
    layer->as.window =
        (exn_window){.kind = EXN_WINDOW_AVERAGE, .adaptive = true, .n = n, .h = h, .w = w, .c = c, .oh = oh, .ow = ow};
    const exn_shape shape = {4, {n, oh, ow, c}};
    return exn_tape_push(out, tape, &pool_rule, layer, &x, 1, &shape, 0);
}

/* ---- standardise ---- */

static void standardise_forward(const exn_step_view *v) {
    const exn_f32_vector *vector = &((const exn_layer *)v->state)->set->f32_vector;
    const size_t c = last_dim(v->shape[0]);
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, rows_of(v->shape[0]), 1);
    for (size_t r = begin; r < end; r++) {
        float *y = v->value[3] + r * c;
        vector->binary(EXN_SUB, c, v->value[0] + r * c, 1, v->value[1], 1, y);
        vector->binary(EXN_MUL, c, y, 1, v->value[2], 1, y);
    }
}

static void standardise_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    const exn_f32_vector *vector = &layer->set->f32_vector;
    const size_t c = last_dim(v->shape[0]);
    if (!v->grad[0]) return;
    float *row = (float *)v->workspace + v->part.index * c;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, rows_of(v->shape[0]), 1);
    for (size_t r = begin; r < end; r++) {
        vector->binary(EXN_MUL, c, v->grad[3] + r * c, 1, v->value[2], 1, row);
        vector->axpy(c, 1.0f, row, v->grad[0] + r * c);
    }
}

static const exn_step_rule standardise_rule = {"standardise", standardise_forward, standardise_backward,
                                               .backward_reads_inputs = true};

exn_status exn_layer_standardise(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                                 exn_var mean, exn_var inv_std) {
    EXN_TRY(check_input(layer, x_shape, 0, standardise_rule.name));
    const exn_var inputs[] = {x, mean, inv_std};
    return exn_tape_push(out, tape, &standardise_rule, layer, inputs, 3, x_shape,
                         layer->parts * last_dim(x_shape) * sizeof(float));
}

/* ---- mask, sum ---- */

static void mask_forward(const exn_step_view *v) {
    const exn_f32_vector *vector = &((const exn_layer *)v->state)->set->f32_vector;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    vector->binary(EXN_MUL, end - begin, v->value[0] + begin, 1, v->value[1] + begin, 1, v->value[2] + begin);
}

static void mask_backward(const exn_step_view *v) {
    const exn_f32_vector *vector = &((const exn_layer *)v->state)->set->f32_vector;
    if (!v->grad[0]) return;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    vector->scale_shift(end - begin, v->grad[2] + begin, v->value[1] + begin, v->grad[0] + begin, v->grad[0] + begin);
}

static const exn_step_rule mask_rule = {"mask", mask_forward, mask_backward, .backward_reads_inputs = true};

exn_status exn_layer_mask(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *x_shape, exn_var x,
                          exn_var mask) {
    EXN_TRY(check_input(layer, x_shape, 0, mask_rule.name));
    const exn_var inputs[] = {x, mask};
    return exn_tape_push(out, tape, &mask_rule, layer, inputs, 2, x_shape, 0);
}

static void add_forward(const exn_step_view *v) {
    const exn_f32_vector *vector = &((const exn_layer *)v->state)->set->f32_vector;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    vector->binary(EXN_ADD, end - begin, v->value[0] + begin, 1, v->value[1] + begin, 1, v->value[2] + begin);
}

static void add_backward(const exn_step_view *v) {
    const exn_f32_vector *vector = &((const exn_layer *)v->state)->set->f32_vector;
    size_t begin, end;
    exn_part_range(&begin, &end, v->part, exn_shape_elements(v->shape[0]), 16);
    for (size_t i = 0; i < 2; i++)
        if (v->grad[i]) vector->axpy(end - begin, 1.0f, v->grad[2] + begin, v->grad[i] + begin);
}

static const exn_step_rule add_rule = {.name = "add", .forward = add_forward, .backward = add_backward};

exn_status exn_layer_add(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *shape, exn_var a, exn_var b) {
    const exn_var inputs[] = {a, b};
    return exn_tape_push(out, tape, &add_rule, layer, inputs, 2, shape, 0);
}

/* ---- soft cross-entropy ---- */

static void entropy_forward(const exn_step_view *v) {
    exn_layer *layer = v->state;
    if (v->part.index) return;
    layer->as.entropy.loss = 0;
    exn_soft_cross_entropy(&layer->set->f32_vector, rows_of(v->shape[0]), last_dim(v->shape[0]), v->value[0],
                           v->value[1], v->value[2], layer->as.entropy.temperature, &layer->as.entropy.loss, NULL);
    v->value[3][0] = (float)layer->as.entropy.loss;
}

/* The rows' weights take the gradient that arrives, which is one where training starts from this loss alone. */
static void entropy_backward(const exn_step_view *v) {
    const exn_layer *layer = v->state;
    const size_t rows = rows_of(v->shape[0]);
    float *weight = v->workspace;
    double loss = 0; /* of no interest here */
    if (v->part.index || !v->grad[0]) return;
    layer->set->f32_vector.binary(EXN_MUL, rows, v->value[2], 1, v->grad[3], 0, weight);
    exn_soft_cross_entropy(&layer->set->f32_vector, rows, last_dim(v->shape[0]), v->value[0], v->value[1], weight,
                           layer->as.entropy.temperature, &loss, v->grad[0]);
}

static const exn_step_rule entropy_rule = {"soft cross-entropy", entropy_forward, entropy_backward,
                                           .backward_reads_inputs = true};

exn_status exn_layer_soft_cross_entropy(exn_var *out, exn_tape *tape, exn_layer *layer, const exn_shape *z_shape,
                                        exn_var z, exn_var target, exn_var weight) {
    EXN_TRY(check_input(layer, z_shape, 0, entropy_rule.name));
    const exn_var inputs[] = {z, target, weight};
    const exn_shape scalar = {0, {0}};
    return exn_tape_push(out, tape, &entropy_rule, layer, inputs, 3, &scalar, rows_of(z_shape) * sizeof(float));
}
