/* SPDX-License-Identifier: Apache-2.0
 * Lowering: each operator becomes one step, or only another view of memory that is there already.
 *
 * A value has a place: its elements in memory order (channels last for rank 4). Where an operator needs row-major
 * elements and the two orders differ, a permuting step is put in front of it, once per value. */
#ifndef EXN_GRAPH_LOWER_H
#define EXN_GRAPH_LOWER_H

#include "graph/schedule.h"
#include "graph/step.h"

#define EXN_LAYOUT_BYTES 192u

typedef struct exn_place {
    bool known;
    exn_operand at;
    size_t flat_c, flat_hw; /* not 0: a map flattened to (N, c*h*w) that still lies as (h, w, c) */
} exn_place;

/* What fast arithmetic does with a node. All zero: nothing. */
typedef struct exn_fast_choice {
    size_t outputs;  /* of a Winograd tile's side, 2 or 4; 0: the direct algorithm */
    double share;    /* expected time as a share of the direct algorithm's */
    const char *why; /* static: why a convolution that Winograd could compute is not; NULL otherwise */
} exn_fast_choice;

typedef struct exn_lowering {
    exn_context *ctx;
    exn_plan *plan;
    const exn_graph *graph;
    const exn_node *node; /* being lowered */
    size_t branch;
    exn_place *places; /* of each value of the graph */
    exn_place *rows;   /* its row-major copy, where one was made */
    uint32_t *uses;    /* of each value, by scheduled nodes and outputs */
    uint32_t *readers; /* of each value: the scheduled node that reads it, the last one where there are several */
    bool *joined;      /* of each value: it lies in its Concat's result already */
    const exn_packed *lender;             /* whose packed weights may be used; NULL: none */
    exn_fast_choice *choices;             /* of each node of the graph; NULL: exact arithmetic */
    size_t extra_bytes;                   /* by which these choices make packed weights larger */
    float *scratch;                       /* for weights that lie unaligned in the file, one after another */
    size_t scratch_count, largest_weight; /* floats */
} exn_lowering;

/* What packed weights are made of. */
typedef struct exn_packing exn_packing;
typedef exn_status exn_packing_fn(float *packed, exn_lowering *l, const exn_packing *p, const float *weight);
struct exn_packing {
    char layout[EXN_LAYOUT_BYTES]; /* in words: with the kernel set's name and the operands below, all that the bytes
                                      follow from */
    size_t count;                  /* floats when packed */
    const exn_value *weight;       /* a constant */
    const float *scale, *bias;     /* [columns], or NULL */
    size_t columns;
    exn_packing_fn *pack; /* `weight` is aligned */
    const void *how;      /* for pack */
};

exn_status exn_lowering_create(exn_lowering *out, exn_plan *plan, const exn_graph *graph, const exn_schedule *schedule,
                               const exn_plan_options *options);
void exn_lowering_destroy(exn_lowering *l);
/* Appends the steps of one node. Its inputs must have been lowered. Errors name the node and its operator. */
exn_status exn_lower_node(exn_lowering *l, const exn_node *node, size_t branch);
/* Makes sure that the value lies in memory order in a buffer of the arena that is not the plan's input. */
exn_status exn_lower_output(exn_operand *out, exn_lowering *l, exn_value_id value);

/* ---- For the files that lower a family of operators: node-wise entry points. ---- */
exn_status exn_lower_conv(exn_lowering *l);
/* Fills in l->choices for the nodes scheduled. Depends on shapes, kernels and the budget only. */
exn_status exn_lower_choose_fast(exn_lowering *l, const exn_schedule *schedule, size_t budget_bytes);
/* Three nodes in a row, or two, that make one block in strips (graph/strips.h): *taken of them, 0 where they do not. */
exn_status exn_lower_strips(size_t *taken, exn_lowering *l, const uint32_t *nodes, size_t count, size_t branch);
/* Two nodes that make a pooled convolution in strips (graph/pooled.h). */
exn_status exn_lower_pooled(size_t *taken, exn_lowering *l, const uint32_t *nodes, size_t count, size_t branch);
exn_status exn_lower_gemm(exn_lowering *l);
exn_status exn_lower_matmul(exn_lowering *l);
exn_status exn_lower_batchnorm(exn_lowering *l);
exn_status exn_lower_activation(exn_lowering *l);
exn_status exn_lower_prelu(exn_lowering *l);
exn_status exn_lower_binary(exn_lowering *l);
exn_status exn_lower_pool(exn_lowering *l);
exn_status exn_lower_global_pool(exn_lowering *l);
exn_status exn_lower_reduce(exn_lowering *l);
exn_status exn_lower_softmax(exn_lowering *l);
exn_status exn_lower_view(exn_lowering *l);
exn_status exn_lower_transpose(exn_lowering *l);
exn_status exn_lower_concat(exn_lowering *l);
exn_status exn_lower_split(exn_lowering *l);
exn_status exn_lower_slice(exn_lowering *l);
exn_status exn_lower_pad(exn_lowering *l);
exn_status exn_lower_gather(exn_lowering *l);

/* ---- What those files share. ---- */
exn_status exn_lower_fail(const exn_lowering *l, exn_status status, const char *reason);
/* Input i of the node; NULL where it is absent. */
const exn_value *exn_lower_input(const exn_lowering *l, size_t i);
/* A step that will fill the node's output `which`: a new buffer, and the value's place. *out is valid until the next
 * step is added. */
exn_status exn_lower_step(exn_step **out, exn_lowering *l, exn_step_fn *run, const char *algorithm, size_t which);
/* The operand as the value lies in memory order. Constants are converted to floats of the plan. */
exn_status exn_lower_native(exn_operand *out, exn_lowering *l, exn_value_id value);
/* The operand with its elements row-major. */
exn_status exn_lower_rows(exn_operand *out, exn_lowering *l, exn_value_id value);
/* The operand for broadcasting against values of `rank`: *memory is its shape, ones in front, in that rank's memory
 * order. */
exn_status exn_lower_ranked(exn_operand *out, exn_shape *memory, exn_lowering *l, exn_value_id value, size_t rank);
/* Makes the node's output `which` another name of elements that lie row-major; permutes where its memory order differs. */
exn_status exn_lower_bind_rows(exn_lowering *l, size_t which, exn_operand rows);
/* Makes the node's output `which` another name of elements in its memory order. */
void exn_lower_bind(exn_lowering *l, size_t which, exn_operand at);
/* Packed weights that live as long as the plan: those of the plan's file of packed weights, where it has them. The
 * constant's pages are let go. */
exn_status exn_lower_pack(const float **out, exn_lowering *l, const exn_packing *packing);
/* What a Conv's kernels need: its shape, its packed weights, its residual (absent where it has none). */
exn_conv_shape exn_lower_conv_shape(const exn_lowering *l, const exn_node *node);
/* A pooling node's window; its input and result have rank 4. */
exn_window exn_lower_window(const exn_lowering *l, const exn_node *node);
exn_status exn_lower_conv_pack(const float **out, exn_lowering *l, const exn_conv *conv);
/* Where the node may write its result right into that of the Concat that is its only reader: the Concat's result, the
 * first of its channels, and how many a pixel has. *pixel is 0 where it may not. */
typedef struct exn_join {
    exn_operand at;
    size_t channel, pixel;
} exn_join;
exn_status exn_lower_join(exn_join *out, exn_lowering *l);
exn_status exn_lower_residual(exn_operand *out, exn_lowering *l);
/* Floats of a constant, aligned, row-major: the constant's own memory, or a copy to be released with exn_free
 * (*copy, else NULL). */
exn_status exn_lower_floats(const float **out, void **copy, exn_lowering *l, const exn_value *value);
/* Memory that lives as long as the plan. */
exn_status exn_plan_block(void **out, exn_plan *plan, size_t count, size_t size);
/* The same for packed weights: counted, not cleared. */
exn_status exn_plan_pack_block(float **out, exn_plan *plan, size_t floats);
/* The step about to be added reads these weights before it has anything to multiply: has the memory bring them during a
 * step before. */
void exn_lower_ahead(exn_lowering *l, const float *packed, size_t floats);
exn_status exn_plan_buffer(uint32_t *out, exn_plan *plan, size_t bytes);

#endif
