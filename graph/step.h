/* SPDX-License-Identifier: Apache-2.0
 * What a plan is made of: steps with their kernels resolved, operands that are places in one arena. */
#ifndef EXN_GRAPH_STEP_H
#define EXN_GRAPH_STEP_H

#include "core/pieces.h"
#include "graph/packed.h"
#include "graph/plan.h"
#include "graph/pooled.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/window.h"

#define EXN_STEP_INPUTS 3u
#define EXN_STEP_ALGORITHM_BYTES 80u
#define EXN_STEP_WHY_BYTES 96u
#define EXN_NO_BUFFER UINT32_MAX

typedef struct exn_step exn_step;

/* The memory of one run as steps see it. */
typedef struct exn_exec_view {
    unsigned char *arena;
} exn_exec_view;

typedef void exn_step_fn(const exn_step *step, exn_exec_view *view, exn_part part);

/* Where a step finds or leaves elements. */
typedef struct exn_operand {
    const float *constant; /* memory of the plan; NULL: in the arena */
    uint32_t buffer;       /* index into the plan's buffers; EXN_NO_BUFFER for constants and absent operands */
    size_t offset;         /* bytes into the arena, once it is laid out */
} exn_operand;

/* One box copied from one operand to another. Boxes are in the memory order of the destination. */
typedef struct exn_move {
    exn_operand from, to;
    size_t from_start, to_start; /* elements */
    exn_shape box;
    ptrdiff_t from_stride[EXN_RANK_MAX], to_stride[EXN_RANK_MAX];
} exn_move;

typedef struct exn_gemm_work {
    exn_gemm gemm;
    size_t batches, a_batch, b_batch, c_batch; /* products one after another, elements apart */
} exn_gemm_work;

typedef struct exn_pool_work {
    exn_window_kind kind;
    size_t n, hw, c;
} exn_pool_work;

typedef struct exn_unary_work {
    exn_activation activation;
    size_t n, channels, slopes; /* channels, slopes: PRelu; channels: scale and shift */
    float lo, hi;
    const float *scale, *shift; /* PRelu's slopes in scale */
} exn_unary_work;

typedef struct exn_binary_work {
    exn_binary op;
    exn_activation activation;
    float lo, hi;
    size_t n;
    exn_shape y, a, b; /* in memory order */
} exn_binary_work;

typedef struct exn_permute_work {
    exn_shape x;
    size_t order[EXN_RANK_MAX];
} exn_permute_work;

typedef struct exn_reduce_work {
    exn_shape x;
    uint32_t axes;
    exn_reduce_kind kind;
} exn_reduce_work;

typedef struct exn_softmax_work {
    bool log;
    size_t outer, n, inner;
} exn_softmax_work;

typedef struct exn_fill_work {
    size_t n; /* elements of the result to set before the moves */
    float value;
} exn_fill_work;

struct exn_step {
    exn_step_fn *run;
    exn_step_fn *then; /* NULL, or what follows when all parts of run are done */
    exn_operand in[EXN_STEP_INPUTS], out;
    size_t out_start;  /* elements into `out`, for convolutions that write channels of a Concat */
    bool asks;         /* a convolution that takes exn_conv.ahead */
    uint32_t in_place; /* bit i: the result may overwrite input i, which has as many bytes */
    const float *weights;
    size_t workspace_bytes;  /* a thread; a multiple of EXN_ALIGNMENT */
    size_t workspace_offset; /* bytes into the arena */
    const exn_f32_vector *vector;
    union {
        exn_conv conv;
        exn_gemm_work gemm;
        exn_window window;
        exn_pool_work pool;
        exn_unary_work unary;
        exn_binary_work binary;
        exn_permute_work permute;
        exn_reduce_work reduce;
        exn_softmax_work softmax;
        exn_fill_work fill;
        exn_strips strips;
        exn_pooled pooled;
    } work;
    exn_move *moves; /* memory of the plan */
    size_t move_count;
    size_t output_begin, output_end; /* outputs that are complete after this step */
    /* For people: */
    char *name;
    const char *op;
    char algorithm[EXN_STEP_ALGORITHM_BYTES], why[EXN_STEP_WHY_BYTES];
    exn_shape shape;
    uint64_t macs;
    size_t branch;
    size_t live_bytes;
};

/* A buffer of the arena, shared by views and by in-place results. */
typedef struct exn_buffer {
    size_t bytes;
    size_t first, last; /* steps */
    bool used;
    size_t taken_after; /* an output lies here and is read after step taken_after - 1; 0: none */
    uint32_t same_as;   /* the buffer it was merged into; itself if none */
    size_t offset;
} exn_buffer;

typedef struct exn_plan_output {
    exn_operand at;
    exn_shape shape; /* logical */
    size_t step;     /* complete after it */
    uint64_t macs;
} exn_plan_output;

struct exn_plan {
    exn_context *ctx;
    exn_kernel_set kernels;
    size_t threads;
    exn_arithmetic arithmetic;
    exn_step *steps;
    size_t step_count, step_capacity;
    exn_buffer *buffers;
    size_t buffer_count, buffer_capacity;
    exn_plan_output *outputs;
    size_t output_count;
    exn_operand input;
    exn_shape input_shape;
    void **blocks; /* converted constants, moves */
    size_t block_count, block_capacity;
    exn_pieces packed; /* packed weights, in the order of the steps */
    size_t packed_bytes;
    exn_packed *packed_known; /* sections with their keys, for a file or for lending; NULL: neither */
    exn_arena_plan arena;
};

/* Memory of an operand during a run. */
static inline const float *exn_operand_read(const exn_exec_view *view, const exn_operand *operand) {
    return operand->constant ? operand->constant : (const float *)(const void *)(view->arena + operand->offset);
}
static inline float *exn_operand_write(const exn_exec_view *view, const exn_operand *operand) {
    return (float *)(void *)(view->arena + operand->offset);
}
/* NULL for an operand that is absent. */
static inline const float *exn_operand_optional(const exn_exec_view *view, const exn_operand *operand) {
    const bool absent = !operand->constant && operand->buffer == EXN_NO_BUFFER;
    return absent ? NULL : exn_operand_read(view, operand);
}
static inline void *exn_step_workspace(const exn_step *step, const exn_exec_view *view, exn_part part) {
    return view->arena + step->workspace_offset + part.index * step->workspace_bytes;
}

/* The dimensions as they lie in memory: (N,C,H,W) becomes (N,H,W,C), other ranks stay. */
exn_shape exn_memory_shape(const exn_shape *shape);
/* Position in memory order of a logical axis. */
size_t exn_memory_axis(size_t rank, size_t axis);
/* Elements between neighbours along each logical axis. */
void exn_memory_strides(ptrdiff_t stride[EXN_RANK_MAX], const exn_shape *shape);
/* True when row-major order and memory order are the same sequence of elements. */
bool exn_memory_is_rows(const exn_shape *shape);

#endif
