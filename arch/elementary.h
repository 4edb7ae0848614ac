/* SPDX-License-Identifier: Apache-2.0
 * exp, log and tanh of vectors (kernels/vec.md): SLEEF's, or kernels/elementary.h lane by lane in builds without it. For
 * the end of a vec.h, after exn_vec_load and exn_vec_store. */
#ifndef EXN_ARCH_ELEMENTARY_H
#define EXN_ARCH_ELEMENTARY_H

#include <stddef.h>

/* Defines exn_vec_NAME by calling `function`, from float to float, on each lane. */
#define EXN_VEC_BY_LANES(name, function)                                                                               \
    static inline exn_vec exn_vec_##name(exn_vec x) {                                                                  \
        float lane[EXN_VEC_LANES_MAX];                                                                                 \
        exn_vec_store(lane, x);                                                                                        \
        for (size_t i = 0; i < exn_vec_lanes(); i++) lane[i] = function(lane[i]);                                      \
        return exn_vec_load(lane);                                                                                     \
    }
/* Lanes that exn_vec_lanes() may give. */
#ifndef EXN_VEC_LANES_MAX
#define EXN_VEC_LANES_MAX EXN_VEC_LANES
#endif

#if EXN_HAVE_SLEEF
#include <math.h>
/* SLEEF declares its functions with fused multiply-add where <math.h> defined this macro before: GCC's does with -mfma,
 * Clang's does not. */
#if defined(__FMA__) && !defined(FP_FAST_FMA)
#define FP_FAST_FMA
#define FP_FAST_FMAF
#endif
#include <sleef.h>
/* exn_vec_NAME (exp, log or tanh) is SLEEF's `function` from vector to vector. */
#define EXN_VEC_ELEMENTARY(name, function)                                                                             \
    static inline exn_vec exn_vec_##name(exn_vec x) {                                                                  \
        return function(x);                                                                                            \
    }
/* The same where SLEEF has none for these vectors: its `function` from float to float. */
#define EXN_VEC_ELEMENTARY_LANES(name, function) EXN_VEC_BY_LANES(name, function)
#else
#include "kernels/elementary.h"
#define EXN_VEC_ELEMENTARY(name, function) EXN_VEC_BY_LANES(name, exn_elementary_##name)
#define EXN_VEC_ELEMENTARY_LANES(name, function) EXN_VEC_BY_LANES(name, exn_elementary_##name)
#endif

#endif
