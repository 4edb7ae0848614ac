/* SPDX-License-Identifier: Apache-2.0
 * How micro-kernels keep arrays of accumulators in registers: inlining and unrolling of constant loops. */
#ifndef EXN_KERNELS_UNROLL_H
#define EXN_KERNELS_UNROLL_H

#define EXN_INLINE static inline __attribute__((always_inline))
/* Before a loop whose bounds are constants after inlining. Clang turns arrays into registers only after full unrolling. */
#ifdef __clang__
#define EXN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EXN_UNROLL _Pragma("GCC unroll 32")
#endif

#endif
