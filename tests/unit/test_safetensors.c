/* SPDX-License-Identifier: Apache-2.0
 * The safetensors format: what is written comes back, and no byte of a hostile file is believed. */
#include "tests/unit/unit.h"
#include "train/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list_two(exn_tensor_list *list, exn_context *ctx, const float *a, const uint8_t *b) {
    *list = (exn_tensor_list){0};
    unit_assert_ok(ctx, exn_tensor_list_add(list, ctx, "exits.0.fc.weight", EXN_F32, &(exn_shape){2, {2, 3}}, a));
    unit_assert_ok(ctx, exn_tensor_list_add(list, ctx, "exeunt.state", EXN_U8, &(exn_shape){1, {5}}, b));
}

static void write_two(exn_context *ctx, const char *path) {
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t b[5] = "state";
    exn_tensor_list list;
    exn_writer *writer;
    list_two(&list, ctx, a, b);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_safetensors_write(writer, ctx, &list));
    unit_assert_ok(ctx, exn_writer_commit(writer));
    exn_tensor_list_free(&list, ctx);
}

START_TEST(round_trip) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "t.safetensors");
    write_two(ctx, path);
    exn_mapping file;
    exn_tensor_list list;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, path));
    ck_assert_uint_eq((file.bytes[0] + 256u * file.bytes[1]) % 8, 0);
    unit_assert_ok(ctx, exn_safetensors_read(&list, ctx, file.bytes, file.size));
    ck_assert_uint_eq(list.count, 2);
    const exn_named_tensor *weight = exn_tensor_list_find(&list, "exits.0.fc.weight");
    ck_assert_ptr_nonnull(weight);
    ck_assert_uint_eq(weight->shape.rank, 2);
    ck_assert_uint_eq(weight->shape.dim[1], 3);
    float last;
    memcpy(&last, (const float *)weight->data + 5, sizeof last);
    ck_assert_float_eq(last, 6);
    ck_assert_mem_eq(exn_tensor_list_find(&list, "exeunt.state")->data, "state", 5);
    ck_assert_ptr_null(exn_tensor_list_find(&list, "absent"));
    exn_tensor_list_free(&list, ctx);
    exn_mapping_close(&file);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(cut_at_every_byte) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "t.safetensors");
    write_two(ctx, path);
    exn_mapping file;
    exn_tensor_list list;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, path));
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, file.bytes, size);
        ck_assert_int_eq(exn_safetensors_read(&list, ctx, copy, size), EXN_E_FORMAT);
        free(copy);
    }
    exn_mapping_close(&file);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

/* A file with this header and `data` bytes of zeros. */
static void check_refused(exn_context *ctx, const char *header, size_t data, const char *why) {
    const size_t length = strlen(header);
    uint8_t *bytes = calloc(1, 8 + length + data);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    exn_tensor_list list;
    unit_assert_fails(ctx, exn_safetensors_read(&list, ctx, bytes, 8 + length + data), EXN_E_FORMAT, why);
    free(bytes);
}

#define ENTRY(name, shape, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

START_TEST(hostile_headers) {
    exn_context *ctx = unit_context();
    check_refused(ctx, "[]", 0, "header");
    check_refused(ctx, "{", 0, "header");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[0,4]") "," ENTRY("a", "[1]", "[4,8]") "}", 8, "duplicate");
    check_refused(ctx, "{" ENTRY("a", "[2]", "[0,8]") "," ENTRY("b", "[1]", "[4,8]") "}", 8, "overlaps");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[0,4]") "," ENTRY("b", "[1]", "[8,12]") "}", 12, "gap");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[0,4]") "}", 8, "after the last");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[0,5]") "}", 4, "outside");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[4,0]") "}", 4, "outside");
    check_refused(ctx, "{" ENTRY("a", "[1]", "[-4,0]") "}", 4, "outside");
    check_refused(ctx, "{" ENTRY("a", "[2]", "[0,4]") "}", 4, "disagree");
    check_refused(ctx, "{" ENTRY("a", "[1e0]", "[0,4]") "}", 4, "not understood");
    check_refused(ctx, "{" ENTRY("a", "[9223372036854775807]", "[0,4]") "}", 4, "not understood");
    check_refused(ctx, "{" ENTRY("a", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "not understood");
    check_refused(ctx, "{\"a\":7}", 4, "not understood");
    check_refused(ctx, "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "not understood");
    exn_tensor_list list;
    static const uint8_t huge[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    unit_assert_fails(ctx, exn_safetensors_read(&list, ctx, huge, 8), EXN_E_FORMAT, "truncated");
    exn_context_destroy(ctx);
}
END_TEST

static exn_status write_and_read(exn_context *ctx, void *path) {
    static const float a[6] = {0};
    static const uint8_t b[5] = {0};
    exn_tensor_list list = {0};
    exn_writer *writer = NULL;
    exn_status status = exn_tensor_list_add(&list, ctx, "a", EXN_F32, &(exn_shape){1, {6}}, a);
    if (status == EXN_OK) status = exn_tensor_list_add(&list, ctx, "b", EXN_U8, &(exn_shape){1, {5}}, b);
    if (status == EXN_OK) status = exn_writer_open(&writer, ctx, path);
    if (status == EXN_OK) {
        status = exn_safetensors_write(writer, ctx, &list);
        if (status == EXN_OK)
            status = exn_writer_commit(writer);
        else
            exn_writer_discard(writer);
    }
    exn_tensor_list_free(&list, ctx);
    exn_mapping file;
    if (status == EXN_OK) status = exn_mapping_open(&file, ctx, path);
    if (status != EXN_OK) return status;
    status = exn_safetensors_read(&list, ctx, file.bytes, file.size);
    if (status == EXN_OK) exn_tensor_list_free(&list, ctx);
    exn_mapping_close(&file);
    return status;
}

START_TEST(memory_may_fail) {
    char *folder = unit_temp_create(), *path = unit_path(folder, "t.safetensors");
    unit_sweep_failures(write_and_read, path);
    free(path);
    unit_temp_remove(folder);
}
END_TEST

int main(void) {
    return unit_run("safetensors",
                    (const TTest *const[]){round_trip, cut_at_every_byte, hostile_headers, memory_may_fail, NULL});
}
