/* SPDX-License-Identifier: Apache-2.0
 * AArch64: Advanced SIMD and fused multiply-add are part of the base architecture. */
#include "arch/cpu.h"

uint32_t exn_cpu_detect(void) {
    return EXN_CPU_FMA | EXN_CPU_NEON;
}
