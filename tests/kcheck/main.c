/* SPDX-License-Identifier: Apache-2.0
 * kcheck: proves every kernel of every compiled set, or times it. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch/select.h"
#include "tests/kcheck/kcheck.h"

kc_options kc_opt = {.seed = 1, .repeat = 1, .duration = 0.05};

static const char usage[] =
    "usage: kcheck [options]\n"
    "Tests every kernel of every compiled set that this CPU has; --bench times them instead.\n"
    "  --list            sets and kernels\n"
    "  --set NAME        only this set (\"generic\": the specification against double precision)\n"
    "  --fn GLOB         only kernels, or kernel/test, that match\n"
    "  --seed N          of the random data (1)\n"
    "  --repeat N        rounds, each with the next seed (1)\n"
    "  --quick           fewer shapes, for emulators\n"
    "  --golden FILE     hashes that results must have\n"
    "  --write-golden    print such a file instead\n"
    "  --bench           nanoseconds on the layers of bench/shapes.inc, beside scalar and the measured peak\n"
    "  --sweep           with --bench: also every tile that was not chosen, and what choosing cost\n"
    "  --duration SEC    of each measurement (0.05)\n"
    "  --json            one JSON object a line\n"
    "example: kcheck --set avx2 --fn 'f32_gemm*/K3*' --seed 7\n"
    "exit status: 0 all passed, 1 a failure, 2 usage\n";

enum {
    OPTION_LIST = 256,
    OPTION_SET,
    OPTION_FN,
    OPTION_SEED,
    OPTION_REPEAT,
    OPTION_QUICK,
    OPTION_GOLDEN,
    OPTION_WRITE_GOLDEN,
    OPTION_BENCH,
    OPTION_SWEEP,
    OPTION_DURATION,
    OPTION_JSON,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"list", no_argument, NULL, OPTION_LIST},
    {"set", required_argument, NULL, OPTION_SET},
    {"fn", required_argument, NULL, OPTION_FN},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"repeat", required_argument, NULL, OPTION_REPEAT},
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"golden", required_argument, NULL, OPTION_GOLDEN},
    {"write-golden", no_argument, NULL, OPTION_WRITE_GOLDEN},
    {"bench", no_argument, NULL, OPTION_BENCH},
    {"sweep", no_argument, NULL, OPTION_SWEEP},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static bool runs_here(const exn_kernel_set *set) {
    return (set->needs & ~exn_cpu_detect()) == 0;
}

static void list_sets(void) {
    size_t count;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&count);
    for (size_t i = 0; i < count; i++) {
        const exn_kernel_set *s = sets[i];
        printf("%s%s%s\n", s->name, s->fused ? " (fused)" : "", runs_here(s) ? "" : " (not on this CPU)");
        for (size_t t = 0; t < EXN_GEMM_TILES && s->f32_gemm[t].run; t++) printf("  %s\n", s->f32_gemm[t].name);
        if (s->f32_dwconv.run) printf("  %s\n", s->f32_dwconv.name);
        for (size_t t = 0; t < EXN_WINOGRADS && s->f32_winograd[0].in; t++) printf("  %s\n", s->f32_winograd[t].name);
        if (s->f32_vector.activate) printf("  %s\n", s->f32_vector.name);
    }
}

static bool parse_number(uint64_t *out, const char *text) {
    char *end;
    const unsigned long long value = strtoull(text, &end, 0);
    if (*text < '0' || *text > '9' || *end) {
        fprintf(stderr, "kcheck: \"%s\" is not a number\n", text);
        return false;
    }
    *out = value;
    return true;
}

/* 0 to go on, else 1 + the exit status. */
static int take_option(int option) {
    uint64_t number = 0;
    switch (option) {
    case OPTION_LIST:
        list_sets();
        return 1;
    case OPTION_HELP:
        fputs(usage, stdout);
        return 1;
    case OPTION_SET:
        kc_opt.set = optarg;
        return 0;
    case OPTION_FN:
        kc_opt.fn = optarg;
        return 0;
    case OPTION_SEED:
        return parse_number(&kc_opt.seed, optarg) ? 0 : 3;
    case OPTION_REPEAT:
        if (!parse_number(&number, optarg)) return 3;
        kc_opt.repeat = (size_t)number;
        return 0;
    case OPTION_GOLDEN:
        kc_opt.golden = optarg;
        return 0;
    case OPTION_WRITE_GOLDEN:
        kc_opt.write_golden = true;
        return 0;
    case OPTION_DURATION:
        kc_opt.duration = strtod(optarg, NULL);
        return 0;
    case OPTION_QUICK:
        kc_opt.quick = true;
        return 0;
    case OPTION_BENCH:
        kc_opt.bench = true;
        return 0;
    case OPTION_SWEEP:
        kc_opt.sweep = true;
        return 0;
    case OPTION_JSON:
        kc_opt.json = true;
        return 0;
    default:
        fputs(usage, stderr);
        return 3;
    }
}

/* Complete sets for every compiled one that this CPU has and --set wants. */
static size_t resolve_sets(exn_kernel_set *out, const exn_kernel_set **compiled, exn_context *ctx) {
    size_t all, count = 0;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&all);
    for (size_t i = 0; i < all && count < KC_SETS_MAX; i++) {
        if (kc_opt.set && strcmp(kc_opt.set, sets[i]->name) != 0) continue;
        if (!runs_here(sets[i])) {
            kc_skip("%s: this CPU lacks it", sets[i]->name);
            continue;
        }
        if (exn_kernels_select(&out[count], ctx, exn_cpu_detect(), sets[i]->name) != EXN_OK) {
            fprintf(stderr, "kcheck: %s\n", exn_context_error(ctx));
            continue;
        }
        compiled[count++] = sets[i];
    }
    return count;
}

static void run_round(const exn_kernel_set *sets, const exn_kernel_set *const *compiled, size_t count,
                      exn_context *ctx) {
    if (!kc_opt.set || strcmp(kc_opt.set, "generic") == 0) {
        kc_test_gemm(NULL);
        kc_test_dwconv(NULL);
        kc_test_winograd(NULL);
        kc_test_vector(NULL);
    }
    for (size_t i = 0; i < count; i++) {
        kc_test_gemm(compiled[i]);
        kc_test_dwconv(compiled[i]);
        kc_test_winograd(compiled[i]);
        kc_test_vector(compiled[i]);
        kc_test_pack(compiled[i]);
        kc_test_driver(&sets[i], ctx);
    }
    kc_test_consistency(sets, count);
}

int main(int argc, char **argv) {
    static exn_kernel_set sets[KC_SETS_MAX];
    static const exn_kernel_set *compiled[KC_SETS_MAX];
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        const int done = take_option(option);
        if (done) return done - 1;
    }
    if (optind < argc) return take_option('?') - 1;
    exn_context *ctx;
    if (exn_context_create(&ctx, NULL) != EXN_OK) return 2;
    kc_shield_install();
    const size_t count = resolve_sets(sets, compiled, ctx);
    exn_kernel_set scalar;
    if (kc_opt.bench && exn_kernels_select(&scalar, ctx, 0, "scalar") == EXN_OK) {
        kc_bench(sets, count, &scalar);
    } else {
        for (size_t round = 0; round < kc_opt.repeat; round++, kc_opt.seed++) run_round(sets, compiled, count, ctx);
    }
    const int status = kc_opt.bench ? 0 : kc_report();
    exn_context_destroy(ctx);
    return status;
}
