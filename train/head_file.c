/* SPDX-License-Identifier: Apache-2.0
 * Names and checks of heads' tensors in files. */
#include "train/head_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void exn_head_file_name(char name[EXN_HEAD_NAME_BYTES], const char *role, size_t exit, exn_head_tensor which) {
    snprintf(name, EXN_HEAD_NAME_BYTES, "%s.%zu.%s", role, exit, exn_head_tensor_name(which));
}

exn_status exn_head_file_list(exn_tensor_list *list, exn_context *ctx, const exn_head *head, const char *role,
                              size_t exit) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        char name[EXN_HEAD_NAME_BYTES];
        if (!exn_head_tensor_shape(&shape, head, (exn_head_tensor)which)) continue;
        exn_head_file_name(name, role, exit, (exn_head_tensor)which);
        EXN_TRY(exn_tensor_list_add(list, ctx, name, EXN_F32, &shape, head->tensor[which]));
    }
    return EXN_OK;
}

exn_status exn_head_file_load(const exn_head *head, exn_context *ctx, const exn_tensor_list *list, const char *role,
                              size_t exit, exn_head_tensor which) {
    exn_shape shape;
    char name[EXN_HEAD_NAME_BYTES], wanted[EXN_SHAPE_TEXT_BYTES], found[EXN_SHAPE_TEXT_BYTES];
    const size_t count = exn_head_tensor_shape(&shape, head, which);
    exn_head_file_name(name, role, exit, which);
    const exn_named_tensor *tensor = exn_tensor_list_find(list, name);
    if (!tensor) return exn_fail(ctx, EXN_E_FORMAT, "tensor %s is missing", name);
    if (tensor->dtype != EXN_F32 || !exn_shape_equal(&tensor->shape, &shape))
        return exn_fail(ctx, EXN_E_FORMAT, "tensor %s: a %s head has float32 of shape %s there, not %s", name,
                        exn_head_kind_names[head->kind], exn_shape_text(wanted, &shape),
                        tensor->dtype == EXN_F32 ? exn_shape_text(found, &tensor->shape) : "bytes");
    float *values = head->tensor[which];
    memcpy(values, tensor->data, count * sizeof *values);
    const bool variance = which == EXN_HEAD_BN_VAR || which == EXN_HEAD_BN2_VAR;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]) || (variance && values[i] < 0))
            return exn_fail(ctx, EXN_E_FORMAT, "tensor %s: element %zu is not a sane number", name, i);
    return EXN_OK;
}
