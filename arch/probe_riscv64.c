/* SPDX-License-Identifier: Apache-2.0
 * RISC-V 64: what the kernel says of the extensions that are single letters. */
#include "arch/cpu.h"

#include <sys/auxv.h>

/* Linux sets V for the ratified vectors, 1.0, whose state it saves, and never for the drafts before. */
#define HWCAP_V (1ul << ('V' - 'A'))

uint32_t exn_cpu_detect(void) {
    uint32_t cpu = 0;
#ifdef __riscv_flen /* all of F and D has fused multiply-add */
    cpu |= EXN_CPU_FMA;
#endif
    if (cpu && (getauxval(AT_HWCAP) & HWCAP_V)) cpu |= EXN_CPU_RVV;
    return cpu;
}
