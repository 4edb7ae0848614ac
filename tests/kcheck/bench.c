/* SPDX-License-Identifier: Apache-2.0
 * Times drivers over every set on the layers of bench/shapes.inc. */
#include <string.h>

#include "kernels/gemm.h"
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
    exn_gemm gemm;
    const float *packed, *in;
    float *out;
    void *workspace;
} timed_conv;

static void call_conv(void *argument) {
    const timed_conv *t = argument;
    exn_conv_run(&t->conv, t->packed, t->in, t->out, NULL, t->workspace, exn_part_whole());
}

static void call_gemm(void *argument) {
    const timed_conv *t = argument;
    exn_gemm_run(&t->gemm, t->in, t->packed, t->out, NULL, exn_part_whole());
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
    double macs, peak, slowest_ns;
} bench_row;

static void print_row(const bench_row *r, kc_timing t) {
    const double gflops = 2 * r->macs / t.min_ns, ratio = r->slowest_ns / t.min_ns;
    const layer *l = r->layer;
    if (kc_opt.json)
        printf("{\"schema\":\"exeunt.kbench/"
               "1\",\"network\":\"%s\",\"size\":%zu,\"channels\":%zu,\"outputs\":%zu,\"kernel_size\":%zu,"
               "\"stride\":%zu,\"depthwise\":%s,\"set\":\"%s\",\"kernel\":\"%s\",\"min_ns\":%.0f,\"median_ns\":%.0f,"
               "\"gflops\":%.3f,\"peak_fraction\":%.4f,\"ratio_to_first\":%.3f}\n",
               l->network, l->size, l->c, l->oc, l->kernel, l->stride, l->depthwise ? "true" : "false", r->set,
               r->kernel, t.min_ns, t.median_ns, gflops, gflops / r->peak, ratio);
    else
        printf("%-19s %3zu^2 %4zu->%-4zu %zux%zu/%zu %-2s %-10s %-26s %11.0f %11.0f %8.2f %5.1f%% %7.2fx\n", l->network,
               l->size, l->c, l->oc, l->kernel, l->kernel, l->stride, l->depthwise ? "dw" : "", r->set, r->kernel,
               t.min_ns, t.median_ns, gflops, 100 * gflops / r->peak, ratio);
    fflush(stdout);
}

static bool wanted(const char *kernel) {
    return !kc_opt.fn || kc_glob(kc_opt.fn, kernel);
}

/* The driver as inference calls it, with the tile it chose. Its time, 0 where --fn leaves it out. */
static double bench_conv(bench_row row, const exn_kernel_set *set) {
    timed_conv t;
    const exn_conv_shape s = shape_of(row.layer);
    exn_conv_prepare(&t.conv, set, &s, EXN_ACT_CLAMP, 0, 6);
    row.kernel = t.conv.tile ? t.conv.tile->name : t.conv.depthwise->name;
    if (!wanted(row.kernel)) return 0;
    float *packed = kc_scratch(BUFFER_PACKED, t.conv.packed_count * sizeof *packed);
    exn_conv_pack(packed, &t.conv, data(BUFFER_WEIGHT, s.oc * (s.c / s.groups) * s.kh * s.kw), NULL, NULL);
    t.packed = packed, t.in = data(BUFFER_IN, s.h * s.w * s.c), t.out = data(BUFFER_OUT, s.oh * s.ow * s.oc);
    t.workspace = kc_scratch(BUFFER_WORK, t.conv.workspace_bytes);
    const kc_timing timing = kc_measure(call_conv, &t, kc_opt.duration);
    if (row.slowest_ns == 0) row.slowest_ns = timing.min_ns;
    print_row(&row, timing);
    return timing.min_ns;
}

/* A pointwise layer with every other tile of the set: what exn_gemm_choose turned down. */
static void bench_tiles(bench_row row, const exn_kernel_set *set, const exn_f32_gemm *chosen) {
    const layer *l = row.layer;
    const size_t m = l->output * l->output;
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++) {
        const exn_f32_gemm *tile = &set->f32_gemm[i];
        row.kernel = tile->name;
        if (tile->run == chosen->run || !wanted(row.kernel)) continue;
        timed_conv t = {.gemm = {.tile = tile,
                                 .vector = &set->f32_vector,
                                 .m = m,
                                 .n = l->oc,
                                 .k = l->c,
                                 .packed = true,
                                 .a_row = (ptrdiff_t)l->c,
                                 .a_col = 1,
                                 .c_row = (ptrdiff_t)l->oc,
                                 .e = {.activation = EXN_ACT_CLAMP, .lo = 0, .hi = 6}}};
        float *packed = kc_scratch(BUFFER_PACKED, exn_gemm_packed_count(tile, l->oc, l->c) * sizeof *packed);
        exn_gemm_pack(packed, tile, l->oc, l->c, data(BUFFER_WEIGHT, l->oc * l->c), (ptrdiff_t)l->oc, 1, NULL, NULL);
        t.packed = packed, t.in = data(BUFFER_IN, m * l->c), t.out = data(BUFFER_OUT, m * l->oc);
        print_row(&row, kc_measure(call_gemm, &t, kc_opt.duration));
    }
}

static bool is_pointwise(const layer *l) {
    return l->kernel == 1 && l->stride == 1 && !l->depthwise;
}

static void bench_layer(const layer *l, const exn_kernel_set *sets, size_t count, double peak) {
    const exn_conv_shape s = shape_of(l);
    bench_row row = {.layer = l, .macs = (double)exn_conv_macs(&s), .peak = peak};
    for (size_t i = 0; i < count; i++) {
        row.set = sets[i].name;
        const double ns = bench_conv(row, &sets[i]);
        if (row.slowest_ns == 0) row.slowest_ns = ns;
        if (ns == 0 || !is_pointwise(l)) continue;
        exn_conv conv;
        exn_conv_prepare(&conv, &sets[i], &s, EXN_ACT_CLAMP, 0, 6);
        bench_tiles(row, &sets[i], conv.tile);
    }
}

void kc_bench(const exn_kernel_set *sets, size_t count) {
    const double peak = peak_gflops(sets, count);
    if (kc_opt.json)
        printf("{\"schema\":\"exeunt.kbench/1\",\"peak_gflops\":%.3f}\n", peak);
    else
        printf("peak %.1f GFLOP/s: the best base tile on operands in L1, of the sets timed here\n"
               "%-19s %-29s %-10s %-26s %11s %11s %8s %6s %8s\n",
               peak, "network", "layer", "set", "kernel", "min ns", "median ns", "GFLOP/s", "peak", "to first");
    for (size_t i = 0; i < LAYERS; i++) bench_layer(&layers[i], sets, count, peak);
}
