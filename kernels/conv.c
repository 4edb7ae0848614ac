/* SPDX-License-Identifier: Apache-2.0
 * Convolution: choice of algorithm, packing, and 1x1 as a matrix product. */
#include "kernels/conv.h"
#include "kernels/block.h"
#include "kernels/conv_parts.h"

const char *exn_conv_algorithm_name(exn_conv_algorithm algorithm) {
    switch (algorithm) {
    case EXN_CONV_GEMM:
        return "gemm";
    case EXN_CONV_SEGMENTS:
        return "segments";
    case EXN_CONV_DEPTHWISE:
        return "depthwise";
    case EXN_CONV_GROUPED:
        return "grouped";
    case EXN_CONV_WINOGRAD:
        return "winograd";
    }
    return "unknown";
}

const char *exn_conv_algorithm_reason(exn_conv_algorithm algorithm) {
    switch (algorithm) {
    case EXN_CONV_GEMM:
        return "pixels are rows";
    case EXN_CONV_SEGMENTS:
        return "kernel rows are contiguous";
    case EXN_CONV_DEPTHWISE:
        return "one input an output";
    case EXN_CONV_GROUPED:
        return "taps are gathered";
    case EXN_CONV_WINOGRAD:
        return "fewer multiplications";
    }
    return "";
}

uint64_t exn_conv_macs(const exn_conv_shape *shape) {
    const uint64_t outputs = (uint64_t)shape->n * shape->oh * shape->ow * shape->oc;
    return outputs * shape->kh * shape->kw * (shape->c / shape->groups);
}

static exn_conv_algorithm algorithm_for(const exn_conv_shape *s) {
    if (s->groups == s->c && s->groups == s->oc) return EXN_CONV_DEPTHWISE;
    if (s->groups > 1) return EXN_CONV_GROUPED;
    const bool pointwise = s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1;
    if (pointwise && s->pad_top == 0 && s->pad_left == 0 && s->oh == s->h && s->ow == s->w) return EXN_CONV_GEMM;
    return s->kw > 1 && s->dilation_w > 1 ? EXN_CONV_GROUPED : EXN_CONV_SEGMENTS;
}

/* Multiply-adds of one output. */
static size_t chain_length(const exn_conv_shape *s) {
    return s->kh * s->kw * (s->c / s->groups);
}

void exn_conv_prepare(exn_conv *out, const exn_kernel_set *set, const exn_conv_shape *shape, exn_activation activation,
                      float lo, float hi) {
    const exn_conv_shape *s = shape;
    *out = (exn_conv){.shape = *shape,
                      .algorithm = algorithm_for(shape),
                      .vector = &set->f32_vector,
                      .out_pitch = shape->oc,
                      .activation = activation,
                      .lo = lo,
                      .hi = hi};
    if (out->algorithm == EXN_CONV_DEPTHWISE) {
        out->depthwise = &set->f32_dwconv;
        out->packed_count = exn_conv_depthwise_packed_count(out->depthwise, shape);
        out->workspace_bytes = exn_conv_depthwise_workspace_bytes(out);
        return;
    }
    const size_t columns = s->oc / s->groups, k = chain_length(s);
    const bool one_line = out->algorithm == EXN_CONV_GEMM;
    out->tile = exn_gemm_choose(set, one_line ? s->n * s->oh * s->ow : s->ow, columns, k);
    out->packed_count = s->groups * exn_gemm_packed_count(out->tile, columns, k);
    out->workspace_bytes = one_line ? 0 : exn_conv_strips_workspace_bytes(out);
}

/* One group's panels, from weights OIHW: B row (ky, kx, c) is c*kh*kw + ky*kw + kx of an output's weights. Walks the
 * weights of nr outputs side by side in their order and writes whole rows of the panel. */
static void pack_group(float *packed, const exn_f32_gemm *tile, const exn_conv_shape *s, const float *weight,
                       const float *scale, const float *bias) {
    const size_t taps = s->kh * s->kw, cg = s->c / s->groups, columns = s->oc / s->groups, nr = tile->nr;
    for (size_t o = 0; o < columns; o += nr, packed += exn_panel_count(tile, taps * cg)) {
        const size_t real = exn_min(nr, columns - o);
        for (size_t j = 0; j < nr; j++) packed[j] = j < real && bias ? bias[o + j] : 0.0f;
        for (size_t i = 0; i < cg * taps; i++) {
            float *const to = packed + (1 + i % taps * cg + i / taps) * nr;
            for (size_t j = 0; j < real; j++) to[j] = weight[(o + j) * cg * taps + i] * (scale ? scale[o + j] : 1.0f);
            for (size_t j = real; j < nr; j++) to[j] = 0.0f;
        }
    }
}

void exn_conv_pack(float *packed, const exn_conv *conv, const float *weight, const float *scale, const float *bias) {
    const exn_conv_shape *s = &conv->shape;
    const size_t taps = s->kh * s->kw;
    if (conv->algorithm == EXN_CONV_DEPTHWISE) {
        exn_conv_depthwise_pack(packed, conv->depthwise, s, weight, 1, taps, scale, bias, 0,
                                exn_ceil_div(s->c, conv->depthwise->panel));
        return;
    }
    if (conv->algorithm == EXN_CONV_WINOGRAD) {
        exn_conv_winograd_pack(packed, conv, weight, scale, bias);
        return;
    }
    const size_t columns = s->oc / s->groups, count = exn_gemm_packed_count(conv->tile, columns, chain_length(s));
    for (size_t g = 0; g < s->groups; g++)
        pack_group(packed + g * count, conv->tile, s, weight + g * columns * chain_length(s),
                   scale ? scale + g * columns : NULL, bias ? bias + g * columns : NULL);
}

static void run_pointwise(const exn_conv *conv, const exn_conv_operands *operands, exn_part part) {
    const exn_conv_shape *s = &conv->shape;
    const exn_gemm gemm = {.tile = conv->tile,
                           .vector = conv->vector,
                           .m = s->n * s->oh * s->ow,
                           .n = s->oc,
                           .k = s->c,
                           .a_row = (ptrdiff_t)s->c,
                           .a_col = 1,
                           .c_row = (ptrdiff_t)conv->out_pitch,
                           .packed = true,
                           .ahead = conv->ahead,
                           .e = {.residual_row = (ptrdiff_t)conv->out_pitch,
                                 .activation = conv->activation,
                                 .lo = conv->lo,
                                 .hi = conv->hi}};
    exn_gemm_run(&gemm, operands->in, operands->packed, operands->out, operands->residual, part);
}

void exn_conv_run(const exn_conv *conv, const float *packed, const float *in, float *out, const float *residual,
                  void *workspace, exn_part part) {
    const exn_conv_operands operands = {packed, in, out, residual, workspace};
    switch (conv->algorithm) {
    case EXN_CONV_GEMM:
        run_pointwise(conv, &operands, part);
        break;
    case EXN_CONV_SEGMENTS:
    case EXN_CONV_GROUPED:
        exn_conv_strips_run(conv, &operands, part);
        break;
    case EXN_CONV_DEPTHWISE:
        exn_conv_depthwise_run(conv, &operands, part);
        break;
    case EXN_CONV_WINOGRAD:
        exn_conv_winograd_run(conv, &operands, part);
        break;
    }
}
