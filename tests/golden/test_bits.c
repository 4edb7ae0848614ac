/* SPDX-License-Identifier: Apache-2.0
 * The same bits on every machine: hashes of inference and of personalised profiles, committed in bits.txt, on every fused
 * kernel set that this machine has and with one to four threads. Run with EXN_GOLDEN_PRINT set, it prints the file. */
#include "tests/unit/small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/select.h"
#include "core/rng.h"

#define PICTURES 4u
#define PHOTOS 12u
#define LABELLED 60u /* per cent */

static uint64_t hash_tensors(uint64_t hash, const exn_head *head) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        if (count) hash = exn_hash64(head->tensor[which], count * sizeof(float), hash);
    }
    return hash;
}

/* What was learned and decided. Paths and sentences are left out. */
static uint64_t hash_profile(const exn_profile *profile) {
    uint64_t hash = 0;
    for (size_t i = 0; i < profile->exit_count; i++) {
        const exn_exit *e = &profile->exits[i];
        const uint8_t flags[] = {e->rule.enabled, e->trained};
        hash = hash_tensors(hash, &e->head);
        hash = exn_hash64(flags, sizeof flags, hash);
        hash = exn_hash64(&e->rule.temperature, sizeof e->rule.temperature, hash);
        hash = exn_hash64(&e->rule.threshold, sizeof e->rule.threshold, hash);
        hash = exn_hash64(&e->accuracy, sizeof e->accuracy, hash);
        hash = exn_hash64(&e->nll, sizeof e->nll, hash);
    }
    return hash;
}

static uint64_t personalised(exn_context *ctx, exn_head_kind kind) {
    exn_model *model;
    exn_profile *profile;
    exn_trainer *trainer;
    const exn_trainer_options options = {.struct_size = sizeof options, .costs = "macs"};
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, kind));
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, &options));
    unit_assert_ok(ctx, small_add(trainer, PHOTOS, LABELLED));
    unit_assert_ok(ctx, exn_trainer_run(trainer, NULL, NULL));
    const uint64_t hash = hash_profile(profile);
    exn_trainer_destroy(trainer);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return hash;
}

/* The demo's network on pictures of noise. */
static uint64_t inferred(exn_context *ctx, size_t threads) {
    exn_model *model;
    exn_plan *plan;
    exn_exec *exec;
    char *path = unit_source_path("examples/demo/fashion_cnn.onnx");
    unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
    free(path);
    const exn_plan_options options = {
        .kernels = &model->kernels, .threads = threads, .outputs = &model->graph->output, .output_count = 1};
    unit_assert_ok(ctx, exn_plan_create(&plan, model->graph, &options));
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    const size_t inputs = model->channels * model->height * model->width;
    float *picture = malloc(inputs * sizeof *picture), *logits = malloc(model->classes * sizeof *logits);
    exn_rng rng = exn_rng_seed(11, 1);
    uint64_t hash = 0;
    for (size_t i = 0; i < PICTURES; i++) {
        for (size_t j = 0; j < inputs; j++) picture[j] = exn_rng_normal(&rng);
        exn_exec_set_nchw(exec, picture);
        exn_exec_run(exec, &logits);
        hash = exn_hash64(logits, model->classes * sizeof *logits, hash);
    }
    free(picture);
    free(logits);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    exn_model_destroy(model);
    return hash;
}

typedef struct golden {
    const char *name;
    uint64_t hash;
} golden;

static void check(const golden *actual, const char *set, size_t threads) {
    char *path = unit_source_path("tests/golden/bits.txt"), name[32];
    FILE *file = fopen(path, "r");
    unsigned long long expected;
    bool found = false;
    ck_assert_msg(file != NULL, "%s is missing", path);
    while (!found && fscanf(file, "%31s %llx", name, &expected) == 2) found = strcmp(name, actual->name) == 0;
    fclose(file);
    free(path);
    ck_assert_msg(
        found && expected == actual->hash,
        "%s on %s with %zu threads: %016llx; meant to change: EXN_GOLDEN_PRINT=1 prints the lines of bits.txt",
        actual->name, set, threads, (unsigned long long)actual->hash);
}

START_TEST(bits) {
    size_t count;
    const exn_kernel_set *const *sets = exn_kernels_compiled(&count);
    for (size_t i = 0; i < count; i++) {
        const char *const only = getenv("EXN_TEST_SET");
        if (!sets[i]->fused || strcmp(sets[i]->name, only ? only : sets[i]->name) != 0) continue;
        if (!only && strcmp(sets[i]->name, "template") == 0) continue;
        for (size_t threads = 1; threads <= 4; threads++) {
            /* More threads than processors wait long for each other when they learn, with the second head and in an emulator:
             * there, one set learns with three and four. */
            const bool little = strcmp(sets[i]->name, "scalar_fma") == 0,
                       learns = threads <= 2 || little || !unit_emulated();
            const size_t asked = threads == 1 || (threads == 2 && little) ? 3 : learns ? 2 : 1;
            exn_context *ctx;
            exn_kernel_set kernels;
            const exn_context_options options = {
                .struct_size = sizeof options, .cpu = sets[i]->name, .threads = threads};
            ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
            if (exn_kernels_for_context(&kernels, ctx) == EXN_OK) {
                const golden all[] = {{"inference", inferred(ctx, threads)},
                                      {"profile_pooled", asked > 1 ? personalised(ctx, EXN_HEAD_POOLED) : 0},
                                      {"profile_conv", asked > 2 ? personalised(ctx, EXN_HEAD_CONV) : 0}};
                for (size_t j = 0; j < asked; j++) {
                    if (getenv("EXN_GOLDEN_PRINT"))
                        printf("%s %016llx\n", all[j].name, (unsigned long long)all[j].hash);
                    else
                        check(&all[j], sets[i]->name, threads);
                }
            }
            exn_context_destroy(ctx);
        }
    }
}
END_TEST

int main(void) {
    return unit_run("bits", (const TTest *const[]){bits, NULL});
}
