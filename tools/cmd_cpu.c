/* SPDX-License-Identifier: Apache-2.0
 * exeunt cpu: what this machine offers and which kernels that means. */
#include <stdio.h>
#include <unistd.h>

#include "arch/cpu.h"
#include "arch/select.h"
#include "tools/peak.h"
#include "tools/report.h"

static const struct {
    uint32_t bit;
    const char *name;
} levels[] = {
#define EXN_LEVEL(symbol, bit, name) {EXN_CPU_##symbol, name},
#include "arch/levels.inc"
#undef EXN_LEVEL
};

static const struct {
    int key;
    const char *name;
} caches[] = {{_SC_LEVEL1_DCACHE_SIZE, "l1d"}, {_SC_LEVEL2_CACHE_SIZE, "l2"}, {_SC_LEVEL3_CACHE_SIZE, "l3"}};

enum { LEVELS = sizeof levels / sizeof levels[0], CACHES = sizeof caches / sizeof caches[0] };

static size_t cache_bytes(size_t which) {
    const long bytes = sysconf(caches[which].key);
    return bytes > 0 ? (size_t)bytes : 0;
}

static exn_status print_json(exn_tool *tool, const exn_kernel_set *kernels, uint32_t cpu, double peak) {
    json_t *report = exn_report_create("cpu"), *list = json_array(), *sets = json_array(), *slots = json_object(),
           *sizes = json_object(), *tiles = json_array(), *winograds = json_array();
    for (size_t i = 0; i < LEVELS; i++)
        if (cpu & levels[i].bit) json_array_append_new(list, json_string(levels[i].name));
    size_t count = 0;
    const exn_kernel_set *const *compiled = exn_kernels_compiled(&count);
    for (size_t i = 0; i < count; i++) json_array_append_new(sets, json_string(compiled[i]->name));
    for (size_t i = 0; i < EXN_GEMM_TILES && kernels->f32_gemm[i].run != NULL; i++)
        json_array_append_new(tiles, json_string(kernels->f32_gemm[i].name));
    json_object_set_new(slots, "f32_gemm", tiles);
    exn_report_text(slots, "f32_dwconv", kernels->f32_dwconv.name);
    for (size_t i = 0; i < EXN_WINOGRADS; i++)
        json_array_append_new(winograds, json_string(kernels->f32_winograd[i].name));
    json_object_set_new(slots, "f32_winograd", winograds);
    exn_report_text(slots, "f32_vector", kernels->f32_vector.name);
    for (size_t i = 0; i < CACHES; i++) exn_report_count(sizes, caches[i].name, cache_bytes(i));
    json_object_set_new(report, "levels", list);
    json_object_set_new(report, "sets_compiled", sets);
    exn_report_text(report, "isa", kernels->name);
    json_object_set_new(report, "slots", slots);
    json_object_set_new(report, "cache_bytes", sizes);
    exn_report_count(report, "processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    exn_report_real(report, "peak_gflops", peak);
    return exn_report_print(report, tool, false);
}

static void print_text(const exn_kernel_set *kernels, uint32_t cpu, double peak) {
    printf("levels      ");
    for (size_t i = 0; i < LEVELS; i++)
        if (cpu & levels[i].bit) printf(" %s", levels[i].name);
    size_t count = 0;
    const exn_kernel_set *const *compiled = exn_kernels_compiled(&count);
    printf("\nsets here   ");
    for (size_t i = 0; i < count; i++)
        if ((compiled[i]->needs & ~cpu) == 0) printf(" %s", compiled[i]->name);
    printf("\nkernel set   %s\n", kernels->name);
    for (size_t i = 0; i < EXN_GEMM_TILES && kernels->f32_gemm[i].run != NULL; i++)
        printf("  gemm       %s\n", kernels->f32_gemm[i].name);
    printf("  depthwise  %s\n", kernels->f32_dwconv.name);
    for (size_t i = 0; i < EXN_WINOGRADS; i++) printf("  winograd   %s\n", kernels->f32_winograd[i].name);
    printf("  vector     %s\n", kernels->f32_vector.name);
    for (size_t i = 0; i < CACHES; i++)
        if (cache_bytes(i) > 0) printf("cache %-6s %zu KiB\n", caches[i].name, cache_bytes(i) / 1024);
    printf("peak         %.1f GFLOP/s a thread, measured\n", peak);
}

static exn_status run(exn_tool *tool) {
    exn_kernel_set kernels;
    EXN_TRY(exn_kernels_for_context(&kernels, tool->ctx));
    double peak = 0.0;
    EXN_TRY(exn_peak_gflops(&peak, tool->ctx, &kernels));
    const uint32_t cpu = exn_cpu_detect();
    if (tool->json) return print_json(tool, &kernels, cpu, peak);
    print_text(&kernels, cpu, peak);
    return EXN_OK;
}

static const exn_option options[] = {EXN_COMMON_OPTIONS};

const exn_command exn_command_cpu = {
    .name = "cpu",
    .operands = "",
    .brief = "instruction sets, kernels and measured peak of this machine",
    .help = "Prints the instruction-set levels found, the kernel sets they allow in the order in which they are "
            "overlaid, the\n"
            "kernel chosen for every slot, cache sizes, and the peak rate\n"
            "of fused multiply-adds as measured now on one thread.\n\nExample: exeunt cpu --isa avx2",
    .options = options,
    .run = run};
