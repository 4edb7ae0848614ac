/* SPDX-License-Identifier: Apache-2.0
 * Portable body of every slot of exn_f32_vector over an ISA's vec.h (kernels/vec.md). Include it once, after vec.h and
 * after `#define EXN_SET name`: it defines static functions exn_f32_<slot>_<name> and EXN_F32_VECTOR_INIT. */
#include "kernels/kernel_set.h"
#include "kernels/unroll.h"
#include <math.h>
#include <string.h>

#ifndef EXN_SET
#error "define EXN_SET, the set's name, before including this header"
#endif
#define EXN_PASTE_NOW(stem, set) exn_f32_##stem##_##set
#define EXN_PASTE(stem, set) EXN_PASTE_NOW(stem, set)
#define EXN_OF_SET(stem) EXN_PASTE(stem, EXN_SET)
#define EXN_TEXT_NOW(name) #name
#define EXN_TEXT(name) EXN_TEXT_NOW(name)

/* y[i] = expression of vector v, which holds x[i]; the last vector is partial. */
#define EXN_MAP(n, x, y, expression)                                                                                   \
    do {                                                                                                               \
        const size_t map_lanes = exn_vec_lanes();                                                                      \
        size_t i = 0;                                                                                                  \
        for (; i + map_lanes <= (n); i += map_lanes) {                                                                 \
            const exn_vec v = exn_vec_load((x) + i);                                                                   \
            exn_vec_store((y) + i, (expression));                                                                      \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const exn_vec v = exn_vec_load_n((x) + i, (n)-i);                                                          \
            exn_vec_store_n((y) + i, (expression), (n)-i);                                                             \
        }                                                                                                              \
    } while (0)

static inline exn_vec EXN_OF_SET(sigmoid)(exn_vec v) {
    const exn_vec one = exn_vec_set1(1.0f);
    return exn_vec_div(one, exn_vec_add(one, exn_vec_exp(exn_vec_sub(exn_vec_set1(0.0f), v))));
}

static inline exn_vec EXN_OF_SET(hard_sigmoid)(exn_vec v, exn_vec alpha, exn_vec beta) {
    return exn_vec_clamp(exn_vec_fma(alpha, v, beta), exn_vec_set1(0.0f), exn_vec_set1(1.0f));
}

static void EXN_OF_SET(activate)(exn_activation act, size_t n, const float *x, float *y, float lo, float hi) {
    const exn_vec low = exn_vec_set1(lo), high = exn_vec_set1(hi), zero = exn_vec_set1(0.0f);
    const exn_vec sixth = exn_vec_set1(1.0f / 6.0f), half = exn_vec_set1(0.5f);
    switch (act) {
    case EXN_ACT_CLAMP:
        EXN_MAP(n, x, y, exn_vec_clamp(v, low, high));
        break;
    case EXN_ACT_LEAKY_RELU:
        EXN_MAP(n, x, y, exn_vec_select_less(v, zero, exn_vec_mul(low, v), v));
        break;
    case EXN_ACT_HARD_SIGMOID:
        EXN_MAP(n, x, y, EXN_OF_SET(hard_sigmoid)(v, low, high));
        break;
    case EXN_ACT_HARD_SWISH:
        EXN_MAP(n, x, y, exn_vec_mul(v, EXN_OF_SET(hard_sigmoid)(v, sixth, half)));
        break;
    case EXN_ACT_SIGMOID:
        EXN_MAP(n, x, y, EXN_OF_SET(sigmoid)(v));
        break;
    case EXN_ACT_TANH:
        EXN_MAP(n, x, y, exn_vec_tanh(v));
        break;
    case EXN_ACT_SILU:
        EXN_MAP(n, x, y, exn_vec_mul(v, EXN_OF_SET(sigmoid)(v)));
        break;
    case EXN_ACT_EXP:
        EXN_MAP(n, x, y, exn_vec_exp(v));
        break;
    case EXN_ACT_LOG:
        EXN_MAP(n, x, y, exn_vec_log(v));
        break;
    case EXN_ACT_NONE:
    default:
        if (x != y && n > 0) memcpy(y, x, n * sizeof *y);
        break;
    }
}

/* y[i] = expression of vectors v (a) and u (b), each loaded or one value for all. */
#define EXN_MAP_BINARY(expression)                                                                                     \
    do {                                                                                                               \
        const size_t pair_lanes = exn_vec_lanes();                                                                     \
        size_t i = 0;                                                                                                  \
        for (; i + pair_lanes <= n; i += pair_lanes) {                                                                 \
            const exn_vec v = a_step ? exn_vec_load(a + i) : a_all;                                                    \
            const exn_vec u = b_step ? exn_vec_load(b + i) : b_all;                                                    \
            exn_vec_store(y + i, (expression));                                                                        \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            const exn_vec v = a_step ? exn_vec_load_n(a + i, n - i) : a_all;                                           \
            const exn_vec u = b_step ? exn_vec_load_n(b + i, n - i) : b_all;                                           \
            exn_vec_store_n(y + i, (expression), n - i);                                                               \
        }                                                                                                              \
    } while (0)

static void EXN_OF_SET(binary)(exn_binary op, size_t n, const float *a, size_t a_step, const float *b, size_t b_step,
                               float *y) {
    if (n == 0) return;
    const exn_vec a_all = exn_vec_set1(*a), b_all = exn_vec_set1(*b);
    switch (op) {
    case EXN_ADD:
        EXN_MAP_BINARY(exn_vec_add(v, u));
        break;
    case EXN_SUB:
        EXN_MAP_BINARY(exn_vec_sub(v, u));
        break;
    case EXN_MUL:
        EXN_MAP_BINARY(exn_vec_mul(v, u));
        break;
    case EXN_DIV:
        EXN_MAP_BINARY(exn_vec_div(v, u));
        break;
    default:
        break;
    }
}

static void EXN_OF_SET(scale_shift)(size_t n, const float *x, const float *scale, const float *shift, float *y) {
    const size_t lanes = exn_vec_lanes();
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        exn_vec_store(y + i, exn_vec_fma(exn_vec_load(x + i), exn_vec_load(scale + i), exn_vec_load(shift + i)));
    if (i < n) {
        const exn_vec v = exn_vec_load_n(x + i, n - i), s = exn_vec_load_n(scale + i, n - i);
        exn_vec_store_n(y + i, exn_vec_fma(v, s, exn_vec_load_n(shift + i, n - i)), n - i);
    }
}

static void EXN_OF_SET(axpy)(size_t n, float alpha, const float *x, float *y) {
    const exn_vec factor = exn_vec_set1(alpha);
    const size_t lanes = exn_vec_lanes();
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        exn_vec_store(y + i, exn_vec_fma(factor, exn_vec_load(x + i), exn_vec_load(y + i)));
    if (i < n) {
        const exn_vec v = exn_vec_load_n(x + i, n - i);
        exn_vec_store_n(y + i, exn_vec_fma(factor, v, exn_vec_load_n(y + i, n - i)), n - i);
    }
}

/* The 16 partial results of K6 live in memory, so that any number of lanes can work on them. */
static inline float EXN_OF_SET(tree)(exn_reduction op, float partial[EXN_REDUCE_LANES]) {
    EXN_ROLL for (size_t width = EXN_REDUCE_LANES / 2; width > 0; width /= 2) {
        EXN_ROLL for (size_t i = 0; i < width; i++) {
            const float a = partial[i], b = partial[i + width];
            partial[i] = op == EXN_REDUCE_SUM ? a + b : a > b || a != a ? a : b;
        }
    }
    return partial[0];
}

/* partial[l] = op(partial[l], x[l]) for the 16 lanes. */
static inline void EXN_OF_SET(gather16)(exn_reduction op, float *partial, const float *x) {
    const size_t lanes = exn_vec_lanes() < EXN_REDUCE_LANES ? exn_vec_lanes() : EXN_REDUCE_LANES;
    for (size_t l = 0; l < EXN_REDUCE_LANES; l += lanes) {
        const exn_vec p = exn_vec_load_n(partial + l, lanes), v = exn_vec_load_n(x + l, lanes);
        exn_vec_store_n(partial + l, op == EXN_REDUCE_SUM ? exn_vec_add(p, v) : exn_vec_max(p, v), lanes);
    }
}

static inline void EXN_OF_SET(fill16)(float *partial, float value) {
    for (size_t l = 0; l < EXN_REDUCE_LANES; l++) partial[l] = value;
}

/* op is a constant at every call. */
static inline __attribute__((always_inline)) float EXN_OF_SET(reduce_by)(const exn_reduction op, size_t n,
                                                                         const float *x) {
    const float nothing = op == EXN_REDUCE_SUM ? 0.0f : -INFINITY;
    float partial[EXN_REDUCE_LANES], tail[EXN_REDUCE_LANES];
    EXN_OF_SET(fill16)(partial, nothing);
    size_t i = 0;
    for (; i + EXN_REDUCE_LANES <= n; i += EXN_REDUCE_LANES) EXN_OF_SET(gather16)(op, partial, x + i);
    if (i < n) {
        EXN_OF_SET(fill16)(tail, nothing);
        memcpy(tail, x + i, (n - i) * sizeof *x);
        EXN_OF_SET(gather16)(op, partial, tail);
    }
    return EXN_OF_SET(tree)(op, partial);
}

static float EXN_OF_SET(reduce)(exn_reduction op, size_t n, const float *x) {
    return op == EXN_REDUCE_SUM ? EXN_OF_SET(reduce_by)(EXN_REDUCE_SUM, n, x)
                                : EXN_OF_SET(reduce_by)(EXN_REDUCE_MAX, n, x);
}

/* partial[l] = fma(x[l], y[l], partial[l]) for the 16 lanes. */
static inline void EXN_OF_SET(dot16)(float *partial, const float *x, const float *y) {
    const size_t lanes = exn_vec_lanes() < EXN_REDUCE_LANES ? exn_vec_lanes() : EXN_REDUCE_LANES;
    for (size_t l = 0; l < EXN_REDUCE_LANES; l += lanes) {
        const exn_vec a = exn_vec_load_n(x + l, lanes), b = exn_vec_load_n(y + l, lanes);
        exn_vec_store_n(partial + l, exn_vec_fma(a, b, exn_vec_load_n(partial + l, lanes)), lanes);
    }
}

static float EXN_OF_SET(dot)(size_t n, const float *x, const float *y) {
    float partial[EXN_REDUCE_LANES], x_tail[EXN_REDUCE_LANES], y_tail[EXN_REDUCE_LANES];
    EXN_OF_SET(fill16)(partial, 0.0f);
    size_t i = 0;
    for (; i + EXN_REDUCE_LANES <= n; i += EXN_REDUCE_LANES) EXN_OF_SET(dot16)(partial, x + i, y + i);
    if (i < n) {
        EXN_OF_SET(fill16)(x_tail, 0.0f);
        EXN_OF_SET(fill16)(y_tail, 0.0f);
        memcpy(x_tail, x + i, (n - i) * sizeof *x);
        memcpy(y_tail, y + i, (n - i) * sizeof *y);
        EXN_OF_SET(dot16)(partial, x_tail, y_tail);
    }
    return EXN_OF_SET(tree)(EXN_REDUCE_SUM, partial);
}

static float EXN_OF_SET(sum_exp)(size_t n, const float *x, float shift, float *y) {
    const exn_vec by = exn_vec_set1(shift);
    EXN_MAP(n, x, y, exn_vec_exp(exn_vec_sub(v, by)));
    return EXN_OF_SET(reduce_by)(EXN_REDUCE_SUM, n, y);
}

/* Columns of one vector: `count` of them. */
static inline void EXN_OF_SET(columns)(exn_reduction op, size_t rows, size_t count, const float *x, ptrdiff_t x_row,
                                       bool accumulate, float *y) {
    exn_vec gathered = exn_vec_set1(op == EXN_REDUCE_SUM ? 0.0f : -INFINITY);
    if (accumulate) gathered = exn_vec_load_n(y, count);
    for (size_t r = 0; r < rows; r++, x += x_row) {
        const exn_vec v = exn_vec_load_n(x, count);
        gathered = op == EXN_REDUCE_SUM ? exn_vec_add(gathered, v) : exn_vec_max(gathered, v);
    }
    exn_vec_store_n(y, gathered, count);
}

/* Four whole vectors of columns at once: a cache line and more of each row. */
static inline void EXN_OF_SET(columns4)(exn_reduction op, size_t rows, const float *x, ptrdiff_t x_row, bool accumulate,
                                        float *y) {
    const size_t lanes = exn_vec_lanes();
    const exn_vec nothing = exn_vec_set1(op == EXN_REDUCE_SUM ? 0.0f : -INFINITY);
    exn_vec g0 = accumulate ? exn_vec_load(y) : nothing, g1 = accumulate ? exn_vec_load(y + lanes) : nothing;
    exn_vec g2 = accumulate ? exn_vec_load(y + 2 * lanes) : nothing;
    exn_vec g3 = accumulate ? exn_vec_load(y + 3 * lanes) : nothing;
    for (size_t r = 0; r < rows; r++, x += x_row) {
        const exn_vec v0 = exn_vec_load(x), v1 = exn_vec_load(x + lanes);
        const exn_vec v2 = exn_vec_load(x + 2 * lanes), v3 = exn_vec_load(x + 3 * lanes);
        g0 = op == EXN_REDUCE_SUM ? exn_vec_add(g0, v0) : exn_vec_max(g0, v0);
        g1 = op == EXN_REDUCE_SUM ? exn_vec_add(g1, v1) : exn_vec_max(g1, v1);
        g2 = op == EXN_REDUCE_SUM ? exn_vec_add(g2, v2) : exn_vec_max(g2, v2);
        g3 = op == EXN_REDUCE_SUM ? exn_vec_add(g3, v3) : exn_vec_max(g3, v3);
    }
    exn_vec_store(y, g0), exn_vec_store(y + lanes, g1);
    exn_vec_store(y + 2 * lanes, g2), exn_vec_store(y + 3 * lanes, g3);
}

static void EXN_OF_SET(reduce_columns)(exn_reduction op, size_t rows, size_t n, const float *x, ptrdiff_t x_row,
                                       bool accumulate, float *y) {
    const size_t lanes = exn_vec_lanes();
    size_t c = 0;
    for (; c + 4 * lanes <= n; c += 4 * lanes) EXN_OF_SET(columns4)(op, rows, x + c, x_row, accumulate, y + c);
    for (; c + lanes <= n; c += lanes) EXN_OF_SET(columns)(op, rows, lanes, x + c, x_row, accumulate, y + c);
    if (c < n) EXN_OF_SET(columns)(op, rows, n - c, x + c, x_row, accumulate, y + c);
}

/* `count` channels, at most a vector, from channel c of every tap. */
static inline void EXN_OF_SET(pool_vector)(exn_reduction op, size_t taps, const float *const *tap, size_t c,
                                           size_t count, bool accumulate, exn_vec factor, float *y) {
    exn_vec gathered = exn_vec_set1(op == EXN_REDUCE_SUM ? 0.0f : -INFINITY);
    if (accumulate) gathered = exn_vec_load_n(y + c, count);
    for (size_t t = 0; t < taps; t++) {
        const exn_vec v = exn_vec_load_n(tap[t] + c, count);
        gathered = op == EXN_REDUCE_SUM ? exn_vec_add(gathered, v) : exn_vec_max(gathered, v);
    }
    exn_vec_store_n(y + c, exn_vec_mul(gathered, factor), count);
}

/* Four whole vectors: chains side by side hide their latency, and share the reading of tap pointers. */
static inline void EXN_OF_SET(pool_four)(exn_reduction op, size_t taps, const float *const *tap, size_t c,
                                         bool accumulate, exn_vec factor, float *y) {
    const size_t lanes = exn_vec_lanes(), c1 = c + lanes, c2 = c1 + lanes, c3 = c2 + lanes;
    const exn_vec start = exn_vec_set1(op == EXN_REDUCE_SUM ? 0.0f : -INFINITY);
    exn_vec v0 = accumulate ? exn_vec_load(y + c) : start, v1 = accumulate ? exn_vec_load(y + c1) : start;
    exn_vec v2 = accumulate ? exn_vec_load(y + c2) : start, v3 = accumulate ? exn_vec_load(y + c3) : start;
    if (op == EXN_REDUCE_SUM) {
        for (size_t t = 0; t < taps; t++) {
            const float *const x = tap[t];
            v0 = exn_vec_add(v0, exn_vec_load(x + c)), v1 = exn_vec_add(v1, exn_vec_load(x + c1));
            v2 = exn_vec_add(v2, exn_vec_load(x + c2)), v3 = exn_vec_add(v3, exn_vec_load(x + c3));
        }
    } else {
        for (size_t t = 0; t < taps; t++) {
            const float *const x = tap[t];
            v0 = exn_vec_max(v0, exn_vec_load(x + c)), v1 = exn_vec_max(v1, exn_vec_load(x + c1));
            v2 = exn_vec_max(v2, exn_vec_load(x + c2)), v3 = exn_vec_max(v3, exn_vec_load(x + c3));
        }
    }
    exn_vec_store(y + c, exn_vec_mul(v0, factor)), exn_vec_store(y + c1, exn_vec_mul(v1, factor));
    exn_vec_store(y + c2, exn_vec_mul(v2, factor)), exn_vec_store(y + c3, exn_vec_mul(v3, factor));
}

static void EXN_OF_SET(pool)(exn_reduction op, size_t taps, const float *const *tap, size_t n, bool accumulate,
                             float scale, float *y) {
    const exn_vec factor = exn_vec_set1(scale);
    const size_t lanes = exn_vec_lanes();
    size_t c = 0;
    for (; c + 4 * lanes <= n; c += 4 * lanes) EXN_OF_SET(pool_four)(op, taps, tap, c, accumulate, factor, y);
    for (; c + lanes <= n; c += lanes) EXN_OF_SET(pool_vector)(op, taps, tap, c, lanes, accumulate, factor, y);
    if (c < n) EXN_OF_SET(pool_vector)(op, taps, tap, c, n - c, accumulate, factor, y);
}

static inline void EXN_OF_SET(clamp_backward_vector)(size_t count, const float *y, const float *dy, exn_vec lo,
                                                     exn_vec hi, float *dx) {
    const exn_vec out = exn_vec_load_n(y, count), before = exn_vec_load_n(dx, count);
    const exn_vec moved = exn_vec_add(before, exn_vec_load_n(dy, count));
    const exn_vec below = exn_vec_select_less(out, hi, moved, before);
    exn_vec_store_n(dx, exn_vec_select_less(lo, out, below, before), count);
}

static void EXN_OF_SET(clamp_backward)(size_t n, const float *y, const float *dy, float lo, float hi, float *dx) {
    const exn_vec low = exn_vec_set1(lo), high = exn_vec_set1(hi);
    const size_t lanes = exn_vec_lanes();
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) EXN_OF_SET(clamp_backward_vector)(lanes, y + i, dy + i, low, high, dx + i);
    if (i < n) EXN_OF_SET(clamp_backward_vector)(n - i, y + i, dy + i, low, high, dx + i);
}

static inline void EXN_OF_SET(dwconv_weights_vector)(size_t pixels, size_t count, const float *x, ptrdiff_t in_pixel,
                                                     const float *dy, ptrdiff_t out_pixel, float *dw) {
    exn_vec sum = exn_vec_load_n(dw, count);
    for (size_t p = 0; p < pixels; p++, x += in_pixel, dy += out_pixel)
        sum = exn_vec_fma(exn_vec_load_n(x, count), exn_vec_load_n(dy, count), sum);
    exn_vec_store_n(dw, sum, count);
}

static void EXN_OF_SET(dwconv_weights)(size_t pixels, size_t channels, size_t kw, const float *x, ptrdiff_t in_pixel,
                                       ptrdiff_t in_tap, const float *dy, ptrdiff_t out_pixel, float *dw,
                                       ptrdiff_t dw_tap) {
    const size_t lanes = exn_vec_lanes();
    for (size_t kx = 0; kx < kw; kx++, x += in_tap, dw += dw_tap) {
        size_t c = 0;
        for (; c + lanes <= channels; c += lanes)
            EXN_OF_SET(dwconv_weights_vector)(pixels, lanes, x + c, in_pixel, dy + c, out_pixel, dw + c);
        if (c < channels)
            EXN_OF_SET(dwconv_weights_vector)(pixels, channels - c, x + c, in_pixel, dy + c, out_pixel, dw + c);
    }
}

static void EXN_OF_SET(sgd)(size_t n, float *w, const float *g, float *v, float rate, float momentum, float decay) {
    const exn_vec keep = exn_vec_set1(momentum), pull = exn_vec_set1(decay), step = exn_vec_set1(-rate);
    const size_t lanes = exn_vec_lanes();
    for (size_t i = 0; i < n; i += lanes) {
        const size_t count = n - i < lanes ? n - i : lanes;
        const exn_vec weight = exn_vec_load_n(w + i, count);
        const exn_vec push = exn_vec_fma(pull, weight, exn_vec_load_n(g + i, count));
        const exn_vec speed = exn_vec_fma(keep, exn_vec_load_n(v + i, count), push);
        exn_vec_store_n(v + i, speed, count);
        exn_vec_store_n(w + i, exn_vec_fma(step, speed, weight), count);
    }
}

static void EXN_OF_SET(adamw)(size_t n, float *w, const float *g, float *m, float *v, float rate, float beta1,
                              float beta2, float epsilon, float decay, float correction1, float correction2) {
    const exn_vec keep1 = exn_vec_set1(beta1), new1 = exn_vec_set1(1.0f - beta1), keep2 = exn_vec_set1(beta2);
    const exn_vec new2 = exn_vec_set1(1.0f - beta2), small = exn_vec_set1(epsilon), pull = exn_vec_set1(decay);
    const exn_vec grow1 = exn_vec_set1(correction1), grow2 = exn_vec_set1(correction2), back = exn_vec_set1(-rate);
    const size_t lanes = exn_vec_lanes();
    for (size_t i = 0; i < n; i += lanes) {
        const size_t count = n - i < lanes ? n - i : lanes;
        const exn_vec weight = exn_vec_load_n(w + i, count), grad = exn_vec_load_n(g + i, count);
        const exn_vec first = exn_vec_fma(keep1, exn_vec_load_n(m + i, count), exn_vec_mul(new1, grad));
        const exn_vec square = exn_vec_mul(new2, exn_vec_mul(grad, grad));
        const exn_vec second = exn_vec_fma(keep2, exn_vec_load_n(v + i, count), square);
        const exn_vec size = exn_vec_add(exn_vec_sqrt(exn_vec_mul(second, grow2)), small);
        const exn_vec step = exn_vec_div(exn_vec_mul(first, grow1), size);
        exn_vec_store_n(m + i, first, count);
        exn_vec_store_n(v + i, second, count);
        exn_vec_store_n(w + i, exn_vec_fma(back, exn_vec_fma(pull, weight, step), weight), count);
    }
}

#define EXN_F32_VECTOR_INIT                                                                                            \
    {                                                                                                                  \
        .activate = EXN_OF_SET(activate), .binary = EXN_OF_SET(binary), .scale_shift = EXN_OF_SET(scale_shift),        \
        .axpy = EXN_OF_SET(axpy), .reduce = EXN_OF_SET(reduce), .dot = EXN_OF_SET(dot),                                \
        .sum_exp = EXN_OF_SET(sum_exp), .reduce_columns = EXN_OF_SET(reduce_columns), .pool = EXN_OF_SET(pool),        \
        .clamp_backward = EXN_OF_SET(clamp_backward), .dwconv_weights = EXN_OF_SET(dwconv_weights),                    \
        .sgd = EXN_OF_SET(sgd), .adamw = EXN_OF_SET(adamw), .name = "f32_vector_" EXN_TEXT(EXN_SET)                    \
    }
