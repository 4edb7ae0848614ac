/* SPDX-License-Identifier: Apache-2.0
 * What the CPU offers and the operating system lets programs use. */
#ifndef EXN_ARCH_CPU_H
#define EXN_ARCH_CPU_H

#include <stdint.h>

/* EXN_CPU_FMA and so on: the levels of levels.inc. */
enum {
#define EXN_LEVEL(symbol, bit, name) EXN_CPU_##symbol = 1u << (bit),
#include "arch/levels.inc"
#undef EXN_LEVEL
};

/* Detected anew at each call, without globals. XCR0 is read before CPUID's vector bits are believed. Exactly one
 * probe_FAMILY.c defines it, or probe_other.c. */
uint32_t exn_cpu_detect(void);

/* What an x86 probe reads; zero where the CPU does not have the leaf or register. */
typedef struct exn_x86_record {
    uint32_t leaf1_ecx; /* CPUID 1: SSE4.1, FMA, OSXSAVE, AVX */
    uint32_t leaf7_ebx; /* CPUID 7.0: AVX2, AVX-512 F DQ BW VL */
    uint64_t xcr0;      /* XGETBV 0, only where OSXSAVE is set */
} exn_x86_record;

/* EXN_CPU_* levels of such a record. Pure, and built on every machine, so that recorded machines can be tested. */
uint32_t exn_cpu_from_x86(const exn_x86_record *record);

#endif
