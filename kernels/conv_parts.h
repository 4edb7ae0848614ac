/* SPDX-License-Identifier: Apache-2.0
 * The convolution driver's ways of running, as conv.c sees them. Private to kernels/. */
#ifndef EXN_KERNELS_CONV_PARTS_H
#define EXN_KERNELS_CONV_PARTS_H

#include "kernels/conv.h"

typedef struct exn_conv_operands {
    const float *packed, *in;
    float *out;
    const float *residual; /* or NULL */
    void *workspace;
} exn_conv_operands;

/* EXN_CONV_SEGMENTS and EXN_CONV_GROUPED, over strips. */
size_t exn_conv_strips_workspace_bytes(const exn_conv *conv);
void exn_conv_strips_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part);

/* EXN_CONV_DEPTHWISE. */
size_t exn_conv_depthwise_packed_count(const exn_f32_dwconv *kernel, const exn_conv_shape *shape);
size_t exn_conv_depthwise_workspace_bytes(const exn_conv *conv);
/* weight(tap, channel) = weight[tap*tap_step + channel*channel_step]; panels first .. last-1. */
void exn_conv_depthwise_pack(float *packed, const exn_f32_dwconv *kernel, const exn_conv_shape *shape,
                             const float *weight, size_t tap_step, size_t channel_step, const float *scale,
                             const float *bias, size_t first, size_t last);
void exn_conv_depthwise_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part);

/* EXN_CONV_WINOGRAD. */
void exn_conv_winograd_pack(float *packed, const exn_conv *conv, const float *weight, const float *scale,
                            const float *bias);
void exn_conv_winograd_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part);

#endif
