/* SPDX-License-Identifier: Apache-2.0
 * Graphs made by hand for tests. */
#include "tests/unit/reference.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#define MUST(expression) ck_assert_int_eq((expression), EXN_OK)

exn_graph *build_graph(exn_context *ctx, size_t rank, const size_t *input_dims) {
    exn_graph *graph;
    MUST(exn_graph_create(&graph, ctx));
    const exn_shape shape = exn_shape_of(rank, input_dims);
    MUST(exn_graph_value(&graph->input, graph, "input", EXN_F32, &shape));
    return graph;
}

exn_value_id build_random(exn_graph *graph, exn_rng *rng, size_t rank, const size_t *dims, float scale) {
    const exn_shape shape = exn_shape_of(rank, dims);
    const size_t count = exn_shape_elements(&shape);
    float *data = malloc((count + 1) * sizeof *data);
    for (size_t i = 0; i < count; i++) data[i] = scale * (2.0f * exn_rng_uniform(rng) - 1.0f);
    exn_value_id id;
    MUST(exn_graph_constant(&id, graph, NULL, EXN_F32, &shape, data, true));
    free(data);
    return id;
}

exn_value_id build_i64(exn_graph *graph, size_t rank, const size_t *dims, const int64_t *values) {
    const exn_shape shape = exn_shape_of(rank, dims);
    exn_value_id id;
    MUST(exn_graph_constant(&id, graph, NULL, EXN_I64, &shape, values, true));
    return id;
}

exn_value_id build_node(exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs, size_t input_count,
                        const exn_attrs *attrs, size_t rank, const size_t *dims) {
    const exn_shape shape = exn_shape_of(rank, dims);
    exn_value_id id;
    MUST(exn_graph_node(&id, graph, op, name, inputs, input_count, attrs, &shape));
    graph->output = id;
    return id;
}

exn_value_id build_unary(exn_graph *graph, exn_op op, exn_value_id x, exn_activation activation, float lo, float hi) {
    exn_attrs attrs = exn_attrs_default();
    attrs.activation = activation;
    attrs.lo = lo;
    attrs.hi = hi;
    const exn_shape shape = graph->values[x].shape;
    return build_node(graph, op, NULL, &x, 1, &attrs, shape.rank, shape.dim);
}

exn_value_id build_conv(exn_graph *graph, exn_rng *rng, exn_value_id x, size_t oc, size_t k, size_t stride,
                        size_t groups, exn_activation activation, exn_value_id residual) {
    const exn_shape s = graph->values[x].shape;
    exn_attrs attrs = exn_attrs_default();
    attrs.groups = groups;
    for (size_t i = 0; i < 2; i++) {
        attrs.kernel[i] = k;
        attrs.stride[i] = stride;
        attrs.dilation[i] = 1;
        attrs.pad[i] = attrs.pad[i + 2] = k / 2;
    }
    attrs.activation = activation;
    attrs.lo = 0.0f;
    attrs.hi = activation == EXN_ACT_CLAMP ? INFINITY : 0.0f;
    attrs.residual = residual != EXN_VALUE_NONE;
    const float scale = 1.7f / sqrtf((float)(s.dim[1] / groups * k * k));
    const exn_value_id w = build_random(graph, rng, BUILD_DIMS(oc, s.dim[1] / groups, k, k), scale);
    const exn_value_id b = build_random(graph, rng, BUILD_DIMS(oc), 0.1f);
    const exn_value_id inputs[4] = {x, w, b, residual};
    return build_node(graph, EXN_OP_Conv, NULL, inputs, attrs.residual ? 4 : 3, &attrs,
                      BUILD_DIMS(s.dim[0], oc, (s.dim[2] - 1) / stride + 1, (s.dim[3] - 1) / stride + 1));
}

exn_value_id build_classifier(exn_graph *graph, exn_rng *rng, exn_value_id x, size_t classes) {
    const exn_shape s = graph->values[x].shape;
    const exn_value_id pooled =
        build_node(graph, EXN_OP_GlobalAveragePool, NULL, &x, 1, NULL, BUILD_DIMS(s.dim[0], s.dim[1], 1, 1));
    exn_attrs attrs = exn_attrs_default();
    attrs.axis = 1;
    const exn_value_id flat =
        build_node(graph, EXN_OP_Flatten, NULL, &pooled, 1, &attrs, BUILD_DIMS(s.dim[0], s.dim[1]));
    attrs = exn_attrs_default();
    attrs.alpha = attrs.beta = 1.0f;
    attrs.trans_b = true;
    const exn_value_id w = build_random(graph, rng, BUILD_DIMS(classes, s.dim[1]), 1.0f);
    const exn_value_id b = build_random(graph, rng, BUILD_DIMS(classes), 0.1f);
    return build_node(graph, EXN_OP_Gemm, NULL, BUILD_INPUTS(flat, w, b), &attrs, BUILD_DIMS(s.dim[0], classes));
}
