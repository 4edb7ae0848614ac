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
    EXN_CPU_NEON = 1u << 3,   /* AArch64 Advanced SIMD */
};

/* Detected anew at each call, without globals. XCR0 is read before CPUID's vector bits are believed. Exactly one
 * probe_*.c defines it; the build picks by CPU family. */
uint32_t exn_cpu_detect(void);

/* What an x86 probe reads; zero where the CPU does not have the leaf or register. */
typedef struct exn_x86_record {
    uint32_t leaf1_ecx; /* CPUID 1: FMA, OSXSAVE, AVX */
    uint32_t leaf7_ebx; /* CPUID 7.0: AVX2, AVX-512 F DQ BW VL */
    uint64_t xcr0;      /* XGETBV 0, only where OSXSAVE is set */
} exn_x86_record;

/* EXN_CPU_* levels of such a record. Pure, and built on every machine, so that recorded machines can be tested. */
uint32_t exn_cpu_from_x86(const exn_x86_record *record);

#endif
