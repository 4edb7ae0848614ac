/* SPDX-License-Identifier: Apache-2.0
 * Drivers besides products and convolutions: random shapes against double precision, the same bits for 1..3 parts. */
#include <math.h>
#include <string.h>

#include "kernels/backward.h"
#include "kernels/elementwise.h"
#include "kernels/window.h"
#include "tests/kcheck/kcheck.h"

#define ARRAYS 6u
enum { SCRATCH_START, SCRATCH_WANT, SCRATCH_MAGNITUDE, SCRATCH_ONE, SCRATCH_WORK };

typedef struct layer_case layer_case;
typedef struct layer_test {
    const char *name;
    size_t arrays;
    void (*draw)(layer_case *c); /* sizes d[] and count[] */
    void (*part)(void *argument, exn_part part);
    void (*oracle)(layer_case *c); /* want[] and magnitude[], which hold the arrays' starts, of what changes */
    double terms;                  /* roundings, besides those of `length` terms */
} layer_test;

struct layer_case {
    const layer_test *test;
    const exn_kernel_set *set;
    size_t parts, length, d[6], count[ARRAYS];
    float *x[ARRAYS];
    double *want[ARRAYS], *magnitude[ARRAYS];
    void *workspace;
    exn_window window;
    exn_conv_shape shape;
};

static exn_pool *const *pools;

static size_t between(size_t least, size_t most) {
    return least + exn_rng_below(kc_rng(), (uint32_t)(most - least + 1));
}

static void describe(char *text, size_t bytes, const void *argument) {
    const layer_case *c = argument;
    snprintf(text, bytes, "sizes %zu %zu %zu %zu %zu %zu parts %zu", c->d[0], c->d[1], c->d[2], c->d[3], c->d[4],
             c->d[5], c->parts);
}

/* Adds a term to element i of array a. */
static void add(layer_case *c, size_t a, size_t i, double term) {
    c->want[a][i] += term;
    c->magnitude[a][i] += fabs(term);
}

static void set_to(layer_case *c, size_t a, size_t i, double value, double magnitude) {
    c->want[a][i] = value;
    c->magnitude[a][i] = magnitude;
}

/* ---- Softmax over a middle axis: d is outer, n, inner, log ---- */
static void softmax_draw(layer_case *c) {
    c->d[0] = between(1, 5), c->d[1] = between(1, 70), c->d[2] = between(0, 1) ? 1 : between(1, 20),
    c->d[3] = between(0, 1);
    c->count[0] = c->count[1] = c->d[0] * c->d[1] * c->d[2];
    c->length = c->d[1];
}

static void softmax_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_softmax(&c->set->f32_vector, c->d[3], c->d[0], c->d[1], c->d[2], c->x[0], c->x[1], part);
}

static void softmax_oracle(layer_case *c) {
    const size_t n = c->d[1], inner = c->d[2];
    for (size_t line = 0; line < c->d[0] * inner; line++) {
        const size_t first = line / inner * n * inner + line % inner;
        double sum = 0;
        for (size_t j = 0; j < n; j++) sum += exp((double)c->x[0][first + j * inner]);
        for (size_t j = 0; j < n; j++) {
            const double x = (double)c->x[0][first + j * inner];
            if (c->d[3])
                set_to(c, 1, first + j * inner, x - log(sum), fabs(x) + fabs(log(sum)) + 2);
            else
                set_to(c, 1, first + j * inner, exp(x) / sum, exp(x) / sum);
        }
    }
}

/* ---- Sums, means and maxima over any axes of three: d is the shape, then the axes, then the kind ---- */
static void reduce_draw(layer_case *c) {
    c->count[1] = c->length = 1;
    c->d[3] = between(1, 7), c->d[4] = between(0, 2);
    for (size_t i = 0; i < 3; i++) {
        c->d[i] = between(1, i == 2 ? 70 : 9);
        if (c->d[3] >> i & 1)
            c->length *= c->d[i];
        else
            c->count[1] *= c->d[i];
    }
    c->count[0] = c->d[0] * c->d[1] * c->d[2];
}

static void reduce_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    const exn_shape shape = exn_shape_of(3, c->d);
    exn_reduce_axes(&c->set->f32_vector, (exn_reduce_kind)c->d[4], &shape, (uint32_t)c->d[3], c->x[0], c->x[1], part);
}

static void reduce_oracle(layer_case *c) {
    for (size_t i = 0; i < c->count[1]; i++) set_to(c, 1, i, c->d[4] == EXN_REDUCE_MAX_OF ? -INFINITY : 0, 0);
    for (size_t i = 0; i < c->count[0]; i++) {
        const size_t index[3] = {i / c->d[2] / c->d[1], i / c->d[2] % c->d[1], i % c->d[2]};
        size_t to = 0;
        for (size_t a = 0; a < 3; a++)
            if (!(c->d[3] >> a & 1)) to = to * c->d[a] + index[a];
        const double x = (double)c->x[0][i];
        if (c->d[4] == EXN_REDUCE_MAX_OF)
            c->want[1][to] = fmax(c->want[1][to], x);
        else
            add(c, 1, to, c->d[4] == EXN_REDUCE_MEAN_OF ? x / (double)c->length : x);
    }
}

/* ---- Pooling windows: d is n, size, c, out, then kind, adaptive ---- */
static void window_draw(layer_case *c) {
    exn_window *w = &c->window;
    *w = (exn_window){.n = between(1, 2),
                      .h = between(1, 9),
                      .w = between(1, 9),
                      .c = between(1, 40),
                      .kind = between(0, 1) ? EXN_WINDOW_MAX : EXN_WINDOW_AVERAGE,
                      .kh = between(1, 3),
                      .kw = between(1, 3),
                      .stride_h = between(1, 2),
                      .stride_w = between(1, 2),
                      .dilation_h = 1,
                      .dilation_w = 1};
    w->adaptive = w->kind == EXN_WINDOW_AVERAGE && between(0, 1);
    w->pad_top = w->pad_bottom = between(0, w->kh / 2), w->pad_left = w->pad_right = between(0, w->kw / 2);
    if (w->h + 2 * w->pad_top < w->kh) w->kh = 1, w->pad_top = w->pad_bottom = 0;
    if (w->w + 2 * w->pad_left < w->kw) w->kw = 1, w->pad_left = w->pad_right = 0;
    w->oh = w->adaptive ? between(1, 5) : (w->h + 2 * w->pad_top - w->kh) / w->stride_h + 1;
    w->ow = w->adaptive ? between(1, 5) : (w->w + 2 * w->pad_left - w->kw) / w->stride_w + 1;
    c->count[0] = w->n * w->h * w->w * w->c, c->count[1] = w->n * w->oh * w->ow * w->c;
    c->length = 81;
    const size_t sizes[6] = {w->n, w->h, w->w, w->c, w->kind, w->adaptive};
    memcpy(c->d, sizes, sizeof sizes);
}

static void window_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_window_run(&c->window, &c->set->f32_vector, c->x[0], c->x[1], part);
}

/* Rows or columns [*first, *last) of the image that output cell i covers. */
static void window_range(size_t *first, size_t *last, const exn_window *w, bool rows, size_t i) {
    const size_t in = rows ? w->h : w->w, out = rows ? w->oh : w->ow, kernel = rows ? w->kh : w->kw;
    const size_t start = i * (rows ? w->stride_h : w->stride_w), pad = rows ? w->pad_top : w->pad_left;
    *first = w->adaptive ? i * in / out : start > pad ? start - pad : 0;
    *last = w->adaptive ? ((i + 1) * in + out - 1) / out : start + kernel - pad < in ? start + kernel - pad : in;
}

static void window_cell(layer_case *c, size_t image, size_t oy, size_t ox, size_t channel) {
    const exn_window *w = &c->window;
    const size_t to = ((image * w->oh + oy) * w->ow + ox) * w->c + channel;
    size_t y0, y1, x0, x1;
    window_range(&y0, &y1, w, true, oy);
    window_range(&x0, &x1, w, false, ox);
    set_to(c, 1, to, w->kind == EXN_WINDOW_MAX ? -INFINITY : 0, 0);
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++) {
            const double value = (double)c->x[0][((image * w->h + y) * w->w + x) * w->c + channel];
            if (w->kind == EXN_WINDOW_MAX)
                c->want[1][to] = fmax(c->want[1][to], value);
            else
                add(c, 1, to, value / (double)((y1 - y0) * (x1 - x0)));
        }
}

static void window_oracle(layer_case *c) {
    const exn_window *w = &c->window;
    for (size_t i = 0; i < c->count[1]; i++)
        window_cell(c, i / w->c / w->ow / w->oh, i / w->c / w->ow % w->oh, i / w->c % w->ow, i % w->c);
}

/* ---- Linear layer: d is m, n, k; arrays x, w, b or db, y or dy, dx, dw ---- */
static void linear_draw(layer_case *c) {
    const size_t m = c->d[0] = between(1, 20), n = c->d[1] = between(1, 40), k = c->d[2] = between(1, 70);
    const size_t counts[ARRAYS] = {m * k, n * k, n, m * n, m * k, n * k};
    memcpy(c->count, counts, sizeof counts);
    c->length = m + n + k;
    c->workspace = kc_scratch(SCRATCH_WORK, exn_linear_workspace_bytes(c->set, n, k));
}

static void linear_forward_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_linear_forward(c->set, c->d[0], c->d[1], c->d[2], c->x[0], c->x[1], c->x[2], c->x[3], c->workspace, part);
}

static void linear_forward_oracle(layer_case *c) {
    const size_t n = c->d[1], k = c->d[2];
    for (size_t i = 0; i < c->count[3]; i++) {
        set_to(c, 3, i, (double)c->x[2][i % n], fabs((double)c->x[2][i % n]));
        for (size_t p = 0; p < k; p++) add(c, 3, i, (double)c->x[0][i / n * k + p] * (double)c->x[1][i % n * k + p]);
    }
}

static void linear_backward_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_linear_backward(c->set, c->d[0], c->d[1], c->d[2], c->x[0], c->x[1], c->x[3], c->x[4], c->x[5], c->x[2],
                        c->workspace, part);
}

static void linear_backward_oracle(layer_case *c) {
    const size_t n = c->d[1], k = c->d[2];
    for (size_t i = 0; i < c->count[3]; i++) {
        const double dy = (double)c->x[3][i];
        const size_t row = i / n, column = i % n;
        add(c, 2, column, dy);
        for (size_t p = 0; p < k; p++) {
            add(c, 4, row * k + p, dy * (double)c->x[1][column * k + p]);
            add(c, 5, column * k + p, dy * (double)c->x[0][row * k + p]);
        }
    }
}

/* ---- Depthwise with gradients: arrays x, w, y or dy, dx, dw ---- */
static void depthwise_draw(layer_case *c) {
    exn_conv_shape *s = &c->shape;
    *s = (exn_conv_shape){.n = between(1, 3),
                          .h = between(2, 9),
                          .w = between(2, 9),
                          .c = between(1, 40),
                          .kh = 3,
                          .kw = 3,
                          .stride_h = between(1, 2),
                          .dilation_h = 1,
                          .dilation_w = 1,
                          .pad_top = 1,
                          .pad_left = 1};
    s->stride_w = s->stride_h, s->oc = s->groups = s->c;
    s->oh = (s->h - 1) / s->stride_h + 1, s->ow = (s->w - 1) / s->stride_w + 1;
    const size_t inputs = s->n * s->h * s->w * s->c, outputs = s->n * s->oh * s->ow * s->c;
    const size_t counts[ARRAYS] = {inputs, 9 * s->c, outputs, inputs, 9 * s->c, 0},
                 sizes[6] = {s->n, s->h, s->w, s->c, s->stride_h, 0};
    memcpy(c->count, counts, sizeof counts);
    memcpy(c->d, sizes, sizeof sizes);
    c->length = s->n * s->oh * s->ow + 9;
    c->workspace = kc_scratch(SCRATCH_WORK, exn_dwconv_workspace_bytes(c->set, s, KC_PARTS_MAX));
}

static void depthwise_forward_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_dwconv_forward(c->set, &c->shape, c->x[0], c->x[1], c->x[2], c->workspace, part);
}

static void depthwise_backward_part(void *argument, exn_part part) {
    const layer_case *c = argument;
    exn_dwconv_backward(c->set, &c->shape, c->x[0], c->x[1], c->x[2], c->x[3], c->x[4], c->workspace, part);
}

/* visit(output, input, weight) for every product of the convolution. */
static void depthwise_visit(layer_case *c, void (*visit)(layer_case *, size_t, size_t, size_t)) {
    const exn_conv_shape *s = &c->shape;
    for (size_t i = 0; i < c->count[2]; i++)
        for (size_t tap = 0; tap < 9; tap++) {
            const size_t channel = i % s->c, ox = i / s->c % s->ow, oy = i / s->c / s->ow % s->oh,
                         image = i / s->c / s->ow / s->oh;
            const size_t y = oy * s->stride_h + tap / 3, x = ox * s->stride_w + tap % 3; /* one too large: padding */
            if (y < 1 || x < 1 || y > s->h || x > s->w) continue;
            visit(c, i, ((image * s->h + y - 1) * s->w + x - 1) * s->c + channel, tap * s->c + channel);
        }
}

static void forward_product(layer_case *c, size_t out, size_t in, size_t weight) {
    add(c, 2, out, (double)c->x[0][in] * (double)c->x[1][weight]);
}

static void backward_product(layer_case *c, size_t out, size_t in, size_t weight) {
    add(c, 3, in, (double)c->x[2][out] * (double)c->x[1][weight]);
    add(c, 4, weight, (double)c->x[2][out] * (double)c->x[0][in]);
}

static void depthwise_forward_oracle(layer_case *c) {
    for (size_t i = 0; i < c->count[2]; i++) set_to(c, 2, i, 0, 0);
    depthwise_visit(c, forward_product);
}

static void depthwise_backward_oracle(layer_case *c) {
    depthwise_visit(c, backward_product);
}

static const layer_test tests[] = {
    {"softmax", 2, softmax_draw, softmax_part, softmax_oracle, 16},
    {"reduce_axes", 2, reduce_draw, reduce_part, reduce_oracle, 4},
    {"window", 2, window_draw, window_part, window_oracle, 4},
    {"linear_forward", 4, linear_draw, linear_forward_part, linear_forward_oracle, 4},
    {"linear_backward", 6, linear_draw, linear_backward_part, linear_backward_oracle, 4},
    {"depthwise_forward", 3, depthwise_draw, depthwise_forward_part, depthwise_forward_oracle, 4},
    {"depthwise_backward", 5, depthwise_draw, depthwise_backward_part, depthwise_backward_oracle, 4},
};

static void run_layer(void *argument) {
    const layer_case *c = argument;
    exn_pool_run(pools[c->parts], c->test->part, argument);
}

/* Places the arrays and remembers how they start, as floats and as the oracle's first values. */
static size_t place(layer_case *c, float *start[ARRAYS]) {
    static const kc_operand places[ARRAYS] = {KC_A, KC_B, KC_C, KC_BIAS, KC_RESIDUAL, KC_EXTRA};
    size_t total = 0, at = 0;
    for (size_t a = 0; a < c->test->arrays; a++) total += c->count[a];
    float *starts = kc_scratch(SCRATCH_START, total * sizeof *starts);
    double *want = kc_scratch(SCRATCH_WANT, total * sizeof *want);
    double *magnitude = kc_scratch(SCRATCH_MAGNITUDE, total * sizeof *magnitude);
    for (size_t a = 0; a < c->test->arrays; at += c->count[a++]) {
        c->x[a] = kc_place(places[a], c->count[a], KC_RIGHT, 0);
        kc_fill(c->x[a], c->count[a], KC_UNIFORM);
        start[a] = starts + at, c->want[a] = want + at, c->magnitude[a] = magnitude + at;
        memcpy(start[a], c->x[a], c->count[a] * sizeof(float));
        for (size_t i = 0; i < c->count[a]; i++) set_to(c, a, i, (double)start[a][i], fabs((double)start[a][i]));
    }
    return total;
}

static bool near_oracle(const layer_case *c) {
    char name[32];
    for (size_t a = 0; a < c->test->arrays; a++) {
        snprintf(name, sizeof name, "array %zu", a);
        if (!kc_near(name, c->x[a], c->want[a], c->magnitude[a], c->test->terms + (double)c->length, c->count[a]))
            return false;
    }
    return true;
}

static void check_layer(layer_case *c) {
    float *start[ARRAYS], *one;
    kc_case(describe, c);
    c->test->draw(c);
    const size_t total = place(c, start);
    c->test->oracle(c);
    one = kc_scratch(SCRATCH_ONE, total * sizeof *one);
    for (c->parts = 1; c->parts <= KC_PARTS_MAX; c->parts++) {
        float *first = one;
        for (size_t a = 0; a < c->test->arrays; a++) memcpy(c->x[a], start[a], c->count[a] * sizeof(float));
        if (!kc_call(run_layer, c) || (c->parts == 1 && !near_oracle(c))) return;
        for (size_t a = 0; a < c->test->arrays; first += c->count[a++]) {
            if (c->parts == 1)
                memcpy(first, c->x[a], c->count[a] * sizeof(float));
            else if (!kc_same("array beside one part", c->x[a], first, c->count[a]))
                return;
        }
    }
}

void kc_test_layers(const exn_kernel_set *set, exn_pool *const these_pools[KC_PARTS_MAX + 1]) {
    pools = these_pools;
    for (size_t t = 0; t < sizeof tests / sizeof *tests; t++) {
        char name[64];
        snprintf(name, sizeof name, "driver.%s", tests[t].name);
        if (!kc_subject_begin(set, name) || !kc_test("K6_layers")) continue;
        for (size_t round = 0; round < (kc_opt.quick ? 20u : 200u); round++) {
            layer_case c = {.test = &tests[t], .set = set};
            check_layer(&c);
        }
    }
}
