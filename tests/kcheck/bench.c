/* SPDX-License-Identifier: Apache-2.0
 * Times drivers over every set on the layers of bench/shapes.inc. */
#include <string.h>

#include "kernels/conv.h"
#include "tests/kcheck/kcheck.h"

typedef struct layer {
    const char *network;
    size_t size, c, oc, kernel, stride, padding, output;
    bool depthwise;
} layer;

static const layer layers[] = {
#define EXN_LAYER(network, size, c, oc, kernel, stride, padding, output, depthwise)                                    \
    {network, size, c, oc, kernel, stride, padding, output, depthwise},
#include "bench/shapes.inc"
#undef EXN_LAYER
};
enum { LAYERS = sizeof layers / sizeof *layers };

enum { BUFFER_IN, BUFFER_OUT, BUFFER_WEIGHT, BUFFER_PACKED, BUFFER_WORK };

typedef struct timed_conv {
    exn_conv conv;
    const float *packed, *in;
    float *out;
    void *workspace;
} timed_conv;

static void call_conv(void *argument) {
    const timed_conv *t = argument;
    exn_conv_run(&t->conv, t->packed, t->in, t->out, NULL, t->workspace, exn_part_whole());
}

static exn_conv_shape shape_of(const layer *l) {
    return (exn_conv_shape){.n = 1,
                            .h = l->size,
                            .w = l->size,
                            .c = l->c,
                            .oh = l->output,
                            .ow = l->output,
                            .oc = l->oc,
                            .kh = l->kernel,
                            .kw = l->kernel,
                            .stride_h = l->stride,
                            .stride_w = l->stride,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .pad_top = l->padding,
                            .pad_left = l->padding,
                            .groups = l->depthwise ? l->c : 1};
}

static float *data(size_t buffer, size_t count) {
    float *x = kc_scratch(buffer, count * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = (float)(i % 17) * 0.0625f - 0.5f;
    return x;
}

/* ---- The peak: the set's own base micro-kernel on one full tile that stays in L1. ---- */
typedef struct peak_tile {
    const exn_f32_gemm *tile;
    const float *a, *b;
    float *c;
    exn_epilogue e;
} peak_tile;

/* Deep enough to hide the epilogue, and a and b within 16 KB together. */
static size_t peak_depth(const exn_f32_gemm *tile) {
    return 4096u / (tile->mr + tile->nr);
}

static void call_tile(void *argument) {
    const peak_tile *p = argument;
    const size_t nr = p->tile->nr, k = peak_depth(p->tile);
    p->tile->run(p->tile->mr, nr, k, 1, p->a, (ptrdiff_t)k, 1, 0, p->b, (ptrdiff_t)nr, p->c, (ptrdiff_t)nr, &p->e);
}

static double tile_gflops(const exn_f32_gemm *tile) {
    const size_t k = peak_depth(tile);
    peak_tile p = {.tile = tile,
                   .a = data(BUFFER_IN, tile->mr * k),
                   .b = data(BUFFER_WEIGHT, tile->nr * k),
                   .c = data(BUFFER_OUT, (size_t)tile->mr * tile->nr)};
    return 2.0 * (double)(tile->mr * tile->nr * k) / kc_measure(call_tile, &p, kc_opt.duration).min_ns;
}

/* Of any set, so that a slow set is held to what the CPU can do, not to its own best. */
static double peak_gflops(const exn_kernel_set *sets, size_t count) {
    double best = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < EXN_GEMM_TILES && sets[i].f32_gemm[t].run; t++) {
            const double gflops = tile_gflops(&sets[i].f32_gemm[t]);
            if (gflops > best) best = gflops;
        }
    return best;
}

/* ---- One row ---- */
typedef struct bench_row {
    const layer *layer;
    const char *set, *kernel;
    double macs, peak, scalar_ns; /* scalar_ns 0: unknown */
    bool chosen;                  /* false: what exn_gemm_choose turned down */
} bench_row;

static void print_row(const bench_row *r, kc_timing t) {
    const double gflops = 2 * r->macs / t.min_ns, ratio = r->scalar_ns / t.min_ns;
    const layer *l = r->layer;
    if (kc_opt.json)
        printf("{\"schema\":\"exeunt.kbench/"
               "1\",\"network\":\"%s\",\"size\":%zu,\"channels\":%zu,\"outputs\":%zu,\"kernel_size\":%zu,"
               "\"stride\":%zu,\"depthwise\":%s,\"set\":\"%s\",\"kernel\":\"%s\",\"chosen\":%s,\"min_ns\":%.0f,"
               "\"median_ns\":%.0f,\"gflops\":%.3f,\"peak_fraction\":%.4f,\"ratio_to_scalar\":%.3f}\n",
               l->network, l->size, l->c, l->oc, l->kernel, l->stride, l->depthwise ? "true" : "false", r->set,
               r->kernel, r->chosen ? "true" : "false", t.min_ns, t.median_ns, gflops, gflops / r->peak, ratio);
    else
        printf("%-19s %3zu^2 %4zu->%-4zu %zux%zu/%zu %-2s %-10s %c %-26s %11.0f %11.0f %8.2f %5.1f%% %7.2fx\n",
               l->network, l->size, l->c, l->oc, l->kernel, l->kernel, l->stride, l->depthwise ? "dw" : "", r->set,
               r->chosen ? ' ' : '-', r->kernel, t.min_ns, t.median_ns, gflops, 100 * gflops / r->peak, ratio);
    fflush(stdout);
}

static const char *kernel_of(const exn_conv *conv) {
    return conv->winograd ? conv->winograd->name : conv->tile ? conv->tile->name : conv->depthwise->name;
}

/* The driver as inference calls it. */
static kc_timing time_conv(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    timed_conv t = {.conv = *conv};
    float *packed = kc_scratch(BUFFER_PACKED, conv->packed_count * sizeof *packed);
    exn_conv_pack(packed, conv, data(BUFFER_WEIGHT, s->oc * (s->c / s->groups) * s->kh * s->kw), NULL, NULL);
    t.packed = packed, t.in = data(BUFFER_IN, s->h * s->w * s->c), t.out = data(BUFFER_OUT, s->oh * s->ow * s->oc);
    t.workspace = kc_scratch(BUFFER_WORK, conv->workspace_bytes);
    return kc_measure(call_conv, &t, kc_opt.duration);
}

static exn_conv prepared(const layer *l, const exn_kernel_set *set) {
    const exn_conv_shape s = shape_of(l);
    exn_conv conv;
    exn_conv_prepare(&conv, set, &s, EXN_ACT_CLAMP, 0, 6);
    return conv;
}

/* What a sweep adds up for one set. */
typedef struct sweep_sum {
    double chosen_ns, best_ns;
    size_t layers, beaten; /* beaten: another tile took 3 % less */
} sweep_sum;

/* The set with one tile only: what it would do if it had no other. */
static exn_kernel_set with_tile(const exn_kernel_set *set, size_t tile) {
    exn_kernel_set one = *set;
    memset(one.f32_gemm, 0, sizeof one.f32_gemm);
    one.f32_gemm[0] = set->f32_gemm[tile];
    return one;
}

static void sweep_tiles(sweep_sum *sum, bench_row row, const exn_kernel_set *set, double chosen_ns) {
    const char *const chosen = row.kernel;
    double best = chosen_ns;
    row.chosen = false;
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++) {
        row.kernel = set->f32_gemm[i].name;
        if (strcmp(row.kernel, chosen) == 0) continue;
        const exn_kernel_set one = with_tile(set, i);
        const exn_conv conv = prepared(row.layer, &one);
        const kc_timing timing = time_conv(&conv);
        print_row(&row, timing);
        if (timing.min_ns < best) best = timing.min_ns;
    }
    sum->layers++;
    sum->chosen_ns += chosen_ns;
    sum->best_ns += best;
    sum->beaten += best < 0.97 * chosen_ns;
}

static bool wanted(const char *kernel) {
    return !kc_opt.fn || kc_glob(kc_opt.fn, kernel);
}

/* What the fast arithmetic may take instead; the rate counts the multiplications of the direct way. */
static void bench_winograd(bench_row row, const exn_kernel_set *set) {
    const exn_conv_shape s = shape_of(row.layer);
    for (size_t outputs = 2; outputs <= 4 && exn_conv_takes_winograd(&s); outputs += 2) {
        exn_conv conv;
        exn_conv_prepare_winograd(&conv, set, &s, outputs, EXN_ACT_CLAMP, 0, 6);
        row.kernel = kernel_of(&conv), row.chosen = false;
        if (wanted(row.kernel)) print_row(&row, time_conv(&conv));
    }
}

static void bench_layer(sweep_sum *sums, bench_row row, const exn_kernel_set *sets, size_t count,
                        const exn_kernel_set *scalar) {
    const exn_conv base = prepared(row.layer, scalar);
    row.macs = (double)exn_conv_macs(&base.shape);
    for (size_t i = 0; i < count; i++) {
        const exn_conv conv = prepared(row.layer, &sets[i]);
        row.set = sets[i].name, row.kernel = kernel_of(&conv), row.chosen = true;
        const bool direct = wanted(row.kernel);
        const bool fast = wanted(sets[i].f32_winograd[0].name) || wanted(sets[i].f32_winograd[1].name);
        if (!direct && !(fast && exn_conv_takes_winograd(&conv.shape))) continue;
        if (row.scalar_ns == 0) row.scalar_ns = time_conv(&base).min_ns;
        bench_winograd(row, &sets[i]);
        if (!direct) continue;
        const kc_timing timing = time_conv(&conv);
        print_row(&row, timing);
        if (kc_opt.sweep && conv.tile) sweep_tiles(&sums[i], row, &sets[i], timing.min_ns);
    }
}

static void print_sum(const sweep_sum *sum, const char *set) {
    if (sum->layers == 0) return;
    if (kc_opt.json)
        printf("{\"schema\":\"exeunt.kbench/"
               "1\",\"set\":\"%s\",\"swept\":%zu,\"beaten\":%zu,\"chosen_ns\":%.0f,\"best_ns\":%.0f}\n",
               set, sum->layers, sum->beaten, sum->chosen_ns, sum->best_ns);
    else
        printf(
            "%s: the tiles chosen take %.3f ms for the %zu layers above, the best of each %.3f ms; in %zu another tile "
            "takes 3 %% less\n",
            set, sum->chosen_ns * 1e-6, sum->layers, sum->best_ns * 1e-6, sum->beaten);
}

void kc_bench(const exn_kernel_set *sets, size_t count, const exn_kernel_set *scalar) {
    static sweep_sum sums[KC_SETS_MAX];
    const bench_row row = {.peak = peak_gflops(sets, count)};
    if (kc_opt.json)
        printf("{\"schema\":\"exeunt.kbench/1\",\"peak_gflops\":%.3f}\n", row.peak);
    else
        printf("peak %.1f GFLOP/s: the best tile on operands in L1, of the sets timed here\n"
               "%-19s %-29s %-10s   %-26s %11s %11s %8s %6s %8s\n",
               row.peak, "network", "layer", "set", "kernel", "min ns", "median ns", "GFLOP/s", "peak", "scalar/");
    for (size_t i = 0; i < LAYERS; i++) {
        bench_row one = row;
        one.layer = &layers[i];
        bench_layer(sums, one, sets, count, scalar);
    }
    for (size_t i = 0; i < count; i++) print_sum(&sums[i], sets[i].name);
}
