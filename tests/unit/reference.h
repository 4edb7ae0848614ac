/* SPDX-License-Identifier: Apache-2.0
 * The oracle of plans: a graph evaluated operator by operator, in double, row-major, with loops that mirror ONNX. */
#ifndef EXN_TESTS_UNIT_REFERENCE_H
#define EXN_TESTS_UNIT_REFERENCE_H

#include "core/rng.h"
#include "graph/ir.h"

typedef struct reference {
    const exn_graph *graph;
    double **values; /* of each value of the graph, logical order; NULL: not evaluated */
} reference;

/* Evaluates every node from the input, given row-major. Aborts the test on an operator it does not know. */
void reference_run(reference *out, const exn_graph *graph, const float *input);
void reference_free(reference *r);
/* A value as floats in memory order (rank 4: channels last), to be compared with a plan's output; free() it. */
float *reference_memory_order(const reference *r, exn_value_id value);

/* ---- Building graphs by hand; every failure ends the test. ---- */
exn_graph *build_graph(exn_context *ctx, size_t rank, const size_t *input_dims);
/* A constant of values around zero, uniform in +-scale. */
exn_value_id build_random(exn_graph *graph, exn_rng *rng, size_t rank, const size_t *dims, float scale);
exn_value_id build_i64(exn_graph *graph, size_t rank, const size_t *dims, const int64_t *values);
exn_value_id build_node(exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs, size_t input_count,
                        const exn_attrs *attrs, size_t rank, const size_t *dims);
exn_value_id build_unary(exn_graph *graph, exn_op op, exn_value_id x, exn_activation activation, float lo, float hi);
/* Convolution with random weights and bias: k x k, padding keeps the size at stride 1. */
exn_value_id build_conv(exn_graph *graph, exn_rng *rng, exn_value_id x, size_t oc, size_t k, size_t stride,
                        size_t groups, exn_activation activation, exn_value_id residual);
/* Global average pool, flatten, Gemm with random weights. */
exn_value_id build_classifier(exn_graph *graph, exn_rng *rng, exn_value_id x, size_t classes);

#define BUILD_DIMS(...)                                                                                                \
    (sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), (const size_t[]) {                                             \
        __VA_ARGS__                                                                                                    \
    }
#define BUILD_INPUTS(...)                                                                                              \
    (const exn_value_id[]){__VA_ARGS__}, (sizeof((exn_value_id[]){__VA_ARGS__}) / sizeof(exn_value_id))

#endif
