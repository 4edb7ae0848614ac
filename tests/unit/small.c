/* SPDX-License-Identifier: Apache-2.0
 * A tiny network and people for it. */
#include "tests/unit/small.h"

#include "core/file.h"
#include "core/rng.h"
#include "train/safetensors.h"
#include "train/state.h"

#include <stdlib.h>
#include <string.h>

exn_status small_model(exn_model **out, exn_context *ctx) {
    char *path = unit_source_path("tests/golden/data/inverted_fixed_batch.onnx");
    const exn_status status = exn_model_open(out, ctx, path, NULL);
    free(path);
    return status;
}

void small_set_up(exn_context **ctx, exn_model **model, char **folder, char **path, const char *name) {
    *ctx = unit_context();
    unit_assert_ok(*ctx, small_model(model, *ctx));
    *folder = unit_temp_create();
    *path = unit_path(*folder, name);
}

void small_tear_down(exn_context *ctx, exn_model *model, char *folder, char *path) {
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    free(path);
    unit_temp_remove(folder);
}

exn_status small_profile(exn_profile **out, const exn_model *model, exn_head_kind kind) {
    const exn_profile_options options = {.struct_size = sizeof options, .exits = 2, .head = kind, .seed = 7};
    return exn_profile_create(out, model, &options);
}

void small_input(float chw[SMALL_INPUT], size_t label, size_t index) {
    exn_rng pattern = exn_rng_seed(1000 + label, 1), noise = exn_rng_seed(5000 + index, label);
    for (size_t i = 0; i < SMALL_INPUT; i++) chw[i] = 1.0f * exn_rng_normal(&pattern) + 1.0f * exn_rng_normal(&noise);
}

exn_status small_add(exn_trainer *trainer, size_t count, size_t labelled) {
    float input[SMALL_INPUT];
    for (size_t i = 0; i < count; i++) {
        small_input(input, i % SMALL_CLASSES, i);
        const bool known = i * 37 % 100 < labelled;
        EXN_TRY(exn_trainer_add_tensor(trainer, input, known ? (int64_t)(i % SMALL_CLASSES) : EXN_UNLABELLED));
    }
    return EXN_OK;
}

static size_t right_of_exit(exn_context *ctx, const exn_profile *profile, size_t exit) {
    exn_network network;
    exn_plan *plan;
    exn_exec *exec;
    float input[SMALL_INPUT], logits[SMALL_CLASSES], *sink = logits;
    unit_assert_ok(ctx, exn_network_build_single(&network, profile, 1, exit));
    const exn_plan_options options = {
        .kernels = &profile->model->kernels, .threads = 1, .outputs = network.logits, .output_count = 1};
    unit_assert_ok(ctx, exn_plan_create(&plan, network.graph, &options));
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    size_t right = 0;
    for (size_t i = 0; i < 100; i++) {
        small_input(input, i % SMALL_CLASSES, 100000 + i);
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &sink);
        size_t best = 0;
        for (size_t j = 1; j < SMALL_CLASSES; j++)
            if (logits[j] > logits[best]) best = j;
        right += best == i % SMALL_CLASSES;
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    exn_network_destroy(&network, ctx);
    return right;
}

size_t small_right(exn_context *ctx, const exn_profile *profile, size_t exit) {
    if (exit != SIZE_MAX) return right_of_exit(ctx, profile, exit);
    exn_runner *runner;
    float input[SMALL_INPUT];
    size_t right = 0;
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, NULL));
    for (size_t i = 0; i < 100; i++) {
        exn_answer answer = {.struct_size = sizeof answer};
        small_input(input, i % SMALL_CLASSES, 100000 + i);
        unit_assert_ok(ctx, exn_runner_classify_tensor(runner, input, &answer));
        right += answer.label == i % SMALL_CLASSES;
    }
    exn_runner_destroy(runner);
    return right;
}

uint8_t *small_read(size_t *size, const char *path) {
    exn_context *ctx = unit_context();
    exn_mapping file;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, path));
    uint8_t *copy = malloc(file.size);
    memcpy(copy, file.bytes, file.size);
    *size = file.size;
    exn_mapping_close(&file);
    exn_context_destroy(ctx);
    return copy;
}

void small_same_profiles(const exn_profile *a, const exn_profile *b) {
    const exn_profile *const profile[2] = {a, b};
    char *folder = unit_temp_create(), *path = unit_path(folder, "p");
    uint8_t *bytes[2];
    size_t size[2];
    for (size_t i = 0; i < 2; i++) {
        unit_assert_ok(profile[i]->ctx, exn_profile_save(profile[i], path));
        bytes[i] = small_read(&size[i], path);
    }
    ck_assert_uint_eq(size[0], size[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], size[0]);
    for (size_t i = 0; i < 2; i++) free(bytes[i]);
    free(path);
    unit_temp_remove(folder);
}

void small_forge(exn_context *ctx, const exn_profile *profile, const char *path, const char *from, const char *to) {
    exn_tensor_list list;
    exn_writer *writer;
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    size_t size;
    uint8_t *bytes = small_read(&size, path);
    unit_assert_ok(ctx, exn_safetensors_read(&list, ctx, bytes, size));
    uint8_t *state = (uint8_t *)(uintptr_t)exn_tensor_list_find(&list, EXN_STATE_TENSOR)->data;
    const size_t length = exn_tensor_list_find(&list, EXN_STATE_TENSOR)->bytes;
    uint8_t *at = memmem(state, length, from, strlen(from));
    ck_assert_msg(at != NULL, "%s", from);
    memcpy(at, to, strlen(to));
    char hash[EXN_HASH_TEXT_BYTES];
    exn_hash_text(hash, state, length);
    memcpy((uint8_t *)(uintptr_t)exn_tensor_list_find(&list, EXN_STATE_HASH_TENSOR)->data, hash, sizeof hash - 1);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_writer_append(writer, bytes, size));
    unit_assert_ok(ctx, exn_writer_commit(writer));
    exn_tensor_list_free(&list, ctx);
    free(bytes);
}
