/* SPDX-License-Identifier: Apache-2.0
 * Pooling, global pooling and the gradient of averages, against naive double-precision loops. */
#include "kernels/window.h"
#include "tests/unit/drivers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct pooling {
    exn_window o;
    const float *in;
} pooling;

static void run(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const pooling *p = user;
    exn_window_run(&p->o, &set->f32_vector, p->in, out, part);
}

/* Cells of one axis that output `out` covers, as begin, step, count in input coordinates (may lie outside). */
typedef struct axis {
    ptrdiff_t begin, step, count, size, limit; /* cells at or beyond limit never count */
} axis;

static axis rows_of(const exn_window *o, size_t y) {
    const ptrdiff_t h = (ptrdiff_t)o->h, out = (ptrdiff_t)y, outputs = (ptrdiff_t)o->oh;
    if (o->adaptive) {
        const ptrdiff_t begin = out * h / outputs, end = ((out + 1) * h + outputs - 1) / outputs;
        return (axis){begin, 1, end - begin, h, h};
    }
    return (axis){out * (ptrdiff_t)o->stride_h - (ptrdiff_t)o->pad_top, (ptrdiff_t)o->dilation_h, (ptrdiff_t)o->kh, h,
                  h + (ptrdiff_t)o->pad_bottom};
}

static axis columns_of(const exn_window *o, size_t x) {
    const exn_window turned = {.adaptive = o->adaptive,
                               .h = o->w,
                               .oh = o->ow,
                               .kh = o->kw,
                               .stride_h = o->stride_w,
                               .dilation_h = o->dilation_w,
                               .pad_top = o->pad_left,
                               .pad_bottom = o->pad_right};
    return rows_of(&turned, x);
}

/* Calls for every cell; returns the divisor of an average. */
typedef void cell_fn(void *user, size_t y, size_t x);
static size_t each_cell(const exn_window *o, size_t oy, size_t ox, cell_fn *call, void *user) {
    const axis rows = rows_of(o, oy), columns = columns_of(o, ox);
    size_t inside = 0, countable = 0;
    for (ptrdiff_t i = 0; i < rows.count; i++)
        for (ptrdiff_t k = 0; k < columns.count; k++) {
            const ptrdiff_t y = rows.begin + i * rows.step, x = columns.begin + k * columns.step;
            countable += y < rows.limit && x < columns.limit;
            if (y < 0 || x < 0 || y >= rows.size || x >= columns.size) continue;
            inside++;
            call(user, (size_t)y, (size_t)x);
        }
    return o->count_padding && !o->adaptive ? countable : inside;
}

typedef struct gathering {
    const exn_window *o;
    const float *in; /* one image, one channel */
    double sum, most;
} gathering;

static void gather(void *user, size_t y, size_t x) {
    gathering *g = user;
    const double value = (double)g->in[(y * g->o->w + x) * g->o->c];
    g->sum += value;
    g->most = fmax(g->most, value);
}

static double output_of(const pooling *p, size_t at) {
    const exn_window *o = &p->o;
    const size_t c = at % o->c, pixel = at / o->c, row = pixel / o->ow;
    gathering g = {o, p->in + row / o->oh * o->h * o->w * o->c + c, 0.0, -INFINITY};
    const size_t divisor = each_cell(o, row % o->oh, pixel % o->ow, gather, &g);
    if (o->kind == EXN_WINDOW_MAX) return g.most;
    return divisor ? g.sum / (double)divisor : 0.0;
}

static exn_window random_window(exn_rng *rng) {
    exn_window o = {.kind = exn_rng_below(rng, 2) ? EXN_WINDOW_MAX : EXN_WINDOW_AVERAGE,
                    .count_padding = exn_rng_below(rng, 2),
                    .adaptive = exn_rng_below(rng, 4) == 0,
                    .n = DRIVERS_PICK(rng, 1, 2, 3),
                    .h = DRIVERS_PICK(rng, 1, 4, 7, 11, 15),
                    .w = DRIVERS_PICK(rng, 1, 5, 8, 13),
                    .c = DRIVERS_PICK(rng, 1, 3, 17, 64, 130),
                    .kh = DRIVERS_PICK(rng, 1, 2, 3, 9),
                    .kw = DRIVERS_PICK(rng, 1, 2, 3, 10),
                    .stride_h = DRIVERS_PICK(rng, 1, 2, 3),
                    .stride_w = DRIVERS_PICK(rng, 1, 2, 4),
                    .dilation_h = DRIVERS_PICK(rng, 1, 1, 2),
                    .dilation_w = DRIVERS_PICK(rng, 1, 1, 2),
                    .pad_top = DRIVERS_PICK(rng, 0, 1),
                    .pad_left = DRIVERS_PICK(rng, 0, 1, 2),
                    .pad_bottom = DRIVERS_PICK(rng, 0, 1, 2),
                    .pad_right = DRIVERS_PICK(rng, 0, 1)};
    const size_t h = o.h + o.pad_top + o.pad_bottom, w = o.w + o.pad_left + o.pad_right;
    const size_t reach_h = (o.kh - 1) * o.dilation_h + 1, reach_w = (o.kw - 1) * o.dilation_w + 1;
    if (o.adaptive) {
        o.oh = DRIVERS_PICK(rng, 1, 2, 4, 5);
        o.ow = DRIVERS_PICK(rng, 1, 3, 4);
        return o;
    }
    /* Rounded up now and then, as with ceil_mode, unless the last window would start outside. */
    o.oh = h < reach_h ? 0 : (h - reach_h) / o.stride_h + 1;
    o.ow = w < reach_w ? 0 : (w - reach_w) / o.stride_w + 1;
    if (o.oh > 0 && o.oh * o.stride_h < o.h + o.pad_top && exn_rng_below(rng, 2)) o.oh++;
    return o;
}

START_TEST(random_windows) {
    exn_rng rng = exn_rng_seed(31, 0);
    for (size_t round = 0; round < 80; round++) {
        pooling p = {.o = random_window(&rng)};
        const exn_window *o = &p.o;
        const size_t count = o->n * o->oh * o->ow * o->c;
        if (count == 0) continue;
        float *in = drivers_random(&rng, o->n * o->h * o->w * o->c);
        p.in = in;
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        for (size_t i = 0; i < count; i++) {
            expected[i] = output_of(&p, i);
            bound[i] = o->kind == EXN_WINDOW_MAX ? 0.0 : 1e-5;
        }
        char name[160];
        snprintf(name, sizeof name, "window %zu kind %d adaptive %d %zux%zux%zux%zu -> %zux%zu kernel %zux%zu", round,
                 (int)o->kind, o->adaptive, o->n, o->h, o->w, o->c, o->oh, o->ow, o->kh, o->kw);
        drivers_verify(
            &(drivers_job){.name = name, .count = count, .expected = expected, .bound = bound, .run = run, .user = &p});
        free(in), free(expected), free(bound);
    }
}
END_TEST

static void run_global(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const pooling *p = user;
    exn_global_pool(p->o.kind, p->o.n, p->o.h * p->o.w, p->o.c, &set->f32_vector, p->in, out, part);
}

START_TEST(global_is_one_window) {
    exn_rng rng = exn_rng_seed(32, 0);
    for (size_t round = 0; round < 16; round++) {
        pooling p = {.o = {.kind = round % 2 ? EXN_WINDOW_MAX : EXN_WINDOW_AVERAGE,
                           .adaptive = true,
                           .n = DRIVERS_PICK(&rng, 1, 3),
                           .h = DRIVERS_PICK(&rng, 1, 7, 12),
                           .w = DRIVERS_PICK(&rng, 1, 9),
                           .c = DRIVERS_PICK(&rng, 1, 3, 64, 200),
                           .oh = 1,
                           .ow = 1}};
        const size_t count = p.o.n * p.o.c;
        float *in = drivers_random(&rng, count * p.o.h * p.o.w);
        p.in = in;
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        for (size_t i = 0; i < count; i++) {
            expected[i] = output_of(&p, i);
            bound[i] = round % 2 ? 0.0 : 1e-5;
        }
        drivers_job job = {
            .name = "global", .count = count, .expected = expected, .bound = bound, .run = run_global, .user = &p};
        drivers_verify(&job);
        job.run = run;
        drivers_verify(&job);
        free(in), free(expected), free(bound);
    }
}
END_TEST

static void run_backward(void *user, const exn_kernel_set *set, float *dx, exn_part part) {
    const pooling *p = user;
    exn_window_average_backward(&p->o, &set->f32_vector, p->in, dx, part);
}

typedef struct spreading {
    const exn_window *o;
    double *dx; /* one image, one channel */
    double share;
} spreading;

static void nothing(void *user, size_t y, size_t x) {
    (void)user, (void)y, (void)x;
}

static void spread(void *user, size_t y, size_t x) {
    spreading *s = user;
    s->dx[(y * s->o->w + x) * s->o->c] += s->share;
}

/* The average is linear: its gradient spreads dY evenly over the cells it came from. */
START_TEST(average_backward) {
    exn_rng rng = exn_rng_seed(33, 0);
    for (size_t round = 0; round < 40; round++) {
        pooling p = {.o = random_window(&rng)};
        exn_window *o = &p.o;
        o->kind = EXN_WINDOW_AVERAGE;
        const size_t outputs = o->n * o->oh * o->ow * o->c, count = o->n * o->h * o->w * o->c;
        if (outputs == 0) continue;
        float *dy = drivers_random(&rng, outputs), *start = drivers_random(&rng, count);
        p.in = dy;
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        for (size_t i = 0; i < count; i++) {
            expected[i] = (double)start[i];
            bound[i] = 1e-5;
        }
        for (size_t at = 0; at < outputs; at++) {
            const size_t pixel = at / o->c, row = pixel / o->ow;
            const size_t divisor = each_cell(o, row % o->oh, pixel % o->ow, nothing, NULL);
            spreading s = {o, expected + row / o->oh * o->h * o->w * o->c + at % o->c,
                           divisor ? (double)dy[at] / (double)divisor : 0.0};
            each_cell(o, row % o->oh, pixel % o->ow, spread, &s);
        }
        drivers_verify(&(drivers_job){.name = "average backward",
                                      .count = count,
                                      .start = start,
                                      .expected = expected,
                                      .bound = bound,
                                      .run = run_backward,
                                      .user = &p});
        free(dy), free(start), free(expected), free(bound);
    }
}
END_TEST

int main(void) {
    return unit_run("window", (const TTest *[]){random_windows, global_is_one_window, average_backward, NULL});
}
