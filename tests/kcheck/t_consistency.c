/* SPDX-License-Identifier: Apache-2.0
 * One hash an operation: equal over every set with fused multiply-add, and over every set without, and equal to the hashes
 * in the tree. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "kernels/backward.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/window.h"
#include "tests/kcheck/kcheck.h"

#define SEED 2026u /* never --seed: the hashes are kept */

enum { BUFFER_IN, BUFFER_OUT, BUFFER_WEIGHT, BUFFER_PACKED, BUFFER_WORK };

/* Uniform floats of a stream of their own. */
static float *fresh(size_t buffer, size_t count) {
    float *x = kc_scratch(buffer, count * sizeof *x);
    *kc_rng() = exn_rng_seed(SEED, buffer * 1000003u + count);
    kc_fill(x, count, KC_UNIFORM);
    return x;
}

static uint64_t hash_floats(const float *x, size_t count) {
    uint64_t hash = KC_HASH_START;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        const unsigned char bytes[4] = {(unsigned char)bits, (unsigned char)(bits >> 8), (unsigned char)(bits >> 16),
                                        (unsigned char)(bits >> 24)};
        hash = kc_hash(hash, bytes, sizeof bytes);
    }
    return hash;
}

/* outputs: of a Winograd tile; 0: the exact algorithm. */
static uint64_t conv_hash(const exn_kernel_set *set, const exn_conv_shape *s, size_t outputs, exn_activation act) {
    exn_conv conv;
    if (outputs)
        exn_conv_prepare_winograd(&conv, set, s, outputs, act, 0, 6);
    else
        exn_conv_prepare(&conv, set, s, act, 0, 6);
    const size_t count = s->n * s->oh * s->ow * s->oc;
    float *in = fresh(BUFFER_IN, s->n * s->h * s->w * s->c);
    float *weight = fresh(BUFFER_WEIGHT, s->oc * (s->c / s->groups) * s->kh * s->kw + 2 * s->oc);
    float *packed = kc_scratch(BUFFER_PACKED, conv.packed_count * sizeof *packed), *out = fresh(BUFFER_OUT, count);
    exn_conv_pack(packed, &conv, weight + 2 * s->oc, weight, weight + s->oc);
    exn_conv_run(&conv, packed, in, out, NULL, kc_scratch(BUFFER_WORK, conv.workspace_bytes), exn_part_whole());
    return hash_floats(out, count);
}

static exn_conv_shape square_shape(size_t size, size_t c, size_t oc, size_t kernel, size_t stride, size_t groups) {
    const size_t pad = kernel / 2, extent = (size + 2 * pad - kernel) / stride + 1;
    return (exn_conv_shape){.n = 1,
                            .h = size,
                            .w = size,
                            .c = c,
                            .oh = extent,
                            .ow = extent,
                            .oc = oc,
                            .kh = kernel,
                            .kw = kernel,
                            .stride_h = stride,
                            .stride_w = stride,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .pad_top = pad,
                            .pad_left = pad,
                            .groups = groups};
}

static uint64_t square_conv(const exn_kernel_set *set, size_t size, size_t c, size_t oc, size_t kernel, size_t stride,
                            size_t groups, exn_activation act) {
    const exn_conv_shape s = square_shape(size, c, oc, kernel, stride, groups);
    return conv_hash(set, &s, 0, act);
}

static uint64_t conv_stem(const exn_kernel_set *set) {
    return square_conv(set, 33, 3, 32, 3, 2, 1, EXN_ACT_CLAMP);
}
static uint64_t conv_pointwise(const exn_kernel_set *set) {
    return square_conv(set, 14, 96, 45, 1, 1, 1, EXN_ACT_NONE);
}
static uint64_t conv_dense3x3(const exn_kernel_set *set) {
    return square_conv(set, 9, 37, 50, 3, 1, 1, EXN_ACT_HARD_SWISH);
}
static uint64_t conv_depthwise3x3(const exn_kernel_set *set) {
    return square_conv(set, 15, 75, 75, 3, 1, 75, EXN_ACT_CLAMP);
}
static uint64_t conv_depthwise5x5(const exn_kernel_set *set) {
    return square_conv(set, 15, 75, 75, 5, 2, 75, EXN_ACT_SILU);
}
static uint64_t conv_grouped(const exn_kernel_set *set) {
    return square_conv(set, 9, 24, 36, 3, 1, 4, EXN_ACT_TANH);
}

static uint64_t winograd_2x2(const exn_kernel_set *set) {
    const exn_conv_shape s = square_shape(9, 37, 130, 3, 1, 1);
    return conv_hash(set, &s, 2, EXN_ACT_HARD_SWISH);
}
static uint64_t winograd_4x4(const exn_kernel_set *set) {
    const exn_conv_shape s = square_shape(15, 37, 50, 3, 1, 1);
    return conv_hash(set, &s, 4, EXN_ACT_CLAMP);
}

static uint64_t gemm_plain(const exn_kernel_set *set) {
    const size_t m = 53, n = 101, k = 777;
    exn_gemm g = {.tile = exn_gemm_choose(set, m, n, k),
                  .vector = &set->f32_vector,
                  .m = m,
                  .n = n,
                  .k = k,
                  .a_row = (ptrdiff_t)k,
                  .a_col = 1,
                  .b_row = (ptrdiff_t)n,
                  .c_row = (ptrdiff_t)n};
    float *c = fresh(BUFFER_OUT, m * n);
    exn_gemm_run(&g, fresh(BUFFER_IN, m * k), fresh(BUFFER_WEIGHT, k * n), c, NULL, exn_part_whole());
    return hash_floats(c, m * n);
}

static uint64_t activations(const exn_kernel_set *set) {
    const size_t n = 4099;
    uint64_t hash = KC_HASH_START;
    for (int act = 0; act < EXN_ACT_COUNT; act++) {
        float *x = fresh(BUFFER_IN, n), *y = fresh(BUFFER_OUT, n);
        for (size_t i = 0; i < n; i++) x[i] = act == EXN_ACT_LOG ? fabsf(x[i]) + 0x1p-30f : 20 * x[i];
        exn_activate(&set->f32_vector, (exn_activation)act, n, x, y, 0.25f, 6.0f, exn_part_whole());
        hash = hash * 31 + hash_floats(y, n);
    }
    return hash;
}

static uint64_t softmax(const exn_kernel_set *set) {
    float *x = fresh(BUFFER_IN, 7 * 1003), *y = fresh(BUFFER_OUT, 7 * 1003);
    exn_softmax(&set->f32_vector, false, 7, 1003, 1, x, y, exn_part_whole());
    const uint64_t plain = hash_floats(y, 7 * 1003);
    exn_softmax(&set->f32_vector, true, 7, 59, 17, x, y, exn_part_whole());
    return plain ^ hash_floats(y, 7 * 1003);
}

static uint64_t reductions(const exn_kernel_set *set) {
    const size_t dims[] = {5, 31, 67};
    const exn_shape shape = exn_shape_of(3, dims);
    float *x = fresh(BUFFER_IN, 5 * 31 * 67), *y = fresh(BUFFER_OUT, 5 * 31 * 67);
    uint64_t hash = KC_HASH_START;
    for (uint32_t axes = 1; axes < 8; axes++) {
        exn_reduce_axes(&set->f32_vector, EXN_REDUCE_MEAN_OF, &shape, axes, x, y, exn_part_whole());
        hash = hash * 31 + hash_floats(y, 5);
    }
    return hash;
}

static uint64_t pooling(const exn_kernel_set *set) {
    const exn_window window = {.kind = EXN_WINDOW_AVERAGE,
                               .adaptive = true,
                               .n = 2,
                               .h = 7,
                               .w = 9,
                               .c = 43,
                               .oh = 4,
                               .ow = 4,
                               .kh = 1,
                               .kw = 1,
                               .stride_h = 1,
                               .stride_w = 1,
                               .dilation_h = 1,
                               .dilation_w = 1};
    float *y = fresh(BUFFER_OUT, 2 * 4 * 4 * 43);
    exn_window_run(&window, &set->f32_vector, fresh(BUFFER_IN, 2 * 7 * 9 * 43), y, exn_part_whole());
    const uint64_t adaptive = hash_floats(y, 2 * 4 * 4 * 43);
    exn_global_pool(EXN_WINDOW_AVERAGE, 2, 63, 43, &set->f32_vector, fresh(BUFFER_IN, 2 * 7 * 9 * 43), y,
                    exn_part_whole());
    return adaptive ^ hash_floats(y, 2 * 43);
}

static uint64_t linear(const exn_kernel_set *set) {
    const size_t m = 9, n = 23, k = 65;
    float *w = fresh(BUFFER_WEIGHT, 2 * n * k + 2 * n), *dw = w + n * k, *b = dw + n * k, *db = b + n;
    float *x = fresh(BUFFER_IN, 2 * m * k), *dx = x + m * k, *y = fresh(BUFFER_OUT, m * n);
    void *work = kc_scratch(BUFFER_WORK, exn_linear_workspace_bytes(set, n, k));
    exn_linear_forward(set, m, n, k, x, w, b, y, work, exn_part_whole());
    exn_linear_backward(set, m, n, k, x, w, y, dx, dw, db, work, exn_part_whole());
    return hash_floats(x, 2 * m * k) ^ hash_floats(w, 2 * n * k + 2 * n) * 3 ^ hash_floats(y, m * n) * 5;
}

static uint64_t depthwise_training(const exn_kernel_set *set) {
    const exn_conv_shape s = {.n = 2,
                              .h = 7,
                              .w = 7,
                              .c = 21,
                              .oh = 4,
                              .ow = 4,
                              .oc = 21,
                              .kh = 3,
                              .kw = 3,
                              .stride_h = 2,
                              .stride_w = 2,
                              .dilation_h = 1,
                              .dilation_w = 1,
                              .pad_top = 1,
                              .pad_left = 1,
                              .groups = 21};
    const size_t inputs = 2 * 49 * 21, outputs = 2 * 16 * 21, weights = 9 * 21;
    float *x = fresh(BUFFER_IN, 2 * inputs), *dx = x + inputs, *w = fresh(BUFFER_WEIGHT, 2 * weights),
          *dw = w + weights;
    float *y = fresh(BUFFER_OUT, outputs);
    void *work = kc_scratch(BUFFER_WORK, exn_dwconv_workspace_bytes(set, &s, 1));
    exn_dwconv_forward(set, &s, x, w, y, work, exn_part_whole());
    exn_dwconv_backward(set, &s, x, w, y, dx, dw, work, exn_part_whole());
    return hash_floats(x, 2 * inputs) ^ hash_floats(w, 2 * weights) * 3 ^ hash_floats(y, outputs) * 5;
}

static uint64_t batchnorm(const exn_kernel_set *set) {
    const size_t rows = 50, c = 37;
    float *x = fresh(BUFFER_IN, 2 * rows * c), *dx = x + rows * c, *y = fresh(BUFFER_OUT, rows * c);
    float *p = fresh(BUFFER_WEIGHT, 8 * c);
    const exn_batchnorm bn = {.rows = rows,
                              .c = c,
                              .epsilon = 1e-5f,
                              .momentum = 0.1f,
                              .scale = p,
                              .shift = p + c,
                              .running_mean = p + 2 * c,
                              .running_var = p + 3 * c,
                              .mean = p + 4 * c,
                              .inv_std = p + 5 * c};
    exn_batchnorm_forward(&bn, &set->f32_vector, x, y, exn_part_whole());
    exn_batchnorm_backward(&bn, &set->f32_vector, x, y, dx, p + 6 * c, p + 7 * c, exn_part_whole());
    return hash_floats(x, 2 * rows * c) ^ hash_floats(y, rows * c) * 3 ^ hash_floats(p, 8 * c) * 5;
}

static uint64_t cross_entropy(const exn_kernel_set *set) {
    const size_t rows = 6, classes = 19;
    float *z = fresh(BUFFER_IN, 2 * rows * classes + rows), *dz = z + rows * classes, *weight = dz + rows * classes;
    float *target = fresh(BUFFER_WEIGHT, rows * classes);
    double loss = 0;
    for (size_t i = 0; i < rows * classes; i++) target[i] = fabsf(target[i]);
    exn_soft_cross_entropy(&set->f32_vector, rows, classes, z, target, weight, 2.5f, &loss, dz);
    const float rounded = (float)loss;
    return hash_floats(dz, rows * classes) ^ hash_floats(&rounded, 1) * 3;
}

static uint64_t optimisers(const exn_kernel_set *set) {
    const size_t n = 1001;
    float *w = fresh(BUFFER_IN, 4 * n), *g = w + n, *m = g + n, *v = m + n;
    for (size_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
    set->f32_vector.sgd(n, w, g, m, 0.05f, 0.9f, 1e-4f);
    set->f32_vector.adamw(n, w, g, m, v, 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 10, 1000);
    return hash_floats(w, 4 * n);
}

static const struct {
    const char *name;
    uint64_t (*run)(const exn_kernel_set *set);
    bool elementary; /* takes exp, log or tanh: SLEEF's bits are not those of kernels/elementary.h */
} operations[] = {
    {"conv_stem", conv_stem, false},
    {"conv_pointwise", conv_pointwise, false},
    {"conv_dense3x3", conv_dense3x3, false},
    {"conv_depthwise3x3", conv_depthwise3x3, false},
    {"conv_depthwise5x5", conv_depthwise5x5, true},
    {"conv_grouped", conv_grouped, true},
    {"winograd_2x2", winograd_2x2, false},
    {"winograd_4x4", winograd_4x4, false},
    {"gemm_plain", gemm_plain, false},
    {"activations", activations, true},
    {"softmax", softmax, true},
    {"reductions", reductions, false},
    {"pooling", pooling, false},
    {"linear", linear, false},
    {"depthwise_training", depthwise_training, false},
    {"batchnorm", batchnorm, false},
    {"cross_entropy", cross_entropy, true},
    {"optimisers", optimisers, false},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

typedef struct hash_case {
    const exn_kernel_set *set;
    size_t operation;
    uint64_t hash;
} hash_case;

static void describe(char *text, size_t bytes, const void *argument) {
    snprintf(text, bytes, "%s", operations[((const hash_case *)argument)->operation].name);
}

static void run_operation(void *argument) {
    hash_case *c = argument;
    c->hash = operations[c->operation].run(c->set);
}

/* What the file calls an operation's hash for sets that fuse, or round, in this build. */
static void golden_name(char *name, size_t bytes, size_t operation, bool fused) {
    const bool plain = operations[operation].elementary && !EXN_HAVE_SLEEF;
    snprintf(name, bytes, "%s%s%s", operations[operation].name, fused ? "" : ".rounded", plain ? ".plain" : "");
}

/* The kept hash of an operation; false where the file has none. */
static bool golden_hash(uint64_t *out, const char *name) {
    char line[128], word[64];
    bool found = false;
    FILE *file = kc_opt.golden ? fopen(kc_opt.golden, "r") : NULL;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "%63s %" SCNx64, word, out) == 2 && strcmp(word, name) == 0;
    if (file) fclose(file);
    return found;
}

static void check_operation(const exn_kernel_set *set, size_t operation, uint64_t first, bool have_first,
                            uint64_t *out) {
    char name[64];
    uint64_t golden;
    hash_case c = {.set = set, .operation = operation};
    golden_name(name, sizeof name, operation, set->fused);
    kc_case(describe, &c);
    if (!kc_call(run_operation, &c)) return;
    *out = c.hash;
    if (have_first && c.hash != first) kc_fail("hash %016" PRIx64 ", first set %016" PRIx64, c.hash, first);
    if (kc_opt.write_golden && !have_first) printf("%s %016" PRIx64 "\n", name, c.hash);
    if (!kc_opt.golden) return;
    if (!golden_hash(&golden, name))
        kc_fail("%s has no hash for it", kc_opt.golden);
    else if (golden != c.hash)
        kc_fail("hash %016" PRIx64 ", %s says %016" PRIx64, c.hash, kc_opt.golden, golden);
}

/* Sets that fuse have one hash, those that round have another. */
static void check_class(const exn_kernel_set *sets, size_t count, bool fused) {
    uint64_t first[OPERATIONS] = {0};
    bool have_first = false;
    for (size_t i = 0; i < count; i++) {
        if (sets[i].fused != fused || !kc_subject_begin(&sets[i], "consistency") || !kc_test("K6_same_bits")) continue;
        for (size_t o = 0; o < OPERATIONS; o++) {
            uint64_t hash = 0;
            check_operation(&sets[i], o, first[o], have_first, &hash);
            if (!have_first) first[o] = hash;
        }
        have_first = true;
    }
}

void kc_test_consistency(const exn_kernel_set *sets, size_t count) {
    check_class(sets, count, true);
    check_class(sets, count, false);
}
