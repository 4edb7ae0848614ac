/* SPDX-License-Identifier: Apache-2.0
 * The vector slots of exn_f32_vector as plain float loops, one element after another: what t_vector.c compares with. */
#ifndef EXN_TESTS_KCHECK_VECTOR_MODEL_H
#define EXN_TESTS_KCHECK_VECTOR_MODEL_H

#include "kernels/kernel_set.h"

#define KC_ARRAYS 4u
#define KC_TAPS_MAX 13u

/* One call of one slot. Arrays are numbered in the order of the slot's own parameters. */
typedef struct kc_vector_args {
    const exn_f32_vector *vector; /* under test */
    const exn_f32_vector *exact;  /* gives exp, log and tanh, one element a call */
    bool fused;                   /* fma, or multiply, round, add */
    size_t n, rows, kw;           /* rows: also taps and pixels */
    int which;                    /* exn_activation, exn_binary or exn_reduction */
    size_t a_step, b_step;
    ptrdiff_t pitch, tap_pitch;
    bool accumulate;
    float p[7];
    float *array[KC_ARRAYS];
    const float *tap[KC_TAPS_MAX];
    float result;
} kc_vector_args;

typedef struct kc_vector_slot {
    const char *name;
    int whiches;     /* values of `which` to try */
    size_t arrays;   /* used of array[] */
    int in_place[2]; /* arrays that may be one and the same, -1: none */
    void (*counts)(size_t count[KC_ARRAYS], const kc_vector_args *args);
    void (*call)(kc_vector_args *args);
    void (*model)(kc_vector_args *args);
} kc_vector_slot;

extern const kc_vector_slot kc_vector_slots[];
extern const size_t kc_vector_slot_count;

#endif
