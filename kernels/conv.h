/* SPDX-License-Identifier: Apache-2.0
 * 2-D convolution, NHWC: any kernel, stride, padding, dilation, groups. */
#ifndef EXN_KERNELS_CONV_H
#define EXN_KERNELS_CONV_H

#include "core/threads.h"
#include "kernels/gemm.h"

typedef struct exn_conv_shape {
    size_t n, h, w, c; /* input; c counts all groups */
    size_t oh, ow, oc; /* output */
    size_t kh, kw, stride_h, stride_w, dilation_h, dilation_w;
    size_t pad_top, pad_left; /* bottom and right follow from oh and ow */
    size_t groups;            /* divides c and oc */
} exn_conv_shape;

typedef enum exn_conv_algorithm {
    EXN_CONV_GEMM,      /* 1x1, stride 1, no padding: rows are pixels */
    EXN_CONV_SEGMENTS,  /* k x k: kernel rows are contiguous segments of a padded strip */
    EXN_CONV_DEPTHWISE, /* groups == c, one output per channel */
    EXN_CONV_GROUPED,   /* groups one after another over gathered strips; also dilation along w */
    EXN_CONV_WINOGRAD   /* 3x3, stride 1, by minimal filtering: fewer multiplications, other roundings */
} exn_conv_algorithm;
const char *exn_conv_algorithm_name(exn_conv_algorithm algorithm);
/* Why exn_conv_prepare takes it: a few words about the shape. */
const char *exn_conv_algorithm_reason(exn_conv_algorithm algorithm);

typedef struct exn_conv {
    exn_conv_shape shape;
    exn_conv_algorithm algorithm;
    const exn_f32_gemm *tile;         /* NULL for depthwise */
    const exn_f32_dwconv *depthwise;  /* NULL otherwise */
    const exn_f32_winograd *winograd; /* NULL otherwise */
    const exn_f32_vector *vector;
    exn_activation activation;
    float lo, hi;
    size_t out_pitch;       /* floats between output pixels. exn_conv_prepare sets shape.oc; larger where results are
                               channels of wider pixels (not for depthwise) */
    size_t ring, first;     /* depthwise: input row y lies in row (first + y) % ring; ring 0, as prepared: in row y */
    exn_ahead ahead;        /* EXN_CONV_GEMM alone takes the hint */
    size_t packed_count;    /* floats of the packed weights */
    size_t workspace_bytes; /* a thread */
} exn_conv;

/* Chooses algorithm and tile. The shape must be consistent (shape inference checked it). */
void exn_conv_prepare(exn_conv *out, const exn_kernel_set *set, const exn_conv_shape *shape, exn_activation activation,
                      float lo, float hi);
/* Whether exn_conv_prepare_winograd takes this shape: 3x3, stride 1, no dilation, one group, nothing empty. */
bool exn_conv_takes_winograd(const exn_conv_shape *shape);
/* The same as tiles of outputs x outputs, 2 or 4. Only where arithmetic need not be exact: roundings are not those of
 * K6, but still the same for every set with fused multiply-add and any number of threads. */
void exn_conv_prepare_winograd(exn_conv *out, const exn_kernel_set *set, const exn_conv_shape *shape, size_t outputs,
                               exn_activation activation, float lo, float hi);
/* weight: OIHW (oc, c/groups, kh, kw). scale[oc] multiplies (a folded BatchNorm), NULL: 1; bias[oc] NULL: 0. */
void exn_conv_pack(float *packed, const exn_conv *conv, const float *weight, const float *scale, const float *bias);
/* workspace: workspace_bytes for this part alone, EXN_ALIGNMENT aligned. residual: laid out as out, NULL, or out itself. */
void exn_conv_run(const exn_conv *conv, const float *packed, const float *in, float *out, const float *residual,
                  void *workspace, exn_part part);
/* Expected time of a prepared convolution, in multiply-adds of a core at its peak: to compare algorithms by. */
double exn_conv_cost(const exn_conv *conv);
uint64_t exn_conv_macs(const exn_conv_shape *shape);

#endif
