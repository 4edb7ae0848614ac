/* SPDX-License-Identifier: Apache-2.0
 * Shapes, element types, tensors. */
#include "core/tensor.h"
#include "tests/unit/unit.h"

#include <string.h>

START_TEST(element_types) {
    ck_assert_uint_eq(exn_dtype_bytes(EXN_F32), 4);
    ck_assert_uint_eq(exn_dtype_bytes(EXN_I64), 8);
    ck_assert_uint_eq(exn_dtype_bytes(EXN_I32), 4);
    ck_assert_uint_eq(exn_dtype_bytes(EXN_U8), 1);
    ck_assert_uint_eq(exn_dtype_bytes(EXN_BOOL), 1);
    ck_assert_uint_eq(exn_dtype_bytes(EXN_F64), 8);
    ck_assert_str_eq(exn_dtype_name(EXN_F32), "float32");
    ck_assert_uint_eq(exn_dtype_bytes((exn_dtype)77), 0);
    ck_assert_str_eq(exn_dtype_name((exn_dtype)-1), "unknown type");
}
END_TEST

START_TEST(shapes) {
    exn_context *ctx = unit_context();
    const exn_shape image = exn_shape_of(4, (const size_t[]){2, 3, 5, 7}), scalar = exn_shape_of(0, NULL);
    const exn_shape none = exn_shape_of(3, (const size_t[]){4, 0, 9});
    size_t count = 0;
    unit_assert_ok(ctx, exn_shape_count(&count, ctx, &image));
    ck_assert_uint_eq(count, 210);
    ck_assert_uint_eq(exn_shape_elements(&image), 210);
    unit_assert_ok(ctx, exn_shape_count(&count, ctx, &scalar));
    ck_assert_uint_eq(count, 1);
    unit_assert_ok(ctx, exn_shape_count(&count, ctx, &none));
    ck_assert_uint_eq(count, 0);
    char text[EXN_SHAPE_TEXT_BYTES];
    ck_assert_str_eq(exn_shape_text(text, &image), "2x3x5x7");
    ck_assert_str_eq(exn_shape_text(text, &scalar), "scalar");
    ck_assert(exn_shape_equal(&image, &image));
    ck_assert(!exn_shape_equal(&image, &none));
    exn_shape longer = image;
    longer.dim[6] = 9; /* beyond the rank: no part of the shape */
    ck_assert(exn_shape_equal(&image, &longer));
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(hostile_shapes) {
    exn_context *ctx = unit_context();
    size_t count = 5;
    exn_shape shape = exn_shape_of(2, (const size_t[]){EXN_ELEMENTS_MAX / 2, 2});
    unit_assert_ok(ctx, exn_shape_count(&count, ctx, &shape));
    ck_assert_uint_eq(count, EXN_ELEMENTS_MAX);
    shape.dim[1] = 3;
    unit_assert_fails(ctx, exn_shape_count(&count, ctx, &shape), EXN_E_SHAPE, "1073741824x3");
    shape = exn_shape_of(4, (const size_t[]){SIZE_MAX, SIZE_MAX, SIZE_MAX, 0});
    unit_assert_fails(ctx, exn_shape_count(&count, ctx, &shape), EXN_E_SHAPE, "elements");
    shape.rank = 9;
    unit_assert_fails(ctx, exn_shape_count(&count, ctx, &shape), EXN_E_SHAPE, "rank 9");
    ck_assert_uint_eq(count, EXN_ELEMENTS_MAX);
    shape.rank = EXN_RANK_MAX;
    for (size_t i = 0; i < EXN_RANK_MAX; i++) shape.dim[i] = SIZE_MAX;
    char text[EXN_SHAPE_TEXT_BYTES];
    ck_assert_uint_eq(strlen(exn_shape_text(text, &shape)), 8 * 20 + 7);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status create_and_destroy(exn_context *ctx, void *user) {
    const exn_shape shape = exn_shape_of(2, (const size_t[]){3, 5});
    exn_tensor tensor = {0};
    (void)user;
    EXN_TRY(exn_tensor_create(&tensor, ctx, EXN_F32, &shape));
    for (size_t i = 0; i < 15; i++) ck_assert(((const float *)tensor.data)[i] == 0);
    ck_assert_uint_eq((uintptr_t)tensor.data % EXN_ALIGNMENT, 0);
    exn_tensor_destroy(ctx, &tensor);
    ck_assert_ptr_null(tensor.data);
    exn_tensor_destroy(ctx, &tensor);
    exn_tensor_destroy(ctx, NULL);
    return EXN_OK;
}

START_TEST(tensors) {
    unit_sweep_failures(create_and_destroy, NULL);
    exn_context *ctx = unit_context();
    exn_tensor tensor = {.data = ctx};
    const exn_shape huge = exn_shape_of(1, (const size_t[]){SIZE_MAX});
    unit_assert_fails(ctx, exn_tensor_create(&tensor, ctx, EXN_F32, &huge), EXN_E_SHAPE, "elements");
    unit_assert_fails(ctx, exn_tensor_create(&tensor, ctx, (exn_dtype)9, &huge), EXN_E_INVALID, "type 9");
    ck_assert_ptr_eq(tensor.data, ctx);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("tensor", (const TTest *const[]){element_types, shapes, hostile_shapes, tensors, NULL});
}
