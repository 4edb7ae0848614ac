/* SPDX-License-Identifier: Apache-2.0
 * AArch64: Advanced SIMD and fused multiply-add are part of the base architecture; the kernel knows of more. */
#include "arch/cpu.h"

#include <sys/auxv.h>

/* Linux: SVE, whose state it saves. */
#define HWCAP_SVE_BIT (1ul << 22)

uint32_t exn_cpu_detect(void) {
    const uint32_t base = EXN_CPU_FMA | EXN_CPU_NEON;
    return getauxval(AT_HWCAP) & HWCAP_SVE_BIT ? base | EXN_CPU_SVE : base;
}
