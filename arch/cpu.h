/* SPDX-License-Identifier: Apache-2.0
 * What the CPU offers and the operating system lets programs use. */
#ifndef EXN_ARCH_CPU_H
#define EXN_ARCH_CPU_H

#include <stdint.h>

/* Levels, not single instructions: a set needs one of these. One row each. */
enum {
    EXN_CPU_FMA = 1u << 0,    /* scalar fused multiply-add: x86 FMA3 with AVX state saved, or any AArch64 */
    EXN_CPU_AVX2 = 1u << 1,   /* AVX2 and FMA3, YMM state saved by the OS */
    EXN_CPU_AVX512 = 1u << 2, /* AVX-512 F, BW, DQ, VL, ZMM and mask state saved by the OS */
    EXN_CPU_NEON = 1u << 3    /* AArch64 Advanced SIMD */
};

/* Detected anew at each call, without globals. XCR0 is read before CPUID's vector bits are believed. */
uint32_t exn_cpu_detect(void);

#endif
