/* SPDX-License-Identifier: Apache-2.0
 * The executable specification of every slot: each function is its contract, element by element. */
#include "kernels/generic.h"
#include <math.h>

static float clamped(float x, float lo, float hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static float larger(float a, float b) {
    return a > b || isnan(a) ? a : b;
}

static float joined(exn_reduction op, float a, float b) {
    return op == EXN_REDUCE_SUM ? a + b : larger(a, b);
}

static float nothing_of(exn_reduction op) {
    return op == EXN_REDUCE_SUM ? 0.0f : -INFINITY;
}

/* What follows the chain: residual (NULL: none), then the activation. */
static float finished(float sum, const float *residual, const exn_epilogue *e) {
    if (residual) sum += *residual;
    return e->activation == EXN_ACT_CLAMP ? clamped(sum, e->lo, e->hi) : sum;
}

void exn_generic_gemm(size_t m, size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row, ptrdiff_t a_col,
                      ptrdiff_t a_segment, const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row,
                      const exn_epilogue *e) {
    for (size_t i = 0; i < m; i++) {
        const ptrdiff_t row = (ptrdiff_t)i;
        for (size_t j = 0; j < n; j++) {
            float *const to = c + row * c_row + (ptrdiff_t)j;
            float sum = e->accumulate ? *to : e->bias ? e->bias[j] : 0.0f;
            for (size_t s = 0; s < segments; s++)
                for (size_t p = 0; p < k; p++) {
                    const float left = a[row * a_row + (ptrdiff_t)p * a_col + (ptrdiff_t)s * a_segment];
                    sum = fmaf(left, b[(ptrdiff_t)(s * k + p) * b_row + (ptrdiff_t)j], sum);
                }
            *to = finished(sum, e->residual ? e->residual + row * e->residual_row + (ptrdiff_t)j : NULL, e);
        }
    }
}

/* What tap (ky, kx) of pixel p in row r reads. */
static float dwconv_input(const exn_dwconv_rows *work, size_t r, size_t p, size_t ky, size_t kx, size_t ch) {
    const float *const row = work->in[r * work->row_step + ky];
    const size_t column = p * work->stride + kx * work->dilation;
    if (!row || column < work->pad_left || column - work->pad_left >= work->width) return 0.0f;
    return row[(ptrdiff_t)(column - work->pad_left) * work->in_pixel + (ptrdiff_t)ch];
}

/* One output: pixel p of row r, channel ch. */
static float dwconv_output(const exn_dwconv_rows *work, size_t panel, size_t r, size_t p, size_t ch) {
    const float *const w = work->w + ch / panel * panel * (1 + work->kh * work->kw) + ch % panel;
    float sum = w[0];
    for (size_t ky = 0; ky < work->kh; ky++)
        for (size_t kx = 0; kx < work->kw; kx++)
            sum = fmaf(dwconv_input(work, r, p, ky, kx, ch), w[(1 + ky * work->kw + kx) * panel], sum);
    return sum;
}

void exn_generic_dwconv(const exn_dwconv_rows *work, size_t panel) {
    const exn_epilogue *e = work->e;
    for (size_t r = 0; r < work->rows; r++)
        for (size_t p = 0; p < work->pixels; p++)
            for (size_t ch = 0; ch < work->channels; ch++) {
                const ptrdiff_t at = (ptrdiff_t)r * work->out_row + (ptrdiff_t)p * work->out_pixel + (ptrdiff_t)ch;
                work->out[at] =
                    finished(dwconv_output(work, panel, r, p, ch), e->residual ? e->residual + at : NULL, e);
            }
}

static float sigmoid_of(const exn_generic_math *math, float x) {
    return 1.0f / (1.0f + math->exp(0.0f - x));
}

static float activated(const exn_generic_math *math, exn_activation act, float x, float lo, float hi) {
    switch (act) {
    case EXN_ACT_CLAMP:
        return clamped(x, lo, hi);
    case EXN_ACT_LEAKY_RELU:
        return x < 0.0f ? lo * x : x;
    case EXN_ACT_HARD_SIGMOID:
        return clamped(fmaf(lo, x, hi), 0.0f, 1.0f);
    case EXN_ACT_HARD_SWISH:
        return x * clamped(fmaf(1.0f / 6.0f, x, 0.5f), 0.0f, 1.0f);
    case EXN_ACT_SIGMOID:
        return sigmoid_of(math, x);
    case EXN_ACT_TANH:
        return math->tanh(x);
    case EXN_ACT_SILU:
        return x * sigmoid_of(math, x);
    case EXN_ACT_EXP:
        return math->exp(x);
    case EXN_ACT_LOG:
        return math->log(x);
    case EXN_ACT_NONE:
    default:
        break;
    }
    return x;
}

void exn_generic_activate(const exn_generic_math *math, exn_activation act, size_t n, const float *x, float *y,
                          float lo, float hi) {
    for (size_t i = 0; i < n; i++) y[i] = activated(math, act, x[i], lo, hi);
}

void exn_generic_binary(exn_binary op, size_t n, const float *a, size_t a_step, const float *b, size_t b_step,
                        float *y) {
    if (n == 0) return;
    const float a0 = *a, b0 = *b; /* read before y, which may be the same memory */
    for (size_t i = 0; i < n; i++) {
        const float left = a_step ? a[i] : a0, right = b_step ? b[i] : b0;
        switch (op) {
        case EXN_ADD:
            y[i] = left + right;
            break;
        case EXN_SUB:
            y[i] = left - right;
            break;
        case EXN_MUL:
            y[i] = left * right;
            break;
        case EXN_DIV:
            y[i] = left / right;
            break;
        default:
            break;
        }
    }
}

void exn_generic_scale_shift(size_t n, const float *x, const float *scale, const float *shift, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(x[i], scale[i], shift[i]);
}

void exn_generic_axpy(size_t n, float alpha, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(alpha, x[i], y[i]);
}

/* The tree of K6 over the 16 partial results. */
static float tree_of(exn_reduction op, float partial[EXN_REDUCE_LANES]) {
    for (size_t width = EXN_REDUCE_LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) partial[i] = joined(op, partial[i], partial[i + width]);
    return partial[0];
}

float exn_generic_reduce(exn_reduction op, size_t n, const float *x) {
    float partial[EXN_REDUCE_LANES];
    for (size_t l = 0; l < EXN_REDUCE_LANES; l++) partial[l] = nothing_of(op);
    for (size_t i = 0; i < n; i++) partial[i % EXN_REDUCE_LANES] = joined(op, partial[i % EXN_REDUCE_LANES], x[i]);
    return tree_of(op, partial);
}

float exn_generic_dot(size_t n, const float *x, const float *y) {
    float partial[EXN_REDUCE_LANES] = {0};
    for (size_t i = 0; i < n; i++) partial[i % EXN_REDUCE_LANES] = fmaf(x[i], y[i], partial[i % EXN_REDUCE_LANES]);
    return tree_of(EXN_REDUCE_SUM, partial);
}

float exn_generic_sum_exp(const exn_generic_math *math, size_t n, const float *x, float shift, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = math->exp(x[i] - shift);
    return exn_generic_reduce(EXN_REDUCE_SUM, n, y);
}

void exn_generic_reduce_columns(exn_reduction op, size_t rows, size_t n, const float *x, ptrdiff_t x_row,
                                bool accumulate, float *y) {
    for (size_t c = 0; c < n; c++) {
        float gathered = accumulate ? y[c] : nothing_of(op);
        for (size_t r = 0; r < rows; r++) gathered = joined(op, gathered, x[(ptrdiff_t)r * x_row + (ptrdiff_t)c]);
        y[c] = gathered;
    }
}

void exn_generic_pool(exn_reduction op, size_t taps, const float *const *tap, size_t n, bool accumulate, float scale,
                      float *y) {
    for (size_t c = 0; c < n; c++) {
        float gathered = accumulate ? y[c] : nothing_of(op);
        for (size_t t = 0; t < taps; t++) gathered = joined(op, gathered, tap[t][c]);
        y[c] = gathered * scale;
    }
}

void exn_generic_clamp_backward(size_t n, const float *y, const float *dy, float lo, float hi, float *dx) {
    for (size_t i = 0; i < n; i++)
        if (lo < y[i] && y[i] < hi) dx[i] += dy[i];
}

void exn_generic_dwconv_weights(size_t pixels, size_t channels, size_t kw, const float *x, ptrdiff_t in_pixel,
                                ptrdiff_t in_tap, const float *dy, ptrdiff_t out_pixel, float *dw, ptrdiff_t dw_tap) {
    for (size_t kx = 0; kx < kw; kx++)
        for (size_t c = 0; c < channels; c++) {
            float *const to = dw + (ptrdiff_t)kx * dw_tap + (ptrdiff_t)c;
            for (size_t p = 0; p < pixels; p++) {
                const ptrdiff_t pixel = (ptrdiff_t)p, channel = (ptrdiff_t)c;
                *to =
                    fmaf(x[pixel * in_pixel + (ptrdiff_t)kx * in_tap + channel], dy[pixel * out_pixel + channel], *to);
            }
        }
}

void exn_generic_sgd(size_t n, float *w, const float *g, float *v, float rate, float momentum, float decay) {
    for (size_t i = 0; i < n; i++) {
        v[i] = fmaf(momentum, v[i], fmaf(decay, w[i], g[i]));
        w[i] = fmaf(-rate, v[i], w[i]);
    }
}

void exn_generic_adamw(size_t n, float *w, const float *g, float *m, float *v, float rate, float beta1, float beta2,
                       float epsilon, float decay, float correction1, float correction2) {
    for (size_t i = 0; i < n; i++) {
        m[i] = fmaf(beta1, m[i], (1.0f - beta1) * g[i]);
        v[i] = fmaf(beta2, v[i], (1.0f - beta2) * (g[i] * g[i]));
        const float step = m[i] * correction1 / (sqrtf(v[i] * correction2) + epsilon);
        w[i] = fmaf(-rate, fmaf(decay, w[i], step), w[i]);
    }
}
