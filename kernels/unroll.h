/* SPDX-License-Identifier: Apache-2.0
 * How micro-kernels keep arrays of accumulators in registers: inlining, unrolling of constant loops (and of no others),
 * less reuse of addresses. */
#ifndef EXN_KERNELS_UNROLL_H
#define EXN_KERNELS_UNROLL_H

#define EXN_INLINE static inline __attribute__((always_inline))
/* Before a loop whose bounds are constants after inlining. Clang turns arrays into registers only after full unrolling. */
#ifdef __clang__
#define EXN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EXN_UNROLL _Pragma("GCC unroll 32")
#endif

/* Before a loop that shall stay one, because its body is long. */
#ifdef __clang__
#define EXN_ROLL _Pragma("clang loop unroll(disable)")
#else
#define EXN_ROLL _Pragma("GCC unroll 1")
#endif

/* Hides where an integer or pointer came from, so that nothing computed from it before stays in a register for later. */
#define EXN_FORGET(value) __asm__("" : "+r"(value))

#endif
