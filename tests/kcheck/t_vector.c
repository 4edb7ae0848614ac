/* SPDX-License-Identifier: Apache-2.0
 * Clauses K2..K8 for the vector slots: bits against a plain model, accuracy of exp, log and tanh against libm. */
#include <math.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch/select.h"
#include "kernels/generic.h"
#include "tests/kcheck/kcheck.h"
#include "tests/kcheck/vector_model.h"

typedef struct vector_case {
    const kc_vector_slot *slot;
    size_t n, rows, kw, gap, shift;
    int which;
    unsigned steps; /* bit 0: a_step, bit 1: b_step */
    bool accumulate, in_place;
    kc_mode mode;
    kc_side side;
    kc_vector_args args;
} vector_case;

static const exn_f32_vector *under_test, *reference;
static bool fused; /* the slots under test fuse; generic does */
enum { SCRATCH_FIRST = 0 /* one an array */ };

static void describe(char *text, size_t bytes, const void *argument) {
    const vector_case *c = argument;
    snprintf(text, bytes, "%s which %d n %zu rows %zu kw %zu gap %zu shift %zu steps %u%s%s %s edge %s", c->slot->name,
             c->which, c->n, c->rows, c->kw, c->gap, c->shift, c->steps, c->accumulate ? " accumulate" : "",
             c->in_place ? " in place" : "", kc_mode_name(c->mode), c->side == KC_RIGHT ? "right" : "left");
}

static void set_parameters(kc_vector_args *t, const vector_case *c) {
    static const float optimiser[7] = {0.05f, 0.9f, 0.99f, 1e-8f, 0.01f, 1.5f, 2.25f};
    memcpy(t->p, optimiser, sizeof optimiser);
    if (strcmp(c->slot->name, "sgd") == 0 || strcmp(c->slot->name, "adamw") == 0) return;
    t->p[0] = -0.75f, t->p[1] = 0.5f;
    if (strcmp(c->slot->name, "activate") == 0 && c->which == EXN_ACT_HARD_SIGMOID) t->p[0] = 0.2f;
}

static void run_call(void *argument) {
    vector_case *c = argument;
    c->slot->call(&c->args);
}

static void run_case(vector_case *c) {
    static const kc_operand places[KC_ARRAYS] = {KC_A, KC_B, KC_C, KC_EXTRA};
    kc_case(describe, c);
    kc_vector_args *t = &c->args;
    *t = (kc_vector_args){.vector = under_test,
                          .exact = fused ? reference : under_test,
                          .fused = fused,
                          .n = c->n,
                          .rows = c->rows,
                          .kw = c->kw,
                          .which = c->which,
                          .a_step = c->steps & 1,
                          .b_step = c->steps >> 1 & 1,
                          .accumulate = c->accumulate};
    t->tap_pitch = (ptrdiff_t)(c->n + c->gap), t->pitch = t->tap_pitch * (ptrdiff_t)(c->gap ? 2 : 1);
    set_parameters(t, c);
    kc_vector_args model = *t;
    size_t count[KC_ARRAYS];
    c->slot->counts(count, t);
    for (size_t i = 0; i < c->slot->arrays; i++) {
        t->array[i] = kc_place(places[i], count[i], c->side, c->shift);
        kc_fill(t->array[i], count[i], c->mode);
        if (i == 0 && strcmp(c->slot->name, "clamp_backward") == 0) /* it is given what the clamp put out */
            for (size_t j = 0; j < count[i]; j++) t->array[i][j] = fmaxf(-0.75f, fminf(0.5f, t->array[i][j]));
        model.array[i] = kc_scratch(SCRATCH_FIRST + i, count[i] * sizeof(float));
        if (count[i]) memcpy(model.array[i], t->array[i], count[i] * sizeof(float));
    }
    if (c->in_place) {
        t->array[c->slot->in_place[1]] = t->array[c->slot->in_place[0]];
        model.array[c->slot->in_place[1]] = model.array[c->slot->in_place[0]];
    }
    c->slot->model(&model);
    if (!kc_call(run_call, c)) return;
    for (size_t i = 0; i < c->slot->arrays; i++) {
        char name[32];
        snprintf(name, sizeof name, "array %zu", i);
        if (!kc_same(name, t->array[i], model.array[i], count[i])) return;
    }
    kc_same("result", &t->result, &model.result, 1);
}

static void run_sides(vector_case c) {
    for (kc_side side = 0; side < KC_SIDES; side++) {
        c.side = side;
        run_case(&c);
    }
}

static void over_modes(vector_case c) {
    for (kc_mode mode = 0; mode < KC_MODES; mode++) {
        c.mode = mode;
        run_sides(c);
    }
}

/* 0..70, then primes beyond any unrolling. */
static void over_sizes(vector_case c, void (*body)(vector_case)) {
    static const size_t primes[] = {71, 79, 127, 131, 257, 1021};
    const size_t step = kc_opt.quick ? 5 : 1;
    for (c.n = 0; c.n <= 70; c.n += step) body(c);
    for (size_t i = 0; i < sizeof primes / sizeof *primes; i++) {
        c.n = primes[i];
        body(c);
    }
}

static void over_variants(vector_case c, void (*body)(vector_case)) {
    const bool binary = c.slot->call == kc_vector_slots[1].call;
    const bool rows = strcmp(c.slot->name, "reduce_columns") == 0 || strcmp(c.slot->name, "pool") == 0;
    for (c.which = 0; c.which < c.slot->whiches; c.which++)
        for (c.steps = binary ? 0 : 3; c.steps < 4; c.steps++)
            for (int accumulate = 0; accumulate <= rows; accumulate++) {
                c.accumulate = accumulate;
                body(c);
            }
}

static void sizes_by_modes(vector_case c) {
    over_sizes(c, over_modes);
}

static void test_in_place(vector_case c) {
    const bool binary = c.slot->call == kc_vector_slots[1].call;
    if (c.slot->in_place[0] < 0) return;
    if (binary && !(c.slot->in_place[0] == 0 ? c.steps & 1 : c.steps & 2)) return; /* one value is not y */
    c.in_place = true;
    over_sizes(c, over_modes);
}

static void test_alignment(vector_case c) {
    c.mode = KC_UNIFORM;
    for (c.shift = 0; c.shift < 16; c.shift++) run_sides(c);
}

static void over_rows(vector_case c) {
    static const size_t sizes[] = {0, 1, 2, 3, 9, 13};
    c.mode = KC_UNIFORM;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (c.kw = 1; c.kw <= 7; c.kw += 2)
            for (c.n = 0; c.n <= 67; c.n += 1 + c.n / 4)
                for (c.gap = 0; c.gap < 4; c.gap += 3) {
                    c.rows = sizes[i];
                    run_sides(c);
                }
}

static bool takes_rows(const kc_vector_slot *slot) {
    return slot->counts != kc_vector_slots[0].counts && slot->counts != kc_vector_slots[1].counts;
}

static void test_slot(const exn_kernel_set *set, const kc_vector_slot *slot) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", under_test->name, slot->name);
    if (!kc_subject_begin(set, name)) return;
    const vector_case c = {.slot = slot, .n = 37, .rows = 5, .kw = 3};
    if (kc_test("K4_alignment")) over_variants(c, test_alignment);
    if (kc_test("K6_arithmetic")) over_variants(c, sizes_by_modes); /* K3, K7 and K8 with it: edges, NaN, n 0 */
    if (slot->in_place[0] >= 0 && kc_test("K6_in_place")) over_variants(c, test_in_place);
    if (takes_rows(slot) && kc_test("K1_layout")) over_variants(c, over_rows);
}

/* ---- Accuracy against libm in double precision ---- */
typedef struct accuracy_case {
    exn_activation act;
    float first, last;
    double ulps; /* SLEEF's u10 is 1; formulas over it round a few times more */
} accuracy_case;

enum { SAMPLES = 4096 };
static float samples_in[SAMPLES], samples_out[SAMPLES];

static void describe_accuracy(char *text, size_t bytes, const void *argument) {
    const accuracy_case *c = argument;
    snprintf(text, bytes, "activation %d on [%a, %a]", (int)c->act, (double)c->first, (double)c->last);
}

static void run_activation(void *argument) {
    const accuracy_case *c = argument;
    under_test->activate(c->act, SAMPLES, samples_in, samples_out, 0, 0);
}

static void test_accuracy(const accuracy_case *c) {
    for (size_t block = 0; block < (kc_opt.quick ? 4u : 64u); block++) {
        kc_case(describe_accuracy, c);
        for (size_t i = 0; i < SAMPLES; i++)
            samples_in[i] = c->first + (c->last - c->first) * exn_rng_uniform(kc_rng());
        if (!kc_call(run_activation, (void *)(uintptr_t)c)) continue;
        for (size_t i = 0; i < SAMPLES; i++) {
            const double want = kc_oracle_activation(c->act, (double)samples_in[i], 0, 0);
            const double ulps = kc_ulps(samples_out[i], want);
            if (ulps <= c->ulps) continue;
            kc_fail("at %a: %a, libm %a: %.2f ulp", (double)samples_in[i], (double)samples_out[i], want, ulps);
            break;
        }
    }
}

static void test_accuracies(const exn_kernel_set *set) {
    static const accuracy_case cases[] = {
        {EXN_ACT_EXP, -103, 88.7f, 1},  {EXN_ACT_EXP, -1, 1, 1},       {EXN_ACT_LOG, 0x1p-149f, 0x1p-120f, 1},
        {EXN_ACT_LOG, 0.5f, 2, 1},      {EXN_ACT_LOG, 1, 1e30f, 1},    {EXN_ACT_TANH, -10, 10, 1},
        {EXN_ACT_TANH, -0.1f, 0.1f, 1}, {EXN_ACT_SIGMOID, -80, 20, 3}, {EXN_ACT_SIGMOID, -2, 2, 3},
        {EXN_ACT_SILU, -80, 20, 4},     {EXN_ACT_SILU, -2, 2, 4},
    };
    char name[96];
    snprintf(name, sizeof name, "%s.transcendental", under_test->name);
    if (!kc_subject_begin(set, name)) return;
    if (!kc_test("K6_accuracy")) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_accuracy(&cases[i]);
}

/* The slots of the first fused set that this CPU runs: every other one must have their bits. */
static const exn_f32_vector *fused_vector(void) {
    size_t count;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&count);
    for (size_t i = 0; i < count; i++) {
        const bool runs = (sets[i]->needs & ~exn_cpu_detect()) == 0;
        if (runs && sets[i]->fused && sets[i]->f32_vector.activate) return &sets[i]->f32_vector;
    }
    return NULL;
}

/* ---- The specification itself, as slots; exp, log and tanh come from the reference. ---- */
static float reference_value(exn_activation act, float x) {
    float y;
    reference->activate(act, 1, &x, &y, 0, 0);
    return y;
}
static float reference_exp(float x) {
    return reference_value(EXN_ACT_EXP, x);
}
static float reference_log(float x) {
    return reference_value(EXN_ACT_LOG, x);
}
static float reference_tanh(float x) {
    return reference_value(EXN_ACT_TANH, x);
}
static const exn_generic_math reference_math = {reference_exp, reference_log, reference_tanh};

static void generic_activate(exn_activation act, size_t n, const float *x, float *y, float lo, float hi) {
    exn_generic_activate(&reference_math, act, n, x, y, lo, hi);
}
static float generic_sum_exp(size_t n, const float *x, float shift, float *y) {
    return exn_generic_sum_exp(&reference_math, n, x, shift, y);
}

static const exn_f32_vector generic_vector = {
    .activate = generic_activate,
    .binary = exn_generic_binary,
    .scale_shift = exn_generic_scale_shift,
    .axpy = exn_generic_axpy,
    .reduce = exn_generic_reduce,
    .dot = exn_generic_dot,
    .sum_exp = generic_sum_exp,
    .reduce_columns = exn_generic_reduce_columns,
    .pool = exn_generic_pool,
    .clamp_backward = exn_generic_clamp_backward,
    .dwconv_weights = exn_generic_dwconv_weights,
    .sgd = exn_generic_sgd,
    .adamw = exn_generic_adamw,
    .name = "f32_vector_generic",
};

void kc_test_vector(const exn_kernel_set *set) {
    under_test = set ? &set->f32_vector : &generic_vector;
    fused = !set || set->fused;
    reference = fused_vector();
    if (!under_test->activate) return;
    if (!set && !reference) {
        kc_skip("generic vector slots: this CPU has no fused multiply-add set to take exp from");
        return;
    }
    for (size_t i = 0; i < kc_vector_slot_count; i++) test_slot(set, &kc_vector_slots[i]);
    if (set) test_accuracies(set);
}
