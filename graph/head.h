/* SPDX-License-Identifier: Apache-2.0
 * Heads: what an exit computes from its tap, as trained (unfolded) tensors and as ordinary operators (folded).
 *
 *   linear      prefix: global average pool -> (c)            standardise, FC
 *   pooled      prefix: adaptive 4x4 average pool -> (c,4,4)  standardise, FC   (smaller maps keep their size)
 *   conv        prefix: maps of 48 pixels and more are halved until they have fewer, by averages -> (c,h,w)
 *               one stage: depthwise 3x3 (stride 2, or 1 where min(h,w) < 14), 1x1 to 64, BatchNorm, ReLU; adaptive 4x4 average
 *               pool, standardise, FC
 *   wide        as conv, but 1x1 to 96
 *   conv2       prefix: as conv           two such stages, to 128 and to 256 channels; adaptive 3x3 average pool, standardise, FC
 *   classifier  prefix: the classifier's own input (c)        FC whose start is the network's own
 *
 * AUTO is a wish, never a head's kind. To add a kind, see README.md.
 *
 * The prefix has no parameters: the feature cache stores its result (or, where what follows is frozen too, the FC's inputs).
 * Standardise is (x - mean) * inv_std per feature, fixed statistics; folding multiplies it into the FC. Features are in memory
 * order (h, w, c) before the FC. */
#ifndef EXN_GRAPH_HEAD_H
#define EXN_GRAPH_HEAD_H

#include "graph/ir.h"

typedef enum exn_head_tensor {
    EXN_HEAD_DW_WEIGHT, /* [3*3][c] */
    EXN_HEAD_PW_WEIGHT, /* [hidden][c] */
    EXN_HEAD_BN_SCALE,  /* [hidden] and so on */
    EXN_HEAD_BN_SHIFT,
    EXN_HEAD_BN_MEAN,
    EXN_HEAD_BN_VAR,
    EXN_HEAD_MEAN,       /* [features] of standardise */
    EXN_HEAD_INV_STD,    /* [features] */
    EXN_HEAD_FC_WEIGHT,  /* [classes][features] */
    EXN_HEAD_FC_BIAS,    /* [classes] */
    EXN_HEAD_DW2_WEIGHT, /* of the second stage, in the order of the first */
    EXN_HEAD_PW2_WEIGHT,
    EXN_HEAD_BN2_SCALE,
    EXN_HEAD_BN2_SHIFT,
    EXN_HEAD_BN2_MEAN,
    EXN_HEAD_BN2_VAR,
    EXN_HEAD_TENSORS
} exn_head_tensor;
#define EXN_HEAD_KINDS ((size_t)EXN_HEAD_WIDE + 1)
/* "linear", "classifier": how profiles, options and reports name kinds. */
extern const char *const exn_head_kind_names[EXN_HEAD_KINDS];
/* "dw.weight", "fc.bias": how profiles name them. */
const char *exn_head_tensor_name(exn_head_tensor which);

#define EXN_HEAD_EPSILON 1e-3f /* of its BatchNorm */
#define EXN_HEAD_STAGES_MAX 2u

typedef struct exn_head {
    exn_head_kind kind; /* never AUTO */
    size_t c, h, w;     /* of the tap */
    size_t classes;
    float *tensor[EXN_HEAD_TENSORS]; /* NULL where the kind has none; owned by whoever made the head */
} exn_head;

/* Elements and shape of one tensor; 0 where the kind has none. */
size_t exn_head_tensor_shape(exn_shape *out, const exn_head *head, exn_head_tensor which);
/* What the cache stores per sample: (c), or (h, w, c). Returns the number of elements. */
size_t exn_head_prefix_shape(size_t *h, size_t *w, size_t *c, const exn_head *head);
/* Whether the prefix keeps places: then it is (c,h,w), else (c). */
bool exn_head_keeps_map(exn_head_kind kind);
/* Inputs of the FC. */
size_t exn_head_features(const exn_head *head);
/* Side of the adaptive average pool: at most this many cells either way. 1: a global average. */
size_t exn_head_grid(exn_head_kind kind);
/* Convolutions before the pool: 0 but for conv, wide and conv2. */
size_t exn_head_stages(exn_head_kind kind);
typedef struct exn_head_stage {
    size_t c, h, w;                /* of what it reads */
    size_t stride, oh, ow, hidden; /* of the depthwise; of what it makes */
    exn_head_tensor first;         /* its depthwise weights; its other tensors follow in the enumeration's order */
} exn_head_stage;
/* i < exn_head_stages(head->kind). */
exn_head_stage exn_head_stage_at(const exn_head *head, size_t i);
/* Allocates the kind's tensors: zero but for scales, variances and INV_STD, which are one. */
exn_status exn_head_allocate(exn_head *head, exn_context *ctx);
void exn_head_free(exn_head *head, exn_context *ctx);
/* Appends the whole folded head to a graph whose tap value `x` is inferred. *prefix and *logits (N, classes) are the values
 * made. The graph copies what folding makes; the head may change afterwards without effect. */
exn_status exn_head_append(exn_value_id *prefix, exn_value_id *logits, exn_graph *graph, exn_value_id x,
                           const exn_head *head);
/* The same without the prefix: x is (N, c) or (N, c, h, w) as the cache stores it. */
exn_status exn_head_append_tail(exn_value_id *logits, exn_graph *graph, exn_value_id x, const exn_head *head);
/* The tail without its end: *features (N, exn_head_features) are what the FC's standardise reads. */
exn_status exn_head_append_features(exn_value_id *features, exn_graph *graph, exn_value_id x, const exn_head *head);
/* The tail's end: standardise and FC, from features as above. */
exn_status exn_head_append_fc(exn_value_id *logits, exn_graph *graph, exn_value_id features, const exn_head *head);
uint64_t exn_head_macs(const exn_head *head);
/* Whether a tensor starts as ones: scales, variances, INV_STD. */
bool exn_head_starts_as_ones(exn_head_tensor which);
/* Starts a classifier head from the network's own last layer: FC_WEIGHT and FC_BIAS copied, MEAN 0, INV_STD 1. */
exn_status exn_head_from_classifier(exn_head *out, exn_context *ctx, const exn_graph *graph);

#endif
