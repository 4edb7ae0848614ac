/* SPDX-License-Identifier: Apache-2.0
 * Overlays the kernel sets of sets.inc into one. */
#include "arch/select.h"

#include "arch/cpu.h"

#include <stdio.h>
#include <string.h>

#define EXN_SET(name) extern const exn_kernel_set exn_kernel_set_##name;
#include "arch/sets.inc"
#undef EXN_SET

static const exn_kernel_set *const compiled[] = {
#define EXN_SET(name) &exn_kernel_set_##name,
#include "arch/sets.inc"
#undef EXN_SET
};
enum { COMPILED = sizeof compiled / sizeof compiled[0] };

/* Room for every name and separators. */
#define NAMES_BYTES 256u

const exn_kernel_set *const *exn_kernels_compiled(size_t *count) {
    *count = COMPILED;
    return compiled;
}

static bool runs_on(const exn_kernel_set *set, uint32_t cpu) {
    return (set->needs & ~cpu) == 0;
}

/* Index of the set named `wanted`, or of the last one that runs (NULL); COMPILED where there is none. */
static size_t find_last(uint32_t cpu, const char *wanted) {
    size_t last = COMPILED;
    for (size_t i = 0; i < COMPILED; i++) {
        if (runs_on(compiled[i], cpu) && (!wanted || strcmp(compiled[i]->name, wanted) == 0)) last = i;
    }
    return last;
}

static exn_status fail_lacking(exn_context *ctx, uint32_t cpu, const char *wanted) {
    char names[NAMES_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < COMPILED && used < sizeof names; i++) {
        if (!runs_on(compiled[i], cpu)) continue;
        const int written = snprintf(names + used, sizeof names - used, " %s", compiled[i]->name);
        if (written > 0) used += (size_t)written;
    }
    return exn_fail(ctx, EXN_E_UNSUPPORTED, "no kernel set \"%s\" here: this machine has%s", wanted ? wanted : "",
                    names);
}

/* Which sets the slots came from; the result is fused only where every slot is. */
typedef struct origin {
    bool gemm, dwconv, winograd, vector;
} origin;

static void overlay(exn_kernel_set *out, origin *fused, const exn_kernel_set *set) {
    if (set->f32_gemm[0].run) {
        memcpy(out->f32_gemm, set->f32_gemm, sizeof out->f32_gemm);
        fused->gemm = set->fused;
    }
    if (set->f32_dwconv.run) {
        out->f32_dwconv = set->f32_dwconv;
        fused->dwconv = set->fused;
    }
    if (set->f32_winograd[0].in) {
        memcpy(out->f32_winograd, set->f32_winograd, sizeof out->f32_winograd);
        fused->winograd = set->fused;
    }
    if (set->f32_vector.activate) {
        out->f32_vector = set->f32_vector;
        fused->vector = set->fused;
    }
    out->name = set->name;
    out->needs |= set->needs;
}

exn_status exn_kernels_select(exn_kernel_set *out, exn_context *ctx, uint32_t cpu, const char *wanted) {
    const size_t last = find_last(cpu, wanted);
    if (last == COMPILED) return fail_lacking(ctx, cpu, wanted);
    exn_kernel_set result = {0};
    origin fused = {0};
    for (size_t i = 0; i <= last; i++) {
        if (runs_on(compiled[i], cpu)) overlay(&result, &fused, compiled[i]);
    }
    result.fused = fused.gemm && fused.dwconv && fused.winograd && fused.vector;
    *out = result;
    return EXN_OK;
}

exn_status exn_kernels_for_context(exn_kernel_set *out, exn_context *ctx) {
    return exn_kernels_select(out, ctx, exn_cpu_detect(), exn_context_cpu(ctx));
}
