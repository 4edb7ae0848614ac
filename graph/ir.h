/* SPDX-License-Identifier: Apache-2.0
 * The network as a list of operators over values.
 *
 * Shapes are those of ONNX: images are N,C,H,W. Memory is not: a computed value of rank 4 is kept as N,H,W,C
 * ("channels last"), every other rank row-major as written. Lowering inserts the reorderings where an operator mixes
 * the two. Constants keep the layout of the file; packing reads it from there. */
#ifndef EXN_GRAPH_IR_H
#define EXN_GRAPH_IR_H

#include "core/tensor.h"
#include "kernels/kernel_set.h"

typedef uint32_t exn_value_id;
#define EXN_VALUE_NONE UINT32_MAX

typedef enum exn_op {
#define EXN_OP_ROW(op, ...) EXN_OP_##op,
#include "graph/ops.inc"
#undef EXN_OP_ROW
    EXN_OP_COUNT
} exn_op;
/* "Conv", as ONNX spells it. */
const char *exn_op_name(exn_op op);
/* How many inputs it takes; EXN_INPUTS_MANY: as many as there are. */
void exn_op_inputs(size_t *least, size_t *most, exn_op op);
#define EXN_INPUTS_MANY 255u

typedef struct exn_value {
    char *name; /* unique within the graph, never NULL */
    exn_dtype dtype;
    exn_shape shape; /* valid once inferred */
    const void *
        data; /* constant: the elements, row-major; NULL: computed or input. Unaligned for its type when mapped unless `aligned`: read through exn_value_f32 and exn_value_i64, or memcpy */
    bool made_up;      /* its name, which makes way for one that a file gives */
    bool aligned;      /* data may be read as its type directly */
    bool mapped;       /* large, and in a mapped file: its floats were not looked at yet, see exn_value_check */
    bool owned;        /* data is freed with the graph; else it belongs to the mapped file or the caller */
    uint32_t producer; /* node index; UINT32_MAX for inputs and constants */
} exn_value;

typedef enum exn_auto_pad { EXN_PAD_EXPLICIT, EXN_PAD_SAME_UPPER, EXN_PAD_SAME_LOWER, EXN_PAD_VALID } exn_auto_pad;

/* Attributes of all operators, flat: only those of its own operator are meaningful. Vectors are (h, w) order. */
typedef struct exn_attrs {
    size_t kernel[2], stride[2], dilation[2];
    size_t pad[4]; /* top, left, bottom, right */
    size_t groups; /* Conv, GroupNormalization; the side of a block of DepthToSpace; how many channels LRN sums over */
    int64_t axis;  /* normalised to >= 0 by inference; Flatten, Softmax, Concat, Split, Gather */
    uint32_t axes; /* bit set: reductions, Squeeze, Unsqueeze */
    bool keep_dims, ceil_mode, count_include_pad, adaptive;
    bool memory_order; /* Flatten of a map: features in the order (h, w, c), not (c, h, w); heads ask for it */
    float alpha, beta, epsilon;
    bool trans_a, trans_b;
    exn_dtype to;                                    /* Cast */
    size_t order[EXN_RANK_MAX];                      /* Transpose */
    int64_t start[EXN_RANK_MAX], step[EXN_RANK_MAX]; /* Slice, Pad (start = amount before), per axis of the input */
    /* What the file says and binding resolves: a bound graph has none of these. */
    exn_auto_pad auto_pad; /* Conv and pools */
    uint32_t variant;      /* Gelu: 1 by tanh; DepthToSpace: 1 channels before blocks */
    bool allow_zero;       /* Reshape: 0 means an empty dimension */
    bool keep_all;         /* reductions: no axes mean none instead of all */
    /* Elementwise operators of one input (Relu, Clip, LeakyRelu, Sigmoid, ...) carry their own function here, bound or
     * not; on Conv, Gemm and Add it is what folding attached, applied last. */
    exn_activation activation;
    float lo, hi;
    /* Further things that folding attached to a Conv or Gemm: */
    const float *fold_scale,
        *fold_shift; /* per output channel, owned by the graph: W *= scale, b = shift; NULL: none */
    bool residual;   /* Conv: inputs are x, W, bias or EXN_VALUE_NONE, residual; added before the activation */
} exn_attrs;

typedef struct exn_node {
    exn_op op;
    char *name;           /* the file's, or "Op_17"; never NULL */
    exn_value_id *inputs; /* EXN_VALUE_NONE where an optional one is absent */
    size_t input_count;
    exn_value_id *outputs;
    size_t output_count;
    exn_attrs attrs;
} exn_node;

typedef struct exn_graph {
    exn_context *ctx;
    exn_value *values;
    size_t value_count, value_capacity;
    exn_node *nodes; /* in an order in which every input is ready */
    size_t node_count, node_capacity;
    exn_value_id input;  /* the one input that is not a constant */
    exn_value_id output; /* the logits */
    void **blocks;       /* names, lists of inputs and outputs, and further memory that goes with the graph */
    size_t block_count, block_capacity;
    size_t made_up;  /* number of the next made-up name */
    uint32_t *slots; /* open addressing over names: value index + 1, 0: free */
    size_t slot_count;
} exn_graph;

exn_status exn_graph_create(exn_graph **out, exn_context *ctx);
void exn_graph_destroy(exn_graph *graph);
/* name NULL: made up. EXN_E_INVALID if the name is taken, unless by a made-up one, which then changes. */
exn_status exn_graph_value(exn_value_id *out, exn_graph *graph, const char *name, exn_dtype dtype,
                           const exn_shape *shape);
/* A constant that borrows `data`, or copies it when copy is set. */
exn_status exn_graph_constant(exn_value_id *out, exn_graph *graph, const char *name, exn_dtype dtype,
                              const exn_shape *shape, const void *data, bool copy);
/* Appends a node with one output whose shape the caller knows; attrs may be NULL: defaults (ones, zeros). */
exn_status exn_graph_node(exn_value_id *out, exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs,
                          size_t input_count, const exn_attrs *attrs, const exn_shape *shape);
/* Appends a node that makes existing values: for operators with several outputs. Both lists are copied. */
exn_status exn_graph_append(exn_graph *graph, exn_op op, const char *name, const exn_value_id *inputs,
                            size_t input_count, const exn_value_id *outputs, size_t output_count,
                            const exn_attrs *attrs);
/* Drops the nodes marked dead and then every node that the output does not need, keeping the order; values stay. */
exn_status exn_graph_prune(exn_graph *graph, const bool *dead);
/* Memory freed with the graph. */
exn_status exn_graph_block(void **out, exn_graph *graph, size_t count, size_t size);
exn_value_id exn_graph_find(const exn_graph *graph, const char *value_name); /* EXN_VALUE_NONE if absent */
exn_attrs exn_attrs_default(void);
/* What holds for an operator where a file is silent, in its newest form. */
exn_attrs exn_op_attrs(exn_op op);
/* Elements of a constant as int64 (from I64, I32) or float (from F32), whatever the alignment. */
int64_t exn_value_i64(const exn_value *value, size_t index);
float exn_value_f32(const exn_value *value, size_t index);
/* EXN_E_FORMAT when a float of a mapped constant is not finite; import has checked the others. */
exn_status exn_value_check(exn_context *ctx, const exn_value *value);
/* Index of the first of `count` floats, of any alignment, that is not finite; count: all are. */
size_t exn_floats_finite(const void *floats, size_t count);
/* Multiply-adds of one node at its inferred shapes: Conv, Gemm, MatMul; 0 for others. */
uint64_t exn_node_macs(const exn_graph *graph, const exn_node *node);

#endif
