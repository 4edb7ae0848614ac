/* SPDX-License-Identifier: Apache-2.0
 * What the operations mean, in double precision: naive loops, each beside the sum of its terms' magnitudes. */
#include <math.h>

#include "tests/kcheck/kcheck.h"

double kc_oracle_activation(exn_activation act, double x, double lo, double hi) {
    const double sigmoid = 1 / (1 + exp(-x));
    switch (act) {
    case EXN_ACT_CLAMP:
        return x < lo ? lo : x > hi ? hi : x;
    case EXN_ACT_LEAKY_RELU:
        return x < 0 ? lo * x : x;
    case EXN_ACT_HARD_SIGMOID:
        return kc_oracle_activation(EXN_ACT_CLAMP, lo * x + hi, 0, 1);
    case EXN_ACT_HARD_SWISH:
        return x * kc_oracle_activation(EXN_ACT_CLAMP, x / 6 + 0.5, 0, 1);
    case EXN_ACT_SIGMOID:
        return sigmoid;
    case EXN_ACT_TANH:
        return tanh(x);
    case EXN_ACT_SILU:
        return x * sigmoid;
    case EXN_ACT_EXP:
        return exp(x);
    case EXN_ACT_LOG:
        return log(x);
    case EXN_ACT_NONE:
    default:
        break;
    }
    return x;
}

static void add_term(double *sum, double *magnitude, double term) {
    *sum += term;
    *magnitude += fabs(term);
}

static void gemm_element(double *want, double *magnitude, const kc_gemm_args *g, size_t i, size_t j) {
    double sum = 0, size = 0;
    if (g->e.accumulate)
        add_term(&sum, &size, (double)g->c[(ptrdiff_t)i * g->c_row + (ptrdiff_t)j]);
    else if (g->e.bias)
        add_term(&sum, &size, (double)g->e.bias[j]);
    for (size_t s = 0; s < g->segments; s++)
        for (size_t p = 0; p < g->k; p++) {
            const double a =
                (double)g->a[(ptrdiff_t)i * g->a_row + (ptrdiff_t)p * g->a_col + (ptrdiff_t)s * g->a_segment];
            add_term(&sum, &size, a * (double)g->b[(ptrdiff_t)(s * g->k + p) * g->b_row + (ptrdiff_t)j]);
        }
    if (g->e.residual) add_term(&sum, &size, (double)g->e.residual[(ptrdiff_t)i * g->e.residual_row + (ptrdiff_t)j]);
    *want = kc_oracle_activation(g->e.activation, sum, (double)g->e.lo, (double)g->e.hi);
    *magnitude = size;
}

void kc_oracle_gemm(double *want, double *magnitude, const kc_gemm_args *g) {
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) gemm_element(&want[i * g->n + j], &magnitude[i * g->n + j], g, i, j);
}

static void dwconv_element(double *want, double *magnitude, const exn_dwconv_rows *d, size_t panel, size_t row,
                           size_t pixel, size_t channel) {
    const float *w = d->w + channel / panel * (1 + d->kh * d->kw) * panel + channel % panel;
    double sum = 0, size = 0;
    add_term(&sum, &size, (double)w[0]);
    for (size_t ky = 0; ky < d->kh; ky++)
        for (size_t kx = 0; kx < d->kw; kx++) {
            const float *x = d->in[row * d->row_step + ky];
            const ptrdiff_t column = (ptrdiff_t)(pixel * d->stride + kx * d->dilation) - (ptrdiff_t)d->pad_left;
            const bool real = x && column >= 0 && column < (ptrdiff_t)d->width;
            const double value = real ? (double)x[column * d->in_pixel + (ptrdiff_t)channel] : 0;
            add_term(&sum, &size, value * (double)w[(1 + ky * d->kw + kx) * panel]);
        }
    const ptrdiff_t at = (ptrdiff_t)row * d->out_row + (ptrdiff_t)pixel * d->out_pixel + (ptrdiff_t)channel;
    if (d->e->residual) add_term(&sum, &size, (double)d->e->residual[at]);
    *want = kc_oracle_activation(d->e->activation, sum, (double)d->e->lo, (double)d->e->hi);
    *magnitude = size;
}

void kc_oracle_dwconv(double *want, double *magnitude, const exn_dwconv_rows *d, size_t panel) {
    size_t i = 0;
    for (size_t row = 0; row < d->rows; row++)
        for (size_t pixel = 0; pixel < d->pixels; pixel++)
            for (size_t channel = 0; channel < d->channels; channel++, i++)
                dwconv_element(&want[i], &magnitude[i], d, panel, row, pixel, channel);
}

/* Input element at kernel position (ky, kx) of output (oy, ox), or NULL where it is padding. */
static const float *conv_tap(const exn_conv_shape *s, const float *in, size_t image, size_t oy, size_t ox, size_t ky,
                             size_t kx) {
    const ptrdiff_t y = (ptrdiff_t)(oy * s->stride_h + ky * s->dilation_h) - (ptrdiff_t)s->pad_top;
    const ptrdiff_t x = (ptrdiff_t)(ox * s->stride_w + kx * s->dilation_w) - (ptrdiff_t)s->pad_left;
    if (y < 0 || x < 0 || y >= (ptrdiff_t)s->h || x >= (ptrdiff_t)s->w) return NULL;
    return in + ((image * s->h + (size_t)y) * s->w + (size_t)x) * s->c;
}

static void conv_element(double *sum, double *size, const exn_conv_shape *s, const float *in, const float *weight,
                         size_t image, size_t oy, size_t ox, size_t o) {
    const size_t inputs = s->c / s->groups, first = o / (s->oc / s->groups) * inputs;
    for (size_t ky = 0; ky < s->kh; ky++)
        for (size_t kx = 0; kx < s->kw; kx++) {
            const float *tap = conv_tap(s, in, image, oy, ox, ky, kx);
            for (size_t c = 0; tap && c < inputs; c++)
                add_term(sum, size,
                         (double)tap[first + c] * (double)weight[((o * inputs + c) * s->kh + ky) * s->kw + kx]);
        }
}

void kc_oracle_conv(double *want, double *magnitude, const exn_conv_shape *s, const float *in, const float *weight,
                    const float *scale, const float *bias, const float *residual) {
    size_t i = 0;
    for (size_t image = 0; image < s->n; image++)
        for (size_t oy = 0; oy < s->oh; oy++)
            for (size_t ox = 0; ox < s->ow; ox++)
                for (size_t o = 0; o < s->oc; o++, i++) {
                    double sum = 0, size = 0;
                    conv_element(&sum, &size, s, in, weight, image, oy, ox, o);
                    const double factor = scale ? (double)scale[o] : 1;
                    want[i] = sum * factor;
                    magnitude[i] = size * fabs(factor);
                    if (bias) add_term(&want[i], &magnitude[i], (double)bias[o]);
                    if (residual) add_term(&want[i], &magnitude[i], (double)residual[i]);
                }
}
