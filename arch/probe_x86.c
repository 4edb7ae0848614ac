/* SPDX-License-Identifier: Apache-2.0
 * Reads CPUID and XCR0 of the x86 CPU this runs on. */
#include "arch/cpu.h"

#include <cpuid.h>

/* Legal only where CPUID says OSXSAVE. The instruction is spelled out because its intrinsic needs an ISA flag. */
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

uint32_t exn_cpu_detect(void) {
    exn_x86_record record = {0};
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) record.leaf1_ecx = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) record.leaf7_ebx = ebx;
    if (record.leaf1_ecx & bit_OSXSAVE) record.xcr0 = read_xcr0();
    return exn_cpu_from_x86(&record);
}
