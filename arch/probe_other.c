/* SPDX-License-Identifier: Apache-2.0
 * Any other CPU: only what the compiler may assume everywhere. */
#include "arch/cpu.h"

uint32_t exn_cpu_detect(void) {
#ifdef __FP_FAST_FMAF
    return EXN_CPU_FMA;
#else
    return 0;
#endif
}
