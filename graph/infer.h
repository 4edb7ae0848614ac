/* SPDX-License-Identifier: Apache-2.0
 * Binding: an imported graph and an input size become a graph in which every shape is known, every parameter is an
 * attribute, and whatever depends on constants alone has been computed.
 *
 * What a bound graph holds, and nothing else (x: computed; W: constant):
 *   Conv                x, W[, bias]           rank 4, pads explicit
 *   Gemm                x, W[, bias]           x (m, k), W rank 2, bias (n); alpha = beta = 1, no trans_a
 *   MatMul              x, x                   rank 2 both
 *   BatchNormalization  x, scale, shift, mean, variance, each (channels)
 *   Relu ... Softplus   x                      attrs.activation, lo, hi; PRelu: x, slope (channels, 1, 1)
 *   Softmax LogSoftmax  x                      axis
 *   Add ... Pow         x, x | x, W | W, x     NumPy broadcasting
 *   MaxPool AveragePool x                      rank 4, pads explicit
 *   GlobalAveragePool GlobalMaxPool x          rank 4
 *   ReduceMean Sum Max  x                      axes, keep_dims
 *   Flatten Reshape Squeeze Unsqueeze  x       the output's shape says it all
 *   Transpose           x                      order
 *   Concat              x or W, ...            axis
 *   Split               x                      axis; sizes are those of the outputs
 *   Slice               x                      start, step per axis
 *   Pad                 x[, -, value]          start: amount before each axis; without value: 0 */
#ifndef EXN_GRAPH_INFER_H
#define EXN_GRAPH_INFER_H

#include "graph/ir.h"

/* Largest height or width with padding. */
#define EXN_EXTENT_MAX ((size_t)1 << 24)

/* The result borrows constants from `source`, which must outlive it. height, width: used where the file leaves them open;
 * EXN_E_SHAPE if they differ from what it fixes. Errors name the node. */
exn_status exn_graph_bind(exn_graph **out, const exn_graph *source, size_t batch, size_t height, size_t width);

/* ---- between the parts of inference ---- */

/* One operator on its way into the bound graph. Inference checks it, fills in the shapes of its outputs and moves parameters
 * from inputs to attributes; or sets `alias` where the output is an input unchanged. */
typedef struct exn_infer {
    exn_context *ctx;
    exn_graph *graph;
    exn_op op;
    exn_attrs attrs;
    exn_value_id *in; /* of the bound graph */
    size_t in_count;
    exn_shape *shape; /* of each output */
    size_t out_count;
    exn_dtype dtype; /* of the outputs */
    exn_value_id alias;
    exn_value_id more[2];     /* the second and third output where it makes them; EXN_VALUE_NONE */
    size_t batch, file_batch; /* wanted; as in the file, 0: open */
    size_t fold_budget;       /* elements that folding may still make: bounded by what the file holds */
} exn_infer;

typedef exn_status exn_infer_fn(exn_infer *s);
exn_infer_fn exn_infer_conv, exn_infer_pool, exn_infer_global_pool, exn_infer_gemm, exn_infer_matmul,
    exn_infer_batch_norm, exn_infer_unary, exn_infer_clip, exn_infer_prelu, exn_infer_softmax, exn_infer_binary;
exn_infer_fn exn_infer_variadic, exn_infer_gelu, exn_infer_power, exn_infer_made;
exn_infer_fn exn_infer_reduce, exn_infer_flatten, exn_infer_reshape, exn_infer_squeeze, exn_infer_unsqueeze,
    exn_infer_transpose, exn_infer_concat, exn_infer_split, exn_infer_slice, exn_infer_pad, exn_infer_identity,
    exn_infer_cast, exn_infer_cast_like, exn_infer_shape, exn_infer_size, exn_infer_gather, exn_infer_fill;
exn_infer_fn *exn_infer_rule(exn_op op);

/* Input i, NULL where absent. */
const exn_value *exn_infer_input(const exn_infer *s, size_t i);
/* Input i as whole numbers: a constant of rank 0 or 1 with at most `most` elements. */
exn_status exn_infer_integers(int64_t *out, size_t *count, const exn_infer *s, size_t i, size_t most);
/* Fails unless input i is a float tensor of this rank. */
exn_status exn_infer_floats(const exn_infer *s, size_t i, size_t rank);
/* axis within -rank..rank-1 as 0..rank-1. */
exn_status exn_infer_axis(size_t *out, const exn_infer *s, int64_t axis, size_t rank);
/* Fails if the operator mixes the samples of a batch: it works along axis 0 of input 0 and the batch is larger than 1. */
exn_status exn_infer_keep_samples(const exn_infer *s, bool touches_axis_0);
/* Whether axis 0 of a value holds several samples. */
bool exn_infer_holds_samples(const exn_infer *s, const exn_value *x);
/* An operator in front of the one that is inferred; input may be a shape-only step or a transposition. */
exn_status exn_infer_emit(exn_value_id *out, exn_infer *s, exn_op op, exn_value_id x, const exn_attrs *attrs,
                          const exn_shape *shape);

/* Any operator in front of the one that is inferred, by its own rule: at most three inputs, one output, folded where all is
 * constant. attrs NULL: exn_op_attrs(op). */
exn_status exn_infer_apply(exn_value_id *out, exn_infer *outer, exn_op op, const exn_attrs *attrs,
                           const exn_value_id in[], size_t count);
/* Takes elements of a constant that binding will make from the budget. */
exn_status exn_infer_spend(exn_infer *s, size_t count);

#endif
