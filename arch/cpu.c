/* SPDX-License-Identifier: Apache-2.0
 * From what an x86 CPU and its operating system report to the levels that kernel sets need. */
#include "arch/cpu.h"

#include <stdbool.h>

enum {
    LEAF1_FMA = 1u << 12,
    LEAF1_SSE4_1 = 1u << 19,
    LEAF1_OSXSAVE = 1u << 27,
    LEAF1_AVX = 1u << 28,
    LEAF7_AVX2 = 1u << 5,
    XCR0_YMM = 0x6,  /* XMM and upper YMM halves */
    XCR0_ZMM = 0xe6, /* and mask registers, upper ZMM halves, ZMM16..31 */
};
/* F, DQ, BW, VL. */
#define LEAF7_AVX512 ((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31))

static bool has_all(uint64_t value, uint64_t bits) {
    return (value & bits) == bits;
}

uint32_t exn_cpu_from_x86(const exn_x86_record *record) {
    uint32_t cpu = has_all(record->leaf1_ecx, LEAF1_SSE4_1) ? EXN_CPU_SSE4 : 0;
    /* Without OSXSAVE there is no XCR0 to read; without its bits a context switch would lose the registers. */
    if (!has_all(record->leaf1_ecx, LEAF1_OSXSAVE | LEAF1_AVX | LEAF1_FMA)) return cpu;
    if (!has_all(record->xcr0, XCR0_YMM)) return cpu;
    cpu |= EXN_CPU_FMA;
    if (!has_all(record->leaf7_ebx, LEAF7_AVX2)) return cpu;
    cpu |= EXN_CPU_AVX2;
    if (!has_all(record->leaf7_ebx, LEAF7_AVX512)) return cpu;
    if (!has_all(record->xcr0, XCR0_ZMM)) return cpu;
    return cpu | EXN_CPU_AVX512;
}
