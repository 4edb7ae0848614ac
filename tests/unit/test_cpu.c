/* SPDX-License-Identifier: Apache-2.0
 * CPU levels of recorded machines, and the overlay of kernel sets. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "tests/unit/unit.h"

#include <string.h>

/* Registers read on such machines; the levels are what their kernels may use. */
static const struct machine {
    const char *name;
    exn_x86_record record;
    uint32_t cpu;
} machines[] = {
    {"Merom: nothing", {0x0000e3bd, 0, 0}, 0},
    {"Westmere: no AVX, no OSXSAVE", {0x02bee3ff, 0, 0}, EXN_CPU_SSE4},
    {"Sandy Bridge: AVX without FMA", {0x1fbae3ff, 0, 0x7}, EXN_CPU_SSE4},
    {"Piledriver: FMA without AVX2", {0x3e98320b, 0x8, 0x7}, EXN_CPU_SSE4 | EXN_CPU_FMA},
    {"Haswell", {0x7ffafbff, 0x27ab, 0x7}, EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2},
    {"Haswell, AVX state not saved", {0x7ffafbff, 0x27ab, 0x3}, EXN_CPU_SSE4},
    {"Haswell, OS without XSAVE", {0x77fafbff, 0x27ab, 0}, EXN_CPU_SSE4},
    {"Knights Landing: AVX-512 F without BW, DQ, VL",
     {0x7ff8f3bf, 0x1c0d23ab, 0xe7},
     EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2},
    {"Skylake server", {0x7ffefbff, 0xd39ffffb, 0xe7}, EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2 | EXN_CPU_AVX512},
    {"Skylake server, ZMM state not saved", {0x7ffefbff, 0xd39ffffb, 0x7}, EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2},
    {"Skylake server, mask registers only", {0x7ffefbff, 0xd39ffffb, 0x27}, EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2},
    {"Zen 4", {0x7efa320b, 0xf1bf97a9, 0x2e7}, EXN_CPU_SSE4 | EXN_CPU_FMA | EXN_CPU_AVX2 | EXN_CPU_AVX512},
};

START_TEST(recorded_machines) {
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        const struct machine *m = &machines[i];
        const uint32_t cpu = exn_cpu_from_x86(&m->record);
        ck_assert_msg(cpu == m->cpu, "%s: levels %#x, not %#x", m->name, cpu, m->cpu);
    }
}
END_TEST

/* Every set compiled in is reachable by name on a CPU that has all it needs, and fills every slot. */
START_TEST(every_set_is_whole) {
    size_t count;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&count);
    exn_context *ctx = unit_context();
    ck_assert_uint_ge(count, 1);
    for (size_t i = 0; i < count; i++) {
        exn_kernel_set set;
        unit_assert_ok(ctx, exn_kernels_select(&set, ctx, UINT32_MAX, sets[i]->name));
        ck_assert_str_eq(set.name, sets[i]->name);
        ck_assert(set.f32_gemm[0].run && set.f32_dwconv.run && set.f32_winograd[0].in && set.f32_vector.activate);
        ck_assert_msg(set.fused == sets[i]->fused, "%s is%s fused", set.name, set.fused ? "" : " not");
        for (size_t t = 0; t < EXN_GEMM_TILES && set.f32_gemm[t].run; t++) {
            ck_assert_uint_le(set.f32_gemm[t].mr, EXN_MR_MAX);
            ck_assert_uint_le(set.f32_gemm[t].nr, EXN_NR_MAX);
        }
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(without_any_level_scalar_is_left) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, 0, NULL));
    ck_assert_str_eq(set.name, "scalar");
    ck_assert(!set.fused);
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, EXN_CPU_FMA, NULL));
    ck_assert_str_eq(set.name, "scalar_fma");
    ck_assert(set.fused);
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, UINT32_MAX, "scalar"));
    ck_assert_str_eq(set.name, "scalar");
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(unknown_and_lacking_sets_are_named) {
    exn_context *ctx = unit_context();
    exn_kernel_set set = {.name = "untouched"};
    unit_assert_fails(ctx, exn_kernels_select(&set, ctx, EXN_CPU_FMA, "mmx"), EXN_E_UNSUPPORTED, "\"mmx\"");
    ck_assert_ptr_nonnull(strstr(exn_context_error(ctx), "has scalar "));
    ck_assert_ptr_nonnull(strstr(exn_context_error(ctx), " scalar_fma"));
    unit_assert_fails(ctx, exn_kernels_select(&set, ctx, 0, "scalar_fma"), EXN_E_UNSUPPORTED, "has scalar");
    ck_assert_ptr_null(strstr(exn_context_error(ctx), " scalar_fma"));
    ck_assert_str_eq(set.name, "untouched");
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(context_decides) {
    exn_context_options options = {.struct_size = sizeof options, .cpu = "scalar"};
    exn_context *ctx;
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    ck_assert_str_eq(set.name, "scalar");
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("cpu",
                    (const TTest *const[]){recorded_machines, every_set_is_whole, without_any_level_scalar_is_left,
                                           unknown_and_lacking_sets_are_named, context_decides, NULL});
}
