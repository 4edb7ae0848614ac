/* SPDX-License-Identifier: Apache-2.0
 * How long a prepared convolution will take, in multiply-adds of a core at its peak: good enough to choose by. */
#include "kernels/block.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/winograd.h"

/* Channels that one step of a transform takes, whatever their number: the widest vectors we have. */
#define EXN_COST_LANES 16u
/* Fitted on Zen 4 over the layers of bench/shapes.inc, kernels of AVX2 and AVX-512: what one channel of one tile costs
 * in either transform, and what a byte of weights costs that comes from beyond the second-level cache. */
#define EXN_COST_TRANSFORM_2 60.0
#define EXN_COST_TRANSFORM_4 190.0
#define EXN_COST_BYTE 2.0

static double winograd_cost(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    const exn_winograd_layout l = exn_winograd_layout_of(conv);
    const size_t blocks = exn_ceil_div(l.tiles, l.block), step = exn_ceil_div(l.tiles, blocks);
    const double products =
        (double)(blocks * l.positions) * exn_gemm_cost(conv->tile, step, s->oc, s->c) * (double)s->c;
    const double transform = l.outputs == 2 ? EXN_COST_TRANSFORM_2 : EXN_COST_TRANSFORM_4;
    const size_t channels = (exn_ceil_div(s->c, EXN_COST_LANES) + exn_ceil_div(s->oc, EXN_COST_LANES)) * EXN_COST_LANES;
    return products + transform * (double)l.tiles * (double)channels;
}

double exn_conv_cost(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    const size_t k = s->kh * s->kw * (s->c / s->groups);
    double compute = (double)exn_conv_macs(s);
    if (conv->algorithm == EXN_CONV_GEMM)
        compute = exn_gemm_cost(conv->tile, s->n * s->oh * s->ow, s->oc, k) * (double)k;
    else if (conv->algorithm == EXN_CONV_SEGMENTS)
        compute = (double)(s->n * s->oh) * exn_gemm_cost(conv->tile, s->ow, s->oc, k) * (double)k;
    else if (conv->algorithm == EXN_CONV_WINOGRAD)
        compute = winograd_cost(conv);
    const double weights = (double)(conv->packed_count * sizeof(float)) * EXN_COST_BYTE;
    return compute > weights ? compute : weights;
}
