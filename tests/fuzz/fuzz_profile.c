/* SPDX-License-Identifier: Apache-2.0
 * A profile: the file as it is, then the same with every checksum made good. What opens must save, open again, and
 * classify. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/network.h"
#include "train/profile.h"
#include "train/safetensors.h"
#include "train/state.h"

static void classify(const exn_profile *profile, exn_target target) {
    exn_runner *runner = NULL;
    float input[FUZZ_INPUT];
    exn_answer answer = {.struct_size = sizeof answer};
    const exn_runner_options options = {.struct_size = sizeof options, .target = target, .audit_share = 1};
    if (exn_runner_create(&runner, profile, &options) != EXN_OK) return;
    fuzz_input(input, FUZZ_INPUT);
    if (exn_runner_classify_tensor(runner, input, &answer) == EXN_OK) {
        fuzz_assert(answer.label < exn_profile_class_count(profile));
        fuzz_assert(answer.exit < exn_profile_exit_count(profile));
    }
    exn_runner_audit(runner, NULL);
    exn_runner_destroy(runner);
}

static void use(const char *path) {
    const exn_model *model = fuzz_network();
    exn_context *ctx = model->ctx;
    const size_t live = fuzz_live();
    char named[4096];
    exn_profile *profile = NULL, *again = NULL;
    exn_profile_model_path(named, sizeof named, ctx, path);
    if (exn_profile_open(&profile, model, path, NULL) == EXN_OK) {
        for (size_t i = 0; i < exn_profile_exit_count(profile); i++) {
            exn_exit_info info = {.struct_size = sizeof info};
            fuzz_assert(exn_profile_get_exit(&info, profile, i) == EXN_OK);
        }
        classify(profile, EXN_TARGET_PROFILE);
        if (exn_profile_set_target(profile, EXN_TARGET_UNTOUCHED) == EXN_OK) classify(profile, EXN_TARGET_KEEP);
        const char *copy = fuzz_path(1, "copy.safetensors");
        if (exn_profile_save(profile, copy) == EXN_OK)
            fuzz_assert(exn_profile_open(&again, model, copy, NULL) == EXN_OK);
        exn_profile_destroy(again);
        exn_profile_destroy(profile);
    } else {
        fuzz_assert(exn_context_error(ctx)[0] != '\0');
    }
    fuzz_assert_live(live);
}

static json_t *state_of(const exn_tensor_list *list) {
    const exn_named_tensor *state = exn_tensor_list_find(list, EXN_STATE_TENSOR);
    return state == NULL ? NULL : json_loadb(state->data, state->bytes, 0, NULL);
}

static bool is_state(const char *name) {
    return strcmp(name, EXN_STATE_TENSOR) == 0 || strcmp(name, EXN_STATE_HASH_TENSOR) == 0;
}

/* Writes the tensors with this state, all hashes true, as train/profile_file.c does. */
static bool write_mended(const char *path, const exn_tensor_list *list, json_t *root) {
    exn_context *ctx = fuzz_context();
    exn_tensor_list out = {0};
    exn_writer *writer = NULL;
    char text[EXN_HASH_TEXT_BYTES];
    json_t *checksums = json_object();
    bool good = true;
    for (size_t i = 0; i < list->count && good; i++) {
        const exn_named_tensor *tensor = &list->tensors[i];
        if (is_state(tensor->name)) continue;
        exn_hash_text(text, tensor->data, tensor->bytes);
        json_object_set_new(checksums, tensor->name, json_string(text));
        good = exn_tensor_list_add(&out, ctx, tensor->name, tensor->dtype, &tensor->shape, tensor->data) == EXN_OK;
    }
    json_object_set_new(root, "checksums", checksums);
    char *state = json_dumps(root, JSON_COMPACT);
    good = good && state != NULL;
    if (good) {
        const size_t length = strlen(state), digits = sizeof text - 1;
        const exn_shape long_shape = exn_shape_of(1, &length), hash_shape = exn_shape_of(1, &digits);
        exn_hash_text(text, state, length);
        good = exn_tensor_list_add(&out, ctx, EXN_STATE_TENSOR, EXN_U8, &long_shape, state) == EXN_OK &&
               exn_tensor_list_add(&out, ctx, EXN_STATE_HASH_TENSOR, EXN_U8, &hash_shape, text) == EXN_OK &&
               exn_writer_open(&writer, ctx, path) == EXN_OK;
    }
    if (good) {
        exn_writer_relax(writer);
        good = exn_safetensors_write(writer, ctx, &out) == EXN_OK && exn_writer_commit(writer) == EXN_OK;
        if (!good) exn_writer_discard(writer);
    }
    free(state);
    exn_tensor_list_free(&out, ctx);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    fuzz_network();
    const size_t live = fuzz_live();
    use(fuzz_file(0, "me.safetensors", bytes, size));
    exn_tensor_list list = {0};
    if (exn_safetensors_read(&list, ctx, bytes, size) == EXN_OK) {
        json_t *root = state_of(&list);
        const char *path = fuzz_path(0, "mended.safetensors");
        if (json_is_object(root) && write_mended(path, &list, root)) use(path);
        json_decref(root);
        exn_tensor_list_free(&list, ctx);
    }
    fuzz_assert_live(live);
    return 0;
}
