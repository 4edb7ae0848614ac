/* SPDX-License-Identifier: Apache-2.0
 * The verbs of kcheck: subject, test, case, place, fill, call, same, near, bench. */
#ifndef EXN_TESTS_KCHECK_H
#define EXN_TESTS_KCHECK_H

#include <stdio.h>

#include "core/rng.h"
#include "kernels/conv.h"
#include "kernels/kernel_set.h"

/* ---- Options, main.c ---- */
#define KC_SETS_MAX 16u
typedef struct kc_options {
    uint64_t seed;
    size_t repeat;      /* rounds, each with the next seed */
    const char *set;    /* only this set, NULL: all that the CPU has */
    const char *fn;     /* glob over "kernel" or "kernel/test", NULL: all */
    const char *golden; /* file of hashes to check, NULL: none */
    bool quick;         /* a tenth of the shapes: for emulators */
    bool bench, sweep, json, write_golden;
    double duration; /* seconds a benchmark spends on one shape */
} kc_options;
extern kc_options kc_opt;

/* ---- What is being tested, report.c ----
 * A subject is one kernel of one set; its tests are named after the clauses of kernel_set.h; a case is one call. */
typedef struct kc_subject {
    const exn_kernel_set *set; /* NULL: the generic specification itself */
    const char *kernel;
} kc_subject;
typedef void kc_describe_fn(char *text, size_t bytes, const void *argument);

/* False where --set or --fn leave the subject out. Ends the one before. */
bool kc_subject_begin(const exn_kernel_set *set, const char *kernel);
/* True where results must equal generic bit for bit; false where an error bound holds (generic itself, sets without fma). */
bool kc_subject_fused(void);
/* False where --fn leaves the test out. */
bool kc_test(const char *name);
/* One more case; `describe` turns its argument into text if it fails. */
void kc_case(kc_describe_fn *describe, const void *argument);
/* The random numbers of the current case: they depend on seed, test and case, never on the set. */
exn_rng *kc_rng(void);
void kc_fail(const char *format, ...) EXN_PRINTF(1, 2);
/* A set, or anything else, that cannot run here: one line, counted. */
void kc_skip(const char *format, ...) EXN_PRINTF(1, 2);
/* Ends the last subject and prints the sum. Returns the process's exit status. */
int kc_report(void);

/* ---- Calling, shield.c ---- */
#define KC_HANG_SECONDS 120u /* an alarm set by kc_test */
/* Runs thunk(argument); a signal or a changed floating-point environment fails the case (K7). True if it returned. */
bool kc_call(void (*thunk)(void *), void *argument);
void kc_shield_install(void);

/* ---- Operands, buffers.c ---- */
typedef enum kc_side { KC_RIGHT, KC_LEFT, KC_SIDES } kc_side; /* which edge touches the forbidden page */
typedef enum kc_operand { KC_A, KC_B, KC_C, KC_BIAS, KC_RESIDUAL, KC_EXTRA, KC_TABLE, KC_OPERANDS } kc_operand;
/* `count` floats, `shift` floats away from the edge (0: flush). Contents are what was left there. */
float *kc_place(kc_operand which, size_t count, kc_side side, size_t shift);
/* Scratch without guard pages, kept for the process; index < KC_SCRATCHES, each use of one index replaces the last. */
#define KC_SCRATCHES 8u
void *kc_scratch(size_t index, size_t bytes);
/* "3 bytes beyond b" for an address in a forbidden page. */
void kc_locate(char *text, size_t bytes, const void *address);

/* ---- Data and comparison, compare.c ---- */
typedef enum kc_mode { KC_INTEGERS, KC_UNIFORM, KC_ADVERSARIAL, KC_MODES } kc_mode;
const char *kc_mode_name(kc_mode mode);
void kc_fill(float *x, size_t count, kc_mode mode);
/* All elements become a quiet NaN with a payload that arithmetic does not produce. */
void kc_poison(float *x, size_t count);
/* Same bits, or both NaN where `nan_is_nan`. */
bool kc_same_value(float a, float b, bool nan_is_nan);
/* Fails the case at the first of n elements that differs; all NaN count as one. */
bool kc_same(const char *what, const float *got, const float *want, size_t n);
/* Fails the case where |got - want| > terms * 2^-24 * magnitude, or where NaN and Inf do not match. */
bool kc_near(const char *what, const float *got, const double *want, const double *magnitude, double terms, size_t n);
/* Distance in units of the last place of `want` rounded to float. */
double kc_ulps(float got, double want);
uint64_t kc_hash(uint64_t hash, const void *bytes, size_t count); /* FNV-1a; start with KC_HASH_START */
#define KC_HASH_START UINT64_C(0xcbf29ce484222325)
bool kc_glob(const char *pattern, const char *text); /* * and ? */

/* ---- Double precision, oracle.c: naive loops, no cleverness. want[] and magnitude[] are dense. ---- */
typedef struct kc_gemm_args {
    size_t m, n, k, segments;
    const float *a;
    ptrdiff_t a_row, a_col, a_segment;
    const float *b;
    ptrdiff_t b_row;
    float *c;
    ptrdiff_t c_row;
    exn_epilogue e;
} kc_gemm_args;
void kc_oracle_gemm(double *want, double *magnitude, const kc_gemm_args *g);
void kc_oracle_dwconv(double *want, double *magnitude, const exn_dwconv_rows *work, size_t panel);
/* weight OIHW, scale and bias as in exn_conv_pack; residual laid out as the output. */
void kc_oracle_conv(double *want, double *magnitude, const exn_conv_shape *s, const float *in, const float *weight,
                    const float *scale, const float *bias, const float *residual);
double kc_oracle_activation(exn_activation act, double x, double lo, double hi);

/* ---- Time, timer.c ---- */
typedef struct kc_timing {
    double min_ns, median_ns;
    size_t calls;
} kc_timing;
kc_timing kc_measure(void (*thunk)(void *), void *argument, double seconds);

/* ---- The tests ---- */
void kc_test_gemm(const exn_kernel_set *set);     /* NULL: generic */
void kc_test_dwconv(const exn_kernel_set *set);   /* NULL: generic */
void kc_test_winograd(const exn_kernel_set *set); /* NULL: generic */
void kc_test_vector(const exn_kernel_set *set);   /* NULL: generic */
void kc_test_pack(const exn_kernel_set *set);
void kc_test_driver(const exn_kernel_set *set, exn_context *ctx);
/* pools by thread count, [1] NULL: pooling, softmax, linear layers and the gradients that heads need. */
#define KC_PARTS_MAX 3u
void kc_test_layers(const exn_kernel_set *set, exn_pool *const pools[KC_PARTS_MAX + 1]);
/* Over complete sets of this CPU: one hash an operation for those that fuse, one for those that round. */
void kc_test_consistency(const exn_kernel_set *sets, size_t count);
/* scalar: what every row's ratio refers to. */
void kc_bench(const exn_kernel_set *sets, size_t count, const exn_kernel_set *scalar);

#endif
